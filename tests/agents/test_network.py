"""The network beneath the page: whatever a page sets going, nothing reaches a host that the policy does not name."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from molmo_agents import Options, PageUnusable, Policy, WebPointer
from molmo_agents.browser import relay
from molmo_agents.browser.launch import (
    Screen,
    context_options,
    find_chromium,
    launch,
    launch_arguments,
)
from molmo_agents.browser.restraint import content_policy, restrained
from molmo_agents.policy import Rules

from molmo_point.testing import FakePointer
from tests.agents.canary import Canary, canaries
from tests.agents.conftest import Site

pytestmark = pytest.mark.browser
EVIL, OTHER_SITE = "127.0.0.2", "127.0.0.3"

SOCKETS = """<script>
new Worker(URL.createObjectURL(new Blob(["new WebSocket('ws://HOST/worker')"])));
new Worker("data:text/javascript,new WebSocket('ws://HOST/dataworker')");
new SharedWorker(URL.createObjectURL(new Blob(["new WebSocket('ws://HOST/shared')"])));
try { new WebSocketStream('ws://HOST/stream') } catch (e) {}
new WebSocket('ws://HOST/page');
</script><iframe sandbox=allow-scripts srcdoc="<script>new WebSocket('ws://HOST/sandbox')</script>"></iframe>"""
RULES = (
    "<script type=speculationrules>"
    + json.dumps(
        {
            "prefetch": [{"urls": ["http://HOST/prefetch", "/away"], "eagerness": "immediate"}],
            "prerender": [{"urls": ["/away2"], "eagerness": "immediate"}],
        }
    )
    + "</script>"
)
BROWSER = """<link rel=preconnect href='http://HOST'><link rel=dns-prefetch href='http://HOST'><script>
const quiet = () => 0;
const total = { label: 'x', amount: { currency: 'USD', value: '1' } };
try { new PaymentRequest([{ supportedMethods: 'https://HOST/pay' }], { total }).canMakePayment().catch(quiet) } catch (e) {}
navigator.credentials.get({ identity: { providers: [{ configURL: 'http://HOST/fed.json', clientId: '1' }] } }).catch(quiet);
new Image().src = 'http://HOST/image'; fetch('http://HOST/fetch', { mode: 'no-cors' }).catch(quiet);
</script>"""
DATAGRAMS = """<script>
const peer = new RTCPeerConnection({ iceServers: [{ urls: 'stun:HOST' }] });
peer.createDataChannel('x'); peer.createOffer().then((offer) => peer.setLocalDescription(offer));
try { new WebTransport('https://HOST/transport') } catch (e) {}
</script>"""
EVERYTHING = SOCKETS + RULES + BROWSER + DATAGRAMS
LEAVING = "<script>location = 'http://HOST/location'</script>"


def serve(site: Site, html: str, canary: Canary) -> None:
    site.routes["/"] = "<!doctype html><title>page</title>" + html.replace("HOST", canary.host)
    for path in ("/away", "/away2"):
        site.routes[path] = (302, {"Location": canary.url + path}, b"")


@contextlib.contextmanager
def one_context(pw: Any, folder: Path) -> Iterator[Any]:
    browser = launch(pw)
    yield browser.new_context(**context_options(Screen(600, 400))).new_page()
    browser.close()


@contextlib.contextmanager
def two_contexts(pw: Any, folder: Path) -> Iterator[Any]:
    browser = launch(pw)
    browser.new_context().new_page().goto("about:blank")
    yield browser.new_context(**context_options(Screen(600, 400))).new_page()
    browser.close()


@contextlib.contextmanager
def persistent(pw: Any, folder: Path) -> Iterator[Any]:
    context = pw.chromium.launch_persistent_context(
        str(folder),
        executable_path=find_chromium(),
        args=launch_arguments(),
        service_workers="block",
        timeout=60_000,
    )
    yield context.pages[0]
    context.close()


@contextlib.contextmanager
def attached(pw: Any, folder: Path, arguments: list[str] | None = None) -> Iterator[Any]:
    """A browser that others started, over CDP."""
    own = ["--no-sandbox", "--disable-gpu"] if arguments is None else arguments
    command = [find_chromium(), *own, "--headless", "--remote-debugging-port=0"]
    chrome = subprocess.Popen(
        [*command, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        file = folder / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (file.exists() and file.read_text().strip()) and time.monotonic() < end:
            time.sleep(0.05)
        port = file.read_text().splitlines()[0]
        browser = pw.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", timeout=60_000)
        yield browser.contexts[0].new_page()
    finally:
        chrome.kill()
        chrome.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def attached_with_ours(pw: Any, folder: Path) -> Any:
    return attached(pw, folder, launch_arguments())


WAYS: dict[str, Callable[[Any, Path], Any]] = {
    "one context": one_context,
    "two contexts": two_contexts,
    "persistent": persistent,
    "our arguments over CDP": attached_with_ours,
}


def visit(page: Any, site: Site, policy: Policy, wait_ms: int = 1500) -> WebPointer:
    web = WebPointer(page, FakePointer(), policy, Options(settle_load_s=1.0))
    web.attach()
    assert web.goto(site.url + "/", timeout_s=30).status.value in ("delivered", "blocked_origin")
    page.wait_for_timeout(wait_ms)
    return web


def seen(page: Any, canary: Canary, paths: set[str]) -> bool:
    """Wait until all of `paths` were asked of a canary, at most 30 s: a busy machine takes its time."""
    for _ in range(300):
        if paths <= {event.split(" ")[1] for event in canary.events if " " in event}:
            return True
        page.wait_for_timeout(100)
    return False


@pytest.mark.parametrize("way", WAYS)
def test_nothing_reaches_a_foreign_host(
    chromium: str, site: Site, tmp_path: Path, way: str
) -> None:
    """Sockets of workers, speculation rules, FedCM, payment, preconnects, WebRTC: not even a connection."""
    from playwright.sync_api import sync_playwright

    with canaries(EVIL) as (evil,), sync_playwright() as pw, WAYS[way](pw, tmp_path) as page:
        serve(site, EVERYTHING, evil)
        web = visit(page, site, Policy(origins=(site.url,)))
        assert web.unheld == ""
        assert evil.events == []
        serve(site, LEAVING, evil)
        assert web.goto(site.url + "/").ok or page.url != evil.url
        page.wait_for_timeout(300)
        assert evil.events == []
        web.close()
        # The same page without a policy: the vectors are real.
        serve(site, SOCKETS, evil)
        page.goto(site.url + "/")
        assert seen(page, evil, {"/worker"})


def test_a_browser_of_others_is_held_by_its_documents(
    chromium: str, site: Site, tmp_path: Path
) -> None:
    """No relay: what a document starts is refused by the browser; what is not held is said, and can be refused."""
    from playwright.sync_api import sync_playwright

    with canaries(EVIL) as (evil,), sync_playwright() as pw, attached(pw, tmp_path) as page:
        serve(site, SOCKETS + RULES + BROWSER.replace("<link rel=preconnect", "<link"), evil)
        web = visit(page, site, Policy(origins=(site.url,)))
        assert "not started with" in web.unheld
        assert [event for event in evil.events if event != "connection"] == []
        web.close()
        strict = WebPointer(page, FakePointer(), Policy(origins=(site.url,), closed_network=True))
        for _ in range(2):
            # The second time, too: a pointer without its gate does nothing.
            with pytest.raises(PageUnusable):
                strict.goto(site.url + "/")


def test_what_is_allowed_works_through_the_relay(browser: Any, site: Site) -> None:
    """Pages, subresources, WebSockets' host by scheme, a name, and a server that is not there."""
    with canaries(EVIL, OTHER_SITE) as (allowed, forbidden):
        page = browser.new_context(**context_options(Screen(600, 400))).new_page()
        serve(site, SOCKETS + "<img src='http://HOST/image'>", allowed)
        policy = Policy(origins=(site.url, site.other_url), resources=(allowed.url,))
        with WebPointer(page, FakePointer(), policy) as web:
            assert web.goto(site.url + "/").ok
            assert seen(page, allowed, {"/worker", "/shared", "/stream", "/page", "/image"})
            assert web.goto(site.other_url + "/").ok
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                port = unused.getsockname()[1]
            nobody = WebPointer(
                page.context.new_page(),
                FakePointer(),
                Policy(origins=(f"http://127.0.0.1:{port}", site.url, site.other_url)),
            )
            assert nobody.goto(f"http://127.0.0.1:{port}/").status == "error"
            nobody.close()
        assert forbidden.events == []
        page.context.close()


