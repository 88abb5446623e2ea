"""What a server is started with: a mistake is an error at once, never a server that lets everybody in or nobody."""

from __future__ import annotations

from typing import Any

import pytest

import molmo_point as mp
from molmo_point.errors import UsageError
from molmo_point.service.bind_check import host_port, next_port
from molmo_point.service.http.hosts import Hosts, checked_host, checked_origin
from molmo_point.service.settings import Settings
from molmo_point.testing import FakePointer

httpx = pytest.importorskip("httpx", reason="the extra 'client' is not installed")


def statuses(*headers: dict[str, str | bytes], **options: Any) -> list[int]:
    """Return the status of GET /v1/server under each set of headers, from a server with those options."""
    with mp.serve(FakePointer(), zmq=None, http="127.0.0.1:0", block=False, **options) as server:
        assert server.http is not None
        return [
            httpx.get(f"{server.http.url}/v1/server", headers=one).status_code for one in headers
        ]


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        ("sesame", "as a list of texts, got str"),  # each letter would be a token
        (None, "got NoneType"),
        ([b"sesame"], "bytes is in it"),
        ([None], "NoneType is in it"),
        ([""], "got an empty one"),  # whoever sends none would have it
        (["good", "  "], "got an empty one"),
        (["sesame\n"], "without blanks and line breaks"),
        ([" sesame"], "without blanks and line breaks"),
        (["ses\name"], "without blanks and line breaks"),
    ],
)
def test_tokens_that_are_none_are_refused_and_not_quoted(tokens: Any, problem: str) -> None:
    for http in ("127.0.0.1:0", "0.0.0.0:0"):
        with pytest.raises(UsageError, match=problem) as error:
            mp.serve(FakePointer(), zmq=None, http=http, block=False, tokens=tokens)
        assert "sesame" not in str(error.value)


def test_tokens_beyond_ascii_come_in_either_spelling() -> None:
    given: list[dict[str, str | bytes]] = [
        {},
        {"Authorization": b"Bearer \xf6pen"},
        {"Authorization": b"Bearer \xc3\xb6pen"},
        {"X-Moondream-Auth": b"\xc3\xb6pen"},
        {"Authorization": b"Bearer \xf6pe"},
        {"Authorization": b"Bearer "[:-1]},
        {"Authorization": b"Basic eDrDtnBlbg=="},
    ]
    assert statuses(*given, tokens=["other", "öpen"]) == [401, 200, 200, 200, 401, 401, 200]


@pytest.mark.parametrize("name", ["allow_hosts", "allow_origins", "image_hosts", "aliases"])
def test_a_text_is_no_list_of_texts(name: str) -> None:
    with pytest.raises(UsageError, match=f"expected {name} as a list of texts, got str"):
        statuses(**{name: "robot.example"})


@pytest.mark.parametrize(
    "host",
    ["", "*", "*.", ".", "https://robot.example", "robot.example:8443", "robot.example/", "a b", "a..b", "[robot]:1"],
)  # fmt: skip
def test_a_host_that_no_request_can_name_is_refused(host: str) -> None:
    for name in ("allow_hosts", "image_hosts"):
        with pytest.raises(UsageError, match="expected the name of a host"):
            statuses(**{name: [host]})


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("Robot.Example.", "robot.example:8443"),
        ("robot_1.local", "ROBOT_1.local"),
        ("*.robot.example", "a.robot.example"),
        ("[FD00:0::1]", "[fd00::1]:8000"),
        ("fd00::1", "[fd00::1]"),
        ("10.0.0.5", "10.0.0.5:8000"),
        ("robot.example", "robot.example:"),
    ],
)
def test_hosts_are_compared_however_they_are_written(given: str, asked: str) -> None:
    assert Hosts([checked_host(given)], loopback_only=True).known(asked)
    assert not Hosts([checked_host(given)], loopback_only=True).known("evil.example")


def test_an_origin_is_written_as_browsers_write_it() -> None:
    assert checked_origin("https://A.example:443/") == "https://a.example"
    assert checked_origin("http://a.example:80") == "http://a.example"
    assert checked_origin("http://a.example:443") == "http://a.example:443"
    page: dict[str, str | bytes] = {"Origin": "https://a.example"}
    assert statuses(page, allow_origins=["https://a.example:443"]) == [200]


@pytest.mark.parametrize(
    "text", ["8000", ":8000", "127.0.0.1:", "127.0.0.1:²", "127.0.0.1:65536", "http://127.0.0.1:80", "a:999999999", 8000, None]
)  # fmt: skip
def test_what_is_no_host_and_port_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        host_port(text)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:²", "tcp://127.0.0.1:70000", "a:5555", 5555])
def test_what_is_no_zmq_address_is_refused(address: Any) -> None:
    with pytest.raises(UsageError, match="expected tcp://HOST:PORT"):
        mp.serve(FakePointer(), zmq=address, http=None, block=False)


def test_the_last_port_has_no_neighbour() -> None:
    assert next_port("tcp://127.0.0.1:65534") == "tcp://127.0.0.1:65535"
    with pytest.raises(UsageError, match=r"no port after that of tcp://127\.0\.0\.1:65535"):
        next_port("tcp://127.0.0.1:65535")


def test_off_is_said_as_on_the_command_line() -> None:
    with mp.serve(FakePointer(), zmq="off", http="127.0.0.1:0", block=False) as server:
        assert server.zmq is None
    with mp.serve(FakePointer(), zmq="tcp://127.0.0.1:*", http="off", block=False) as server:
        assert server.http is None


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("capacity", "8"), ("capacity", 8.5), ("capacity", None), ("capacity", True), ("max_pixels", 1e6), ("memory_s", "5"),
        ("memory_s", float("nan")), ("view_idle_s", float("inf")), ("default_timeout_s", None),
    ],
)  # fmt: skip
def test_limits_are_numbers(limit: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"expected {limit} as a (whole )?number above 0, got"):
        mp.serve(FakePointer(), zmq=None, http="127.0.0.1:0", block=False, **{limit: value})
    assert Settings(memory_s=5).memory_s == 5
