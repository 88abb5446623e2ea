"""Take note of a value that must not be shown from now on: a named secret, or what is typed into a password field."""

from __future__ import annotations

from molmo_agents.drivers.steps import Steps
from molmo_agents.session import Session
from molmo_agents.target.targeting import AcquiredTarget


def conceal(s: Session, target: AcquiredTarget, text: str) -> Steps[None]:
    """Hide `text` in every log, answer and screenshot from now on, and the field that is about to hold it in every screenshot."""
    s.hide(text)
    main = yield from s.worlds.main(known=True)
    s.given.add((yield from s.worlds.run(main, "() => molmo.document")))
    yield from s.worlds.ask(target.resolved.leaf.world, "conceal")
