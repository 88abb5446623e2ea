"""Properties of tiling, crops and image tokens, for every image and every configuration that fits together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.errors import CheckpointError
from molmo_point.preprocess.crops import UNUSED, canvas_size, crop_image, token_grid, token_index
from molmo_point.preprocess.inputs import image_prefix
from molmo_point.preprocess.resize import letterbox, place, resize
from molmo_point.preprocess.tiling import choose_tiling
from molmo_point.preprocess.tokenizer import SpecialIds

MOLMO = PreprocessConfig()
SMALL = PreprocessConfig(crop_size=112, patch_size=14, margins=(2, 2), max_crops=6)
UNEVEN = PreprocessConfig(crop_size=160, patch_size=16, margins=(2, 4), max_crops=4)
SPECIAL = SpecialIds(
    begin=0, end=0, low_image_start=1, image_start=1, image_end=2, image_patch=3, image_column=4
)

configs = st.sampled_from([MOLMO, SMALL, UNEVEN])
sides = st.integers(1, 5000)
small_sides = st.integers(1, 400)


@given(sides, sides, st.integers(1, 36))
def test_tiling_is_allowed_and_not_wasteful(width: int, height: int, most: int) -> None:
    config = replace(MOLMO, max_crops=most)
    rows, columns = choose_tiling(width, height, config)
    assert 1 <= rows * columns <= most
    # Turning the image turns the grid, but for ties.
    turned = choose_tiling(height, width, config)
    assert turned[0] * turned[1] == rows * columns


@given(configs, st.integers(1, 4), st.integers(1, 4))
def test_each_image_token_comes_from_one_patch_window(
    config: PreprocessConfig, rows: int, columns: int
) -> None:
    index = token_index(rows, columns, config)
    used = index[index != UNUSED]
    height, width = token_grid(rows, columns, config)
    side = config.token_grid
    assert len(used) == len(set(used.tolist())) == side * side + height * width
    # Raster order: a token further down or to the right of the same crop has a higher number.
    for crop in index.reshape(len(index), side, side):
        shown = np.where(crop == UNUSED, -1, crop)
        rows_shown = shown[(shown >= 0).any(1)]
        columns_shown = rows_shown[:, (rows_shown >= 0).any(0)]
        assert (np.diff(columns_shown, axis=0) > 0).all()
        assert (np.diff(columns_shown, axis=1) == 1).all()


@given(configs, st.integers(1, 4), st.integers(1, 4))
def test_numbering_formula_of_the_specification(
    config: PreprocessConfig, rows: int, columns: int
) -> None:
    """docs/molmo.md 3.6, written out cell by cell, for any crop size and margins."""
    side, pool = config.token_grid, config.pool_size
    before, after = config.margins[0] // pool, config.margins[1] // pool
    step = side - before - after
    height, width = step * rows + before + after, step * columns + before + after
    assert (height, width) == token_grid(rows, columns, config)
    index = token_index(rows, columns, config).reshape(-1, side, side)
    for i in range(rows):
        for j in range(columns):
            for u in range(side):
                for v in range(side):
                    u_in = (before if i else 0) <= u < (side if i == rows - 1 else side - after)
                    v_in = (before if j else 0) <= v < (side if j == columns - 1 else side - after)
                    first = 1 + side * (side + 1) + 1 + 1
                    expected = first + (step * i + u) * (width + 1) + step * j + v
                    assert index[1 + i * columns + j, u, v] == (
                        expected if u_in and v_in else UNUSED
                    )


@given(configs, small_sides, small_sides)
def test_inputs_fit_together(config: PreprocessConfig, width: int, height: int) -> None:
    image = np.full((height, width, 3), 128, np.uint8)
    cut = crop_image(image, config)
    prefix = image_prefix(cut, config, SPECIAL)
    index = prefix.image_input_idx
    assert (prefix.input_ids[index[index >= 0]] == SPECIAL.image_patch).all()
    assert (prefix.input_ids == SPECIAL.image_patch).sum() == (index >= 0).sum()
    assert len(cut.crops) == len(cut.masks) == len(index) == 1 + cut.grid[0] * cut.grid[1]
    assert cut.masks[:-1].min() >= 0
    assert cut.masks[:-1].max() <= 1
    assert (cut.masks[-1] == -1).all()


@given(sides, sides, st.integers(28, 1500), st.integers(28, 1500), st.data())
def test_points_go_to_the_canvas_and_back(
    width: int, height: int, canvas_width: int, canvas_height: int, data: st.DataObject
) -> None:
    where = place(width, height, canvas_width, canvas_height)
    unit = st.floats(0, 1)
    points = np.array([[data.draw(unit), data.draw(unit)] for _ in range(3)])
    there = where.canvas_from_norm(points)
    np.testing.assert_allclose(where.norm_from_canvas(there), points, atol=1e-12)
    assert (there >= 0).all()
    assert (there <= [canvas_width, canvas_height]).all()


@given(st.integers(20, 200), st.integers(20, 200), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_bright_spot_lands_where_the_placement_says(
    width: int, height: int, x: float, y: float
) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    column, row = int(x * width), int(y * height)
    image[row, column] = 255
    canvas, where = letterbox(image, 112, 112)
    centre = np.array([(column + 0.5) / width, (row + 0.5) / height])
    weight = canvas[..., 0]
    rows, columns = np.indices(weight.shape)
    found = [(weight * (columns + 0.5)).sum(), (weight * (rows + 0.5)).sum()] / weight.sum()
    # At the image's edge the filter is cut off, and rounding the size down moves things by part of a pixel.
    np.testing.assert_allclose(found, where.canvas_from_norm(centre), atol=0.75)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 255))
def test_a_flat_image_stays_flat(width: int, height: int, value: int) -> None:
    image = np.full((37, 53, 3), value, np.uint8)
    np.testing.assert_allclose(resize(image, width, height), value / 255, atol=1e-6)


@given(configs, st.integers(1, 3), st.integers(1, 3))
def test_crops_overlap_by_the_margins(config: PreprocessConfig, rows: int, columns: int) -> None:
    width, height = canvas_size(rows, columns, config)
    assert width == config.crop_size + (columns - 1) * config.window_size
    assert height == config.crop_size + (rows - 1) * config.window_size


@pytest.mark.parametrize(
    "sizes",
    [
        {"crop_size": 100},
        {"margins": (3, 4)},
        {"margins": (12, 12)},
        {"max_crops": 0},
        {"pool_size": 5},
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="do not fit together"):
        replace(MOLMO, **sizes)  # type: ignore[arg-type]
