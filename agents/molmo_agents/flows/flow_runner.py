"""Run a flow in a browser of its own and write about it: what `molmo-web run` and `replay` do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from molmo_agents.browser.launch import Screen, open_page
from molmo_agents.flows.flow import FlowStep, load_flow, run_flow, wanted_words
from molmo_agents.flows.replay import FLOW, Recording, files_of, keep_flow
from molmo_agents.flows.report import write_report
from molmo_agents.journal import Journal, read_steps
from molmo_agents.outcome import Outcome
from molmo_agents.session import Options
from molmo_agents.sync_pointer import WebPointer
from molmo_point.errors import UsageError
from molmo_point.pointer import Pointer


@dataclass(frozen=True)
class Done:
    """A finished run: whether every step came out as wanted, the outcomes, and where the report is."""

    good: bool
    outcomes: list[Outcome]
    report: Path


def run_recorded(
    flow_file: Path,
    log: Path,
    pointer: Pointer,
    *,
    start: str | None = None,
    dpr: float = 1.0,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Done:
    """Run a flow file; write journal, flow and report into `log`, which must not hold a journal yet.

    Raises:
        FlowError: The file is no flow.
        UsageError: `log` already holds a journal.
    """
    flow = load_flow(flow_file, start)
    policy = flow.policy(dry_run=dry_run)
    journal = _new_journal(log)
    keep_flow(flow_file, log)
    screen = Screen(*flow.viewport, dpr)
    outcomes: list[Outcome] = []
    with open_page(screen) as page, WebPointer(page, pointer, policy, Options(), journal) as web:
        good = run_flow(web, flow, _teller(outcomes, journal, say))
    return Done(good, outcomes, _report(log, flow_file.name))


def replay_recorded(
    folder: Path,
    log: Path,
    *,
    start: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Done:
    """Run the flow of a journal again with its points; write a new journal into `log`.

    Raises:
        UsageError: No journal or flow there.
    """
    if not (folder / FLOW).is_file():
        raise UsageError(
            f"there is no {FLOW} in {folder}: only what `molmo-web run` recorded can be replayed"
        )
    flow = load_flow(folder / FLOW, start, files_of(folder))
    recording = Recording(folder)
    journal = _new_journal(log)
    outcomes: list[Outcome] = []
    size = recording.viewport or flow.viewport
    # A second look would be at another region than the recorded point's.
    options = Options(zoom=False)
    with (
        open_page(Screen(*size)) as page,
        WebPointer(page, recording.pointer, flow.policy(), options, journal) as web,
    ):
        recording.web = web
        tell = _teller(outcomes, journal, say)

        def told(step: FlowStep, outcome: Outcome, good: bool) -> None:
            recording.next_step(step.query)
            tell(step, outcome, good)

        good = run_flow(web, flow, told)
    return Done(good, outcomes, _report(log, f"replay of {folder.name}"))


def _new_journal(log: Path) -> Journal:
    if (log / "steps.jsonl").exists():
        raise UsageError(
            f"{log} already holds a journal: give another folder with --log, or remove it"
        )
    return Journal(log)


def _teller(
    outcomes: list[Outcome], journal: Journal, say: Callable[[str], None]
) -> Callable[[FlowStep, Outcome, bool], None]:
    def told(step: FlowStep, outcome: Outcome, good: bool) -> None:
        if not outcome.artefacts:
            # What no verb did is no page's doing, and not yet in the journal.
            outcome = journal.write(outcome)
        journal.judge(good, wanted_words(step))
        outcomes.append(outcome)
        mark = "ok  " if good else "BAD "
        count = f" {outcome.count}" if outcome.count is not None else ""
        say(f"{mark}{step.verb} {step.query}: {outcome.status}{count} {outcome.message}".rstrip())

    return told


def _report(log: Path, title: str) -> Path:
    return write_report(log, read_steps(log), f"molmo-web: {title}")
