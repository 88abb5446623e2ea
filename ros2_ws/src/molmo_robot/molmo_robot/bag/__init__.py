"""ROS 2 and ROS 1 recordings: read, pointed in, resumed after an interruption, written."""
