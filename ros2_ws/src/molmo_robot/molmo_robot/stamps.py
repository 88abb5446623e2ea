"""Stamps of messages as whole nanoseconds, both ways."""

from __future__ import annotations

from molmo_robot.ros_types import Header, Time

SECOND_NS = 1_000_000_000

AHEAD_S = 0.5
"""Stamps further ahead of the clock than this are of another clock."""


def stamp_ns_of(header: Header) -> int:
    """Return a `std_msgs/Header`'s stamp in nanoseconds."""
    return time_ns_of(header.stamp)


def time_ns_of(time: Time) -> int:
    """Return a `builtin_interfaces` Time or Duration in nanoseconds; the inverse of `sec_nanosec`."""
    return int(time.sec) * SECOND_NS + int(time.nanosec)


def sec_nanosec(stamp_ns: int) -> tuple[int, int]:
    """Split nanoseconds into (sec, nanosec), 0 <= nanosec < 1e9; the inverse of `time_ns_of`."""
    sec, nanosec = divmod(int(stamp_ns), SECOND_NS)
    return sec, nanosec
