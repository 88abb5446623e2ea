"""The camera of a cropped, resized, flipped or turned image.

Cropping, scaling and flipping change K and P only. A quarter turn also turns the optical frame,
because x stays right and y stays down in the new image; the rotation is returned with the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.cameras.image_map import ImageMap
from molmo_calibration.errors import InvalidArgumentError


@dataclass(frozen=True, eq=False)
class MappedCamera:
    """The camera of a changed image.

    Args:
        camera: to be used with pixels of the changed image.
        new_from_old: (3, 3) rotation from the old optical frame to the new camera's; the identity
            unless the image was turned. p_new = new_from_old @ p_old.
    """

    camera: Camera
    new_from_old: FloatArray


def map_camera(camera: Camera, image_map: ImageMap) -> MappedCamera:
    """Carry a camera along with its image.

    Args:
        camera: camera of the source image, region of interest and binning included; the result
            has both worked into K.
        image_map: what was done to the image.

    Returns:
        Camera with `project(new_from_old @ p) == image_map.uv(old.project(p))`. Flips make a
        focal length negative: the frame stays right-handed and where it was.

    Raises:
        InvalidArgumentError: the map starts from another size, shears, or turns a tilted sensor
            by 90 degrees, for which OpenCV's 14 coefficients have no expression.
    """
    if image_map.source_size != camera.image_size:
        raise InvalidArgumentError(
            f"the map must start from the camera's image of {camera.image_size}, "
            f"got one that starts from {image_map.source_size}"
        )
    full = image_map.uv_matrix
    turn = _quarter_turn(full[:2, :2])
    frame = np.eye(3)
    frame[:2, :2] = turn
    changed = full @ camera.delivered_from_full
    projection = np.column_stack([frame, np.zeros(3)])
    projection = np.vstack([projection, [0, 0, 0, 1]])
    assert camera.projection is not None
    mapped = Camera(
        width=image_map.target_size[0],
        height=image_map.target_size[1],
        matrix=_clean(changed @ camera.matrix @ frame.T),
        distortion=_turned(camera.distortion, camera.model, turn),
        model=camera.model,
        rectification=frame @ camera.rectification @ frame.T,
        projection=changed @ camera.projection @ projection.T,
        frame_id=camera.frame_id,
        intrinsics_covariance=_covariance(camera, changed, turn),
    )
    return MappedCamera(mapped, frame)


def _quarter_turn(linear: FloatArray) -> FloatArray:
    """The turn M for which linear = S M with S diagonal, and positive if M can make it so."""
    size = float(np.abs(linear).max())
    straight = np.abs(linear[[0, 1], [1, 0]]).max() < 1e-9 * size
    crossed = np.abs(linear[[0, 1], [0, 1]]).max() < 1e-9 * size
    if not straight and not crossed:
        raise InvalidArgumentError(
            f"a camera can follow quarter turns, flips and scaling, got {linear.tolist()}; "
            "move the points back to the source image with image_map.inverse() instead"
        )
    if straight:
        both_negative = linear[0, 0] < 0 and linear[1, 1] < 0
        return np.asarray(-np.eye(2) if both_negative else np.eye(2))
    # Clockwise by 90 degrees moves x to y and y to -x; the other way round the signs swap.
    clockwise = np.array([[0.0, -1.0], [1.0, 0.0]])
    return clockwise if linear[1, 0] > 0 else -clockwise


def _clean(matrix: FloatArray) -> FloatArray:
    """Zeros that rounding has spoiled, put back where K has them."""
    result = np.diag(np.diag(matrix))
    result[:2, 2] = matrix[:2, 2]
    return result


def _turned(coefficients: FloatArray, model: str, turn: FloatArray) -> FloatArray:
    """Distortion coefficients in turned axes.

    The tangential terms are r² t + 2 (t·x) x with the vector t = (p2, p1); the thin prism terms
    are r² (s1, s3) + r⁴ (s2, s4). Vectors turn with the axes, everything radial stays.
    """
    if model in ("none", "equidistant") or (turn == np.eye(2)).all():
        return coefficients
    result = np.array(coefficients)
    result[[3, 2]] = turn @ coefficients[[3, 2]]
    if len(result) >= 12:
        result[[8, 10]] = turn @ coefficients[[8, 10]]
        result[[9, 11]] = turn @ coefficients[[9, 11]]
    if len(result) == 14 and result[12:].any():
        if turn[0, 0] == 0:
            raise InvalidArgumentError(
                "a camera with a tilted sensor (14 coefficients) cannot be turned by 90 degrees; "
                "turn the points back with image_map.inverse() and use the camera as it is"
            )
        result[12:] = -result[12:]
    return result


def _covariance(camera: Camera, changed: FloatArray, turn: FloatArray) -> FloatArray | None:
    """The covariance of (fx, fy, cx, cy, *D) after the change, which is linear in them."""
    if camera.intrinsics_covariance is None:
        return None
    size = 4 + len(camera.distortion)
    jacobian = np.eye(size)
    linear = changed[:2, :2]
    jacobian[:2, :2] = linear * turn
    jacobian[2:4, 2:4] = linear
    # `_turned` has refused a tilted sensor by now; without tilt, its two coefficients stay put.
    free = min(len(camera.distortion), 12)
    if free and (turn != np.eye(2)).any():
        columns = [_turned(row, camera.model, turn) for row in np.eye(free)]
        jacobian[4 : 4 + free, 4 : 4 + free] = np.stack(columns, axis=1)
    return np.asarray(jacobian @ camera.intrinsics_covariance @ jacobian.T)
