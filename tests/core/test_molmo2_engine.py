"""Molmo 2 through the engine: the reference's tokens on every path, drafts of its point text, confidence of thousandths."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import molmo_point as mp
from molmo_point.engine.coords_drafting import coords_continuations
from molmo_point.engine.drafting import GrammarDrafter
from molmo_point.engine.generate import DecodeState, Limits, NoDraft, Step
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.point_grammar import THOUSANDTHS
from molmo_point.engine.uncertainty import ConfidenceTracker, NumberTokens
from molmo_point.engine.verify import verify_folder
from molmo_point.markup import Frames
from molmo_point.pointer import Kind
from molmo_point.points import Point, Status
from molmo_point.preprocess.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
MODELS = GOLDEN / "models"
QUESTIONS = {
    "img0_336x336": "Describe this image.",
    "img1_640x480": "Point to the red circle",
    "img2_300x820": "How many boxes are there?",
}
ASKED_WORD_FOR_WORD = ("img1_640x480", "img2_300x820")
"""Of these `point` and `count` make the same prompt as `ask`."""


def load(name: str, **options: object) -> LocalPointer:
    return mp.load(MODELS / name, device="cpu", max_new_tokens=24, **options)


def golden_text(name: str, case: str, tokenizer: Tokenizer) -> str:
    """What the reference's 24 greedy tokens say."""
    tokens = np.load(MODELS / name / "golden.npz")[f"{case}/greedy24"].tolist()
    assert tokenizer.special.end not in tokens
    return tokenizer.decode(tokens)


@pytest.mark.parametrize(
    "options", [{"drafts": False}, {}, {"cuda_graphs": True}], ids=["plain", "drafted", "graphs"]
)
@pytest.mark.parametrize("name", ["tiny2-q", "tiny2-o"])
def test_answers_are_the_references_on_every_path(name: str, options: dict[str, bool]) -> None:
    pointer = load(name, **options)
    for case, question in QUESTIONS.items():
        expected = golden_text(name, case, pointer.engine.tokenizer)
        image = GOLDEN / f"images/{case}.png"
        assert pointer.ask(image, question) == expected.strip()
        with pointer.open(image) as view:
            view.point("something else")
            assert view.ask(question) == expected.strip()
            if case in ASKED_WORD_FOR_WORD:
                assert view.point(question).text == expected
                assert view.count(question).text == expected
                assert pointer.point(image, question).status is Status.TRUNCATED


@pytest.mark.parametrize("name", ["tiny2-q", "tiny2-o"])
def test_question_without_an_image(name: str) -> None:
    pointer = load(name)
    text = "".join(pointer.stream_text(None, "Describe this image."))
    assert text == golden_text(name, "text", pointer.engine.tokenizer)


@pytest.mark.parametrize("name", ["tiny2-q", "tiny2-o"])
def test_batched_answers_are_the_references(name: str) -> None:
    pointer = load(name)
    jobs = [(GOLDEN / f"images/{case}.png", QUESTIONS[case]) for case in ASKED_WORD_FOR_WORD]
    jobs += [(jobs[0][0], "a"), (jobs[1][0], "the longest of these questions is about a blue box")]
    answers = pointer.point_many(jobs)
    for case, answer in zip(ASKED_WORD_FOR_WORD, answers[:2], strict=True):
        assert answer.text == golden_text(name, case, pointer.engine.tokenizer)
    for job, answer in zip(jobs[2:], answers[2:], strict=True):
        assert answer.text == pointer.point(*job).text


@pytest.mark.parametrize("name", ["tiny2-q", "tiny2-o"])
def test_verify(name: str) -> None:
    reports = list(verify_folder(MODELS / name))
    assert [report.name for report in reports] == ["text", *QUESTIONS]
    assert all(report.passed for report in reports), reports
    assert max(report.logit_error for report in reports) < 1e-4


def test_low_bits_and_bfloat16_answer() -> None:
    image = GOLDEN / "images/img0_336x336.png"
    assert load("tiny2-q", dtype="bfloat16").ask(image, "Describe this image.")


