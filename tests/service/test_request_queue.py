"""The request queue by itself: turns, shares, deadlines, what is decoded before its turn."""

from __future__ import annotations

import time
from typing import Any

import pytest

from molmo_point.errors import Busy, PointError
from molmo_point.service.cameras import Cameras
from molmo_point.service.job import Job
from molmo_point.service.request_queue import RequestQueue
from molmo_point.service.worker import stopping_error
from molmo_point.wire import ImageHeader, ImagePayload, Op, Reply, Request


def job(name: str, place: str = "a", connection: str = "1", **fields: Any) -> Job:
    """A question of 100 bytes; it waits without end unless told otherwise."""
    timeout_s = fields.pop("timeout_s", 1000.0)
    decode_pixels, quick = fields.pop("decode_pixels", 0), fields.pop("quick", False)
    request = Request(id=name, op=fields.pop("op", Op.COUNT), query="mug", **fields)
    payload = ImagePayload(ImageHeader(encoding="png"), bytes(100))
    made = Job(
        request,
        payload,
        caller=f"{place}-{connection}",
        transport="zmq",
        default_timeout_s=timeout_s,
        turn=(place, connection),
    )
    made.decode_pixels = decode_pixels
    made.quick = quick
    return made


def heard(asked: Job) -> list[Reply]:
    replies: list[Reply] = []
    asked.listen("test", replies.append)
    return replies


def order(queue: RequestQueue) -> list[str]:
    taken = []
    while jobs := queue.take(1, 0.0):
        taken.append(jobs[0].request.id)
    return taken


def test_places_and_their_connections_are_served_in_turns() -> None:
    queue = RequestQueue(64, 10**9)
    for number in range(6):
        queue.put(job(f"flood{number}"))
    queue.put(job("same-machine", connection="2"))
    for number in range(2):
        queue.put(job(f"other{number}", place="b"))
    assert order(queue) == [
        "flood0", "other0", "same-machine", "other1", "flood1", "flood2", "flood3", "flood4", "flood5",
    ]  # fmt: skip


def test_a_caller_that_comes_one_by_one_goes_before_one_with_many_waiting() -> None:
    queue = RequestQueue(64, 10**9)
    for number in range(8):
        queue.put(job(f"flood{number}"))
    served = [queue.take(1, 0.0)[0].request.id]
    for number in range(3):
        queue.put(job(f"polite{number}", connection="2"))
        served += [queue.take(1, 0.0)[0].request.id, queue.take(1, 0.0)[0].request.id]
    assert served == ["flood0", "polite0", "flood1", "polite1", "flood2", "polite2", "flood3"]


def test_a_batch_holds_one_question_of_each_connection() -> None:
    queue = RequestQueue(64, 10**9)
    for number in range(4):
        queue.put(job(f"flood{number}", op=Op.POINT))
    queue.put(job("polite", op=Op.POINT, connection="2"))
    assert [taken.request.id for taken in queue.take(8, 0.0)] == ["flood0", "polite"]


def test_a_full_queue_makes_room_for_whoever_holds_least_of_it() -> None:
    queue = RequestQueue(8, 10**9)
    floods = [job(f"f{n}", connection=str(n % 2)) for n in range(8)]
    ends = [heard(flood) for flood in floods]
    for flood in floods:
        queue.put(flood)
    queue.put(job("polite", connection="9"))
    assert len(queue) == 8
    ended = [replies[0].error.kind for replies in ends if replies and replies[0].error]
    assert ended == ["busy"]
    assert ends[6] or ends[7], "an older question was given up for it"
    with pytest.raises(Busy, match="8 questions waiting, there is room for 8"):
        queue.put(job("one-more", connection="0"))


def test_bytes_are_shared_as_places_are() -> None:
    queue = RequestQueue(64, 450)
    for number in range(4):
        queue.put(job(f"f{number}"))
    with pytest.raises(Busy, match="hold 400 bytes, there is room for 450"):
        queue.put(job("f4"))
    queue.put(job("polite", connection="2"))
    assert len(queue) == 4


def test_a_passed_deadline_is_told_without_the_model_and_makes_room() -> None:
    queue = RequestQueue(2, 10**9)
    late = job("late", timeout_s=0.01)
    replies = heard(late)
    queue.put(late)
    queue.put(job("patient", connection="2"))
    time.sleep(0.02)
    queue.put(job("next", connection="3"))
    assert replies[0].error is not None
    assert replies[0].error.kind == "timed_out"
    assert order(queue) == ["patient", "next"]


