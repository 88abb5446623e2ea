"""`molmo-point bridge dds`: a ROS 2 participant on a machine without ROS."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molmo_point.cli.model_options import (
    ModelSelection,
    Quiet,
    open_pointer,
    with_model_options,
)
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


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    bridges = typer.Typer(help="Answer on another middleware's topics.", no_args_is_help=True)
    bridges.command("dds")(dds)
    app.add_typer(bridges, name="bridge")


@with_model_options
def dds(
    image: Annotated[str, typer.Option(help="Topic of the images (sensor_msgs/Image).")],
    query: Annotated[str, typer.Option(help="What to point to; ~/query_text changes it.")] = "",
    info: Annotated[str, typer.Option(help="Topic of their camera_info; needed for metres.")] = "",
    depth: Annotated[
        str,
        typer.Option(
            help="Topic of depth images (16UC1 mm or 32FC1 m); compressed where its last name begins with compressed."
        ),
    ] = "",
    depth_info: Annotated[str, typer.Option(help="Their camera_info, if not registered.")] = "",
    compressed: Annotated[bool, typer.Option(help="--image is a CompressedImage.")] = False,
    depth_scale: DepthScale = 0.0,
    target_frame: Annotated[str, typer.Option(help="Frame of the positions, e.g. odom.")] = "",
    tf_namespace: TfNamespace = "",
    node: Annotated[str, typer.Option(help="Node name on the graph.")] = "molmo_point",
    namespace: Annotated[str, typer.Option(help="Namespace of the node.")] = "/",
    domain: Annotated[int, typer.Option(min=0, max=232, envvar="ROS_DOMAIN_ID")] = 0,
    network: Annotated[
        str,
        typer.Option(
            help="loopback (this machine only), localhost-only (a ROS side with ROS_LOCALHOST_ONLY=1), network."
        ),
    ] = "loopback",
    distro: Annotated[
        str, typer.Option(help="Of the ROS 2 side: humble, jazzy, kilted, lyrical.")
    ] = "jazzy",
    settings: Settings = None,
    *,
    where: ModelSelection,
    quiet: Quiet = False,
) -> None:
    """Subscribe to camera topics over DDS and publish points, as a node that `ros2 node list` shows. Ends with Ctrl-C."""
    options = {
        "query": query,
        "target_frame": target_frame,
        "camera.image_topic": image,
        "camera.image_transport": "compressed" if compressed else "",
        "camera.info_topic": info,
        "camera.depth_topic": depth,
        "camera.depth_info_topic": depth_info,
        "camera.depth_scale": depth_scale,
        **(transform_topics(tf_namespace) if tf_namespace else {}),
    }
    parameters = with_settings(options, settings)
    parameters["camera.image_transport"] = parameters["camera.image_transport"] or "raw"
    with open_pointer(where, quiet=quiet) as pointer:
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        serve(
            pointer,
            parameters,
            stopped,
            quiet=quiet,
            distro=distro,
            node=node,
            namespace=namespace,
            domain=domain,
            network=network,
        )


def serve(
    pointer: Pointer,
    parameters: dict[str, object],
    stopped: threading.Event,
    *,
    quiet: bool = False,
    distro: str = "jazzy",
    **options: Any,
) -> None:
    """Answer until `stopped` is set.

    Args:
        pointer: The model.
        parameters: Of the robot, by their full names.
        stopped: Ends it.
        quiet: Write nothing to stderr.
        distro: Whose message definitions count.
        options: Of `Participant`.
    """
    from molmo_robot.dds.bridge import Bridge
    from molmo_robot.dds.participant import Participant
    from molmo_robot.dds.types import RosTypes

    types = RosTypes(distro)
    robot = robot_class()(parameters, pointer, types.make, make_tracker=_tracker_factory())
    try:
        with Participant(types=types, **options) as participant:
            bridge = Bridge(participant, robot)
            if not quiet:
                topic = participant.absolute("~/points")
                typer.echo(f"answers on {topic} (Ctrl-C ends it)", err=True)
            bridge.run(stopped)
            robot.close()
    finally:
        robot.close()


def _tracker_factory() -> Any:
    from molmo_robot.continuous_pointing import tracker_factory

    return tracker_factory()
