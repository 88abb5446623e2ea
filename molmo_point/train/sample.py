"""A scene as arrays: crops, image tokens, and what each token shows.

Letters in shapes: n distinct crops, m crops with repetitions, P patches of a crop, K pooled patches of a crop, F tokens of the
image prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.crops import canvas_size, crop_image, token_grid
from molmo_point.preprocess.inputs import image_prefix
from molmo_point.preprocess.resize import Placement, place
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.letter_classes import SLOTS, letter_targets
from molmo_point.synthetic.scenes.kinds import COLOURS, all_kinds
from molmo_point.synthetic.scenes.scene import NOTHING, Scene
from molmo_point.train.letters import letters_in_patches
from molmo_point.train.words import NO_WORD, WORDS, words_in_cells

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

NO_PATCH = -2
"""In `ImageSample.token_things`: this token of the prefix is not an image token."""

SAMPLES = 4
"""What an image token shows is decided by SAMPLES x SAMPLES samples of the scene's owner map."""

MIN_SHOWN = SAMPLES * SAMPLES // 5
"""Samples a thing needs to count as shown, a fifth: with less it cannot be recognised, and a thing as large as one token may lie
across four."""


@dataclass(frozen=True, eq=False)
class ImageSample:
    """The crops of a scene with their ground truth.

    Attributes:
        crops: [n, P, patch pixels] float32; a crop equal to an earlier one is left out, see `crop_rows`.
        crop_rows: [m] int32, index into `crops` for each of the m crops that Molmo's preprocessing makes.
        masks: [m, P] float32, share of a patch that is image, not padding.
        token_slots: [m, K] int32, position in `prefix` of each pooled patch, negative where no token shows it.
        prefix: [F] int32 token ids.
        token_things: [F] int32, index of the thing that a token shows; NOTHING for background, NO_PATCH for other tokens.
        offsets: [F, 2] float32, from a token's centre to the centre of the thing it shows, in token sides; 0 for background.
        words: [F, WORDS] int32, classes of the words that a token shows; NO_WORD in unused places.
        word_areas: [F, WORDS] float32, share of each of these words in the token's text.
        kinds, colours: [things] int32, class numbers; colour -1 where a thing has none.
        points: [things, 2] float64, in percent of width and height.
        boxes: [things, 4] float32, left, top, right, bottom in percent of width and height.
        label_letters: [things, SLOTS] int32, first letters of the label on a thing; -1 where there is none.
        patch_letters: [n, P, CLASSES] bool, letters whose middle lies in a patch.
        has_patch_letters: [n] bool, whether these are known: for pages, where letters are large enough to be read.
    """

    crops: Floats
    crop_rows: Ints
    masks: Floats
    token_slots: Ints
    prefix: Ints
    token_things: Ints
    offsets: Floats
    words: Ints
    word_areas: Floats
    kinds: Ints
    colours: Ints
    points: np.ndarray[Any, np.dtype[np.float64]]
    boxes: Floats
    label_letters: Ints
    patch_letters: Flags
    has_patch_letters: Flags


def build_image_sample(
    scene: Scene, config: PreprocessConfig, tokenizer: Tokenizer
) -> ImageSample:
    """Cut a scene into crops, and find what each image token shows."""
    cut = crop_image(scene.image, config)
    prefix = image_prefix(cut, config, tokenizer.special)
    same = cut.grid == (1, 1) and np.array_equal(cut.crops[0], cut.crops[1])
    rows = np.zeros(2, np.int32) if same else np.arange(len(cut.crops), dtype=np.int32)
    contents = _token_contents(scene, cut.grid, cut.placement, config, len(prefix.input_ids))
    height, width = scene.image.shape[:2]
    classes = {kind.name: index for index, kind in enumerate(all_kinds())}
    colours = {name: index for index, name in enumerate(COLOURS)}
    patch_letters, has_patch_letters = letters_in_patches(scene, cut, config)
    return ImageSample(
        crops=cut.crops[:1] if same else cut.crops,
        crop_rows=rows,
        masks=cut.masks,
        token_slots=prefix.image_input_idx,
        prefix=prefix.input_ids,
        token_things=contents.things,
        offsets=contents.offsets,
        words=contents.words,
        word_areas=contents.word_areas,
        kinds=np.array([classes[t.kind.name] for t in scene.things], np.int32),
        colours=np.array([colours.get(t.colour or "", -1) for t in scene.things], np.int32),
        points=_percent([t.point for t in scene.things], width, height),
        boxes=_percent([(t.box[:2], t.box[2:]) for t in scene.things], width, height)
        .reshape(-1, 4)
        .astype(np.float32),
        label_letters=np.array(
            [letter_targets(t.text) if t.text else (-1,) * SLOTS for t in scene.things], np.int32
        ).reshape(-1, SLOTS),
        patch_letters=patch_letters[:1] if same else patch_letters,
        has_patch_letters=has_patch_letters[:1] if same else has_patch_letters,
    )


