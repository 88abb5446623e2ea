"""Several images and videos over ZeroMQ and HTTP: answers as of a Molmo 2 in this process, limits, earlier peers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import molmo_point as mp
from molmo_point.client.http_messages import body_of
from molmo_point.engine.local import LocalPointer
from molmo_point.errors import ImageError, PointError, QueryError, UsageError, VersionMismatch
from molmo_point.points import Pointing
from molmo_point.service.decoding_cost import FRAME_COST, check_payload
from molmo_point.service.run import Service
from molmo_point.service.settings import Settings
from molmo_point.testing import FakePointer
from molmo_point.wire import (
    Op,
    Request,
    ServerInfo,
    WireError,
    decode_request,
    encode_request,
    make_payload,
    payload_of,
)
from tests.service.addresses import address

Start = Callable[..., Service]
GOLDEN = Path(__file__).parents[1] / "golden/molmo2"
BOTH = [GOLDEN / f"images/{name}.png" for name in ("img0_336x336", "img3_200x150")]
FRAMES = [GOLDEN / f"images/video_160x120_frame{frame}.png" for frame in range(3)]
VIDEO = mp.Video(FRAMES, (0.0, 0.5, 1.0))


@pytest.fixture(scope="module")
def local() -> LocalPointer:
    return mp.load(GOLDEN / "models/tiny2-q", device="cpu", max_new_tokens=12)


@pytest.fixture(params=["zmq", "http"])
def connect(request: Any, start: Start) -> Callable[..., Any]:
    def begin(pointer: Any, **options: Any) -> Any:
        service = start(pointer, http=True, **options)
        return mp.connect(address(service, request.param))

    return begin


def same(answer: Pointing, expected: Pointing) -> bool:
    fields = ("text", "points", "status", "image_size", "image_sizes")
    return all(getattr(answer, name) == getattr(expected, name) for name in fields)


@pytest.mark.parametrize("given", [BOTH, VIDEO], ids=["images", "video"])
def test_answers_are_those_of_the_model_itself(
    connect: Any, local: LocalPointer, given: Any
) -> None:
    expected = local.point(given, "ball")
    remote = connect(local)
    assert same(remote.point(given, "ball"), expected)
    assert same(remote.count(given, "balls"), local.count(given, "balls"))
    assert remote.ask(given, "Which?") == local.ask(given, "Which?")
    assert list(remote.stream(given, "ball")) == list(expected.points)
    with remote.open(given) as view:
        assert view.image_size == expected.image_size
        assert same(view.point("ball"), expected)
    (first, second) = remote.point_each(given, ["ball", "box"])
    assert same(first, expected)
    assert same(second, local.point(given, "box"))


def where(images: Any) -> Pointing:
    """Point to the middle of each image."""
    frames = images.frames if isinstance(images, mp.Video) else images
    times = images.times_s if isinstance(images, mp.Video) else [None] * len(frames)
    points = [
        mp.Point(
            x=0.5,
            y=0.5,
            index=n,
            image_index=n,
            time_s=time_s,
            track=None if time_s is None else 7,
        )
        for n, time_s in enumerate(times)
    ]
    sizes = tuple((image.shape[1], image.shape[0]) for image in frames)
    return Pointing(
        query="x",
        points=tuple(points),
        status=mp.Status.FOUND,
        image_size=sizes[0],
        image_sizes=sizes,
    )


class Several:
    """A Pointer of one's own that takes several images."""

    several_images = True

    def point(self, image: Any, query: str, **options: Any) -> Pointing:
        return where(image)


def test_places_times_and_tracks_travel(connect: Any) -> None:
    remote = connect(Several())
    images = [np.zeros((4, 5, 3), np.uint8), np.zeros((6, 7, 3), np.uint8)]
    answer = remote.point(images, "x")
    assert [point.image_index for point in answer.points] == [0, 1]
    assert answer.image_sizes == ((5, 4), (7, 6))
    assert answer.size_of(answer.points[1]) == (7, 6)
    answer = remote.point(mp.Video(images, [0.5, 1.5]), "x")
    assert [(p.time_s, p.track) for p in answer.points] == [(0.5, 7), (1.5, 7)]


def test_a_pointer_of_one_image_refuses_several(connect: Any) -> None:
    remote = connect(FakePointer({"x": [(0.5, 0.5)]}))
    for given in (BOTH, VIDEO):
        with pytest.raises(UsageError, match="one image a question"):
            remote.point(given, "x")
    assert remote.point(BOTH[0], "x").count == 1
    assert remote.point([BOTH[0]], "x").count == 1


def test_limits_are_said_before_anything_is_sent(connect: Any) -> None:
    remote = connect(Several(), limits={"max_images": 2, "max_frames": 3})
    info = remote.info()
    assert (info.max_images, info.max_frames) == (2, 3)
    with pytest.raises(UsageError, match="at most 2 in one question, got 3 images"):
        remote.point(FRAMES, "x")
    with pytest.raises(UsageError, match="at most 3 in one question, got 4 frames"):
        remote.point(mp.Video([*FRAMES, FRAMES[0]], [0, 1, 2, 3]), "x")


def test_a_server_refuses_more_than_its_limits() -> None:
    images = [np.zeros((10, 10, 3), np.uint8)] * 3
    several, video = make_payload(images), make_payload(mp.Video(images, [0, 1, 2]))
    cost, quick = check_payload(video, Settings())
    assert (cost, quick) == (3 * FRAME_COST, False)
    with pytest.raises(ImageError, match="at most 2 in one question, got 3 images"):
        check_payload(several, Settings(max_images=2))
    with pytest.raises(ImageError, match="at most 2 in one question, got 3 frames"):
        check_payload(video, Settings(max_frames=2))
    with pytest.raises(ImageError, match="300 pixels together"):
        check_payload(several, Settings(max_pixels=299))
    with pytest.raises(ImageError, match="for that: use fewer"):
        check_payload(video, Settings(decode_ahead=3 * FRAME_COST - 1))
    wrong = make_payload(images)
    object.__setattr__(wrong, "times_s", (0.0, 2.0, 1.0))
    with pytest.raises(UsageError, match="ascending"):
        check_payload(wrong, Settings())


