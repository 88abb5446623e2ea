from rcl_interfaces.msg import SetParametersResult

KINDS = {bool: "BOOL", int: "INTEGER", float: "DOUBLE", str: "STRING", type(None): "NOT_SET"}


class Parameter:
    def __init__(self, name, type_=None, value=None):
        self.name, self.type_, self.value = name, type_ or kind_of(value), value


def kind_of(value):
    """Name of the parameter type of a value."""
    if isinstance(value, (list, tuple)):
        return f"{kind_of(value[0]) if value else 'BYTE'}_ARRAY"
    return KINDS[type(value)]


def judged(parameter, descriptor, declared_kind):
    """What rclpy itself says about a value, before any callback: its type, unless that is dynamic, and its range."""
    kind = kind_of(parameter.value)
    if not descriptor.dynamic_typing and kind != declared_kind:
        return refusal(f"Wrong parameter type, expected '{declared_kind}' got '{kind}'")
    ranges = {"INTEGER": descriptor.integer_range, "DOUBLE": descriptor.floating_point_range}
    for limits in ranges.get(kind, ())[:1]:
        if not limits.from_value <= parameter.value <= limits.to_value:
            return refusal(f"Parameter {parameter.name} out of range")
    return SetParametersResult(successful=True, reason="")


def refusal(reason):
    return SetParametersResult(successful=False, reason=reason)
