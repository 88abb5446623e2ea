"""Recordings: what was there stays byte for byte, answers carry their images' stamps, an interrupted run goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molmo_robot.bag.annotate import Selection, Task, image_type
from molmo_robot.bag.reader import BagError, Recording
from molmo_robot.bag.resume_log import ResumeLog
from molmo_robot.codes import PositionStatus
from molmo_robot.dds.types import RosTypes
from recordings import RESULTS, TOPICS, answer, contents, decoded, record
from robot_scene import BALL_ODOM, SECOND, Scene, find_ball

from molmo_point.errors import ServerGone, UsageError
from molmo_point.images import Array
from molmo_point.points import Pointing, Status
from molmo_point.testing import FakePointer


@pytest.fixture
def bag(types: RosTypes, tmp_path: Path) -> Any:
    record(types, tmp_path / "in")
    return tmp_path / "in"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("single", [True, False])
def test_answers_are_added_and_nothing_else_changes(
    types: RosTypes, tmp_path: Path, storage: Any, single: Any
) -> None:
    record(types, tmp_path / "in", storage)
    path = tmp_path / "in"
    if single and storage == "mcap":
        path = path / "in.mcap"
    out = tmp_path / ("out.mcap" if single else "out")
    summary = answer(types, Task(path, out, "/camera/image", "ball", storage=storage))
    assert (summary.images, summary.points, summary.failures, summary.warnings) == (
        10,
        10,
        (),
        (),
    )
    assert out.is_file() == single
    before, after = contents(types, path), contents(types, out)
    assert {topic: after[topic] for topic in TOPICS} == before
    assert set(after) - set(before) == {f"/molmo_point/{name}" for name in RESULTS}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", out.name]


def test_positions_are_those_at_the_images_stamps(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    answer(types, Task(bag, tmp_path / "out.mcap", "/camera/image", "ball"))
    images = decoded(types, bag, "/camera/image")
    answers = decoded(types, tmp_path / "out.mcap", "/molmo_point/points")
    assert len(answers) == len(images)
    for (image_log, image), (answer_log, message) in zip(images, answers, strict=True):
        assert answer_log == image_log
        assert repr(message.header) == repr(image.header)
        found = message.points[0]
        assert found.position_status == PositionStatus.OK, message.position_message
        where = [found.position.x, found.position.y, found.position.z]
        assert np.linalg.norm(BALL_ODOM - where) < 0.002


def test_another_decoder_reads_what_was_written(types: RosTypes, bag: Any, tmp_path: Path) -> None:
    reader = pytest.importorskip("mcap.reader", reason="the independent decoder: pip install mcap")
    out = tmp_path / "out.mcap"
    answer(types, Task(bag, out, "/camera/image", "ball"))
    with out.open("rb") as file:
        summary = reader.make_reader(file).get_summary()
    schemas = {s.name: s for s in summary.schemas.values()}
    assert schemas["foxglove_msgs/msg/ImageAnnotations"].encoding == "ros2msg"
    assert (
        b"MSG: foxglove_msgs/CircleAnnotation"
        in schemas["foxglove_msgs/msg/ImageAnnotations"].data
    )
    assert summary.statistics.message_count == sum(len(m) for m in contents(types, out).values())


def test_annotations_count_pixels_from_the_corner_as_foxglove_does(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out.mcap"
    answer(types, Task(bag, out, "/camera/image", "ball"))
    circle = decoded(types, out, "/molmo_point/annotations")[0][1].circles[0]
    found = decoded(types, out, "/molmo_point/points")[0][1].points[0]
    assert circle.position.x == pytest.approx(found.u + 0.5)
    assert circle.position.y == pytest.approx(found.v + 0.5)


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    asked = []

    def failing(image: Array, query: str) -> Any:
        asked.append(query)
        return ServerGone("nobody answers") if len(asked) == 4 else find_ball(image, query)

    task = Task(bag, tmp_path / "out.mcap", "/camera/image", "ball")
    with pytest.raises(ServerGone):
        answer(types, task, FakePointer(failing))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out.mcap.answers.jsonl"]
    summary = answer(types, task, FakePointer(failing))
    assert (summary.images, summary.resumed, len(asked)) == (10, 3, 11)
    straight = Task(bag, tmp_path / "straight.mcap", "/camera/image", "ball")
    answer(types, straight)
    again, once = (contents(types, t.out)["/molmo_point/point"] for t in (task, straight))
    assert again == once
    assert not task.resume_path().exists()


def test_an_answer_that_was_cut_short_is_asked_for_again(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    task = Task(bag, tmp_path / "out.mcap", "/camera/image", "ball", Selection(every=3))
    asked: list[str] = []

    def cut_or_stop(image: Array, query: str) -> Any:
        asked.append(query)
        if len(asked) == 3:
            return ServerGone("nobody answers")
        status = Status.TRUNCATED if len(asked) == 1 else Status.NOT_FOUND
        return Pointing(query=query, status=status, image_size=(image.shape[1], image.shape[0]))

    with pytest.raises(ServerGone):
        answer(types, task, FakePointer(cut_or_stop))
    assert answer(types, task).resumed == 1


def test_a_recording_that_was_made_anew_is_another_task(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    task = Task(bag, tmp_path / "out.mcap", "/camera/image", "ball")
    before = task.fingerprint()
    for file in bag.glob("*") if bag.is_dir() else [bag]:
        state = file.stat()
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert task.fingerprint() != before


def test_a_journal_whose_last_line_was_cut_is_used_up_to_there(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    path, task = tmp_path / "j.jsonl", {"query": "ball"}
    journal = ResumeLog(path, task)
    pointing = FakePointer(find_ball).point(np.zeros((4, 4, 3), np.uint8), "ball")
    for place in (0, 3):
        journal.add(place, pointing, 0.5)
    journal.close()
    path.write_bytes(path.read_bytes()[:-20])
    again = ResumeLog(path, task)
    assert (len(again), again.get(0), again.get(3)) == (1, (pointing, 0.5), None)
    again.add(3, pointing, 0.25)
    again.close()
    assert len(ResumeLog(path, task)) == 2


def test_a_journal_of_another_query_is_refused(tmp_path: Path) -> None:
    ResumeLog(tmp_path / "j.jsonl", {"query": "ball"}).close()
    with pytest.raises(UsageError, match="was begun with other query"):
        ResumeLog(tmp_path / "j.jsonl", {"query": "mug"})


@pytest.mark.parametrize(
    ("selection", "places"),
    [
        (Selection(every=3), [0, 3, 6, 9]),
        (Selection(start_s=0.25, end_s=0.55), [3, 4, 5]),
        (Selection(at_s=(0.45, 0.0, 99.0)), [0, 5]),
    ],
)
def test_some_images_are_chosen(
    types: RosTypes, bag: Any, tmp_path: Path, selection: Any, places: Any
) -> None:
    pointer = FakePointer(find_ball)
    summary = answer(
        types, Task(bag, tmp_path / "out.mcap", "/camera/image", "ball", selection), pointer
    )
    assert summary.images == len(pointer.calls) == len(places)
    logs = [stamp for stamp, _ in decoded(types, bag, "/camera/image")]
    found = [stamp for stamp, _ in decoded(types, tmp_path / "out.mcap", "/molmo_point/points")]
    assert found == [logs[i] for i in places]


def test_an_image_nobody_can_read_is_told_and_the_others_are_answered(
    types: RosTypes, tmp_path: Path
) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    scene = Scene(types)
    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        line = writer.add_connection(
            "/camera/image", TOPICS["/camera/image"], typestore=types.store
        )
        for index in range(3):
            stamp = scene.start_ns + index * SECOND
            image = scene.image(stamp)
            if index == 1:
                image.encoding = "bayer_rggb8"
            writer.write(line, stamp, types.to_cdr(image, TOPICS["/camera/image"]))
    summary = answer(types, Task(tmp_path / "in", tmp_path / "out.mcap", "/camera/image", "ball"))
    assert (summary.images, summary.points) == (3, 2)
    assert len(summary.failures) == 1
    assert "image 1: /camera/image: expected an encoding" in summary.failures[0]
    message = decoded(types, tmp_path / "out.mcap", "/molmo_point/points")[0][1]
    assert message.points[0].position_status == PositionStatus.NO_CAMERA_INFO


def test_a_topic_of_unknown_type_is_copied_and_told(types: RosTypes, tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(tmp_path / "odd", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        strange = writer.add_connection(
            "/strange",
            "nobody_msgs/msg/Odd",
            msgdef="nobody_msgs/Missing x\n",
            rihs01="RIHS01_" + "1" * 64,
        )
        line = writer.add_connection(
            "/camera/image", TOPICS["/camera/image"], typestore=types.store
        )
        writer.write(strange, 5, b"\0\1\0\0abc")
        scene = Scene(types)
        writer.write(line, 10, types.to_cdr(scene.image(scene.start_ns), TOPICS["/camera/image"]))
    answer(types, Task(tmp_path / "odd", tmp_path / "out.mcap", "/camera/image", "ball"))
    assert contents(types, tmp_path / "out.mcap")["/strange"] == [(5, b"\0\1\0\0abc")]


def test_a_topic_of_unknown_type_is_named_where_it_is_needed(
    types: RosTypes, tmp_path: Path
) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    scene = Scene(types)
    with Writer(tmp_path / "odd", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        odd = writer.add_connection(
            "/tf", "nobody_msgs/msg/Odd", msgdef="int8 x", rihs01="RIHS01_" + "1" * 64
        )
        line = writer.add_connection(
            "/camera/image", TOPICS["/camera/image"], typestore=types.store
        )
        writer.write(odd, 5, b"\0\1\0\0a")
        writer.write(line, 10, types.to_cdr(scene.image(scene.start_ns), TOPICS["/camera/image"]))
    with pytest.raises(
        BagError, match="/tf: expected tf2_msgs/msg/TFMessage, found nobody_msgs/msg/Odd"
    ):
        answer(types, Task(tmp_path / "odd", tmp_path / "out.mcap", "/camera/image", "ball"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"image": "/camera/img"},
            "--image /camera/img: expected a topic of .*are /camera/depth, /camera/image",
        ),
        ({"image": "/rosout"}, "--image /rosout: expected .*Image, found std_msgs/msg/String"),
        ({"query": " "}, "--query: expected a few words"),
        ({"prefix": "/camera", "image": "/camera/image"}, None),
        ({"selection": Selection(start_s=50.0)}, "none of them is chosen"),
        ({"storage": "tape"}, "--storage: expected mcap or sqlite3, got 'tape'"),
    ],
)
def test_wrong_options_are_refused_and_leave_nothing_behind(
    types: RosTypes, bag: Any, tmp_path: Path, changes: Any, words: Any
) -> None:
    task = Task(bag, tmp_path / "out", "/camera/image", "ball")
    task = Task(**{**task.__dict__, **changes})
    if words is None:
        answer(types, task)
        assert (tmp_path / "out").is_dir()
        return
    with pytest.raises(UsageError, match=words):
        answer(types, task)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_an_output_that_is_there_and_a_prefix_that_is_taken_are_refused(
    types: RosTypes, bag: Any, tmp_path: Path
) -> None:
    first = Task(bag, tmp_path / "out.mcap", "/camera/image", "ball")
    answer(types, first)
    with pytest.raises(BagError, match="is there already"):
        answer(types, first)
    with pytest.raises(BagError, match="/molmo_point/points is in the recording already"):
        answer(types, Task(first.out, tmp_path / "twice.mcap", "/camera/image", "ball"))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_recording_says_so(
    types: RosTypes, bag: Any, tmp_path: Path, share: Any
) -> None:
    whole = (bag / "in.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BagError, match=r"cut.mcap cannot be read: .*mcap recover"):
        answer(types, Task(cut, tmp_path / "out.mcap", "/camera/image", "ball"))
    assert not (tmp_path / "out.mcap").exists()


@pytest.mark.parametrize("data", [b"", b"not a bag at all", b"\x89MCAP0\r\n"])
def test_a_file_that_is_no_recording_says_so(types: RosTypes, tmp_path: Path, data: Any) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(data)
    with pytest.raises(BagError, match=r"x.mcap cannot be read"):
        Recording(path, types)


def test_a_missing_recording_says_so(types: RosTypes, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="there is no recording"):
        image_type(tmp_path / "none", "/camera/image", types)


def test_a_recording_without_definitions_takes_those_of_the_distribution(
    types: RosTypes, tmp_path: Path
) -> None:
    """What Humble's sqlite3 recordings look like: type names and bytes, nothing else."""
    import sqlite3

    record(types, tmp_path / "in", "sqlite3")
    with sqlite3.connect(next((tmp_path / "in").glob("*.db3"))) as database:
        database.execute("DELETE FROM message_definitions")
        database.execute("UPDATE topics SET type_description_hash = ''")
        database.execute("UPDATE topics SET type = 'nobody_msgs/msg/Odd' WHERE name = '/rosout'")
    database.close()
    meta = tmp_path / "in" / "metadata.yaml"
    meta.write_text(meta.read_text().replace("std_msgs/msg/String", "nobody_msgs/msg/Odd"))
    summary = answer(types, Task(tmp_path / "in", tmp_path / "out.mcap", "/camera/image", "ball"))
    assert (summary.images, summary.points) == (10, 10)
    assert summary.warnings == ("/rosout (nobody_msgs/msg/Odd): its definition is not known",)
    before, after = contents(types, tmp_path / "in"), contents(types, tmp_path / "out.mcap")
    assert {topic: after[topic] for topic in TOPICS} == before
