"""Addresses, network settings of the shell, and servers that are not there: one sentence of ours for each."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from molmo_point.client import connect
from molmo_point.client.address import http_address, is_loopback, zmq_address
from molmo_point.client.diagnosis import why_silent
from molmo_point.client.subscribe import subscribe
from molmo_point.errors import PointError, ServerGone, ServiceError, UsageError
from molmo_point.service.run import ServeOptions, Service
from molmo_point.testing import FakePointer

pytest.importorskip("httpx", reason="the extra 'client' is not installed")

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[str]:
    options = ServeOptions(zmq=None, publish=None, http=("127.0.0.1", 0))
    service = Service(lambda: FakePointer({"mug": [(0.25, 0.5)]}), options)
    service.start()
    assert service.http is not None
    yield service.http.url
    service.stop()


class _Page(http.server.BaseHTTPRequestHandler):
    """A web server of another kind."""

    answer: tuple[int, bytes, dict[str, str]] = (200, b"<html>hello</html>", {})

    def do_GET(self) -> None:
        status, body, headers = self.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def page() -> Iterator[tuple[type[_Page], int]]:
    kind = type("Page", (_Page,), {})
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield kind, web.server_address[1]
    web.shutdown()
    web.server_close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (5, "as text, such as tcp://gpu:5555, got int"),
        (None, "got NoneType"),
        ("gpu:5555", "expected tcp://HOST:PORT or http://HOST:PORT"),
        ("udp://gpu:5555", "expected tcp://HOST:PORT or http://HOST:PORT"),
        ("tcp://gpu", "the port is missing"),
        ("tcp://gpu:", "the port is missing"),
        ("tcp://:5555", "expected an address like tcp://gpu:5555"),
        ("tcp://gpu:abc", "expected an address like tcp://gpu:5555"),
        ("tcp://gpu:99999", "expected an address like tcp://gpu:5555"),
        ("tcp://gpu:5555/points", "nothing comes after the port"),
        ("http://", "expected an address like http://gpu:8000"),
        ("http://gpu:x", "expected an address like http://gpu:8000"),
        ("http://gpu:8000?key=1", "leave out what follows"),
        ("http://me:secret@gpu:8000", "give token="),
        ("http://[::1", "expected an address like http://gpu:8000"),
        ("http://g pu:8000", "expected an address like http://gpu:8000"),
    ],
)
def test_wrong_addresses_are_refused_before_anything_is_connected(url: Any, words: str) -> None:
    with pytest.raises(UsageError, match="expected") as caught:
        connect(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("tcp://127.0.0.1:9", {"token": "x"}, "unknown option token"),
        ("http://127.0.0.1:9", {"key": "x"}, "unknown option key"),
        ("tcp://127.0.0.1:9", {"timeout_s": "a"}, "expected timeout_s above 0 s, got 'a'"),
        ("tcp://127.0.0.1:9", {"timeout_s": 0}, "expected timeout_s above 0 s"),
        ("http://127.0.0.1:9", {"connect_timeout_s": -1}, "expected connect_timeout_s above 0 s"),
        ("http://127.0.0.1:9", {"gone_after_s": None}, "expected gone_after_s above 0 s"),
        ("tcp://127.0.0.1:9", {"arrays": "tiff"}, "expected arrays to be one of raw, png, jpeg"),
        ("tcp://127.0.0.1:9", {"camera": "a/b"}, "camera"),
        ("http://127.0.0.1:9", {"token": "a\nb"}, "the token holds characters"),
        ("http://127.0.0.1:9", {"token": 5}, "expected the token as text"),
        ("tcp://127.0.0.1:9", {"key": 5}, "expected the path of a key file"),
    ],
)
def test_wrong_options_are_refused_by_name(url: str, options: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        connect(url, **options)
    assert words in str(caught.value)


def test_forms_of_right_addresses() -> None:
    assert zmq_address(" TCP://gpu:5555 ") == "tcp://gpu:5555"
    assert zmq_address("tcp://[::1]:5555/") == "tcp://[::1]:5555"
    assert zmq_address("ipc:///run/points") == "ipc:///run/points"
    for url in (
        "http://gpu:8000",
        "HTTP://gpu:8000/",
        "http://gpu:8000/v1",
        "http://gpu:8000/v1/",
    ):
        assert http_address(url) == "http://gpu:8000"
    assert http_address("https://host/models/v1/chat/completions") == "https://host/models"
    assert http_address("https://host/v10") == "https://host/v10"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("a.localhost.", True),
        ("127.0.0.1", True),
        ("127.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("gpu", False),
        ("128.0.0.1", False),
        ("127.gpu.example", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ("all_proxy", "socks://127.0.0.1:1"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "nonsense"),
        ("NO_PROXY", "[::1]:80"),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
        ("SSL_CERT_DIR", "/no/such"),
    ],
)
def test_loopback_servers_are_reached_whatever_the_shell_says(
    server: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with connect(server.replace("http:", "HTTP:") + "/v1", connect_timeout_s=30) as pointer:
        assert pointer.model == "fake"


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("ALL_PROXY", "socks://me:secret@127.0.0.1:1", "http://gpu.invalid:8000"),
        ("HTTPS_PROXY", "gopher://127.0.0.1:1", "https://gpu.invalid"),
        ("SSL_CERT_FILE", "/no/such/file.pem", "https://gpu.invalid"),
        ("NO_PROXY", "[::1]:80", "http://gpu.invalid:8000"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, url: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(
        UsageError, match=r"network settings of this environment.*" + name
    ) as caught:
        connect(url, connect_timeout_s=0.2)
    assert "secret" not in str(caught.value)


def test_broken_certificates_do_not_matter_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    with pytest.raises(ServerGone, match=r"nobody answers at http://gpu\.invalid:8000"):
        connect("http://gpu.invalid:8000", connect_timeout_s=0.2)


def test_a_dead_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:1")
    named = r"through the proxy HTTP_PROXY=http://127\.0\.0\.1:1 .*NO_PROXY"
    with pytest.raises(ServerGone, match=named) as caught:
        connect("http://gpu.invalid:8000", connect_timeout_s=0.2)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html></html>", {}), "answered 200 without JSON: is it a molmo-point server?"),
        ((200, b'{"models": []}', {}), "no molmo-point server, or one of another version"),
        ((404, b'{"detail": "no"}', {}), "answered 404: is it a molmo-point server?"),
        ((502, b"bad gateway", {}), "answered 502 without JSON"),
        ((301, b"", {"Location": "https://elsewhere/"}), "has moved to https://elsewhere/"),
        ((200, b"no gzip at all", {"Content-Encoding": "gzip"}), "cannot be asked: DecodingError"),
        ((200, b"[" * 100_000, {}), "without JSON"),
    ],
)
def test_servers_of_another_kind(page: Any, answer: Any, words: str) -> None:
    kind, port = page
    kind.answer = answer
    with pytest.raises(ServiceError) as caught:
        connect(f"http://127.0.0.1:{port}", connect_timeout_s=5)
    assert words in str(caught.value)


def test_zmq_at_an_http_port_and_http_at_a_zmq_port(page: Any) -> None:
    port = page[1]
    with pytest.raises(PointError, match=rf"use http://127\.0\.0\.1:{port}|no ZeroMQ server"):
        connect(f"tcp://127.0.0.1:{port}", connect_timeout_s=0.3)
    context: zmq.Context[Any] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    bound = router.bind_to_random_port("tcp://127.0.0.1")
    with pytest.raises(ServerGone, match=r"no HTTP server answers .* begins with tcp://"):
        connect(f"http://127.0.0.1:{bound}", connect_timeout_s=0.3)
    router.close()
    context.term()


def test_why_nobody_answers() -> None:
    assert "'no-such-host.invalid' is not known here" in why_silent(
        "tcp://no-such-host.invalid:5555"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert f"nothing listens on port {port}" in why_silent(f"tcp://127.0.0.1:{port}")
        free.listen()
        assert "something listens there" in why_silent(f"tcp://127.0.0.1:{port}")
    with pytest.raises(ServerGone, match=r"within 0\.2 s: the name 'no-such-host\.invalid'"):
        connect("tcp://no-such-host.invalid:5555", connect_timeout_s=0.2)


def test_a_certificate_authority_is_still_read_for_https_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "authority.pem"
    broken.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(broken))
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        connect("https://127.0.0.1:9", connect_timeout_s=0.2)


@pytest.mark.parametrize(
    ("url", "camera"),
    [(5, None), ("tcp://gpu", None), ("http://gpu:1", None), ("tcp://gpu:1", "a/b"), ("tcp://gpu:1", "caf\udce9")],
)  # fmt: skip
def test_subscriptions_check_where_and_to_what(url: Any, camera: Any) -> None:
    with pytest.raises(UsageError, match="expected"):
        subscribe(url, camera)
