"""Questions about several images to an `ImagesRequest`, outcomes to `ImagesAnswer`. Duck-typed, as all conversions here."""

from __future__ import annotations

import math

from molmo_point.points import Status
from molmo_robot.codes import STATUS_NUMBERS, Code, Stage
from molmo_robot.image_groups import GroupAnswer, GroupOutcome, ImagesRequest
from molmo_robot.messages.results import NAN, Make, header, pointed_object
from molmo_robot.ros_types import ImagesFeedbackMessage, ImagesQueryMessage, Message
from molmo_robot.stamps import SECOND_NS, sec_nanosec, time_ns_of
from molmo_robot.types import LocatedPoint


def images_request_of(message: ImagesQueryMessage, request_id: str = "") -> ImagesRequest:
    """Read a `molmo_point_msgs/ImagesQuery`.

    Args:
        message: The question.
        request_id: What answers carry where the question names none.
    """
    timeout_ns = time_ns_of(message.timeout)
    return ImagesRequest(
        query=str(message.query),
        cameras=tuple(str(name) for name in message.cameras),
        frames=int(message.frames),
        not_before_ns=time_ns_of(message.not_before),
        target_frame=str(message.target_frame) or None,
        compute_position=bool(message.compute_position),
        max_points=int(message.max_points),
        timeout_s=timeout_ns / SECOND_NS if timeout_ns > 0 else None,
        request_id=str(message.request_id) or request_id,
    )


def images_answer(make: Make, outcome: GroupOutcome) -> Message:
    """Build the `molmo_point_msgs/ImagesAnswer` of an outcome, also of one without an answer."""
    answer = outcome.answer
    pointing = None if answer is None else answer.pointing
    stated = None if pointing is None else pointing.stated_count
    absent = None if pointing is None else pointing.absent_probability
    sec, nanosec = sec_nanosec(0 if answer is None else round(answer.inference_s * SECOND_NS))
    return make(
        "molmo_point_msgs/msg/ImagesAnswer",
        code=int(outcome.code),
        message=outcome.message,
        query=outcome.request.query,
        request_id=outcome.request.request_id,
        model="" if pointing is None else pointing.model,
        # Not NOT_FOUND: that would be a claim. The code says what happened.
        status=STATUS_NUMBERS[Status.PENDING if pointing is None else pointing.status],
        images=[] if answer is None else _source_images(make, answer),
        points=[] if answer is None else [_image_point(make, answer, p) for p in answer.points],
        stated_count=-1 if stated is None else min(stated, 2**31 - 1),
        absent_probability=NAN if absent is None else absent,
        calibrated=False if pointing is None else pointing.calibrated,
        raw_text="" if pointing is None else pointing.text,
        position_message="" if answer is None else answer.position_message,
        inference_time=make("builtin_interfaces/msg/Duration", sec=sec, nanosec=nanosec),
    )


def fill_images_feedback(
    make: Make,
    feedback: ImagesFeedbackMessage,
    request: ImagesRequest,
    stage: Stage,
    before: int,
    partial: GroupAnswer | None,
) -> ImagesFeedbackMessage:
    """Write progress into a feedback of `PointImages.action`, and return it."""
    feedback.stage = int(stage)
    feedback.queue_position = before
    outcome = GroupOutcome(request, Code.TRUNCATED, answer=partial)
    feedback.partial = images_answer(make, outcome)
    return feedback


def _source_images(make: Make, answer: GroupAnswer) -> list[Message]:
    group = answer.group
    return [
        make(
            "molmo_point_msgs/msg/SourceImage",
            header=header(make, snapshot.stamp_ns, snapshot.frame_id),
            position_header=header(make, snapshot.stamp_ns, frame),
            camera=snapshot.camera.name,
            time_s=time_s,
            image_width=snapshot.image_size[0],
            image_height=snapshot.image_size[1],
        )
        for snapshot, frame, time_s in zip(
            group.snapshots, answer.position_frames, group.times_s, strict=True
        )
    ]


def _image_point(make: Make, answer: GroupAnswer, located: LocatedPoint) -> Message:
    index = located.point.image_index
    return make(
        "molmo_point_msgs/msg/ImagePoint",
        image_index=index,
        time_s=answer.group.times_s[index] if answer.group.is_video else math.nan,
        pointed=pointed_object(make, located),
    )
