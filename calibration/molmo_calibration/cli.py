"""`molmo-calibrate`: boards, cameras, hand-eye, projection and checks on the command line.

Results go to stdout (`--json` for machines), talk and progress bars to stderr. Exit code 0: fine;
1: failed, or the verdict is bad; 2: the user's mistake; 3: no point has a position.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from molmo_calibration.errors import (
    BoardNotFoundError,
    BrokenLibraryError,
    CalibrationError,
    InvalidArgumentError,
    MissingExtraError,
)

__all__ = ["app", "main"]

app = typer.Typer(
    help="From pixels to metres: calibrate cameras and hands, and project points. Exit codes: 0 fine, "
    "1 failed or a bad verdict, 2 your mistake, 3 no point has a position.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In a pipe or a log file lines are not broken: paths in them are to be copied.
_talk = Console(
    stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty(), emoji=False, markup=False
)

Columns = Annotated[int, typer.Option(help="squares from left to right")]
Rows = Annotated[int, typer.Option(help="squares from top to bottom")]
Square = Annotated[float, typer.Option(help="side of a square in millimetres, as measured")]
Marker = Annotated[float | None, typer.Option(help="side of a ChArUco marker in millimetres")]
Charuco = Annotated[bool, typer.Option("--charuco", help="a ChArUco board, not a chessboard")]
Dictionary = Annotated[str, typer.Option(help="ArUco dictionary of a ChArUco board")]
Legacy = Annotated[bool, typer.Option(help="ChArUco pattern of OpenCV before 4.6")]
CameraName = Annotated[
    str | None, typer.Option("--camera-name", help="which camera of the file, e.g. cam1")
]
Size = Annotated[
    str | None, typer.Option("--size", help="WxH of the picture, if the camera file has none")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace files that are there")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Report = Annotated[Path | None, typer.Option(help="write a report as one HTML page")]


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="print the version")] = False,
) -> None:
    """Options of the program itself."""
    if version:
        typer.echo(f"molmo-calibrate {_version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def board(
    output: Annotated[Path, typer.Argument(help="PDF to write (.pdf)")],
    columns: Columns = 10,
    rows: Rows = 7,
    square: Square = 25.0,
    marker: Marker = None,
    charuco: Charuco = False,
    dictionary: Dictionary = "DICT_4X4_250",
    paper: Annotated[str, typer.Option(help="a4, a3, a2, a1, a0, letter or tabloid")] = "a4",
    overwrite: Overwrite = False,
) -> None:
    """Make a calibration board to print, with a ruler on it."""
    from molmo_calibration.printing import save_board_pdf

    if output.suffix.lower() != ".pdf":
        raise InvalidArgumentError(
            f"a board is written as a PDF, which prints at its true size; name it "
            f"{output.with_suffix('.pdf')}, got {output}"
        )
    _free(overwrite, output)
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
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Calibrate a camera from a folder of pictures."""
    from molmo_calibration.camera_files import camera_to_dict, save_camera
    from molmo_calibration.intrinsics import calibrate_intrinsics
    from molmo_calibration.report import intrinsics_report
    from molmo_calibration.thumbnails import thumbnails
    from molmo_calibration.verdict import judge_intrinsics

    _free(overwrite, output, report)
    pattern = _board(columns, rows, square, marker, charuco, dictionary, legacy)
    found = _detections(folder, pattern)
    with _progress("calibrating") as tell:
        result = calibrate_intrinsics(found, model, progress=tell)
    verdict = judge_intrinsics(result)
    if output is not None:
        save_camera(result.camera, output)
        _talk.print(f"wrote {output}")
    elif not as_json:
        _talk.print("the camera is not kept; --output cam.yaml writes it to a file")
    if report is not None:
        facts = _facts({"pictures": str(folder), "board": pattern.words})
        pictures = thumbnails(folder, result.views)
        title = f"Camera of {folder.name}"
        report.write_text(intrinsics_report(result, verdict, title, facts, pictures), "utf-8")
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
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    camera_name: CameraName = None,
    size: Size = None,
) -> None:
    """Find where the camera is on the robot, or beside it."""
    from molmo_calibration.hand_eye import calibrate_hand_eye, opencv_answer
    from molmo_calibration.hand_eye_files import hand_eye_to_dict, load_hand_eye, save_hand_eye
    from molmo_calibration.report import hand_eye_report
    from molmo_calibration.verdict import judge_hand_eye

    _free(overwrite, output, report)
    pattern = _board(columns, rows, square, marker, charuco, dictionary, legacy)
    with _progress("reading poses") as tell:
        known = _camera(camera, camera_name, size) if camera is not None else None
        setup, samples = load_hand_eye(file, known, pattern, tell)
    result = calibrate_hand_eye(samples, setup)
    verdict = judge_hand_eye(result)
    if output is not None:
        save_hand_eye(result, output)
        _talk.print(f"wrote {output}")
    if report is not None:
        facts = {"poses": str(file), "board": pattern.words, "camera file": str(camera or "none")}
        page = hand_eye_report(result, verdict, f"Hand-eye of {file.name}", _facts(facts))
        report.write_text(page, "utf-8")
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
    pointing: Annotated[
        Path,
        typer.Option(
            help="answers of molmo-point point --json: one, or one a line; - for standard input"
        ),
    ],
    depth: Annotated[
        Path | None, typer.Option(help="registered depth: 16-bit PNG in mm, TIFF or .npy in m")
    ] = None,
    depth_scale: Annotated[
        float | None,
        typer.Option(help="metres in one step of the depth, if not that: 0.0002 for TUM's PNG"),
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
    camera_name: CameraName = None,
    size: Size = None,
) -> None:
    """Turn pointed pixels into metres, in the camera's frame or another."""
    from molmo_calibration.depth_files import load_depth, parse_plane, unit_hint
    from molmo_calibration.pointing_files import load_pointing, locate
    from molmo_calibration.transform_files import load_transform

    loaded = _camera(camera, camera_name, size)
    if depth_scale is not None and depth is None:
        raise InvalidArgumentError("--depth-scale is for --depth, which is not given")
    image = load_depth(depth, depth_scale) if depth is not None else None
    if image is not None and (hint := unit_hint(image)):
        _talk.print(hint)
    pixels = load_pointing(pointing, loaded, _talk.print)
    if image is not None and len({pixel.image for pixel in pixels}) > 1:
        _talk.print("one depth image is used for the answers of several pictures")
    places = locate(
        loaded,
        pixels,
        image,
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
    camera_name: CameraName = None,
    size: Size = None,
) -> None:
    """Look whether a camera file makes sense, and whether it fits pictures it has not seen."""
    from molmo_calibration.camera_check import better_camera, check_camera, check_pictures

    loaded = _camera(camera, camera_name, size)
    findings = check_camera(loaded)
    numbers: dict[str, Any] = {"findings": list(findings), "size": list(loaded.image_size)}
    word = "bad" if findings else "good"
    lines = list(findings) or ["the camera file makes sense"]
    if folder is not None:
        pattern = _board(columns, rows, square, marker, charuco, dictionary, legacy)
        found = _detections(folder, pattern)
        rms = check_pictures(loaded, found)
        numbers["rms_px"] = _number(rms)
        if rms > 0.5:
            word = "bad" if rms > 1.0 or findings else "usable"
        lines.append(f"{rms:.2f} px rms on the pictures of {folder}; below 0.5 is good")
        other = better_camera(loaded, found)
        if other:
            word = "usable" if word == "good" else word
            numbers["findings"].append(other)
            lines.append(other)
    numbers["verdict"] = word
    _answer(numbers, "\n".join(lines), (), as_json)
    _finish(word)


