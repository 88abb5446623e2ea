"""Start the pointing node for one camera: `ros2 launch molmo_point_ros point.launch.py camera_ns:=/camera/color`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "namespace": ("", "Namespace of the node."),
    "params_file": (
        PathJoinSubstitution([FindPackageShare("molmo_point_ros"), "config", "point.yaml"]),
        "Parameters; the arguments below go before it.",
    ),
    "server_endpoint": ("tcp://127.0.0.1:5555", "Where `molmo-point serve` runs."),
    "target_frame": ("", "Frame of the positions, e.g. odom; empty: the camera's."),
    "image_topic": ("/camera/color/image_raw", "Pictures."),
    "info_topic": ("/camera/color/camera_info", "Their calibration."),
    "depth_topic": (
        "/camera/aligned_depth_to_color/image_raw",
        "Depth registered to the pictures; none: there is none.",
    ),
    "use_sim_time": ("false", "Take the time from /clock."),
}

TEXTS = ("server_endpoint", "target_frame", "image_topic", "info_topic", "depth_topic")


def generate_launch_description():
    """One lifecycle node that configures and activates itself (parameter autostart)."""
    value = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    # As text, whatever it looks like: read as YAML, a frame called `on` would be a bool.
    as_text = {name: ParameterValue(value[name], value_type=str) for name in TEXTS}
    # `ros2 launch` takes no empty arguments.
    depth = PythonExpression(
        ["'' if '", value["depth_topic"], "' == 'none' else '", value["depth_topic"], "'"]
    )
    as_text["depth_topic"] = ParameterValue(depth, value_type=str)
    node = LifecycleNode(
        package="molmo_point_ros",
        executable="point_node",
        name="point_node",
        namespace=value["namespace"],
        output="screen",
        parameters=[
            value["params_file"],
            {
                "server_endpoint": as_text["server_endpoint"],
                "target_frame": as_text["target_frame"],
                "camera.image_topic": as_text["image_topic"],
                "camera.info_topic": as_text["info_topic"],
                "camera.depth_topic": as_text["depth_topic"],
                "use_sim_time": value["use_sim_time"],
            },
        ],
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, node])
