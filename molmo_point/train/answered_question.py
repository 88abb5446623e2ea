"""One labelled item as tokens: question, answer, and which tokens the loss learns.

Letter in shapes: L tokens of one question with its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molmo_point.datasets import LabelledItem
from molmo_point.markup import count_prompt, point_prompt
from molmo_point.preprocess.arrays import Ints
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.prompt_format import Example, PromptFormat
from molmo_point.train.target_sequence import NO_TARGET

LENGTH_NOISE = 25.0
"""Standard deviation in characters of the length that a caption is asked for with."""

NO_LENGTH_SHARE = 0.1
"""Captions that are asked for without a length."""


@dataclass(frozen=True, eq=False)
class WrittenQuestion:
    """A question with its answer.

    Attributes:
        ids: [L] int32.
        targets: [L] int32, the id to predict after each token of the answer, its end included; NO_TARGET elsewhere.
    """

    ids: Ints
    targets: Ints


class QuestionWriter:
    """Writes labelled items in the format of Molmo's training data (`prompt_format`)."""

    def __init__(self, tokenizer: Tokenizer, recipe: FinetuneRecipe) -> None:
        self._tokenizer = tokenizer
        self._recipe = recipe

    def write(
        self, item: LabelledItem, rng: np.random.Generator, *, plain: bool
    ) -> WrittenQuestion:
        """Return an item as tokens.

        Args:
            rng: Decides the wording.
            plain: Always the wording of the commands.
        """
        prompt, answer = self.turns(item, rng, plain=plain)
        asked = self._tokenizer.encode(prompt)
        answered = [*self._tokenizer.encode(answer), self._tokenizer.special.end]
        # The end is predicted but not read: nothing follows it.
        ids = np.array([*asked, *answered[:-1]], np.int32)
        targets = np.full(len(ids), NO_TARGET, np.int32)
        targets[len(asked) - 1 :] = answered
        return WrittenQuestion(ids, targets)

    def turns(
        self, item: LabelledItem, rng: np.random.Generator, *, plain: bool
    ) -> tuple[str, str]:
        """Return the user's turn and the answer as text."""
        is_caption = item.mode == "text" and not item.query
        system = "demo_or_style"
        if is_caption and self._recipe.captions == "length":
            system = "style_and_length"
        noise: float | None = float(rng.normal(0, LENGTH_NOISE))
        if rng.random() < NO_LENGTH_SHARE:
            noise = None
        written = PromptFormat(
            system,
            tagged=1.0 if plain else float(rng.random()),
            length_noise=0.0 if plain else noise,
            choose=lambda templates: templates[0 if plain else int(rng.integers(len(templates)))],
        )
        plain = plain or rng.random() < self._recipe.plain
        prompt, answer = written.turns(_example(item, plain))
        return prompt, answer

    def absent(
        self,
        image: Path | bytes,
        items: Sequence[LabelledItem],
        images: Sequence[tuple[Path | bytes, Sequence[LabelledItem]]],
        rng: np.random.Generator,
        count: int,
    ) -> list[LabelledItem]:
        """Return questions for things that other images show and this one does not."""
        here = {item.query for item in items}
        found: dict[str, LabelledItem] = {}
        for _ in range(4 * count):
            _, others = images[int(rng.integers(len(images)))]
            other = others[int(rng.integers(len(others)))]
            if other.mode != "text" and other.query not in here and len(found) < count:
                found[other.query] = LabelledItem(
                    image, other.query, mode=other.mode, source=other.source
                )
        return list(found.values())


def _example(item: LabelledItem, plain: bool) -> Example:
    if item.mode == "text":
        if not item.query:
            return {"style": "long_caption", "text": item.text}
        return {"style": "user_qa", "question": item.query, "answer": item.text}
    counting = item.mode == "count"
    example: dict[str, object] = {
        "style": "point_count" if counting else "pointing",
        "points": np.array(item.points, np.float64).reshape(-1, 2),
    }
    text = item.query.strip()
    if point_prompt(text) == text:
        # A whole question: asked and repeated word for word.
        return {**example, "question": text}
    if plain:
        wording = count_prompt if counting else point_prompt
        example["prompt"] = wording(text)
    return {**example, "label": text}
