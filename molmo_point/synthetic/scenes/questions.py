"""Questions about a scene with the things that answer: by name, synonym, colour and name, plural, and for absent things."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np

from molmo_point.markup import count_prompt, point_prompt
from molmo_point.synthetic.scenes.kinds import COLOUR_SYNONYMS, COLOURS, Kind, all_kinds
from molmo_point.synthetic.scenes.scene import Scene
from molmo_point.synthetic.splits import is_held_out

CLEAR = 0.6
"""A kind is asked for only where at least this share of each of its things is visible."""

POINT_TEMPLATES = (
    "Find {}.",
    "Where is {}?",
    "Where are {}?",
    "Locate {}.",
    "Point to all {}",
    "Show me {}.",
)
COUNT_TEMPLATES = (
    "Count {}.",
    "Count the {}.",
    "How many {} do you see?",
    "Point to and count {}.",
)
"""Rarer wordings, after those of Molmo's training data; the common one is that of `molmo_point.markup`."""

NEW_SYNONYMS = {new: old for old, new in COLOUR_SYNONYMS.items()}


@dataclass(frozen=True)
class Question:
    """One question about a scene.

    Attributes:
        mode: "point" or "count".
        query: The thing asked for, as a user writes it; also the label of the answer.
        prompt: The whole question, without the markers of the speakers.
        targets: Indices of the things that answer, in the scene's order; empty = absent.
        form: Kind of question: "name", "synonym", "colour", "relation", "absent", "absent colour", "absent word" ...
        label: On pages, the text of the control asked for.
    """

    mode: Literal["point", "count"]
    query: str
    prompt: str
    targets: tuple[int, ...]
    form: str
    label: str = ""


@dataclass(frozen=True)
class QuestionStyle:
    """How questions are drawn.

    Attributes:
        absent: Probability that a question asks for something absent.
        counting: Probability that a question asks for a count.
        most: Questions with more answers than this are not asked.
        plain: Probability of the wording that `molmo_point.markup` uses.
        synonyms: Probability that a kind with synonyms is called by one.
        relations: Probability that one of several things of a kind is asked for by its position or size.
    """

    absent: float = 0.35
    counting: float = 0.3
    most: int = 12
    plain: float = 0.85
    synonyms: float = 0.25
    relations: float = 0.15


def draw_questions(
    scene: Scene, rng: np.random.Generator, count: int, style: QuestionStyle
) -> list[Question]:
    """Draw `count` different questions; fewer where the scene has too few things."""
    things = _askable(scene, style)
    found: dict[tuple[str, str], Question] = {}
    for _ in range(6 * count):
        if len(found) >= count:
            break
        question = (
            _absent(scene, rng, style)
            if not things or rng.random() < style.absent
            else _present(scene, rng, style, things[int(rng.integers(len(things)))])
        )
        if question is not None:
            found.setdefault((question.mode, question.query), question)
    return list(found.values())


def _askable(scene: Scene, style: QuestionStyle) -> list[Kind]:
    unclear = {thing.kind.name for thing in scene.things if thing.visible < CLEAR}
    numbers = Counter(thing.kind.name for thing in scene.things)
    kinds = {thing.kind.name: thing.kind for thing in scene.things}
    return [
        kind for name, kind in kinds.items() if name not in unclear and numbers[name] <= style.most
    ]


def _present(scene: Scene, rng: np.random.Generator, style: QuestionStyle, kind: Kind) -> Question:
    """Ask for a present kind, sometimes only for those of one colour."""
    of_kind = [index for index, thing in enumerate(scene.things) if thing.kind == kind]
    if len(of_kind) > 1 and style.relations and rng.random() < style.relations:
        related = relations(scene, of_kind)
        if related:
            word, target = related[int(rng.integers(len(related)))]
            return _asked(rng, style, f"{word} {kind.name}", (target,), "relation", False)
    form = 1 + int(rng.integers(len(kind.names) - 1)) if len(kind.names) > 1 else 0
    form = form if rng.random() < style.synonyms else 0
    if kind.coloured and rng.random() < 0.6:
        colour = scene.things[of_kind[int(rng.integers(len(of_kind)))]].colour
        targets = tuple(index for index in of_kind if scene.things[index].colour == colour)
        return _worded(rng, style, kind, form, colour, targets, "colour")
    return _worded(rng, style, kind, form, None, tuple(of_kind), "synonym" if form else "name")


