"""`molmo-point bag`: answers about recorded images, written into the recording."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_point.cli.model_options import (
    AsJson,
    ModelSelection,
    Quiet,
    Timeout,
    open_pointer,
    with_model_options,
)
from molmo_point.wording import counted
from molmo_robot.cli.options import (
    DepthScale,
    Settings,
    TfNamespace,
    robot_class,
    transform_topics,
    with_settings,
)

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer
    from molmo_robot.bag.annotate import Summary, Task
    from molmo_robot.dds.types import RosTypes

FOUND, FAILED, NOTHING = 0, 1, 3


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("bag")(bag)


@with_model_options
def bag(
    recording: Annotated[
        Path, typer.Argument(help="rosbag2 folder, .mcap, .db3 (also .zst), .bag.")
    ],
    query: Annotated[str, typer.Option(help="What to point to.")],
    image: Annotated[str, typer.Option(help="Topic of the images.")],
    out: Annotated[Path, typer.Option(help="OUT.mcap for one file, else a rosbag2 folder.")],
    info: Annotated[str, typer.Option(help="Topic of their camera_info; needed for metres.")] = "",
    depth: Annotated[
        str, typer.Option(help="Topic of depth images (16UC1 mm or 32FC1 m), also compressed.")
    ] = "",
    depth_info: Annotated[str, typer.Option(help="Their camera_info, if not registered.")] = "",
    depth_scale: DepthScale = 0.0,
    target_frame: Annotated[str, typer.Option(help="Frame of the positions, e.g. odom.")] = "",
    tf_namespace: TfNamespace = "",
    every: Annotated[int, typer.Option(min=1, help="Answer every nth image.")] = 1,
    start: Annotated[float, typer.Option(min=0.0, help="Seconds after the begin.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0.0, help="Seconds after the begin.")] = None,
    at: Annotated[
        list[float] | None,
        typer.Option(help="The image at this second, instead of every nth (repeatable)."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Of the result topics.")] = "/molmo_point",
    storage: Annotated[str, typer.Option(help="Of a folder: mcap or sqlite3.")] = "mcap",
    rerun: Annotated[Path | None, typer.Option(help="Also write OUT.rrd for Rerun.")] = None,
    distro: Annotated[
        str, typer.Option(help="Whose message definitions count where the recording has none.")
    ] = "jazzy",
    settings: Settings = None,
    *,
    where: ModelSelection,
    timeout: Timeout = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Point in every image of a ROS 2 bag. Rerun the same command to resume."""
    from molmo_robot.bag.annotate import Selection, Task
    from molmo_robot.dds.types import RosTypes

    types = RosTypes(distro)
    options = {
        **topics_of(image, info, depth, depth_info),
        "target_frame": target_frame,
        "camera.depth_scale": depth_scale,
        **(transform_topics(tf_namespace) if tf_namespace else {}),
    }
    parameters = with_settings(options, settings)
    parameters = {**transports(recording, parameters, types), **parameters}
    task = Task(
        recording,
        out,
        image,
        query,
        Selection(every, start, end, tuple(at or ())),
        prefix.rstrip("/"),
        storage,
        timeout or 600.0,
    )
    with open_pointer(where, quiet=quiet) as pointer:
        identity = json.dumps([where.identity(pointer.model), parameters], sort_keys=True)
        task = dataclasses.replace(task, identity=identity)
        summary = run(task, pointer, parameters, types, quiet=quiet, rerun=rerun)
    report(summary, task, as_json=as_json, asked=wants_metres(parameters))
    raise typer.Exit(exit_code(summary, asked=wants_metres(parameters)))


def topics_of(image: str, info: str, depth: str, depth_info: str) -> dict[str, object]:
    """Return the parameters of one recorded camera."""
    return {
        "camera.image_topic": image,
        "camera.info_topic": info,
        "camera.depth_topic": depth,
        "camera.depth_info_topic": depth_info,
        # All data of an image are there when it is answered, so nothing is waited for.
        "tf_timeout_s": 0.0,
    }


def transports(
    recording: Path, parameters: dict[str, object], types: RosTypes
) -> dict[str, object]:
    """Check that the topics are in the recording; return the transports that their types ask for.

    Raises:
        BagError: One is not there, or is of another type.
    """
    from molmo_robot.bag.annotate import CALIBRATIONS, IMAGES, topic_types

    expected = {
        "image": IMAGES,
        "info": CALIBRATIONS,
        "depth": IMAGES,
        "depth-info": CALIBRATIONS,
    }
    topics = {n: str(parameters[f"camera.{n.replace('-', '_')}_topic"]) for n in expected}
    wanted = {f"--{n}": (topics[n], kinds) for n, kinds in expected.items() if topics[n]}
    found = topic_types(recording, wanted, types)
    return {
        f"camera.{name}_transport": "compressed" if kind.endswith("CompressedImage") else "raw"
        for name in ("image", "depth")
        if (kind := found.get(f"--{name}"))
    }


def wants_metres(parameters: dict[str, object]) -> bool:
    """Whether positions are requested, not only pixels."""
    names = ("camera.info_topic", "camera.depth_topic", "target_frame", "position_source")
    return any(parameters.get(name) for name in names)


def exit_code(summary: Summary, *, asked: bool) -> int:
    """Return 0 where points were found (with positions, where requested), 3 where nothing matches, 1 after a failure."""
    if not summary.points:
        return FAILED if summary.failures else NOTHING
    return FAILED if asked and not summary.placed else FOUND


def run(
    task: Task,
    pointer: Pointer,
    parameters: dict[str, object],
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

    from molmo_robot.bag.annotate import annotate

    robot = robot_class()(parameters, pointer, types.make)
    viewer = None
    if rerun is not None:
        from molmo_robot.bag.rerun import RerunFile

        viewer = RerunFile(rerun)
    columns = (TextColumn("pointing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, quiet=quiet)
    # The summary names these problems.
    robot_log = logging.getLogger("molmo_point.robot")
    robot_log.addFilter(_errors_only)
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
        robot_log.removeFilter(_errors_only)
        if viewer is not None:
            viewer.close()


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def report(summary: Summary, task: Task, *, as_json: bool, asked: bool = False) -> None:
    """Print the result on stdout, problems on stderr; points without positions only where positions were requested (`asked`)."""
    unplaced = summary.unplaced if asked else ()
    for words in (*summary.warnings, *summary.failures, *unplaced):
        typer.echo(f"molmo-point: {words}", err=True)
    if as_json:
        result = {
            "out": str(task.out),
            "pictures": summary.images,
            "resumed": summary.resumed,
            "points": summary.points,
            "placed": summary.placed,
            "unplaced": list(summary.unplaced),
            "failures": list(summary.failures),
            "warnings": list(summary.warnings),
        }
        typer.echo(json.dumps(result))
    else:
        again = f", {summary.resumed} of them known from before" if summary.resumed else ""
        metres = f", {summary.placed} of them in metres" if asked else ""
        typer.echo(
            f"{task.out}: {counted(summary.points, 'point')}{metres} in {counted(summary.images, 'image')}{again}"
        )
