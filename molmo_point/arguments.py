"""Arguments of a Pointer's methods, checked once, where a call enters the package."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import cast

from molmo_point.defaults import MAX_QUERIES, MAX_QUERY_CHARACTERS
from molmo_point.errors import QueryError, UsageError
from molmo_point.image_like import ImageLike
from molmo_point.pointer import Detail, Images, Video


def check_query_length(query: str, max_characters: int = MAX_QUERY_CHARACTERS) -> None:
    """Refuse a query that is too long.

    Raises:
        QueryError: With its length and the limit, in characters.
    """
    if len(query) > max_characters:
        raise QueryError(
            f"the query has {len(query):,} characters, the limit is {max_characters:,}: shorten it"
        )


def check_query(query: str, max_characters: int = MAX_QUERY_CHARACTERS) -> str:
    """Return the query without outer blanks.

    Raises:
        QueryError: Not text, not UTF-8, empty, or longer than `max_characters`.
    """
    if not isinstance(query, str):
        raise QueryError(f"expected the query as text, got {type(query).__name__}")
    stripped = query.strip()
    if not stripped:
        raise QueryError("the query is empty: say in a few words what to look for")
    check_query_length(stripped, max_characters)
    try:
        stripped.encode()
    except UnicodeEncodeError as error:
        raise QueryError(
            f"the query {stripped!r} is not valid text ({error}): write it in UTF-8"
        ) from None
    return stripped


def check_queries(queries: object, max_characters: int = MAX_QUERY_CHARACTERS) -> list[str]:
    """Return the queries of one image, each without outer blanks.

    Raises:
        QueryError: No list of 1 to `MAX_QUERIES` queries, or one of them is none; the message says which.
    """
    if isinstance(queries, (str, bytes)) or not isinstance(queries, Sequence):
        raise QueryError(f"expected a list of queries, got {type(queries).__name__}")
    if not 0 < len(queries) <= MAX_QUERIES:
        raise QueryError(f"expected 1 to {MAX_QUERIES} queries of one image, got {len(queries)}")
    checked = []
    for number, query in enumerate(queries):
        try:
            checked.append(check_query(query, max_characters))
        except QueryError as error:
            raise QueryError(f"query {number}: {error}") from None
    return checked


def check_texts(values: object, name: str) -> tuple[str, ...]:
    """Return a list of texts, such as tokens or host names.

    Args:
        values: The list. A text by itself is none: each of its characters would count as one.
        name: Of the argument, for the message.

    Raises:
        UsageError: It is something else. The message does not quote it: it may be a secret.
    """
    if not isinstance(values, (list, tuple)):
        raise UsageError(f"expected {name} as a list of texts, got {type(values).__name__}")
    for value in values:
        if not isinstance(value, str):
            raise UsageError(
                f"expected {name} as a list of texts, {type(value).__name__} is in it"
            )
    return tuple(values)


def check_timeout(timeout_s: object) -> float | None:
    """Return a timeout in seconds, None (no limit) for None and infinity.

    Raises:
        UsageError: Not a number, NaN, or negative.
    """
    if timeout_s is None:
        return None
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, Real):
        raise UsageError(
            f"expected timeout_s as a number of seconds or None, got {type(timeout_s).__name__} {timeout_s!r}"
        )
    seconds = float(timeout_s)
    if not seconds >= 0:
        raise UsageError(f"expected timeout_s of at least 0 seconds or None, got {seconds}")
    return None if math.isinf(seconds) else seconds


def check_detail(detail: object) -> Detail:
    """Return how finely an image is to be looked at.

    Raises:
        UsageError: Neither "auto", "low" nor a number of crops of at least 1.
    """
    if isinstance(detail, str) and detail in ("auto", "low"):
        return cast(Detail, detail)
    if isinstance(detail, int) and not isinstance(detail, bool) and detail >= 1:
        return detail
    raise UsageError(
        f"expected detail as 'auto', 'low' or a number of crops of at least 1, got {detail!r}"
    )


def check_stamp(stamp_ns: object) -> int | None:
    """Return a time stamp in nanoseconds, or None.

    Raises:
        UsageError: Not a signed 64-bit integer.
    """
    if stamp_ns is None:
        return None
    try:
        value = operator.index(stamp_ns)  # type: ignore[arg-type]
    except TypeError:
        value = None
    if isinstance(stamp_ns, bool) or value is None or not -(2**63) <= value < 2**63:
        raise UsageError(f"expected stamp_ns as a 64-bit integer or None, got {stamp_ns!r}")
    return int(value)


def check_frame_id(frame_id: object) -> str | None:
    """Return the name of a coordinate frame, or None.

    Raises:
        UsageError: Not text, or text that is not UTF-8 (a file name with undecodable bytes).
    """
    if frame_id is None:
        return None
    if not isinstance(frame_id, str):
        raise UsageError(f"expected frame_id as text or None, got {type(frame_id).__name__}")
    try:
        frame_id.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"frame_id {frame_id!r} cannot be written as UTF-8: {error}") from None
    return frame_id


def listed_images(images: Images) -> tuple[list[ImageLike], tuple[float, ...]]:
    """Return what was given as a list of images or frames, and the times of the frames in seconds (() for images).

    Raises:
        UsageError: An empty list.
    """
    if isinstance(images, Video):
        return list(images.frames), tuple(float(time_s) for time_s in images.times_s)
    if not isinstance(images, (list, tuple)):
        return [cast(ImageLike, images)], ()
    if not images:
        raise UsageError("expected an image or a list of images, got an empty list")
    return list(images), ()


def one_image(images: Images) -> ImageLike:
    """Return the image of a count in tiles.

    Raises:
        UsageError: Several images, or a video.
    """
    listed, times_s = listed_images(images)
    if len(listed) > 1 or times_s:
        raise UsageError("tiles are of one image: leave tiles out for several images and videos")
    return listed[0]


def check_request(request: object, number: int) -> tuple[ImageLike, str]:
    """Return one request of `point_many` as (image, query).

    Args:
        number: Its index, for the message.

    Raises:
        UsageError: Not a pair.
    """
    if isinstance(request, (tuple, list)) and len(request) == 2:
        return request[0], request[1]
    raise UsageError(
        f"expected each request as (image, query), got {type(request).__name__} as request {number}"
    )
