"""`molmo-calibrate project` and `check`: turn pixels into metres, and test a camera file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from molmo_calibration.calibrate.boards import Board
from molmo_calibration.cli.options import AsJson, CameraName, Size
from molmo_calibration.cli.parts import (
    camera_of,
    detections_in,
    exit_by,
    number,
    one_of,
    print_answer,
    takes_board,
    talk,
)
from molmo_calibration.depth.strategies import DEFAULT_STRATEGY, STRATEGIES
from molmo_calibration.errors import InvalidArgumentError


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
    strategy: Annotated[str, typer.Option(help=one_of(STRATEGIES))] = DEFAULT_STRATEGY,
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
    from molmo_calibration.files.pointing_files import distance_hint, load_pointing, locate
    from molmo_calibration.files.transform_files import load_transform

    loaded = camera_of(camera, camera_name, size)
    if depth_scale is not None and depth is None:
        raise InvalidArgumentError("--depth-scale is for --depth, which is not given")
    image = load_depth(depth, depth_scale) if depth is not None else None
    if image is not None and (hint := unit_hint(image)):
        talk.print(hint)
    pixels = load_pointing(pointing, loaded, talk.print)
    if image is not None and len({pixel.image for pixel in pixels}) > 1:
        talk.print("one depth image is used for the answers of several images")
    places = locate(
        loaded,
        pixels,
        image,
        parse_plane(plane) if plane is not None else None,
        strategy,
        depth_sigma / 1e3 if depth_sigma is not None else None,
        load_transform(transform) if transform is not None else None,
    )
    if hint := distance_hint(places):
        talk.print(hint)
    if as_json:
        typer.echo(json.dumps({"points": [place.as_dict() for place in places]}))
    else:
        for place in places:
            typer.echo(place.line())
    if not any(place.position.ok for place in places):
        raise typer.Exit(3)


@takes_board
def check(
    board: Board,
    camera: Annotated[Path, typer.Argument(help="camera file")],
    folder: Annotated[
        Path | None, typer.Option("--pictures", help="new images of the board to test it on")
    ] = None,
    as_json: AsJson = False,
    camera_name: CameraName = None,
    size: Size = None,
) -> None:
    """Check that a camera file is plausible, and that it fits new images of a board."""
    from molmo_calibration.calibrate.camera_check import (
        better_camera,
        check_camera,
        check_images,
    )

    loaded = camera_of(camera, camera_name, size)
    findings = check_camera(loaded)
    numbers: dict[str, Any] = {"findings": list(findings), "size": list(loaded.image_size)}
    grade = "bad" if findings else "good"
    lines = list(findings) or ["the camera file makes sense"]
    if folder is not None:
        found = detections_in(folder, board)
        rms = check_images(loaded, found)
        numbers["rms_px"] = number(rms)
        if rms > 0.5:
            grade = "bad" if rms > 1.0 or findings else "usable"
        lines.append(f"{rms:.2f} px rms on the images of {folder}; below 0.5 is good")
        other = better_camera(loaded, found)
        if other:
            numbers["findings"].append(other)
            lines.append(other)
    numbers["verdict"] = grade
    print_answer(numbers, "\n".join(lines), (), as_json)
    exit_by(grade)
