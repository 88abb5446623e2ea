"""Plausible mistakes with MolmoPoint, each made on purpose: the golden numbers must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import molmo_point as mp
from molmo_point.engine.generate import DecodeState, Limits, NoDraft
from molmo_point.engine.image_prefix import ImageEncoder
from molmo_point.engine.patch_choice import PatchChooser
from molmo_point.model import point_heads
from molmo_point.model.point_heads import PatchKeys, PointHeads
from molmo_point.preprocess import patch_places
from molmo_point.preprocess.prompt import prompt_tokens

GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
FOLDER = GOLDEN / "models/tinypoint-q"
ARRAYS = np.load(FOLDER / "golden.npz")
CASE, QUESTION = "img0_336x336", "Describe this image."
TOLERANCE = 1e-4
Patch = pytest.MonkeyPatch


@torch.inference_mode()
def error() -> float:
    """Largest difference to what the reference's heads say of the first point of the script, and after it."""
    pointer = mp.load(FOLDER, device="cpu")
    engine, network = pointer.engine, pointer.network
    image, _ = engine.encode(GOLDEN / f"images/{CASE}.png")
    heads, keys = network.points, image.patches
    assert heads is not None
    assert keys is not None
    rule = engine._language.choice(image)
    assert isinstance(rule, PatchChooser)
    asked = prompt_tokens(engine.tokenizer, QUESTION)
    script: list[int] = ARRAYS[f"{CASE}/script_ids"].tolist()[:21]
    cache = image.cache.fork(image.cache.length + len(asked) + len(script))

    def read(tokens: list[int]) -> Tensor:
        rows, added = rule.inputs(tokens)
        assert added is not None
        x = network.embed_rows(torch.tensor([rows]), added[None])
        positions = cache.length + torch.arange(len(rows))[None]
        hidden: Tensor = network.decoder(x, positions, cache=cache)[0, -1]
        cache.keep(range(len(rows)))
        return hidden

    worst = 0.0

    def compare(ours: Tensor, key: str, row: int) -> None:
        nonlocal worst
        theirs = ARRAYS[f"{CASE}/{key}"][row]
        known = theirs > -1e5
        worst = max(worst, float(np.abs(ours.numpy() - theirs)[known].max()))
        if (np.isinf(ours.numpy()) == known).any():
            worst = np.inf

    compare(network.decoder.logits(read(asked)), "hf_logits_last8", -1)
    patch = None
    for step, token in enumerate(script):
        rule._advance(token)
        hidden = read([token])
        if step == 16:
            patch = token - rule.ids.patch
        compare(network.decoder.logits(hidden), "hf_script_lm", step)
        for row, at in enumerate((15, 19)):
            if step == at:
                compare(heads.patch_scores(hidden, keys, patch), "hf_script_patch", row)
        if step == 16:
            assert patch is not None
            compare(heads.subpatch_scores(hidden, keys, patch), "hf_script_sub", 0)
        if step == 17:
            compare(heads.location_scores(hidden), "hf_script_loc", 0)
    return worst


def another_row_for_the_low_resolution_view(patch: Patch) -> None:
    begin = ImageEncoder.__init__

    def turned(
        self: ImageEncoder, *arguments: Any, low_as_high: bool = False, **options: Any
    ) -> None:
        begin(self, *arguments, low_as_high=not low_as_high, **options)

    patch.setattr(ImageEncoder, "__init__", turned)


def patch_of_a_window_added(patch: Patch) -> None:
    begin = PatchChooser.__init__

    def trained(self: PatchChooser, *arguments: Any) -> None:
        begin(self, *arguments)
        self._trained = True

    patch.setattr(PatchChooser, "__init__", trained)


def location_from_a_normed_state(patch: Patch) -> None:
    patch.setattr(
        PointHeads, "location_scores", lambda self, hidden: self.location(self.norm(hidden))
    )


def scaled_by_the_width_of_keys(patch: Patch) -> None:
    right = PointHeads.patch_scores

    def wrong(self: PointHeads, hidden: Tensor, keys: PatchKeys, last: int | None) -> Tensor:
        return right(self, hidden, keys, last) * (len(keys.patches) / self.sizes.key_width) ** 0.5

    patch.setattr(PointHeads, "patch_scores", wrong)


def query_is_not_rotated(patch: Patch) -> None:
    right = PointHeads.patch_scores
    patch.setattr(
        PointHeads,
        "patch_scores",
        lambda self, hidden, keys, last: right(self, hidden, keys, None),
    )


def low_resolution_tokens_are_counted(patch: Patch) -> None:
    right = PointHeads._rotate

    def wrong(self: PointHeads, x: Tensor, positions: Tensor) -> Tensor:
        return right(self, x, torch.arange(len(positions)) if len(positions) > 1 else positions)

    patch.setattr(PointHeads, "_rotate", wrong)


