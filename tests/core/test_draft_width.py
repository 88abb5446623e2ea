"""Which drafts pay: by the costs of passes, for a dense decoder and a mixture; the answer is the same with any costs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point.api import load
from molmo_point.engine import pass_cost
from molmo_point.engine.draft_width import DraftWidth
from molmo_point.engine.drafting import GrammarDrafter, continuations
from molmo_point.engine.pass_cost import PassCost, measure_pass_cost
from molmo_point.preprocess.tokenizer import Tokenizer
from tests.core.test_drafting import many, one, passes, written

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
FLAT = DraftWidth(PassCost((1, 49), (1.0, 1.01)))
"""A device on which wide passes cost next to nothing."""
STEEP = DraftWidth(PassCost((1, 49), (1.0, 49.0)))
"""A device on which a pass takes its time for each token."""


def mixture() -> DraftWidth:
    """Return the costs of MolmoE-1B from the weights that its passes read: 0.37 always, 6.44 of all experts (billions)."""
    widths = (1, 2, 4, 8, 16, 32, 49)
    read = [0.37 + 6.44 * (1 - (7 / 8) ** tokens) for tokens in widths]
    return DraftWidth(PassCost(widths, tuple(size / read[0] for size in read)))


def test_costs_between_the_measured_widths_are_linear() -> None:
    cost = PassCost((1, 2, 4, 8), (1.0, 1.5, 2.0, 4.0))
    assert [cost.of(tokens) for tokens in (1, 2, 3, 4, 6, 8, 10)] == [1, 1.5, 1.75, 2, 3, 4, 5]


def test_the_forced_rest_is_drafted_at_any_cost_and_alternatives_where_they_are_cheap() -> None:
    forced, other = list(range(8)), list(range(10, 20))
    for width in (FLAT, STEEP, mixture()):
        assert width.chosen([forced], before=1, max_tokens=48) == [forced]
    for width, expected in ((FLAT, 2), (STEEP, 0), (mixture(), 1)):
        assert len(width.chosen([forced, other], before=1, max_tokens=48)) == expected
    # Behind a prompt a mixture's pass touches nearly all experts anyway: alternatives are cheap.
    assert len(mixture().chosen([forced, other], before=20, max_tokens=48)) == 2


def test_ten_digits_are_drafted_where_a_wide_pass_costs_less_than_two_narrow_ones() -> None:
    digits = [[digit, 10] for digit in range(10)]
    for of_21, expected in ((1.5, 10), (2.5, 0)):
        width = DraftWidth(PassCost((1, 3, 21), (1.0, 1.2, of_21)))
        assert len(width.chosen(digits, before=1, max_tokens=48)) == expected


def test_repeated_runs_are_as_long_as_they_pay() -> None:
    assert FLAT.repeated_tokens(6) == 6
    assert STEEP.repeated_tokens(6) == 0
    assert FLAT.repeated_tokens(0) == 0


@pytest.mark.parametrize(("width", "expected"), [(None, 6), (FLAT, 4)])
def test_digit_drafts_save_a_pass_for_each_number(width: DraftWidth | None, expected: int) -> None:
    tokenizer = Tokenizer(GOLDEN / "tiny-d")
    answer, stop = written(tokenizer, one().replace("4.0", "44.0")), tokenizer.special.end
    drafter = GrammarDrafter(tokenizer, "point", "red mug", [5, 6, 7], continuations, width)
    assert passes(answer, stop, drafter) == expected


@settings(max_examples=20, deadline=None)
@given(
    times=st.lists(st.floats(0, 3), min_size=6, max_size=6),
    text=st.sampled_from([one(), many(3), " There are none.", one("a cup"), "a a a a a a"]),
)
def test_no_cost_changes_an_answer(times: list[float], text: str) -> None:
    sums = [1.0]
    for time in times:
        sums.append(sums[-1] + time)
    width = DraftWidth(PassCost(pass_cost.WIDTHS, tuple(sums)))
    tokenizer = Tokenizer(GOLDEN / "tiny-moe")
    drafter = GrammarDrafter(tokenizer, "point", "red mug", [5, 6, 7], continuations, width)
    passes(written(tokenizer, text), tokenizer.special.end, drafter)


@pytest.mark.parametrize("name", ["tiny-d", "tiny-o", "tiny-moe"])
def test_a_network_is_measured_and_gives_the_same_answer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small decoders take no measurement; with one, every token is the same."""
    image = torch.zeros(60, 80, 3, dtype=torch.uint8).numpy()
    pointer = load(GOLDEN / name, dtype="float32", max_new_tokens=24)
    assert measure_pass_cost(pointer.engine.model) is None
    plain = pointer.point(image, "mug")
    monkeypatch.setattr(pass_cost, "SMALLEST_BYTES", 0)
    cost = measure_pass_cost(pointer.engine.model)
    assert cost is not None
    assert cost.times[0] == 1.0
    assert list(cost.times) == sorted(cost.times)
    for width in (FLAT, STEEP):
        monkeypatch.setattr(pointer.engine, "draft_width", width)
        assert pointer.point(image, "mug").text == plain.text
