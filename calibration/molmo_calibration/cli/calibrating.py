"""`molmo-calibrate board`, `intrinsics` and `hand-eye`: make a board, calibrate a camera, find where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.cli.options import AsJson, CameraName, Overwrite, Report, Size
from molmo_calibration.cli.parts import (
    camera_of,
    check_free,
    detections_in,
    exit_by,
    number,
    print_answer,
    progress,
    report_facts,
    takes_board,
    talk,
)
from molmo_calibration.errors import InvalidArgumentError


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


@takes_board
def intrinsics(
    board: Board,
    folder: Annotated[Path, typer.Argument(help="folder with images of the board")],
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
    """Calibrate a camera from a folder of images."""
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
        facts = report_facts({"images": str(folder), "board": board.words})
        images = thumbnails(folder, result.views)
        title = f"Camera of {folder.name}"
        report.write_text(intrinsics_report(result, verdict, title, facts, images), "utf-8")
        talk.print(f"wrote {report}")
    numbers = {
        "verdict": verdict.grade,
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
    exit_by(verdict.grade)


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
    numbers = {"verdict": verdict.grade, "sentence": verdict.sentence, **hand_eye_to_dict(result)}
    other = opencv_answer(samples, told)
    if other is None:
        talk.print("this OpenCV has no hand-eye solver to compare with")
    else:
        metres, radians = result.transform.difference(other)
        numbers["opencv_difference"] = {"mm": metres * 1e3, "deg": float(np.rad2deg(radians))}
    text = f"{verdict.sentence}\n{result.sentence}\n{numbers['static_transform_publisher']}"
    print_answer(numbers, text, verdict.advice, as_json)
    exit_by(verdict.grade)
