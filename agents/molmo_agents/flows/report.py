"""One HTML page about a run: every step with its screenshot, point, status and effects. Needs nothing but itself."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from molmo_agents.journal import read_verdicts
from molmo_agents.outcome import Outcome
from molmo_agents.playwright_types import Json

_STYLE = """
:root { color-scheme: light dark; --good: #14803c; --bad: #c81e28; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem } .sum { margin-bottom: 1.5rem }
section { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0; display: grid;
  grid-template-columns: minmax(0, 1fr) minmax(0, 1.3fr); gap: 1rem }
section h2 { font-size: 1.05rem; margin: 0 0 .4rem } img { max-width: 100%; border: 1px solid var(--line) }
.tag { color: #fff; border-radius: 4px; padding: .1rem .5rem; background: var(--bad); font-size: .85rem }
.tag.good { background: var(--good) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .4rem 0; font-size: .9rem }
dt { opacity: .7 } dd { margin: 0; overflow-wrap: anywhere } code { font-size: .85rem }
@media (max-width: 700px) { section { grid-template-columns: 1fr } }
"""


def write_report(folder: str | Path, steps: Sequence[Json], title: str) -> Path:
    """Write `report.html` into the folder of a journal.

    Args:
        folder: The journal's folder, with the screenshots.
        steps: What `journal.read_steps` gives; secrets are already masked in there.
        title: Heading.

    Returns:
        The path of the page.
    """
    root = Path(folder)
    outcomes = [Outcome.model_validate(step["outcome"]) for step in steps]
    verdicts = read_verdicts(root)
    # A step nobody judged succeeded when it did what it says, and what was expected of it held.
    judged = [
        verdicts.get(int(step["step"]), (outcome.ok, ""))
        for step, outcome in zip(steps, outcomes, strict=True)
    ]
    good = sum(ok for ok, _ in judged)
    parts = [
        _section(root, step, outcome, *verdict)
        for step, outcome, verdict in zip(steps, outcomes, judged, strict=True)
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        # The page shows what other pages wrote: nothing in it may run or load.
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p class=sum>{len(outcomes)} steps, {good} as wanted, "
        f"{sum(o.timings.get('total', 0.0) for o in outcomes):.1f} s</p>"
        + "".join(parts)
        + "</html>"
    )
    path = root / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _section(root: Path, step: Json, outcome: Outcome, as_wanted: bool, wanted: str) -> str:
    good = " good" if as_wanted else ""
    rows: list[tuple[str, str]] = [("message", outcome.message), ("wanted", wanted)]
    if outcome.score is not None:
        rows.append(("score", f"{outcome.score:.2f}"))
    target = outcome.target
    if target is not None:
        rows.append(("target", f"<{target.tag}> {target.name}".strip()))
    if outcome.point is not None:
        rows.append(("point", f"{outcome.point[0]:.1f}, {outcome.point[1]:.1f} CSS px"))
    if outcome.count is not None:
        rows.append(("count", str(outcome.count)))
    rows += _effects(outcome)
    rows.append(("attempts", str(outcome.attempts)))
    times = [f"{name} {seconds:.2f}" for name, seconds in outcome.timings.items()]
    rows.append(("seconds", ", ".join(times)))
    listed = "".join(f"<dt>{html.escape(k)}<dd>{html.escape(v)}" for k, v in rows if v)
    code = f"<code>{html.escape(outcome.playwright)}</code>" if outcome.playwright else ""
    return (
        f"<section><div><h2>{step['step']}. {html.escape(outcome.verb)} {html.escape(outcome.query)}</h2>"
        f"<span class='tag{good}'>{outcome.status}</span><dl>{listed}</dl>{code}</div>"
        f"<div>{_screenshot(root, step)}</div></section>"
    )


def _effects(outcome: Outcome) -> list[tuple[str, str]]:
    effects = outcome.effects
    rows = [
        (
            "effects",
            ", ".join(
                name for name in ("navigated", "scrolled", "removed") if getattr(effects, name)
            )
            + ("" if effects.settled else " (more was still under way)"),
        )
    ]
    rows.append(("address", effects.url))
    rows.append(("mutations", str(effects.mutations or "")))
    rows.append(("dialogs", "; ".join(f"{d.kind}: {d.message}" for d in effects.dialogs)))
    rows += [
        (name, ", ".join(getattr(effects, name))) for name in ("popups", "downloads", "blocked")
    ]
    if outcome.expectation is not None:
        rows.append(("expectation", "held" if outcome.expectation else "did not hold"))
    return rows


def _screenshot(root: Path, step: Json) -> str:
    name = str(step.get("picture") or "")
    path = root / Path(name).name
    if not name or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='step {step['step']}' src='data:image/png;base64,{data}'>"
