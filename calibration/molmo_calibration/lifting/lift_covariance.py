"""How errors of pixel, depth, plane and intrinsics move a lifted point.

A lifted point p solves three equations: project(p, k) = uv (two of them), and one more, g(p) = h,
that says how far it is (a depth, a range or a plane). Differentiating all three,

    A dp = [duv - (d project/dk) dk ; dh],   A = [d project/dp ; dg/dp]

and A^-1 carries every error to p, for every lens and every kind of "how far".
"""

from __future__ import annotations

import numpy as np

from molmo_calibration.arrays import FloatArray, symmetric
from molmo_calibration.cameras.camera import Camera


def lift_covariance(
    camera: Camera,
    points: FloatArray,
    gradient: FloatArray,
    pixel_covariance: FloatArray,
    distance_variance: FloatArray,
    distance_per_pixel: FloatArray | None = None,
) -> FloatArray:
    """Covariance of lifted points.

    Args:
        camera: with `intrinsics_covariance` if that is to count.
        points: (..., 3) the lifted points, metres.
        gradient: (..., 3) dg/dp of the third equation: (0, 0, 1) for a depth along the axis, the
            unit ray for a range, the normal for a plane.
        pixel_covariance: (..., 2, 2) pixels².
        distance_variance: (...) variance of h, metres².
        distance_per_pixel: (..., 2) dh/du, dh/dv, where a wrong pixel also reads another depth.

    Returns:
        (..., 3, 3) metres²; NaN where anything is NaN.
    """
    projection = camera.jacobian(points)
    rows = np.concatenate([projection, np.broadcast_to(gradient, points.shape)[..., None, :]], -2)
    usable = np.isfinite(rows).all(axis=(-1, -2), keepdims=True)
    inverse = np.linalg.inv(np.where(usable, rows, np.eye(3)))
    inverse = np.where(usable, inverse, np.nan)
    from_pixel = inverse[..., :, :2]
    if distance_per_pixel is not None:
        from_pixel = from_pixel + inverse[..., :, 2:] * distance_per_pixel[..., None, :]
    from_distance = inverse[..., :, 2:]
    total = from_pixel @ pixel_covariance @ np.swapaxes(from_pixel, -1, -2)
    variance = np.asarray(distance_variance)[..., None, None]
    total = total + from_distance * variance @ np.swapaxes(from_distance, -1, -2)
    if camera.intrinsics_covariance is not None:
        from_camera = inverse[..., :, :2] @ camera.intrinsics_jacobian(points)
        total = total + (
            from_camera @ camera.intrinsics_covariance @ np.swapaxes(from_camera, -1, -2)
        )
    return symmetric(np.asarray(total))
