"""Arguments are checked once: an invalid timeout, stamp, frame or query is a `UsageError` with its value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from molmo_point.arguments import check_frame_id, check_query, check_stamp, check_timeout
from molmo_point.errors import QueryError, UsageError


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, -math.inf, "5", b"5", True, [1], 1j])
def test_a_timeout_that_is_no_span_is_refused_with_its_value(value: object) -> None:
    with pytest.raises(UsageError, match="expected timeout_s"):
        check_timeout(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (math.inf, None),
        (0, 0.0),
        (2, 2.0),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
    ],
)
def test_a_timeout_is_seconds_and_infinity_is_no_limit(value: object, expected: object) -> None:
    assert check_timeout(value) == expected


@pytest.mark.parametrize("value", [1.5, "7", True, 2**63, -(2**63) - 1, math.nan])
def test_a_stamp_that_is_no_64_bit_integer_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="expected stamp_ns"):
        check_stamp(value)


def test_a_stamp_keeps_every_nanosecond() -> None:
    assert check_stamp(2**63 - 1) == 2**63 - 1
    assert check_stamp(np.int64(-7)) == -7
    assert check_stamp(None) is None


@pytest.mark.parametrize("value", [5, b"camera", "caf\udce9.png"])
def test_a_frame_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="frame_id"):
        check_frame_id(value)


def test_a_query_with_undecodable_bytes_is_refused_before_the_tokenizer() -> None:
    with pytest.raises(QueryError, match="not valid text"):
        check_query("caf\udce9")


@pytest.mark.parametrize("query", ["", " \n"])
def test_an_empty_query_is_refused(query: str) -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        check_query(query)