def test_contexts_that_share_a_relay_are_not_held_to_one_policy(browser: Any, site: Site) -> None:
    """A plain context next to another plain one: other people's pages go on, and the pointer says what is not held."""
    site.routes["/"] = "<p>page"
    with canaries(EVIL) as (elsewhere,):
        other, mine = browser.new_context().new_page(), browser.new_context().new_page()
        other.goto(site.url + "/")
        with WebPointer(mine, FakePointer(), Policy(origins=(site.url,))) as web:
            assert web.goto(site.url + "/").ok
            assert "shares its connections" in web.unheld
            assert other.goto(elsewhere.url + "/").status == 200
        other.context.close()
        mine.context.close()


def test_frames_inside_another_site_s_frame_are_frames(browser: Any, site: Site) -> None:
    """A player in an ad: its frame, and where that is redirected to, are judged as resources."""
    with canaries(EVIL) as (player,):
        site.routes["/"] = f"<iframe src='{site.other_url}/ad'></iframe>"
        site.routes["/ad"] = f"<iframe src='{site.url}/moved'></iframe>"
        site.routes["/moved"] = (302, {"Location": player.url + "/player"}, b"")
        page = browser.new_context(**context_options(Screen(600, 400))).new_page()
        for resources in ((site.other_url, player.url), ("*",)):
            policy = Policy(origins=(site.url,), resources=resources)
            with WebPointer(page, FakePointer(), policy) as web:
                assert web.goto(site.url + "/").status == "delivered"
                page.wait_for_timeout(300)
                assert web.blocked_requests == 0
                assert player.url + "/player" in [frame.url for frame in page.frames]
        page.context.close()