def relations(scene: Scene, things: Sequence[int]) -> list[tuple[str, int]]:
    """Return the words that single out one of several things by a clear margin."""
    height, width = scene.image.shape[:2]
    areas = [scene.things[index].area for index in things]
    measures = {
        "leftmost": [-scene.things[index].point[0] / width for index in things],
        "rightmost": [scene.things[index].point[0] / width for index in things],
        "top": [-scene.things[index].point[1] / height for index in things],
        "bottom": [scene.things[index].point[1] / height for index in things],
        "largest": [0.5 * math.log(area) for area in areas],
        "smallest": [-0.5 * math.log(area) for area in areas],
    }
    found = []
    for word, values in measures.items():
        order = np.argsort(values)
        margin = 0.25 if word in ("largest", "smallest") else 0.06
        if values[order[-1]] - values[order[-2]] >= margin:
            found.append((word, things[int(order[-1])]))
    return found


def _absent(scene: Scene, rng: np.random.Generator, style: QuestionStyle) -> Question | None:
    """Ask for something absent: another kind, a colour that the present kind does not have, or a word that names no kind."""
    draw = rng.random()
    if draw < 0.15:
        words = strange_words(is_held_out(scene.seed))
        word = words[int(rng.integers(len(words)))]
        return _asked(rng, style, word, (), "absent word", bool(rng.random() < style.counting))
    there = {thing.kind.name for thing in scene.things}
    coloured = [thing.kind for thing in scene.things if thing.kind.coloured]
    if draw < 0.35 and coloured:
        kind = coloured[int(rng.integers(len(coloured)))]
        taken = {thing.colour for thing in scene.things if thing.kind == kind}
        free = [colour for colour in COLOURS if colour not in taken]
        colour = free[int(rng.integers(len(free)))] if free else None
        return _worded(rng, style, kind, 0, colour, (), "absent colour") if free else None
    kind = all_kinds()[int(rng.integers(len(all_kinds())))]
    if kind.name in there:
        return None
    form = int(rng.integers(len(kind.names))) if rng.random() < style.synonyms else 0
    colour = None
    if kind.coloured and rng.random() < 0.5:
        colour = tuple(COLOURS)[int(rng.integers(len(COLOURS)))]
    return _worded(rng, style, kind, form, colour, (), "absent")


def _worded(
    rng: np.random.Generator,
    style: QuestionStyle,
    kind: Kind,
    form: int,
    colour: str | None,
    targets: tuple[int, ...],
    how: str,
) -> Question:
    """Name a kind: singular or plural, with or without article and colour."""
    counting = bool(rng.random() < style.counting)
    known = bool(targets) and not counting and rng.random() < 0.75
    several = len(targets) > 1 if known else rng.random() < (0.9 if counting else 0.5)
    words = kind.names[form][1 if several else 0]
    if colour is not None:
        if colour in NEW_SYNONYMS and rng.random() < 0.25:
            colour = NEW_SYNONYMS[colour]
        words = f"{colour} {words}"
    return _asked(rng, style, words, targets, how, counting)


def _asked(
    rng: np.random.Generator,
    style: QuestionStyle,
    words: str,
    targets: tuple[int, ...],
    how: str,
    counting: bool,
) -> Question:
    query = f"the {words}" if not counting and rng.random() < 0.25 else words
    if rng.random() < style.plain:
        prompt = count_prompt(query) if counting else point_prompt(query)
    else:
        templates = COUNT_TEMPLATES if counting else POINT_TEMPLATES
        prompt = templates[int(rng.integers(len(templates)))].format(query)
    return Question("count" if counting else "point", query, prompt, targets, how)


@functools.cache
def strange_words(held_out: bool) -> tuple[str, ...]:
    """Return nouns that name no kind: one list for training, another for evaluation."""
    text = resources.files(__package__).joinpath("strange_words.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    split = lines.index("---")
    return tuple(lines[split + 1 :] if held_out else lines[:split])
