"""Transforms as the world sends them: old, repeated, from two publishers, in loops, fixed and moving at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molmo_calibration import ExtrapolationError, FrameError, Transform
from molmo_robot.dds.types import RosTypes
from molmo_robot.errors import MessageError
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.transform_buffer import TransformBuffer
from robot_scene import SECOND, Scene

from molmo_point.testing import FakePointer


@pytest.fixture
def tf(types: RosTypes) -> Any:
    scene = Scene(types)

    def message(*edges: Any) -> Any:
        """Transforms (parent, child, stamp in s, x)."""
        return types.make(
            "tf2_msgs/msg/TFMessage",
            transforms=[
                scene.transform(
                    round(stamp * SECOND),
                    Transform.from_parts(np.eye(3), [x, 0.0, 0.0], parent, child),
                )
                for parent, child, stamp, x in edges
            ],
        )

    return message


def x_of(buffer: Any, target: Any, source: Any, seconds: float) -> Any:
    return buffer.lookup(target, source, round(seconds * SECOND)).translation[0]


@pytest.mark.parametrize("old_s", [0.0, 8.0])
def test_an_old_transform_is_as_good_as_not_there(tf: Any, old_s: Any) -> None:
    buffer = TransformBuffer(cache_s=5.0)
    for i in range(50):
        assert not buffer.add(tf(("odom", "base", 100 + i / 50, i)))
        assert not buffer.add(tf(("odom", "base", old_s, -1.0)))
    assert x_of(buffer, "odom", "base", 100.5) == pytest.approx(25.0)
    with pytest.raises(ExtrapolationError):
        x_of(buffer, "odom", "base", old_s)


def test_a_late_transform_within_the_cache_is_sorted_in_and_a_repeated_one_replaced(
    tf: Any,
) -> None:
    buffer = TransformBuffer()
    buffer.add(tf(("odom", "base", 10, 0.0), ("odom", "base", 14, 4.0)))
    buffer.add(tf(("odom", "base", 12, 9.0)))
    buffer.add(tf(("odom", "base", 14, 5.0)))
    assert x_of(buffer, "odom", "base", 11) == pytest.approx(4.5)
    assert x_of(buffer, "odom", "base", 14) == 5.0


def test_one_old_transform_costs_no_images(types: RosTypes, tf: Any) -> None:
    scene = Scene(types)
    session = Session(Settings.of({"camera.image_topic": "/image"}), FakePointer())
    session.add_transforms(tf(("odom", "base", 100, 0.0)))
    session.add_image("camera", scene.image(scene.start_ns))
    session.add_transforms(tf(("odom", "base", 0, 0.0)))
    assert session.buffers["camera"].newest_stamp_ns() == scene.start_ns
    assert session.health.jumps == 0


def test_a_publisher_whose_clock_was_set_back_starts_anew_and_the_others_keep_theirs(
    tf: Any,
) -> None:
    buffer = TransformBuffer()
    for i in range(20):
        buffer.add(tf(("map", "odom", 100 + i, 0.0), ("odom", "base", 100 + i, i)))
    jumped = [buffer.add(tf(("odom", "base", 20 + i / 10, -i))) for i in range(30)]
    assert not any(jumped[:3])
    assert any(jumped)
    assert x_of(buffer, "odom", "base", 20.2) == pytest.approx(-2.0)
    with pytest.raises(ExtrapolationError):
        x_of(buffer, "odom", "base", 110)
    assert x_of(buffer, "map", "odom", 110) == 0.0


def test_one_transform_from_the_future_costs_nothing_of_what_was_said_before(tf: Any) -> None:
    buffer = TransformBuffer(cache_s=5.0)
    for i in range(50):
        buffer.add(tf(("odom", "base", 100 + i / 50, i)))
    buffer.add(tf(("odom", "base", 3700, -1.0)))
    assert x_of(buffer, "odom", "base", 100.5) == pytest.approx(25.0)
    for i in range(50, 75):
        assert not buffer.add(tf(("odom", "base", 100 + i / 50, i)))
    assert x_of(buffer, "odom", "base", 100.5) == pytest.approx(25.0)
    assert x_of(buffer, "odom", "base", 101.4) == pytest.approx(70.0)
    with pytest.raises(ExtrapolationError, match="after its last pose"):
        x_of(buffer, "odom", "base", 102.0)


def test_a_publisher_whose_clock_is_wrong_is_named(tf: Any) -> None:
    buffer = TransformBuffer(cache_s=5.0)
    for i in range(20):
        buffer.add(tf(("odom", "base", 100 + i / 50, i)))
    assert not buffer.conflicts(["base"])
    for i in range(20, 40):
        buffer.add(tf(("odom", "base", 3700 + i / 50, i)))
        buffer.add(tf(("odom", "base", 100 + i / 50, i)))
    (words,) = buffer.conflicts(["base"])
    assert words.startswith("'base' also comes on /tf with stamps 3600.0 s behind its newest ones")


@pytest.mark.parametrize(
    ("parent", "x", "expected"),
    [
        ("base", 1.0, ""),
        ("base", 1.05, "'cam' came on /tf_static with two poses, 50.0 mm and 0.00 degrees apart"),
        ("gripper", 1.0, "'cam' came on /tf_static in 'base' and then in 'gripper'"),
    ],
)
def test_a_frame_that_is_fixed_twice_is_named(tf: Any, parent: Any, x: Any, expected: Any) -> None:
    buffer = TransformBuffer()
    buffer.add(tf(("base", "cam", 0, 1.0)), static=True)
    buffer.add(tf((parent, "cam", 0, x)), static=True)
    found = buffer.conflicts(["cam"])
    assert len(found) == bool(expected)
    assert "".join(found).startswith(expected)
    assert x_of(buffer, parent, "cam", 5.0) == x


def test_a_loop_elsewhere_does_not_matter_and_one_on_the_way_is_named(tf: Any) -> None:
    buffer = TransformBuffer()
    buffer.add(
        tf(
            ("map", "odom", 0, 1.0),
            ("odom", "base", 0, 2.0),
            ("x", "y", 0, 0.0),
            ("y", "z", 0, 0.0),
            ("z", "x", 0, 0.0),
            ("x", "tool", 0, 0.5),
        ),
        static=True,
    )
    assert x_of(buffer, "map", "base", 5) == 3.0
    assert x_of(buffer, "x", "tool", 5) == 0.5, "below the loop"
    with pytest.raises(FrameError, match=r"x -> z -> y -> x \(child -> parent\) form a loop"):
        x_of(buffer, "x", "y", 5)
    with pytest.raises(FrameError, match="nothing connects 'map' with 'tool'"):
        x_of(buffer, "map", "tool", 5)


def test_a_fixed_frame_that_was_once_on_tf_stays_fixed(tf: Any) -> None:
    buffer = TransformBuffer()
    buffer.add(tf(("base", "cam", 0, 1.0)), static=True)
    buffer.add(tf(("base", "cam", 50, 1.0)))
    assert x_of(buffer, "base", "cam", 900) == 1.0
    assert not buffer.conflicts(["cam"])


def test_a_frame_published_both_ways_is_moving_and_the_contradiction_is_named(
    types: RosTypes, tf: Any
) -> None:
    session = Session(Settings.of({"camera.image_topic": "/image"}), FakePointer())
    session.add_transforms(tf(("map", "odom", 0, 0.0)), static=True)
    for i in range(3):
        session.add_transforms(tf(("map", "odom", 10 + i, float(i))))
    assert x_of(session.transforms, "map", "odom", 11.5) == 1.5
    assert (
        "'odom' is published on /tf_static (in 'map')" in session.health.problems()["transforms"]
    )


def test_two_parents_at_once_are_named_and_one_after_the_other_are_fine(tf: Any) -> None:
    buffer = TransformBuffer()
    for i in range(4):
        buffer.add(tf(("odom", "base", 10 + i, 1.0), ("map", "base", 10 + i, 2.0)))
    with pytest.raises(FrameError, match=r"'base' has two parents on /tf: 'map' .* and 'odom'"):
        x_of(buffer, "odom", "base", 11)
    buffer = TransformBuffer()
    buffer.add(tf(("hand", "cup", 10, 1.0), ("hand", "cup", 11, 1.0)))
    buffer.add(tf(("table", "cup", 12, 2.0), ("table", "cup", 13, 2.0)))
    assert x_of(buffer, "hand", "cup", 10.5) == 1.0
    assert x_of(buffer, "table", "cup", 12.5) == 2.0


def test_a_quaternion_typed_with_two_digits_is_taken_as_tf2_takes_it(
    types: RosTypes, tf: Any
) -> None:
    message = tf(("base", "cam", 0, 0.0))
    turn = message.transforms[0].transform.rotation
    turn.z = turn.w = 0.71
    buffer = TransformBuffer()
    buffer.add(message, static=True)
    ahead = buffer.lookup("base", "cam", 0).apply([1.0, 0.0, 0.0])
    assert ahead == pytest.approx([0.0, 1.0, 0.0], abs=1e-9)
    turn.z = turn.w = 0.5
    with pytest.raises(MessageError, match="length 1"):
        buffer.add(message, static=True)


def test_topics_of_a_namespace_are_named_in_the_sentences() -> None:
    buffer = TransformBuffer(topics=("/robot1/tf", "/robot1/tf_static"))
    with pytest.raises(FrameError, match="not on /robot1/tf or /robot1/tf_static"):
        buffer.lookup("odom", "base", 0)


@given(st.permutations(range(8)), st.integers(0, 7), st.integers(0, 7))
def test_a_chain_is_the_sum_of_its_links_in_any_order_of_arrival(
    types: RosTypes, order: Any, a: Any, b: Any
) -> None:
    scene = Scene(types)
    buffer = TransformBuffer()
    for i in order[:7] if 7 not in order[:7] else [i for i in order if i != 7]:
        link = Transform.from_parts(np.eye(3), [2.0**i, 0, 0], f"f{i}", f"f{i + 1}")
        buffer.add(
            types.make("tf2_msgs/msg/TFMessage", transforms=[scene.transform(0, link)]),
            static=True,
        )
    expected = sum(2.0**i for i in range(min(a, b), max(a, b))) * (1 if a < b else -1)
    there, back = buffer.lookup(f"f{a}", f"f{b}", 0), buffer.lookup(f"f{b}", f"f{a}", 0)
    assert there.translation[0] == pytest.approx(expected)
    assert (there @ back).translation == pytest.approx([0, 0, 0])
