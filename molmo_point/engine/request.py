"""A question about an encoded image, ready to be decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from molmo_point.engine.answer import PointAnswer, TextAnswer
from molmo_point.engine.encoded_image import EncodedImage
from molmo_point.engine.generate import DecodeState

Answer_co = TypeVar("Answer_co", covariant=True)


@dataclass(frozen=True, eq=False)
class Request(Generic[Answer_co]):
    """Made by `Engine.prepare_points` and `Engine.prepare_text`.

    Attributes:
        image: Holds the keys and values before the prompt.
        state: Decodes the tokens.
        answer: Turns them into points or text.
    """

    image: EncodedImage
    state: DecodeState
    answer: Answer_co


PointRequest = Request[PointAnswer]
TextRequest = Request[TextAnswer]
