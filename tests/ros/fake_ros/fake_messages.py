"""Message classes as rosidl generates them for Python: keyword arguments only, defaults, and checks of every field's type."""

import array
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_msg

WORKSPACE = Path(__file__).parents[3] / "ros2_ws" / "src" / "molmo_point_msgs"
SERVICES = {
    "std_srvs/srv/SetBool": "bool data\n---\nbool success\nstring message\n",
}
INTS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


class Message:
    """Base of the generated classes; `FIELDS` is {name: rosbags description}."""

    FIELDS = {}  # noqa: RUF012
    STORE = None

    def __init__(self, **fields):
        unknown = fields.keys() - self.FIELDS.keys()
        assert not unknown, f"Invalid arguments passed to constructor: {unknown}"
        for name, description in self.FIELDS.items():
            setattr(self, name, fields.get(name, default(self.STORE, description)))

    def __setattr__(self, name, value):
        assert name in self.FIELDS, f"{type(self).__name__} has no field {name!r}"
        object.__setattr__(self, name, checked(value, self.FIELDS[name], name))

    def __eq__(self, other):
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.FIELDS
        )

    @classmethod
    def get_fields_and_field_types(cls):
        return {name: spelled(description) for name, description in cls.FIELDS.items()}


def spelled(description):
    kind, detail = description
    if kind == Nodetype.NAME:
        return detail.replace("/msg/", "/")
    if kind == Nodetype.BASE:
        name = {"float64": "double", "float32": "float", "bool": "boolean", "byte": "octet"}
        return name.get(detail[0], detail[0])
    element, size = detail
    inner = spelled(element)
    return f"{inner}[{size}]" if kind == Nodetype.ARRAY else f"sequence<{inner}>"


def default(store, description):
    kind, detail = description
    if kind == Nodetype.NAME:
        return class_of(store, detail)()
    if kind == Nodetype.BASE:
        return {"string": "", "bool": False, "byte": b"\0"}.get(
            detail[0], 0.0 if detail[0].startswith("float") else 0
        )
    element, size = detail
    if kind == Nodetype.ARRAY:
        return np.zeros(size, element[1][0])
    return array.array("B") if element[1][0] == "uint8" else []


def checked(value, description, name):
    kind, detail = description
    if kind == Nodetype.NAME:
        assert isinstance(value, Message), f"{name} must be a {detail}, got {value!r}"
        assert detail == value.TYPE, f"{name} must be a {detail}, got a {value.TYPE}"
        return value
    if kind == Nodetype.BASE:
        base = detail[0]
        wanted = {"string": str, "bool": bool, "byte": bytes}.get(
            base, int if base in INTS else float
        )
        assert isinstance(value, wanted), f"{name} must be {wanted.__name__}, got {value!r}"
        if base.startswith("uint"):
            assert 0 <= value < 2 ** int(base[4:]), f"{name} out of range: {value}"
        return value
    element, size = detail
    if kind == Nodetype.ARRAY:
        value = np.asarray(value)
        assert value.shape == (size,), f"{name} must have {size} elements, got {value.shape}"
        assert value.dtype == element[1][0], f"{name} must be {element[1][0]}, got {value.dtype}"
        return value
    if element[1][0] == "uint8" and element[0] == Nodetype.BASE:
        # rclpy takes lists, too, but copies them one by one: half a second for an image.
        assert isinstance(value, array.array), f"{name}: give array.array('B'), got {type(value)}"
        assert value.typecode == "B"
        return value
    return [checked(item, element, name) for item in value]


_classes = {}


def class_of(store, type_name):
    if type_name not in _classes:
        fields = dict(store.fielddefs[type_name][1])
        fields.pop("structure_needs_at_least_one_member", None)
        constants = {name: value for name, _, value in store.fielddefs[type_name][0]}
        body = {"FIELDS": fields, "STORE": store, "TYPE": type_name, **constants}
        _classes[type_name] = type(type_name.split("/")[-1], (Message,), body)
    return _classes[type_name]


def parts_of(store, type_name, text, names):
    """Register the parts of a .srv or .action; returns a class that holds theirs."""
    package, _, short = type_name.split("/")
    holder = type(short, (), {})
    for name, part in zip(names, text.split("---\n"), strict=True):
        part_name = f"{package}/msg/{short}_{name}"
        if part_name not in store.fielddefs:
            store.register(get_types_from_msg(part or "\n", part_name))
        setattr(holder, name, class_of(store, part_name))
    return holder


def install(store):
    """Put modules like `sensor_msgs.msg` into sys.modules; returns their names."""
    made = {}

    def module(name):
        if name not in made:
            made[name] = sys.modules[name] = ModuleType(name)
            made[name].__path__ = []
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(module(parent), child, made[name])
        return made[name]

    texts = dict(SERVICES)
    for path in WORKSPACE.glob("*/*.*"):
        if path.suffix in (".srv", ".action"):
            texts[f"molmo_point_msgs/{path.suffix[1:]}/{path.stem}"] = path.read_text()
    for type_name, text in texts.items():
        names = ("Request", "Response") if "/srv/" in type_name else ("Goal", "Result", "Feedback")
        package, kind, short = type_name.split("/")
        setattr(module(f"{package}.{kind}"), short, parts_of(store, type_name, text, names))
    for type_name in list(store.fielddefs):
        package, kind, short = type_name.split("/")
        setattr(module(f"{package}.{kind}"), short, class_of(store, type_name))
    return list(made)