def passes(tokenizer: Tokenizer, text: str, kind: Kind, label: str) -> tuple[int, int]:
    """Return (plain, drafted) passes after the prefill of a model that writes this text."""
    answer = [*tokenizer.encode(text), tokenizer.special.end]
    counts = []
    for drafter in (
        NoDraft(),
        GrammarDrafter(tokenizer, kind, label, [5, 6, 7], THOUSANDTHS.continuations),
    ):
        babble = random.Random(0)
        state = DecodeState([5, 6, 7], stop=answer[-1], limits=Limits(9999), drafter=drafter)
        said: list[int] = []
        steps = 0
        while pass_input := state.next_input(9999):
            rows = [answer[len(said)]]
            paths: list[list[int]] = []
            for token, parent in zip(
                pass_input.draft.tokens, pass_input.draft.parents, strict=True
            ):
                path = [*(paths[parent] if parent >= 0 else []), token]
                paths.append(path)
                after = len(said) + len(path)
                known = answer[len(said) : after] == path and after < len(answer)
                rows.append(answer[after] if known else babble.randrange(256))
            logits = torch.zeros(len(rows), max(answer) + 1)
            logits[range(len(rows)), rows] = 1.0
            said += state.accept(logits, torch.zeros(len(rows), 1))[0].tokens
            steps += 1
        assert said == answer
        counts.append(steps - 1)
    return counts[0], counts[1]


def coords(count: int) -> str:
    rng = random.Random(count)
    places = sorted((rng.randrange(1000), rng.randrange(1000)) for _ in range(count))
    rows = " ".join(f"{i} {x:03d} {y:03d}" for i, (x, y) in enumerate(places, 1))
    return f'<points coords="1 {rows}">red mug</points>'


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(MODELS / "tiny2-q")


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_a_point_takes_six_passes(tokenizer: Tokenizer, count: int) -> None:
    plain, drafted = passes(tokenizer, coords(count), "point", "red mug")
    assert drafted <= 6 * count + 2
    assert plain > 1.6 * drafted
    counting = f"Counting the {coords(count)} shows a total of {count}."
    assert passes(tokenizer, counting, "count", "red mug")[1] <= 6 * count + 2
    first = f"There are {count} {coords(count)}."
    assert passes(tokenizer, first, "point", "red mug")[1] <= 6 * count + 20


def test_none_is_drafted_in_the_prefill(tokenizer: Tokenizer) -> None:
    for kind in ("point", "count"):
        assert passes(tokenizer, "There are none.", kind, "red mug")[1] == 0  # type: ignore[arg-type]


def test_continuations() -> None:
    opening = '<points coords="1 1 '
    assert coords_continuations("", "point", "mug") == [opening, "There are none."]
    assert coords_continuations("", "count", "mug") == [
        f"Counting the {opening}",
        "There are none.",
    ]
    assert coords_continuations("<points co", "point", "mug") == ['ords="1 1 ']
    assert coords_continuations(f"{opening}22", "point", "mug") == []
    assert coords_continuations(f"{opening}224", "point", "mug") == [" "]
    assert coords_continuations(f"{opening}224 806", "point", "mug") == [
        " 2 2",
        " 2 3",
        '">mug</points>',
    ]
    assert coords_continuations(f"{opening}224 806 ", "point", "mug") == ["2 2", "2 3"]
    assert coords_continuations(f"{opening}224 806 2", "point", "mug") == [" 2", " 3"]
    counted = f'Counting the {opening}224 806 2 300 400">mug</points>'
    assert coords_continuations(counted, "count", "mug") == [" shows a total of 2."]
    assert coords_continuations(counted[:-2], "count", "mug") == ["s> shows a total of 2."]
    assert coords_continuations("The sky is", "text", "") is None
    assert coords_continuations(f'{opening}224 806">mug</points>', "text", "") is None


PIECES = ('<points coords="1 1 ', "224", "1000", "10", "0", " ", '">', "mug", "</points>", "There")
PIECES += (" are", " none.", "Counting the ", "é", "<", '" ', ' alt="')


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(PIECES), max_size=20).map("".join),
    st.sampled_from(["point", "count", "text"]),
)
def test_any_answer_comes_out_unchanged_in_no_more_passes(text: str, kind: Kind) -> None:
    plain, drafted = passes(Tokenizer(MODELS / "tiny2-q"), text, kind, "mug")
    assert drafted <= plain


