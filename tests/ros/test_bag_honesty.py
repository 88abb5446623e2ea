"""`molmo-point bag` says what it could not do: topics that are not there, points without metres, images without an answer."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from molmo_robot.dds.types import RosTypes
from recordings import decoded
from robot_scene import SECOND, find_ball
from test_bag_time import drive, write

from molmo_point.errors import UsageError
from molmo_point.images import Array
from molmo_point.points import Pointing, Status
from molmo_point.testing import FakePointer

ALL = {
    "--info": "/camera/camera_info",
    "--depth": "/camera/depth",
    "--target-frame": "odom",
}


@pytest.fixture
def command(types: RosTypes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on a recording; returns (exit code, JSON, stderr)."""
    import typer
    from molmo_robot.cli.bag import register
    from typer.testing import CliRunner

    from molmo_point import api

    def run(
        events: Any = None, answers: Any = find_ball, out: str = "out.mcap", **changes: Any
    ) -> Any:
        path = tmp_path / "in"
        if not path.exists():
            write(types, path, drive(types) if events is None else events)
        monkeypatch.setattr(api, "load", lambda *a, **k: FakePointer(answers), raising=False)
        app = typer.Typer()
        register(app)
        app.callback()(lambda: None)
        options = {**ALL, **changes}
        given = [
            word for name, value in options.items() if value is not None for word in (name, value)
        ]
        line = [
            "bag",
            path,
            "--query",
            "ball",
            "--image",
            "/camera/image",
            "--out",
            tmp_path / out,
        ]
        found = CliRunner().invoke(app, [str(a) for a in (*line, *given, "--json")])
        if isinstance(found.exception, UsageError):
            raise found.exception
        assert isinstance(found.exception, (SystemExit, type(None))), found.exception
        return found.exit_code, json.loads(found.stdout), found.stderr.strip()

    return run


def test_the_good_case_counts_its_metres(command: Any) -> None:
    code, result, words = command()
    assert code == 0
    assert (result["points"], result["placed"], result["unplaced"], words) == (10, 10, [], "")


@pytest.mark.parametrize(
    ("option", "topic", "words"),
    [
        ("--info", "/typo", "--info /typo: expected a topic of .*are /camera/camera_info"),
        ("--depth", "/typo2", "--depth /typo2: expected a topic of .*are /camera/depth"),
        ("--depth-info", "/typo3", "--depth-info /typo3: expected a topic"),
        ("--info", "/camera/image", "--info /camera/image: expected sensor_msgs/msg/CameraInfo, found"),
        ("--depth", "/camera/camera_info", "--depth /camera/camera_info: expected .*, found sensor_msgs/msg/CameraInfo"),
    ],
)  # fmt: skip
def test_topics_that_are_not_there_are_refused_before_the_model_is_asked(
    command: Any, tmp_path: Path, option: Any, topic: str, words: Any
) -> None:
    def ask(image: Array, query: str) -> None:
        raise AssertionError("the model was asked")

    with pytest.raises(UsageError, match=words):
        command(answers=ask, **{option: topic})
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def below(events: Any, namespace: Any) -> list[Any]:
    return [
        (t, namespace + topic if topic.startswith("/tf") else topic, m) for t, topic, m in events
    ]


