"""The verb table: every verb with its function, whether it only reads, and its words in a flow.

Both faces are made of it; flows, tools and the policy's check read it. A new verb is a function, and an entry here.
"""

from __future__ import annotations

from typing import TypeVar

from molmo_agents.session import VerbNames
from molmo_agents.verbs import arguments, readers
from molmo_agents.verbs.verb import Face, Field, Verb

R = TypeVar("R")

_NAME = {"name": Field("expect_name", readers.words)}
_EXPECT = {"expect": Field("expect", readers.expectation)}


class Verbs(Face[R]):
    """Every verb as a method that returns an `Outcome`, or an awaitable of one."""

    goto = Verb(arguments.goto, subject="address")
    back = Verb(arguments.back, subject="nothing")
    key = Verb(arguments.key, subject="key")
    look = Verb(arguments.look, read_only=True, subject="nothing")
    locate = Verb(arguments.locate, read_only=True, fields={"many": Field("many", readers.truth)})
    click = Verb(
        arguments.click,
        fields={
            "button": Field("button", readers.one_of(arguments.BUTTONS)),
            "times": Field("count", readers.whole(1, 2)),
            **_NAME,
            **_EXPECT,
        },
    )
    click_all = Verb(
        arguments.click_all, fields={"fixed": Field("fixed", readers.truth), **_EXPECT}
    )
    hover = Verb(arguments.hover, fields=_NAME)
    type = Verb(
        arguments.type_text,
        fields={
            "text": Field("text", readers.text),
            "secret": Field("secret", readers.words),
            "clear": Field("clear", readers.truth),
            "submit": Field("submit", readers.truth),
            **_NAME,
            **_EXPECT,
        },
        either=("text", "secret"),
    )
    select = Verb(
        arguments.select,
        fields={
            "option": Field("options", readers.words),
            "options": Field("options", readers.some),
        },
        either=("option", "options"),
    )
    check = Verb(arguments.check, fields={"on": Field("on", readers.truth)})
    upload = Verb(
        arguments.upload,
        fields={"files": Field("files", readers.some, required=True, paths=True)},
    )
    drag = Verb(arguments.drag, fields={"to": Field("goal", readers.words, required=True)})
    scroll_to = Verb(
        arguments.scroll_to, fields={"max_screens": Field("max_screens", readers.whole(1))}
    )
    exists = Verb(arguments.exists, read_only=True)
    wait_for = Verb(
        arguments.wait_for, read_only=True, fields={"timeout": Field("timeout_s", readers.seconds)}
    )
    count = Verb(arguments.count, read_only=True)


TABLE: dict[str, Verb[...]] = {
    name: entry for name, entry in vars(Verbs).items() if isinstance(entry, Verb)
}
"""The verbs by name."""

NAMES = VerbNames(
    frozenset(TABLE), frozenset(name for name, verb in TABLE.items() if verb.read_only)
)
"""What a session and a policy's check need of them."""
