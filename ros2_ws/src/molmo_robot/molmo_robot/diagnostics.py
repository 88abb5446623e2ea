"""The state of a session as a message for /diagnostics."""

from __future__ import annotations

import math
from collections.abc import Mapping

from molmo_robot.messages.results import Make, header
from molmo_robot.ros_types import Message
from molmo_robot.session import Session
from molmo_robot.stamps import AHEAD_S, SECOND_NS

# Levels of diagnostic_msgs/DiagnosticStatus, which are `byte` fields: rclpy wants bytes, rosbags a number.
OK, WARN, ERROR, STALE = range(4)


def diagnostics(make: Make, session: Session, node: str) -> Message:
    """Build the `diagnostic_msgs/DiagnosticArray`: one status for the model's server, one for each camera, one for transforms."""
    statuses = [_server(make, session, node), _transforms(make, session, node)]
    statuses += [_camera(make, session, node, name) for name in session.buffers]
    now = session.clock()
    return make(
        "diagnostic_msgs/msg/DiagnosticArray", header=header(make, now, ""), status=statuses
    )


def _server(make: Make, session: Session, node: str) -> Message:
    health = session.health
    values = {
        "endpoint": session.settings.server_endpoint,
        "model": health.model,
        "answers": health.answers,
        "failures": health.failures,
        "under way": len(session.counter),
        "last answer took (s)": f"{health.inference_s:.3f}",
        "continuous query": health.problems().get("continuous query", ""),
    }
    if health.server_problem:
        return _status(make, node, "model server", ERROR, health.server_problem, values)
    waiting = math.isnan(health.inference_s)
    words = "no answer yet" if waiting else "answering"
    return _status(make, node, "model server", OK, words, values)


def _transforms(make: Make, session: Session, node: str) -> Message:
    health = session.health
    values = {
        "frames": len(session.transforms.frames),
        "answers without a transform": health.transform_misses,
        "clock set back": health.jumps,
    }
    problem = health.problems().get("transforms", "")
    return _status(make, node, "transforms", WARN if problem else OK, problem or "fine", values)


def _camera(make: Make, session: Session, node: str, name: str) -> Message:
    buffer = session.buffers[name]
    newest_ns = buffer.newest_stamp_ns()
    age_s = math.nan if newest_ns is None else (session.clock() - newest_ns) / SECOND_NS
    values = {
        "image topic": buffer.settings.image_topic,
        "images": buffer.counts.images,
        "depth images": buffer.counts.depths,
        "newest image's age (s)": f"{age_s:.3f}",
        "images without depth": buffer.counts.sync_misses,
    }
    limit_s = session.settings.max_image_age_s
    if newest_ns is None:
        level, words = STALE, f"{buffer.settings.image_topic}: no image has come"
    elif limit_s and age_s > limit_s:
        level, words = (
            ERROR,
            f"{buffer.settings.image_topic}: the newest image is {age_s:.1f} s old",
        )
    elif age_s < -AHEAD_S:
        level, words = (
            WARN,
            f"{buffer.settings.image_topic}: the newest image is {-age_s:.1f} s ahead of this computer's clock: synchronize "
            "the clocks of the camera and of this computer",
        )
    elif buffer.settings.info_topic and buffer.infos.newest is None:
        level, words = WARN, f"{buffer.settings.info_topic}: no camera_info has come"
    elif problem := session.health.problems().get(name):
        level, words = WARN, problem
    else:
        level, words = OK, "images are coming"
    return _status(make, node, f"camera {name}", level, words, values)


def _status(
    make: Make, node: str, part: str, level: int, words: str, values: Mapping[str, object]
) -> Message:
    return make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=level,
        name=f"{node}: {part}",
        message=words,
        hardware_id="",
        values=[
            make("diagnostic_msgs/msg/KeyValue", key=key, value=str(value))
            for key, value in values.items()
        ],
    )