def test_points_without_metres_fail_and_say_why(
    types: RosTypes, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import test_bag_time

    kinds = {
        **test_bag_time.KINDS,
        "/robot1/tf": "tf2_msgs/msg/TFMessage",
        "/robot1/tf_static": "tf2_msgs/msg/TFMessage",
    }
    kinds = {name: kind for name, kind in kinds.items() if not name.startswith("/tf")}
    monkeypatch.setattr(test_bag_time, "KINDS", kinds)
    events = below(drive(types), "/robot1")
    code, result, words = command(events)
    assert code == 1
    assert (result["points"], result["placed"]) == (10, 0)
    assert (
        "10 points without a position, NO_TRANSFORM: /tf: expected 'odom'" in result["unplaced"][0]
    )
    assert result["unplaced"][0] in words
    assert "on /robot1/tf, /robot1/tf_static: --tf-namespace says" in words
    code, result, words = command(out="again.mcap", **{"--tf-namespace": "robot1"})
    assert (code, result["placed"], words) == (0, 10, "")


def test_pixels_alone_are_no_failure_where_nobody_asked_for_metres(command: Any) -> None:
    code, result, words = command(**dict.fromkeys(ALL))
    assert (code, result["points"], result["placed"], words) == (0, 10, 0, "")


def test_images_that_cannot_be_read_are_not_nothing_found(types: RosTypes, command: Any) -> None:
    events = drive(types)
    for _, topic, message in events:
        if topic == "/camera/image":
            message.encoding = "bayer_rggb8"
    code, result, words = command(events)
    assert (code, result["points"], len(result["failures"])) == (1, 0, 10)
    assert "image 0: /camera/image: expected an encoding" in words


@pytest.mark.parametrize("late", [False, True])
def test_a_calibration_that_cannot_be_read_costs_no_answer(
    types: RosTypes, command: Any, late: Any
) -> None:
    events = drive(types)
    (log_ns, topic, info) = next(e for e in events if e[1] == "/camera/camera_info")
    cut = types.to_cdr(info, "sensor_msgs/msg/CameraInfo")[:30]
    events.append((log_ns + (SECOND // 2 if late else -1), topic, cut))
    code, result, words = command(events)
    assert (code, result["placed"]) == (0, 10)
    (warning,) = result["warnings"]
    assert "1 calibration could not be read, the first: " in warning
    assert "/camera/camera_info (sensor_msgs/msg/CameraInfo)" in warning
    assert warning in words


@pytest.mark.parametrize("lacks", ["stamp", "frame_id"])
def test_images_without_a_stamp_or_a_frame_are_named(
    types: RosTypes, command: Any, lacks: Any
) -> None:
    events = drive(types)
    for _, topic, message in events:
        if topic == "/camera/image" and lacks == "stamp":
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        elif topic == "/camera/image":
            message.header.frame_id = ""
    _, result, _ = command(events, **{"--depth": None})
    assert any(f"the image carries no {lacks}" in reason for reason in result["unplaced"]), result


@pytest.mark.parametrize("status", [Status.TRUNCATED, Status.MALFORMED])
def test_answers_that_are_not_whole_are_not_nothing_found(command: Any, status: Status) -> None:
    code, result, _ = command(
        answers={"ball": Pointing(query="ball", status=status, image_size=(320, 240), text="<po")}
    )
    assert (code, result["points"]) == (1, 0)
    assert result["failures"][0] == f"image 0: the answer is {status}, not a whole one"


def test_nothing_there_is_nothing_found(command: Any) -> None:
    code, result, _ = command(answers={})
    assert (code, result["points"], result["failures"]) == (3, 0, [])


def test_depth_in_another_unit_has_its_option(
    types: RosTypes, command: Any, tmp_path: Path
) -> None:
    events = drive(types)
    for _, topic, message in events:
        if topic == "/camera/depth":
            message.data = (message.data.view("<f4") * 1000).astype("<f4").view("u1")
    code, result, words = command(events)
    assert code == 1
    assert "set depth_scale to 0.001" in result["unplaced"][0]
    code, result, words = command(out="scaled.mcap", **{"--depth-scale": "0.001"})
    assert (code, result["placed"], words) == (0, 10, "")
    found = decoded(types, tmp_path / "scaled.mcap", "/molmo_point/points")[0][1].points[0]
    assert found.depth == pytest.approx(2.0 - 0.05, abs=0.3)


def test_a_moment_after_the_last_image_is_named(types: RosTypes, tmp_path: Path) -> None:
    from molmo_robot.bag.annotate import Selection, Task
    from recordings import answer

    path = write(types, tmp_path / "in", drive(types))
    chosen = Selection(at_s=(0.5, 99.0))
    task = Task(path, tmp_path / "out.mcap", "/camera/image", "ball", chosen)
    summary = answer(types, task)
    assert summary.images == 1
    assert summary.warnings == ("--at 99: the last image is at 0.920 s",)


def test_a_calibration_of_another_camera_is_in_the_summary(types: RosTypes, command: Any) -> None:
    events = [
        (t, topic, dataclasses.replace(m, header=dataclasses.replace(m.header, frame_id="other")))
        if topic == "/camera/camera_info"
        else (t, topic, m)
        for t, topic, m in drive(types)
    ]
    code, result, words = command(events)
    assert (code, result["placed"]) == (0, 10)
    (warning,) = result["warnings"]
    assert "the calibration is of the frame 'other'" in warning
    assert words == f"molmo-point: {warning}"


def test_fixed_transforms_that_contradict_each_other_are_in_the_summary(
    types: RosTypes, command: Any
) -> None:
    events = drive(types)
    at, topic, fixed = next(e for e in events if e[1] == "/tf_static")
    moved = copy.deepcopy(fixed)
    moved.transforms[0].transform.translation.x += 0.1
    code, result, words = command([*events, (at + 1, topic, moved)])
    assert code == 0
    (warning,) = result["warnings"]
    assert "came on /tf_static with two poses, 100.0 mm" in warning
    assert words == f"molmo-point: {warning}"


def test_images_of_two_cameras_on_one_topic_are_in_the_summary(
    types: RosTypes, command: Any
) -> None:
    events = drive(types)
    at, topic, image = [e for e in events if e[1] == "/camera/image"][-1]
    other = dataclasses.replace(
        image, header=dataclasses.replace(image.header, frame_id="other_optical")
    )
    _, result, _ = command([*events, (at + 1, topic, other)])
    assert any(
        "its images are of the frames camera_optical, other_optical" in warning
        for warning in result["warnings"]
    )
