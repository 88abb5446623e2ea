"""What a newer server says that this version does not know: an error with a name, and the next message is read."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import zmq

from molmo_point.client.subscribe import subscribe
from molmo_point.errors import ServiceError
from molmo_point.points import Pointing, Status
from molmo_point.wire import Op, Publication, Request, encode_publication

KNOWN = Publication(
    camera="front", pointing=Pointing(query="mug", status=Status.PENDING, image_size=(8, 6))
)


def test_a_publication_with_an_unknown_status_is_named_and_the_next_is_read() -> None:
    news = encode_publication(KNOWN)
    news[1] = news[1].replace(b'"pending"', b'"occluded"')
    context: zmq.Context[Any] = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    publisher.linger = 0
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    with subscribe(f"tcp://127.0.0.1:{port}", "front") as subscription:
        assert publisher.poll(10_000), "the subscription never came"
        publisher.send_multipart(news)
        publisher.send_multipart([b"points/front", b"noise"])
        publisher.send_multipart(encode_publication(KNOWN))
        with pytest.raises(ServiceError, match="status is 'occluded', which this version"):
            subscription.receive(10.0)
        until = time.monotonic() + 10
        heard = None
        while heard is None and time.monotonic() < until:
            heard = subscription.receive(1.0)
        assert heard == KNOWN
    publisher.close()
    context.term()


def test_an_answer_over_http_with_an_unknown_word_is_named() -> None:
    pytest.importorskip("httpx", reason="the extra 'client' is not installed")
    from molmo_point.client.http_messages import reply_in

    pointing = json.loads(KNOWN.pointing.model_dump_json())
    request = Request(id="1", op=Op.POINT)
    assert reply_in(request, {**pointing, "count": 0, "news": 1}).pointing == KNOWN.pointing
    with pytest.raises(ServiceError, match="status is 'occluded', which this version"):
        reply_in(request, {**pointing, "status": "occluded"})
    text = Request(id="1", op=Op.ASK)
    assert str(reply_in(text, {"text": "a", "finish_reason": "length"}).finish_reason) == "length"
    with pytest.raises(ServiceError, match="finish_reason is 'filtered', which this version"):
        reply_in(text, {"text": "a", "finish_reason": "filtered"})
