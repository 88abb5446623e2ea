"""Profiles: the prompt of one framework, in which the query stands, and the answer that its own parser reads.

Each takes one position: that of the best point. The parsers as of gui-agents 0.3.2, cua-agent 0.9.1 and @midscene/core 1.13.1.
"""

from __future__ import annotations

import json
import re

from molmo_point.errors import QueryError
from molmo_point.points import Pointing
from molmo_point.service.http.dialects.dialect import Dialect, Prompt, best_first, pixel_of


def _found(pattern: str, text: str, framework: str, expected: str) -> re.Match[str]:
    match = re.search(pattern, text, re.DOTALL)
    if match is None or not match.group(match.lastindex or 0).strip():
        raise QueryError(
            f"the prompt is not {framework}'s: expected {expected}, got {text[:80]!r}"
        )
    return match


def _agent_s_query(prompt: Prompt) -> str:
    expected = "'Query:... Output only the coordinate of one point in your response.'"
    pattern = r"\AQuery:(.+)\nOutput only the coordinate of one point in your response\.\s*\Z"
    return _found(pattern, prompt.user, "Agent-S", expected)[1].strip()


def _agent_s(prompt: Prompt, pointing: Pointing) -> str:
    return "({}, {})".format(*pixel_of(best_first(pointing)[0], *pointing.image_size))


def _agent_s_absent(prompt: Prompt) -> str:
    # Its parser takes the first two integers, and fails where there are none; an error status it would repeat for minutes.
    return "There is no such element in the image."


_GTA1 = r"\AYou are an expert UI element locator\..*resolution is height (\d+) and width (\d+)\."


def _gta1_query(prompt: Prompt) -> str:
    _found(_GTA1, prompt.system, "GTA1", "a system message with the resolution of the image")
    return prompt.user


def _gta1(prompt: Prompt, pointing: Pointing) -> str:
    match = _found(_GTA1, prompt.system, "GTA1", "the resolution of the image")
    x, y = best_first(pointing)[0].pixel(int(match[2]), int(match[1]))
    return f"({x:.1f}, {y:.1f})"


def _holo_query(prompt: Prompt) -> str:
    pattern = r'\ALocalize an element on the GUI image.*"click_absolute".*Your target is: (.+)\Z'
    return _found(pattern, prompt.user, "Holo", "'... Your target is: ...'")[1].strip()


def _holo(prompt: Prompt, pointing: Pointing) -> str:
    x, y = pixel_of(best_first(pointing)[0], *pointing.image_size)
    return json.dumps({"action": "click_absolute", "x": x, "y": y})


def _holo_absent(prompt: Prompt) -> str:
    return json.dumps({"action": "click_absolute", "x": None, "y": None})


_MIDSCENE = r'"(bbox|point)": \[number, number(?:, number, number)?\],  // ([^\n]+)'


def _midscene_query(prompt: Prompt) -> str:
    expected = "a system message that says the coordinates, and 'Find: ...'"
    _found(_MIDSCENE, prompt.system, "Midscene", expected)
    return _found(r"\AFind: (.+)\Z", prompt.user, "Midscene", expected)[1].strip()


def _midscene(prompt: Prompt, pointing: Pointing) -> str:
    match = _found(_MIDSCENE, prompt.system, "Midscene", "the shape of the coordinates")
    key, described = match[1], match[2]
    scale = re.search(r"normalized to 0-(\d+)", described)
    # Rounded by its parser, so that fractions of a unit save half a pixel; positions in pixels end at the last one.
    width, height = (int(scale[1]),) * 2 if scale else pointing.image_size
    x, y = best_first(pointing)[0].pixel(width, height)
    if not scale:
        x, y = min(x, width - 1.0), min(y, height - 1.0)
    place = [round(x, 1), round(y, 1)]
    if "[y" in described:
        place.reverse()
    return json.dumps({key: place * (2 if key == "bbox" else 1)})


def _midscene_absent(prompt: Prompt) -> str:
    match = _found(_MIDSCENE, prompt.system, "Midscene", "the shape of the coordinates")
    return json.dumps({match[1]: [], "error": "nothing in the image fits the description"})


def _ui_tars_query(prompt: Prompt) -> str:
    pattern = r"\AYou are a GUI agent\..*click\(point='<\|box_start\|>\(x1,y1\)<\|box_end\|>'\)\s*## User Instruction\s*(.+)\Z"
    expected = "the grounding prompt, whose only action is click, and '## User Instruction'"
    return _found(pattern, prompt.user, "UI-TARS", expected)[1].strip()


def _ui_tars(prompt: Prompt, pointing: Pointing) -> str:
    x, y = pixel_of(best_first(pointing)[0], *pointing.image_size)
    return f"Action: click(point='<|box_start|>({x},{y})<|box_end|>')"


def _ui_tars_absent(prompt: Prompt) -> str:
    return "Action: finished(content='There is no such element in the image.')"


PROFILES = (
    Dialect("agent-s", "(1219, 480)", _agent_s_query, _agent_s, _agent_s_absent),
    Dialect("gta1", "(1219.2, 480.6)", _gta1_query, _gta1, None),
    Dialect(
        "holo",
        '{"action": "click_absolute", "x": 1219, "y": 480}',
        _holo_query,
        _holo,
        _holo_absent,
    ),
    Dialect(
        "midscene",
        '{"bbox": [635.0, 445.0, 635.0, 445.0]}',
        _midscene_query,
        _midscene,
        _midscene_absent,
    ),
    Dialect(
        "ui-tars",
        "Action: click(point='<|box_start|>(1219,480)<|box_end|>')",
        _ui_tars_query,
        _ui_tars,
        _ui_tars_absent,
    ),
)
