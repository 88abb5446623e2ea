"""`molmo-calibrate`: boards, cameras, hand-eye, projection and checks on the command line.

Results go to stdout (`--json` for machines), talk and progress bars to stderr. Exit code 0: fine;
1: failed, or the verdict is bad; 2: the user's mistake; 3: no point has a position.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from molmo_calibration.errors import BoardNotFoundError, CalibrationError, MissingExtraError

__all__ = ["app", "main"]

app = typer.Typer(
    help="From pixels to metres: calibrate cameras and hands, and project points.",
    no_args_is_help=True,
    add_completion=False,
)
_talk = Console(stderr=True, highlight=False)

Columns = Annotated[int, typer.Option(help="squares from left to right")]
Rows = Annotated[int, typer.Option(help="squares from top to bottom")]
Square = Annotated[float, typer.Option(help="side of a square in millimetres, as measured")]
Marker = Annotated[float | None, typer.Option(help="side of a ChArUco marker in millimetres")]
Charuco = Annotated[bool, typer.Option("--charuco", help="a ChArUco board, not a chessboard")]
Dictionary = Annotated[str, typer.Option(help="ArUco dictionary of a ChArUco board")]
Legacy = Annotated[bool, typer.Option(help="ChArUco pattern of OpenCV before 4.6")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Report = Annotated[Path | None, typer.Option(help="write a report as one HTML page")]


@app.command()
def board(
    output: Annotated[Path, typer.Argument(help="PDF to write")],
    columns: Columns = 10,
    rows: Rows = 7,
    square: Square = 25.0,
    marker: Marker = None,
    charuco: Charuco = False,
    dictionary: Dictionary = "DICT_4X4_250",
    paper: Annotated[str, typer.Option(help="a4, a3, a2, a1, a0, letter or tabloid")] = "a4",
) -> None:
    """Make a calibration board to print, with a ruler on it."""
    from molmo_calibration.printing import save_board_pdf

    save_board_pdf(
        _board(columns, rows, square, marker, charuco, dictionary, False), output, paper
    )
    _talk.print(f"wrote {output}: print it at 100 %, check the ruler, glue it to a flat plate")
    typer.echo(str(output))


@app.command()
def intrinsics(
    folder: Annotated[Path, typer.Argument(help="folder with pictures of the board")],
    columns: Columns = 10,
    rows: Rows = 7,
    square: Square = 25.0,
    marker: Marker = None,
    charuco: Charuco = False,
    dictionary: Dictionary = "DICT_4X4_250",
    legacy: Legacy = False,
    model: Annotated[
        str, typer.Option(help="plumb_bob, rational_polynomial or equidistant (fisheye)")
    ] = "plumb_bob",
    output: Annotated[
        Path | None, typer.Option(help="camera file to write (.yaml, .json, .xml)")
    ] = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate a camera from a folder of pictures."""
    from molmo_calibration.camera_files import camera_to_dict, save_camera
    from molmo_calibration.intrinsics import calibrate_intrinsics
    from molmo_calibration.report import intrinsics_report
    from molmo_calibration.verdict import judge_intrinsics

    found = _detections(folder, _board(columns, rows, square, marker, charuco, dictionary, legacy))
    with _progress("calibrating") as tell:
        result = calibrate_intrinsics(found, model, progress=tell)
    verdict = judge_intrinsics(result)
    if output is not None:
        save_camera(result.camera, output)
        _talk.print(f"wrote {output}")
    elif not as_json:
        _talk.print("the camera is not kept; --output cam.yaml writes it to a file")
    if report is not None:
        report.write_text(intrinsics_report(result, verdict, f"Camera of {folder.name}"))
        _talk.print(f"wrote {report}")
    numbers = {
        "verdict": verdict.word,
        "sentence": verdict.sentence,
        "advice": list(verdict.advice),
        "rms_px": result.rms_px,
        "held_out_rms_px": _number(result.held_out_rms_px),
        "sigmas": result.sigmas.tolist(),
        "coverage": {n: getattr(result.coverage, n) for n in ("x", "y", "size", "skew", "seen")},
        "views": [
            {"name": v.name, "rms_px": v.rms_px, "outlier": v.outlier} for v in result.views
        ],
        "camera": camera_to_dict(result.camera),
    }
    _answer(numbers, verdict.sentence, verdict.advice, as_json)
    _finish(verdict.word)


