"""Models of other engines behind `Pointer`: every format, both ways of answering, and servers that fail."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.errors import (
    BatchError,
    Busy,
    ImageError,
    ModelNotFound,
    PointError,
    QueryError,
    Refused,
    ServerGone,
    ServiceError,
    TimedOut,
    UsageError,
)
from molmo_point.images import Array
from molmo_point.points import Status
from molmo_point.service.run import ServeOptions, Service
from molmo_point.vlm import FORMATS
from tests.vlm.chat_server import Script, serving

MUGS = ((0.25, 0.5), (0.635, 0.445))


@pytest.fixture
def image() -> Array:
    """An image of 640x480 pixels."""
    return np.full((480, 640, 3), 90, np.uint8)


def _json(key: str, swap: bool = False) -> Callable[[Array], str]:
    def write(image: Array) -> str:
        scale = np.array([1000, 1000])
        if key == "pixels":
            scale = np.array(image.shape[1::-1])
        points = [np.round(np.array(place) * scale).astype(int).tolist() for place in MUGS]
        name = "point" if swap else "point_2d"
        listed = [{name: place[::-1] if swap else place, "label": "mug"} for place in points]
        return f"Here they are:\n```json\n{json.dumps(listed)}\n```"

    return write


WRITERS: dict[str, Callable[[Array], str]] = {
    "molmo": lambda image: (
        '<points x1="25.0" y1="50.0" x2="63.5" y2="44.5" alt="mug">mug</points>'
    ),
    "molmo2": lambda image: '<points coords="1 1 250 500 2 635 445">mug</points>',
    "qwen2.5": _json("pixels"),
    "qwen3": _json("thousandths"),
    "gemini": _json("thousandths", swap=True),
    "moondream": lambda image: '{"points": [{"x": 0.25, "y": 0.5}, {"x": 0.635, "y": 0.445}]}',
    "robopoint": lambda image: "[(0.25, 0.5), (0.635, 0.445)]",
    "point-tags": lambda image: "<point>250 500</point><|box_start|>(635,445)<|box_end|>",
    "perceptron": lambda image: (
        '<collection mention="mug"> <point> (250,500) </point> <point> (635,445) </point> </collection>'
    ),
}
NONE = {
    "molmo": "There are none.",
    "molmo2": "There are none.",
    "moondream": '{"points": []}',
}


def test_every_format_has_an_example() -> None:
    assert set(WRITERS) == set(FORMATS)


@pytest.mark.parametrize("markup", FORMATS)
@pytest.mark.parametrize("streams", [True, False])
def test_every_format_points_to_the_same_places(markup: str, streams: bool, image: Array) -> None:
    def answer(sent: Array, prompt: str) -> list[str]:
        assert "mug" in prompt
        text = WRITERS[markup](sent) if "mug" in prompt else ""
        return [text[at : at + 3] for at in range(0, len(text), 3)]

    with serving(Script(answer=answer, streams=streams)) as url:
        pointer = mp.connect(url, markup=markup)
        pointing = pointer.point(image, "mug", stamp_ns=7, frame_id="cam")
        pointer.close()
    assert pointing.status is Status.FOUND
    for point, place in zip(pointing.points, MUGS, strict=True):
        assert (point.x, point.y) == pytest.approx(place, abs=0.6 / 480)
        assert point.label == "mug"
        assert point.score is None
    assert (pointing.image_size, pointing.model) == ((640, 480), "qwen3-vl-4b")
    assert (pointing.stamp_ns, pointing.frame_id, pointing.calibrated) == (7, "cam", False)
    assert pointing.text == WRITERS[markup](np.zeros((476, 644, 3), np.uint8))


@pytest.mark.parametrize("markup", FORMATS)
def test_absence_is_said_and_nothing_else_is_absence(markup: str, image: Array) -> None:
    texts = {"dog": NONE.get(markup, "[]"), "cat": "I am sorry, I cannot do that.", "cow": ""}
    script = Script(answer=lambda sent, prompt: [next(texts[q] for q in texts if q in prompt)])
    with serving(script) as url:
        pointer = mp.connect(url, markup=markup)
        assert pointer.point(image, "dog").status is Status.NOT_FOUND
        odd = pointer.point(image, "cat")
        assert (odd.status, odd.text, odd.points) == (Status.MALFORMED, texts["cat"], ())
        assert pointer.point(image, "cow").status is Status.MALFORMED


@pytest.mark.parametrize("markup", FORMATS)
@pytest.mark.parametrize("reason", ["length", None])
def test_a_cut_answer_keeps_its_complete_points(
    markup: str, reason: str | None, image: Array
) -> None:
    def answer(sent: Array, prompt: str) -> list[str]:
        text = WRITERS[markup](sent)
        second = next(
            text.rfind(digits) for digits in ("63", "409", "41", "445") if digits in text
        )
        return [text[: second + 1]]

    with serving(Script(answer=answer, reason=reason)) as url:
        pointing = mp.connect(url, markup=markup).point(image, "mug")
    assert pointing.status is Status.TRUNCATED
    assert [point.x for point in pointing.points] == pytest.approx([0.25], abs=1e-3)


@pytest.mark.parametrize(
    ("markup", "text", "kept"),
    [
        ("qwen2.5", '[{"point_2d": [5000, 20], "label": "mug"}]', 0),
        ("qwen3", '[{"point_2d": [500, 500]}, {"point_2d": [1200, 500]}]', 1),
        ("robopoint", "[(0.5, 0.5), (320, 240)]", 1),
        ("point-tags", "<point>500 500</point><point>12</point>", 1),
        ("perceptron", '<point mention="mug"> (500,500) </point> <point> 3 </point>', 1),
        ("gemini", '[{"point": [500, 500]}, {"point": [1, 2, 3]}]', 1),
        ("molmo", '<point x="63.5" y="145.0" alt="mug">mug</point>', 0),
        ("qwen3", '[{"point_2d": [500, 500]}, {"point_2d": [12', 0),
    ],
)
def test_what_cannot_be_a_place_is_malformed(
    markup: str, text: str, kept: int, image: Array
) -> None:
    with serving(Script(answer=lambda sent, prompt: [text])) as url:
        pointing = mp.connect(url, markup=markup).point(image, "mug")
    assert (pointing.status, pointing.count, pointing.text) == (Status.MALFORMED, kept, text)


def test_log_probabilities_of_the_coordinates_are_the_scores(image: Array) -> None:
    pieces = ['[{"point_2d": [', "25", "0", ", ", "500", '], "label": "7 mugs"}]']
    logprobs = [-9.0, math.log(0.5), math.log(0.25), -9.0, math.log(0.125), -9.0]
    script = Script(answer=lambda sent, prompt: pieces, logprobs=logprobs)
    with serving(script) as url:
        scored = mp.connect(url).point(image, "7 mugs")
        plain = mp.connect(url, logprobs=False).point(image, "7 mugs")
    assert scored.points[0].score == pytest.approx((0.5 * 0.25 * 0.125) ** (1 / 3))
    assert (plain.points[0].score, plain.timing.prompt_tokens) == (None, 700)
    assert (scored.timing.new_tokens, scored.calibrated) == (len(pieces), False)


def test_molmo_streams_its_points_and_counts_repeats_once(image: Array) -> None:
    text = WRITERS["molmo"](image).replace(' alt="mug"', ' x3="25.1" y3="50.0" alt="mug"')
    script = Script(models=("Molmo-7B-D-0924",), answer=lambda sent, prompt: list(text))
    with serving(script) as url:
        stream = mp.connect(url).stream(image, "mug")
        early = [next(stream), next(stream)]
        with pytest.raises(StopIteration) as end:
            next(stream)
    pointing = end.value.value
    assert [(point.x, point.y) for point in early] == list(MUGS)
    assert (pointing.count, pointing.duplicates, pointing.status) == (2, 1, Status.FOUND)


def test_a_count_asks_for_a_count_and_a_question_for_text(image: Array) -> None:
    texts = iter(["There are none.", "A green table."])
    script = Script(models=("molmo-7b-o",), answer=lambda sent, prompt: [next(texts)])
    with serving(script) as url:
        pointer = mp.connect(url)
        assert pointer.count(image, "mugs").stated_count == 0
        text = pointer.ask(image, "What is this?")
    assert (text, text.complete) == ("A green table.", True)  # type: ignore[attr-defined]
    assert script.prompts == ["How many mugs are there?", "What is this?"]


def test_the_format_follows_from_the_name() -> None:
    names = {
        "allenai/Molmo-7B-D-0924": "molmo",
        "allenai/Molmo2-4B": "molmo2",
        "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2.5",
        "Qwen3-VL-8B": "qwen3",
        "gemini-robotics-er-1.6": "gemini",
        "moondream3-preview": "moondream",
        "RoboRefer-2B": "robopoint",
        "UI-TARS-1.5-7B": "point-tags",
        "PerceptronAI/Isaac-0.1": "perceptron",
    }
    from molmo_point.vlm.formats import format_for

    assert {name: format_for(name, None) for name in names} == {
        name: FORMATS[markup] for name, markup in names.items()
    }
    with pytest.raises(UsageError, match="say so with markup=, one of molmo, molmo2"):
        format_for("llava-1.6", None)


def test_names_of_models(image: Array) -> None:
    with serving(Script(models=("qwen3-a", "qwen3-b"))) as url:
        with pytest.raises(ModelNotFound, match="name one with model=, of qwen3-a, qwen3-b"):
            mp.connect(url)
        with pytest.raises(ModelNotFound, match="no model 'qwen3-c': it has qwen3-a"):
            mp.connect(url, model="qwen3-c")
        assert mp.connect(url, model="qwen3-b").point(image, "dog").status is Status.NOT_FOUND


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Refused), (429, Busy), (400, UsageError), (413, UsageError), (500, ServiceError)],
)
def test_refusals_have_their_error(status: int, error: type[PointError], image: Array) -> None:
    with serving(Script(status=status)) as url, pytest.raises(error):
        mp.connect(url).point(image, "mug")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": ["x"]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]},
        {"usage": {"prompt_tokens": 3}},
    ],
)
def test_a_body_without_an_answer_is_the_servers_fault(body: dict[str, Any], image: Array) -> None:
    with (
        serving(Script(body=body)) as url,
        pytest.raises(ServiceError, match="in place of an ans"),
    ):
        mp.connect(url).point(image, "mug")


def test_an_answer_in_parts_is_read(image: Array) -> None:
    parts = [
        {"type": "text", "text": '<point x="50" '},
        {"type": "text", "text": 'y="5">m</point>'},
    ]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}
    with serving(Script(body=body)) as url:
        pointing = mp.connect(url, markup="molmo").point(image, "m")
    assert [(p.x, p.y) for p in pointing.points] == [(0.5, 0.05)]


def test_deadlines(image: Array) -> None:
    slow = Script(answer=lambda sent, prompt: list(WRITERS["qwen3"](sent)), pause_s=0.05)
    with serving(slow) as url:
        pointer = mp.connect(url)
        with pytest.raises(TimedOut, match=r"did not answer within 0\.01 s"):
            pointer.point(image, "mug", timeout_s=0.01)
        cut = pointer.point(image, "mug", timeout_s=0.4)
    assert (cut.status, cut.points) == (Status.TRUNCATED, ())


def test_one_bad_request_of_many_costs_no_other(image: Array) -> None:
    with serving(Script()) as url, pytest.raises(BatchError) as failed:
        mp.connect(url).point_many([(image, "mug"), (b"no image", "mug"), (image, "")])
    results: list[Any] = list(failed.value.results)
    assert results[0].status is Status.NOT_FOUND
    assert isinstance(results[1], ImageError)
    assert isinstance(results[2], QueryError)


def test_addresses_and_options() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServerGone, match="nobody answers"):
        mp.connect(f"openai+http://127.0.0.1:{port}", connect_timeout_s=1)
    for url in ("openai+ftp://gpu", "openai+http://", "openai+http://a:b@gpu/v1"):
        with pytest.raises(UsageError, match="expected an address like"):
            mp.connect(url)
    with pytest.raises(UsageError, match="unknown option camera"):
        mp.connect("openai+http://gpu", camera="front")
    with serving(Script()) as url, pytest.raises(UsageError, match="markup to be one of molmo"):
        mp.connect(url, markup="latex")


def test_our_own_server_answers_as_the_model_itself() -> None:
    demo = Path(mp.__file__).parent / "nano" / "demo.png"
    local = mp.load("nano")
    options = ServeOptions(zmq=None, publish=None, http=("127.0.0.1", 0))
    with Service(lambda: local, options) as service:
        assert service.http is not None
        pointer = mp.connect(f"openai+{service.http.url}/v1")
        here, there = local.point(demo, "burgers"), pointer.point(demo, "burgers")
    assert here.count > 0
    places = [[(p.x, p.y, p.label) for p in answer.points] for answer in (here, there)]
    assert places[0] == places[1]
    assert (there.status, there.model) == (here.status, "nano")
