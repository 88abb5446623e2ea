"""The pointing node and RViz: `ros2 launch molmo_point_ros demo.launch.py target_frame:=odom`."""

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    """`point.launch.py` with all its arguments, and RViz with its displays."""
    share = FindPackageShare("molmo_point_ros")
    point = PathJoinSubstitution([share, "launch", "point.launch.py"])
    config = PathJoinSubstitution([share, "rviz", "point.rviz"])
    return LaunchDescription(
        [
            IncludeLaunchDescription(PythonLaunchDescriptionSource(point)),
            Node(package="rviz2", executable="rviz2", arguments=["-d", config], output="log"),
        ]
    )
