"""Depth as the world sends it: of another camera, compressed, in another unit, at another time."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molmo_calibration import Transform
from molmo_robot.codes import PositionStatus
from molmo_robot.dds.types import RosTypes
from molmo_robot.errors import MessageError
from molmo_robot.positions import multiview
from molmo_robot.positions.compressed_depth import depth_array
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from PIL import Image
from robot_scene import BALL_ODOM, HEIGHT, SECOND, WIDTH, Drive, Scene, find_ball

from molmo_point.images import Array
from molmo_point.testing import FakePointer

CAMERA = {
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
    "target_frame": "odom",
    "tf_timeout_s": 0.0,
}


class Msg:
    """A `sensor_msgs/CompressedImage`."""

    def __init__(self, form: Any, data: Any, header: Any = None) -> None:
        self.format, self.data, self.header = form, np.frombuffer(data, np.uint8), header


def png(array: Array) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def rvl(image: Array) -> Any:
    """RVL as its paper has it, one pixel after the other."""
    nibbles = []

    def number(value: Any) -> None:
        while True:
            value, part = value >> 3, value & 7
            nibbles.append(part | (8 if value else 0))
            if not value:
                return

    pixels, previous, at = image.reshape(-1).astype(int), 0, 0
    while at < len(pixels):
        start = at
        while at < len(pixels) and pixels[at] == 0:
            at += 1
        number(at - start)
        start = at
        while at < len(pixels) and pixels[at]:
            at += 1
        number(at - start)
        for value in pixels[start:at]:
            delta = int(np.int16(np.uint16((value - previous) & 0xFFFF)))
            number((delta << 1) ^ (delta >> 31) if delta >= 0 else (-delta << 1) - 1)
            previous = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        sum(n << (28 - 4 * i) for i, n in enumerate(nibbles[k : k + 8]))
        for k in range(0, len(nibbles), 8)
    ]
    height, width = image.shape
    return struct.pack("<II", width, height) + struct.pack(f"<{len(words)}I", *words)


def header(a: float = 0.0, b: float = 0.0) -> Any:
    return struct.pack("<iff", 0, a, b)


images = st.integers(1, 5).flatmap(
    lambda height: st.lists(
        st.one_of(st.just(0), st.integers(1, 65535), st.integers(700, 720)),
        min_size=height * 7,
        max_size=height * 7,
    ).map(lambda values: np.array(values, np.uint16).reshape(height, 7))
)


@given(images)
def test_rvl_and_png_give_back_every_reading(image: Array) -> None:
    for form, data in (
        ("16UC1; compressedDepth rvl", header() + rvl(image)),
        ("16UC1; compressedDepth png", header() + png(image)),
        ("16UC1; compressedDepth", header() + png(image)),
        ("mono16; png compressed ", png(image)),
    ):
        assert np.array_equal(depth_array(Msg(form, data), "/d"), image), form


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_floats_come_back_within_the_step_of_their_inverse(seed: Any) -> None:
    """As image_transport writes them: depth_quantization 100, depth_max 10."""
    metres = np.random.default_rng(seed).uniform(0.3, 9.0, (6, 9)).astype(np.float32)
    metres[2, 3] = np.nan
    a = 100.0 * 101.0
    b = 1.0 - a / 10.0
    stored = np.where(np.isnan(metres), 0, a / metres + b).astype(np.uint16)
    for words, data in (("png", png(stored)), ("rvl", rvl(stored))):
        got = depth_array(Msg(f"32FC1; compressedDepth {words}", header(a, b) + data), "/d")
        assert np.isnan(got[2, 3])
        good = ~np.isnan(metres)
        assert np.abs(got[good] - metres[good]).max() < 9.0**2 / a + 1e-3


@pytest.mark.parametrize(
    ("form", "data", "words"),
    [
        ("rgb8; jpeg compressed bgr8", b"", "expected compressed depth of 16UC1 or 32FC1"),
        ("16UC1; compressedDepth png", b"abc", "header of 12 bytes"),
        ("16UC1; compressedDepth png", header() + b"abc", "expected depth as a PNG"),
        ("16UC1; compressedDepth rvl", header() + b"\1", "the size in 8 bytes"),
        ("16UC1; compressedDepth rvl", header() + struct.pack("<III", 4, 4, 0x11000000), "RVL data end"),
        ("16UC1; compressedDepth rvl", header() + struct.pack("<II", 2**31, 9), "pixels"),
        ("16UC1; png compressed", png(np.zeros((4, 4), np.uint8)), "16 bits, got the mode 'L'"),
    ],
)  # fmt: skip
def test_what_is_no_depth_is_refused_with_its_topic(form: Any, data: Any, words: Any) -> None:
    with pytest.raises(MessageError, match=f"/d: .*{words}"):
        depth_array(Msg(form, data), "/d")


def test_a_jpeg_has_lost_the_depth() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "JPEG")
    with pytest.raises(MessageError, match="without loss, got a JPEG"):
        depth_array(Msg("16UC1; jpeg compressed ", buffer.getvalue()), "/d")


def ready(scene: Scene, **values: Any) -> Any:
    """A session that has seen one good image with all that belongs to it but depth."""
    drive = Drive(scene)
    session = Session(Settings.of({**CAMERA, **values}), FakePointer(find_ball), clock=drive.clock)
    drive.session = session
    drive.begin()
    drive.advance(0.2)
    session.buffers["camera"]._depths.clear()
    return session, session.buffers["camera"], session.buffers["camera"].newest_stamp_ns()


def position(session: Any) -> Any:
    return session.point(Request("ball")).answer.points[0].position


@pytest.fixture
def scene(types: RosTypes) -> Scene:
    return Scene(types)


@pytest.mark.parametrize("rvl_too", [False, True])
def test_compressed_depth_gives_the_position(scene: Scene, rvl_too: Any) -> None:
    topic = "/camera/depth/compressedDepth"
    session, buffer, stamp = ready(scene, **{"camera.depth_topic": topic})
    plain = scene.depth(stamp, "16UC1")
    stored = plain.data.view(np.uint16).reshape(HEIGHT, WIDTH)
    form = "16UC1; compressedDepth " + ("rvl" if rvl_too else "png")
    data = header() + (rvl(stored) if rvl_too else png(stored))
    buffer.add_depth(Msg(form, data, plain.header))
    found = position(session)
    assert found.status is PositionStatus.OK, found.message
    assert np.linalg.norm(found.xyz - BALL_ODOM) < 0.002


@pytest.mark.parametrize(
    ("topic", "transport", "compressed"),
    [
        ("/d/image_raw", "auto", False),
        ("/d/image_raw/compressedDepth", "auto", True),
        ("/d/image_raw/compressed", "auto", True),
        ("/d/lidar", "compressed", True),
        ("/d/compressed", "raw", False),
    ],
)
def test_the_transport_of_depth_follows_its_topic_unless_it_is_given(
    types: RosTypes, topic: str, transport: Any, compressed: Any
) -> None:
    from molmo_robot.continuous_pointing import ContinuousPointing
    from molmo_robot.topics import inputs

    values = {"camera.depth_topic": topic, "camera.depth_transport": transport}
    session = Session(Settings.of(values), FakePointer())
    heard = {i.topic: i.type_name for i in inputs(session, ContinuousPointing(session, print))}
    assert heard[topic].endswith("CompressedImage") == compressed


@pytest.mark.parametrize("scale", [1, 2])
def test_depth_of_another_frame_is_not_taken_for_registered(scene: Scene, scale: int) -> None:
    """The size of the image, or of its shape, says nothing about whose depth it is."""
    session, buffer, stamp = ready(scene)
    size = (WIDTH // scale, HEIGHT // scale)
    array = np.full((size[1], size[0]), 1.9, np.float32)
    buffer.add_depth(
        scene.image_message(stamp, array, "32FC1", 4 * size[0], "depth_optical", size)
    )
    found = position(session)
    assert found.status is PositionStatus.DEPTH_MISMATCH
    assert "'camera_optical', got depth in 'depth_optical'" in found.message
    assert "depth_registered" in found.message


@pytest.mark.parametrize("frame_id", ["camera_optical", "/camera_optical", ""])
def test_depth_of_the_images_frame_is_registered(scene: Scene, frame_id: str) -> None:
    session, buffer, stamp = ready(scene)
    buffer.add_depth(scene.depth(stamp, frame_id=frame_id))
    assert position(session).status is PositionStatus.OK


def test_depth_of_another_frame_is_registered_where_the_user_says_so(scene: Scene) -> None:
    session, buffer, stamp = ready(scene, **{"camera.depth_registered": True})
    buffer.add_depth(scene.depth(stamp, frame_id="depth_optical"))
    assert position(session).status is PositionStatus.OK


def test_depth_with_the_camera_info_of_another_frame_is_refused(scene: Scene) -> None:
    session, buffer, stamp = ready(scene, **{"camera.depth_info_topic": "/camera/depth_info"})
    buffer.add_depth_info(scene.info(focal=250.0, frame_id="infra1_optical"))
    buffer.add_depth(scene.depth(stamp))
    found = position(session)
    assert found.status is PositionStatus.DEPTH_MISMATCH
    assert "in the frame 'infra1_optical' as /camera/depth_info says" in found.message


def test_registered_depth_of_a_stereo_pair_asks_for_no_transform(scene: Scene) -> None:
    """depth_registered true: the frame of the depth image need not be on /tf."""
    session, buffer, stamp = ready(
        scene,
        **{
            "camera.depth_registered": "true",
            "camera.depth_info_topic": "/i",
            "tf_timeout_s": 0.0,
        },
    )
    buffer.add_depth(scene.depth(stamp, frame_id="nowhere"))
    assert position(session).status is PositionStatus.OK


@pytest.mark.parametrize(
    ("late_s", "words"), [(0.033, "0.033 s later"), (-0.05, "0.050 s earlier")]
)
def test_no_depth_says_how_far_away_the_nearest_is(scene: Scene, late_s: Any, words: Any) -> None:
    session, buffer, stamp = ready(scene)
    buffer.add_depth(scene.depth(stamp + round(late_s * SECOND)))
    found = position(session)
    assert found.status is PositionStatus.NO_DEPTH
    assert words in found.message
    assert "sync_tolerance_s" in found.message


def test_no_depth_at_all_says_that_none_has_come(scene: Scene) -> None:
    session, _, _ = ready(scene)
    assert "none has come on the topic" in position(session).message


@pytest.mark.parametrize(
    ("encoding", "value", "scale", "words"),
    [
        ("32FC1", 1900.0, 0.001, "millimetres, set depth_scale to 0.001"),
        ("32FC1", 80.0, 0.01, "centimetres, to 0.01"),
        ("16UC1", 2, 1.0, "metres, set depth_scale to 1.0"),
        ("16UC1", 80, 0.01, "centimetres, to 0.01"),
    ],
)
def test_readings_of_another_unit_get_a_hint_and_the_parameter_mends_it(
    scene: Scene, encoding: str, value: Any, scale: float, words: Any
) -> None:
    kind = np.float32 if encoding == "32FC1" else np.uint16
    array = np.full((HEIGHT, WIDTH), value, kind)

    def ask(**values: Any) -> Any:
        session, buffer, stamp = ready(scene, **values)
        buffer.add_depth(scene.image_message(stamp, array, encoding, kind().itemsize * WIDTH))
        return position(session)

    found = ask()
    assert found.status is PositionStatus.OUT_OF_RANGE
    assert words in found.message
    assert ask(**{"camera.depth_scale": scale}).status is PositionStatus.OK


@pytest.mark.parametrize(
    ("encoding", "value", "scale", "words"),
    [
        (
            "16UC1",
            65535,
            0.0,
            "are 65535, the largest number of 16 bits: such cameras mean no reading",
        ),
        (
            "16UC1",
            30000,
            0.0,
            "30 m: if they are tenths of a millimetre, set depth_scale to 0.0001",
        ),
        (
            "16UC1",
            800,
            1.0,
            "800 m: if they are millimetres, set depth_scale to 0.001, if centimetres",
        ),
        ("32FC1", 0.05, 0.0, "are nearer than 0.0500 m"),
    ],
)
def test_the_hint_names_only_units_that_would_help(
    scene: Scene, encoding: str, value: Any, scale: float, words: Any
) -> None:
    kind = np.float32 if encoding == "32FC1" else np.uint16
    array = np.full((HEIGHT, WIDTH), value, kind)
    session, buffer, stamp = ready(scene, **{"camera.depth_scale": scale})
    buffer.add_depth(scene.image_message(stamp, array, encoding, kind().itemsize * WIDTH))
    message = position(session).message
    assert words in message
    taken = {0.001: "millimetres", 1.0: "metres"}[scale or (0.001 if kind is np.uint16 else 1.0)]
    assert f"they are {taken}" not in message


def test_a_scale_counts_for_floats_of_64_bits_too(scene: Scene) -> None:
    session, buffer, stamp = ready(scene, **{"camera.depth_scale": 0.001})
    buffer.add_depth(
        scene.image_message(stamp, np.full((HEIGHT, WIDTH), 1900.0), "64FC1", 8 * WIDTH)
    )
    assert position(session).depth_m == pytest.approx(1.9)


def test_fast_depth_covers_seconds_and_not_a_number_of_images(scene: Scene) -> None:
    session, buffer, stamp = ready(scene)
    for i in range(180):
        buffer.add_depth(scene.depth(stamp + i * SECOND // 120))
    assert position(session).status is PositionStatus.OK


def test_depth_without_a_stamp_among_stamped_ones_costs_only_itself(scene: Scene) -> None:
    session, buffer, stamp = ready(scene)
    buffer.add_depth(scene.depth(stamp))
    buffer.add_depth(scene.depth(0))
    buffer.add_image(scene.image(0))
    assert buffer.newest_stamp_ns() == stamp
    assert position(session).status is PositionStatus.OK
    assert "stamp 0" in buffer.stray


def test_a_second_publisher_that_lags_behind_costs_neither_images_nor_depth(scene: Scene) -> None:
    session, buffer, stamp = ready(scene)
    for i in range(8):
        now = stamp + (i + 1) * SECOND // 30
        buffer.add_depth(scene.depth(now))
        buffer.add_depth(scene.depth(now - 5 * SECOND))
        session.add_image("camera", scene.image(now))
        session.add_image("camera", scene.image(now - 5 * SECOND))
        session.add_transforms(scene.tf(now))
    assert buffer.newest_stamp_ns() == now
    assert position(session).status is PositionStatus.OK
    assert "a second publisher?" in session.health.problems()["camera"]


@pytest.mark.parametrize(
    "changes",
    [
        {"distortion_model": "omni", "d": np.full(4, 0.1)},
        {"distortion_model": "plumb_bob", "d": np.zeros(8)},
        {"k": np.zeros(9)},
    ],
)
def test_a_rectified_image_needs_p_alone(scene: Scene, changes: Any) -> None:
    session, buffer, stamp = ready(scene, **{"camera.rectified": "true"})
    buffer.add_depth(scene.depth(stamp))
    info = scene.info()
    for name, value in changes.items():
        setattr(info, name, value)
    buffer.add_info(info)
    found = position(session)
    assert found.status is PositionStatus.OK, found.message
    assert np.linalg.norm(found.xyz - BALL_ODOM) < 0.002


def test_a_rectified_image_without_p_is_not_calibrated(scene: Scene) -> None:
    session, buffer, _ = ready(scene, **{"camera.rectified": True})
    info = scene.info()
    info.p = np.zeros(12)
    buffer.add_info(info)
    found = position(session)
    assert found.status is PositionStatus.NOT_CALIBRATED
    assert "P[0] is 0" in found.message


def test_views_that_contradict_each_other_are_ambiguous(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from molmo_calibration import triangulate

    def contradicting(views: Any, least: Any) -> Any:
        found = triangulate(views, least)
        return dataclasses.replace(
            found,
            position=dataclasses.replace(found.position, status="ambiguous"),
            reason="the views contradict each other",
        )

    session, _, _ = ready(scene, position_source="views", **{"camera.depth_topic": ""})
    monkeypatch.setattr(multiview, "triangulate", contradicting)
    position(session)
    later = scene.start_ns + SECOND
    session.clock = lambda: later
    session.snapshots._clock = lambda: later
    for stamp in (later - SECOND // 100, later + SECOND // 100):
        session.add_transforms(scene.tf(stamp))
    session.add_image("camera", scene.image(later))
    found = position(session)
    assert found.status is PositionStatus.AMBIGUOUS
    assert "contradict each other" in found.message
    assert np.isnan(found.xyz).all()


def test_an_unregistered_depth_still_goes_through_its_own_camera(scene: Scene) -> None:
    session, buffer, stamp = ready(scene, **{"camera.depth_info_topic": "/camera/depth_info"})
    beside = Transform.from_parts(np.eye(3), [0.05, 0, 0], "camera_optical", "depth_optical")
    session.add_transforms(
        scene.make("tf2_msgs/msg/TFMessage", transforms=[scene.transform(stamp, beside)]),
        static=True,
    )
    buffer.add_depth_info(scene.info(focal=250.0, frame_id="depth_optical"))
    buffer.add_depth(scene.depth(stamp, frame_id="depth_optical"))
    assert position(session).status is PositionStatus.OK