def test_a_newer_frame_keeps_the_place_of_the_one_it_replaces() -> None:
    queue = RequestQueue(64, 10**9)
    queue.put(job("frame1", camera="front", stamp_ns=1))
    queue.put(job("next", place="a", connection="2"))
    queue.put(job("frame2", camera="front", stamp_ns=2))
    assert order(queue) == ["frame2", "next"]


def test_what_is_being_decoded_holds_up_nobody() -> None:
    queue = RequestQueue(64, 10**9, decode_ahead=100)
    large, larger = job("large", decode_pixels=80), job("larger", place="b", decode_pixels=30)
    for asked in (large, larger, job("small", place="c")):
        queue.put(asked)
    assert queue.take_to_decode(0.0) is large
    assert queue.take_to_decode(0.0) is None  # there is no memory for both
    assert order(queue) == ["small"]
    large.decoded = "pixels"  # type: ignore[assignment]
    queue.decoded(large)
    assert queue.take_to_decode(0.0) is None  # decoded pixels count until their turn
    assert order(queue) == ["large"]
    assert queue.take_to_decode(0.0) is larger


class Prepared:
    """An image that is cut into crops of that many bytes."""

    def __init__(self, crop_bytes: int) -> None:
        self.image_size = (8, 8)
        self.crop_bytes = crop_bytes


def never(image: Any) -> Any:
    raise AssertionError("the queue itself prepares nothing")


def test_all_images_are_prepared_before_their_turn_where_the_consumer_wants_it() -> None:
    queue = RequestQueue(64, 10**9)
    small, raw = job("small", decode_pixels=80, quick=True), job("raw", place="b", quick=True)
    queue.put(small)
    assert queue.take_to_decode(0.0) is None
    queue.prepare_all(never)
    assert queue.take(1, 0.0) == []
    assert queue.take_to_decode(0.0) is small
    queue.put(raw)
    queue.put(text := job("text", place="c"))
    text.image_payload = None
    assert order(queue) == ["text"]
    assert queue.take_to_decode(0.0) is raw
    for asked in (small, raw):
        asked.prepared = Prepared(300)
        queue.decoded(asked)
    assert order(queue) == ["small", "raw"]


def test_a_flood_is_prepared_two_images_ahead_and_keeps_nobody_elses_waiting() -> None:
    queue = RequestQueue(64, 10**9, decode_ahead=100)
    queue.prepare_all(never)
    flood = [job(f"flood{number}") for number in range(5)]
    for asked in flood:
        queue.put(asked)
    assert [queue.take_to_decode(0.0) for _ in range(3)] == [*flood[:2], None]
    for asked in flood[:2]:
        asked.prepared = Prepared(150)  # as much as 50 pixels
        queue.decoded(asked)
    assert queue.take_to_decode(0.0) is None
    queue.put(polite := job("polite", place="b", decode_pixels=1))
    assert queue.take_to_decode(0.0) is None  # there is no memory for it yet
    assert queue.take(1, 0.0) == [flood[0]]
    assert queue.take_to_decode(0.0) is polite
    queue.remove(flood[1])
    flood[2].prepared = Prepared(0)  # known: nothing that takes room
    assert queue.take_to_decode(0.0) is flood[3]


def test_what_does_not_fit_keeps_its_place() -> None:
    queue = RequestQueue(64, 10**9)
    for asked in (job("large"), job("small", place="b"), job("large2", place="c")):
        queue.put(asked)
    fits = [taken.request.id for taken in queue.take(1, 0.0, lambda job: job.turn[0] == "b")]
    assert fits == ["small"]
    assert queue.take(1, 0.0, lambda job: False) == []
    assert order(queue) == ["large", "large2"]


def test_a_closed_queue_has_its_questions_asked_again() -> None:
    queue = RequestQueue(4, 10**9)
    waiting = job("waiting")
    replies = heard(waiting)
    queue.put(waiting)
    queue.close(stopping_error)
    assert replies[0].error is not None
    assert replies[0].error.kind == "unknown_request"
    with pytest.raises(PointError, match="send the request again"):
        queue.put(job("later"))


def test_a_camera_has_one_owner_until_it_is_silent() -> None:
    cameras = Cameras(idle_s=0.05)
    assert cameras.claim("front", "robot")
    assert not cameras.claim("front", "stranger")
    assert cameras.claim("rear", "stranger")
    time.sleep(0.06)
    assert cameras.claim("front", "stranger")
    assert cameras.claim("kept", "robot", keep_s=100.0)
    assert cameras.claim("kept", "robot")  # a plain use does not shorten it
    time.sleep(0.06)
    assert not cameras.claim("kept", "stranger")
    cameras.release("kept", "stranger")
    assert not cameras.claim("kept", "stranger")
    cameras.release("kept", "robot")
    assert cameras.claim("kept", "stranger")
