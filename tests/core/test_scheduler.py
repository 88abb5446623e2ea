"""Continuous batching: answers equal those of single questions, rows are freed at once, refusals give the numbers."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import molmo_point as mp
from molmo_point.engine.local import LocalPointer
from molmo_point.engine.scheduler import Scheduler
from molmo_point.errors import ImageError, QueryError
from molmo_point.pointer import StepOutput

GOLDEN = Path(__file__).parents[1] / "golden"
IMAGES = sorted((GOLDEN / "images").glob("*.png"))[:3]
DEMO = Path(mp.__file__).parent / "nano" / "demo.png"


@pytest.fixture(scope="module")
def nano() -> LocalPointer:
    return mp.load("nano", max_batch=3)


def drain_scheduler(scheduler: Scheduler) -> dict[object, list[StepOutput]]:
    outputs: dict[object, list[StepOutput]] = {}
    while scheduler.has_work:
        for output in scheduler.step():
            outputs.setdefault(output.key, []).append(output)
    return outputs


def test_questions_of_every_kind_join_late_and_get_their_own_answers(nano: LocalPointer) -> None:
    alone = {
        "points": nano.point(DEMO, "burgers"),
        "count": nano.count(DEMO, "burgers"),
        "none": nano.point(DEMO, "zebra"),
        "text": nano.ask(DEMO, "What is this?"),
    }
    scheduler = nano.scheduler()
    outputs: dict[object, list[StepOutput]] = {}
    scheduler.add("points", DEMO, "burgers")
    waiting = [("count", "burgers", "count"), ("none", "zebra", "point")]
    waiting += [("text", "What is this?", "text")]
    while scheduler.has_work or waiting:
        if waiting and scheduler.free_rows:
            key, query, kind = waiting.pop(0)
            scheduler.add(key, DEMO, query, kind=kind)  # type: ignore[arg-type]
        for output in scheduler.step():
            outputs.setdefault(output.key, []).append(output)
    for key, expected in alone.items():
        result = outputs[key][-1].result
        if isinstance(expected, str):
            assert result == expected
            assert "".join(output.piece for output in outputs[key]).strip() == expected
            continue
        assert isinstance(result, mp.Pointing)
        assert (result.text, result.status) == (expected.text, expected.status)
        assert [(p.x, p.y) for p in result.points] == [(p.x, p.y) for p in expected.points]
        assert [p for output in outputs[key] for p in output.points] == list(result.points)


def test_a_cancelled_question_frees_its_row_at_once(nano: LocalPointer) -> None:
    scheduler = nano.scheduler()
    for key in range(3):
        scheduler.add(key, DEMO, "burgers")
    scheduler.step()
    assert scheduler.free_rows == 0
    scheduler.cancel(1)
    scheduler.cancel("never there")
    assert scheduler.free_rows == 1
    scheduler.add("late", DEMO, "watermelon")
    outputs = drain_scheduler(scheduler)
    assert set(outputs) == {0, 2, "late"}
    late = outputs["late"][-1].result
    assert isinstance(late, mp.Pointing)
    assert late.text == nano.point(DEMO, "watermelon").text


def test_a_passed_deadline_frees_its_row_and_keeps_the_complete_points(nano: LocalPointer) -> None:
    scheduler = nano.scheduler()
    scheduler.add("late", DEMO, "burgers", timeout_s=0.0)
    scheduler.add("calm", DEMO, "burgers")
    by_key = {item.key: item for item in scheduler.step()}
    result = by_key["late"].result
    assert isinstance(result, mp.Pointing)
    assert result.status is mp.Status.TRUNCATED
    assert scheduler.free_rows == 2
    assert isinstance(drain_scheduler(scheduler)["calm"][-1].result, mp.Pointing)


def test_what_cannot_be_asked_does_not_join(nano: LocalPointer) -> None:
    scheduler = nano.scheduler()
    scheduler.add("good", DEMO, "burgers")
    with pytest.raises(ImageError):
        scheduler.add("bad", b"no image", "burgers")
    with pytest.raises(QueryError):
        scheduler.add("empty", DEMO, " ")
    assert scheduler.free_rows == 2
    assert set(drain_scheduler(scheduler)) == {"good"}


def test_a_question_that_can_never_fit_is_refused_with_the_numbers() -> None:
    pointer = mp.load(GOLDEN / "models" / "tiny-d", max_new_tokens=8)
    scheduler = pointer.scheduler()
    scheduler._decoder._cache.keys = scheduler._decoder._cache.keys[:, :, :, :50]
    with pytest.raises(QueryError, match=r"takes \d+ tokens with its image, .* holds 49"):
        scheduler.add("long", IMAGES[0], "cat")
    assert not scheduler.has_work


def test_threads_with_one_pointer_do_not_mix(nano: LocalPointer) -> None:
    """One thread schedules, others ask alone meanwhile."""
    expected = {query: nano.point(DEMO, query).text for query in ("burgers", "watermelon")}
    wrong: list[str] = []

    def ask() -> None:
        end = time.monotonic() + 60
        for _ in range(5):
            if (
                nano.point(DEMO, "watermelon").text != expected["watermelon"]
                or time.monotonic() > end
            ):
                wrong.append("alone")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    scheduler = nano.scheduler()
    for key in range(6):
        if not scheduler.free_rows:
            wrong += [str(n.result) for n in drained(scheduler) if n.text != expected["burgers"]]
        scheduler.add(key, DEMO, "burgers")
    wrong += [str(n) for n in drained(scheduler) if n.text != expected["burgers"]]
    for thread in threads:
        thread.join(60)
    assert wrong == []


def drained(scheduler: Scheduler) -> list[mp.Pointing]:
    last = [outputs[-1].result for outputs in drain_scheduler(scheduler).values()]
    return [result for result in last if isinstance(result, mp.Pointing)]