def test_a_camera_is_about_one_image(start: Start) -> None:
    service = start(Several())
    assert service.zmq is not None
    remote = mp.connect(service.zmq.address, camera="front")
    with pytest.raises(WireError, match="leave camera out"):
        remote.point(BOTH, "x")


def test_the_same_id_with_another_second_image_is_another_question(start: Start) -> None:
    service = start(Several())
    dark, bright = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    seen: list[Any] = []

    def ask(images: Any) -> None:
        payload = make_payload(images)
        request = Request(id="1", client="me", op=Op.POINT, query="x", **payload.fields())
        service.dispatcher.submit(
            request, payload.data, caller="me", transport="zmq", owner="one", listener=seen.append
        )

    ask([dark, dark])
    ask([dark, dark])
    with pytest.raises(WireError, match="used before"):
        ask([dark, bright])
    with pytest.raises(WireError, match="used before"):
        ask(mp.Video([dark, dark], [0.0, 1.0]))


def test_an_earlier_server_is_told_from_its_hello(connect: Any, monkeypatch: Any) -> None:
    remote = connect(FakePointer())
    fields = json.loads(remote.info().model_dump_json())
    del fields["max_images"], fields["max_frames"]
    remote._info = ServerInfo.model_validate(fields)
    for given in (BOTH, VIDEO):
        with pytest.raises(UsageError, match="bring the server up to date"):
            remote.point(given, "x")


def test_frames_are_inverse_and_damage_is_refused() -> None:
    for given in (BOTH, VIDEO, [BOTH[0], np.zeros((3, 4, 3), np.uint8)]):
        payload = make_payload(given)
        request = Request(id="1", op=Op.POINT, query="x", **payload.fields())
        header, data = encode_request(request, payload.data)
        back, received = decode_request([header, data])
        assert back == request
        again = payload_of(back, received)
        assert again is not None
        assert [bytes(part.data) for part in again.parts] == [bytes(p.data) for p in payload.parts]
        with pytest.raises(WireError, match="bytes together"):
            decode_request([header, bytes(data)[:-1]])
        with pytest.raises(WireError, match="go together"):
            decode_request([header])
        with pytest.raises((WireError, VersionMismatch)):
            decode_request([bytes(header)[:-9], data])


@pytest.mark.parametrize(
    "fields",
    [
        {"images": [{"encoding": "png"}]},
        {"images": [{"encoding": "png", "length": 0}]},
        {"image": {"encoding": "png"}, "images": [{"encoding": "png", "length": 3}]},
        {"images": [{"encoding": "png", "length": 3}], "times_s": [0.0, 1.0]},
        {"images": [{"encoding": "png", "length": 3}], "times_s": [-1.0]},
        {"images": [{"encoding": "png", "length": 3}] * 513},
    ],
)
def test_headers_that_contradict_themselves_are_refused(fields: dict[str, Any]) -> None:
    header = json.dumps({"v": 1, "id": "1", "op": "point", "query": "x", **fields}).encode()
    with pytest.raises(WireError):
        decode_request([header, b"abc"])


def test_a_request_of_one_image_is_what_it_was(start: Start) -> None:
    """Earlier servers read it: no new field is in it."""
    payload = make_payload([BOTH[0]])
    request = Request(id="1", op=Op.POINT, query="x", **payload.fields())
    header = json.loads(bytes(encode_request(request, payload.data)[0]))
    assert set(header) == {"v", "id", "op", "query", "image"}
    assert set(header["image"]) == {"encoding"}
    assert set(body_of(request, payload)["data"]) == {"query"}
    assert "times_s" not in body_of(request.model_copy(update={"view": "v"}), None)["json"]


def test_bodies_of_http(start: Start) -> None:
    httpx = pytest.importorskip("httpx")
    service = start(Several(), http=True, limits={"max_message_bytes": 100_000})
    assert service.http is not None
    url = f"{service.http.url}/v1/point"
    texts = [base64.b64encode(path.read_bytes()).decode() for path in FRAMES[:2]]
    asked = {"images": texts, "times_s": [0.0, 0.5], "query": "x"}
    answer = httpx.post(url, json=asked).json()
    assert [point["time_s"] for point in answer["points"]] == [0.0, 0.5]
    files = [("image", path.read_bytes()) for path in FRAMES[:2]]
    answer = httpx.post(url, data={"query": "x"}, files=files).json()
    assert [point["image_index"] for point in answer["points"]] == [0, 1]
    for wrong in ({"image": texts[0]}, {"times_s": [0.0]}, {"images": []}, {"images": ["?"]}):
        refused = httpx.post(url, json={**asked, **wrong})
        assert refused.status_code == 400, wrong
    large = [("image", path.read_bytes() + bytes(60_000)) for path in FRAMES[:2]]
    refused = httpx.post(url, data={"query": "x"}, files=large)
    assert refused.status_code in (400, 413)
    assert "together" in refused.text


def test_errors_of_the_model_come_back(connect: Any, local: LocalPointer) -> None:
    remote = connect(local, limits={"max_frames": 200})
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises((QueryError, PointError), match="frames take"):
        remote.point(mp.Video([image] * 120, [n / 2 for n in range(120)]), "x")
