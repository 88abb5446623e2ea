"""Capabilities: nano's file lists its training words, and unknown words of a query are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from molmo_point.capabilities import (
    FILE,
    Capabilities,
    capabilities_of,
    check_question,
    read_capabilities,
    unknown_note,
)
from molmo_point.errors import CheckpointError, QueryError


def test_nanos_file_is_what_it_was_taught() -> None:
    pytest.importorskip("tokenizers")
    from molmo_point.synthetic.scenes.kinds import all_kinds
    from molmo_point.train.vocabulary import known_words

    able = capabilities_of("nano")
    kinds = tuple(kind.name for kind in all_kinds() if kind.family not in ("control", "icon"))
    assert able.kinds == kinds
    assert able.words == {word.lower() for word in known_words()}
    assert able.knows.startswith(f"{len(kinds)} kinds")
    assert not able.free_questions


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("burgers", []),
        ("the red mug", []),
        ("Point to the burgers", []),
        ("plate", ["plate"]),
        ("Plates and burgers", ["Plates"]),
        ("strawberries", []),
        ("largest wolf", []),
        ('the "Xylqu" button', []),
        ('Point to "Xylqu"', []),
        ("kräuter", ["kräuter"]),
    ],
)
def test_words_that_nano_was_never_taught(query: str, unknown: list[str]) -> None:
    assert capabilities_of("nano").unknown_words(query) == unknown
    assert bool(unknown_note("nano", query)) == bool(unknown)


def test_models_without_a_file_can_be_asked_everything() -> None:
    for model in ("molmo-7b-d", "allenai/Molmo-72B-0924", "my-own", ""):
        assert capabilities_of(model) == Capabilities()
        assert unknown_note(model, "plate") == ""
        check_question(model, "Describe this image.")


def test_nano_answers_what_points_and_counts_only() -> None:
    for question in ("Point to the burgers", "How many burgers are there?"):
        check_question("nano", question)
    for question in ("Describe this image.", "the burgers", "What is it?"):
        with pytest.raises(QueryError, match="answers no free questions"):
            check_question("nano", question)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"free_questions": "perhaps"}')
    with pytest.raises(CheckpointError, match="free_questions"):
        read_capabilities(tmp_path)
