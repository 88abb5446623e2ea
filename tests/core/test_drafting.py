"""Drafting: the number of passes of an expected answer; no draft changes an answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import molmo_point as mp
from molmo_point.engine.draft_tree import ROOT, DraftTree, PassInput
from molmo_point.engine.drafting import GrammarDrafter, continuations
from molmo_point.engine.generate import DecodeState, Drafter, Limits, NoDraft
from molmo_point.engine.question import Kind
from molmo_point.points import FinishReason
from molmo_point.preprocess.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
NANO = Path(mp.__file__).parent / "nano"
PIECES = (' <point x="', "6", "3", ".", "5", '"', ' y="', " alt", '="mug', '">', "</point>")
PIECES += (" <points", ' x1="', ' y1="', " There", " are", " none.", " Counting the", "<", "é")


@pytest.fixture(scope="module", params=["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer(GOLDEN / request.param)


def passes(answer: Sequence[int], stop: int, drafter: Drafter, seed: int = 0) -> int:
    """Decode with a model that writes `answer`, and random tokens behind wrong drafts; return the passes after the first."""
    babble = random.Random(seed)
    state = DecodeState([5, 6, 7], stop=stop, limits=Limits(10_000), drafter=drafter)
    said: list[int] = []
    steps = 0
    while pass_input := state.next_input(10_000):
        rows = [answer[len(said)]]
        paths: list[list[int]] = []
        for token, parent in zip(pass_input.draft.tokens, pass_input.draft.parents, strict=True):
            path = [*(paths[parent] if parent != ROOT else []), token]
            paths.append(path)
            right = list(answer[len(said) : len(said) + len(path)]) == path
            following = len(said) + len(path)
            known = right and following < len(answer)
            rows.append(answer[following] if known else babble.randrange(400))
        logits = torch.zeros(len(rows), max(*answer, 400) + 1)
        logits[range(len(rows)), rows] = 1.0
        step, kept = state.accept(logits, torch.zeros(len(rows), 1))
        said += step.tokens
        assert kept[: len(pass_input.pending)] == list(range(len(pass_input.pending)))
        assert len(kept) == len(pass_input.pending) + len(step.tokens) - 1
        steps += 1
    assert said == list(answer)
    assert state.finish_reason is FinishReason.STOP
    return steps - 1


def written(tokenizer: Tokenizer, text: str) -> list[int]:
    return [*tokenizer.encode(text), tokenizer.special.end]


def both(tokenizer: Tokenizer, text: str, kind: Kind, label: str) -> tuple[int, int]:
    """Return (plain, drafted) passes after the prefill."""
    answer, stop = written(tokenizer, text), tokenizer.special.end
    drafter = GrammarDrafter(tokenizer, kind, label, [5, 6, 7], continuations)
    return passes(answer, stop, NoDraft()), passes(answer, stop, drafter)


def one(label: str = "red mug") -> str:
    return f' <point x="63.5" y="4.0" alt="{label}">{label}</point>'


def many(count: int, label: str = "red mug") -> str:
    numbers = random.Random(count)
    places = " ".join(
        f'x{i}="{numbers.uniform(10, 99):.1f}" y{i}="{numbers.uniform(10, 99):.1f}"'
        for i in range(1, count + 1)
    )
    return f' <points {places} alt="{label}">{label}</points>'


def test_one_point_takes_seven_passes_at_most(tokenizer: Tokenizer) -> None:
    plain, drafted = both(tokenizer, one(), "point", "red mug")
    assert drafted <= 7 < plain


@pytest.mark.parametrize("count", [2, 3, 7, 20])
def test_n_points_take_six_passes_each_and_three(tokenizer: Tokenizer, count: int) -> None:
    plain, drafted = both(tokenizer, many(count), "point", "red mug")
    assert drafted <= 6 * count + 3
    assert drafted < plain / 2


def test_none_and_the_first_tag_are_drafted_in_the_prefill(tokenizer: Tokenizer) -> None:
    """The three possible starts are drafted side by side: each costs no further pass."""
    assert both(tokenizer, " There are none.", "point", "red mug")[1] == 0
    assert both(tokenizer, " There are none.", "count", "red mug")[1] == 0
    single, several = (both(tokenizer, t, "point", "red mug")[1] for t in (one(), many(2)))
    assert several - single <= 6


def test_counting(tokenizer: Tokenizer) -> None:
    text = f" Counting the{many(3)} shows a total of 3."
    assert both(tokenizer, text, "count", "red mug")[1] <= 6 * 3 + 3


def test_another_label_than_expected_costs_passes_and_nothing_else(tokenizer: Tokenizer) -> None:
    plain, drafted = both(tokenizer, one("a cup of tea"), "point", "red mug")
    assert drafted <= plain


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(PIECES),
        max_size=24,
    ).map("".join),
    kind=st.sampled_from(["point", "count", "text"]),
    seed=st.integers(0, 9),
)
def test_any_answer_comes_out_unchanged_in_no_more_passes(
    text: str, kind: Kind, seed: int
) -> None:
    for tokenizer in (Tokenizer(GOLDEN / "tiny-d"), Tokenizer(NANO)):
        answer, stop = written(tokenizer, text), tokenizer.special.end
        drafter = GrammarDrafter(tokenizer, kind, "mug", [5, 6, 7], continuations)
        drafted = passes(answer, stop, drafter, seed)
        assert drafted <= passes(answer, stop, NoDraft())


@given(
    drafts=st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=8), most=st.integers(0, 12)
)
def test_a_tree_holds_its_continuations_and_accepts_what_the_model_writes(
    drafts: list[list[int]], most: int
) -> None:
    tree = DraftTree.from_continuations(drafts, max_tokens=most, max_depth=4)
    assert len(tree.tokens) <= most
    assert len(set(zip(tree.parents, tree.tokens, strict=True))) == len(tree.tokens)
    seen = tree.ancestors()
    for node, (parent, depth) in enumerate(zip(tree.parents, tree.depths, strict=True)):
        assert parent < node
        assert int(seen[node].sum()) == depth <= 4
    for draft in drafts if most == 12 and sum(map(len, drafts)) <= 12 else []:
        # A model that writes this continuation follows it to its end or to the end of the tree.
        chosen = [draft[0] if draft else 9]
        paths: list[list[int]] = []
        for token, parent in zip(tree.tokens, tree.parents, strict=True):
            paths.append([*(paths[parent] if parent != ROOT else []), token])
            here = len(paths[-1])
            chosen.append(draft[here] if here < len(draft) and draft[:here] == paths[-1] else 9)
        path = tree.accepted(chosen, stop=-1)
        assert [tree.tokens[node] for node in path] == draft[:4]


def test_alternatives_share_a_position_and_do_not_attend_to_each_other() -> None:
    tree = DraftTree.from_continuations([[3, 4], [3, 5], [6]], max_tokens=9, max_depth=9)
    pass_input = PassInput([1, 2], tree, rows=[1, 2, 3, 4, 5, 6])
    assert pass_input.tokens == [1, 2, 3, 4, 5, 6]
    assert pass_input.offsets() == [0, 1, 2, 3, 3, 2]
    assert pass_input.attention_mask().int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_grammar() -> None:
    assert continuations("", "point", "mug") == [
        ' <point x="',
        ' <points x1="',
        " There are none.",
    ]
    assert continuations(" <point", "point", "mug") == [' x="', 's x1="']
    assert continuations(' <point x="6', "point", "mug") == []
    assert continuations(' <points x1="63.5" y1="40.0', "point", "mug") == [
        '" x2="',
        '" alt="mug">mug</points>',
    ]
    assert continuations("The sky is", "text", "") is None
    assert continuations(' <point x="63', "point", "mug") == ["."]
    assert continuations(' <point x="6', "point", "mug", whole_numbers=True) == ["."]


@pytest.mark.parametrize("drafted", [[], [5, 6], [5, 8, 7, 7]])
def test_further_end_tokens_end_an_answer_with_and_without_drafts(drafted: list[int]) -> None:
    """The model writes 5, then 8, which ends answers beside 9; what it would write behind it is not accepted."""

    class Guess:
        def propose(self, tokens: Sequence[int]) -> list[list[int]]:
            return [drafted[len(tokens) :]] if drafted else []

    following = {3: 5, 5: 8, 8: 7, 6: 7, 7: 7}
    state = DecodeState([3], stop=9, limits=Limits(20), drafter=Guess(), ends=frozenset({8, 2}))
    written: list[int] = []
    while pass_input := state.next_input(100):
        rows = [*pass_input.pending[-1:], *pass_input.draft.tokens]
        logits = torch.zeros(len(rows), 10)
        for row, token in enumerate(rows):
            logits[row, following[token]] = 1.0
        step, kept = state.accept(logits, torch.zeros(len(rows), 1))
        written += step.tokens
        assert len(step.logits) == len(step.hidden) == len(step.tokens) == len(kept)
    assert written == [5, 9]
    assert state.finish_reason is FinishReason.STOP
