"""The report as one HTML page: tables, plots, and the worst cases drawn. It loads nothing: images and plots are in it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape

from PIL import Image

from molmo_point.errors import PointError
from molmo_point.evaluate.data_report import DataReport
from molmo_point.evaluate.plots_svg import bars, counts, marks, reliability
from molmo_point.evaluate.report import Outcome, perfect
from molmo_point.evaluate.scorers.summary import ROUNDING, Scored
from molmo_point.image_like import ImageLike
from molmo_point.images import load_image

WORST = 12
"""Cases that are drawn."""

SIDE = 300
"""Longest side of a drawn case, in pixels."""

ImageOf = Callable[[Outcome], "ImageLike | None"]
"""Returns the image of an outcome, or None where it is gone."""

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; color: #1f2937; background: white;
  max-width: 1000px; margin: 24px auto; padding: 0 16px }
h1 { font-size: 22px } h2 { font-size: 18px; margin-top: 32px }
table { border-collapse: collapse; margin: 8px 0 } th, td { text-align: left; padding: 3px 14px 3px 0; vertical-align: top;
  border-bottom: 1px solid #e5e7eb } td.n { font-variant-numeric: tabular-nums; white-space: nowrap }
code { font-size: 13px; overflow-wrap: anywhere } .cases, .plots { display: flex; flex-wrap: wrap; gap: 18px }
figure { margin: 0 } .cases figure { max-width: 300px } figcaption { font-size: 13px; overflow-wrap: anywhere }
.photo { position: relative; line-height: 0 }
.photo svg { position: absolute; left: 0; top: 0 } .note { color: #4b5563; font-size: 13px }
"""


