"""One view of a point: camera, pose and pixel, and how a point in the world fits to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray, as_covariance, as_finite
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.geometry.transforms import Transform


@dataclass(frozen=True, eq=False)
class View:
    """One observation of a point.

    Args:
        camera: the camera.
        world_from_camera: its pose when the image was taken; its covariance counts.
        uv: (2,) pixel of the point.
        pixel_covariance: (2, 2) pixels²; 1 px² in each direction if left out.
    """

    camera: Camera
    world_from_camera: Transform
    uv: FloatArray
    pixel_covariance: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "uv", as_finite(self.uv, "uv", (2,)))
        if self.pixel_covariance is not None:
            checked = as_covariance(self.pixel_covariance, "pixel_covariance", 2)
            object.__setattr__(self, "pixel_covariance", checked)


class PosedView:
    """A view with rotation, origin and weights computed once; they are used in every iteration."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.rotation = view.world_from_camera.rotation
        self.origin = view.world_from_camera.translation
        self.pixel = np.eye(2) if view.pixel_covariance is None else view.pixel_covariance
        self.rough = np.linalg.inv(self.pixel)
        self.lens_root: FloatArray | None = None
        if view.camera.intrinsics_covariance is not None:
            values, vectors = np.linalg.eigh(view.camera.intrinsics_covariance)
            self.lens_root = vectors * np.sqrt(np.maximum(values, 0.0))

    def inner(self, point: FloatArray) -> FloatArray:
        """The point in the camera's frame."""
        return np.asarray((point - self.origin) @ self.rotation)

    def residual(self, point: FloatArray) -> FloatArray:
        """Measured minus reprojected pixel; NaN where the camera cannot see the point."""
        return np.asarray(self.view.uv - self.view.camera.project(self.inner(point)))

    def jacobian(self, point: FloatArray) -> FloatArray:
        """d(uv) / d(world point), (2, 3)."""
        return np.asarray(self.view.camera.jacobian(self.inner(point)) @ self.rotation.T)

    def weight(self, point: FloatArray) -> FloatArray:
        """Inverse covariance (2, 2) of the residual: pixel, pose and intrinsics."""
        pose, camera = self.view.world_from_camera, self.view.camera
        if pose.covariance is None and camera.intrinsics_covariance is None:
            return self.rough
        total = np.array(self.pixel)
        inner = self.inner(point)
        if pose.covariance is not None:
            swing = self.jacobian(point) @ pose.point_jacobian(inner)
            total += swing @ pose.covariance @ swing.T
        lens = self.lens(point)
        if lens is not None:
            total += lens @ lens.T
        return np.linalg.inv(total)

    def lens(self, point: FloatArray) -> FloatArray | None:
        """(2, 4 + n) pixels: what one sigma of each independent error of the lens does.

        None if the uncertainty of the intrinsics is not known.
        """
        if self.lens_root is None:
            return None
        return self.view.camera.intrinsics_jacobian(self.inner(point)) @ self.lens_root

    def score(self, point: FloatArray, weight: FloatArray | None = None) -> float:
        """Squared residual in sigmas, chi² of two degrees; infinite where it cannot be seen."""
        residual = self.residual(point)
        if not np.isfinite(residual).all():
            return float("inf")
        return float(residual @ (self.weight(point) if weight is None else weight) @ residual)
