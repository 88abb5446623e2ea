"""What the node relies on in rclpy's parameters; against the fake and the real one, as `test_rclpy_contract.py`."""

from __future__ import annotations

from typing import Any

import pytest


def test_parameters_are_refused_with_a_reason(ros: Any) -> None:
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.parameter import Parameter

    node = ros.create_node("tuned")
    node.declare_parameter("speed", 1.0)
    node.add_on_set_parameters_callback(
        lambda parameters: SetParametersResult(
            successful=all(p.value < 2.0 for p in parameters), reason="too fast"
        )
    )
    fine, refused = (node.set_parameters([Parameter("speed", value=v)])[0] for v in (1.5, 3.0))
    assert fine.successful
    assert (refused.successful, refused.reason) == (False, "too fast")
    assert node.get_parameter("speed").value == 1.5
    node.destroy_node()


def test_parameter_overrides_come_before_defaults(ros: Any) -> None:
    from rclpy.parameter import Parameter

    node = ros.create_node("tuned", parameter_overrides=[Parameter("speed", value=4.0)])
    node.declare_parameter("speed", 1.0)
    assert node.get_parameter("speed").value == 4.0
    node.destroy_node()


def test_a_parameter_keeps_its_type_unless_that_is_dynamic(ros: Any) -> None:
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.exceptions import ParameterException
    from rclpy.parameter import Parameter

    late = [Parameter("strict", value=1), Parameter("loose", value=1)]
    node = ros.create_node("tuned", parameter_overrides=late)
    with pytest.raises(ParameterException):
        node.declare_parameter("strict", 1.0)
    node.declare_parameter("loose", 1.0, ParameterDescriptor(dynamic_typing=True))
    assert node.get_parameter("loose").value == 1
    node.declare_parameter("speed", 1.0)
    refused = node.set_parameters([Parameter("speed", value=2)])[0]
    assert not refused.successful
    assert "type" in refused.reason
    assert node.set_parameters([Parameter("loose", value="fast")])[0].successful
    node.destroy_node()


def test_a_range_is_checked_before_the_callback_and_when_it_is_put_on(ros: Any) -> None:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rcl_interfaces.msg import SetParametersResult as Result
    from rclpy.exceptions import ParameterException
    from rclpy.parameter import Parameter

    node, asked = ros.create_node("tuned"), []

    def callback(parameters: Any) -> Any:
        asked.extend(p.value for p in parameters)
        return Result(successful=True, reason="")

    def narrow() -> Any:
        return ParameterDescriptor(
            dynamic_typing=True,
            floating_point_range=[FloatingPointRange(from_value=0.0, to_value=2.0, step=0.0)],
            integer_range=[IntegerRange(from_value=0, to_value=2, step=1)],
        )

    node.declare_parameter("speed", 1.0, narrow())
    node.declare_parameter("count", 1)
    node.set_descriptor("count", narrow())
    node.add_on_set_parameters_callback(callback)
    for name, fits, wrong in (("speed", 2.0, 2.5), ("count", 2, 3)):
        assert node.set_parameters([Parameter(name, value=fits)])[0].successful
        assert "range" in node.set_parameters([Parameter(name, value=wrong)])[0].reason
    assert asked == [2.0, 2]
    node.declare_parameter("far", 9.0)
    with pytest.raises(ParameterException):
        node.set_descriptor("far", narrow())
    assert node.get_parameter("far").value == 9.0
    node.destroy_node()
