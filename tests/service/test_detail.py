"""`detail` through every door: the wire, HTTP in both shapes, opened images, several queries, OpenAI's image parts."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import molmo_point as mp
from molmo_point.engine.local import LocalPointer
from molmo_point.errors import PointError, UsageError
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from molmo_point.wire import Op
from tests.service.addresses import address

Start = Callable[..., Service]
NOISE = np.random.default_rng(0).integers(0, 255, (300, 420, 3), dtype=np.uint8)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def nano() -> LocalPointer:
    return mp.load("nano", device="cpu", max_new_tokens=16)


@pytest.mark.parametrize("door", ["zmq", "http"])
def test_remote_answers_are_those_of_the_model(
    start: Start, nano: LocalPointer, door: str
) -> None:
    service = start(lambda: nano, http=True)
    with mp.connect(address(service, door), timeout_s=60) as pointer:
        for detail in ("low", 2):
            expected = nano.point(NOISE, "star", detail=detail)
            answers = [pointer.point(NOISE, "star", detail=detail)]
            answers += list(pointer.point_each(NOISE, ["star", "star"], detail=detail))
            answers += pointer.point_many([(NOISE, "star")], detail=detail)
            with pointer.open(NOISE, detail=detail) as view:
                answers.append(view.point("star"))
            assert {a.text for a in answers} == {expected.text}
            assert {a.timing.prompt_tokens for a in answers} == {expected.timing.prompt_tokens}
            assert {a.timing.detail for a in answers} == {detail}
        assert pointer.ask(NOISE, "Point to the star.", detail="low").timing.detail == "low"
        assert pointer.point(NOISE, "star").timing.detail == "auto"
        with pytest.raises(UsageError, match="expected detail"):
            pointer.point(NOISE, "star", detail="high")
        info = pointer.open(NOISE)._info
        request = pointer.request(Op.POINT, None, query="star", view=info.handle, detail="low")
        with pytest.raises(PointError, match="detail is chosen when an image is opened"):
            list(pointer.exchange(request, None, 10))
    with mp.connect(address(service, door), timeout_s=60, detail="low") as pointer:
        assert pointer.point(NOISE, "star").timing.detail == "low"
        assert pointer.point(NOISE, "star", detail="auto").timing.detail == "auto"


def test_bodies_over_http(start: Start, nano: LocalPointer) -> None:
    service = start(lambda: nano, zmq=False, http=True)
    assert service.http is not None
    data = base64.b64encode(png()).decode()
    with httpx.Client(base_url=service.http.url, timeout=60) as http:
        asked: dict[str, Any] = {"query": "star", "image": data}
        for detail in ("low", 2, "auto"):
            answer = http.post("/v1/point", json={**asked, "detail": detail}).json()
            assert answer["timing"]["detail"] == detail
        refused = http.post("/v1/point", json={**asked, "detail": "fine"})
        assert refused.status_code == 400
        said = refused.json()["error"]["message"]
        assert said.startswith("detail: ")
        assert "valid integer" in said
        assert "'auto' or 'low'" in said
        form = {"query": "star", "detail": "2"}
        answer = http.post("/v1/point", data=form, files={"image": ("a.png", png())}).json()
        assert answer["timing"]["detail"] == 2
        opened = http.post("/v1/views", data={"detail": "low"}, files={"image": ("a.png", png())})
        view = opened.json()["handle"]
        answer = http.post("/v1/point", json={"query": "star", "view": view}).json()
        assert answer["timing"]["detail"] == "low"
        for bad in ("high", 0, 1.5):
            refused = http.post("/v1/point", json={**asked, "detail": bad})
            assert (refused.status_code, "detail" in refused.text) == (400, True), refused.text
        assert http.post("/v1/views", json={"detail": "low"}).status_code == 400


@pytest.mark.parametrize("inner", [True, False])
def test_openais_word_for_it(start: Start, nano: LocalPointer, inner: bool) -> None:
    service = start(lambda: nano, zmq=False, http=True)
    assert service.http is not None
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    tokens = {}
    for detail in ("low", "high", "auto"):
        image = {"url": url, "detail": detail} if inner else url
        part = {"type": "image_url" if inner else "input_image", "image_url": image}
        if not inner:
            part["detail"] = detail
        content = [{"type": "text", "text": "Point to the star."}, part]
        body = {"model": "nano", "messages": [{"role": "user", "content": content}]}
        done = httpx.post(service.http.url + "/v1/chat/completions", json=body, timeout=60)
        tokens[detail] = done.json()["usage"]["prompt_tokens"]
    assert tokens["low"] < tokens["high"] == tokens["auto"]


def test_a_pointer_that_cannot_be_told_answers_all_the_same(start: Start) -> None:
    service = start(FakePointer({"mug": [(0.25, 0.5)]}))
    assert service.zmq is not None
    with mp.connect(service.zmq.address) as pointer:
        assert pointer.point(NOISE, "mug", detail="low").count == 1