def rated(
    tokens: list[str], doubts: dict[int, dict[str, float]], vocabulary: list[str]
) -> tuple[ConfidenceTracker, list[Point]]:
    """Points of an answer whose tokens are certain but for `doubts`: {token index: {text: probability}}."""
    words = list(dict.fromkeys([*vocabulary, "There", " are none.", *tokens]))

    class Fake:
        def number_tokens(self) -> dict[int, str]:
            return {i: word for i, word in enumerate(words) if word.isdigit()}

        def encode(self, text: str) -> list[int]:
            return [words.index("There"), words.index(" are none.")]

    tracker = ConfidenceTracker(NumberTokens(Fake(), THOUSANDTHS), None)  # type: ignore[arg-type]
    parser = THOUSANDTHS.parser("mug", Frames())
    spans: list[tuple[int, int]] = []
    points: list[Point] = []
    for index, token in enumerate(tokens):
        logits = torch.full((1, len(words)), -60.0)
        for word, probability in doubts.get(index, {token: 1.0}).items():
            logits[0, words.index(word)] = math.log(probability)
        tracker.record(Step([words.index(token)], logits, torch.zeros(1, 2)))
        start = spans[-1][1] if spans else 0
        spans.append((start, start + len(token)))
        for point in parser.feed(token):
            place = parser.spans[point.index]
            points.append(tracker.with_confidence(point, place, parser.text, spans))
    return tracker, points


DIGITS = [str(digit) for digit in range(10)]
NUMBERS = [f"{number:03d}" for number in range(1000)]
ONE = ['<points coords="1 1 ', "2", "2", "4", " ", "8", "0", "6", '">']
WHOLE = ['<points coords="1 1 ', "224", " ", "806", '">']


@pytest.mark.parametrize(("tokens", "vocabulary"), [(ONE, DIGITS), (WHOLE, NUMBERS)])
def test_certain_digits_leave_only_rounding(tokens: list[str], vocabulary: list[str]) -> None:
    tracker, (point,) = rated(tokens, {}, vocabulary)
    assert (point.x, point.y) == (0.224, 0.806)
    assert point.score == pytest.approx(1.0, abs=1e-6)
    rounding = 0.001**2 / 12
    assert point.covariance == pytest.approx((rounding, 0.0, rounding), rel=1e-3)
    assert tracker.absent_probability() == pytest.approx(0.0, abs=1e-6)


def test_two_places_share_the_mass() -> None:
    """200 to 299 or 700 to 799, one half each; in one token 224 or 724."""
    _, (point,) = rated(ONE, {1: {"2": 0.5, "7": 0.5}}, DIGITS)
    expected = 0.5 * ((750 - 224) ** 2 + 100**2 / 12) + 0.5 / 12
    assert point.covariance is not None
    assert point.covariance[0] == pytest.approx(expected / 1000**2, rel=1e-6)
    assert point.score == pytest.approx(0.5, abs=1e-6)

    _, (point,) = rated(WHOLE, {1: {"224": 0.5, "724": 0.5}}, NUMBERS)
    expected = 0.5 * (500.5**2 + 1 / 12) + 0.5 / 12
    assert point.covariance is not None
    assert point.covariance[0] == pytest.approx(expected / 1000**2, rel=1e-6)
    assert point.score == pytest.approx(0.5, abs=1e-6)


def test_a_neighbouring_place_counts_as_the_same() -> None:
    _, (point,) = rated(WHOLE, {1: {"224": 0.5, "244": 0.5}}, NUMBERS)
    assert point.score == pytest.approx(1.0, abs=1e-6)


def test_the_far_edge() -> None:
    tokens = ['<points coords="1 1 ', "1", "0", "0", "0", " ", "1", "0", "0", '">']
    _, (point,) = rated(tokens, {}, DIGITS)
    assert (point.x, point.y) == (1.0, 0.1)
    assert point.score == pytest.approx(1.0, abs=1e-6)
    _, (point,) = rated(tokens, {4: {"0": 0.25, " ": 0.75}}, DIGITS)
    assert point.score == pytest.approx(0.25, abs=1e-6)
    assert point.covariance is not None
    assert point.covariance[0] == pytest.approx(0.75 * 0.9**2, rel=1e-3)


def test_absence_and_further_points() -> None:
    """The opening says whether there is anything, the blank behind a point whether there is another one."""
    two = [*ONE[:-1], " ", "2", " ", *ONE[1:]]
    doubts = {0: {ONE[0]: 0.75, "There": 0.25}, 8: {" ": 0.5, '">': 0.5}}
    tracker, (first, second) = rated(two, doubts, DIGITS)
    assert first.score == pytest.approx(0.75, abs=1e-6)
    assert second.score == pytest.approx(0.5, abs=1e-6)
    assert tracker.absent_probability() == pytest.approx(0.25, abs=1e-6)
