"""The judgements without a browser: does a field hold what was meant, is that its name, is the page there, which line says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molmo_agents.browser.launch import Screen
from molmo_agents.cli import options as cli_options
from molmo_agents.cli.output import leave
from molmo_agents.labels import akin, label_in, naming_words, same_name, says
from molmo_agents.lines import Place
from molmo_agents.outcome import Outcome, Status
from molmo_agents.risk import Facts, calm, risks_of
from molmo_agents.session import Options
from molmo_agents.verbs.expect import is_at
from molmo_agents.verbs.held import holds

from molmo_point.errors import UsageError


@pytest.mark.parametrize(
    ("meant", "held"),
    [
        ("5551234567", "(555) 123-4567"),
        ("1-2-3", "123"),
        ("ada", "ADA"),
        ("12,5", "12.5"),
        ("1000", "1,000.00"),
        ("4111222233334444", "4111 2222 3333 4444"),
        ("one\ntwo", "one\n\ntwo\n"),
        ("1.5.2024", "1/5/2024"),
        ("1225", "12/25"),
        ("12/25", "12 / 25"),
        ("1030", "10:30"),
        ("12-34-56", "123456"),
        ("\u22125", "-5"),
        ("e\u0301t\u00e9", "\u00e9te\u0301"),
    ],
)
def test_a_page_may_write_it_its_own_way(meant: str, held: str) -> None:
    assert holds(meant, held)


@pytest.mark.parametrize(
    ("meant", "held"),
    [
        ("1234567890", "1234"),
        ("12,5", "125"),
        ("3.14", "314"),
        ("12 apples", "12"),
        ("ada", "HACKED"),
        ("0123", "123"),
        ("-5", "5"),
        ("a.b@c.de", "ab@c.de"),
        ("", "left over"),
        ("!!", "??"),
        ("1/2", "12"),
        ("3-5", "35"),
        ("2 - 3", "23"),
        ("10:30", "1030"),
        ("-5 kg", "5 kg"),
        ("\u22125", "5"),
        ("<5", "5"),
        ("AB+", "AB"),
        ("O-", "O+"),
        ("C++", "C"),
        ("10\u00b2", "102"),
        ("\u00bd", "12"),
        ("\u0915\u093f", "\u0915"),
        ("\u0e01\u0e35\u0e48", "\u0e01"),
    ],
)
def test_it_may_not_change_what_it_says(meant: str, held: str) -> None:
    assert not holds(meant, held)


def test_every_sign_of_a_password_counts() -> None:
    assert holds("Pa-ss1", "Pa-ss1", "password")
    assert not holds("Pa-ss1", "pass1", "password")


@given(st.text(max_size=30), st.text(alphabet="abc012 ", min_size=1, max_size=5))
def test_what_holds_never_lacks_a_letter(text: str, cut: str) -> None:
    assert holds(text, text)
    if any(c.isalnum() for c in cut) and "@" not in text and not text[-1:].isdigit():
        assert not holds(text + "x" + cut.strip(), text + "x")


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("Save", "Save"),
        ("save", " SAVE… "),
        ("Basket", "Basket (3)"),
        ("Sign in", "Sign in →"),
        ("Don't save", "Don’t save"),
        ("3", "3"),
    ],
)
def test_names_that_are_the_name(expected: str, name: str) -> None:
    assert same_name(expected, (name,), name)


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("Save", "Don't save"),
        ("Accept", "Do not accept"),
        ("Cancel", "Cancel plan"),
        ("Pay", "Pay later"),
        ("Save", "Save as"),
        ("Page 3", "Page 4"),
        ("", "anything"),
    ],
)
def test_names_that_are_another_one(expected: str, name: str) -> None:
    assert not same_name(expected, (name,), name)


def test_a_label_does_not_outweigh_what_is_shown() -> None:
    assert same_name("Edit Ada", ("Edit Ada", "Edit"), "Edit")
    assert same_name("Bold", ("Bold", "B"), "B")
    assert not same_name("Save", ("Save", "Make public"), "Make public")
    assert same_name("Close", ("Close", "×"), "×")
    assert not same_name("Save", ("Save", "Don't save"), "Don't save")


@pytest.mark.parametrize(
    ("address", "pattern", "there"),
    [
        ("http://a.example/shop.html", "shop.html", True),
        ("http://a.example/login?next=/shop.html", "shop.html", False),
        ("http://a.example/login#/shop.html", "shop.html", False),
        ("http://a.example/shop.html?x=1", "shop.html", True),
        ("http://a.example/home/", "/home", True),
        ("http://a.example/home-error", "/home", False),
        ("http://a.example/orders/15", "/orders/*", True),
        ("http://a.example/orders/15?paid=1", "orders/15?paid=1", True),
        ("http://a.example/app#/home", "#/home", True),
        ("http://a.example/home", "a.example/home", True),
        ("http://a.example/home", "http://a.example/home", True),
        ("http://evil.example/?http://a.example/home", "http://a.example/home", False),
        ("http://a.example/", "http://a.example/", True),
    ],
)
def test_where_the_page_is(address: str, pattern: str, there: bool) -> None:
    assert is_at(address, pattern) is there


def test_numbers_that_count_on_are_let_go_and_prices_are_not() -> None:
    assert calm("Resend (29)") == calm("Resend (28)")
    assert calm("Buy for $10") != calm("Buy for $1000")
    assert calm("Next") != calm("Previous")


def test_enter_sends_where_the_field_or_what_is_beside_it_says_so() -> None:
    assert risks_of("submit", Facts(texts=("Write a message",))) == {"send"}
    assert risks_of("submit", Facts(editor=True)) == {"send"}
    assert risks_of("submit", Facts(texts=("Words",), form_texts=("Send",))) == {"send"}
    assert risks_of("submit", Facts(texts=("Search",))) == set()
    assert risks_of("type", Facts(texts=("Write a message",), form_texts=("Send",))) == set()


def test_lines_say_what_was_done() -> None:
    found, bare = Place("page.locator('#a')", 5.0, 6.0), Place("", 5.0, 6.0)
    assert found.click("right") == "page.locator('#a').click(button='right')"
    assert found.click(count=2) == "page.locator('#a').dblclick()"
    assert bare.click("middle") == "page.mouse.click(5.0, 6.0, button='middle')"
    assert (
        found.type("hi", True, True)
        == "page.locator('#a').fill('hi'); page.locator('#a').press(\"Enter\")"
    )
    assert found.check(False) == "page.locator('#a').set_checked(False)"
    assert found.select(["B"]) == "page.locator('#a').select_option(['B'])"


def test_a_score_s_limit_lies_in_0_to_1() -> None:
    with pytest.raises(UsageError, match="min_score"):
        Options(min_score=1.5)


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ('the "Sign in" button', "Sign in"),
        ("the \u201cSign in\u201d link", "Sign in"),
        ('"Save"', "Save"),
        ('the "First name" text field', "First name"),
        ('the Edit button in the "Bo" row', ""),
        ('the "Bo" row', ""),
        ('the "x" button', ""),
        ("the Sign in button", "Sign in"),
        ("the Share usage data checkbox", "Share usage data"),
        ("the button to sign in", ""),
        ("the big button", ""),
        ("the Edit button in the Bo row", ""),
        ("the Delete link of the Bo entry", ""),
        ("the X button", ""),
    ],
)
def test_a_query_that_is_a_quoted_label(query: str, label: str) -> None:
    assert label_in(query) == label


@pytest.mark.parametrize(
    ("label", "texts", "said"),
    [
        ("Basket", ("Basket (3)",), True),
        ("Save", ("", "Save changes"), True),
        ("Don\u2019t save", ("Don't save",), True),
        ("\u4fdd\u5b58", ("\u4fdd\u5b58\u3059\u308b",), True),
        ("Go", ("",), True),
        ("Save", ("Don't save",), False),
        ("ON", ("BUTTON",), False),
        ("Preview Dune", ("Preview Anchor",), False),
    ],
)
def test_what_a_quoted_label_is_found_in(label: str, texts: tuple[str, ...], said: bool) -> None:
    assert says(label, texts) is said


@pytest.mark.parametrize(
    ("query", "text", "borne_out"),
    [
        ("push notifications", "Notification settings", True),
        ("the sign-in button", "Signin", True),
        ("the 25th", "25", True),
        ("page 3", "33", False),
        ("the categories", "Category", True),
        ("删除按钮", "删除", True),
        ("the weather map", "Next", False),
        ("the Export button", "Disable Gus Petrov", False),
        ("the art gallery", "Start", False),
    ],
)
def test_words_that_bear_a_query_out(query: str, text: str, borne_out: bool) -> None:
    asked = " ".join(naming_words(query))
    assert asked
    assert akin(asked, text) is borne_out
    assert akin(text, asked) is borne_out


@pytest.mark.parametrize("text", ["0,0,1281,100", "-1,0,10,10", "1300,900,50,50", "0,0,0,10", "a"])
def test_a_region_lies_in_the_viewport(text: str) -> None:
    with pytest.raises(UsageError, match="region"):
        cli_options.region(text, Screen(1280, 800))
    assert cli_options.region("0,0,1280,800", Screen(1280, 800)) is not None


def test_an_image_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    cli_options.writable(tmp_path / "a.png")
    for path in (tmp_path / "no" / "a.png", tmp_path):
        with pytest.raises(UsageError, match="cannot write"):
            cli_options.writable(path)


def test_one_match_of_many_is_printed_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(verb="locate", status=Status.FOUND, points=((12.0, 34.5),), count=1)
    with pytest.raises(SystemExit) as left:
        leave(outcome)
    assert left.value.code == 0
    assert "12.0,34.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "risk"),
    [
        ("D e l e t e", "delete"),
        ("Row 5 D e l e t e", "delete"),
        ("D\u0435l\u0435te account", "delete"),
        ("\u03c1ay now", "pay"),
        ("B u y n o w", "buy"),
    ],
)
def test_risky_words_are_read_as_they_look(text: str, risk: str) -> None:
    assert risk in risks_of("click", Facts(texts=(text,)))


@pytest.mark.parametrize("text", ["A B C", "Plan B", "1 2 3 4 5", "Сохранить", "X Y Z Q R"])
def test_single_letters_and_other_scripts_are_no_risk(text: str) -> None:
    assert not risks_of("click", Facts(texts=(text,)))
