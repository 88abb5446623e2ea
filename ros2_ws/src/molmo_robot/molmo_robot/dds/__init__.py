"""A ROS 2 participant without ROS: Cyclone DDS from PyPI on the wire, message definitions and CDR from rosbags.

`types` knows messages, `wire_types` hands them to Cyclone DDS, `participant` is a node on the graph, `bridge` answers queries.
Only `wire_types` and what stands on it needs `cyclonedds`; bags use `types` alone.
"""
