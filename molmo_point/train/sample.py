"""A scene as arrays: crops, image tokens, and what every token shows.

Letters: n crops, P patches of a crop, K pooled patches of a crop, F tokens of the image prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

NO_PATCH = -2
"""In `ImageSample.shows`: this token of the prefix is no image patch."""

SAMPLES = 4
"""Every image token looks at SAMPLES x SAMPLES places of the map of owners to find out what it shows."""


@dataclass(frozen=True, eq=False)
class ImageSample:
    """What the network sees of a scene, and what there is to see.

    Attributes:
        crops: [n, P, patch pixels] float32; crops equal to an earlier one are left out (see `where`).
        where: [m] int32, for each of the m crops that Molmo's preprocessing makes its row in `crops`.
        masks: [m, P] float32.
        token_at: [m, K] int32, position of a pooled patch in `prefix`, negative where no token shows it.
        prefix: [F] int32 token ids.
        shows: [F] int32, index of the thing that an image token shows, NOTHING for background, NO_PATCH for other tokens.
        offsets: [F, 2] float32, from a token's centre to the centre of the thing it shows, in token sides; 0 where none.
        words: [F, WORDS] int32, classes of the words that are written where a token looks, NO_WORD where there are no more.
        shares: [F, WORDS] float32, how much of the token's text each of them is.
        kinds, colours: [things] int32, class numbers; colour -1 where a thing has none.
        points: [things, 2] float64, in percent of width and height.
        boxes: [things, 4] float32, left, top, right, bottom, in percent of width and height.
        spells: [things, SLOTS] int32, first letters of what is written on a thing; -1 where nothing is.
        letters: [n, P, CLASSES] bool, which letters have their middle in a patch.
        lettered: [n] bool, whether that is known of a crop: of pages, where the letters are large enough to be read.
    """

    crops: Floats
    where: Ints
    masks: Floats
    token_at: Ints
    prefix: Ints
    shows: Ints
    offsets: Floats
    words: Ints
    shares: Floats
    kinds: Ints
    colours: Ints
    points: np.ndarray[Any, np.dtype[np.float64]]
    boxes: Floats
    spells: Ints
    letters: Flags
    lettered: Flags


def build_image_sample(
    scene: Scene, config: PreprocessConfig, tokenizer: Tokenizer
) -> ImageSample:
    """Cut a scene into crops, and find out what each image token shows."""
    cut = crop_image(scene.image, config)
    prefix = image_prefix(cut, config, tokenizer.special)
    same = cut.grid == (1, 1) and np.array_equal(cut.crops[0], cut.crops[1])
    where = np.zeros(2, np.int32) if same else np.arange(len(cut.crops), dtype=np.int32)
    contents = _token_contents(scene, cut.grid, cut.placement, config, len(prefix.input_ids))
    height, width = scene.image.shape[:2]
    classes = {kind.name: index for index, kind in enumerate(all_kinds())}
    colours = {name: index for index, name in enumerate(COLOURS)}
    letters, lettered = letters_in_patches(scene, cut, config)
    return ImageSample(
        crops=cut.crops[:1] if same else cut.crops,
        where=where,
        masks=cut.masks,
        token_at=prefix.image_input_idx,
        prefix=prefix.input_ids,
        shows=contents.shows,
        offsets=contents.offsets,
        words=contents.words,
        shares=contents.shares,
        kinds=np.array([classes[t.kind.name] for t in scene.things], np.int32),
        colours=np.array([colours.get(t.colour or "", -1) for t in scene.things], np.int32),
        points=_percent([t.point for t in scene.things], width, height),
        boxes=_percent([(t.box[:2], t.box[2:]) for t in scene.things], width, height)
        .reshape(-1, 4)
        .astype(np.float32),
        spells=np.array(
            [letter_targets(t.text) if t.text else (-1,) * SLOTS for t in scene.things], np.int32
        ).reshape(-1, SLOTS),
        letters=letters[:1] if same else letters,
        lettered=lettered[:1] if same else lettered,
    )


def _percent(
    points: Sequence[tuple[Any, ...]], width: int, height: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.array(points, np.float64).reshape(-1, 2)
    return np.clip(array / np.array([width / 100, height / 100]), 0, 100)


@dataclass(frozen=True, eq=False)
class _Contents:
    """`shows`, `offsets`, `words` and `shares` of an ImageSample."""

    shows: Ints
    offsets: Floats
    words: Ints
    shares: Floats


def _token_contents(
    scene: Scene,
    grid: tuple[int, int],
    placement: Placement,
    config: PreprocessConfig,
    length: int,
) -> _Contents:
    """Find out what every token of the prefix shows, in the low view and in the crops."""
    height, width = scene.image.shape[:2]
    side = config.token_grid
    low = place(width, height, config.crop_size, config.crop_size)
    views = [(low, (side, side)), (placement, token_grid(*grid, config))]
    assert canvas_size(*grid, config) == (placement.canvas_width, placement.canvas_height)
    shows = np.full(length, NO_PATCH, np.int32)
    offsets = np.zeros((length, 2), np.float32)
    words = np.full((length, WORDS), NO_WORD, np.int32)
    shares = np.zeros((length, WORDS), np.float32)
    cell = config.patch_size * config.pool_size
    start = 2  # the begin token and <im_start>
    for view, (rows, columns) in views:
        owners, places = _cells(scene, view, rows, columns, cell)
        at = start + (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)[None, :])
        shows[at] = owners
        offsets[at] = places
        words[at], shares[at] = words_in_cells(scene, view, rows, columns, cell)
        start += rows * (columns + 1) + 2
    return _Contents(shows, offsets, words, shares)


def _cells(
    scene: Scene, view: Placement, rows: int, columns: int, side: int
) -> tuple[Ints, Floats]:
    """What each cell of a canvas shows: owners [rows, columns], offsets to their centres [rows, columns, 2]."""
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
    blocks = blocks.reshape(rows, columns, SAMPLES * SAMPLES)
    count = len(scene.things)
    if count == 0:
        return np.full((rows, columns), NOTHING, np.int32), np.zeros(
            (rows, columns, 2), np.float32
        )
    votes = (blocks[..., None] == np.arange(count)).sum(2)
    best = votes.argmax(-1)
    # A fifth of the cell: less is too little to recognise, and a thing of one cell's size may lie across four.
    shown = np.where(votes.max(-1) >= SAMPLES * SAMPLES // 5, best, NOTHING).astype(np.int32)
    scale = np.array([view.width / width, view.height / height])
    centres = np.array([t.point for t in scene.things]) * scale + np.array([view.left, view.top])
    cell_x = (np.arange(columns) + 0.5) * side
    cell_y = (np.arange(rows) + 0.5) * side
    cells = np.stack(np.broadcast_arrays(cell_x[None, :], cell_y[:, None]), axis=-1)
    offsets = (centres[best] - cells) / side
    return shown, np.where((shown == NOTHING)[..., None], 0, offsets).astype(np.float32)
