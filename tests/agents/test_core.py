"""What needs no browser: mapping, addresses, risks, verdicts, flows, masks, and that both faces are twins."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from molmo_agents import (
    AsyncWebPointer,
    Box,
    Journal,
    Outcome,
    Policy,
    PolicyError,
    Screenshot,
    Secret,
    Status,
    WebPointer,
    allow_risks,
)
from molmo_agents.adapters import computer
from molmo_agents.drivers.steps import CallPage, RunBlocking, Sleep
from molmo_agents.errors import FlowError
from molmo_agents.flows.flow import load_flow, parse_flow
from molmo_agents.journal import read_steps, read_verdicts
from molmo_agents.labels import same_name
from molmo_agents.masker import SecretRedactor
from molmo_agents.mcp.tools import TOOLS, tool_of, verb_tools
from molmo_agents.origins import allowed, origin_of, parse_pattern
from molmo_agents.policy import Confirmation, Rules
from molmo_agents.risk import Facts, fold, risks_of
from molmo_agents.screen import zoom_region
from molmo_agents.target.verdicts import EventReport, delivered, provably_undelivered
from molmo_agents.verbs.table import TABLE
from molmo_agents.verbs.verb import Verb

from molmo_point.errors import UsageError
from molmo_point.points import Point
from molmo_point.testing import FakePointer

unit = st.floats(0, 1, exclude_max=True, allow_nan=False)
size = st.integers(1, 4000)


def screenshot_of(region: Box, image: tuple[int, int]) -> Screenshot:
    return Screenshot(b"", image, region, (1280.0, 800.0))


@given(unit, unit, st.floats(0, 500), st.floats(0, 500), st.floats(1, 2000), st.floats(1, 2000))
def test_css_and_norm_are_inverse(
    x: float, y: float, left: float, top: float, w: float, h: float
) -> None:
    screenshot = screenshot_of(Box(left, top, w, h), (640, 480))
    back = screenshot.to_norm(*screenshot.to_css(x, y))
    assert math.dist(back, (x, y)) < 1e-5


@pytest.mark.parametrize("place", [(math.nan, 0.5), (1.1, 0.5), (0.5, -0.1), (math.inf, 0)])
def test_points_outside_of_the_image_are_refused(place: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="expected x and y in 0-1"):
        screenshot_of(Box(0, 0, 10, 10), (10, 10)).to_css(*place)


def test_sigma_is_the_worst_axis_in_css_pixels() -> None:
    screenshot = screenshot_of(Box(0, 0, 1000, 500), (10, 10))
    assert screenshot.sigma_css(
        Point(x=0.5, y=0.5, covariance=(0.0001, 0.0, 0.0001))
    ) == pytest.approx(10)
    assert screenshot.sigma_css(Point(x=0.5, y=0.5)) is None


@given(st.floats(0, 1280), st.floats(0, 800), st.floats(0, 300))
def test_zoom_regions_lie_in_the_viewport(x: float, y: float, sigma: float) -> None:
    box = zoom_region((x, y), None, sigma, (1280.0, 800.0))
    assert box.x >= 0
    assert box.y >= 0
    assert box.x + box.width <= 1280
    assert box.y + box.height <= 800
    assert box.width > 0
    assert box.height > 0


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.com/", True),
        ("https://example.com:443/a?b#c", True),
        ("https://example.com:8443/", False),
        ("http://example.com/", False),
        ("https://example.com./", False),
        ("https://www.example.com/", False),
        ("https://example.com.evil.org/", False),
        ("https://evil.org/https://example.com/", False),
        ("https://user@example.com/", False),
        ("https://example.com@evil.org/", False),
        ("https:\\\\example.com/", False),
        ("https://exam\nple.com/", False),
        ("https://ex\u00e4mple.com/", False),
        ("javascript:alert(1)", False),
        ("data:text/html,hi", False),
        ("file:///etc/passwd", False),
        ("blob:https://example.com/1", False),
        ("https://example.com:99999/", False),
        ("", False),
        ("wss://example.com/socket", True),
    ],
)
def test_addresses(url: str, good: bool) -> None:
    assert allowed(url, [parse_pattern("https://example.com")]) is good


@given(st.text(max_size=60))
def test_no_text_is_allowed_by_accident(text: str) -> None:
    url = f"https://{text}"
    if allowed(url, [parse_pattern("https://example.com")]):
        origin = origin_of(url)
        assert origin is not None
        assert origin.host == "example.com"


def test_subdomains_only_when_asked_for() -> None:
    pattern = [parse_pattern("https://*.example.com")]
    assert allowed("https://a.b.example.com/", pattern)
    assert not allowed("https://example.com/", pattern)
    assert not allowed("https://badexample.com/", pattern)


@pytest.mark.parametrize(
    "text", ["example.com", "*", "https://*", "https://*.com", "ftp://a.b", "https://a.b/path", ""]
)
def test_patterns_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy(origins=(text,))


def test_policy_mistakes() -> None:
    with pytest.raises(PolicyError, match="origins it may be typed on"):
        Policy(secrets={"a": Secret("x")})
    with pytest.raises(PolicyError, match="unknown verbs"):
        WebPointer(object(), FakePointer({}), Policy(verbs=frozenset({"fly"})))
    with pytest.raises(PolicyError, match="unknown risks"):
        allow_risks(["everything"])
    assert "hunter2" not in repr(Policy(secrets={"a": Secret("hunter2", ("https://a.b",))}))


def test_resources_may_be_wider_than_pages() -> None:
    rules = Rules.of(Policy(origins=("https://a.b",), resources=("*",)))
    assert rules.resource("https://cdn.net/x.js")
    assert not rules.page("https://cdn.net/")
    assert not rules.resource("ftp://cdn.net/")


@pytest.mark.parametrize(
    ("text", "risk"),
    [
        ("Buy now", "buy"), ("Place order", "buy"), ("KAUFEN", "buy"), ("Jetzt zahlungspflichtig bestellen", "buy"),
        ("Delete", "delete"), ("De\u200blete", "delete"), ("L\u00d6SCHEN", "delete"), ("Supprimer", "delete"),
        ("Send\nmessage", "send"), ("Submit", "send"), ("Envoyer", "send"), ("Pay 3 \u20ac", "pay"),
        ("Authorize app", "permission"),
    ],
)  # fmt: skip
def test_risky_words(text: str, risk: str) -> None:
    assert risk in risks_of("click", Facts(texts=(text,)))


@pytest.mark.parametrize(
    "text", ["OK", "Next", "Show details", "Undeleted items", "Buyer's guide", "Repay", "Log in"]
)
def test_harmless_words(text: str) -> None:
    assert risks_of("click", Facts(texts=(text,))) == frozenset()


def test_risks_of_what_is_around() -> None:
    assert risks_of("click", Facts(submits=True, form_password=True)) == {"password"}
    assert risks_of("type", Facts(input_type="password")) == {"password"}
    assert risks_of("submit", Facts(form_texts=("Send",))) == {"send"}
    assert risks_of("upload", Facts()) == {"file"}
    assert risks_of("hover", Facts(texts=("Delete",))) == frozenset()


@given(st.text(max_size=40))
def test_fold_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_names_match_whole_words() -> None:
    assert same_name("sign in", ("Sign  In",))
    assert not same_name("sign", ("Signature",))
    assert not same_name("", ("anything",))


def test_delivery_is_about_the_element() -> None:
    assert delivered(EventReport(log=("pointerdown", "mousedown", "mouseup", "click")))
    assert not delivered(EventReport(log=("pointerdown", "mousedown", "mouseup!", "click!")))
    assert not delivered(EventReport(blocked=True))
    assert delivered(EventReport(log=("mousedown",), removed=True))
    assert delivered(EventReport(log=("mousedown",), lost=True))
    assert not delivered(EventReport(lost=True))


def test_only_a_press_nobody_saw_is_tried_again() -> None:
    assert provably_undelivered(EventReport(blocked=True, early=True))
    assert not provably_undelivered(EventReport(blocked=True, early=False))
    assert not provably_undelivered(EventReport(log=("pointerdown",), early=True))
    assert not provably_undelivered(EventReport(early=True))


def test_both_faces_are_twins() -> None:
    def verbs(cls: type) -> dict[str, str]:
        public = {n: m for n, m in inspect.getmembers(cls) if not n.startswith("_")}
        return {
            n: str(inspect.signature(m.function if isinstance(m, Verb) else m))
            for n, m in public.items()
            if callable(m)
        }

    assert verbs(WebPointer) == verbs(AsyncWebPointer)
    assert set(verbs(WebPointer)) >= {
        "look", "locate", "click", "click_all", "hover", "type", "select", "check", "upload", "drag", "scroll_to",
        "exists", "wait_for", "count",
    }  # fmt: skip


@given(unit, unit, size, size)
def test_computer_coordinates_round_trip(x: float, y: float, w: int, h: int) -> None:
    point, size = Point(x=x, y=y), (w, h)
    px = computer.to_pixels(point, size)
    assert computer.to_pixels(computer.from_pixels(*px, size), size) == px
    assert computer.from_openai(computer.to_openai(point, size), size)[1:] == ("left", 1)
    there = computer.to_anthropic(point, size, button="right")
    assert (
        computer.to_anthropic(computer.from_anthropic(there, size)[0], size, button="right")
        == there
    )


@pytest.mark.parametrize(
    "place", [(1280, 10), (-1, 0), (10, 800), ("10", 10), (None, 1), (True, 1), (math.nan, 1)]
)
def test_computer_coordinates_outside_are_refused_not_clamped(place: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="inside of the 1280x800"):
        computer.from_openai({"type": "click", "x": place[0], "y": place[1]}, (1280, 800))


@given(st.text(min_size=3, max_size=20), st.text(max_size=20))
def test_masks_hide_secrets_in_every_writing(secret: str, around: str) -> None:
    from urllib.parse import quote

    masker = SecretRedactor([secret])
    tree = {"a": [around + secret, {"b": quote(secret, safe="") + around}]}
    hidden = json.dumps(masker.value(tree), ensure_ascii=False)
    if (
        secret not in "<secret>"
        and secret not in around + "<secret>" + around
        and secret not in '{"a": ["", {"b": ""}]}'
    ):
        assert secret not in json.loads(hidden)["a"][0].replace("<secret>", "")


def test_outcomes_survive_json() -> None:
    outcome = Outcome(
        verb="click",
        query="q",
        status=Status.DELIVERED,
        point=(1.0, 2.0),
        parts=(Outcome(verb="a", status=Status.ABSENT),),
    )
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome
    assert outcome.ok
    assert not outcome.with_(expectation=False).ok


def test_a_journal_is_read_whatever_the_page_calls_its_things(tmp_path: Path) -> None:
    said = "Buy\u2028now\u0085caf\u00e9"
    journal = Journal(tmp_path)
    journal.write(Outcome(verb="click", query=said, status=Status.ABSENT))
    journal.judge(False, said)
    assert [step["outcome"]["query"] for step in read_steps(tmp_path)] == [said]
    assert read_verdicts(tmp_path) == {1: (False, said)}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "expected 'start:'"),
        ({"start": "http://a.b", "steps": []}, "at least one step"),
        ({"start": "http://a.b", "steps": [{"clik": "x"}]}, "did you mean 'click'"),
        ({"start": "http://a.b", "steps": [{"click": ""}]}, "needs a few words"),
        ({"start": "http://a.b", "steps": [{"click": "x", "nmae": "y"}]}, "did you mean 'name'"),
        ({"start": "http://a.b", "steps": [{"type": "x"}]}, "either 'text' or 'secret'"),
        ({"start": "http://a.b", "steps": [{"click": "x", "status": "fine"}]}, "no status 'fine'"),
        ({"start": "http://a.b", "steps": [{"upload": "x"}]}, "needs 'files'"),
        ({"start": "http://a.b", "step": []}, "did you mean 'steps'"),
        ({"start": "http://a.b", "steps": ["click"]}, "expected 'verb: what'"),
        ({"start": "http://a.b", "steps": [{"click": "x"}], "secrets": {"a": "b"}}, "needs 'env'"),
    ],
)
def test_bad_flows_say_what_is_wrong(tree: Any, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        parse_flow(tree)


def test_bad_flow_files(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="there is no flow file"):
        load_flow(tmp_path / "no.yaml")
    (tmp_path / "bad.yaml").write_text("start: [")
    with pytest.raises(FlowError, match="is not YAML"):
        load_flow(tmp_path / "bad.yaml")
    (tmp_path / "code.yaml").write_text(
        "start: !!python/object/apply:os.getcwd []\nsteps: [{click: a}]"
    )
    with pytest.raises(FlowError, match="is not YAML"):
        load_flow(tmp_path / "code.yaml")


def test_secrets_of_flows_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = parse_flow(
        {
            "start": "http://127.0.0.1:1/a",
            "secrets": {"p": {"env": "NOT_SET_HERE"}},
            "steps": [{"click": "a"}],
        }
    )
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    with pytest.raises(FlowError, match="NOT_SET_HERE"):
        flow.policy()
    monkeypatch.setenv("NOT_SET_HERE", "value")
    assert flow.policy().secrets["p"].origins == ("http://127.0.0.1:1",)


def test_the_core_runs_without_any_browser() -> None:
    """A verb is a generator of steps: here the steps are answered by hand, and a policy refusal needs none."""
    assert {CallPage, RunBlocking, Sleep}  # the vocabulary
    confirm = allow_risks(["buy"])
    question = Confirmation("click", frozenset({"buy", "pay"}), "", "", "", "")
    assert confirm(question) is False


def test_every_verb_is_a_method_a_step_and_a_tool() -> None:
    for name, verb in TABLE.items():
        assert isinstance(getattr(WebPointer, name), Verb)
        assert {taken.parameter for taken in verb.fields.values()} <= {
            parameter.name for parameter in verb.parameters
        }
        assert verb.function.__doc__
    offered = {*TOOLS.values(), *(tool.__name__ for tool, _ in verb_tools())}
    assert set(TABLE) - {"look"} <= offered
    assert WebPointer.click.__doc__ == AsyncWebPointer.click.__doc__


def test_a_tool_is_made_of_a_verb_without_one() -> None:
    made = tool_of("click_all")
    signature = inspect.signature(made)
    assert [(p.name, p.annotation) for p in signature.parameters.values()][1:] == [
        ("description", str),
        ("fixed", bool),
    ]
    assert (
        made.__doc__
        == "Press every place that matches, all from one screenshot, in the order of the answer."
    )
