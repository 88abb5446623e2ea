"""The verb that gives files to a page: by a file field, by the window that a button opens, or by dropping them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from molmo_agents.drivers.steps import Steps, call, pause
from molmo_agents.outcome import Outcome, Status
from molmo_agents.progress import OutcomeBuilder, Query, VerbFailed
from molmo_agents.session import Session
from molmo_agents.target.click import Guard, dispatch_guarded, led_away
from molmo_agents.target.confirmation import Agreement, confirm_risk
from molmo_agents.target.hover import hover_still, mouse
from molmo_agents.target.targeting import AcquiredTarget
from molmo_agents.verbs.text_entry import field_at

OVERS = 3
"""How often files are moved over a place before it is asked whether it takes them: some pages make room at the first, or lay a
sheet over the window."""

COPY = 1
"""The protocol's number for dragging a copy."""


def upload(s: Session, p: OutcomeBuilder, query: Query, files: Sequence[str]) -> Steps[Outcome]:
    """Give files to a file field, to the file window that a button opens, or to a place that takes dropped files."""
    target = yield from field_at(s, p, query, "upload", None)
    names = [path.replace("\\", "/").rsplit("/", 1)[-1] for path in files]
    asked = yield from confirm_risk(s, p, target, "upload", ", ".join(names))
    if s.policy.dry_run:
        return p.outcome(Status.READY, "dry run: nothing was uploaded")
    raw = target.hit.raw
    p.fields["playwright"] = p.place.upload(names)
    if not target.hit.actionable:
        return (yield from _drop(s, p, target, files, asked))
    if raw["control_tag"] != "input" or raw["input_type"] != "file":
        return (yield from _upload_by_window(s, p, target, files, asked))
    if len(files) > 1 and not raw["multiple"]:
        raise VerbFailed(Status.ERROR, f"the field takes one file, {len(files)} were given")

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        world = aimed.resolved.leaf.world
        field = yield from s.worlds.object_id(world, "molmo.field()")
        yield from s.worlds.send(
            world.session, "DOM.setFileInputFiles", files=list(files), objectId=field
        )

    _, effects = yield from dispatch_guarded(s, p, target, gesture, Guard(keys=True))
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    if effects.navigated:
        return p.outcome(Status.DELIVERED, delivered=True, effects=effects)
    held = yield from s.worlds.run(
        target.resolved.leaf.world, "() => [...molmo.field().files].map((f) => f.name)"
    )
    if held != names and held:
        return p.outcome(Status.MISSED, f"the field holds {held}", effects=effects)
    message = "" if held else "the page emptied the field: it took the files over, or refused them"
    return p.outcome(Status.DELIVERED, message, delivered=True, effects=effects)


def _upload_by_window(
    s: Session,
    p: OutcomeBuilder,
    target: AcquiredTarget,
    files: Sequence[str],
    asked: Agreement | None,
) -> Steps[Outcome]:
    with p.timed("hover"):
        still = yield from hover_still(s, target, "upload", None, asked)
    if still is None:
        raise VerbFailed(Status.UNSTABLE, "the element did not stand still under the pointer")
    s.watch.expect_chooser(True)

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        yield from mouse(s, "mousePressed", aimed.x, aimed.y, "left", 1)
        yield from mouse(s, "mouseReleased", aimed.x, aimed.y, "left", 1)
        for _ in range(40):
            if s.watch.record.choosers:
                yield from call(s.watch.record.choosers[0], "set_files", list(files))
                return
            yield from pause(s.page, 0.05)

    try:
        _, effects = yield from dispatch_guarded(s, p, still, gesture, Guard(agreed=asked))
    finally:
        s.watch.expect_chooser(False)
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    p.fields["playwright"] = _chooser_line(p, files)
    if not s.watch.record.choosers and not effects.any:
        return (yield from _drop(s, p, still, files, asked))
    if not s.watch.record.choosers:
        return p.outcome(
            Status.NO_ACTIONABLE,
            "pressing it opened no file window",
            effects=effects,
            delivered=True,
        )
    return p.outcome(Status.DELIVERED, delivered=True, effects=effects)


def _chooser_line(p: OutcomeBuilder, files: Sequence[str]) -> str:
    names = [path.replace("\\", "/").rsplit("/", 1)[-1] for path in files]
    return f"with page.expect_file_chooser() as chooser: {p.place.click()}; chooser.value.set_files({names!r})"


def _drop(
    s: Session,
    p: OutcomeBuilder,
    target: AcquiredTarget,
    files: Sequence[str],
    asked: Agreement | None,
) -> Steps[Outcome]:
    """Drop files at a place, as from another window; only where the page takes what is dragged over it.

    A page that does not take them is left alone: the browser itself would open a file that is dropped there.
    """
    with p.timed("hover"):
        still = yield from hover_still(s, target, "upload", None, asked)
    if still is None:
        raise VerbFailed(Status.UNSTABLE, "the element did not stand still under the pointer")
    world = still.resolved.leaf.world
    leaf = still.resolved.leaf
    yield from s.worlds.ask(world, "watchZone", leaf.x, leaf.y)
    taken = covered = False
    try:
        yield from _dragged_in(s, "dragEnter", still, files)
        for _ in range(OVERS):
            yield from _dragged_in(s, "dragOver", still, files)
            yield from s.worlds.run(world, "() => molmo.frames2(1)")
        answer = yield from s.worlds.ask(world, "leaveZone")
        taken, covered = bool(answer["taken"]), bool(answer["cover"])
    finally:
        if not taken:
            yield from _dragged_in(s, "dragCancel", still, files)
    if not taken:
        tag, name = still.hit.raw["tag"], still.hit.raw["visible"][:160]
        raise VerbFailed(Status.NO_ACTIONABLE, f"no files can be given to <{tag}> {name!r}")

    if covered:
        # The page laid a sheet over the place for the files, which says something else than the place: they belong there.
        raw = {**still.hit.raw, "kind": ""}
        still = replace(still, hit=replace(still.hit, raw=raw))

    def gesture(s: Session, aimed: AcquiredTarget) -> Steps[None]:
        yield from _dragged_in(s, "drop", aimed, files)

    report, effects = yield from dispatch_guarded(s, p, still, gesture, Guard(agreed=asked))
    p.fields["playwright"] = ""
    refused = led_away(s, p, effects)
    if refused is not None:
        return refused
    if "drop" in report.log or report.lost:
        return p.outcome(Status.DELIVERED, delivered=True, effects=effects)
    other = f": {report.other} was there instead" if report.other else ""
    return p.outcome(Status.MISSED, f"the element did not get the files{other}", effects=effects)


def _dragged_in(
    s: Session, kind: str, target: AcquiredTarget, files: Sequence[str]
) -> Steps[None]:
    """Dispatch one event of files that are dragged in from outside of the browser."""
    data = {"items": [], "files": list(files), "dragOperationsMask": COPY}
    yield from s.worlds.send(
        s.worlds.session, "Input.dispatchDragEvent", type=kind, x=target.x, y=target.y, data=data
    )
