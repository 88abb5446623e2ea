"""What people already use, pointed at our server: the official clients of OpenAI and Moondream, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from molmo_point.images import Array
from molmo_point.points import Pointing, Status
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer

Start = Callable[..., Service]
DATA_URL = f"data:image/png;base64,{PIXEL}"
RAW = '<point x="25.0" y="50.0" alt="mug">mug</point>'


def fake() -> FakePointer:
    broken = Pointing(query="odd", status=Status.MALFORMED, text="<pt", image_size=(8, 6))
    return FakePointer(
        {"mug": [(0.25, 0.5)], "odd": broken, "cups": [(0.25, 0.5), (0.5, 0.5), (0.75, 0.5)]},
        texts={"Point to the mug.": RAW, "Describe this image.": "It is green."},
    )


@pytest.fixture
def url(start: Start) -> str:
    names = ModelNames(strict=True, aliases=["gpt-4o"])
    service = start(fake(), zmq=False, http=True, tokens=["s3cret"], names=names)
    assert service.http is not None
    return service.http.url + "/v1"


def messages(text: str, url: str = DATA_URL) -> list[Any]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": text}, part]}]


@pytest.fixture
def openai_client(url: str) -> Any:
    openai = pytest.importorskip("openai", reason="the official openai client is not installed")
    client = openai.OpenAI(base_url=url, api_key="s3cret", max_retries=0, timeout=20)
    yield client
    client.close()


def test_openai_chat(openai_client: Any) -> None:
    done = openai_client.chat.completions.create(
        model="fake", messages=messages("Point to the mug.")
    )
    choice = done.choices[0]
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (
        RAW,
        "assistant",
        "stop",
    )
    assert [model.id for model in openai_client.models.list()] == ["fake", "gpt-4o"]


def test_openai_chat_in_a_stream(openai_client: Any) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model="fake", messages=messages("Describe this image."), stream=True
        )
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(piece for piece in pieces if piece) == "It is green."
    assert len(pieces) > 3
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_an_earlier_image_of_the_conversation_counts(openai_client: Any) -> None:
    talk = [
        *messages("What is this?"),
        {"role": "assistant", "content": "an image"},
        {"role": "user", "content": "Describe this image."},
    ]
    done = openai_client.chat.completions.create(model="fake", messages=talk)
    assert done.choices[0].message.content == "It is green."


def test_openai_refusals_are_its_exceptions(openai_client: Any, url: str) -> None:
    import openai

    create = openai_client.chat.completions.create
    with pytest.raises(
        openai.NotFoundError, match="there is no model 'gpt-9' here, there is 'fake'"
    ):
        create(model="gpt-9", messages=messages("x"))
    with pytest.raises(openai.BadRequestError, match="expected an image"):
        create(model="fake", messages=[{"role": "user", "content": "hello"}])
    twice = [{"role": "user", "content": messages("x")[0]["content"] * 2}]
    with pytest.raises(openai.BadRequestError, match="expected one image, got 2"):
        create(model="fake", messages=twice)
    with pytest.raises(openai.BadRequestError, match="the query is empty"):
        create(model="fake", messages=messages(""))
    with pytest.raises(openai.BadRequestError, match="no tools"):
        create(model="fake", messages=messages("x"), n=2)
    with pytest.raises(openai.PermissionDeniedError, match="fetches no images from example"):
        create(model="fake", messages=messages("x", "http://example.com/a.png"))
    stranger = openai.OpenAI(base_url=url, api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    stranger.close()


@pytest.fixture
def moondream_client(url: str) -> Any:
    moondream = pytest.importorskip(
        "moondream", reason="the official moondream client is not installed"
    )
    return moondream.vl(endpoint=url, api_key="s3cret")


def test_moondream_point_query_and_caption(moondream_client: Any, image: Array) -> None:
    pil_image = Image.fromarray(image)
    assert moondream_client.point(pil_image, "mug") == {"points": [{"x": 0.25, "y": 0.5}]}
    assert moondream_client.point(pil_image, "nothing") == {"points": []}
    assert moondream_client.query(pil_image, "Describe this image.") == {"answer": "It is green."}
    stream = moondream_client.query(pil_image, "Describe this image.", stream=True)["answer"]
    assert "".join(stream) == "It is green."
    assert moondream_client.caption(pil_image) == {"caption": "It is green."}
    assert "".join(moondream_client.caption(pil_image, stream=True)["caption"]) == "It is green."


def test_moondream_settings_and_names(url: str, image: Array) -> None:
    moondream = pytest.importorskip(
        "moondream", reason="the official moondream client is not installed"
    )
    client = moondream.vl(endpoint=url, api_key="s3cret", model="moondream3-preview")
    pil_image = Image.fromarray(image)
    assert client.point(pil_image, "cups", settings={"max_objects": 2}) == {
        "points": [{"x": 0.25, "y": 0.5}, {"x": 0.5, "y": 0.5}]
    }
    settings = {"temperature": 0.5, "max_tokens": 100}
    asked = client.query(pil_image, "Describe this image.", settings=settings)
    assert asked == {"answer": "It is green."}


def test_moondream_hears_what_is_not_supported(moondream_client: Any, image: Array) -> None:
    from urllib.error import HTTPError

    pil_image = Image.fromarray(image)
    for ask, words in (
        (lambda: moondream_client.detect(pil_image, "mug"), "gives points, no boxes"),
        (lambda: moondream_client.segment(pil_image, "mug"), "gives points, no boxes"),
        (
            lambda: moondream_client.query(pil_image, "this?", spatial_refs=[[0.5, 0.5]]),
            "spatial_refs are not supported",
        ),
        (
            lambda: moondream_client.point(pil_image, "mug", settings={"max_objects": 0}),
            "settings.max_objects: Input should be greater",
        ),
    ):
        with pytest.raises(HTTPError, match="400") as refused:
            ask()
        assert words in refused.value.read().decode()


def test_moondream_hears_of_errors(moondream_client: Any, image: Array) -> None:
    from urllib.error import HTTPError

    pil_image = Image.fromarray(image)
    with pytest.raises(HTTPError, match="500"):
        moondream_client.point(pil_image, "odd")  # could not be read: not an empty list
    with pytest.raises(HTTPError, match="400"):
        moondream_client.point(pil_image, " ")
