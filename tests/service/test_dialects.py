"""Answer dialects of the OpenAI door: each shape, its word for "not there", and the prompts that a profile knows."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_point.errors import QueryError, UsageError
from molmo_point.points import Point, Pointing, Status
from molmo_point.service.http.dialects import DIALECTS, Prompt, dialect_named
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from molmo_point.wire import NothingThere
from tests.service import truth

Start = Callable[..., Service]
FIELD = '"bbox": [number, number, number, number],  // 2d bounding box, should be [{}] {}.'
PER_MILLE = "normalized to 0-1000 relative to the screenshot. Do NOT use pixel coordinates or screenshot width/height"
PIXELS = "in actual pixel coordinates relative to the screenshot"
MIDSCENE = Prompt(FIELD.format("xmin, ymin, xmax, ymax", PER_MILLE), "Find: red mug")
MIDSCENE_PX = Prompt(FIELD.format("xmin, ymin, xmax, ymax", PIXELS), "Find: red mug")
MIDSCENE_YX = Prompt(FIELD.format("ymin, xmin, ymax, xmax", PER_MILLE), "Find: red mug")
GTA1 = Prompt(
    "You are an expert UI element locator. Given a GUI image and a user's element description, provide the coordinates of the "
    "specified element as a single (x,y) point. The image resolution is height 1080 and width 1920. For elements with area, "
    "return the center point.\n\nOutput the coordinate pair exactly:\n(x,y)",
    "red mug",
)
AGENT_S = Prompt("", "Query:red mug\nOutput only the coordinate of one point in your response.\n")
HOLO = Prompt(
    "",
    "Localize an element on the GUI image according to the provided target and output a click position. You must output a valid "
    'JSON following the format: {"action": "click_absolute", "x": <int>, "y": <int>} Your target is: red mug',
)
UI_TARS = Prompt(
    "You are a helpful assistant.",
    "You are a GUI agent. You are given a task and your action history, with screenshots. You need to perform the next action to "
    "complete the task. \n\n## Output Format\n\nAction: ...\n\n\n## Action Space\n"
    "click(point='<|box_start|>(x1,y1)<|box_end|>')\n\n## User Instruction\nred mug",
)
PLAIN = Prompt("", "red mug")
LABEL = '"label": "red mug"'
ANSWERS = [
    ("xy1000", PLAIN, "(635, 445)\n(100, 900)", None),
    ("xy_px", PLAIN, "(1219, 480)\n(192, 972)", None),
    (
        "json_bbox1000",
        PLAIN,
        f'[{{"bbox_2d": [635, 445, 635, 445], {LABEL}}}, {{"bbox_2d": [100, 900, 100, 900], {LABEL}}}]',
        "[]",
    ),
    (
        "json_point1000",
        PLAIN,
        f'[{{"point_2d": [635, 445], {LABEL}}}, {{"point_2d": [100, 900], {LABEL}}}]',
        "[]",
    ),
    ("click_json", PLAIN, '{"action": "click", "x": 1219, "y": 480}', None),
    ("agent-s", AGENT_S, "(1219, 480)", "There is no such element in the image."),
    ("gta1", GTA1, "(1219.2, 480.6)", None),
    (
        "holo",
        HOLO,
        '{"action": "click_absolute", "x": 1219, "y": 480}',
        '{"action": "click_absolute", "x": null, "y": null}',
    ),
    (
        "midscene",
        MIDSCENE,
        '{"bbox": [635.0, 445.0, 635.0, 445.0]}',
        '{"bbox": [], "error": "nothing in the image fits the description"}',
    ),
    (
        "midscene",
        MIDSCENE_PX,
        '{"bbox": [1219.2, 480.6, 1219.2, 480.6]}',
        '{"bbox": [], "error": "nothing in the image fits the description"}',
    ),
    (
        "midscene",
        MIDSCENE_YX,
        '{"bbox": [445.0, 635.0, 445.0, 635.0]}',
        '{"bbox": [], "error": "nothing in the image fits the description"}',
    ),
    (
        "ui-tars",
        UI_TARS,
        "Action: click(point='<|box_start|>(1219,480)<|box_end|>')",
        "Action: finished(content='There is no such element in the image.')",
    ),
]


def pointing(*points: Point, status: Status | None = None) -> Pointing:
    status = status or (Status.FOUND if points else Status.NOT_FOUND)
    return Pointing(query="red mug", points=points, status=status, image_size=(1920, 1080))


WORSE = Point(x=0.1, y=0.9, score=0.2, label="red mug")
BEST = Point(x=0.635, y=0.445, score=0.8, label="red mug", index=1)


@pytest.mark.parametrize(("name", "prompt", "found", "absent"), ANSWERS)
def test_each_dialect(name: str, prompt: Prompt, found: str, absent: str | None) -> None:
    dialect = DIALECTS[name]
    assert dialect.query(prompt) == "red mug"
    assert dialect.answer(prompt, pointing(WORSE, BEST)) == found
    if absent is None:
        with pytest.raises(NothingThere, match=f"dialect {name} has no word"):
            dialect.answer(prompt, pointing())
    else:
        assert dialect.answer(prompt, pointing()) == absent


def test_every_dialect_is_tested() -> None:
    assert {name for name, *_ in ANSWERS} == set(DIALECTS)


@pytest.mark.parametrize(("name", "prompt"), [(name, prompt) for name, prompt, *_ in ANSWERS])
def test_what_is_not_whole_is_an_error(name: str, prompt: Prompt) -> None:
    with pytest.raises(Exception, match="cut short after 1 point"):
        DIALECTS[name].answer(prompt, pointing(BEST, status=Status.TRUNCATED))
    with pytest.raises(Exception, match="could not be read"):
        DIALECTS[name].answer(prompt, pointing(status=Status.MALFORMED))


@given(
    x=st.floats(0, 1), y=st.floats(0, 1), width=st.integers(1, 4000), height=st.integers(1, 4000)
)
def test_positions_come_back(x: float, y: float, width: int, height: int) -> None:
    """The inverse of each dialect, as the frameworks read it, is the point: within a pixel, or half a thousandth."""
    answer = pointing(Point(x=x, y=y)).replace(image_size=(width, height))
    gta1 = Prompt(GTA1.system.replace("1080", str(height)).replace("1920", str(width)), "red mug")
    for name, prompt, scale, step in (
        ("xy1000", PLAIN, (1000, 1000), 0.5),
        ("json_bbox1000", PLAIN, (1000, 1000), 0.5),
        ("json_point1000", PLAIN, (1000, 1000), 0.5),
        ("xy_px", PLAIN, (width, height), 1.0),
        ("click_json", PLAIN, (width, height), 1.0),
        ("agent-s", AGENT_S, (width, height), 1.0),
        ("holo", HOLO, (width, height), 1.0),
        ("ui-tars", UI_TARS, (width, height), 1.0),
        ("gta1", gta1, (width, height), 0.051),
        ("midscene", MIDSCENE, (1000, 1000), 0.051),
        ("midscene", MIDSCENE_PX, (width, height), 1.0),
    ):
        text = DIALECTS[name].answer(prompt, answer)
        read = [
            float(n)
            for n in re.findall(
                r"(?<![\w])-?\d+(?:\.\d+)?", text.replace("bbox_2d", "").replace("point_2d", "")
            )
        ]
        assert abs(read[0] - x * scale[0]) <= step
        assert abs(read[1] - y * scale[1]) <= step
        if scale == (width, height) and name != "gta1":
            assert read[0] <= width - 1  # a pixel of the image
            assert read[1] <= height - 1


@pytest.mark.parametrize("name", ["agent-s", "gta1", "holo", "midscene", "ui-tars"])
def test_a_prompt_that_a_profile_does_not_know(name: str) -> None:
    others = [prompt for other, prompt, *_ in ANSWERS if other != name]
    planner = Prompt("", UI_TARS.user.replace("\n\n## User", "\nhotkey(key='')\n\n## User"))
    section = Prompt(MIDSCENE.system, "Find section containing: red mug")
    # GTA1's query is the whole text: an empty one is refused as every empty query is.
    own = [prompt for other, prompt, *_ in ANSWERS if other == name != "gta1"]
    blank = [Prompt(prompt.system, prompt.user.replace("red mug", " ")) for prompt in own]
    for prompt in (*others, planner, section, *blank, Prompt("", "")):
        with pytest.raises(QueryError, match="the prompt is not"):
            DIALECTS[name].query(prompt)


def test_names() -> None:
    names = ModelNames(aliases=["gpt-4o"], dialect="xy_px")
    assert names.dialect_of("nano", "nano") is DIALECTS["xy_px"]
    assert names.dialect_of("anything", "nano") is DIALECTS["xy_px"]
    assert names.dialect_of("anything@molmo", "nano") is None
    assert names.dialect_of("nano@gta1", "nano") is DIALECTS["gta1"]
    assert names.dialect_of("my@model", "my@model") is DIALECTS["xy_px"]
    with pytest.raises(UsageError, match="no answer dialect 'xyz': expected one of molmo, xy1000"):
        names.dialect_of("nano@xyz", "nano")
    with pytest.raises(UsageError, match="no answer dialect"):
        ModelNames(dialect="xyz")
    strict = ModelNames(strict=True, aliases=["gpt-4o"])
    assert strict.dialect_of("gpt-4o@xy1000", "nano") is DIALECTS["xy1000"]
    for other in ("gpt-5", "gpt-5@xy1000"):
        with pytest.raises(UsageError, match="no model 'gpt-5' here, there is 'nano'"):
            strict.dialect_of(other, "nano")
    assert dialect_named("molmo") is None


@pytest.fixture
def create(start: Start) -> Any:
    openai = pytest.importorskip("openai", reason="the official openai client is not installed")
    fake = FakePointer(
        lambda image, query: (
            []
            if "ghost" in query
            else truth.find(image, query)
            if "red" in query
            else Pointing(query=query, status=Status.MALFORMED, image_size=(8, 6))
        )
    )
    service = start(fake, zmq=False, http=True)
    assert service.http is not None
    client = openai.OpenAI(
        base_url=service.http.url + "/v1", api_key="-", max_retries=0, timeout=20
    )
    client.fake = fake
    yield lambda **body: client.chat.completions.create(**body)
    client.close()


def asked(item: dict[str, Any], text: str, images: int = 1) -> list[Any]:
    data = base64.b64encode(Path(item["file"]).read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [{"type": "text", "text": text}, *[image] * images]},
    ]


def test_over_the_wire(create: Any, tmp_path: Path) -> None:
    import openai

    item = truth.squares(tmp_path)[0]
    done = create(
        model="nano@xy_px", messages=asked(item, "Point to the red square."), max_tokens=8
    )
    first = done.choices[0].message.content.split("\n")[0]
    assert [int(n) for n in re.findall(r"\d+", first)] == [int(v) for v in item["truth"]]
    assert (done.choices[0].finish_reason, done.model) == ("stop", "nano@xy_px")
    chunks = create(model="nano@xy_px", messages=asked(item, "the red square"), stream=True)
    assert (
        "".join(c.choices[0].delta.content or "" for c in chunks)
        == done.choices[0].message.content
    )
    listed = create(
        model="nano@json_point1000",
        messages=asked(item, "the red ghost"),
        response_format={"type": "json_object"},
    )
    assert json.loads(listed.choices[0].message.content) == []
    for model, text, images, words in (
        ("nano@xyz", "the red square", 1, "no answer dialect 'xyz'"),
        ("nano@xy1000", "the red square", 0, "expected an image"),
        ("nano@xy1000", "the red square", 2, "expected one image, got 2"),
        ("nano@agent-s", "the red square", 1, "the prompt is not Agent-S's"),
        ("nano@xy1000", " ", 1, "the query is empty"),
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            create(model=model, messages=asked(item, text, images))
    for stream in (False, True):
        with pytest.raises(openai.UnprocessableEntityError, match="has no word for that"):
            create(model="nano@xy1000", messages=asked(item, "the red ghost"), stream=stream)
    with pytest.raises(openai.InternalServerError, match="could not be read"):
        create(model="nano@xy1000", messages=asked(item, "odd"))
