"""Made-up pages: the same seed is the same page, every question has one answer on it, and reading the page finds them all."""

from __future__ import annotations

import concurrent.futures
import re

import pytest
from molmo_agents.bench.generated_pages import draw_mockup, mockup_page
from molmo_agents.bench.mockup_bench import run_mockups

from molmo_point.testing import FakePointer


@pytest.mark.parametrize("seed", range(40))
def test_questions_have_one_answer(seed: int) -> None:
    page = draw_mockup(seed)
    assert page == draw_mockup(seed)
    assert page.html != draw_mockup(seed + 1).html
    *there, absent = page.questions
    assert absent.answer is None
    assert absent.query.split('"')[1] not in page.html
    for question in there:
        label = question.query.split('"')[1]
        assert page.html.count(label) == 1
        assert page.html.count(f"data-id={question.answer}>") == 1
    # No name is a part of another one's.
    labels = [question.query.split('"')[1] for question in page.questions]
    assert len(set(labels)) == len(labels)


def test_only_pages_are_served() -> None:
    assert mockup_page("/favicon.ico") is None
    assert re.search("<title>7</title>", mockup_page("/7") or "")


@pytest.mark.browser
def test_reading_the_page_is_always_right_and_guessing_is_not(chromium: str) -> None:
    """In a thread of its own: it brings its own Playwright."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        best = pool.submit(run_mockups, range(3), None).result(timeout=500)
        corner = FakePointer(lambda image, query: [(0.99, 0.99)])
        worst = pool.submit(run_mockups, range(2), corner).result(timeout=500)
    assert [(trial.right, trial.wrong) for trial in best] == [(True, False)] * 6
    # Beside everything: nothing is pressed, which is right only where nothing was to be pressed.
    assert [trial.right for trial in worst] == [False, True] * 2
    assert not any(trial.wrong for trial in worst)