def rules(*origins: str, resources: tuple[str, ...] | None = None) -> Rules:
    return Rules.of(Policy(origins=origins, resources=resources))


def test_a_relay_allows_by_host_port_and_scheme() -> None:
    one = relay.Relay()
    assert one.allows("anything.example", 25)
    one._armed = [rules("https://shop.example", "http://127.0.0.1:8000", "https://*.cdn.example")]
    assert one.allows("SHOP.example", 443, "https")
    assert not one.allows("shop.example", 443, "http")
    assert not one.allows("shop.example", 80)
    assert one.allows("127.0.0.1", 8000, "http")
    assert not one.allows("127.0.0.1", 8001)
    assert one.allows("a.b.cdn.example", 443)
    assert not one.allows("cdn.example", 443)
    one._armed.append(rules("https://shop.example"))
    assert not one.allows("127.0.0.1", 8000)
    one._armed = [rules("https://shop.example", resources=("*",))]
    assert one.allows("anything.example", 8443)


def ask(port: int, host: bytes, there: int, first: bytes) -> tuple[int, bytes]:
    """Connect through a relay as Chromium does; return its code and what came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.settimeout(10)
        s.sendall(b"\x05\x01\x00")
        assert s.recv(2) == b"\x05\x00"
        s.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + there.to_bytes(2, "big"))
        code = s.recv(10)[1]
        if code:
            return code, b""
        s.sendall(first)
        with contextlib.suppress(ConnectionError):
            return code, s.recv(4096)
        return code, b""


def test_a_relay_speaks_socks() -> None:
    """Names are resolved there; clear text is not sent to a host that is allowed for https only; policies cut what is open."""
    own = relay.start()
    request = b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n"
    with canaries("127.0.0.1", EVIL) as (near, far):
        assert b"200 OK" in ask(own.port, b"app.localhost", near.port, request)[1]
        _, sign = ask(own.port, relay.SIGN.encode(), 80, request)
        assert relay.find(sign.split(b"\r\n\r\n")[1].decode()) is own
        allowed = rules(f"https://{EVIL}:{far.port}")
        own.arm(allowed)
        assert ask(own.port, b"app.localhost", near.port, request)[0] == 2
        assert ask(own.port, EVIL.encode(), far.port, request)[1] == b""
        # The canary's own thread takes the connection; it may come to it later than the answer comes here.
        end = time.monotonic() + 10
        while not far.events and time.monotonic() < end:
            time.sleep(0.01)
        assert far.events == ["connection"]
        assert ask(own.port, EVIL.encode(), far.port, b"\x16\x03\x01hello\r\n")[1]
        own.disarm(allowed)
        assert b"200 OK" in ask(own.port, EVIL.encode(), far.port, request)[1]
        # Once for the question; once more if the first connection was still open when the policy came.
        assert set(own.refused) == {f"app.localhost:{near.port}"}
    own.close()
    assert relay.find(own.token) is None


def test_a_connection_that_breaks_is_broken_on_both_sides() -> None:
    """A browser is not left waiting for a server that is gone."""
    own = relay.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            there, _ = listener.accept()
            there.recv(100)
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            there.close()

        server = threading.Thread(target=reset, daemon=True)
        server.start()
        assert ask(own.port, b"localhost", listener.getsockname()[1], b"GET /") == (0, b"")
        server.join(10)
    own.close()


def test_headers_that_hold_a_document() -> None:
    given = [
        {"name": "Reporting-Endpoints", "value": 'x="https://a.b"'},
        {"name": "Via", "value": "1"},
    ]
    made = restrained(given, rules("https://shop.example", "http://127.0.0.1:8000"))
    assert [header["name"] for header in made] == ["Via", "Content-Security-Policy"]
    assert made[1]["value"].split(";")[0] == (
        "connect-src data: blob: https://shop.example http://127.0.0.1:8000 wss://shop.example ws://127.0.0.1:8000"
    )
    assert "wss:" in content_policy(rules("https://a.b", resources=("*",)))
