"""Questions: the right things answer, in the words of a user."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from molmo_point.synthetic.scenes.kinds import COLOUR_SYNONYMS, all_kinds
from molmo_point.synthetic.scenes.questions import (
    CLEAR,
    Question,
    QuestionStyle,
    draw_questions,
    strange_words,
)
from molmo_point.synthetic.scenes.scene import Scene, Style, draw_scene
from molmo_point.synthetic.splits import held_out_seed, training_seed

STYLE = Style(
    sizes=((160, 120),),
    things=(1, 10),
    scale=(0.1, 0.3),
    families=(("emoji", 0.5), ("shape", 0.3), ("letter", 0.1), ("digit", 0.1)),
)


def drawn(index: int, style: QuestionStyle | None = None) -> tuple[Scene, list[Question]]:
    scene = draw_scene(training_seed(0, "questions", index), STYLE)
    rng = np.random.default_rng(index)
    return scene, draw_questions(scene, rng, 9, style or QuestionStyle())


ALL = [drawn(index) for index in range(150)]


def meant(query: str) -> tuple[str, str | None]:
    """Read a query back: (kind, colour), by the table of names and nothing else."""
    words = query.removeprefix("the ")
    names = {name: kind.name for kind in all_kinds() for pair in kind.names for name in pair}
    if words in names:
        return names[words], None
    colour, _, rest = words.partition(" ")
    if rest in names:
        return names[rest], COLOUR_SYNONYMS.get(colour, colour)
    return "", None


def test_the_things_that_answer_are_those_that_the_words_mean() -> None:
    for scene, questions in ALL:
        for question in questions:
            if question.form == "relation":
                continue
            kind, colour = meant(question.query)
            right = {
                index
                for index, thing in enumerate(scene.things)
                if thing.kind.name == kind and colour in (None, thing.colour)
            }
            assert set(question.targets) == right, question
            assert len(question.targets) == len(right)


def test_a_relation_singles_out_the_thing_that_leads_clearly() -> None:
    measure = {
        "leftmost": lambda thing: -thing.point[0],
        "rightmost": lambda thing: thing.point[0],
        "top": lambda thing: -thing.point[1],
        "bottom": lambda thing: thing.point[1],
        "largest": lambda thing: thing.area,
        "smallest": lambda thing: -thing.area,
    }
    seen = set()
    for scene, questions in ALL:
        for question in questions:
            if question.form == "relation":
                word, name = question.query.removeprefix("the ").split(" ", 1)
                others = [thing for thing in scene.things if thing.kind.name == name]
                assert len(others) > 1
                best = max(others, key=measure[word])
                assert [scene.things[index] for index in question.targets] == [best], question
                seen.add(word)
    assert len(seen) >= 3


def test_every_form_is_asked() -> None:
    forms = Counter(question.form for _, questions in ALL for question in questions)
    present = {"name", "synonym", "colour", "relation"}
    assert set(forms) == {*present, "absent", "absent colour", "absent word"}
    absent = sum(forms[form] for form in forms if form.startswith("absent"))
    assert 0.25 < absent / forms.total() < 0.6


def test_what_is_nearly_hidden_is_not_asked_for() -> None:
    for scene, questions in ALL:
        for question in questions:
            assert all(scene.things[index].visible >= CLEAR for index in question.targets)


def test_the_prompt_holds_the_query_word_for_word() -> None:
    for _, questions in ALL:
        for question in questions:
            assert re.search(rf"\b{re.escape(question.query)}\b", question.prompt)


def test_an_image_is_never_asked_the_same_twice() -> None:
    for _, questions in ALL:
        assert len({(q.mode, q.query) for q in questions}) == len(questions)


def test_crowds_beyond_the_limit_are_not_asked_for() -> None:
    for index in range(40):
        _, questions = drawn(index, QuestionStyle(most=1, absent=0.0))
        assert all(
            len(question.targets) <= 1 for question in questions if question.form != "colour"
        )


def test_the_number_of_a_word_does_not_give_the_answer_away() -> None:
    """If absent things were always asked for in the singular, the plural would mean 'they are there'."""
    plurals = {pair[1] for kind in all_kinds() for pair in kind.names if pair[0] != pair[1]}
    absent = [q for _, qs in ALL for q in qs if not q.targets and meant(q.query)[0]]
    share = np.mean([any(q.query.endswith(word) for word in plurals) for q in absent])
    assert 0.35 < share < 0.8


def test_strange_words_name_no_kind_and_are_held_out() -> None:
    names = {name for kind in all_kinds() for pair in kind.names for name in pair}
    training, evaluation = strange_words(False), strange_words(True)
    assert len(training) > 100
    assert len(evaluation) > 30
    assert not set(training) & set(evaluation)
    assert not names & {*training, *evaluation}


@pytest.mark.parametrize("held_out", [False, True])
def test_strange_words_come_from_the_scenes_own_list(held_out: bool) -> None:
    for index in range(60):
        seed = held_out_seed(index) if held_out else training_seed(3, "strange", index)
        scene = draw_scene(seed, STYLE)
        for question in draw_questions(scene, np.random.default_rng(index), 9, QuestionStyle()):
            if question.form == "absent word":
                assert question.query.removeprefix("the ") in strange_words(held_out)
