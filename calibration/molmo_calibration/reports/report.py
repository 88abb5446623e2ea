"""One HTML page about a calibration: images and numbers, nothing loaded from elsewhere.

Drawings are SVG written here, so that a report needs no plotting library and opens anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from molmo_calibration.calibrate.coverage import TARGETS
from molmo_calibration.calibrate.hand_eye import HandEyeResult
from molmo_calibration.calibrate.intrinsics import IntrinsicsResult
from molmo_calibration.files.hand_eye_files import static_transform_line
from molmo_calibration.reports.assessment import Verdict

_STYLE = """
:root{color-scheme:light dark;--ink:#222;--page:#fff;--line:#ddd;--soft:#f6f6f6;--mark:#1a5fb4;
--good:#176b2c;--usable:#8a5a00;--bad:#a11}
@media (prefers-color-scheme:dark){:root{--ink:#ddd;--page:#16181b;--line:#3a3d42;--soft:#202327;
--mark:#78aeed;--good:#7ad08f;--usable:#e0b050;--bad:#ff8a80}}
@media print{:root{--ink:#000;--page:#fff;--line:#ccc;--soft:#fff;--mark:#1a5fb4;--good:#176b2c;
--usable:#8a5a00;--bad:#a11}}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:var(--ink);background:var(--page)}
table{border-collapse:collapse}td,th{padding:.15rem .8rem;text-align:right;
border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}.facts td{text-align:left;overflow-wrap:anywhere}
.good{color:var(--good)}.usable{color:var(--usable)}.bad,.out{color:var(--bad)}
svg{background:var(--soft);border:1px solid var(--line);max-width:100%;height:auto}
svg text{fill:var(--ink)}svg .mark{fill:var(--mark);stroke:none}svg .line{stroke:var(--mark)}
svg .outmark{fill:var(--bad);stroke:none}svg .outline{stroke:var(--bad)}
code{background:var(--soft);padding:.1rem .3rem;overflow-wrap:anywhere}
.images{display:flex;flex-wrap:wrap;gap:.8rem}figure{margin:0;width:240px}
figcaption{font-size:13px;overflow-wrap:anywhere}img{display:block;max-width:100%}
"""

_ARROW_SCALE = 60.0


def intrinsics_report(
    result: IntrinsicsResult,
    verdict: Verdict,
    title: str,
    facts: Mapping[str, str] | None = None,
    images: Mapping[str, str] | None = None,
) -> str:
    """The page for a camera calibration.

    Args:
        result: from `calibrate_intrinsics`.
        verdict: from `judge_intrinsics`.
        title: what was calibrated.
        facts: how it was made, by name: date, command, board, ...
        images: data URLs of small images by the names of the views, see `thumbnails`.

    Returns:
        A complete HTML document.
    """
    camera = result.camera
    names = ["fx", "fy", "cx", "cy", *_coefficient_names(camera.model, len(camera.distortion))]
    values = [*np.diag(camera.matrix)[:2], *camera.matrix[:2, 2], *camera.distortion]
    rows = [
        [name, f"{value:.6g}", f"{sigma:.2g}"]
        for name, value, sigma in zip(names, values, result.sigmas, strict=True)
    ]
    coverage = result.coverage
    ranges = [[n, f"{getattr(coverage, n):.2f}", f"{aim}"] for n, aim in TARGETS.items()]
    views = [
        [_marked(view.name, view.outlier), str(len(view.pixels)), f"{view.rms_px:.3f}"]
        for view in result.views
    ]
    body = [
        _heading(title, verdict),
        f"<p>{escape(camera.model)}, {camera.width} x {camera.height} pixels, "
        f"{len(result.views)} images. Error {result.rms_px:.3f} px rms"
        + _held_out(result)
        + ".</p>",
        "<h2>Parameters</h2>",
        _table(["", "value", "one sigma"], rows),
        f"<h2>Residuals</h2><p>From where a corner was found to where the camera puts it, "
        f"{_ARROW_SCALE:.0f} times as long. Arrows that point the same way over an area mean "
        "that the lens model does not fit there.</p>",
        _arrows(result),
        "<h2>Error over the distance from the middle</h2>",
        _radial(result),
        f"<h2>Coverage</h2><p>Corners per cell; {coverage.seen:.0%} of the cells were seen, "
        f"{coverage.rim_seen:.0%} of the rim.</p>",
        _heat(result),
        _table(["range", "seen", "aim"], ranges),
        "<h2>Images</h2>",
        _table(["image", "corners", "rms px"], views),
        _gallery(result, images or {}),
        _facts(facts or {}),
    ]
    return _page(title, body)


def hand_eye_report(
    result: HandEyeResult, verdict: Verdict, title: str, facts: Mapping[str, str] | None = None
) -> str:
    """The page for a hand-eye calibration, a complete HTML document; see `intrinsics_report`."""
    x, y, z = result.transform.translation
    quaternion = ", ".join(f"{q:.5f}" for q in result.transform.quaternion)
    rows = [
        [_marked(str(i), i in result.outliers), f"{m * 1e3:.2f}", f"{np.rad2deg(r):.3f}"]
        for i, (m, r) in enumerate(zip(result.residuals_m, result.residuals_rad, strict=True))
    ]
    body = [
        _heading(title, verdict),
        f"<p>{escape(result.sentence)}</p>",
        f"<p>Translation ({x:.4f}, {y:.4f}, {z:.4f}) m, quaternion xyzw ({quaternion}).</p>",
        f"<p><code>{escape(static_transform_line(result))}</code></p>",
        "<h2>How far the board is from where it is, pose by pose</h2>",
        _bars(result.residuals_m * 1e3, "mm"),
        _table(["pose", "mm", "degrees"], rows),
        _facts(facts or {}),
    ]
    return _page(title, body)


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    return f"<h2>How this was made</h2><table class=facts>{rows}</table>"


def _gallery(result: IntrinsicsResult, images: Mapping[str, str]) -> str:
    """Small images with the corners that were found, in the order of the table."""
    figures = "".join(
        f'<figure><img src="{escape(images[view.name])}" alt="{escape(view.name)} with corners" '
        f"loading=lazy><figcaption>{_marked(view.name, view.outlier)}, {view.rms_px:.2f} px"
        "</figcaption></figure>"
        for view in result.views
        if view.name in images
    )
    return f"<div class=images>{figures}</div>" if figures else ""


def _held_out(result: IntrinsicsResult) -> str:
    if np.isnan(result.held_out_rms_px):
        return "; too few images to hold any out"
    return f", {result.held_out_rms_px:.3f} px on images held out"


def _coefficient_names(model: str, count: int) -> list[str]:
    if model == "equidistant":
        return ["k1", "k2", "k3", "k4"]
    names = ["k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4", "tx", "ty"]
    return names[:count]


def _page(title: str, body: list[str]) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _heading(title: str, verdict: Verdict) -> str:
    advice = "".join(f"<li>{escape(line)}</li>" for line in verdict.advice)
    return (
        f"<h1>{escape(title)}</h1><p class={verdict.grade}><b>{escape(verdict.sentence)}</b></p>"
        + (f"<p>To make it better:</p><ul>{advice}</ul>" if advice else "")
    )


def _marked(name: str, outlier: bool) -> str:
    return f"<span class=out>{escape(name)} (stands out)</span>" if outlier else escape(name)


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _arrows(result: IntrinsicsResult) -> str:
    width, height = result.camera.image_size
    lines = []
    for view in result.views:
        ends = view.pixels - _ARROW_SCALE * view.residuals_px
        line, mark = ("outline", "outmark") if view.outlier else ("line", "mark")
        for (u, v), (x, y) in zip(view.pixels, ends, strict=True):
            lines.append(
                f'<path d="M{u:.1f} {v:.1f}L{x:.1f} {y:.1f}" class={line} />'
                f'<circle cx="{u:.1f}" cy="{v:.1f}" r="1.5" class={mark} />'
            )
    return f'<svg class=residuals viewBox="0 0 {width} {height}">{"".join(lines)}</svg>'


def _radial(result: IntrinsicsResult) -> str:
    """Every corner as a dot: distance from the middle to the right, error upwards."""
    middle = np.array(result.camera.image_size) / 2
    radius = np.concatenate([np.linalg.norm(v.pixels - middle, axis=1) for v in result.views])
    error = np.concatenate([np.linalg.norm(v.residuals_px, axis=1) for v in result.views])
    top = max(float(error.max()), 1e-6)
    right = float(np.linalg.norm(middle))
    dots = "".join(
        f'<circle cx="{r / right * 600:.1f}" cy="{150 - e / top * 145:.1f}" r="1.5"/>'
        for r, e in zip(radius, error, strict=True)
    )
    label = f'<text x="4" y="14" font-size="12">up to {top:.2f} px</text>'
    return f'<svg class=radial viewBox="0 0 600 150"><g class=mark>{dots}</g>{label}</svg>'


def _heat(result: IntrinsicsResult) -> str:
    counts = result.coverage.counts
    rows, columns = counts.shape
    most = max(float(counts.max()), 1.0)
    cells = "".join(
        f'<rect x="{c * 60}" y="{r * 45}" width="60" height="45" fill="#26a269" '
        f'fill-opacity="{counts[r, c] / most:.2f}" stroke="#8888"/>'
        f'<text x="{c * 60 + 30}" y="{r * 45 + 27}" font-size="13" '
        f'text-anchor="middle">{int(counts[r, c])}</text>'
        for r in range(rows)
        for c in range(columns)
    )
    return (
        f'<svg class=coverage viewBox="0 0 {columns * 60} {rows * 45}" width="480">{cells}</svg>'
    )


def _bars(values: np.ndarray, unit: str) -> str:
    top = max(float(np.max(values)), 1e-9)
    wide = 600 / len(values)
    bars = "".join(
        f'<rect x="{i * wide + 1:.1f}" y="{140 - v / top * 130:.1f}" width="{wide - 2:.1f}" '
        f'height="{v / top * 130:.1f}" class=mark><title>{v:.2f} {unit}</title></rect>'
        for i, v in enumerate(values)
    )
    label = f'<text x="4" y="14" font-size="12">up to {top:.2f} {unit}</text>'
    return f'<svg class=scatter viewBox="0 0 600 140">{bars}{label}</svg>'