def main() -> None:
    """Run the command line; the user's mistakes are one sentence and exit code 2."""
    try:
        app()
    except (CalibrationError, MissingExtraError, BrokenLibraryError, OSError) as error:
        _talk.print(f"molmo-calibrate: {error}", style="red")
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

    for name, value in (("--square", square), ("--marker", marker)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InvalidArgumentError(f"{name} must be above 0 (millimetres), got {value:g}")
    kind = "charuco" if charuco else "chessboard"
    side = marker / 1e3 if marker is not None else None
    return Board(columns, rows, square / 1e3, kind, side, dictionary, legacy)


def _detections(folder: Path, pattern: Any) -> list[Any]:
    from molmo_calibration.detection import detect_in_file, likely_board, picture_files

    found, files = [], picture_files(folder)
    reasons: dict[str, list[Path]] = {}
    with _progress("looking for the board") as tell:
        for index, path in enumerate(files):
            try:
                found.append(detect_in_file(path, pattern))
            except BoardNotFoundError as error:
                reason = str(error).replace(str(path), "PICTURE").replace(path.name, "PICTURE")
                reasons.setdefault(reason, []).append(path)
            tell((index + 1) / len(files))
    for reason, paths in reasons.items():
        _talk.print(f"skipped {_names(paths)}: {reason.replace('PICTURE', 'the picture')}")
    _talk.print(f"the board is in {len(found)} of {len(files)} pictures")
    if not found:
        other = likely_board([path for paths in reasons.values() for path in paths], pattern)
        if other:
            _talk.print(other)
    return found


def _names(paths: list[Path]) -> str:
    """One name, or how many and the first few."""
    shown = ", ".join(path.name for path in paths[:3])
    more = ", ..." if len(paths) > 3 else ""
    return shown if len(paths) == 1 else f"{len(paths)} pictures ({shown}{more})"


def _camera(path: Path, name: str | None, size: str | None) -> Any:
    """The camera of a file; says which one it takes where there are several."""
    from molmo_calibration.camera_files import load_camera, names_in

    width_height = None
    if size is not None:
        numbers = size.lower().split("x")
        if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
            raise InvalidArgumentError(f"--size must be WIDTHxHEIGHT as in 640x480, got {size!r}")
        width_height = int(numbers[0]), int(numbers[1])
    loaded = load_camera(path, name, width_height)
    if name is None and len(names := names_in(path)) > 1:
        _talk.print(f"{path} holds {', '.join(names)}: taking {names[0]} (--camera-name)")
    return loaded


def _free(overwrite: bool, *paths: Path | None) -> None:
    """Before hours of work: no file that is there is replaced unless that is wanted."""
    for path in paths:
        if path is not None and path.exists() and not overwrite:
            raise InvalidArgumentError(f"{path} is there already; --overwrite replaces it")


def _facts(facts: dict[str, str]) -> dict[str, str]:
    """What a report says about how it came to be."""
    command = " ".join(["molmo-calibrate", *(shlex.quote(word) for word in sys.argv[1:])])
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"date": now, "command": command, "version": _version(), **facts}


def _version() -> str:
    try:
        return importlib.metadata.version("molmo-point")
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree"


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
        _talk.print(f"to make it better: {line}")


def _finish(word: str) -> None:
    if word == "bad":
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
