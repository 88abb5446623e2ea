"""Web pages of other sites, names of other hosts, and callers who speak in somebody else's name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from starlette.datastructures import Headers

from molmo_point.client import connect
from molmo_point.client.subscribe import subscribe
from molmo_point.errors import UsageError
from molmo_point.images import Array
from molmo_point.service.http.hosts import Hosts, checked_origin
from molmo_point.service.http.openapi import PIXEL
from molmo_point.service.run import Service
from molmo_point.testing import FakePointer
from molmo_point.wire import make_image_payload

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")

BODY = {"image": PIXEL, "query": "mug"}
FOREIGN = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture
def client(start: Callable[..., Service]) -> Iterator[Callable[..., Any]]:
    opened: list[Any] = []

    def begin(**options: Any) -> Any:
        service = start(FakePointer({"mug": [(0.25, 0.5)]}), http=True, **options)
        assert service.http is not None
        opened.append(httpx.Client(base_url=service.http.url, timeout=20))
        opened[-1].service = service
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "file://"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        FOREIGN,
    ],
)
def test_a_foreign_page_is_not_answered(client: Any, headers: dict[str, str]) -> None:
    asking = client()
    for path, body in (
        ("/v1/point", {"json": BODY}),
        ("/v1/point", {"data": {"query": "mug", "camera": "front"}, "files": {"image": b"x"}}),
        ("/v1/chat/completions", {"json": {}}),
        ("/v1/views", {"json": {"image": PIXEL}}),
    ):
        response = asking.post(path, headers=headers, **body)
        assert response.status_code == 403, response.text
        assert "may not ask this server" in response.json()["error"]["message"]
        assert "access-control-allow-origin" not in response.headers
    assert asking.delete("/v1/requests/1", headers=headers).status_code == 403
    assert asking.service.dispatcher.metrics.value(
        "molmo_point_requests_total", op="point", transport="http", outcome="found"
    ) == 0  # fmt: skip


def test_no_second_header_speaks_for_the_first(client: Any) -> None:
    asking = client()
    own = str(asking.base_url)
    for name, good, bad in (
        ("Origin", own, "http://evil.example"),
        ("Sec-Fetch-Site", "none", "cross-site"),
    ):
        for values in ((good, bad), (bad, good)):
            headers = [(name, value) for value in values]
            assert asking.post("/v1/point", json=BODY, headers=headers).status_code == 403, values
        headers = [(name, good), (name, good)]
        assert asking.post("/v1/point", json=BODY, headers=headers).status_code == 200


def test_the_own_page_programs_and_links_are_answered(client: Any) -> None:
    asking = client()
    own = {"Origin": str(asking.base_url), "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, own, {"Sec-Fetch-Site": "none"}):
        assert asking.post("/v1/point", json=BODY, headers=headers).json()["count"] == 1
    # A link on another site to the page is no question of that site.
    assert asking.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert asking.get("/v1/server", headers=FOREIGN).status_code == 403


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/query", "/v1/caption", "/v1/point"])
def test_json_must_be_said_to_be_json(client: Any, path: str) -> None:
    # A page may send text/plain without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = client().post(path, content=json.dumps(BODY), headers={"Content-Type": kind})
        assert response.status_code == 400
        assert "expected Content-Type application/json" in response.json()["error"]["message"]


def test_json_as_other_programs_write_it(client: Any) -> None:
    asking = client()
    body = json.dumps(BODY).encode()
    kind = {"Content-Type": "application/json"}
    marked = asking.post("/v1/point", content=b"\xef\xbb\xbf" + body, headers=kind)
    assert marked.json()["count"] == 1
    packed = gzip.compress(body)
    refused = asking.post(
        "/v1/point", content=packed, headers={**kind, "Content-Encoding": "gzip"}
    )
    assert refused.status_code == 415
    assert "expected a body as it is" in refused.json()["error"]["message"]
    plain = asking.post(
        "/v1/point", content=body, headers={**kind, "Content-Encoding": "identity"}
    )
    assert plain.json()["count"] == 1


def test_an_allowed_origin_may_ask_and_read(client: Any) -> None:
    asking = client(allow_origins=["https://app.example.com/"], tokens=["s3cret"])
    page = {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}
    first = asking.options(
        "/v1/point", headers={**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    )  # fmt: skip
    assert first.status_code == 200
    assert first.headers["access-control-allow-origin"] == "https://app.example.com"
    headers = {**page, "Authorization": "Bearer s3cret"}
    answer = asking.post("/v1/point", json=BODY, headers=headers)
    assert answer.json()["count"] == 1
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert asking.post("/v1/point", json=BODY, headers=page).status_code == 401
    other = {**headers, "Origin": "https://evil.example"}
    refusal = asking.post("/v1/point", json=BODY, headers=other)
    assert refusal.status_code == 403
    assert "access-control-allow-origin" not in refusal.headers


@pytest.mark.parametrize("text", ["*", "app.example.com", "https://", "https://a/b", "ftp://a"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected an origin"):
        checked_origin(text)


def test_a_proxy_may_pass_its_own_name_on(client: Any) -> None:
    asking = client(allow_hosts=["robot.example", "*.inner.example"])
    for host in ("robot.example", "Robot.Example:443", "a.inner.example", "localhost:1"):
        assert asking.get("/healthz", headers={"Host": host}).status_code == 200, host
    for host in ("robot.example.evil.com", "inner.example", "evil.example", ""):
        assert asking.get("/healthz", headers={"Host": host}).status_code == 403, host
    page = {"Host": "robot.example", "Origin": "https://robot.example"}
    assert asking.post("/v1/point", json=BODY, headers=page).status_code == 200
    # A proxy that puts the server's own address into Host.
    page = {"Origin": "https://robot.example", "Sec-Fetch-Site": "same-origin"}
    assert asking.post("/v1/point", json=BODY, headers=page).status_code == 200


def test_one_name_space_for_each_transport(client: Any, image: Array) -> None:
    service = client().service
    with httpx.Client(base_url=service.http.url, headers={"X-Client-Id": "robot"}) as http:
        http.post("/v1/point", json=BODY, headers={"X-Request-Id": "1"})
    context: zmq.Context[Any] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.connect(service.zmq.address)
    for name in ("robot", "http:None:client:robot", "http-127.0.0.1"):
        peer.send(json.dumps({"v": 1, "id": "1", "client": name, "op": "again"}).encode())
        assert peer.poll(10_000)
        assert json.loads(peer.recv())["error"]["kind"] == "unknown_request"
    context.destroy(0)


def test_a_request_id_without_a_client_id_is_a_trace_id(client: Any) -> None:
    asking = client()
    trace = {"X-Request-Id": "trace-7"}
    for query in ("mug", "cup", "mug"):
        answer = asking.post("/v1/point", json={**BODY, "query": query}, headers=trace)
        assert answer.json()["query"] == query
    assert len(asking.service.dispatcher.metrics.text()) > 0
    assert (
        asking.service.dispatcher.metrics.value("molmo_point_repeated_total", transport="http")
        == 0
    )
    refusal = asking.delete("/v1/requests/trace-7")
    assert "expected the X-Client-Id" in refusal.json()["error"]["message"]


def test_only_its_owner_publishes_under_a_camera(client: Any, image: Array) -> None:
    service = client().service
    image = bytes(make_image_payload(image, "png").data)
    with (
        subscribe(service.zmq.publish_address, "front") as heard,
        connect(service.zmq.address, camera="front") as robot,
        connect(service.zmq.address, camera="front") as stranger,
        httpx.Client(base_url=service.http.url) as http,
    ):
        publication = None
        for number in range(50):
            robot.point(image, "mug", stamp_ns=number)
            publication = publication or heard.receive(timeout_s=0.1)
        while heard.receive(timeout_s=0.2) is not None:
            pass
        assert publication is not None
        assert stranger.point(image, "mug", stamp_ns=1000).count == 1  # answered, not published
        fields = {"query": "mug", "camera": "front", "stamp_ns": "1001"}
        assert http.post("/v1/point", data=fields, files={"image": image}).json()["count"] == 1
        robot.point(image, "mug", stamp_ns=1002)
        last = heard.receive(timeout_s=5.0)
        assert last is not None
        assert last.pointing.stamp_ns == 1002


def test_a_key_is_who_the_caller_is_whatever_it_calls_itself(
    start: Callable[..., Service], image: Array, tmp_path: Any, monkeypatch: Any
) -> None:
    from molmo_point.service.request_queue import RequestQueue
    from molmo_point.service.zmq.keys import new_client

    folder = tmp_path / "keys"
    key = new_client(folder, "robot1")
    service = start(FakePointer({"mug": [(0.25, 0.5)]}), curve_dir=folder)
    seen = []
    put = RequestQueue.put
    monkeypatch.setattr(
        RequestQueue, "put", lambda line, job: (seen.append(job), put(line, job))[1]
    )
    for _ in range(2):
        with connect(service.zmq.address, key=key) as robot:  # type: ignore[union-attr]
            for _ in range(2):
                robot.point(image, "mug")
    assert len({job.turn[0] for job in seen}) == len({job.camera_owner for job in seen}) == 1
    assert "key" in seen[0].turn[0]
    assert len({job.caller for job in seen}) == 2


@pytest.mark.parametrize(
    ("allowed", "host", "origin", "own"),
    [
        # One of these names is another site's.
        (["*.example.com"], "robot.example.com", "https://evil.example.com", False),
        (["*.example.com"], "robot.example.com", "https://robot.example.com", True),
        (["*.example.com"], "robot.example.com:8443", "https://robot.example.com:8443", True),
        # Another program of the same machine.
        (["robot.example"], "robot.example:8443", "https://robot.example:9999", False),
        (["robot.example"], "robot.example:8443", "https://robot.example", False),
        # Proxies: without the port, and with another name in Host.
        (["robot.example"], "robot.example", "https://robot.example:8443", True),
        (["robot.example"], "127.0.0.1:8000", "https://robot.example", True),
        (["*.example.com"], "localhost:8000", "https://robot.example.com", True),
        (["robot.example", "upstream"], "upstream:8000", "https://robot.example", True),
        (["robot.example"], "127.0.0.1:8000", "https://evil.example", False),
        # Spellings of one name.
        ([], "LOCALHOST.:8000", "http://localhost:8000", True),
        ([], "[::1]:8000", "http://[0:0::1]:8000", True),
        ([], "localhost", "http://localhost:3000", False),
        ([], "localhost:80", "http://localhost", True),
        ([], "localhost:8000", "http://127.0.0.1:8000", False),
        ([], "localhost:8000", "ftp://localhost:8000", False),
        ([], "localhost:8000", "http://localhost:port", False),
        ([], "localhost:8000", "http:localhost:8000", False),
        ([], "localhost:8000", "", False),
    ],
)
def test_which_page_is_this_server_s_own(
    allowed: list[str], host: str, origin: str, own: bool
) -> None:
    hosts = Hosts(allowed, loopback_only=True)
    assert hosts.known(host)
    headers = Headers({"host": host, "origin": origin})
    assert hosts.own_page(headers, "POST", []) is own
