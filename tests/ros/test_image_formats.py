"""What `CompressedImage.format` says about the bytes, and 16-bit grey as something a model can see."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molmo_robot.contrast import grey8
from molmo_robot.dds.types import RosTypes
from molmo_robot.errors import MessageError
from molmo_robot.messages.compressed_images import ImageFormat, rgb_of_compressed
from molmo_robot.session import Session
from molmo_robot.settings import Settings
from molmo_robot.types import Request
from PIL import Image
from robot_scene import Scene

from molmo_point.images import Array
from molmo_point.testing import FakePointer

RED_LEFT_BLUE_RIGHT = np.zeros((16, 32, 3), np.uint8)
RED_LEFT_BLUE_RIGHT[:, :16, 0] = 220
RED_LEFT_BLUE_RIGHT[:, 16:, 2] = 220


class Msg:
    def __init__(self, form: Any, array: Array, kind: str = "JPEG") -> None:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind, **({"qos": 95} if kind == "JPEG" else {}))
        self.format, self.data = form, np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.mark.parametrize(
    ("form", "stored_swapped"),
    [
        ("jpeg", False),
        ("", False),
        ("rgb8; jpeg compressed bgr8", False),
        ("bgr8; jpeg compressed bgr8", False),
        ("bayer_rggb8; jpeg compressed bgr8", False),
        ("rgb8; jpeg compressed rgb8", True),
        ("bgr8; jpeg compressed rgb8", True),
        ("RGB8 ;JPEG compressed  rgb8 ", True),
    ],
)
def test_the_colours_are_those_image_transport_would_give(form: Any, stored_swapped: Any) -> None:
    stored = RED_LEFT_BLUE_RIGHT[..., ::-1] if stored_swapped else RED_LEFT_BLUE_RIGHT
    rgb = rgb_of_compressed(Msg(form, np.ascontiguousarray(stored)), "/t").astype(int)
    assert np.abs(rgb[4:12, 4:12].mean((0, 1)) - [220, 0, 0]).max() < 12
    assert np.abs(rgb[4:12, 20:28].mean((0, 1)) - [0, 0, 220]).max() < 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "form", ["bayer_rggb8; {} compressed ", "bayer_gbrg8; {} compressed bayer_gbrg8"]
)
def test_a_mosaic_is_refused_as_a_raw_one_is(kind: str, form: Any) -> None:
    mosaic = Msg(form.format(kind.lower()), RED_LEFT_BLUE_RIGHT[..., 0], kind)
    with pytest.raises(MessageError, match=r"/t: .*Bayer mosaic .*run image_proc's debayer"):
        rgb_of_compressed(mosaic, "/t")


@pytest.mark.parametrize(
    "form",
    [
        "mono8; jpeg compressed ",
        "mono8; jpeg compressed mono8",
        "yuv422_yuy2; jpeg compressed mono8",
    ],
)
def test_grey_stays_grey(form: Any) -> None:
    grey = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    rgb = rgb_of_compressed(Msg(form, grey), "/t")
    assert np.ptp(rgb, axis=2).max() == 0
    assert np.abs(rgb[..., 0].astype(int) - grey).max() < 12


def test_depth_on_an_image_topic_says_where_it_belongs() -> None:
    depth = Msg("16UC1; compressedDepth png", np.zeros((4, 4), np.uint8), "PNG")
    with pytest.raises(MessageError, match=r"got depth .*depth_topic"):
        rgb_of_compressed(depth, "/t")


@given(st.text(max_size=40))
def test_any_text_is_a_format(text: Any) -> None:
    found = ImageFormat.of(text)
    assert found.mosaic in (True, False)


THERMAL = np.full((32, 32), 7500, np.uint16)
THERMAL[10:20, 10:20] = 8200


def as_raw(types: RosTypes, array: Array) -> Any:
    return Scene(types).image_message(
        0, array, "mono16", 2 * array.shape[1], size=array.shape[::-1]
    )


def test_sixteen_bits_are_stretched_over_what_a_model_sees() -> None:
    for contrast in ("percentile", "minmax"):
        seen = grey8(THERMAL, contrast)
        assert (seen[0, 0], seen[15, 15]) == (0, 255), contrast
    assert (grey8(THERMAL, "none")[0, 0], grey8(THERMAL, "none")[15, 15]) == (29, 32)


def test_one_hot_pixel_decides_minmax_and_not_percentiles() -> None:
    noisy = THERMAL + np.random.default_rng(0).integers(0, 40, THERMAL.shape).astype(np.uint16)
    noisy[0, 0] = 65535
    assert np.ptp(grey8(noisy, "percentile")[1:]) == 255
    assert np.ptp(grey8(noisy, "minmax")[1:]) < 10


@given(
    st.lists(st.integers(0, 65535), min_size=1, max_size=60),
    st.sampled_from(["percentile", "minmax"]),
)
def test_a_stretch_keeps_the_order_of_the_pixels(values: Any, contrast: Any) -> None:
    grey = np.array([sorted(values)], np.uint16)
    assert (np.diff(grey8(grey, contrast).astype(int)) >= 0).all()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("contrast", "spread"), [("percentile", 255), ("none", 3)])
def test_a_camera_has_its_contrast(
    types: RosTypes, compressed: Any, contrast: Any, spread: Any
) -> None:
    seen = []

    def look(image: Array, query: str) -> Any:
        seen.append(np.ptp(image))
        return []

    transport = "compressed" if compressed else "raw"
    values = {
        "camera.image_transport": transport,
        "camera.contrast": contrast,
        "max_image_age_s": 0,
    }
    session = Session(Settings.of(values), FakePointer(look))
    message = as_raw(types, THERMAL)
    if compressed:
        packed = Msg("mono16; png compressed mono16", THERMAL, "PNG")
        packed.header = message.header
        message = packed
    session.add_image("camera", message)
    session.point(Request("cat", compute_position=False))
    assert seen == [spread]
