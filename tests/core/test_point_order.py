"""Points of Molmo 2 come sorted: drafts use it and change no answer, and an answer that breaks it is reported."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import molmo_point as mp
from benchmarks.scripted import ScriptedDecodeState
from molmo_point.engine.coords_drafting import coords_continuations
from molmo_point.engine.drafting import Continuations, GrammarDrafter
from molmo_point.markup import parse_coords
from molmo_point.markup.order import first_out_of_order
from molmo_point.pointer import Kind
from molmo_point.points import Pointing, Status
from molmo_point.preprocess.prompt import prompt_tokens

TINY = Path(__file__).parents[1] / "golden/molmo2/models/tiny2-q"


def coords(points: list[tuple[int, int]]) -> str:
    numbers = " ".join(f"{n} {x:03d} {y:03d}" for n, (x, y) in enumerate(points, start=1))
    return f'<points coords="1 {numbers}">mug</points>'


def answer(text: str) -> Pointing:
    parsed = parse_coords(text)
    return Pointing(
        query="mug",
        points=tuple(parsed.points),
        status=parsed.status,
        text=text,
        image_size=(9, 9),
    )


def test_an_answer_out_of_order_is_reported() -> None:
    assert first_out_of_order(answer(coords([(100, 5), (100, 7), (1000, 0)]))) is None
    assert first_out_of_order(answer(coords([(100, 5), (300, 7), (200, 0)]))) == 2
    assert first_out_of_order(answer(coords([(100, 5), (100, 4)]))) == 1
    two = coords([(300, 5)]) + coords([(100, 5)]).replace("mug", "cup")
    assert first_out_of_order(answer(two)) is None
    unsorted = answer(coords([(300, 5), (100, 5)]))
    assert first_out_of_order(unsorted.replace(text='<points x1="30" ...')) is None
    tracked = tuple(point.model_copy(update={"track": 1}) for point in unsorted.points)
    assert first_out_of_order(unsorted.replace(points=tracked)) is None
    elsewhere = unsorted.points[1].model_copy(update={"image_index": 1})
    assert first_out_of_order(unsorted.replace(points=(unsorted.points[0], elsewhere))) is None
    assert unsorted.status is Status.FOUND


START = '<points coords="1 1 '


@pytest.mark.parametrize(
    ("written", "drafted"),
    [
        ("97", []),
        ("970", [" "]),
        ("970 50", []),
        ("970 500", [" 2 9"]),
        ("930 500 2 ", ["9"]),
        ("930 500 2 9", ["3", "4"]),
        ("890 500", [" 2 8", " 2 9"]),
        ("890 500 2 8", ["9"]),
        ("890 500 2 9", []),
        ("890 500 2 890 ", ["5", "6"]),
        ("890 500 2 891 ", []),
        ("990 500 2 991 400", [" 3 9"]),
        ("1000 500", [" 2 "]),
    ],
)
def test_no_number_is_smaller_than_the_one_before(written: str, drafted: list[str]) -> None:
    found = coords_continuations(START + written, "point", "mug")
    assert found is not None
    assert [text for text in found if not text.startswith('"')] == drafted


@pytest.mark.parametrize(
    ("coords", "drafted"),
    [
        ("1 1 224 806;", []),
        ("1 1 224 806;2 ", ["2 "]),
        ("1 1 924 806;2 2 300", [" "]),
        ("1 1 224 806 2 300 400;4 3 950 500", [" 4 9", '">mug</points>']),
        ("0.5 1 224 806;1.0 2 950 4", []),
        ("0.5 1 224 806;1.0 2 950 400", [" 3 9", '">mug</points>']),
    ],
)
def test_ordinals_run_on_over_images_and_frames(coords: str, drafted: list[str]) -> None:
    assert coords_continuations(f'<points coords="{coords}', "point", "mug") == drafted
    counted = 'Counting the <points coords="0.5 1 224 806;1.0 2 950 400">mug</points>'
    assert coords_continuations(counted, "count", "mug") == [" shows a total of 2."]


def without_order(
    text: str, kind: Kind, label: str, *, whole_numbers: bool = False
) -> list[str] | None:
    """Draft as if nothing were known of the next number."""
    return coords_continuations(text, kind, label, whole_numbers=True)


def test_order_saves_passes_and_changes_no_token() -> None:
    engine = mp.load(TINY, device="cpu").engine
    image, _ = engine.encode(np.zeros((50, 50, 3), np.uint8))
    prompt = prompt_tokens(engine.tokenizer, "Point to mug")

    def passes(points: list[tuple[int, int]], continuations: Continuations) -> int:
        script = [*engine.tokenizer.encode(coords(points)), engine.tokenizer.special.end]
        drafter = GrammarDrafter(engine.tokenizer, "point", "mug", prompt, continuations)
        steps = list(engine.decode(image, ScriptedDecodeState(prompt, script, drafter)))
        tokens = [token for step in steps for token in step.tokens]
        assert tokens in (script, script[:-1])
        return len(steps)

    rng = random.Random(0)
    points = [(rng.randint(0, 1000), rng.randint(0, 1000)) for _ in range(12)]
    # Out of order, as only a model that has lost its place writes, costs no answer and hardly a pass.
    assert passes(points, coords_continuations) <= passes(points, without_order) + 1
    points.sort()
    assert passes(points, coords_continuations) <= passes(points, without_order) - 6
