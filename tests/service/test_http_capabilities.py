"""Over HTTP: what the model can be asked, noun phrases out of instructions, and free questions that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

httpx = pytest.importorskip("httpx")

DEMO = Path(__file__).parents[2] / "molmo_point/nano/demo.png"


@pytest.fixture
def ask(start: Callable[..., Service]) -> Callable[..., Any]:
    fake = FakePointer({"burgers": [(0.5, 0.5)]}, texts={"Point to the burgers": "here"})
    fake.model = "nano"
    service = start(fake, zmq=False, http=True)
    assert service.http is not None
    url = service.http.url

    def ask(path: str, query: str) -> Any:
        with DEMO.open("rb") as image:
            return httpx.post(
                f"{url}{path}", data={"query": query}, files={"image": image}, timeout=30
            )

    ask.url = url  # type: ignore[attr-defined]
    ask.fake = fake  # type: ignore[attr-defined]
    # Until the model is loaded nobody knows its name.
    while not httpx.get(f"{url}/readyz").is_success:
        pass
    return ask


def test_what_the_model_can_be_asked(ask: Any) -> None:
    able = httpx.get(f"{ask.url}/v1/model", params={"query": "plate"}).json()
    assert (able["model"], able["free_questions"], len(able["kinds"])) == ("nano", False, 328)
    assert "never taught 'plate'" in able["note"]
    assert httpx.get(f"{ask.url}/v1/model").json()["note"] == ""


@pytest.mark.parametrize("path", ["/v1/point", "/v1/count"])
def test_an_instruction_is_asked_for_its_noun_phrase(ask: Any, path: str) -> None:
    answer = ask(path, "Point to the burgers").json()
    assert (answer["count"], answer["query"]) == (1, "Point to the burgers")
    assert [query for _, query in ask.fake.calls] == ["burgers"]


def test_free_questions_are_refused(ask: Any) -> None:
    refused = ask("/v1/ask", "Describe this image.")
    assert refused.status_code == 400
    assert "answers no free questions" in refused.json()["error"]["message"]
    assert ask("/v1/ask", "Point to the burgers").json()["text"] == "here"
    chat = {
        "model": "nano",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Describe it."}]}],
    }
    assert httpx.post(f"{ask.url}/v1/chat/completions", json=chat).status_code == 400


def test_the_example_of_the_page(ask: Any) -> None:
    assert httpx.get(f"{ask.url}/page/example.png").content == DEMO.read_bytes()
    assert httpx.get(f"{ask.url}/page/example.json").json() == {"query": "burgers"}