@app.command("hand-eye")
def hand_eye(
    file: Annotated[Path, typer.Argument(help="poses, YAML or JSON; see calibration/README.md")],
    camera: Annotated[
        Path | None, typer.Option(help="camera file, if the poses have images")
    ] = None,
    columns: Columns = 10,
    rows: Rows = 7,
    square: Square = 25.0,
    marker: Marker = None,
    charuco: Charuco = False,
    dictionary: Dictionary = "DICT_4X4_250",
    legacy: Legacy = False,
    output: Annotated[
        Path | None, typer.Option(help="file for the answer, as project --transform reads it")
    ] = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Find where the camera is on the robot, or beside it."""
    from molmo_calibration.camera_files import load_camera
    from molmo_calibration.hand_eye import calibrate_hand_eye, opencv_answer
    from molmo_calibration.hand_eye_files import hand_eye_to_dict, load_hand_eye, save_hand_eye
    from molmo_calibration.report import hand_eye_report
    from molmo_calibration.verdict import judge_hand_eye

    pattern = _board(columns, rows, square, marker, charuco, dictionary, legacy)
    with _progress("reading poses") as tell:
        known = load_camera(camera) if camera is not None else None
        setup, samples = load_hand_eye(file, known, pattern, tell)
    result = calibrate_hand_eye(samples, setup)
    verdict = judge_hand_eye(result)
    if output is not None:
        save_hand_eye(result, output)
        _talk.print(f"wrote {output}")
    if report is not None:
        report.write_text(hand_eye_report(result, verdict, f"Hand-eye of {file.name}"))
        _talk.print(f"wrote {report}")
    numbers = {"verdict": verdict.word, "sentence": verdict.sentence, **hand_eye_to_dict(result)}
    other = opencv_answer(samples, setup)
    if other is None:
        _talk.print("this OpenCV has no hand-eye solver to compare with")
    else:
        metres, radians = result.transform.difference(other)
        numbers["opencv_difference"] = {"mm": metres * 1e3, "deg": float(np.rad2deg(radians))}
    text = f"{verdict.sentence}\n{result.sentence}\n{numbers['static_transform_publisher']}"
    _answer(numbers, text, verdict.advice, as_json)
    _finish(verdict.word)


@app.command()
def project(
    camera: Annotated[Path, typer.Option(help="camera file")],
    pointing: Annotated[Path, typer.Option(help="a Pointing as JSON (molmo-point point --json)")],
    depth: Annotated[
        Path | None, typer.Option(help="registered depth: 16-bit PNG in mm, TIFF or .npy in m")
    ] = None,
    plane: Annotated[
        str | None, typer.Option(help="instead of depth: nx,ny,nz,d with n.p = d, in metres")
    ] = None,
    strategy: Annotated[str, typer.Option(help="pixel, median, cluster or plane")] = "cluster",
    depth_sigma: Annotated[
        float | None, typer.Option(help="depth noise of the sensor in millimetres")
    ] = None,
    transform: Annotated[
        Path | None,
        typer.Option(
            help="robot or world from camera, e.g. of hand-eye --output: move points there"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn pointed pixels into metres, in the camera's frame or another."""
    from molmo_calibration.camera_files import load_camera
    from molmo_calibration.pointing_files import load_depth, load_pointing, locate, parse_plane
    from molmo_calibration.transform_files import load_transform

    loaded = load_camera(camera)
    places = locate(
        loaded,
        load_pointing(pointing, loaded),
        load_depth(depth) if depth is not None else None,
        parse_plane(plane) if plane is not None else None,
        strategy,
        depth_sigma / 1e3 if depth_sigma is not None else None,
        load_transform(transform) if transform is not None else None,
    )
    if as_json:
        typer.echo(json.dumps({"points": [place.as_dict() for place in places]}))
    else:
        for place in places:
            typer.echo(place.line())
    if not any(place.position.ok for place in places):
        raise typer.Exit(3)


@app.command()
def check(
    camera: Annotated[Path, typer.Argument(help="camera file")],
    folder: Annotated[
        Path | None, typer.Option("--pictures", help="new pictures of the board to test it on")
    ] = None,
    columns: Columns = 10,
    rows: Rows = 7,
    square: Square = 25.0,
    marker: Marker = None,
    charuco: Charuco = False,
    dictionary: Dictionary = "DICT_4X4_250",
    legacy: Legacy = False,
    as_json: AsJson = False,
) -> None:
    """Look whether a camera file makes sense, and whether it fits pictures it has not seen."""
    from molmo_calibration.camera_check import check_camera, check_pictures
    from molmo_calibration.camera_files import load_camera

    loaded = load_camera(camera)
    findings = check_camera(loaded)
    numbers: dict[str, Any] = {"findings": list(findings), "size": list(loaded.image_size)}
    word = "bad" if findings else "good"
    lines = list(findings) or ["the camera file makes sense"]
    if folder is not None:
        pattern = _board(columns, rows, square, marker, charuco, dictionary, legacy)
        rms = check_pictures(loaded, _detections(folder, pattern))
        numbers["rms_px"] = _number(rms)
        if rms > 0.5:
            word = "bad" if rms > 1.0 or findings else "usable"
        lines.append(f"{rms:.2f} px rms on the pictures of {folder}; below 0.5 is good")
    numbers["verdict"] = word
    _answer(numbers, "\n".join(lines), (), as_json)
    _finish(word)


def main() -> None:
    """Run the command line; the user's mistakes are one sentence and exit code 2."""
    try:
        app()
    except (CalibrationError, MissingExtraError, OSError) as error:
        _talk.print(f"molmo-calibrate: {error}", style="red", markup=False)
        raise SystemExit(2) from None


def _board(
    columns: int,
    rows: int,
    square: float,
    marker: float | None,
    charuco: bool,
    dictionary: str,
    legacy: bool,
) -> Any:
    from molmo_calibration.boards import Board

    kind = "charuco" if charuco else "chessboard"
    side = marker / 1e3 if marker is not None else None
    return Board(columns, rows, square / 1e3, kind, side, dictionary, legacy)


def _detections(folder: Path, pattern: Any) -> list[Any]:
    from molmo_calibration.detection import detect_in_file, picture_files

    found, files = [], picture_files(folder)
    with _progress("looking for the board") as tell:
        for index, path in enumerate(files):
            try:
                found.append(detect_in_file(path, pattern))
            except BoardNotFoundError as error:
                _talk.print(f"skipped: {error}", markup=False)
            tell((index + 1) / len(files))
    _talk.print(f"the board is in {len(found)} of {len(files)} pictures")
    return found


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %")
    with Progress(*columns, console=_talk, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _number(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None


def _answer(numbers: dict[str, Any], text: str, advice: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    typer.echo(text)
    for line in advice:
        _talk.print(f"to make it better: {line}", markup=False)


def _finish(word: str) -> None:
    if word == "bad":
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
