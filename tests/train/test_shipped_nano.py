"""The weights in the package: small, loadable, and as good as their card says within reason."""

from __future__ import annotations

from pathlib import Path

import pytest

import molmo_point
from molmo_point.evaluate.report import Report
from molmo_point.evaluate.run import evaluate
from molmo_point.synthetic.held_out import scene_examples
from molmo_point.synthetic.scenes.kinds import kinds_named
from molmo_point.train.recipe import find_recipe

FOLDER = Path(molmo_point.__file__).parent / "nano"
STYLE = find_recipe("nano").stages[-1].scenes[-1].style
"""What the card calls "scenes", whatever the last run was trained on."""


@pytest.fixture(scope="module")
def report() -> Report:
    """Sixteen held-out scenes through the product's own path; other scenes than the card's."""
    return evaluate(molmo_point.load("nano"), scene_examples(20_000, 16, 4, STYLE))


def test_it_fits_into_the_package() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 12_000_000
    assert len(kinds_named(STYLE.kinds)) >= 50


def test_it_points_at_what_is_asked_for(report: Report) -> None:
    """Far below the card's numbers, far above chance: sixteen scenes have wide intervals."""
    assert report.overall.errors == 0
    assert report.overall.f1 is not None
    assert report.overall.f1 > 0.65


def test_it_says_when_there_are_none(report: Report) -> None:
    absent = report.overall.absent
    assert absent.right > 0.75 * absent.total
    assert report.overall.denied.right < 0.2 * report.overall.denied.total


def test_the_card_says_what_it_cannot_do() -> None:
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert "Photographs" in card
    for kind in kinds_named(STYLE.kinds):
        assert kind.name in card
