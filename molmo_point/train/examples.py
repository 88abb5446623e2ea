"""A scene and its questions as arrays: crops, image tokens, what every token shows, and answers with the weight of each word.

Letters: n crops, P patches of a crop, K pooled patches of a crop, F tokens of the image prefix, L tokens of one question with
its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_point.config import PreprocessConfig
from molmo_point.markup import format_points
from molmo_point.preprocess.crops import canvas_size, crop_image, token_grid
from molmo_point.preprocess.inputs import image_prefix
from molmo_point.preprocess.prompt import wrap
from molmo_point.preprocess.resize import Placement, place
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.train.letters import letters_in_patches
from molmo_point.train.scenes.kinds import COLOURS, all_kinds
from molmo_point.train.scenes.questions import Question
from molmo_point.train.scenes.scene import NOTHING, Scene
from molmo_point.train.spelling import SLOTS, spelled
from molmo_point.train.vocabulary import opening_tokens
from molmo_point.train.words import NO_WORD, WORDS, words_in_cells

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

NO_PATCH = -2
"""In `Picture.shows`: this token of the prefix is no image patch."""

NO_TARGET = -1
"""In `Answer.targets`: nothing is learned from what follows this token."""

BEHIND = 3
"""From the token that a number begins after to its last one: whole part, point, digit."""

SAMPLES = 4
"""Every image token looks at SAMPLES x SAMPLES places of the map of owners to find out what it shows."""


@dataclass(frozen=True, eq=False)
class Picture:
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


@dataclass(frozen=True, eq=False)
class Answer:
    """One question and its answer as tokens.

    Attributes:
        ids: [L] int32, question and answer.
        targets: [L] int32, the id to predict after each token, or NO_TARGET.
        weights: [L] float32, weight of that prediction in the loss.
        values: [L] float32, where the next token is a whole number of a coordinate, the coordinate in percent; NaN elsewhere.
        looks: (position in `ids`, indices of things): where to look at that token; no things = none is there. First at the
            question's end for all that is asked for, then for every point where its x and its y begin. Of a foil: none.
        absent: Whether the answer is that there are none.
        asked: (start, end) in `ids` of the words that are asked for.
        copies: (position in `ids`, position of the word in the question that comes next in the label).
        name: First letters of the label that is asked for, empty where none is.
        foil: (position of the question's end, positions where x and y of its only point begin) of a foil, see
            `AnswerWriter.foil`.
    """

    ids: Ints
    targets: Ints
    weights: Floats
    values: Floats
    looks: tuple[tuple[int, tuple[int, ...]], ...]
    absent: bool
    asked: tuple[int, int]
    copies: tuple[tuple[int, int], ...]
    name: tuple[int, ...] = ()
    foil: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class AnswerWeights:
    """How much each kind of token counts in the loss."""

    first: float = 2.0
    whole: float = 2.0
    digit: float = 0.3
    next_point: float = 1.0
    other: float = 0.6


def see(scene: Scene, config: PreprocessConfig, tokenizer: Tokenizer) -> Picture:
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
    return Picture(
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
            [spelled(t.text) if t.text else (-1,) * SLOTS for t in scene.things], np.int32
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
    """`shows`, `offsets`, `words` and `shares` of a Picture."""

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


def written_order(points: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    """Return the order in which `format_points` writes points, as indices; `points` is [N, 2] in percent."""
    rounded = np.round(points, 1)
    return np.argsort(rounded[:, 0] * 10000 + rounded[:, 1], kind="stable")


class AnswerWriter:
    """Turns questions into tokens with their weights.

    Args:
        cut: Chance that an answer ends right after its coordinates: the label behind them is soon learned, and costs time.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, cut: float = 0.9, weights: AnswerWeights | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._cut = cut
        self._weights = weights or AnswerWeights()
        self._opening = frozenset(tokenizer.encode(text)[0] for text in opening_tokens())
        self._alt = tokenizer.encode('" alt="')[0]
        self._inner = tokenizer.encode('">')[0]
        self._point = tokenizer.encode(".")[0]

    def write(self, question: Question, points: np.ndarray[Any, Any], cut_draw: float) -> Answer:
        """Write one answer.

        Args:
            points: [things, 2] float64, every thing of the picture, in percent.
            cut_draw: Uniform 0-1 draw that decides whether this answer is cut.
        """
        chosen = points[list(question.targets)].reshape(-1, 2)
        order = written_order(chosen)
        things = [question.targets[index] for index in order]
        prompt = self._tokenizer.encode(wrap(question.prompt))
        answer = [*self._text(question, chosen), self._tokenizer.special.end_of_text]
        if things and cut_draw < self._cut and self._alt in answer:
            answer = answer[: answer.index(self._alt) + 1]
        asked = _find(prompt, self._tokenizer.encode(f" {question.query}"))
        name = spelled(question.label) if question.label else ()
        return self._weighted(prompt, answer, chosen[order], things, asked, name)

    def foil(self, question: Question, points: np.ndarray[Any, Any]) -> Answer:
        """Begin a wrong answer, up to the end of its first point. Nothing of it is to be learned but that it is wrong.

        Args:
            points: [n, 2] in percent, as many as a wrong answer like this would have.
        """
        prompt = self._tokenizer.encode(wrap(question.prompt))
        wrong = self._text(question, points)
        x, y = [index for index, token in enumerate(wrong) if token in self._opening][:2]
        ids = np.array([*prompt, *wrong[: y + BEHIND + 1]], np.int32)
        nothing = np.full(len(ids), NO_TARGET, np.int32)
        return Answer(
            ids,
            nothing,
            np.zeros(len(ids), np.float32),
            np.full(len(ids), np.nan, np.float32),
            looks=(),
            absent=not question.targets,
            asked=(0, len(prompt)),
            copies=(),
            foil=(len(prompt) - 1, len(prompt) + x, len(prompt) + y),
        )

    def _text(self, question: Question, points: np.ndarray[Any, Any]) -> list[int]:
        counting = question.mode == "count"
        text = format_points(points, question.query, counting=counting, scale=100.0)
        return self._tokenizer.encode(" " + text)

    def _weighted(
        self,
        prompt: list[int],
        answer: list[int],
        points: np.ndarray[Any, Any],
        things: list[int],
        asked: tuple[int, int],
        name: tuple[int, ...],
    ) -> Answer:
        ids = np.array([*prompt, *answer], np.int32)
        start = len(prompt) - 1
        targets = np.full(len(ids), NO_TARGET, np.int32)
        targets[start:-1] = ids[start + 1 :]
        weights = np.where(targets == NO_TARGET, 0, self._weights.other).astype(np.float32)
        weights[start] = self._weights.first
        values = np.full(len(ids), np.nan, np.float32)
        looks: list[tuple[int, tuple[int, ...]]] = [(start, tuple(things))]
        openings = [i for i in range(start + 1, len(ids) - 1) if int(ids[i]) in self._opening]
        for number, at in enumerate(openings):
            point, axis = divmod(number, 2)
            values[at] = round(float(points[point, axis]), 1)
            weights[at] = self._weights.whole
            weights[at + 2] = self._weights.digit
            # After the digit it is decided whether there is another point.
            weights[at + BEHIND] = self._weights.next_point if axis else self._weights.other
            looks.append((at, (things[point],)))
        copies = [
            (at + k, asked[0] + k)
            for at in range(start + 1, len(ids))
            if ids[at] in (self._alt, self._inner)
            for k in range(min(asked[1] - asked[0], len(ids) - 1 - at))
        ]
        return Answer(
            ids, targets, weights, values, tuple(looks), not things, asked, tuple(copies), name
        )


def _find(tokens: list[int], part: list[int]) -> tuple[int, int]:
    """Return (start, end) of the last occurrence of `part` in `tokens`; all of `tokens` where it is spelled otherwise."""
    for start in range(len(tokens) - len(part), -1, -1):
        if tokens[start : start + len(part)] == part:
            return start, start + len(part)
    return 0, len(tokens)
