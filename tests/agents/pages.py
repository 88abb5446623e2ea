"""Pages that make a naive clicker go wrong, each with the one status that is right and its own record of the truth.

The pages are in `pages.yaml`. In them `{site}` is the page's own address, `{other}` the same server as another origin,
`{evil}` an origin that is not allowed, `{file}` a small file, `{helper}` the script that keeps the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Case:
    """One page.

    Attributes:
        name: What it is.
        status: The only right answer.
        html: The page's body.
        truth: JavaScript that must be true on the page afterwards; "" where the page is gone by then.
        verb: What is done; a click on "ok" unless said otherwise.
        args: Positional arguments of the verb.
        kwargs: Keyword arguments of the verb.
        think: JavaScript that runs while the model thinks, the first time: what a page does meanwhile.
        effects: Fields of the effects that must be equal to these values.
        risks: What the confirm callback says yes to; None: there is no callback.
        on_ask: JavaScript that runs while the callback is asked.
        routes: More pages of the server.
        requests: Requests that must have reached the server afterwards.
        unrequested: Requests that must not have.
        resources: Origins allowed for frames and the like.
    """

    name: str
    status: str
    html: str
    truth: str = ""
    verb: str = "click"
    args: tuple[Any, ...] = ("ok",)
    kwargs: dict[str, Any] = field(default_factory=dict)
    think: str = ""
    effects: dict[str, Any] = field(default_factory=dict)
    risks: tuple[str, ...] | None = None
    on_ask: str = ""
    routes: dict[str, Any] = field(default_factory=dict)
    requests: tuple[str, ...] = ()
    unrequested: tuple[str, ...] = ()
    resources: tuple[str, ...] = ("{other}",)


def _case(entry: dict[str, Any]) -> Case:
    routes = {
        path: route
        if isinstance(route, str)
        else (route["status"], route["headers"], route["body"].encode())
        for path, route in entry.pop("routes", {}).items()
    }
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    return Case(**{**entry, **lists, "routes": routes})


CASES = [
    _case(entry)
    for entry in yaml.safe_load((Path(__file__).parent / "pages.yaml").read_text("utf-8"))
]
