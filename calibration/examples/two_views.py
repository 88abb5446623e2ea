"""One thing pointed at in several images of a moving camera: its position without depth.

python calibration/examples/two_views.py
"""

from __future__ import annotations

import numpy as np
from molmo_calibration import Camera, PoseTrack, Transform, View, triangulate


def main() -> None:
    """A camera slides 30 cm to the right in a second; each image has its own stamp."""
    camera = Camera(640, 480, np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]]))
    truth = np.array([0.1, 0.05, 1.2])
    shaky = np.diag([0.002**2] * 3 + [0.002**2] * 3)
    track = PoseTrack(
        [
            (0, Transform.from_parts(np.eye(3), [0, 0, 0], "map", "camera", shaky)),
            (10**9, Transform.from_parts(np.eye(3), [0.3, 0, 0], "map", "camera", shaky)),
        ]
    )
    rng = np.random.default_rng(0)
    views = []
    for stamp_ns in (0, 400_000_000, 1_000_000_000):
        pose = track.at(stamp_ns)
        uv = camera.project(pose.inverse().apply(truth)) + rng.normal(0, 1.5, 2)
        views.append(View(camera, pose, uv, np.eye(2) * 1.5**2))
    found = triangulate(views)
    sigma = np.sqrt(np.diag(found.position.covariance)) * 1e3
    print(f"position in the map: {np.round(found.position.point, 3)} m")
    print(f"one sigma: {np.round(sigma, 1)} mm, truth {truth}")
    print(f"parallax: {np.rad2deg(found.parallax_rad):.1f} degrees")


if __name__ == "__main__":
    main()
