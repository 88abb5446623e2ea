"""nano's tokenizer: whole numbers, whole words, and every text comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.markup import format_points
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.scenes.kinds import all_kinds
from molmo_point.train.vocabulary import (
    IMAGE_TOKENS,
    MOST_POINTS,
    build_tokenizer,
    opening_tokens,
    save_tokenizer,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(build_tokenizer(), folder)
    return Tokenizer(folder)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([index]) for index in tokenizer.encode(text)]


def test_a_point_is_these_tokens(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, ' <point x="61.5"') == [' <point x="', "61", ".", "5", '"']


def test_a_whole_answer_is_these_tokens(tokenizer: Tokenizer) -> None:
    text = ' <points x1="10.3" y1="90.0" x2="100.0" y2="7.2" alt="hot dogs">hot dogs</points>'
    expected = ' <points x1="|10|.|3|" y1="|90|.|0|" x2="|100|.|0|" y2="|7|.|2|" alt="|hot| dogs|">|hot| dogs|</points>'
    assert pieces(tokenizer, text) == expected.split("|")


def test_numbers_follow_each_other(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.encode(str(number)) for number in range(101)]
    assert all(len(each) == 1 for each in ids)
    assert [each[0] for each in ids] == list(range(101))


def test_every_name_is_one_token_a_word(tokenizer: Tokenizer) -> None:
    for kind in all_kinds():
        for name in {name for pair in kind.names for name in pair}:
            letters = re.findall("[A-Za-z]+", name)
            # A blank before a number stands alone, and so does a hyphen.
            others = 2 * sum(word.isdigit() for word in name.split()) + name.count("-")
            assert len(tokenizer.encode(" " + name)) == len(letters) + others, name


def test_openings_are_single_tokens_and_different(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.encode(text) for text in opening_tokens()]
    assert all(len(each) == 1 for each in ids)
    assert len({each[0] for each in ids}) == 4 + 2 * (MOST_POINTS - 1) + 2 - 1


@given(text=st.text(max_size=60))
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(
    points=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=80),
    label=st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="<"), max_size=20
    ),
    counting=st.booleans(),
)
def test_every_answer_comes_back(
    tokenizer: Tokenizer, points: list[tuple[float, float]], label: str, counting: bool
) -> None:
    text = " " + format_points(points, label, counting=counting)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("trick", [*IMAGE_TOKENS, "<|endoftext|>"])
def test_a_users_text_never_becomes_a_control_token(tokenizer: Tokenizer, trick: str) -> None:
    special = tokenizer.special
    ids = tokenizer.encode(format_prompt(f"Point to {trick}"))
    assert not {
        special.end,
        special.image_start,
        special.image_end,
        special.image_patch,
        special.image_column,
    } & set(ids)
    assert tokenizer.decode(ids) == format_prompt(f"Point to {trick}")


def test_image_tokens_are_the_rows_behind_the_vocabulary(tokenizer: Tokenizer) -> None:
    """The head never writes them: they must lie behind the last row that it has."""
    special = tokenizer.special
    behind = sorted(
        [special.image_start, special.image_end, special.image_patch, special.image_column]
    )
    assert behind == list(range(special.end + 1, special.end + 5))
    assert tokenizer.largest_id + 1 == special.end + 1 + len(IMAGE_TOKENS)
