"""The ROS 2 node: parameters, topics, services and the action of rclpy around a session of `molmo_robot`."""
