"""`molmo-calibrate`: boards, cameras, hand-eye, projection and checks on the command line.

Results go to stdout (`--json` for machines), talk and progress bars to stderr. Exit code 0: fine;
1: failed, or the verdict is bad; 2: the user's mistake; 3: no point has a position.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.cli.options import (
    AsJson,
    CameraName,
    Overwrite,
    Report,
    Size,
)
from molmo_calibration.cli.parts import (
    camera_of,
    check_free,
    detections_in,
    finish,
    number,
    print_answer,
    progress,
    report_facts,
    takes_board,
    talk,
    version,
)
from molmo_calibration.errors import (
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


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", "-V", help="print the version")
    ] = False,
) -> None:
    """Options of the program itself."""
    if show_version:
        typer.echo(f"molmo-calibrate {version()}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command("board")
@takes_board
def print_board(
    board: Board,
    output: Annotated[Path, typer.Argument(help="PDF to write (.pdf)")],
    paper: Annotated[str, typer.Option(help="a4, a3, a2, a1, a0, letter or tabloid")] = "a4",
    overwrite: Overwrite = False,
) -> None:
    """Make a calibration board to print, with a ruler on it."""
    from molmo_calibration.calibrate.board_pdf import save_board_pdf

    if output.suffix.lower() != ".pdf":
        raise InvalidArgumentError(
            f"a board is written as a PDF, which prints at its true size; name it "
            f"{output.with_suffix('.pdf')}, got {output}"
        )
    check_free(overwrite, output)
    save_board_pdf(board, output, paper)
    talk.print(f"wrote {output}: print it at 100 %, check the ruler, glue it to a flat plate")
    typer.echo(str(output))


@app.command()
@takes_board
def intrinsics(
    board: Board,
    folder: Annotated[Path, typer.Argument(help="folder with pictures of the board")],
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
    from molmo_calibration.calibrate.intrinsics import calibrate_intrinsics
    from molmo_calibration.files.camera_files import camera_to_dict, save_camera
    from molmo_calibration.reports.assessment import judge_intrinsics
    from molmo_calibration.reports.report import intrinsics_report
    from molmo_calibration.reports.thumbnails import thumbnails

    check_free(overwrite, output, report)
    found = detections_in(folder, board)
    with progress("calibrating") as tell:
        result = calibrate_intrinsics(found, model, progress=tell)
    verdict = judge_intrinsics(result)
    if output is not None:
        save_camera(result.camera, output)
        talk.print(f"wrote {output}")
    elif not as_json:
        talk.print("the camera is not kept; --output cam.yaml writes it to a file")
    if report is not None:
        facts = report_facts({"pictures": str(folder), "board": board.words})
        pictures = thumbnails(folder, result.views)
        title = f"Camera of {folder.name}"
        report.write_text(intrinsics_report(result, verdict, title, facts, pictures), "utf-8")
        talk.print(f"wrote {report}")
    numbers = {
        "verdict": verdict.word,
        "sentence": verdict.sentence,
        "advice": list(verdict.advice),
        "rms_px": result.rms_px,
        "held_out_rms_px": number(result.held_out_rms_px),
        "sigmas": result.sigmas.tolist(),
        "coverage": {n: getattr(result.coverage, n) for n in ("x", "y", "size", "skew", "seen")},
        "views": [
            {"name": v.name, "rms_px": v.rms_px, "outlier": v.outlier} for v in result.views
        ],
        "camera": camera_to_dict(result.camera),
    }
    print_answer(numbers, verdict.sentence, verdict.advice, as_json)
    finish(verdict.word)


@app.command("hand-eye")
@takes_board
def hand_eye(
    board: Board,
    file: Annotated[
        Path,
        typer.Argument(
            help="poses, YAML or JSON (calibration/README.md), or samples of easy_handeye2 or MoveIt"
        ),
    ],
    setup: Annotated[
        str | None,
        typer.Option(help="eye_in_hand or eye_to_hand, where the file does not say it"),
    ] = None,
    camera: Annotated[
        Path | None, typer.Option(help="camera file, if the poses have images")
    ] = None,
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
    from molmo_calibration.calibrate.hand_eye import calibrate_hand_eye, opencv_answer
    from molmo_calibration.files.hand_eye_files import (
        hand_eye_to_dict,
        load_hand_eye,
        save_hand_eye,
    )
    from molmo_calibration.reports.assessment import judge_hand_eye
    from molmo_calibration.reports.report import hand_eye_report

    check_free(overwrite, output, report)
    with progress("reading poses") as tell:
        known = camera_of(camera, camera_name, size) if camera is not None else None
        told, samples = load_hand_eye(file, known, board, tell, setup)
    result = calibrate_hand_eye(samples, told)
    verdict = judge_hand_eye(result)
    if output is not None:
        save_hand_eye(result, output)
        talk.print(f"wrote {output}")
    if report is not None:
        facts = {"poses": str(file), "board": board.words, "camera file": str(camera or "none")}
        page = hand_eye_report(result, verdict, f"Hand-eye of {file.name}", report_facts(facts))
        report.write_text(page, "utf-8")
        talk.print(f"wrote {report}")
    numbers = {"verdict": verdict.word, "sentence": verdict.sentence, **hand_eye_to_dict(result)}
    other = opencv_answer(samples, told)
    if other is None:
        talk.print("this OpenCV has no hand-eye solver to compare with")
    else:
        metres, radians = result.transform.difference(other)
        numbers["opencv_difference"] = {"mm": metres * 1e3, "deg": float(np.rad2deg(radians))}
    text = f"{verdict.sentence}\n{result.sentence}\n{numbers['static_transform_publisher']}"
    print_answer(numbers, text, verdict.advice, as_json)
    finish(verdict.word)


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
    from molmo_calibration.files.depth_files import load_depth, parse_plane, unit_hint
    from molmo_calibration.files.pointing_files import load_pointing, locate
    from molmo_calibration.files.transform_files import load_transform

    loaded = camera_of(camera, camera_name, size)
    if depth_scale is not None and depth is None:
        raise InvalidArgumentError("--depth-scale is for --depth, which is not given")
    image = load_depth(depth, depth_scale) if depth is not None else None
    if image is not None and (hint := unit_hint(image)):
        talk.print(hint)
    pixels = load_pointing(pointing, loaded, talk.print)
    if image is not None and len({pixel.image for pixel in pixels}) > 1:
        talk.print("one depth image is used for the answers of several pictures")
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
@takes_board
def check(
    board: Board,
    camera: Annotated[Path, typer.Argument(help="camera file")],
    folder: Annotated[
        Path | None, typer.Option("--pictures", help="new pictures of the board to test it on")
    ] = None,
    as_json: AsJson = False,
    camera_name: CameraName = None,
    size: Size = None,
) -> None:
    """Look whether a camera file makes sense, and whether it fits pictures it has not seen."""
    from molmo_calibration.calibrate.camera_check import (
        better_camera,
        check_camera,
        check_pictures,
    )

    loaded = camera_of(camera, camera_name, size)
    findings = check_camera(loaded)
    numbers: dict[str, Any] = {"findings": list(findings), "size": list(loaded.image_size)}
    word = "bad" if findings else "good"
    lines = list(findings) or ["the camera file makes sense"]
    if folder is not None:
        found = detections_in(folder, board)
        rms = check_pictures(loaded, found)
        numbers["rms_px"] = number(rms)
        if rms > 0.5:
            word = "bad" if rms > 1.0 or findings else "usable"
        lines.append(f"{rms:.2f} px rms on the pictures of {folder}; below 0.5 is good")
        other = better_camera(loaded, found)
        if other:
            numbers["findings"].append(other)
            lines.append(other)
    numbers["verdict"] = word
    print_answer(numbers, "\n".join(lines), (), as_json)
    finish(word)


def main() -> None:
    """Run the command line; the user's mistakes are one sentence and exit code 2."""
    try:
        app()
    except (CalibrationError, MissingExtraError, BrokenLibraryError, OSError) as error:
        talk.print(f"molmo-calibrate: {error}", style="red")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
