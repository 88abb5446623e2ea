"""Pointers of users that do something else than they should: their callers hear what, and the others are served on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.errors import PointError, QueryError, ServiceError, UsageError
from molmo_point.service.own_pointer import complete

IMAGE = np.zeros((6, 8, 3), np.uint8)
FOUND = mp.Pointing(
    query="mug", points=(mp.Point(x=0.5, y=0.5),), status=mp.Status.FOUND, image_size=(8, 6)
)
HALF = "a \ud83d cup"


class Own:
    """Points; the test gives it the method that does something else."""

    def point(self, image: Any, query: str, **options: Any) -> mp.Pointing:
        return FOUND


def own(**methods: Any) -> Own:
    return type("Own", (Own,), methods)()


def raising(error: BaseException) -> Callable[..., Any]:
    def method(self: Own, image: Any, query: str, **options: Any) -> Any:
        if query == "odd":
            raise error
        return FOUND

    return method


def giving(answer: Any) -> Callable[..., Any]:
    return lambda self, *arguments, **options: answer


def pieces(*items: Any, ending: Any = None) -> Callable[..., Iterator[Any]]:
    def method(self: Own, *arguments: Any, **options: Any) -> Iterator[Any]:
        yield from items
        return ending

    return method


def heard(pointer: object, ask: Callable[[mp.Pointer], Any]) -> Any:
    """Return what a client gets or hears over ZeroMQ, after which another question must still be answered."""
    with (
        mp.serve(
            pointer, zmq="tcp://127.0.0.1:*", publish="off", http=None, block=False
        ) as server,
        mp.connect(server.zmq.address, timeout_s=5) as asking,  # type: ignore[union-attr]
    ):
        try:
            answer = ask(asking)
        except PointError as error:
            answer = error
        assert asking.point(IMAGE, "mug").count == 1
        return answer


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_ends_a_program_ends_one_question(error: BaseException, concurrency: int) -> None:
    pointer = own(point=raising(error), concurrency=concurrency)
    answer = heard(pointer, lambda asking: asking.point(IMAGE, "odd"))
    assert isinstance(answer, ServiceError)
    assert type(error).__name__ in str(answer)


@pytest.mark.parametrize("ask", ["open", "queries"])
def test_an_opened_image_must_be_a_view(ask: str) -> None:
    def question(asking: mp.Pointer) -> Any:
        if ask == "open":
            return asking.open(IMAGE)
        return list(asking.point_each(IMAGE, ["a", "b"]))

    answer = heard(own(open=giving(None)), question)
    problem = str(answer) + "".join(str(one) for one in getattr(answer, "results", []))
    assert "Own.open returned NoneType, expected a View: it lacks image_size, close" in problem


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        (giving(None), "Own.stream returned NoneType, expected a generator"),
        (giving("text"), "Own.stream returned str, expected a generator"),
        (pieces((1, 2), ending=FOUND), "yielded tuple, expected a Point"),
        (pieces(mp.Point(x=0, y=0)), "ended with NoneType, expected that it returns a Pointing"),
        (giving([mp.Point(x=0, y=0)]), "ended with NoneType, expected that it returns a Pointing"),
    ],
)
def test_a_stream_of_points_must_be_one(method: Any, problem: str) -> None:
    answer = heard(own(stream=method), lambda asking: list(asking.stream(IMAGE, "mug")))
    assert isinstance(answer, ServiceError)
    assert problem in str(answer)


class Stream:
    """The least that a stream can be."""

    def __init__(self) -> None:
        self.left = [mp.Point(x=0.1, y=0.2)]

    def __next__(self) -> mp.Point:
        if not self.left:
            raise StopIteration(FOUND)
        return self.left.pop()


def test_a_stream_need_only_give_the_next() -> None:
    pointer = own(stream=lambda self, *arguments, **options: Stream())
    assert [point.x for point in heard(pointer, lambda a: list(a.stream(IMAGE, "mug")))] == [0.1]


def test_a_stream_of_text_is_its_pieces() -> None:
    for method in (
        pieces("a ", "cup"),
        giving(["a ", "cup"]),
        pieces("a ", "cup", ending="a cup"),
    ):
        pointer = own(stream_text=method)
        assert heard(pointer, lambda asking: asking.ask(IMAGE, "what?")) == "a cup"
        assert heard(pointer, lambda asking: list(asking.stream_text(IMAGE, "q"))) == ["a ", "cup"]
    for method, problem in (
        (pieces(5), "yielded int, expected text"),
        (pieces("a", ending=5), "returned int, expected text"),
        (giving("a cup"), "Own.stream_text returned str, expected a generator"),
    ):
        answer = heard(own(stream_text=method), lambda asking: asking.ask(IMAGE, "what?"))
        assert problem in str(answer)


def test_halves_of_characters_do_not_lose_an_answer() -> None:
    clean = "a \ufffd cup"
    label = FOUND.replace(points=(mp.Point(x=0.5, y=0.5, label=HALF),), text=HALF)
    pointer = own(
        point=lambda self, image, query, **options: FOUND if query == "mug" else label,
        ask=giving(HALF),
        stream_text=pieces(HALF, "\ud83d\ude00", ending=HALF),
        count=raising(QueryError(HALF)),
        stream=pieces(label.points[0], ending=label),
    )
    pointing = heard(pointer, lambda asking: asking.point(IMAGE, "odd"))
    assert (pointing.points[0].label, pointing.text) == (clean, clean)
    assert heard(pointer, lambda asking: asking.ask(IMAGE, "what?")) == clean
    streamed = heard(pointer, lambda asking: list(asking.stream_text(IMAGE, "what?")))
    assert streamed == [clean, "\U0001f600"]
    assert heard(pointer, lambda asking: list(asking.stream(IMAGE, "x")))[0].label == clean
    assert clean in str(heard(pointer, lambda asking: asking.count(IMAGE, "odd")))


def test_a_point_method_that_cannot_be_called_is_refused_at_once() -> None:
    for method in (lambda self, image, query: FOUND, lambda self, image, *, timeout_s: FOUND):
        with pytest.raises(
            UsageError, match=r"expected a method point\(image, query, \*, timeout"
        ):
            complete(own(point=method))
    complete(own(point=lambda self, image, query, timeout_s=None: FOUND))
    complete(own(point=lambda self, *arguments, **options: FOUND))
    with pytest.raises(UsageError, match=r"expected Own\.concurrency as a whole number, got None"):
        complete(own(concurrency=None)).concurrency  # type: ignore[union-attr]  # noqa: B018


def test_the_log_says_why_there_is_no_model(caplog: pytest.LogCaptureFixture) -> None:
    """In the background nobody raises it, and callers are sent to the log."""
    with caplog.at_level(logging.ERROR):
        server = mp.serve(lambda: None, zmq="tcp://127.0.0.1:*", http=None, block=False)
        with server:
            server.dispatcher.worker._thread.join(10)
    assert "the model could not be loaded: expected a Pointer" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_worker_is_not_ready() -> None:
    server = mp.serve(own(), zmq="tcp://127.0.0.1:*", http=None, block=False)
    with server:
        worker = server.dispatcher.worker
        while not worker.state()[0]:
            pass

        def die(*arguments: Any) -> None:
            raise RuntimeError("a fault of the server")

        worker._turn = die  # type: ignore[method-assign]
        worker._thread.join(10)
        assert worker.state() == (False, "its thread has died")
