"""`molmo-point bag`: answers about recorded pictures, written into the recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molmo_point.cli.opening import (
    AsJson,
    Connect,
    Device,
    Dtype,
    Key,
    Model,
    Quantize,
    Quiet,
    Timeout,
    Token,
    Where,
    open_pointer,
)
from molmo_point.cli.robots import Settings, parameters_of, robot_class

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer
    from molmo_point.service.bag import Summary, Task
    from molmo_point.service.dds.types import RosTypes

NOTHING = 3


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("bag")(bag)


def bag(
    recording: Annotated[Path, typer.Argument(help="rosbag2 folder, .mcap or .db3 file.")],
    query: Annotated[str, typer.Option(help="What to point to.")],
    image: Annotated[str, typer.Option(help="Topic of the pictures.")],
    out: Annotated[Path, typer.Option(help="OUT.mcap for one file, else a rosbag2 folder.")],
    info: Annotated[str, typer.Option(help="Topic of their camera_info; needed for metres.")] = "",
    depth: Annotated[str, typer.Option(help="Topic of depth images (16UC1 mm or 32FC1 m).")] = "",
    depth_info: Annotated[str, typer.Option(help="Their camera_info, if not registered.")] = "",
    target_frame: Annotated[str, typer.Option(help="Frame of the positions, e.g. odom.")] = "",
    every: Annotated[int, typer.Option(min=1, help="Answer every nth picture.")] = 1,
    start: Annotated[float, typer.Option(min=0.0, help="Seconds after the begin.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0.0, help="Seconds after the begin.")] = None,
    at: Annotated[
        list[float] | None,
        typer.Option(help="The picture at this second, instead of every nth (repeatable)."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Of the result topics.")] = "/molmo_point",
    storage: Annotated[str, typer.Option(help="Of a folder: mcap or sqlite3.")] = "mcap",
    rerun: Annotated[
        Path | None, typer.Option(help="Also write OUT.rrd for the Rerun viewer.")
    ] = None,
    distro: Annotated[
        str, typer.Option(help="Whose message definitions count where the recording has none.")
    ] = "jazzy",
    settings: Settings = None,
    model: Model = None,
    connect: Connect = None,
    key: Key = None,
    token: Token = None,
    device: Device = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    timeout: Timeout = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Point in the pictures of a ROS 2 recording; interrupted, the same line again goes on where it stopped."""
    from molmo_point.service.bag import Selection, Task, picture_type
    from molmo_point.service.dds.types import RosTypes

    where = Where(model, connect, key, token, device, dtype, quantize)
    types = RosTypes(distro)
    compressed = picture_type(recording, image, types).endswith("CompressedImage")
    parameters = {
        "target_frame": target_frame,
        "camera.image_topic": image,
        "camera.image_transport": "compressed" if compressed else "raw",
        "camera.info_topic": info,
        "camera.depth_topic": depth,
        "camera.depth_info_topic": depth_info,
        # Everything that belongs to a picture has gone by when it is answered: there is nothing to wait for.
        "tf_timeout_s": 0.0,
        **parameters_of(settings),
    }
    task = Task(
        recording,
        out,
        image,
        query,
        Selection(every, start, end, tuple(at or ())),
        prefix.rstrip("/"),
        storage,
        timeout or 600.0,
        json.dumps([connect or model or "nano", parameters], sort_keys=True),
    )
    with open_pointer(where, quiet=quiet) as pointer:
        summary = run(task, pointer, parameters, types, quiet=quiet, rerun=rerun)
    report(summary, task, as_json=as_json)
    raise typer.Exit(0 if summary.points else NOTHING)


def run(
    task: Task,
    pointer: Pointer,
    parameters: dict[str, Any],
    types: RosTypes,
    *,
    quiet: bool = False,
    rerun: Path | None = None,
) -> Summary:
    """Do a task with a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from molmo_point.service.bag import annotate

    robot = robot_class()(parameters, pointer, types.make)
    viewer = None
    if rerun is not None:
        from molmo_point.service.bag_rerun import RerunFile

        viewer = RerunFile(rerun)
    columns = (TextColumn("pointing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, quiet=quiet)
    try:
        with Progress(*columns, console=console, transient=True) as bar:
            line = bar.add_task("pointing", total=None)
            return annotate(
                task,
                robot,
                types,
                progress=lambda done, total: bar.update(line, completed=done, total=total),
                watch=viewer.add if viewer else lambda answer, messages: None,
            )
    finally:
        if viewer is not None:
            viewer.close()


def report(summary: Summary, task: Task, *, as_json: bool) -> None:
    """Print the result on stdout, what went wrong on stderr."""
    for words in (*summary.warnings, *summary.failures):
        typer.echo(f"molmo-point: {words}", err=True)
    if as_json:
        result = {
            "out": str(task.out),
            "pictures": summary.pictures,
            "resumed": summary.resumed,
            "points": summary.points,
            "failures": list(summary.failures),
        }
        typer.echo(json.dumps(result))
    else:
        again = f", {summary.resumed} of them known from before" if summary.resumed else ""
        typer.echo(f"{task.out}: {summary.points} points in {summary.pictures} pictures{again}")
