"""Instructions give the label of Molmo's training templates; sentences are not changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.markup.noun_phrase import noun_phrase

LABELS = st.from_regex(r"[b-df-hj-np-tv-z]{3,8}( [b-df-hj-np-tv-z]{3,8})?", fullmatch=True)
TEMPLATES = (
    "Point to {}",
    "Point to the {}.",
    "Point to all of the {}",
    "Please point at every {}",
    "How many {} are there?",
    "How many {} are there in the image?",
    "How many {} do you see?",
    "Count the {}.",
    "Where is the {}?",
    "Where are the {} located in the picture?",
    "Locate {}",
    "Find all {}",
    "Show me where the {}",
    "Are there any {} in the photo?",
    "the {}",
    "  a {} ",
)


@given(LABELS, st.sampled_from(TEMPLATES))
def test_a_template_gives_its_label_back(label: str, template: str) -> None:
    assert noun_phrase(template.format(label)) == label
    assert noun_phrase(noun_phrase(template.format(label))) == label


@pytest.mark.parametrize(
    "query",
    [
        "burgers",
        "red mug",
        "Where is the dog that sleeps?",
        "How many people are wearing hats?",
        "Which mug is closest?",
        "Point to",
        "Count",
        "the",
        "a",
        "theatre",
        "all-day menu",
        "mark twain",
        "What is on the table?",
        "Click the Sign in button",
    ],
)
def test_everything_else_stays_word_for_word(query: str) -> None:
    assert noun_phrase(f" {query} ") == query


def test_quotation_marks_around_the_label_go() -> None:
    assert noun_phrase('Point to all occurrences of "red mug"') == "red mug"
