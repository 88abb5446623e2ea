"""Scorers of benchmarks against their definitions, on answers where published ones disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.datasets import read_labelled
from molmo_point.datasets.layouts.table import LAYOUTS
from molmo_point.datasets.manifest import manifest
from molmo_point.datasets.masks import StoredMask
from molmo_point.datasets.regions import labelled_examples
from molmo_point.errors import UsageError
from molmo_point.evaluate.data_report import data_report
from molmo_point.evaluate.run import evaluate
from molmo_point.evaluate.scorers.summary import mean, summarize
from molmo_point.evaluate.scorers.table import SCORERS, find_scorer, scorers_for
from molmo_point.examples import Box, Example
from molmo_point.points import Point, Pointing, Status
from molmo_point.testing import FakePointer
from tests.datasets.benchmarks import BOXES, CENTRES, HEIGHT, LAYOUT_WRITERS, WIDTH, mask

SIZE = (WIDTH, HEIGHT)
MISS = (0.01, 0.99)
CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden/points/metric_cases.json").read_text("utf-8")
)


def answer(
    *points: tuple[float, float],
    text: str = "",
    status: Status | None = None,
    count: int | None = None,
) -> Pointing:
    found = tuple(Point(x=x, y=y, index=i) for i, (x, y) in enumerate(points))
    status = status or (Status.FOUND if found else Status.NOT_FOUND)
    return Pointing(
        query="mugs", points=found, status=status, image_size=SIZE, text=text, stated_count=count
    )


def masked(
    *boxes: int, group: str = "spatial", count: int | None = None, mode: Any = "point"
) -> Example:
    region = StoredMask(mask(*(BOXES[box] for box in boxes)))
    return Example(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8), "mugs", (region,), mode, group, "", count
    )


def value(scorer: str, example: Example, pointing: Pointing | None, name: str = "") -> float:
    values = find_scorer(scorer).judge(example, pointing)
    assert values is not None
    return values[name or find_scorer(scorer).main]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_points_against_masks_as_the_golden_data_have_it(case: dict[str, Any]) -> None:
    """The scorer of the report, given a parsed answer with its text, equals the reference implementation."""
    width, height = case["width"], case["height"]
    regions = []
    for (x0, y0, x1, y1), (x, y) in zip(case["gt_boxes_xyxy"], case["gt_points"], strict=True):
        inside = np.zeros((height, width), bool)
        inside[y0:y1, x0:x1] = True
        regions.append(_Labelled(inside, (x / width, y / height)))
    example = Example(np.zeros((height, width, 3), np.uint8), "a", regions)
    status = Status.MALFORMED if case["text"] else Status.NOT_FOUND
    pointing = Pointing(query="a", status=status, image_size=(width, height), text=case["text"])
    values = find_scorer("ai2-points").judge(example, pointing)
    expected = {name: case[name] for name in ("precision", "recall", "f1")}
    assert values == pytest.approx(expected, abs=1e-6)


class _Labelled(StoredMask):
    """A mask whose labelled point is given."""

    def __init__(self, inside: np.ndarray[Any, Any], point: tuple[float, float]) -> None:
        super().__init__(inside)
        self._point = point


BENCH: list[tuple[str, Callable[[], Example], Pointing | None, tuple[float, float, float]]] = [
    ("one right", lambda: masked(0), answer(CENTRES[0]), (1, 1, 1)),
    ("first right, second not", lambda: masked(0), answer(CENTRES[0], MISS), (1, 0, 0.5)),
    ("first wrong, second right", lambda: masked(0), answer(MISS, CENTRES[0]), (0, 0, 0.5)),
    ("two on one mask", lambda: masked(0), answer(CENTRES[0], (0.26, 0.23)), (1, 1, 1)),
    ("none", lambda: masked(0), answer(), (0, 0, 0)),
    ("error", lambda: masked(0), None, (0, 0, 0)),
    (
        "counted right",
        lambda: masked(0, 1, group="counting", count=2),
        answer(*CENTRES),
        (1, 1, 1),
    ),
    (
        "counted too few, all on it",
        lambda: masked(0, 1, group="counting", count=2),
        answer(CENTRES[0]),
        (0, 1, 1),
    ),
    (
        "counted, one beside",
        lambda: masked(0, 1, group="counting", count=2),
        answer(CENTRES[0], MISS),
        (0, 0, 0.5),
    ),
]


@pytest.mark.parametrize(
    ("example", "pointing", "expected"),
    [case[1:] for case in BENCH],
    ids=[case[0] for case in BENCH],
)
def test_three_scorers_of_point_bench(example: Any, pointing: Any, expected: Any) -> None:
    names = ("point-bench-pointarena", "point-bench-ai2", "point-bench-lmms-eval")
    assert tuple(value(name, example(), pointing) for name in names) == expected


def test_pixels_are_cut_or_rounded_as_each_owner_does() -> None:
    # The mask's last column is 29: x = 29.6 px is cut to 29 and rounded to 30.
    edge = answer((29.6 / WIDTH, CENTRES[0][1]))
    assert value("point-bench-pointarena", masked(0), edge) == 1
    assert value("point-bench-ai2", masked(0), edge) == 1
    assert value("point-bench-lmms-eval", masked(0), edge) == 0
    assert value("refspatial-roborefer", masked(0), answer((1.0, 0.3))) == 0


def test_where2place_by_robopoint_takes_640_by_480_and_gray_values() -> None:
    inside = np.zeros((480, 640), bool)
    inside[:240] = True
    levels = np.where(inside, 204, 0).astype(np.uint8)
    example = Example(np.zeros((4, 4, 3), np.uint8), "free", (StoredMask(inside, levels),))
    answered = answer((0.5, 0.25), (0.5, 0.75))
    assert value("where2place-robopoint", example, answered) == pytest.approx(0.4)
    assert value("where2place-lmms-eval", example, answered) == 0.5
    # On a mask of another size RoboPoint's code looks at another place.
    assert value("where2place-robopoint", masked(0, 1), answer(CENTRES[0])) == 0
    assert value("where2place-lmms-eval", masked(0, 1), answer(CENTRES[0])) == 1


def test_the_reader_of_refspatial_does_not_see_a_single_point() -> None:
    x, y = (100 * v for v in CENTRES[0])
    one = answer(CENTRES[0], text=f'<point x="{x}" y="{y}" alt="a">a</point>')
    two = answer(
        CENTRES[0], MISS, text=f'<points x1="{x}" y1="{y}" x2="1.0" y2="99.0" alt="a">a</points>'
    )
    for said, plain, xml in ((one, 1, 0), (two, 0.5, 0.5)):
        assert value("refspatial-roborefer", masked(0), said) == plain
        assert value("refspatial-roborefer-xml", masked(0), said) == xml


def _counting(truth: int) -> Example:
    return Example(np.zeros((4, 4, 3), np.uint8), "mugs", (), "count", "", "", truth)


def test_counts_by_words_by_points_and_by_first_digits() -> None:
    text = 'Counting the <points x1="15.0" y1="20.0" x2="30.5" y2="44.4" alt="a">a</points> shows a total of 3.'
    said = answer((0.15, 0.2), (0.305, 0.444), text=text, count=3)
    names = ("ai2-count", "ai2-count-molmo2", "lmms-eval-count")
    by = {name: dict(find_scorer(name).judge(_counting(3), said) or {}) for name in names}
    assert by["ai2-count"] == {"exact": 1, "off_by_one": 1, "read": 1, "absolute_error": 0}
    assert by["ai2-count-molmo2"] == {"exact": 0, "off_by_one": 1, "read": 1, "absolute_error": 1}
    assert by["lmms-eval-count"]["absolute_error"] == 2
    none = answer(text="There are none.")
    assert value("ai2-count", _counting(0), none) == 0
    assert value("ai2-count-molmo2", _counting(0), none) == 1
    assert value("ai2-count-molmo2", _counting(0), None, "read") == 0


def test_clicks_take_the_first_point_and_edges_and_count_wrong_formats_apart() -> None:
    x0, y0, x1, y1 = (v / s for v, s in zip(BOXES[0], (WIDTH, HEIGHT, WIDTH, HEIGHT), strict=True))
    element = Example(np.zeros((4, 4, 3), np.uint8), "open", (Box(x0, y0, x1, y1),))
    for scorer in ("screenspot", "screenspot-pro"):
        judge = find_scorer(scorer).judge
        assert judge(element, answer((x1, y1), MISS)) == {"correct": 1, "wrong_format": 0}
        assert judge(element, answer(MISS, (x1, y1))) == {"correct": 0, "wrong_format": 0}
        assert judge(element, answer(status=Status.MALFORMED)) == {"correct": 0, "wrong_format": 1}
    absent = Example(np.zeros((4, 4, 3), np.uint8), "open", ())
    assert find_scorer("screenspot-pro").judge(absent, answer()) == {
        "correct": 1,
        "wrong_format": 0,
    }
    assert value("screenspot-pro", absent, answer(status=Status.MALFORMED)) == 0


def test_published_numbers_are_means_of_items_or_of_categories() -> None:
    judged = [("a", {"correct": 1.0})] * 3 + [("b", {"correct": 0.0})]
    scored = summarize(find_scorer("point-bench-pointarena"), judged)
    assert (scored.published, scored.micro["correct"].value) == (scored.macro, 0.75)
    assert scored.macro is not None
    assert scored.macro.value == 0.5
    assert scored.categories["a"].low == pytest.approx(0.4385, abs=1e-4)  # Wilson, 3 of 3
    assert (scored.macro.low, scored.macro.high) == pytest.approx((0.2192, 0.8967), abs=1e-4)
    nothing = summarize(find_scorer("point-bench-pointarena"), [("a", {"correct": 0.0})] * 6)
    assert nothing.macro is not None
    assert nothing.macro.high == pytest.approx(0.3903, abs=1e-4)  # Wilson, 0 of 6
    assert mean([1 - 5e-11] * 6).low == pytest.approx(1 - 0.3903, abs=1e-4)
    fractions = mean([0.0, 0.5, 1.0] * 30)
    assert fractions.value == 0.5
    assert fractions.low == pytest.approx(0.5 - 1.96 * 0.408 / 90**0.5, abs=0.01)


@pytest.mark.parametrize("layout", sorted(LAYOUT_WRITERS))
def test_the_truth_gets_full_marks_from_every_scorer_of_a_layout(
    tmp_path: Path, layout: str
) -> None:
    path = LAYOUT_WRITERS[layout][0](tmp_path)
    data = read_labelled(path)
    examples = list(labelled_examples(data.items))
    truth = iter(examples)

    def tell(_image: Any, query: str) -> Pointing:
        example = next(truth)
        regions = example.regions
        places = [c for c in CENTRES if any(r.contains(*c) for r in regions)]
        if not regions:
            places = [(0.3, 0.3 + 0.1 * i) for i in range(example.things)]
        text = mp.to_molmo(answer(*places).replace(query="a")) if places else "0"
        return answer(*places, text=text).replace(query=query)

    report = data_report(
        evaluate(FakePointer(tell), examples, scorers=scorers_for(layout)),
        manifest(path, data),
        scorers_for(layout),
    )
    assert report.scored or layout == "yolo-pose"
    for name, scored in report.scored.items():
        if name in ("lmms-eval-count", "where2place-robopoint", "ai2-count"):
            continue  # they read another thing than the truth: see above
        assert scored.published is not None
        assert scored.published.value == pytest.approx(1.0), name
    assert json.loads(report.model_dump_json())["data"]["sha256"] == report.data.sha256
    assert report.data.sha256 in report.table()


def test_every_published_layout_has_a_scorer_and_names_are_known() -> None:
    for layout in LAYOUTS:
        assert scorers_for(layout), layout
    assert {layout for scorer in SCORERS.values() for layout in scorer.layouts} <= set(LAYOUTS)
    assert len([name for name in SCORERS if name.startswith("point-bench-")]) == 3
    with pytest.raises(UsageError, match="expected a scorer of ai2-points, "):
        find_scorer("mine")


def test_kinds_of_answers_are_counted_apart_and_calibration_is_measured() -> None:
    box = Box(0.2, 0.2, 0.4, 0.4)
    image = np.zeros((40, 80, 3), np.uint8)
    sure = Point(x=0.3, y=0.3, score=0.9, covariance=(1e-3, 0, 1e-3))
    doubtful = Point(x=0.9, y=0.9, score=0.2, covariance=(1e-3, 0, 1e-3))
    answers = {
        "a": answer().replace(points=(sure,), status=Status.FOUND, absent_probability=0.1),
        "b": answer().replace(points=(doubtful,), status=Status.FOUND, absent_probability=0.2),
        "c": answer(status=Status.MALFORMED),
        "d": answer().replace(absent_probability=0.9),
    }
    examples = [Example(image, query, () if query == "d" else (box,)) for query in answers]
    report = data_report(
        evaluate(FakePointer(answers), examples),
        _no_data(),
        (),
    )
    assert report.answers == {"present": {"found": 2, "malformed": 1}, "absent": {"not_found": 1}}
    quality = report.calibrated
    assert quality is not None
    assert (quality.points, quality.misses, quality.auroc, quality.absence_auroc) == (
        2,
        1,
        1.0,
        1.0,
    )
    assert quality.expected_calibration_error == pytest.approx((0.1 + 0.2) / 2)
    assert quality.coverage_90 == 1.0


def _no_data() -> Any:
    from molmo_point.datasets.manifest import Manifest

    return Manifest(path="x", layout="coco", items=4, images=1, skipped=0, files=(), sha256="0")
