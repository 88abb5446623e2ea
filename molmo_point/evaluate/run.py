"""Ask any `Pointer` questions with known answers, and score the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from molmo_point.errors import PointError, UsageError
from molmo_point.evaluate.report import Outcome, Report, report
from molmo_point.evaluate.scorers.scorer import Scorer
from molmo_point.evaluate.scores import match, offset_to
from molmo_point.examples import Example
from molmo_point.pointer import Pointer, View
from molmo_point.points import Pointing


def evaluate(
    pointer: Pointer,
    dataset: Iterable[Example],
    *,
    timeout_s: float | None = 60.0,
    scorers: Sequence[Scorer] = (),
    progress: Callable[[Outcome], None] | None = None,
) -> Report:
    """Ask every question of a data set.

    A `PointError` counts as a wrong answer, with its message in the report, so that one bad image does not end a long evaluation.
    Every other exception is a bug and is raised.

    Args:
        dataset: Examples, consumed one by one. Examples of one image that follow each other share its encoding.
        timeout_s: For each question; None waits without limit.
        scorers: Judge every answer, too.
        progress: Called after each question.

    Raises:
        UsageError: The data set is empty.
    """
    outcomes: list[Outcome] = []
    images = 0
    view: View | None = None
    shown: object = None
    opening = 0.0
    failure: PointError | None = None
    try:
        for example in dataset:
            if example.image is not shown:
                if view is not None:
                    view.close()
                images += 1
                view, failure, opening = _open(pointer, example)
                shown = example.image
            outcome = _ask(view, failure, example, timeout_s, opening, scorers)
            opening = 0.0
            outcomes.append(outcome)
            if progress is not None:
                progress(outcome)
    finally:
        if view is not None:
            view.close()
    if not outcomes:
        raise UsageError("expected at least one question in the data set, got none")
    return report(pointer.model, images, outcomes)


def _open(pointer: Pointer, example: Example) -> tuple[View | None, PointError | None, float]:
    """Open an image; return the view, or the error, and the seconds it took."""
    start = time.perf_counter()
    try:
        return pointer.open(example.image), None, time.perf_counter() - start
    except PointError as error:
        return None, error, time.perf_counter() - start


def _ask(
    view: View | None,
    failure: PointError | None,
    example: Example,
    timeout_s: float | None,
    opening_s: float,
    scorers: Sequence[Scorer],
) -> Outcome:
    start = time.perf_counter()
    pointing: Pointing | None = None
    if view is not None:
        ask = view.count if example.mode == "count" else view.point
        try:
            pointing = ask(example.query, timeout_s=timeout_s)
        except PointError as error:
            failure = error
    seconds = opening_s + time.perf_counter() - start
    common = {
        "query": example.query,
        "mode": example.mode,
        "group": example.group,
        "things": example.things,
        "seconds": seconds,
        "source": example.source,
        "located": example.count is None or example.count == len(example.regions),
        "image": str(example.image) if isinstance(example.image, (str, Path)) else "",
        "centers": tuple(region.center for region in example.regions),
        "judged": {
            scorer.name: dict(values)
            for scorer in scorers
            if (values := scorer.judge(example, pointing)) is not None
        },
    }
    if pointing is None:
        return Outcome.model_validate({**common, "error": f"{type(failure).__name__}: {failure}"})
    return Outcome.model_validate(
        {
            **common,
            "points": pointing.count,
            "hits": match(pointing.points, example.regions),
            "status": pointing.status,
            "stated_count": pointing.stated_count,
            "image_size": pointing.image_size,
            "answer": pointing.points,
            "offsets": (
                offsets := [offset_to(point, example.regions) for point in pointing.points]
            ),
            "on_thing": [offset is not None for offset in offsets],
            "text": pointing.text,
            "absent_probability": pointing.absent_probability,
        }
    )