def low_resolution_tokens_can_be_chosen(patch: Patch) -> None:
    right = PointHeads.keys
    patch.setattr(
        PointHeads,
        "keys",
        lambda self, hidden, usable, *rest: right(self, hidden, torch.ones_like(usable), *rest),
    )


def states_are_not_normed(patch: Patch) -> None:
    begin = PointHeads.__init__

    def without(self: PointHeads, config: Any) -> None:
        begin(self, config)
        self.norm.forward = lambda x: x  # type: ignore[method-assign]

    patch.setattr(PointHeads, "__init__", without)


def another_rotary_base(patch: Patch) -> None:
    right = point_heads.rotary_table
    patch.setattr(
        point_heads, "rotary_table", lambda positions, width, _: right(positions, width, 10_000.0)
    )


def no_more_points_is_rotated(patch: Patch) -> None:
    right = PointHeads.keys

    def wrong(self: PointHeads, *arguments: Any) -> PatchKeys:
        keys = right(self, *arguments)
        keys.patches[-1] = self._rotate(keys.patches[-1:], keys.positions[-1:] + 1)[0]
        return keys

    patch.setattr(PointHeads, "keys", wrong)


def image_is_not_added_to_a_chosen_patch(patch: Patch) -> None:
    right = PatchChooser.inputs

    def wrong(self: PatchChooser, tokens: Any) -> Any:
        rows, added = right(self, tokens)
        assert added is not None
        for index, token in enumerate(tokens):
            if self.ids.is_patch(token):
                added[index] = 0
        return rows, added

    patch.setattr(PatchChooser, "inputs", wrong)


@pytest.mark.parametrize(
    "mistake",
    [
        another_row_for_the_low_resolution_view,
        patch_of_a_window_added,
        location_from_a_normed_state,
        scaled_by_the_width_of_keys,
        query_is_not_rotated,
        low_resolution_tokens_are_counted,
        low_resolution_tokens_can_be_chosen,
        states_are_not_normed,
        another_rotary_base,
        no_more_points_is_rotated,
        image_is_not_added_to_a_chosen_patch,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_a_mistake_in_the_heads(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    assert error() > 10 * TOLERANCE


def test_without_a_mistake_nothing_differs() -> None:
    assert error() < TOLERANCE


def greedy(decoding: str) -> list[int]:
    pointer = mp.load(FOLDER, device="cpu", point_decoding=decoding)
    engine = pointer.engine
    image, _ = engine.encode(GOLDEN / f"images/{CASE}.png")
    asked = prompt_tokens(engine.tokenizer, QUESTION)
    rule = engine._language.choice(image)
    state = DecodeState(asked, stop=-1, limits=Limits(40), drafter=NoDraft(), choice=rule)
    return [token for step in engine.decode(image, state) for token in step.tokens]


def order_is_forgotten(patch: Patch) -> None:
    patch.setattr(PatchChooser, "_allowed", lambda self: torch.ones_like(self._keys.usable))


def repeats_are_allowed(patch: Patch) -> None:
    patch.setattr(PatchChooser, "_may_repeat", lambda self, window, part: True)


def mask_before_the_best(patch: Patch) -> None:
    """The training code's order of mask and choice, in the export."""
    right = PointHeads.patch_scores

    def wrong(self: PointHeads, hidden: Tensor, keys: PatchKeys, last: int | None) -> Tensor:
        scores = right(self, hidden, keys, last)
        return scores.index_fill(0, torch.arange(last or 0), -torch.inf)

    patch.setattr(PointHeads, "patch_scores", wrong)


@pytest.mark.parametrize(
    "mistake", [order_is_forgotten, repeats_are_allowed, mask_before_the_best]
)
def test_a_mistake_in_the_rules(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    expected = ARRAYS[f"{CASE}/hf_greedy40"].tolist()
    assert greedy("as_exported") == expected
    mistake(monkeypatch)
    assert greedy("as_exported") != expected


def test_columns_come_before_rows_in_a_patch(monkeypatch: Patch) -> None:
    """A third of a patch: the points of the script say it."""
    pointer = mp.load(FOLDER, device="cpu")
    image, _ = pointer.engine.encode(GOLDEN / f"images/{CASE}.png")
    assert image.places is not None
    expected = (172.04444444444442 / 336, 68.38222222222223 / 336)
    assert image.places.locate(230, 3, 7)[1:] == pytest.approx(expected, abs=1e-9)  # type: ignore[index]
    assert image.places.locate(230, 3, 5)[1:] != pytest.approx(expected, abs=1e-3)  # type: ignore[index]
    monkeypatch.setattr(patch_places, "THIRD", 1 / 3)
    assert image.places.locate(230, 3, 7)[1:] != pytest.approx(expected, abs=1e-6)  # type: ignore[index]
