"""A pointed pixel to a position in the robot's base, with error bars, from depth and from a table.

python calibration/examples/pixel_to_metres.py
"""

from __future__ import annotations

import numpy as np
from molmo_calibration import (
    Camera,
    Plane,
    StereoNoise,
    Transform,
    depth_at,
    depth_from_array,
    intersect_plane,
    lift,
    uv_covariance_from_norm,
    uv_from_norm,
)


def main() -> None:
    """Point at a box that stands 0.8 m below a camera looking down at a table at 1 m."""
    k = np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
    lens = np.array([-0.1, 0.02, 0.001, -0.0005, 0.0])
    camera = Camera(640, 480, k, lens, "plumb_bob", frame_id="camera_optical")
    base_from_camera = Transform.from_parts(
        np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 1.0], "base", "camera_optical"
    )
    millimetres = np.full((480, 640), 1000, dtype=np.uint16)
    millimetres[180:300, 240:400] = 800

    # What a pointing answer holds: normalized x, y and a covariance (xx, xy, yy).
    uv = uv_from_norm([0.55, 0.45], camera.image_size)
    sigma = uv_covariance_from_norm([2e-5, 0.0, 3e-5], camera.image_size)

    depth = depth_at(depth_from_array(millimetres), uv, camera)
    noise = StereoNoise(focal_px=600.0, baseline_m=0.05)
    position = lift(camera, uv, depth, sigma, noise).transformed(base_from_camera)
    ball = position.ellipsoid(0.9)
    print(f"depth: {depth.status}, {depth.z_m:.3f} m from {depth.samples} readings")
    print(f"in the base: {np.round(position.point, 4)} m")
    print(f"90 % ellipsoid, half axes: {np.round(ball.radii * 1e3, 1)} mm")

    table = Plane.horizontal(0.0, "base")
    on_table = intersect_plane(camera, uv, table, base_from_camera.inverse(), sigma)
    print(f"on the table: {np.round(on_table.transformed(base_from_camera).point, 4)} m")

    edge = depth_at(depth_from_array(millimetres), [239.5, 240.0], camera)
    print(f"at the edge of the box: {edge.status}, {[c.z_m for c in edge.candidates]}")


if __name__ == "__main__":
    main()