def _percent(
    points: Sequence[tuple[Any, ...]], width: int, height: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.array(points, np.float64).reshape(-1, 2)
    return np.clip(array / np.array([width / 100, height / 100]), 0, 100)


@dataclass(frozen=True, eq=False)
class _Contents:
    """`token_things`, `offsets`, `words` and `word_areas` of an ImageSample."""

    things: Ints
    offsets: Floats
    words: Ints
    word_areas: Floats


def _token_contents(
    scene: Scene,
    grid: tuple[int, int],
    placement: Placement,
    config: PreprocessConfig,
    length: int,
) -> _Contents:
    """Find what each token of the prefix shows, first in the global crop, then in the high-resolution crops."""
    height, width = scene.image.shape[:2]
    side = config.token_grid
    low = place(width, height, config.crop_size, config.crop_size)
    views = [(low, (side, side)), (placement, token_grid(*grid, config))]
    assert canvas_size(*grid, config) == (placement.canvas_width, placement.canvas_height)
    contents = _Contents(
        np.full(length, NO_PATCH, np.int32),
        np.zeros((length, 2), np.float32),
        np.full((length, WORDS), NO_WORD, np.int32),
        np.zeros((length, WORDS), np.float32),
    )
    cell = config.patch_size * config.pool_size
    start = 2  # the begin token and <im_start>
    for view, (rows, columns) in views:
        at = start + (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)[None, :])
        contents.things[at], contents.offsets[at] = _cell_things(scene, view, rows, columns, cell)
        contents.words[at], contents.word_areas[at] = words_in_cells(
            scene, view, rows, columns, cell
        )
        start += rows * (columns + 1) + 2
    return contents


def _cell_things(
    scene: Scene, view: Placement, rows: int, columns: int, side: int
) -> tuple[Ints, Floats]:
    """Return the thing that each cell of a canvas shows [rows, columns], and the offset to its centre [rows, columns, 2]."""
    count = len(scene.things)
    if count == 0:
        return np.full((rows, columns), NOTHING, np.int32), np.zeros(
            (rows, columns, 2), np.float32
        )
    owners = _sampled_owners(scene, view, rows, columns, side)
    votes = (owners[..., None] == np.arange(count)).sum(2)
    best = votes.argmax(-1)
    shown = np.where(votes.max(-1) >= MIN_SHOWN, best, NOTHING).astype(np.int32)
    height, width = scene.owner.shape
    scale = np.array([view.width / width, view.height / height])
    centres = np.array([t.point for t in scene.things]) * scale + np.array([view.left, view.top])
    cell_x = (np.arange(columns) + 0.5) * side
    cell_y = (np.arange(rows) + 0.5) * side
    cells = np.stack(np.broadcast_arrays(cell_x[None, :], cell_y[:, None]), axis=-1)
    offsets = (centres[best] - cells) / side
    return shown, np.where((shown == NOTHING)[..., None], 0, offsets).astype(np.float32)


def _sampled_owners(
    scene: Scene, view: Placement, rows: int, columns: int, side: int
) -> np.ndarray[Any, Any]:
    """Return the owners at SAMPLES x SAMPLES places of each cell, [rows, columns, SAMPLES ** 2]; NOTHING outside the image."""
    height, width = scene.owner.shape
    step = (np.arange(SAMPLES) + 0.5) / SAMPLES
    x = ((np.arange(columns)[:, None] + step) * side).reshape(-1)
    y = ((np.arange(rows)[:, None] + step) * side).reshape(-1)
    column = np.floor((x - view.left) / view.width * width).astype(int)
    row = np.floor((y - view.top) / view.height * height).astype(int)
    inside = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))[None, :]
    owners = scene.owner[
        np.clip(row, 0, height - 1)[:, None], np.clip(column, 0, width - 1)[None, :]
    ]
    owners = np.where(inside, owners, NOTHING)
    blocks = owners.reshape(rows, SAMPLES, columns, SAMPLES).transpose(0, 2, 1, 3)
    return blocks.reshape(rows, columns, SAMPLES * SAMPLES)
