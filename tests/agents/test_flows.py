"""Flow files: what is written is what is meant, all of it is checked before the first step, and reports say what was wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from molmo_agents.errors import FlowError
from molmo_agents.flows.flow import load_flow
from molmo_agents.flows.flow_runner import run_recorded
from molmo_agents.flows.replay import files_of, keep_flow
from molmo_agents.journal import read_steps, read_verdicts
from molmo_agents.outcome import Outcome
from PIL import Image

from molmo_point.testing import FakePointer
from tests.agents.conftest import Site

START = "start: http://127.0.0.1:8000/\n"


def written(folder: Path, steps: str, top: str = "") -> Path:
    path = folder / "flow.yaml"
    path.write_text(f"{START}{top}steps:\n{steps}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", ["12:30", "0123", "yes", "No", "on", "1.10", "1_000", "null", "~", "0x1f", "2024-01-01", "1e3", ".5", "=", ""]
)  # fmt: skip
def test_text_is_text_as_it_stands(tmp_path: Path, text: str) -> None:
    flow = load_flow(
        written(
            tmp_path, f"  - type: f\n    text: {text}\n  - select: l\n    options: [{text or 'x'}]"
        )
    )
    assert flow.steps[0].fields["text"] == text
    assert flow.steps[1].fields["options"] == (text or "x",)


@given(st.text(min_size=0, max_size=20))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("flow") / "flow.yaml"
    tree = {"start": "http://a.b/", "steps": [{"type": "f", "text": text}]}
    path.write_text(yaml.dump(tree, allow_unicode=False), encoding="utf-8")
    assert load_flow(path).steps[0].fields["text"] == text


def test_fields_are_typed_by_what_they_are(tmp_path: Path) -> None:
    steps = (
        "  - check: b\n    on: false\n  - check: b\n    on: yes\n  - count: m\n    equals: 3\n"
        "  - wait_for: x\n    timeout: 0.5\n  - click: x\n    times: 2\n    name: No\n    expect: {text: 5, timeout_s: 2}"
    )
    fields = [dict(step.fields) for step in load_flow(written(tmp_path, steps)).steps]
    assert fields[:4] == [{"on": False}, {"on": True}, {"equals": 3}, {"timeout": 0.5}]
    assert (fields[4]["times"], fields[4]["name"]) == (2, "No")
    assert (fields[4]["expect"].text, fields[4]["expect"].timeout_s) == ("5", 2.0)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("  - click: x\n    times: two", "whole number"),
        ("  - click: x\n    times: 3", "1 to 2"),
        ("  - click: x\n    button: nose", "left, right, middle"),
        ("  - click: x\n    button: right\n    times: 2", "left button"),
        ("  - scroll_to: x\n    max_screens: 0", "at least 1"),
        ("  - wait_for: x\n    timeout: 5s", "number of seconds"),
        ("  - wait_for: x\n    timeout: -1", "number of seconds"),
        ("  - click: x\n    expect: {timeout_s: soon}", "number of seconds"),
        ("  - click: x\n    expect: {}", "needs url, text or exists"),
        ("  - check: x\n    on: maybe", "true or false"),
        ("  - type: x\n    secret: nobody", "no secret 'nobody'"),
        ("  - upload: x\n    files: nowhere.txt", "there is no file"),
        ("  - upload: x\n    files: []", "must not be empty"),
        ("  - select: x\n    option: ''", "needs a few words"),
        ("  - type: x\n    text: [a]", "must be text"),
        ("  - click: x\n    click: y", "each word once"),
        ("  - key: e", "no key 'e'"),
        ("  - tab: second", "whole number"),
        ("  - goto: mailto:a@b", "not an http or https address"),
        ("  - click: !!python/name:os.system x", "is not YAML"),
    ],
)
def test_everything_is_checked_before_the_first_step(
    tmp_path: Path, steps: str, words: str
) -> None:
    with pytest.raises(FlowError, match=words):
        load_flow(written(tmp_path, "  - click: a\n" + steps))


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ("viewport: [8, 8]\n", "16-8192"),
        ("viewport: [big, 8]\n", "whole number"),
        ("allow: [everything]\n", "unknown risks"),
        ("origins: [example.com]\n", "not an origin"),
        ("secrets: {a: {env: A, orgins: []}}\n", "did you mean 'origins'"),
    ],
)
def test_the_top_is_checked_too(tmp_path: Path, top: str, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        load_flow(written(tmp_path, "  - click: a", top))


def test_a_kept_flow_still_finds_its_files(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("x")
    log = tmp_path / "log"
    log.mkdir()
    path = written(tmp_path, "  - upload: x\n    files: note.txt")
    keep_flow(path, log)
    assert load_flow(log / "flow.yaml", folder=files_of(log)).folder == tmp_path
    assert files_of(tmp_path) == tmp_path


PAGE = """<style>* { position: absolute; width: 160px; height: 60px } #b { left: 100px; top: 100px }</style>
<a id=b href=/tab target=_blank>Open</a>"""
MIDDLE = FakePointer(lambda image, query: [(180 / 1280, 130 / 800)])
GREEN, RED = (20, 140, 60), (200, 30, 40)


def recorded(
    folder: Path, site: Site, steps: str, pointer: Any = MIDDLE
) -> tuple[bool, list[Outcome], str]:
    site.routes["/"] = PAGE
    site.routes["/tab"] = PAGE.replace(
        "<a id=b href=/tab target=_blank>Open</a>", "<button id=b>In the tab</button>"
    )
    path = folder / "flow.yaml"
    path.write_text(f"start: {site.url}/\nsteps:\n{steps}", encoding="utf-8")
    done = run_recorded(path, folder / "log", pointer)
    return done.good, done.outcomes, done.report.read_text("utf-8")


def colours(path: Path) -> set[tuple[int, int, int]]:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return {colour for colour in (GREEN, RED) if (pixels == colour).all(axis=1).any()}


@pytest.mark.browser
def test_a_window_that_opened_is_driven(chromium: str, site: Site, tmp_path: Path) -> None:
    steps = """
  - click: the link
  - tab: newest
  - click: the button
    name: In the tab
  - tab: 1
  - click: the link
    name: Open
  - back:
  - tab: 9
    status: absent
"""
    good, outcomes, _ = recorded(tmp_path, site, steps)
    assert good, [(o.verb, o.status, o.message) for o in outcomes]
    assert outcomes[3].target is not None
    assert outcomes[3].target.name == "In the tab"
    assert (
        len(read_steps(tmp_path / "log")) == len(read_verdicts(tmp_path / "log")) == len(outcomes)
    )


@pytest.mark.browser
@pytest.mark.parametrize(
    ("step", "good"),
    [
        ("  - click: the link\n    name: Buy\n    status: name_mismatch", True),
        ("  - click: the link\n    expect: {text: never, timeout_s: 0}", False),
        ("  - count: links\n    equals: 2", False),
        ("  - count: links\n    equals: 1", True),
        ("  - click: the link\n    status: absent", False),
    ],
)
def test_a_report_is_green_for_what_was_wanted(
    chromium: str, site: Site, tmp_path: Path, step: str, good: bool
) -> None:
    done, _, report = recorded(tmp_path, site, step)
    assert done is good
    assert f"2 steps, {2 if good else 1} as wanted" in report
    assert report.count("<span class='tag good'>") == (2 if good else 1)
    assert colours(tmp_path / "log" / "step-0002.png") == {GREEN if good else RED}
