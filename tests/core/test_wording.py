"""Numbers and their nouns agree, also in sentences about devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from molmo_point.errors import UsageError
from molmo_point.model import devices
from molmo_point.wording import counted


def test_one_thing_has_no_s() -> None:
    assert [counted(n, "point") for n in (0, 1, 2, 1500)] == [
        "0 points",
        "1 point",
        "2 points",
        "1,500 points",
    ]
    assert [counted(n, "query", "queries") for n in (1, 2)] == ["1 query", "2 queries"]


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [
        (1, "cpu:7", "--device.*the only cpu device here is cpu:0, got 'cpu:7'"),
        (2, "cpu:2", "--device.*the cpu devices here are cpu:0 to cpu:1, got 'cpu:2'"),
        (0, "cpu", "--device.*there is no cpu device here"),
    ],
)
def test_a_device_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, count: int, name: str, words: str
) -> None:
    number: Callable[[], int] = lambda: count  # noqa: E731
    monkeypatch.setitem(devices._COUNTS, "cpu", number)
    with pytest.raises(UsageError, match=words):
        devices.find_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu"])
def test_an_unknown_device_names_the_option(name: str) -> None:
    with pytest.raises(UsageError, match=rf"--device.*expected auto, cpu.*got '{name}'"):
        devices.find_device(name)
