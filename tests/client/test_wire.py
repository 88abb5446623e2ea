"""The wire format: inverses by property, and everything that is not a message refused with one sentence."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_point import errors
from molmo_point.errors import PointError, ServiceError, VersionMismatch
from molmo_point.install import missing
from molmo_point.points import Point, Pointing, Status, Timing
from molmo_point.wire import (
    MAX_REQUEST_HEADER,
    VERSION,
    ErrorBody,
    ImageHeader,
    Op,
    Publication,
    Reply,
    Request,
    ServerInfo,
    Track,
    UnknownRequest,
    UnknownValue,
    ViewGone,
    ViewInfo,
    WireError,
    decode_publication,
    decode_reply,
    decode_request,
    encode_publication,
    encode_reply,
    encode_request,
    error_body,
    error_from,
    peek_id,
    topic,
)

tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
names = st.from_regex(r"[A-Za-z0-9_.\-]{1,64}", fullmatch=True)
stamps = st.none() | st.integers(-(2**63), 2**63 - 1)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
units = st.floats(0, 1)
sides = st.integers(1, 12)
headers = st.one_of(
    st.builds(ImageHeader, encoding=st.sampled_from(["jpeg", "png", "webp"])),
    st.tuples(sides, sides, st.sampled_from(["rgb", "bgr"])).map(
        lambda s: ImageHeader(
            encoding="raw", shape=(s[0], s[1], 3), size=(s[1], s[0]), dtype="uint8", channels=s[2]
        )
    ),
    st.tuples(sides, sides).map(lambda s: ImageHeader(encoding="raw", shape=s, dtype="uint8")),
)
requests = st.builds(
    Request,
    id=tokens,
    client=st.none() | tokens,
    op=st.sampled_from(Op),
    query=words,
    timeout_s=st.none() | st.floats(1e-6, 86_400),
    view=st.none() | tokens,
    camera=st.none() | names,
    stamp_ns=stamps,
    frame_id=st.none() | words,
    queries=st.lists(words, max_size=16).map(tuple),
)
points = st.builds(
    Point,
    x=units,
    y=units,
    label=words,
    score=st.none() | units,
    covariance=st.none() | st.tuples(st.floats(0, 1), st.just(0.0), st.floats(0, 1)),
    index=st.integers(0, 1000),
)


@st.composite
def pointings(draw: st.DrawFn) -> Pointing:
    some = tuple(draw(st.lists(points, max_size=5)))
    status = Status.FOUND if some else draw(st.sampled_from(["not_found", "truncated"]))
    return Pointing(
        query=draw(words),
        points=some,
        status=Status(status),
        stated_count=draw(st.none() | st.integers(0, 10**6)),
        absent_probability=draw(st.none() | units),
        in_domain=draw(st.none() | units),
        text=draw(words),
        image_size=(draw(sides), draw(sides)),
        stamp_ns=draw(stamps),
        frame_id=draw(st.none() | words),
        timing=Timing(total_s=draw(st.floats(0, 1e6))),
    )


replies = st.one_of(
    st.builds(
        Reply, id=words, seq=st.integers(0, 10**6), type=st.just("pointing"), pointing=pointings()
    ),
    st.builds(Reply, id=words, last=st.just(False), type=st.just("point"), point=points),
    st.builds(Reply, id=words, last=st.booleans(), type=st.just("piece"), text=words),
    st.builds(
        Reply,
        id=words,
        type=st.just("view"),
        view=st.builds(ViewInfo, handle=tokens, image_size=st.tuples(sides, sides)),
    ),
    st.builds(
        Reply,
        id=words,
        type=st.just("error"),
        error=st.builds(ErrorBody, kind=words, message=words, advice=words),
    ),
    st.builds(
        Reply,
        id=words,
        type=st.just("hello"),
        server=st.builds(
            ServerInfo,
            version=words,
            ready=st.booleans(),
            state=words,
            max_message_bytes=st.integers(1, 2**40),
            max_pixels=st.integers(1, 2**40),
        ),
    ),
)


@given(requests)
def test_a_request_comes_back(request: Request) -> None:
    assert decode_request(encode_request(request)) == (request, None)


@given(requests, headers, st.data())
def test_an_image_comes_back_with_its_request(
    request: Request, image: ImageHeader, data: st.DataObject
) -> None:
    size = 1
    for side in image.shape or (data.draw(st.integers(1, 50)),):
        size *= side
    payload = bytes(range(256)) * (size // 256 + 1)
    request = request.model_copy(update={"image": image})
    frames = encode_request(request, memoryview(payload)[:size])
    assert decode_request(frames) == (request, payload[:size])


@given(replies)
def test_a_reply_comes_back(reply: Reply) -> None:
    assert decode_reply([encode_reply(reply)]) == reply


@given(names, pointings(), stamps)
def test_a_publication_comes_back(camera: str, pointing: Pointing, stamp: int | None) -> None:
    tracks = tuple(
        Track(id=i, evidence_stamp_ns=stamp, evidence_age_s=0.5 * i)
        for i in range(len(pointing.points))
    )
    sent = Publication(camera=camera, pointing=pointing, tracks=tracks)
    frames = encode_publication(sent)
    assert frames[0] == topic(camera) == b"points/" + camera.encode()
    assert decode_publication(frames) == sent


def test_the_version_is_the_first_thing_in_every_header() -> None:
    start = b'{"v":%d,' % VERSION
    assert bytes(encode_request(Request(id="a", op=Op.HELLO))[0]).startswith(start)
    assert encode_reply(Reply(id="a", type="done")).startswith(start)


def test_every_cut_of_a_header_is_refused() -> None:
    whole = bytes(
        encode_request(Request(id="a", op=Op.POINT, query="the red mug", timeout_s=2.0))[0]
    )
    for length in range(len(whole)):
        with pytest.raises(WireError, match="not JSON"):
            decode_request([whole[:length]])


@given(st.binary(min_size=1, max_size=20))
def test_rubbish_behind_a_header_is_refused(rubbish: bytes) -> None:
    whole = bytes(encode_request(Request(id="a", op=Op.HELLO))[0])
    if rubbish.strip():
        with pytest.raises(WireError):
            decode_request([whole + rubbish])


@given(st.lists(st.binary(max_size=200), max_size=4))
@settings(max_examples=300)
def test_whatever_comes_is_a_request_or_one_of_two_errors(frames: list[bytes]) -> None:
    with pytest.raises((WireError, VersionMismatch)):
        decode_request(frames)
    assert isinstance(peek_id(frames), str)


HEADER: dict[str, object] = {"v": VERSION, "id": "a", "op": "point", "query": "mug"}


@pytest.mark.parametrize(
    ("change", "words_"),
    [
        ({"v": 2}, "version 1 .* says 2"),
        ({"v": None}, "version"),
        ({"v": True}, "version"),
        ({"v": 10**400}, "a very large number"),
        ({"id": ""}, "id: "),
        ({"id": "a b"}, "id: "),
        ({"id": "x" * 129}, "id: "),
        ({"id": 5}, "id: "),
        ({"op": "delete"}, "op: "),
        ({"timeout_s": 0}, "timeout_s: .*greater than 0"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"timeout_s": 10**400}, "timeout_s"),
        ({"query": None}, "query"),
        ({"camera": "../x"}, "camera"),
        ({"stamp_ns": 2**63}, "stamp_ns"),
        ({"stamp_ns": 1.5}, "stamp_ns"),
        ({"frame_id": "x" * 257}, "frame_id"),
        ({"queries": ["x"] * 17}, "queries"),
        ({"image": {"encoding": "jpeg"}}, "without its bytes"),
        ({"image": {"encoding": "psd"}}, "encoding"),
        ({"image": {"encoding": "raw"}}, "shape"),
        ({"image": {"encoding": "raw", "shape": [4, 4, 4], "dtype": "uint8"}}, "shape"),
        ({"image": {"encoding": "raw", "shape": [4, 4, 3], "dtype": "float32"}}, "dtype"),
        ({"image": {"encoding": "jpeg", "shape": [4, 4, 3]}}, "raw pixels"),
        (
            {"image": {"encoding": "raw", "shape": [4, 5, 3], "dtype": "uint8", "size": [4, 5]}},
            "size",
        ),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], words_: str) -> None:
    sys.set_int_max_str_digits(0)
    header = json.dumps({**HEADER, **change}).encode()
    with pytest.raises((WireError, VersionMismatch), match=words_):
        decode_request([header])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"v"',
        b"\xff\xfe",
        b'{"v":1,"id":"\xff"}',
        b'{"v":NaN}',
        b"{" * 50_000,
    ],
)
def test_what_is_no_json_object_is_refused(header: bytes) -> None:
    with pytest.raises(WireError):
        decode_request([header])


def test_deep_json_is_refused_without_recursion() -> None:
    with pytest.raises(WireError, match="not JSON"):
        decode_request([b'{"v":1,"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}"])


def test_a_header_beyond_its_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="the limit is 65,536"):
        decode_request([b"{" * (MAX_REQUEST_HEADER + 1)])


@pytest.mark.parametrize("size", [0, 1, 47, 49, 10_000])
def test_pixels_that_do_not_fit_their_shape_are_refused(size: int) -> None:
    image = {"encoding": "raw", "shape": [4, 4, 3], "dtype": "uint8"}
    header = json.dumps({**HEADER, "image": image}).encode()
    with pytest.raises(WireError, match=f"the image frame has {size:,}"):
        decode_request([header, b"x" * size])


def test_a_shape_of_astronomical_size_is_only_a_number() -> None:
    image = {"encoding": "raw", "shape": [10**6, 10**6, 3], "dtype": "uint8"}
    with pytest.raises(WireError, match="3,000,000,000,000 bytes"):
        decode_request([json.dumps({**HEADER, "image": image}).encode(), b"x"])


def test_bytes_without_a_description_are_refused() -> None:
    with pytest.raises(WireError, match="bytes without a description"):
        decode_request([json.dumps(HEADER).encode(), b"x"])


def test_unknown_fields_of_a_newer_peer_are_ignored() -> None:
    request, _ = decode_request([json.dumps({**HEADER, "colour": "red"}).encode()])
    assert request.query == "mug"


def test_a_publication_needs_a_track_for_each_point() -> None:
    pointing = Pointing(
        query="a", points=(Point(x=0.5, y=0.5),), status=Status.FOUND, image_size=(4, 4)
    )
    tracks = (Track(id=1, evidence_age_s=0), Track(id=2, evidence_age_s=0))
    with pytest.raises(ValueError, match="2 tracks for 1 points"):
        Publication(camera="front", pointing=pointing, tracks=tracks)


KINDS = [
    errors.UsageError,
    errors.ImageError,
    errors.QueryError,
    errors.ModelNotFound,
    errors.CheckpointError,
    errors.MarkupError,
    errors.Cancelled,
    errors.ServiceError,
    errors.ServerGone,
    errors.Refused,
    errors.Busy,
    errors.Superseded,
    errors.TimedOut,
    errors.VersionMismatch,
    WireError,
    ViewGone,
    UnknownRequest,
]


@pytest.mark.parametrize("cls", KINDS)
def test_an_error_comes_back_as_what_it_was(cls: type[PointError]) -> None:
    body = error_body(cls("the words"))
    assert body.kind == cls.kind
    assert body.advice
    back = error_from(body)
    assert type(back) is cls
    assert str(back) == "the words"


def test_an_error_of_a_newer_server_is_still_a_service_error() -> None:
    assert type(error_from(ErrorBody(kind="new", message="x"))) is ServiceError


def test_an_error_without_words_of_its_own_goes_as_its_parent() -> None:
    body = error_body(missing("torch", "engine", "this"))
    assert body.kind == "usage"
    assert "pip install" in body.message
    assert error_body(PointError("x")).kind == "service"


def test_the_id_of_a_message_that_cannot_be_read_is_found_where_it_can_be() -> None:
    assert peek_id([b'{"v":7,"id":"abc","op":"no"}']) == "abc"
    assert peek_id([b'{"id":["abc"]}']) == ""
    assert peek_id([b'{"id":"a\\u0000b"}']) == ""
    assert peek_id([b'{"id":"abc"']) == ""
    assert peek_id([]) == ""


def test_the_wire_loads_nothing_heavy() -> None:
    script = (
        "import sys, molmo_point.wire;"
        "print(sorted({'torch', 'zmq', 'cv2', 'fastapi', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def with_news(value: object) -> object:
    """Add a field that this version does not know to every object, however deep."""
    if isinstance(value, dict):
        return {**{k: with_news(v) for k, v in value.items()}, "of_tomorrow": {"depth": [1, 2]}}
    if isinstance(value, list):
        return [with_news(item) for item in value]
    return value


def renewed(frame: bytes) -> bytes:
    return json.dumps(with_news(json.loads(frame))).encode()


@given(replies)
def test_what_a_newer_server_adds_is_left_out(reply: Reply) -> None:
    """A client of last year must go on to understand the points of a server of this year: same version, more fields."""
    assert decode_reply([renewed(encode_reply(reply))]) == reply


@given(pointings(), names)
def test_what_a_newer_publisher_adds_is_left_out(pointing: Pointing, camera: str) -> None:
    tracks = tuple(Track(id=p.index, evidence_age_s=0.5) for p in pointing.points)
    publication = Publication(camera=camera, pointing=pointing, tracks=tracks)
    name, body = encode_publication(publication)
    assert decode_publication([name, renewed(body)]) == publication


@given(requests, headers)
def test_what_a_newer_client_adds_is_left_out(request: Request, header: ImageHeader) -> None:
    asked = request.model_copy(update={"image": header})
    payload = bytes(math.prod(header.shape)) if header.shape is not None else b"x"
    first, *more = encode_request(asked, payload)
    assert decode_request([renewed(bytes(first)), *more])[0] == asked


def test_the_values_themselves_refuse_a_typing_mistake() -> None:
    with pytest.raises(ValueError, match="lable"):
        Point(x=0.5, y=0.5, lable="mug")  # type: ignore[call-arg]


def test_a_status_of_a_newer_peer_is_named_and_never_read_as_another() -> None:
    pointing = {"query": "mug", "status": "occluded", "image_size": [8, 6]}
    reply = {"v": 1, "id": "1", "type": "pointing", "pointing": pointing}
    with pytest.raises(UnknownValue, match=r"pointing.status is 'occluded', which this version"):
        decode_reply([json.dumps(reply).encode()])
    text = {"v": 1, "id": "1", "type": "text", "text": "a", "finish_reason": "filtered"}
    with pytest.raises(UnknownValue, match=r"finish_reason is 'filtered', which this version"):
        decode_reply([json.dumps(text).encode()])
    publication = {"v": 1, "camera": "front", "pointing": pointing}
    with pytest.raises(UnknownValue, match="bring this side up to date"):
        decode_publication([b"points/front", json.dumps(publication).encode()])


def test_pending_is_known() -> None:
    pending = Pointing(query="mug", status=Status.PENDING, image_size=(8, 6))
    publication = Publication(camera="front", pointing=pending)
    assert decode_publication(encode_publication(publication)).pointing.status is Status.PENDING
