"""The part of rclpy that the node uses, in one process and without DDS.

Its behaviour is held to the real one's by `test_rclpy_contract.py`, which runs unchanged against either.
"""

from rclpy import graph


class _State:
    up = False


def init(args=None):
    _State.up = True


def ok():
    return _State.up


def shutdown():
    if not _State.up:
        raise RuntimeError("rclpy was not initialized")
    try_shutdown()


def try_shutdown():
    _State.up = False
    graph.clear()


def create_node(name, **options):
    from rclpy.node import Node

    return Node(name, **options)


def spin_until_future_complete(node, future, executor=None, timeout_sec=None):
    """Wait; the fake's nodes are spun by their executor already."""
    import time

    end = None if timeout_sec is None else time.monotonic() + timeout_sec
    while not future.done() and (end is None or time.monotonic() < end):
        time.sleep(0.005)
