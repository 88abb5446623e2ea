"""A SOCKS5 proxy on loopback that lets a browser connect only where the policy allows: the layer beneath the page.

Request interception sees what documents ask for. Workers' WebSockets, speculation rules, FedCM, payment manifests, reports and
preconnects are started by the browser itself, and none of them passes through it; but every one of them needs a connection.
Chromium hands a SOCKS5 proxy each connection with its host's name, so names are resolved here, after the policy was asked.

A browser or a context is started with a relay of its own (`browser.launch_arguments`, `browser.context_options`) before any
policy is known: until a pointer is attached, everything passes. `RequestFilter` finds out at attach time which relay a page's
connections go through, by asking for an address that only a relay answers.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ipaddress
import os
import secrets
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from molmo_agents.defaults import RELAY_TIMEOUT_S
from molmo_agents.origins import SCHEMES, Origin
from molmo_agents.policy import Rules

T = TypeVar("T")

SIGN = "molmo-relay.invalid"
"""The host that a relay answers for itself: names under .invalid exist nowhere else (RFC 2606)."""

CHUNK = 65536
_OK, _FAILED, _FORBIDDEN, _UNREACHABLE, _REFUSED, _UNSUPPORTED = 0, 1, 2, 4, 5, 7
_TLS = 0x16
"""First byte of every TLS connection; HTTP begins with a letter."""


class Relay:
    """One listening port, and the policies that hold for what connects through it.

    Attributes:
        shared: It serves a whole browser, so perhaps several contexts.
        bound: It ends with the context that it serves.
    """

    def __init__(self, shared: bool = False) -> None:
        self.shared = shared
        self.bound = False
        self.token = secrets.token_hex(16)
        self.port = 0
        self.refused: deque[str] = deque(maxlen=1000)
        """The latest connections that were not made, as "host:port"."""
        self._armed: list[Rules] = []
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, tuple[str, int]] = {}
        # The loop holds tasks weakly only: one that nobody holds may be gone in the middle of a transfer.
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def address(self) -> str:
        """For `--proxy-server` and Playwright's `proxy=`."""
        return f"socks5://127.0.0.1:{self.port}"

    def arm(self, rules: Rules) -> None:
        """Hold `rules` from now on, besides those of other pointers; connections they do not allow are cut."""
        self._armed.append(rules)
        _loop().run(self._cut())

    def disarm(self, rules: Rules) -> None:
        """Take `rules` back; without any, everything passes again."""
        self._armed = [other for other in self._armed if other is not rules]

    def close(self) -> None:
        """Stop listening and cut every connection."""
        _loop().run(self._close())
        _loop().relays.pop(self.token, None)

    async def listen(self) -> None:
        """Take a free loopback port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def allows(self, host: str, port: int, *schemes: str) -> bool:
        """Whether every policy allows a connection to `host` under one of `schemes` (http, https; any by default)."""
        asked = [Origin(scheme, host.lower(), port) for scheme in schemes or SCHEMES]
        return all(any(rules.connection(origin) for origin in asked) for rules in self._armed)

    async def _cut(self) -> None:
        for writer, (host, port) in list(self._open.items()):
            if not self.allows(host, port):
                self.refused.append(f"{host}:{port}")
                writer.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            host, port = await asyncio.wait_for(_asked_for(reader, writer), RELAY_TIMEOUT_S)
            if host == SIGN:
                await self._sign(reader, writer)
            elif not self.allows(host, port):
                self.refused.append(f"{host}:{port}")
                await _answer(writer, _FORBIDDEN)
            else:
                await self._connect(reader, writer, host, port)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            # The browser let go, or what connected is no browser.
            pass
        except asyncio.CancelledError:
            # This relay was closed; nobody waits for this task.
            pass
        finally:
            self._tasks.discard(task)
            self._open.pop(writer, None)
            writer.close()

    async def _sign(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(writer, _OK)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), RELAY_TIMEOUT_S)
        body = self.token.encode()
        head = ["HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
        head += ["Cache-Control: no-store", "Connection: close", "", ""]
        writer.write("\r\n".join(head).encode() + body)
        await writer.drain()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        try:
            there, back = await asyncio.wait_for(_dial(host, port), RELAY_TIMEOUT_S)
        except ConnectionRefusedError:
            return await _answer(writer, _REFUSED)
        except (OSError, EOFError, asyncio.TimeoutError):
            return await _answer(writer, _UNREACHABLE)
        self._open[writer] = (host, port)
        try:
            await _answer(writer, _OK)
            first = await reader.read(CHUNK)
            # An origin is allowed with its scheme: nothing is said in clear text to a host that is allowed for https only.
            if not first or not self.allows(host, port, "https" if first[0] == _TLS else "http"):
                return None
            back.write(first)
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()
        return None


class _Loop:
    """The event loop of all relays of this process, in a thread of its own."""

    def __init__(self) -> None:
        self.relays: dict[str, Relay] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="molmo-relay", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(RELAY_TIMEOUT_S)


@functools.cache
def _loop_of(process: int) -> _Loop:
    return _Loop()


def _loop() -> _Loop:
    # A forked process has no threads but its own: it needs a loop of its own.
    return _loop_of(os.getpid())


def start(*, shared: bool = False) -> Relay:
    """Start a relay on a free loopback port; it ends with `close`, or with this process."""
    relay, loop = Relay(shared), _loop()
    loop.run(relay.listen())
    loop.relays[relay.token] = relay
    return relay


def find(token: str) -> Relay | None:
    """Return the relay of this process that gave `token` as its sign, or None."""
    return _loop().relays.get(token.strip())


async def _asked_for(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, int]:
    """Read a SOCKS5 greeting and request (RFC 1928) and return host and port."""
    version, methods = await reader.readexactly(2)
    if version != 5:
        raise ValueError(f"expected SOCKS version 5, got {version}")
    await reader.readexactly(methods)
    writer.write(b"\x05\x00")
    _, command, _, kind = await reader.readexactly(4)
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("ascii")
    elif kind in (1, 4):
        host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
    else:
        raise ValueError(f"expected a host name or an address, got kind {kind}")
    port = int.from_bytes(await reader.readexactly(2), "big")
    if command != 1:
        await _answer(writer, _UNSUPPORTED)
        raise ValueError(f"expected the command CONNECT, got {command}")
    return host.strip("[]"), port


async def _answer(writer: asyncio.StreamWriter, code: int) -> None:
    writer.write(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
    await writer.drain()


async def _dial(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a server: directly, or through the HTTP proxy that the environment names for it."""
    given = getproxies().get("https" if port == 443 else "http", "")
    local = host == "localhost" or host.endswith(".localhost")
    if local or not given or proxy_bypass(host):
        # Names under .localhost are this machine's, whatever a name server says (RFC 6761).
        return await asyncio.open_connection("localhost" if local else host, port)
    upstream = urlsplit(given if "//" in given else f"http://{given}")
    reader, writer = await asyncio.open_connection(upstream.hostname, upstream.port or 80)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if upstream.username:
        pair = f"{unquote(upstream.username)}:{unquote(upstream.password or '')}"
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(pair.encode()).decode())
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        writer.close()
        raise OSError(f"the proxy {upstream.hostname} does not connect to {target}")
    return reader, writer


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy bytes until the source ends; the other direction may go on, unless a connection broke."""
    try:
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
    except OSError:
        sink.transport.abort()
