"""The ZeroMQ side, spoken to in bytes: what docs/wire.md promises to a peer that does not use our client."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from PIL import Image

from molmo_point.client import connect
from molmo_point.client.curve import read_key
from molmo_point.client.subscribe import subscribe
from molmo_point.errors import (
    Refused,
    ServerGone,
    TimedOut,
    UsageError,
    VersionMismatch,
)
from molmo_point.images import Array
from molmo_point.service.bind_check import host_of, is_loopback
from molmo_point.service.run import ServeOptions, Service
from molmo_point.service.zmq.keys import known_clients, new_client, server_key
from molmo_point.testing import FakePointer

Start = Callable[..., Service]
Ask = Callable[..., Any]


def png(image: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(0)


class Peer:
    """A DEALER that speaks bytes."""

    def __init__(
        self, context: zmq.Context[Any], service: Service, kind: int = zmq.DEALER
    ) -> None:
        assert service.zmq is not None
        self.socket = context.socket(kind)
        self.socket.connect(service.zmq.address)

    def send(self, header: dict[str, Any] | bytes, *more: bytes) -> None:
        first = header if isinstance(header, bytes) else json.dumps({"v": 1, **header}).encode()
        self.socket.send_multipart([first, *more])

    def receive(self, wait_s: float = 10.0) -> dict[str, Any]:
        assert self.socket.poll(int(wait_s * 1000)), "no reply"
        (frame,) = self.socket.recv_multipart()
        reply: dict[str, Any] = json.loads(frame)
        assert reply["v"] == 1
        return reply

    def silent(self, wait_s: float = 0.3) -> bool:
        return not self.socket.poll(int(wait_s * 1000))


QUESTION = {"op": "point", "query": "mug", "image": {"encoding": "png"}}


def test_a_question_in_bytes_is_answered_in_bytes(
    start: Start, context: Any, image: Array
) -> None:
    peer = Peer(context, start())
    peer.send({**QUESTION, "id": "q-1", "stamp_ns": -7, "frame_id": "cam"}, png(image))
    reply = peer.receive()
    assert (reply["id"], reply["type"]) == ("q-1", "pointing")
    assert reply.get("last", True)
    pointing = reply["pointing"]
    assert (pointing["points"][0]["x"], pointing["points"][0]["y"]) == (0.25, 0.5)
    assert (pointing["stamp_ns"], pointing["frame_id"]) == (-7, "cam")


def test_raw_pixels_in_opencv_order_are_understood(
    start: Start, context: Any, image: Array
) -> None:
    seen: list[Array] = []
    peer = Peer(context, start(FakePointer(lambda array, query: seen.append(array) or [])))
    raw = {"encoding": "raw", "shape": [60, 80, 3], "dtype": "uint8", "channels": "bgr"}
    peer.send({**QUESTION, "id": "1", "image": raw}, image[..., ::-1].tobytes())
    assert peer.receive()["pointing"]["status"] == "not_found"
    assert (seen[0] == image).all()


def test_a_req_socket_gets_its_empty_frame_back(start: Start, context: Any, image: Array) -> None:
    peer = Peer(context, start(), zmq.REQ)
    for number in ("1", "2"):
        peer.send({**QUESTION, "id": number}, png(image))
        assert peer.receive()["id"] == number
    peer.send({"id": "3", "op": "hello"})
    assert peer.receive()["server"]["model"] == "fake"


def test_a_repeated_id_is_answered_from_memory(start: Start, context: Any, image: Array) -> None:
    pointer = FakePointer({"mug": [(0.25, 0.5)]})
    service = start(pointer)
    first, second = Peer(context, service), Peer(context, service)
    question = {**QUESTION, "id": "1", "client": "robot"}
    first.send(question, png(image))
    reply = first.receive()
    second.send(question, png(image))  # after a reconnection it is another socket
    assert second.receive() == reply
    second.send({"id": "1", "client": "robot", "op": "again"})
    assert second.receive() == reply
    assert pointer.calls == [("point", "mug")]
    assert service.dispatcher.metrics.value("molmo_point_repeated_total", transport="zmq") == 1


def test_the_same_id_of_another_client_is_another_question(
    start: Start, context: Any, image: Array
) -> None:
    pointer = FakePointer()
    service = start(pointer)
    for number, peer in enumerate((Peer(context, service), Peer(context, service))):
        peer.send({**QUESTION, "id": "1", "query": f"thing {number}"}, png(image))
        assert peer.receive()["pointing"]["query"] == f"thing {number}"
    assert len(pointer.calls) == 2


def test_an_id_used_for_two_questions_is_refused(start: Start, context: Any, image: Array) -> None:
    peer = Peer(context, start())
    peer.send({**QUESTION, "id": "1"}, png(image))
    peer.receive()
    peer.send({**QUESTION, "id": "1", "query": "cup"}, png(image))
    error = peer.receive()["error"]
    assert error["kind"] == "protocol"
    assert "used before" in error["message"]
    assert error["advice"]


def test_a_question_at_work_is_not_computed_twice(
    start: Start, context: Any, image: Array, gate: Any
) -> None:
    peer = Peer(context, start(gate))
    question = {**QUESTION, "id": "1"}
    peer.send(question, png(image))
    assert gate.entered.acquire(timeout=10)
    peer.send(question, png(image))
    peer.send({"id": "1", "op": "again"})
    pending = peer.receive()
    assert (pending["type"], pending["last"]) == ("pending", False)
    gate.open_.set()
    assert peer.receive()["type"] == "pointing"
    assert peer.silent()
    assert len(gate.calls) == 1


def test_an_unknown_request_is_said_to_be(start: Start, context: Any) -> None:
    peer = Peer(context, start())
    peer.send({"id": "nobody", "op": "again"})
    assert peer.receive()["error"]["kind"] == "unknown_request"


def test_a_waiting_question_can_be_cancelled(
    start: Start, context: Any, image: Array, gate: Any
) -> None:
    peer = Peer(context, start(gate))
    peer.send({**QUESTION, "id": "1"}, png(image))
    assert gate.entered.acquire(timeout=10)
    peer.send({**QUESTION, "id": "2"}, png(image))
    peer.send({"id": "2", "op": "cancel"})
    assert peer.receive()["error"]["kind"] == "cancelled"
    gate.open_.set()
    assert peer.receive()["id"] == "1"
    assert len(gate.calls) == 1


def test_a_running_question_can_be_cancelled_too(
    start: Start, context: Any, image: Array, gate: Any
) -> None:
    peer = Peer(context, start(gate))
    peer.send({**QUESTION, "id": "1"}, png(image))
    assert gate.entered.acquire(timeout=10)
    peer.send({"id": "1", "op": "cancel"})
    assert peer.receive()["error"]["kind"] == "cancelled"  # while the model is still at it
    peer.send({"id": "1", "op": "again"})
    assert peer.receive()["error"]["kind"] == "cancelled"
    gate.open_.set()
    peer.send({**QUESTION, "id": "2"}, png(image))
    assert peer.receive()["id"] == "2"
    assert peer.silent()


def test_stream_replies_are_numbered_and_one_is_the_last(
    start: Start, context: Any, image: Array
) -> None:
    points = [(n / 100, 0.5) for n in range(50)]
    peer = Peer(context, start(FakePointer({"mug": points})))
    peer.send({**QUESTION, "id": "1", "op": "stream"}, png(image))
    replies = [peer.receive() for _ in range(51)]
    assert [reply.get("seq", 0) for reply in replies] == list(range(51))
    assert [reply.get("last", True) for reply in replies] == [False] * 50 + [True]
    assert [reply["point"]["x"] for reply in replies[:-1]] == [x for x, _ in points]
    assert len(replies[-1]["pointing"]["points"]) == 50


@pytest.mark.parametrize(
    ("header", "frames", "kind", "name"),
    [
        (b'{"v":2,"id":"x","op":"point"}', [], "version_mismatch", "x"),
        (b'{"v":1,"id":"x","op":"fly"}', [], "protocol", "x"),
        (b"\xff\xfe", [], "protocol", ""),
        (b'{"v":1,"id":"x","op":"point","query":"a"}', [], "protocol", "x"),
        (b'{"v":1,"id":"x","op":"open"}', [], "protocol", "x"),
        (b'{"v":1,"id":"x","op":"close"}', [], "protocol", "x"),
        (b'{"v":1,"id":"x","op":"close","view":"none"}', [], None, "x"),
        (b'{"v":1,"id":"x","op":"point","query":"a","view":"none"}', [], "view_gone", "x"),
        (
            b'{"v":1,"id":"x","op":"point","query":"a","image":{"encoding":"png"}}',
            [b"GIF"],
            "image",
            "x",
        ),
        (b'{"v":1,"id":"x","op":"hello"}', [b"a", b"b"], "protocol", "x"),
    ],
)
def test_refusals_are_typed_and_find_their_caller(
    start: Start, context: Any, header: bytes, frames: list[bytes], kind: str | None, name: str
) -> None:
    peer = Peer(context, start())
    peer.send(header, *frames)
    reply = peer.receive()
    assert reply["id"] == name
    if kind is None:
        assert reply["type"] == "done"
    else:
        assert (reply["type"], reply["error"]["kind"]) == ("error", kind)
        assert reply["error"]["message"]
        assert reply["error"]["advice"]
        assert "Traceback" not in reply["error"]["message"]


def test_a_bomb_is_refused_before_it_is_decoded(start: Start, context: Any) -> None:
    pointer = FakePointer()
    peer = Peer(context, start(pointer))
    size = struct.pack(">II", 30_000, 30_000)
    bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + size + b"\x08\x02\x00\x00\x00" + bytes(10**6)
    peer.send({**QUESTION, "id": "1"}, bomb)
    error = peer.receive()["error"]
    assert error["kind"] == "image"
    assert "30000x30000" in error["message"]
    assert pointer.calls == []


def test_answers_about_a_camera_are_published(start: Start, image: Array) -> None:
    service = start()
    assert service.zmq is not None
    assert service.zmq.publish_address is not None
    pointer = connect(service.zmq.address, camera="front")
    assert pointer.info().publishes == int(service.zmq.publish_address.rpartition(":")[2])
    with subscribe(service.zmq.publish_address, "front") as heard:
        until = time.monotonic() + 10
        publication = None
        while publication is None and time.monotonic() < until:
            pointer.point(image, "mug", stamp_ns=5)
            publication = heard.receive(timeout_s=0.1)
    assert publication is not None
    assert (publication.camera, publication.pointing.stamp_ns) == ("front", 5)
    assert publication.pointing.points[0].x == 0.25
    pointer.close()


def test_a_subscriber_hears_only_its_camera(start: Start, image: Array) -> None:
    service = start()
    assert service.zmq is not None
    assert service.zmq.publish_address is not None
    with (
        subscribe(service.zmq.publish_address, "a") as heard,
        connect(service.zmq.address, camera="a") as a,
        connect(service.zmq.address, camera="ab") as ab,
    ):
        until = time.monotonic() + 10
        cameras = set()
        while len(cameras) < 1 and time.monotonic() < until:
            ab.point(image, "mug")
            a.point(image, "mug")
            publication = heard.receive(timeout_s=0.1)
            if publication is not None:
                cameras.add(publication.camera)
    assert cameras == {"a"}


def test_silent_half_and_nonsense_peers_harm_nobody(start: Start, image: Array) -> None:
    service = start()
    assert service.zmq is not None
    place = ("127.0.0.1", int(service.zmq.address.rpartition(":")[2]))
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
    openings = [b"", b"\xff", greeting[:20], greeting, b"GET / HTTP/1.1\r\n\r\n", bytes(5000)]
    # a long frame that announces 2^62 bytes and stops
    openings.append(greeting + b"\x02" + struct.pack(">Q", 2**62) + b"x")
    peers = []
    for opening in openings * 5:
        peer = socket.create_connection(place, timeout=5)
        peer.sendall(opening)
        peers.append(peer)
    with connect(service.zmq.address) as pointer:
        for _ in range(20):
            assert pointer.point(image, "mug", timeout_s=5.0).count == 1
    for peer in peers:
        peer.close()


def test_a_peer_that_does_not_read_harms_nobody(start: Start, context: Any, image: Array) -> None:
    many = [(n / 1000, 0.5) for n in range(900)]
    service = start(FakePointer({"many": many, "mug": [(0.25, 0.5)]}), limits={"capacity": 32})
    slow = Peer(context, service)
    slow.socket.rcvhwm = 1
    data = png(image)
    for number in range(20):
        slow.send({**QUESTION, "id": str(number), "op": "stream", "query": "many"}, data)
    with connect(service.zmq.address) as pointer:  # type: ignore[union-attr]
        for _ in range(5):
            assert pointer.point(image, "mug", timeout_s=30.0).count == 1


def test_a_message_over_the_limit_costs_its_sender_the_connection_alone(
    start: Start, context: Any, image: Array
) -> None:
    service = start(limits={"max_message_bytes": 100_000})
    with connect(service.zmq.address) as pointer:  # type: ignore[union-attr]
        raw = Peer(context, service)
        raw.send({**QUESTION, "id": "1"}, secrets.token_bytes(200_000))
        assert raw.silent(0.5)
        assert pointer.point(image, "mug").count == 1
        with pytest.raises(UsageError, match="takes 100,000"):
            pointer.point(png_of(400), "mug")


def png_of(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), secrets.token_bytes(3 * side * side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_server_of_another_version_is_named(context: Any) -> None:
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer_error: list[Exception] = []

    def ask() -> None:
        try:
            connect(f"tcp://127.0.0.1:{port}", connect_timeout_s=5.0)
        except Exception as error:
            dealer_error.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    peer, header = router.recv_multipart()
    reply = {"v": 2, "id": json.loads(header)["id"], "type": "hello"}
    router.send_multipart([peer, json.dumps(reply).encode()])
    thread.join(10)
    assert isinstance(dealer_error[0], VersionMismatch)
    assert "version 1" in str(dealer_error[0])


def test_a_server_that_goes_silent_is_gone_or_too_late(context: Any, image: Array) -> None:
    """A ROUTER that says hello and nothing more: the call must end by itself."""
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def hello() -> None:
        peer, header = router.recv_multipart()
        server = {"version": "0", "ready": True, "state": "ready", "max_message_bytes": 10**9,
                  "max_pixels": 10**9, "model": "x"}  # fmt: skip
        reply = {"v": 1, "id": json.loads(header)["id"], "type": "hello", "server": server}
        router.send_multipart([peer, json.dumps(reply).encode()])

    thread = threading.Thread(target=hello)
    thread.start()
    pointer = connect(f"tcp://127.0.0.1:{port}")
    thread.join(10)
    with pytest.raises((ServerGone, TimedOut)):
        pointer.point(image, "mug", timeout_s=0.5)
    pointer.close()


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:*", "tcp://*:*", "tcp://[::]:*"])
def test_without_keys_it_does_not_open_to_the_network(start: Start, address: str) -> None:
    with pytest.raises(UsageError, match=r"--curve-dir .*or say --insecure"):
        Service(FakePointer, ServeOptions(zmq=address, publish=None, http=None))
    with pytest.raises(UsageError, match="--token-file"):
        Service(FakePointer, ServeOptions(zmq=None, http=("0.0.0.0", 0)))


def test_told_to_be_insecure_it_opens() -> None:
    options = ServeOptions(zmq="tcp://0.0.0.0:*", publish=None, http=None, insecure=True)
    with Service(FakePointer, options) as service:
        assert service.zmq is not None
        with connect(service.zmq.address.replace("0.0.0.0", "127.0.0.1")) as pointer:
            assert pointer.model == "fake"


def test_an_address_in_use_is_the_users_mistake(start: Start) -> None:
    service = start(http=True)
    assert service.zmq is not None
    assert service.http is not None
    with pytest.raises(UsageError, match=r"cannot listen at .*in use"):
        Service(FakePointer, ServeOptions(zmq=service.zmq.address, publish=None, http=None))
    port = int(service.http.url.rpartition(":")[2])
    with pytest.raises(UsageError, match=r"cannot listen at .*in use"):
        Service(FakePointer, ServeOptions(zmq=None, http=("127.0.0.1", port)))


@pytest.mark.parametrize("text", ["", "tcp://", "tcp://a", "udp://a:1", "5555", "tcp://a:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected tcp://HOST:PORT"):
        host_of(text)


def test_loopback_is_told_from_the_rest() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost")] == [
        True
    ] * 5
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "gpu", "*", "")] == [False] * 6
    assert host_of("tcp://[::1]:5") == "::1"
    assert host_of("tcp://*:*") == "*"
    assert is_loopback(host_of("ipc:///tmp/x"))


def test_keys_let_in_known_clients_and_nobody_else(
    start: Start, image: Array, tmp_path: Any
) -> None:
    folder = tmp_path / "keys"
    robot, spare = new_client(folder, "robot1"), new_client(folder, "spare")
    for path in (robot, spare, folder / "server.json", folder / "clients" / "robot1.json"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    assert sorted(known_clients(folder).values()) == ["robot1", "spare"]
    service = start(curve_dir=folder)
    address = service.zmq.address  # type: ignore[union-attr]
    with connect(address, key=robot) as pointer:
        assert pointer.point(image, "mug").count == 1
    (folder / "clients" / "spare.json").unlink()  # shut out while the server runs
    with pytest.raises(Refused, match="does not know this client's key"):
        connect(address, key=spare, connect_timeout_s=3.0)
    with pytest.raises((Refused, ServerGone)):
        connect(address, connect_timeout_s=3.0)
    stranger = new_client(tmp_path / "other", "robot1")
    with pytest.raises((Refused, ServerGone)):
        connect(address, key=stranger, connect_timeout_s=3.0)
    with connect(address, key=robot) as pointer:
        assert pointer.point(image, "mug").count == 1


def test_published_points_are_for_known_clients_alone(
    start: Start, image: Array, tmp_path: Any
) -> None:
    folder = tmp_path / "keys"
    robot = new_client(folder, "robot1")
    stranger = new_client(tmp_path / "other", "robot1")
    thief = tmp_path / "thief.key"  # knows the server's public key, but nobody knows the thief's
    thief.write_text(
        json.dumps(
            {**json.loads(stranger.read_text()), "server_public": read_key(robot).server_public}
        )
    )
    service = start(curve_dir=folder)
    assert service.zmq is not None
    assert service.zmq.publish_address is not None
    place = service.zmq.publish_address
    with (
        connect(service.zmq.address, key=robot, camera="front") as pointer,
        subscribe(place, "front", key=robot) as heard,
        subscribe(place, "front") as bare,
        subscribe(place, "front", key=stranger) as strange,
        subscribe(place, "front", key=thief) as stolen,
    ):
        publication = None
        until = time.monotonic() + 10
        while publication is None and time.monotonic() < until:
            pointer.point(image, "mug", stamp_ns=5)
            publication = heard.receive(timeout_s=0.1)
        assert publication is not None
        assert publication.pointing.points[0].x == 0.25
        for _ in range(5):
            pointer.point(image, "mug")
        # Told when it is known, which takes a busy machine more than a second; and told again, since ZeroMQ gives up.
        for _ in range(2):
            with pytest.raises(Refused, match="does not know this client's key"):
                stolen.receive(timeout_s=60.0)
            with pytest.raises(Refused, match="do not agree on how to speak"):
                bare.receive(timeout_s=60.0)
        # A server cannot even read what was meant for another one: it hangs up, and ZeroMQ goes on trying.
        with contextlib.suppress(Refused):
            assert strange.receive(timeout_s=0.5) is None


def test_a_subscription_needs_an_address_and_a_key_file(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="expected an address"):
        subscribe("nonsense")
    with pytest.raises(UsageError, match="cannot be read"):
        subscribe("tcp://127.0.0.1:9", key=tmp_path / "none.key")
    with subscribe("tcp://127.0.0.1:9", "front") as nobody:
        assert nobody.receive(timeout_s=0.05) is None
        nobody.close()


def test_keys_that_cannot_be_are_refused(tmp_path: Any) -> None:
    new_client(tmp_path, "robot1")
    with pytest.raises(UsageError, match="exists: choose another name"):
        new_client(tmp_path, "robot1")
    for name in ("", "../x", "a b", "x" * 65):
        with pytest.raises(UsageError, match="expected a name"):
            new_client(tmp_path, name)
    with pytest.raises(UsageError, match="molmo-point keys new"):
        server_key(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be read"):
        read_key(tmp_path / "none.key")
    secret = json.loads((tmp_path / "robot1.key").read_text())["secret"]
    (tmp_path / "bad.key").write_text(json.dumps({"secret": secret}))
    with pytest.raises(UsageError, match="is not a client's key file") as caught:
        read_key(tmp_path / "bad.key")
    assert secret not in str(caught.value)
    assert secret not in repr(read_key(tmp_path / "robot1.key"))