def report_page(report: DataReport, image_of: ImageOf) -> str:
    """Return the page.

    Args:
        image_of: Of the cases that are drawn.
    """
    title = f"{report.model} on {report.data.path}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _data(report),
        "<h2>Scores of the benchmark</h2>" if report.scored else "",
        *(_scored(scored) for scored in report.scored.values()),
        "<h2>All answers</h2>",
        _overall(report),
        _plots(report),
        "<h2>Worst cases</h2>",
        _cases(report, image_of),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    top = f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>" if head else ""
    body = "".join(
        f"<tr><td>{escape(str(row[0]))}</td>"
        + "".join(f'<td class="n">{escape(str(cell))}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table>{top}{body}</table>"


def _data(report: DataReport) -> str:
    data = report.data
    rows: list[tuple[object, ...]] = [
        ("layout", data.layout),
        ("items", f"{data.items:,} about {data.images:,} images"),
        ("entries left out", f"{data.skipped:,}"),
        ("sha256 of what was read", data.sha256),
        *((file.name, f"{file.size:,} bytes, sha256 {file.sha256}") for file in data.files[:10]),
        ("seconds a question", f"{report.seconds_per_question:.3f}"),
    ]
    if len(data.files) > 10:
        rows.append(("more files", len(data.files) - 10))
    return _table(rows)


def _scored(scored: Scored) -> str:
    average = "categories" if scored.average == "categories" else "items"
    rows = [
        (f"{scored.main}, mean of {average} (as published)", scored.published or "-"),
        *((f"{name}, mean of items", value) for name, value in scored.micro.items()),
        (f"{scored.main}, mean of categories", scored.macro or "-"),
    ]
    shown = [(name, m.value, m.low, m.high, m.items) for name, m in scored.categories.items()]
    plot = bars(shown[:30], f"{scored.scorer} by category") if len(shown) > 1 else ""
    return (
        f"<h3>{escape(scored.scorer)}</h3><p>{escape(scored.definition)}<br>"
        f'<span class="note">{escape(scored.source)}. Intervals: 95 %.</span></p>{_table(rows)}{plot}'
    )


def _overall(report: DataReport) -> str:
    score = report.overall
    f1 = "-" if score.f1 is None else f"{score.f1:.3f} [{score.f1_low:.3f}, {score.f1_high:.3f}]"
    kinds = [
        (f"{things}: {kind.replace('_', ' ')}", f"{number:,}")
        for things, numbers in report.answers.items()
        for kind, number in numbers.items()
    ]
    return _table(
        [
            ("F1 of points on things", f1),
            ("precision of points", score.precision),
            ("recall of things", score.recall),
            ("perfect answers", score.perfect),
            ("absent, answered none", score.absent),
            ("present, but denied", score.denied),
            *((f"count exact, {name} things", value) for name, value in score.counts.items()),
            *kinds,
        ]
    )


def _plots(report: DataReport) -> str:
    shown = []
    if len(report.groups) > 1:
        rows = [
            (name, p.value or 0.0, p.low, p.high, p.total)
            for name, p in ((name, group.perfect) for name, group in sorted(report.groups.items()))
        ]
        shown.append(
            ("Perfect answers by category", bars(rows[:40], "Perfect answers by category"))
        )
    counted = [(o.things, o.points) for o in report.outcomes if o.mode == "count" and not o.error]
    if counted:
        shown.append(("Counts", counts(counted, "Answered against true counts")))
    quality = report.calibrated
    plots = "".join(f"<figure><h3>{escape(name)}</h3>{plot}</figure>" for name, plot in shown)
    if quality is not None:
        numbers = (
            ("points, misses", f"{quality.points:,}, {quality.misses:,}"),
            ("calibration error (ECE)", _number(quality.expected_calibration_error)),
            ("AUROC of scores", _number(quality.auroc)),
            ("coverage of the 50 % ellipse", _number(quality.coverage_50)),
            ("coverage of the 90 % ellipse", _number(quality.coverage_90)),
            ("AUROC of absence", _number(quality.absence_auroc)),
        )
        plot = reliability(quality.bins, "Share of hits against the score")
        plots += (
            f"<figure><h3>Share of hits by score</h3>{plot}</figure><div>{_table(numbers)}</div>"
        )
    return f'<div class="plots">{plots}</div>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def badness(outcome: Outcome, main: str, value: str) -> tuple[float, int]:
    """Return how bad an answer is, for sorting: by the first scorer's value, else by whether it is perfect; then by errors."""
    judged = outcome.judged.get(main, {}).get(value)
    wrong = float(not perfect(outcome)) if judged is None else 1 - judged
    return wrong, abs(outcome.points - outcome.things) + (outcome.points - outcome.hits)


def _cases(report: DataReport, image_of: ImageOf) -> str:
    first = next(iter(report.scored.values()), None)
    main = ("", "") if first is None else (first.scorer, first.main)
    ranked = sorted(report.outcomes, key=lambda o: badness(o, *main), reverse=True)
    wrong = [outcome for outcome in ranked if badness(outcome, *main)[0] > ROUNDING][:WORST]
    if not wrong:
        return "<p>None: every answer is right.</p>"
    note = '<p class="note">Rings: where things are. Dots: the answer, blue on a thing, red elsewhere.</p>'
    return (
        f'{note}<div class="cases">{"".join(_case(outcome, image_of) for outcome in wrong)}</div>'
    )


def _case(outcome: Outcome, image_of: ImageOf) -> str:
    said = outcome.error or f"{outcome.status}, {outcome.points} points, {outcome.things} things"
    if outcome.status is not None and str(outcome.status) == "malformed":
        said += f": {outcome.text[:80]}"
    words = f"<b>{escape(outcome.query[:120])}</b><br>{escape(said)}<br><code>{escape(outcome.source)}</code>"
    return f"<figure>{_photo(outcome, image_of)}<figcaption>{words}</figcaption></figure>"


def _photo(outcome: Outcome, image_of: ImageOf) -> str:
    try:
        image = image_of(outcome)
        pixels = None if image is None else load_image(image)
    except PointError:
        pixels = None
    if pixels is None:
        return '<p class="note">(the image is not there)</p>'
    shown = Image.fromarray(pixels)
    scale = SIDE / max(shown.size)
    size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
    buffer = io.BytesIO()
    shown.resize(size).save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    points = [(p.x, p.y, on) for p, on in zip(outcome.answer, outcome.on_thing, strict=True)]
    drawn = marks(points, outcome.centers, size)
    place = f'width="{size[0]}" height="{size[1]}"'
    source = f"data:image/jpeg;base64,{data}"
    return f'<div class="photo"><img alt="" {place} src="{source}">{drawn}</div>'
