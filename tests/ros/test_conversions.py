"""Messages to arrays and back, stamps, buffers, transforms, turned images: pure functions, and their round trips."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from molmo_calibration import ExtrapolationError, FrameError, Transform
from molmo_robot import topics
from molmo_robot.codes import PositionStatus
from molmo_robot.dds.types import DISTROS, RosTypes
from molmo_robot.errors import MessageError
from molmo_robot.image_rotation import rotate_image, unrotate_points
from molmo_robot.messages import results
from molmo_robot.messages.compressed_images import rgb_of_compressed
from molmo_robot.messages.images import rgb_of
from molmo_robot.messages.overlay import image_message
from molmo_robot.settings import Settings
from molmo_robot.stamped_buffer import JUMP_NS, StampedBuffer
from molmo_robot.stamps import sec_nanosec, time_ns_of
from molmo_robot.transform_buffer import TransformBuffer
from molmo_robot.types import Answer, LocatedPoint, Position, Snapshot
from PIL import Image

from molmo_point.images import Array
from molmo_point.points import Point, Pointing, Status

SECOND = 1_000_000_000
images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
units = st.floats(0.0, 1.0)


@dataclasses.dataclass
class Msg:
    """What an image has, whatever library it comes from."""

    height: int
    width: int
    encoding: str
    step: int
    data: object
    is_bigendian: int = 0
    format: str = "jpeg"


def message(rows: Any, encoding: str, width: Any, padding: int = 0, as_bytes: bool = False) -> Msg:
    """An image message with rows of bytes (H, n), padded."""
    padded = np.pad(rows, ((0, 0), (0, padding)))
    data = padded.tobytes() if as_bytes else padded.reshape(-1)
    return Msg(len(rows), width, encoding, padded.shape[1], data)


@given(images, st.integers(0, 3), st.booleans())
def test_every_packed_encoding_gives_the_same_rgb(rgb: Array, padding: Any, as_bytes: Any) -> None:
    height, width, _ = rgb.shape
    alpha = np.full((height, width, 1), 77, np.uint8)
    packed = {
        "rgb8": rgb,
        "bgr8": rgb[..., ::-1],
        "8UC3": rgb[..., ::-1],
        "rgba8": np.concatenate([rgb, alpha], -1),
        "bgra8": np.concatenate([rgb[..., ::-1], alpha], -1),
        "RGB8": rgb,
    }
    for encoding, pixels in packed.items():
        rows = np.ascontiguousarray(pixels).reshape(height, -1)
        assert np.array_equal(rgb_of(message(rows, encoding, width, padding, as_bytes), "/t"), rgb)


@given(images)
def test_grey_is_repeated_and_sixteen_bits_lose_their_lower_half(rgb: Array) -> None:
    grey = rgb[..., 0]
    width = grey.shape[1]
    wanted = np.repeat(grey[..., None], 3, -1)
    assert np.array_equal(rgb_of(message(grey, "mono8", width), "/t"), wanted)
    for order, big in (("<u2", 0), (">u2", 1)):
        deep = (grey.astype(np.uint16) * 256 + 200).astype(order)
        sixteen = message(deep.view(np.uint8).reshape(len(grey), -1), "mono16", width)
        sixteen.is_bigendian = big
        assert np.array_equal(rgb_of(sixteen, "/t"), wanted)


@pytest.mark.parametrize(("encoding", "code"), [("yuv422_yuy2", "YUY2"), ("yuv422", "UYVY")])
def test_yuv_is_opencvs(encoding: str, code: Any) -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 30, 2), np.uint8)
    wanted = cv2.cvtColor(pixels, getattr(cv2, f"COLOR_YUV2RGB_{code}"))
    got = rgb_of(message(pixels.reshape(20, 60), encoding, 30), "/t")
    assert np.abs(got.astype(int) - wanted).max() <= 2


@given(images, st.sampled_from(["<u2", ">u2"]))
def test_colours_of_sixteen_bits_lose_their_lower_half(rgb: Array, order: str) -> None:
    alpha = np.full((*rgb.shape[:2], 1), 77, np.uint8)
    for encoding, pixels in {
        "rgb16": rgb,
        "bgr16": rgb[..., ::-1],
        "16UC3": rgb[..., ::-1],
        "rgba16": np.concatenate([rgb, alpha], -1),
        "bgra16": np.concatenate([rgb[..., ::-1], alpha], -1),
    }.items():
        deep = np.ascontiguousarray((pixels.astype(np.uint16) * 256 + 200).astype(order))
        sixteen = message(deep.view(np.uint8).reshape(len(rgb), -1), encoding, rgb.shape[1])
        sixteen.is_bigendian = int(order == ">u2")
        assert np.array_equal(rgb_of(sixteen, "/t"), rgb)


@pytest.mark.parametrize(("encoding", "code"), [("nv12", "NV12"), ("nv21", "NV21")])
@pytest.mark.parametrize("padding", [0, 6])
def test_planes_of_yuv_are_opencvs(encoding: str, code: str, padding: int) -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    planes = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)  # 20 rows of luma
    wanted = cv2.cvtColor(planes, getattr(cv2, f"COLOR_YUV2RGB_{code}"))
    whole = message(planes[:20], encoding, 30)
    whole.step = 30 + padding
    whole.data = np.pad(planes, ((0, 0), (0, padding))).ravel()
    got = rgb_of(whole, "/t")
    assert np.abs(got.astype(int) - wanted).max() <= 2
    whole.data = whole.data[: 20 * whole.step]
    with pytest.raises(MessageError, match="the chroma after the luma"):
        rgb_of(whole, "/t")


def test_a_compressed_image_is_read_and_a_broken_one_named() -> None:
    import io

    rgb = np.full((8, 8, 3), (10, 200, 30), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    whole = Msg(0, 0, "", 0, np.frombuffer(buffer.getvalue(), np.uint8))
    assert np.array_equal(rgb_of_compressed(whole, "/t"), rgb)
    whole.data = whole.data[:40]
    with pytest.raises(MessageError, match="/t: expected a JPEG or PNG image"):
        rgb_of_compressed(whole, "/t")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoding": "bayer_bggr8"},
            "expected an encoding out of .* got 'bayer_bggr8'; run image_proc's debayer",
        ),
        ({"encoding": "32FC1"}, "expected an encoding out of"),
        (
            {"data": np.zeros(5, np.uint8)},
            "4x3 rgb8 needs rows of 12 bytes and 36 bytes in all, got a step of 12 and 5",
        ),
        ({"step": 3}, "4x3 rgb8 needs .* got a step of 3"),
        ({"width": 0}, "expected 1 to .* pixels, got 0x3"),
        ({"height": 2**31, "width": 2**31}, "expected 1 to"),
    ],
)
def test_images_that_cannot_be_are_refused(changes: Any, words: Any) -> None:
    good = Msg(3, 4, "rgb8", 12, np.zeros(36, np.uint8))
    with pytest.raises(MessageError, match=f"/camera: {words}"):
        rgb_of(dataclasses.replace(good, **changes), "/camera")


@given(st.integers(-(2**40), 2**62))
def test_stamps_survive_the_split(stamp_ns: int) -> None:
    sec, nanosec = sec_nanosec(stamp_ns)
    assert 0 <= nanosec < SECOND
    assert time_ns_of(type("Time", (), {"sec": sec, "nanosec": nanosec})) == stamp_ns


@given(images, st.sampled_from([0, 90, 180, 270]), units, units)
def test_points_of_a_turned_image_come_back_to_where_they_were(
    rgb: Array, degrees: int, fx: Any, fy: Any
) -> None:
    height, width, _ = rgb.shape
    u, v = min(int(fx * width), width - 1), min(int(fy * height), height - 1)
    up = rotate_image(np.indices((height, width)).transpose(1, 2, 0).astype(np.uint8), degrees)
    (row, column) = np.argwhere((up[..., 0] == v) & (up[..., 1] == u))[0]
    size = (up.shape[1], up.shape[0])
    point = Point(
        x=(column + 0.5) / size[0], y=(row + 0.5) / size[1], covariance=(0.04, 0.01, 0.09)
    )
    seen = Pointing(query="q", points=(point,), status=Status.FOUND, image_size=size)
    back = unrotate_points(seen, degrees, (width, height))
    assert back.image_size == (width, height)
    assert back.points[0].pixel(width, height) == pytest.approx((u + 0.5, v + 0.5), abs=1e-6)
    xx, xy, yy = back.points[0].covariance
    assert (xx, yy) == ((0.04, 0.09) if degrees in (0, 180) else (0.09, 0.04))
    assert abs(xy) == 0.01
    assert (xy > 0) == (degrees in (0, 180))


@given(
    st.lists(st.integers(0, 2 * JUMP_NS), min_size=1),
    st.integers(0, 2 * JUMP_NS),
    st.integers(0, JUMP_NS),
)
def test_a_buffer_finds_the_nearest_within_the_tolerance(
    stamps: Any, wanted: Any, tolerance: Any
) -> None:
    buffer = StampedBuffer(1000)
    kept = []
    for stamp in stamps:
        if buffer.add(stamp, f"at {stamp}"):
            kept = []
        kept.append(stamp)
    found = buffer.nearest(wanted, tolerance)
    distance = min(abs(s - wanted) for s in kept)
    if distance > tolerance:
        assert found is None
    else:
        assert abs(found[0] - wanted) == distance
        assert found[1] == f"at {found[0]}"
    assert buffer.newest()[0] == max(kept)


def test_a_buffer_forgets_the_oldest_and_starts_again_where_time_is_set_back() -> None:
    buffer = StampedBuffer(3, span_s=2.0)
    assert not any(buffer.add(s * SECOND, s) for s in (1, 2, 3, 4))
    assert buffer.nearest(1 * SECOND) is None
    assert len(buffer) == 3
    buffer.add(5 * SECOND + 1, 5)
    assert buffer.nearest(3 * SECOND) is None, "older than the span"
    assert not buffer.add(5 * SECOND, "late, but no jump")
    assert buffer.add(1 * SECOND, "set back")
    assert len(buffer) == 1


def stamped(make: Any, stamp_ns: int, transform: Any) -> Any:
    q, t = transform.quaternion, transform.translation
    return make(
        "geometry_msgs/msg/TransformStamped",
        header=results.header(make, stamp_ns, transform.to_frame),
        child_frame_id=transform.from_frame,
        transform=make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=t[0], y=t[1], z=t[2]),
            rotation=make("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
        ),
    )


def moving(make: Any, *poses: Any) -> Any:
    """A TFMessage of base in odom at x = value for (stamp in s, value)."""
    transforms = [
        stamped(
            make, round(s * SECOND), Transform.from_parts(np.eye(3), [x, 0, 0], "odom", "base")
        )
        for s, x in poses
    ]
    return make("tf2_msgs/msg/TFMessage", transforms=transforms)


def test_transforms_are_interpolated_and_never_extrapolated(types: RosTypes) -> None:
    buffer = TransformBuffer()
    buffer.add(moving(types.make, (1.0, 0.0), (2.0, 1.0), (3.0, 5.0)))
    assert buffer.lookup("odom", "base", round(1.25 * SECOND)).translation[0] == pytest.approx(
        0.25
    )
    assert buffer.lookup("base", "odom", round(2.5 * SECOND)).translation[0] == pytest.approx(-3.0)
    for outside in (0.99, 3.01):
        with pytest.raises(ExtrapolationError, match="never extrapolated"):
            buffer.lookup("odom", "base", round(outside * SECOND))
    with pytest.raises(FrameError, match="'map'"):
        buffer.lookup("map", "base", 2 * SECOND)


def test_a_buffer_waits_for_transforms_that_are_on_their_way(types: RosTypes) -> None:
    import threading

    buffer = TransformBuffer()
    buffer.add(moving(types.make, (1.0, 0.0)))
    threading.Timer(0.1, buffer.add, (moving(types.make, (2.0, 1.0)),)).start()
    found = buffer.wait("odom", "base", round(1.5 * SECOND), timeout_s=10)
    assert found.translation[0] == pytest.approx(0.5)
    with pytest.raises(ExtrapolationError):
        buffer.wait("odom", "base", 9 * SECOND, timeout_s=0.01)


def test_transforms_are_forgotten_by_age_and_older_ones_change_nothing(types: RosTypes) -> None:
    buffer = TransformBuffer(cache_s=2.0)
    buffer.add(moving(types.make, *((float(s), s) for s in range(10))))
    with pytest.raises(ExtrapolationError):
        buffer.lookup("odom", "base", 5 * SECOND)
    assert not buffer.add(moving(types.make, (1.0, 7.0)))
    with pytest.raises(ExtrapolationError):
        buffer.lookup("odom", "base", SECOND)
    assert buffer.lookup("odom", "base", 9 * SECOND).translation[0] == 9.0


@functools.cache
def types_of(distro: Any) -> Any:
    return RosTypes(distro)


def an_answer(points: int = 2, position: bool = True, frame: str = "odom") -> Any:
    """An answer as a session makes it."""
    camera = Settings.of({"camera.image_topic": "/image"}).cameras["camera"]
    snapshot = Snapshot(camera, 5 * SECOND + 7, "optical", np.zeros((20, 40, 3), np.uint8))
    placed = []
    for index in range(points):
        point = Point(x=0.25, y=0.5, label="mug", score=0.5 + 0.1 * index, index=index)
        where = Position(PositionStatus.NO_DEPTH, message="no depth")
        if position:
            covariance = np.diag([4e-4, 1e-4, 9e-4])
            where = Position(
                PositionStatus.OK, np.array([1.0, 2.0, 3.0 + index]), covariance, 3.0, 0.01, 9
            )
        placed.append(LocatedPoint(point, np.array([9.5, 9.5]), np.eye(2) * 4.0, where))
    pointing = Pointing(
        query="mug",
        points=tuple(p.point for p in placed),
        status=Status.FOUND if points else Status.NOT_FOUND,
        image_size=(40, 20),
        model="nano",
        text="raw",
    )
    return Answer(snapshot, pointing, tuple(placed), frame, 4 * SECOND, "r1", 0.25)


@pytest.mark.parametrize("distro", DISTROS)
@pytest.mark.parametrize("points", [0, 1, 3])
@pytest.mark.parametrize("position", [True, False])
def test_every_result_is_a_message_of_every_distribution(
    distro: Any, points: Any, position: Any
) -> None:
    types = types_of(distro)
    answer = an_answer(points, position)
    built = topics.results(types.make, answer, Settings.of({}), outputs=topics.OUTPUTS)
    names = {output.name for output, _ in built}
    assert ("point" in names) == ("pose" in names) == (position and points > 0)
    for output, message_ in built:
        data = types.to_cdr(message_, output.type_name)
        again = types.from_cdr(data, output.type_name)
        assert types.to_cdr(again, output.type_name) == data
        head = getattr(again, "header", None)
        if head is not None:
            assert time_ns_of(head.stamp) == answer.snapshot.stamp_ns


def test_what_is_not_known_is_nan_and_never_zero(types: RosTypes) -> None:
    found = results.point_array(types.make, an_answer(1, position=False)).points[0]
    unknown = [
        found.position.x,
        found.position.y,
        found.position.z,
        found.depth,
        found.depth_spread,
    ]
    assert all(math.isnan(value) for value in unknown)
    assert np.isnan(found.position_covariance).all()
    empty = results.empty_array(types.make)
    assert math.isnan(empty.absent_probability)
    assert empty.stated_count == -1


def test_the_best_point_is_the_surest_of_those_with_a_position(types: RosTypes) -> None:
    answer = an_answer(3)
    assert results.best_point(types.make, answer).point.z == 5.0
    lost = dataclasses.replace(answer.points[2], position=Position(PositionStatus.NO_DEPTH))
    answer = dataclasses.replace(answer, points=(*answer.points[:2], lost))
    assert results.best_point(types.make, answer).point.z == 4.0


def test_a_detection_has_a_pose_only_in_its_own_frame(types: RosTypes) -> None:
    for frame, known in (("optical", True), ("odom", False)):
        built = results.detections(types.make, an_answer(1, frame=frame), Settings.of({}))
        assert math.isfinite(built.detections[0].results[0].pose.pose.position.x) == known


def test_markers_hold_the_ninety_percent_ellipsoid_and_begin_with_a_clean_sheet(
    types: RosTypes,
) -> None:
    from molmo_robot.messages.markers import markers

    clean, sphere, label = markers(types.make, an_answer(1), Settings.of({})).markers
    assert clean.action == 3
    # sqrt of the 90 % quantile of chi-square with 3 degrees of freedom, 6.251; longest axis first.
    assert sphere.scale.x == pytest.approx(2 * 0.03 * math.sqrt(6.251), rel=1e-3)
    assert sphere.scale.z == pytest.approx(2 * 0.01 * math.sqrt(6.251), rel=1e-3)
    assert label.text == "mug 0.50"


def test_annotations_hold_the_ninety_percent_ellipse(types: RosTypes) -> None:
    from molmo_robot.messages.foxglove import image_annotations

    built = image_annotations(types.make, an_answer(1), Settings.of({}))
    ellipse = np.array([[p.x, p.y] for p in built.points[0].points]) - [10.0, 10.0]
    assert np.linalg.norm(ellipse, axis=1) == pytest.approx(2.0 * math.sqrt(4.605), rel=1e-3)
    assert built.texts[0].text == "mug 0.50 3.00 m"


@given(rgb=images)
def test_an_overlay_message_is_read_back_as_the_same_image(types: RosTypes, rgb: Array) -> None:
    again = rgb_of(image_message(types.make, rgb, 5, "optical"), "/t")
    assert np.array_equal(again, rgb)
