"""Start the pointing node for one camera: `ros2 launch molmo_point_ros point.launch.py target_frame:=odom`.

An argument that is not given changes nothing: the parameter file has the last word. Where neither `params_file` nor `image_topic`
is given, the topics are those of a RealSense camera (realsense2_camera 4.54 and later), below `camera_ns`.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

CAMERA_NS = "/camera/camera"
BELOW_CAMERA_NS = {
    "camera.image_topic": "/color/image_raw",
    "camera.info_topic": "/color/camera_info",
    "camera.depth_topic": "/aligned_depth_to_color/image_raw",
}

ARGUMENTS = {
    "namespace": "Namespace of the node.",
    "params_file": "Parameters (default: config/point.yaml with a RealSense camera's topics).",
    "server_endpoint": "Where `molmo-point serve` runs, e.g. tcp://127.0.0.1:5555.",
    "target_frame": "Frame of the positions, e.g. odom; none: the camera's.",
    "camera_ns": f"Of a RealSense driver, its topics are below it (default without params_file and image_topic: {CAMERA_NS}).",
    "image_topic": "Images.",
    "info_topic": "Their calibration; none: there is none.",
    "depth_topic": "Depth registered to the images; none: there is none.",
    "tf_namespace": "Transforms are on NAMESPACE/tf and NAMESPACE/tf_static, e.g. /robot1.",
    "use_sim_time": "true: take the time from /clock.",
}
"""Each is empty unless it is given: `ros2 launch` takes no empty arguments, so that the two can be told apart."""

TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

# Parameter: the launch argument that sets it.
TEXTS = {
    "server_endpoint": "server_endpoint",
    "target_frame": "target_frame",
    "camera.image_topic": "image_topic",
    "camera.info_topic": "info_topic",
    "camera.depth_topic": "depth_topic",
}


def overrides(given):
    """The parameters that the given arguments set.

    Args:
        given: {argument: text}, empty for one that was not given.
    """
    camera_ns = given["camera_ns"]
    if not (camera_ns or given["params_file"] or given["image_topic"]):
        camera_ns = CAMERA_NS
    values = {}
    if camera_ns:
        values = {name: camera_ns.rstrip("/") + below for name, below in BELOW_CAMERA_NS.items()}
    for parameter, name in TEXTS.items():
        if given[name]:
            values[parameter] = "" if given[name] == "none" else given[name]
    if given["tf_namespace"]:
        # From the root, with and without a slash before it: below `namespace` it would be there twice.
        above = f"/{given['tf_namespace'].strip('/')}".rstrip("/")
        values.update(tf_topic=f"{above}/tf", tf_static_topic=f"{above}/tf_static")
    if given["use_sim_time"]:
        values["use_sim_time"] = truth("use_sim_time", given["use_sim_time"])
    return values


def truth(name, text):
    """Read the text of an argument that is true or false; any other text is an error."""
    word = text.strip().lower()
    if word not in TRUE + FALSE:
        raise ValueError(f"{name}: expected true or false, got {text!r}")
    return word in TRUE


def node(context):
    """One lifecycle node that configures and activates itself (parameter autostart)."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    # As text, whatever it looks like: launch_ros reads strings as YAML, and a frame called `on` would be a bool.
    values = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in overrides(given).items()
    }
    shipped = PathJoinSubstitution([FindPackageShare("molmo_point_ros"), "config", "point.yaml"])
    return [
        LifecycleNode(
            package="molmo_point_ros",
            executable="point_node",
            name="point_node",
            namespace=given["namespace"],
            output="screen",
            # launch_ros refuses an empty dict.
            parameters=[given["params_file"] or shipped, *([values] if values else [])],
        )
    ]


def generate_launch_description():
    """The arguments, and the node that they describe."""
    declared = [
        DeclareLaunchArgument(name, default_value="", description=text)
        for name, text in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=node)])
