"""The robot half of molmo-point: camera messages in, points in metres out.

Everything here but `node`, `rclpy_types` and `point_client` is free of ROS: the same session runs in the ROS 2 node, in the
DDS bridge and over recorded bags. It stands on `molmo_point` (who points) and `molmo_calibration` (where that is).
"""

__version__ = "0.1.0"
