"""OpenAI's door with the official client and a real model: usage, limits, names, what is ignored; sync, async and in a stream."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import molmo_point as mp
from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer

openai = pytest.importorskip("openai", reason="the official openai client is not installed")

QUESTION = "Point to the burger"
PNG = (NANO_FOLDER / "demo.png").read_bytes()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    options = ServeOptions(zmq=None, publish=None, http=("127.0.0.1", 0))
    with Service(lambda: mp.load("nano"), options) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    assert service.http is not None
    with openai.OpenAI(
        base_url=service.http.url + "/v1", api_key="-", max_retries=0, timeout=60
    ) as made:
        yield made


def messages(*texts: str) -> list[Any]:
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    image = {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}
    parts = [{"type": "text", "text": text} for text in texts]
    return [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [parts[0], image, *parts[1:]]},
    ]


@pytest.fixture(scope="module")
def expected(service: Service) -> Any:
    assert service.http is not None
    with mp.connect(service.http.url) as pointer:
        return pointer.ask(PNG, QUESTION)


def test_usage_and_names(client: Any, expected: Any) -> None:
    done = client.chat.completions.create(
        model="gpt-4o-mini",
        messages=messages(QUESTION),
        max_completion_tokens=500,
        temperature=0.7,
        extra_body={"do_sample": False, "vl_high_resolution_images": True},
    )
    assert done.choices[0].message.content == expected
    assert done.choices[0].finish_reason == "stop"
    assert done.model == "gpt-4o-mini"
    timing = expected.timing
    usage = done.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (
        timing.prompt_tokens,
        timing.new_tokens,
    )
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens > 15


def test_tokens_are_those_of_the_model(expected: Any) -> None:
    """The same numbers as of the model in this process."""
    nano = mp.load("nano")
    alone = nano.ask(PNG, QUESTION)
    assert alone == expected
    assert alone.timing == expected.timing
    assert alone.timing.new_tokens == len(nano.engine.tokenizer.encode(" " + alone)) + 1
    nano.close()


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_cuts(client: Any, expected: Any, limit: str) -> None:
    done = client.chat.completions.create(model="nano", messages=messages(QUESTION), **{limit: 5})
    assert done.choices[0].finish_reason == "length"
    assert done.usage.completion_tokens == 5
    assert 0 < len(done.choices[0].message.content) < len(expected)
    assert expected.startswith(done.choices[0].message.content)


def test_a_stream_ends_with_its_usage_where_asked(client: Any, expected: Any) -> None:
    asked = {"model": "nano", "messages": messages(QUESTION), "stream": True}
    plain = list(client.chat.completions.create(**asked))
    counted = list(client.chat.completions.create(**asked, stream_options={"include_usage": True}))
    for chunks in (plain, counted):
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text.strip() == expected
    assert all(chunk.usage is None for chunk in plain)
    *others, last = counted
    assert all(chunk.usage is None for chunk in others)
    assert (last.choices, last.usage.completion_tokens) == ([], expected.timing.new_tokens)
    assert others[-1].choices[0].finish_reason == "stop"


def test_async(service: Service, expected: Any) -> None:
    async def ask() -> tuple[str, str]:
        assert service.http is not None
        options = {"base_url": service.http.url + "/v1", "api_key": "-", "max_retries": 0}
        async with openai.AsyncOpenAI(**options, timeout=60) as client:
            create = client.chat.completions.create
            whole = await create(model="nano", messages=messages(QUESTION))
            pieces = await create(model="nano", messages=messages(QUESTION), stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in pieces])
            return whole.choices[0].message.content, text.strip()

    # In a thread of its own: a browser of another test may have a loop in this one.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: asyncio.run(ask())).result(120) == (expected, expected)


def test_several_text_parts_are_one_question(start: Any) -> None:
    fake = FakePointer(texts={"What is\nthis?": "a mug"})
    service = start(fake, zmq=False, http=True, names=ModelNames(aliases=["gpt-4o"]))
    with openai.OpenAI(
        base_url=service.http.url + "/v1", api_key="-", max_retries=0, timeout=20
    ) as client:
        done = client.chat.completions.create(
            model="gpt-4o", messages=messages("What is", "this?")
        )
        assert done.choices[0].message.content == "a mug"
        assert done.usage is None  # this pointer does not know its tokens
        assert [model.id for model in client.models.list()] == ["fake", "gpt-4o"]
        for field in ("max_tokens", "max_completion_tokens"):
            with pytest.raises(openai.BadRequestError, match=f"{field}: Input should be greater"):
                client.chat.completions.create(model="x", messages=messages("?"), **{field: 0})
