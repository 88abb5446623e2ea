"""From a pixel of the screenshot down to the element: every kind of frame around every kind of shadow root.

The pointer sees the screenshot only (the one magenta thing in it); the page itself knows the element, its document and its shadow
root. The second screen is dense, zoomed, scaled and scrolled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from molmo_agents import Options, Policy, WebPointer
from molmo_agents.browser.launch import Screen, context_options

from molmo_point.testing import FakePointer
from tests.agents.conftest import Site
from tests.agents.oracle import MAGENTA, magenta

pytestmark = pytest.mark.browser

FRAMES = {
    "page": (),
    "frame": ("site",),
    "other origin": ("other",),
    "other origin in frame": ("site", "other"),
    "frame in other origin": ("other", "site"),
}
ROOTS = {
    "light": (),
    "open": ("open",),
    "closed": ("closed",),
    "open in closed": ("closed", "open"),
    "closed in open": ("open", "closed"),
}
_BUTTON = (
    '<button style="background:#f0f;border:0;width:60px;height:34px;color:#f0f">Deep</button>'
)
_LEAF = """<!doctype html><body style='margin:17px'><p>above</p><div id=host></div><script>
let root = document.getElementById('host');
for (const mode of %s) {
  root = root.attachShadow({mode});
  root.innerHTML = '<section></section>';
  root = root.firstChild;
}
root.innerHTML = '%s';
root.firstChild.onclick = () => fetch('/hit', {method: 'POST'});
</script>"""
_OUTER = (
    "<!doctype html><body style='margin:9px'>%s<iframe src='%s' "
    "style='border:5px solid #ccc;padding:3px;margin:11px;width:%dpx;height:%dpx'></iframe>"
)


def install(site: Site, frames: tuple[str, ...], roots: tuple[str, ...], before: str) -> None:
    """Put a leaf page with those shadow roots into those frames; the outermost page is /0."""
    site.routes["/hit"] = "ok"
    for depth, frame in enumerate(frames):
        origin = site.url if frame == "site" else site.other_url
        head = before if depth == 0 else ""
        room = len(frames) - depth
        site.routes[f"/{depth}"] = _OUTER % (
            head, f"{origin}/{depth + 1}", 200 + 60 * room, 120 + 60 * room
        )  # fmt: skip
    leaf = _LEAF % (list(roots), _BUTTON)
    site.routes[f"/{len(frames)}"] = leaf if frames else leaf.replace("<p>", before + "<p>")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "dense"])
def screen(request: pytest.FixtureRequest, browser: Any) -> Iterator[tuple[Any, bool]]:
    context = browser.new_context(
        **context_options(Screen(700, 500, 2.0 if request.param else 1.0))
    )
    yield context.new_page(), request.param
    context.close()


@pytest.mark.parametrize("roots", ROOTS)
@pytest.mark.parametrize("frames", FRAMES)
def test_pixel_to_element(screen: tuple[Any, bool], site: Site, frames: str, roots: str) -> None:
    page, dense = screen
    before = ""
    if dense:
        before = (
            "<style>html{zoom:1.25}iframe{transform:scale(.9);transform-origin:0 0}</style>"
            "<div style='height:300px'></div><script>onload = () => scrollTo(0, 280)</script>"
        )
    install(site, FRAMES[frames], ROOTS[roots], before)
    policy = Policy(origins=(site.url,), resources=(site.other_url,))
    pointer = FakePointer(lambda image, query: magenta(image))
    options = Options(zoom=False, answer_s=60.0, settle_requests_s=30.0)
    with WebPointer(page, pointer, policy, options) as web:
        assert web.goto(f"{site.url}/0", timeout_s=60).ok
        assert web.wait_for(MAGENTA, timeout_s=60).ok
        outcome = web.locate(MAGENTA) if dense else web.click(MAGENTA)
    assert outcome.ok, outcome
    assert outcome.target is not None
    modes = ROOTS[roots]
    assert outcome.target.tag == "button"
    assert outcome.target.name == "Deep"
    assert outcome.target.in_shadow == ("closed" if "closed" in modes else "".join(modes))
    assert outcome.target.frame_url.endswith(f"/{len(FRAMES[frames])}")
    box, point = outcome.target.box, outcome.point
    assert point is not None
    # The middle of what is magenta is the middle of the box, wherever its document lies in the page.
    assert abs(box.x + box.width / 2 - point[0]) <= 1
    assert abs(box.y + box.height / 2 - point[1]) <= 1
    # The page's own request may still be on its way.
    end = time.monotonic() + (0 if dense else 20)
    while "POST /hit" not in site.log and time.monotonic() < end:
        page.wait_for_timeout(20)
    assert site.log.count("POST /hit") == (0 if dense else 1)
    # No selector reaches into a closed root: there is a place to press, and no promise to find it again.
    assert (outcome.locator is None) == ("closed" in modes)
