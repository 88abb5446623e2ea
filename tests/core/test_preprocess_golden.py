"""Preprocessing against the reference image processor: integers and masks exactly, pixels within 1e-4."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.images import load_image
from molmo_point.preprocess.crops import crop_image
from molmo_point.preprocess.inputs import image_prefix
from molmo_point.preprocess.tiling import choose_tiling
from molmo_point.preprocess.tokenizer import SpecialIds

GOLDEN = Path(__file__).parents[1] / "golden"
INDEX = json.loads((GOLDEN / "preproc/cases.json").read_text())
IDS = INDEX["token_ids"]
SPECIAL = SpecialIds(
    begin=151643,
    end=151643,
    image_start=IDS["im_start"],
    image_end=IDS["im_end"],
    image_patch=IDS["im_patch"],
    image_column=IDS["im_col"],
    low_image_start=IDS["im_start"],
)
PIXEL_TOLERANCE = 1e-4


def sha256(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


@pytest.fixture(params=INDEX["cases"], ids=lambda case: case["name"])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


def test_case_matches_the_reference(case: dict[str, Any]) -> None:
    config = replace(PreprocessConfig(), max_crops=case["max_crops"])
    image = load_image(GOLDEN / case["image"], exif=False)
    golden = np.load(GOLDEN / case["npz"])

    cut = crop_image(image, config)
    prefix = image_prefix(cut, config, SPECIAL)

    assert list(cut.grid) == case["tiling_rows_cols"]
    place = cut.placement
    assert [place.height, place.width] == case["hires"]["scaled_hw"]
    assert (place.top, place.left) == (case["hires"]["top"], case["hires"]["left"])
    np.testing.assert_array_equal(prefix.input_ids[1:], golden["image_tokens"])
    np.testing.assert_array_equal(cut.token_index, golden["image_input_idx"])
    np.testing.assert_array_equal(cut.masks, golden["image_masks"])
    assert sha256(cut.token_index) == case["image_input_idx_sha256"]
    assert sha256(cut.masks) == case["image_masks_sha256"]

    stride = case["center_pixels_crop_stride"]
    center = (7 * 14 + 7) * 3
    np.testing.assert_allclose(
        cut.crops[::stride, :, center : center + 3],
        golden["center_pixels"],
        atol=PIXEL_TOLERANCE,
        rtol=0,
    )
    for (crop, patch), row in zip(golden["patch_rows_where"], golden["patch_rows"], strict=True):
        np.testing.assert_allclose(cut.crops[crop, patch], row, atol=PIXEL_TOLERANCE, rtol=0)
    flat = cut.crops.astype(np.float64).reshape(len(cut.crops), -1)
    stats = [flat.mean(1), flat.std(1), flat.min(1), flat.max(1)]
    np.testing.assert_allclose(np.stack(stats, 1), golden["crop_stats"][:, :4], atol=1e-4)


def test_all_770_tilings() -> None:
    table = json.loads((GOLDEN / "preproc/tiling_table.json").read_text())
    rows = table["rows"]
    assert len(rows) == 770
    wrong = [
        row
        for row in rows
        if list(choose_tiling(row[0], row[1], replace(PreprocessConfig(), max_crops=row[2])))
        != row[3:5]
    ]
    assert wrong == []


@pytest.mark.parametrize("size", [(4000, 5), (5, 4000), (20_000, 10), (1, 3000)])
def test_extreme_shapes_that_crash_the_reference(size: tuple[int, int]) -> None:
    width, height = size
    image = np.full((height, width, 3), 200, np.uint8)
    cut = crop_image(image, PreprocessConfig())
    assert np.isfinite(cut.crops).all()
    assert min(cut.placement.width, cut.placement.height) >= 1
    assert (cut.token_index >= 0).sum() == len(set(cut.token_index[cut.token_index >= 0].tolist()))


def test_reference_errors_are_handled() -> None:
    """Sizes the reference cannot process at all, as recorded with the golden data."""
    errors = INDEX["reference_errors"]
    assert errors
    for error in errors:
        width, height = error["width"], error["height"]
        cut = crop_image(np.zeros((height, width, 3), np.uint8), PreprocessConfig())
        assert cut.crops.shape[0] == 1 + cut.grid[0] * cut.grid[1]
