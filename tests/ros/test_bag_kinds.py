"""Recordings of other tools: foreign channels and profiles, compressed files, ROS 1; and advice only where it helps."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from molmo_robot.bag.annotate import Task
from molmo_robot.bag.reader import BagError, Recording
from molmo_robot.dds.types import RosTypes
from recordings import TOPICS, answer, contents, decoded, record
from robot_scene import SECOND, Scene

writer = pytest.importorskip("mcap.writer", reason="other tools' recordings are written with mcap")


def foreign(
    source: Any,
    out: Any,
    profile: str = "ros2",
    extra: Any = ("json", "jsonschema", b"{}"),
    **options: Any,
) -> Any:
    """Copy a recording as another tool would write it, with a topic in another encoding."""
    from mcap.reader import make_reader

    with source.open("rb") as file, out.open("wb") as target:
        made = writer.Writer(target, **options)
        made.start(profile=profile, library="other tool")
        lines, strange = {}, None
        if extra:
            encoding, schema, data = extra
            strange = made.register_channel(
                "/strange",
                encoding,
                made.register_schema("my.Type", schema, data) if schema else 0,
            )
        for schema, channel, message in make_reader(file).iter_messages():
            if channel.id not in lines:
                kind = made.register_schema(schema.name, schema.encoding, schema.data)
                lines[channel.id] = made.register_channel(
                    channel.topic, channel.message_encoding, kind, channel.metadata
                )
            made.add_message(
                lines[channel.id], message.log_time, message.data, message.publish_time
            )
            if strange is not None:
                made.add_message(strange, message.log_time, b'{"a": 1}', message.publish_time)
        made.finish()
    return out


@pytest.fixture
def plain(types: RosTypes, tmp_path: Path) -> Any:
    record(types, tmp_path / "in")
    return tmp_path / "in" / "in.mcap"


JSON = ("json", "jsonschema", b"{}")


@pytest.mark.parametrize(
    ("profile", "extra"),
    [
        ("ros2", JSON),
        ("ros2", ("protobuf", "protobuf", b"\x0a\xff\xfe\x00")),
        ("ros2", ("json", "", b"")),
        ("", ("ros1", "ros1msg", b"uint8 x")),
        ("x", JSON),
        ("foxglove", None),
    ],
    ids=str,
)
def test_what_is_not_ros_2_is_passed_over_and_told(
    types: RosTypes, tmp_path: Path, plain: Any, profile: Any, extra: Any
) -> None:
    other = foreign(plain, tmp_path / "other.mcap", profile, extra)
    summary = answer(types, Task(other, tmp_path / "out.mcap", "/camera/image", "ball"))
    assert (summary.images, summary.placed) == (10, 10)
    words = [w for w in summary.warnings if "/strange" in w]
    assert len(words) == bool(extra)
    if extra:
        assert f"encoding {extra[0]!r}" in words[0]
    before, after = contents(types, plain), contents(types, tmp_path / "out.mcap")
    assert {topic: after[topic] for topic in TOPICS} == before


@pytest.mark.parametrize("chunked", [True, False])
def test_a_foreign_file_without_a_summary_is_read_where_its_records_are_plain(
    types: RosTypes, tmp_path: Path, plain: Any, chunked: Any
) -> None:
    options = {"use_chunking": chunked, "use_statistics": chunked, "use_summary_offsets": chunked}
    if not chunked:
        options |= {
            "repeat_channels": False,
            "repeat_schemas": False,
            "index_types": writer.IndexType.NONE,
        }
    other = foreign(plain, tmp_path / "other.mcap", **options)
    with Recording(other, types) as recording:
        assert {c.topic for c in recording.connections} == set(TOPICS)
        assert recording.foreign == {"/strange": "json"}


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize(
    "extra",
    [
        JSON,
        ("protobuf", "protobuf", b"\x0a\xff\xfe\x00"),
        ("ros1", "ros1msg", b"uint8 x"),
        None,
    ],
    ids=str,
)
def test_channels_that_only_the_chunks_name_are_found_there(
    types: RosTypes, tmp_path: Path, plain: Any, extra: Any, statistics: Any
) -> None:
    options = {"repeat_channels": False, "repeat_schemas": False, "use_statistics": statistics}
    other = foreign(plain, tmp_path / "other.mcap", "", extra, **options)
    with Recording(other, types) as recording:
        assert recording.foreign == ({"/strange": extra[0]} if extra else {})
    summary = answer(types, Task(other, tmp_path / "out.mcap", "/camera/image", "ball"))
    assert (summary.images, summary.placed) == (10, 10)


@pytest.mark.parametrize("summary", [True, False])
@pytest.mark.parametrize(
    ("encoding", "schema", "data"),
    [("json", "jsonschema", b"{}"), ("protobuf", "protobuf", b"\xff"), ("ros1", "ros1msg", b"")],
)
def test_a_file_without_anything_of_ros_2_says_what_it_holds(
    types: RosTypes, tmp_path: Path, encoding: Any, schema: Any, data: Any, summary: Any
) -> None:
    with (tmp_path / "x.mcap").open("wb") as target:
        made = writer.Writer(target, repeat_channels=summary, repeat_schemas=summary)
        made.start(profile="ros1", library="other tool")
        line = made.register_channel(
            "/image", encoding, made.register_schema("my.Image", schema, data)
        )
        made.add_message(line, 5, b"{}", 5)
        made.finish()
    with pytest.raises(
        BagError, match=f"--image /image: .* found it in the encoding '{encoding}'"
    ):
        answer(types, Task(tmp_path / "x.mcap", tmp_path / "out.mcap", "/image", "ball"))


def test_a_topic_in_another_encoding_is_named_where_it_is_asked_for(
    types: RosTypes, tmp_path: Path, plain: Any
) -> None:
    other = foreign(plain, tmp_path / "other.mcap", extra=("protobuf", "protobuf", b"\xff"))
    with pytest.raises(
        BagError, match=r"--image /strange: .* found it in the encoding 'protobuf'"
    ):
        answer(types, Task(other, tmp_path / "out.mcap", "/strange", "ball"))


@pytest.mark.parametrize("suffix", [".zst", ".zstd"])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_compressed_file_is_read(
    types: RosTypes, tmp_path: Path, suffix: Any, storage: Any
) -> None:
    zstandard = pytest.importorskip("zstandard", reason="compresses the test's file")
    record(types, tmp_path / "in", storage)
    (file,) = (f for f in (tmp_path / "in").iterdir() if f.suffix in (".mcap", ".db3"))
    packed = tmp_path / (file.name + suffix)
    packed.write_bytes(zstandard.ZstdCompressor().compress(file.read_bytes()))
    summary = answer(types, Task(packed, tmp_path / "out.mcap", "/camera/image", "ball"))
    assert (summary.images, summary.placed) == (10, 10)


def test_a_damaged_compressed_file_says_so_and_leaves_nothing(
    types: RosTypes, tmp_path: Path
) -> None:
    (tmp_path / "x.mcap.zst").write_bytes(b"no zstd at all")
    with pytest.raises(BagError, match=r"x.mcap.zst cannot be read"):
        Recording(tmp_path / "x.mcap.zst", types)


def ros1_bag(types: RosTypes, path: Path) -> Any:
    """The drive of `record` as ROS 1 would have recorded it."""
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    tf = get_types_from_msg(
        "geometry_msgs/TransformStamped[] transforms\n", "tf2_msgs/msg/TFMessage"
    )
    store.register(tf)
    record(types, path.parent / "ros2")
    with Recording(path.parent / "ros2", types) as recording, Writer(path) as bag:
        lines = {}
        for connection, stamp_ns, data in recording.messages():
            topic, kind = connection.topic, connection.msgtype
            if topic not in lines:
                lines[topic] = bag.add_connection(
                    topic, kind, typestore=store, latching=int(topic == "/tf_static")
                )
            bag.write(lines[topic], stamp_ns, types.store.cdr_to_ros1(data, kind))
    return path


def test_a_ros_1_bag_is_read_and_comes_out_as_ros_2(types: RosTypes, tmp_path: Path) -> None:
    bag = ros1_bag(types, tmp_path / "drive.bag")
    summary = answer(types, Task(bag, tmp_path / "out.mcap", "/camera/image", "ball"))
    assert (summary.images, summary.placed, summary.warnings) == (10, 10, ())
    before = contents(types, tmp_path / "ros2")
    after = contents(types, tmp_path / "out.mcap")
    for topic in TOPICS:
        assert [stamp for stamp, _ in after[topic]] == [stamp for stamp, _ in before[topic]]
    first = decoded(types, tmp_path / "out.mcap", "/camera/image")[0][1]
    wanted = decoded(types, tmp_path / "ros2", "/camera/image")[0][1]
    assert np.array_equal(first.data, wanted.data)
    assert repr(first.header) == repr(wanted.header)


def test_a_ros_1_bag_that_is_none_says_so_without_advice_for_others(
    types: RosTypes, tmp_path: Path
) -> None:
    (tmp_path / "x.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match=r"x.bag cannot be read") as caught:
        Recording(tmp_path / "x.bag", types)
    assert "mcap recover" not in str(caught.value)


def test_advice_comes_only_where_it_helps(types: RosTypes, tmp_path: Path, plain: Any) -> None:
    whole = plain.read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mcap").write_text("nothing")
    (tmp_path / "empty.mcap").write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.mcap").write_bytes(whole)
    expected = {
        "cut.mcap": "mcap recover",
        "folder": "ros2 bag reindex",
        "text.mcap": None,
        "empty.mcap": None,
    }
    for name, advice in expected.items():
        with pytest.raises(BagError, match="cannot be read") as caught:
            Recording(tmp_path / name, types)
        words = str(caught.value)
        assert (advice in words) if advice else not any(a in words for a in ("recover", "reindex"))


def test_message_compression_without_its_metadata_says_what_to_give(
    types: RosTypes, tmp_path: Path
) -> None:
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    made = Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.SQLITE3)
    made.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    scene = Scene(types)
    with made:
        line = made.add_connection("/camera/image", TOPICS["/camera/image"], typestore=types.store)
        made.write(line, 5, types.to_cdr(scene.image(scene.start_ns), TOPICS["/camera/image"]))
    summary = answer(types, Task(tmp_path / "in", tmp_path / "a.mcap", "/camera/image", "ball"))
    assert summary.points == 1
    file = next((tmp_path / "in").glob("*.db3"))
    summary = answer(types, Task(file, tmp_path / "b.mcap", "/camera/image", "ball"))
    assert "give the folder instead" in summary.failures[0]


@pytest.mark.parametrize("length", [0, 9, 16, 20])
def test_a_file_of_magic_and_little_else_is_damaged_and_not_a_traceback(
    types: RosTypes, tmp_path: Path, length: Any
) -> None:
    data = b"\x89MCAP0\r\n" + b"\1" + struct.pack("<Q", 2**60) + json.dumps({}).encode()
    (tmp_path / "x.mcap").write_bytes(data[:length])
    with pytest.raises(BagError, match="cannot be read"):
        Recording(tmp_path / "x.mcap", types)


@pytest.mark.parametrize(
    ("name", "data", "advice"),
    [
        ("metadata.yaml", b"", "ros2 bag reindex"),
        ("metadata.yaml", b"a: [1", "ros2 bag reindex"),
        ("in.mcap", None, "each file can be given alone"),
    ],
)
def test_a_folder_whose_metadata_does_not_fit_says_how_to_mend_it(
    types: RosTypes, tmp_path: Path, plain: Any, name: Any, data: Any, advice: Any
) -> None:
    file = tmp_path / "in" / name
    if data is None:
        file.rename(file.with_name("renamed.mcap"))
    else:
        file.write_bytes(data)
    with pytest.raises(BagError, match=advice):
        Recording(tmp_path / "in", types)


@pytest.mark.parametrize(("name", "advice"), [("x.bag", "rosbag reindex"), ("x.bag.active", "rename it")])  # fmt: skip
def test_a_ros_1_bag_that_was_cut_short_says_how_to_mend_it(
    types: RosTypes, tmp_path: Path, name: Any, advice: Any
) -> None:
    (tmp_path / name).write_bytes(b"#ROSBAG V2.0\n" + b"\0" * 20)
    with pytest.raises(BagError, match=advice):
        Recording(tmp_path / name, types)


def test_the_middle_of_a_recording_can_be_read_twice_at_once(types: RosTypes, plain: Any) -> None:
    with Recording(plain, types) as recording:
        again = recording.again()
        pairs = zip(recording.messages(), again.messages(), strict=True)
        assert all(a[1:] == b[1:] for a, b in pairs)
        again.close()
        assert sum(1 for _ in recording.messages()) == recording.message_count
        assert recording.start_ns < 101 * SECOND
