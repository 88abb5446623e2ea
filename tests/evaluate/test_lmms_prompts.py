"""The prompts of lmms-eval's tasks become questions, and points what the tasks' parsers read (lmms-eval 0.7.3, restated)."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.lmms_eval_model.prompts import read_prompt
from molmo_point.points import Point, Pointing, Status

TUPLES = (
    "Your answer should be formatted as a list of tuples, i.e. [(x1, y1), (x2, y2), ...], where each tuple contains the x and y "
    "coordinates of a point satisfying the conditions above. "
)
GRID = (
    TUPLES
    + "The coordinates should be integers between 0 and 999, representing the pixel locations scaled to a 1000×1000 grid."
)
SHARES = (
    TUPLES
    + "The coordinates should be between 0 and 1, indicating the normalized pixel locations of the points in the image."
)
FORMAT = " Return only list of tuples, don't add anything else."
CLICK = (
    "Identify the UI element for the instruction and output exactly one click point as [x, y] in normalized coordinates within "
    "[0, 1]. Do not output a bounding box.\nInstruction: "
)
TARGET = (
    "Identify the UI target for the instruction and output exactly one click point as [x, y]. You may use either normalized "
    "coordinates in [0, 1] or absolute pixel coordinates. If the target does not exist, output [-1, -1].\nInstruction: "
)
PROMPTS = {
    "pixmo_count": (
        "How many dogs are there in the image?\nAnswer with a single number.",
        "count",
        "How many dogs are there in the image?",
    ),
    "countbenchqa": (
        "Three men.\nIn hats.\n\nHow many men are there in the image?\nAnswer with a single number.",
        "count",
        "How many men are there in the image?",
    ),
    "where2place": (
        f"Locate several spots on the shelf. {GRID}{FORMAT}",
        "point",
        "Locate several spots on the shelf.",
    ),
    "refspatial": (
        f"the mug left of the bowl {SHARES}{FORMAT}",
        "point",
        "the mug left of the bowl",
    ),
    "pointbench_json": (
        "pointing: Point to the mug.\nReturn points in JSON format and normalized to the range [0, 1000].",
        "point",
        "Point to the mug.",
    ),
    "pointbench_json, counting": (
        "pointing: Count the mugs, You should point to all the objects in the image that are mentioned in the question.\n"
        "Return points in JSON format and normalized to the range [0, 1000].",
        "point",
        "Count the mugs",
    ),
    "where2place_json": (
        "Locate a spot. Your answer should be JSON format. The coordinates should be between 0 and 1000, indicating the "
        "normalized pixel locations of the points in the image.",
        "point",
        "Locate a spot.",
    ),
    "refspatial_json": (
        "Locate the red mug in this image and output the point coordinates in JSON format.",
        "point",
        "Locate the red mug",
    ),
    "screenspot_pro": (f"{CLICK}save the file", "point", "save the file"),
    "osworld_g": (f"{TARGET}save the file", "point", "save the file"),
}


def pointing(*points: Point) -> Pointing:
    return Pointing(
        query="mug",
        points=points,
        status=Status.FOUND if points else Status.NOT_FOUND,
        image_size=(640, 480),
        model="fake",
    )


@pytest.mark.parametrize("task", PROMPTS)
def test_question_in_the_prompt(task: str) -> None:
    text, kind, query = PROMPTS[task]
    prompt = read_prompt(text)
    assert prompt is not None
    assert (prompt.kind, prompt.query) == (kind, query)


@pytest.mark.parametrize(
    "text", ["Describe the image.", "Answer with a single number.", "", "Is it a dog? Answer yes."]
)
def test_other_prompts_are_passed_on(text: str) -> None:
    assert read_prompt(text) is None


def written(task: str, answer: Pointing) -> str:
    prompt = read_prompt(PROMPTS[task][0])
    assert prompt is not None
    return prompt.answer(answer)


places = st.floats(0, 1).map(lambda value: round(value, 4))


@given(st.lists(st.tuples(places, places), max_size=5))
def test_places_come_back_to_within_a_step_of_the_grid(found: list[tuple[float, float]]) -> None:
    answer = pointing(*(Point(x=x, y=y, label="mug") for x, y in found))
    grid = re.findall(r"\(([-+]?\d+\.?\d*), ([-+]?\d+\.?\d*)\)", written("where2place", answer))
    shares = re.findall(r"\(([-+]?\d+\.?\d*), ([-+]?\d+\.?\d*)\)", written("refspatial", answer))
    boxes = json.loads(written("pointbench_json", answer))
    assert len(grid) == len(shares) == len(boxes) == len(found)
    for (x, y), on_grid, share, entry in zip(found, grid, shares, boxes, strict=True):
        assert 0 <= int(on_grid[0]) <= 999
        assert (int(on_grid[0]) / 1000, int(on_grid[1]) / 1000) == pytest.approx(
            (x, y), abs=1.001e-3
        )
        assert (float(share[0]), float(share[1])) == pytest.approx((x, y), abs=5.1e-4)
        assert [value / 1000 for value in entry["point_2d"]] == pytest.approx([x, y], abs=5.1e-4)


def test_a_count_and_one_click() -> None:
    two = pointing(
        Point(x=0.1, y=0.2, label="mug", score=0.3), Point(x=0.5, y=0.625, label="mug", score=0.9)
    )
    assert written("pixmo_count", two) == "2"
    assert written("screenspot_pro", two) == "[0.5000, 0.6250]"


def test_absence_in_the_words_of_the_task() -> None:
    nothing = pointing()
    assert {task: written(task, nothing) for task in PROMPTS} == {
        "pixmo_count": "0",
        "countbenchqa": "0",
        "where2place": "[]",
        "refspatial": "[]",
        "pointbench_json": "[]",
        "pointbench_json, counting": "[]",
        "where2place_json": "[]",
        "refspatial_json": "[]",
        "screenspot_pro": "There is no such element.",
        "osworld_g": "[-1, -1]",
    }
