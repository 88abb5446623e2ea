"""A calibrated camera: points to pixels, pixels to rays, raw to rectified images and back.

Frames are ROS optical frames (x right, y down, z forward, REP 103). Pixels are `uv`, whose centres
are whole numbers (see `pixels`), of the image as it is delivered: after the region of interest
and the binning that `CameraInfo` describes. Points are in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from molmo_calibration.arrays import (
    ArrayLike,
    BoolArray,
    FloatArray,
    as_covariance,
    as_finite,
    as_points,
    as_size,
    frozen,
    is_invertible,
)
from molmo_calibration.cameras.camera_matrix import Roi, check_matrix, check_roi
from molmo_calibration.cameras.lens import Lens, check_distortion, lens_for
from molmo_calibration.errors import InvalidArgumentError
from molmo_calibration.geometry.rotations import check_rotation

# Columns of this many points stay in the second-level cache through all the steps of a lens.
_CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Camera:
    """Intrinsics in the terms of ROS's `CameraInfo`.

    Args:
        width: full-resolution width in pixels.
        height: full-resolution height in pixels.
        matrix: (3, 3) K, without skew, at full resolution. Negative focal lengths describe a
            flipped image.
        distortion: coefficients in OpenCV's order; how many says `lens.COEFFICIENT_COUNTS`.
        model: `none`, `plumb_bob`, `rational_polynomial` or `equidistant`.
        rectification: (3, 3) R, rotation from the camera to the rectified camera.
        projection: (3, 4) P, matrix of the rectified image; [K | 0] if left out.
        roi: region of the full-resolution image that is delivered; all of it if left out.
        binning: full-resolution pixels per delivered pixel, (x, y). As in image_geometry, a
            delivered pixel lies where the first of its block lies; a driver that averages
            blocks shifts the image by (binning - 1) / 2 full pixels more.
        frame_id: optical frame.
        intrinsics_covariance: covariance of (fx, fy, cx, cy, *distortion), or None if unknown.

    Raises:
        NotCalibratedError: K[0] is 0.
        InvalidArgumentError: anything else that is not a camera.
    """

    width: int
    height: int
    matrix: FloatArray
    distortion: FloatArray = field(default_factory=lambda: np.empty(0))
    model: str = "none"
    rectification: FloatArray = field(default_factory=lambda: np.eye(3))
    projection: FloatArray | None = None
    roi: Roi | None = None
    binning: tuple[int, int] = (1, 1)
    frame_id: str = ""
    intrinsics_covariance: FloatArray | None = None
    _lens: Lens = field(init=False, repr=False)
    _focal: FloatArray = field(init=False, repr=False)
    _centre: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        width, height = as_size((self.width, self.height), "(width, height)")
        matrix = check_matrix(as_finite(self.matrix, "K", (3, 3)), width, height)
        distortion = check_distortion(self.model, self.distortion)
        rotation = check_rotation(self.rectification, "R")
        projection = np.column_stack([matrix, np.zeros(3)])
        if self.projection is not None:
            projection = as_finite(self.projection, "P", (3, 4))
            if not is_invertible(projection[:, :3]):
                raise InvalidArgumentError(
                    f"the left 3x3 of P must be invertible, got {projection.tolist()}; "
                    "leave P out if the camera is not rectified"
                )
        covariance = self.intrinsics_covariance
        if covariance is not None:
            size = 4 + len(distortion)
            covariance = frozen(as_covariance(covariance, "intrinsics_covariance", size))
        binning = as_size(self.binning, "binning")
        check_roi(self.roi, width, height)
        offset = np.array([self.roi.x_offset, self.roi.y_offset] if self.roi else [0, 0], float)
        values = {
            "width": width,
            "height": height,
            "matrix": frozen(matrix),
            "distortion": frozen(distortion),
            "rectification": frozen(rotation),
            "projection": frozen(projection),
            "binning": binning,
            "intrinsics_covariance": covariance,
            "_lens": lens_for(self.model, distortion),
            "_focal": frozen(np.diag(matrix)[:2] / binning),
            "_centre": frozen((matrix[:2, 2] - offset) / binning),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) of the delivered image, after region of interest and binning."""
        width, height = (
            (self.roi.width, self.roi.height) if self.roi else (self.width, self.height)
        )
        return width // self.binning[0], height // self.binning[1]

    @property
    def image_matrix(self) -> FloatArray:
        """(3, 3) K of the delivered image."""
        matrix = np.diag([*self._focal, 1.0])
        matrix[:2, 2] = self._centre
        return matrix

    @property
    def image_projection(self) -> FloatArray:
        """(3, 4) P of the delivered rectified image."""
        assert self.projection is not None
        return np.asarray(self.delivered_from_full @ self.projection)

    @property
    def delivered_from_full(self) -> FloatArray:
        """(3, 3) map of full-resolution uv to delivered uv, as image_geometry has it."""
        x, y = (self.roi.x_offset, self.roi.y_offset) if self.roi else (0, 0)
        bx, by = self.binning
        return np.array([[1 / bx, 0.0, -x / bx], [0.0, 1 / by, -y / by], [0.0, 0.0, 1.0]])

    def project(self, points: ArrayLike) -> FloatArray:
        """Points to pixels; the inverse of `ray` up to distance.

        Args:
            points: (..., 3) metres in the camera's optical frame.

        Returns:
            (..., 2) uv, possibly outside the image (see `in_image`). NaN where the point is
            NaN, behind the camera, or where the lens model has folded over.
        """
        columns = _columns(as_points(points, "points", 3))
        out = np.empty((columns[0].size, 2))
        for part in _chunks(columns[0].size):
            u, v, seen = self._lens.image(*(np.ascontiguousarray(c[part]) for c in columns))
            u *= self._focal[0]
            u += self._centre[0]
            v *= self._focal[1]
            v += self._centre[1]
            if not seen.all():
                u[~seen] = v[~seen] = np.nan
            out[part, 0], out[part, 1] = u, v
        return out.reshape((*np.shape(points)[:-1], 2))

    def ray(self, uv: ArrayLike) -> FloatArray:
        """Pixels to viewing directions; the inverse of `project` up to distance.

        Args:
            uv: (..., 2) pixels of the delivered raw image.

        Returns:
            (..., 3) unit vectors in the optical frame; NaN where the pixel is NaN or no ray of
            the lens lands on it.
        """
        columns = _columns(as_points(uv, "uv", 2))
        out = np.empty((columns[0].size, 3))
        for part in _chunks(columns[0].size):
            x = (columns[0][part] - self._centre[0]) / self._focal[0]
            y = (columns[1][part] - self._centre[1]) / self._focal[1]
            out[part, 0], out[part, 1], out[part, 2] = self._lens.ray(x, y)
        return out.reshape((*np.shape(uv)[:-1], 3))

    def sees(self, points: ArrayLike) -> BoolArray:
        """Which points (..., 3) land inside the delivered image, bool (...)."""
        return self.in_image(self.project(points))

    def in_image(self, uv: ArrayLike) -> BoolArray:
        """Which pixels (..., 2) lie on the delivered image; False for NaN."""
        array = as_points(uv, "uv", 2)
        high = np.array(self.image_size) - 0.5
        with np.errstate(invalid="ignore"):
            return np.asarray(((array >= -0.5) & (array < high)).all(axis=-1))

    def undistort(self, uv: ArrayLike) -> FloatArray:
        """Raw pixels to where they would be without distortion, with the same K.

        Returns:
            (..., 2) uv; NaN for rays at 90 degrees and beyond. The inverse of `distort`.
        """
        return _pinhole(self.ray(uv), self.image_matrix)

    def distort(self, uv: ArrayLike) -> FloatArray:
        """Pixels of an ideal image with the same K to raw pixels; the inverse of `undistort`."""
        return self.project(_pinhole_ray(uv, self.image_matrix))

    def rectify(self, uv: ArrayLike) -> FloatArray:
        """Raw pixels to pixels of the rectified image (R and P); the inverse of `unrectify`."""
        turned = self.ray(uv) @ self.rectification.T
        return _pinhole(turned, self.image_projection[:, :3])

    def unrectify(self, uv: ArrayLike) -> FloatArray:
        """Pixels of the rectified image to raw pixels; the inverse of `rectify`."""
        return self.project(_pinhole_ray(uv, self.image_projection[:, :3]) @ self.rectification)

    def rectified(self) -> Camera:
        """The camera of the rectified image (`image_rect`): K from P, no distortion, R = 1.

        Its frame has the origin of this camera and the axes of R; with P of a right stereo
        camera, its baseline stays in `projection`.
        """
        assert self.projection is not None
        matrix = self.projection[:, :3]
        return replace(
            self,
            matrix=matrix,
            distortion=np.empty(0),
            model="none",
            rectification=np.eye(3),
            intrinsics_covariance=None,
        )

    def jacobian(self, points: ArrayLike) -> FloatArray:
        """d(uv) / d(point), (..., 2, 3) pixels per metre; NaN for NaN points."""
        columns = _columns(as_points(points, "points", 3))
        inner = self._lens.jacobian(*columns) * self._focal[:, None]
        return np.asarray(inner.reshape((*np.shape(points)[:-1], 2, 3)))

    def intrinsics_jacobian(self, points: ArrayLike) -> FloatArray:
        """d(uv) / d(fx, fy, cx, cy, *distortion), (..., 2, 4 + n).

        Focal lengths and centre are those at full resolution, as in `intrinsics_covariance`.
        """
        columns = _columns(as_points(points, "points", 3))
        x, y, _ = self._lens.image(*columns)
        zero, one = np.zeros_like(x), np.ones_like(x)
        top = np.stack([x, zero, one, zero], -1) / self.binning[0]
        bottom = np.stack([zero, y, zero, one], -1) / self.binning[1]
        lens = self._lens.coefficient_jacobian(*columns) * self._focal[:, None]
        inner = np.concatenate([np.stack([top, bottom], -2), lens], -1)
        return np.asarray(inner.reshape((*np.shape(points)[:-1], 2, inner.shape[-1])))

    def replace(self, **changes: Any) -> Camera:
        """A copy with some fields changed and everything checked again."""
        return replace(self, **changes)


def _columns(points: FloatArray) -> list[FloatArray]:
    flat = points.reshape(-1, points.shape[-1])
    return [flat[:, i] for i in range(points.shape[-1])]


def _chunks(count: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]


def _pinhole(rays: FloatArray, matrix: FloatArray) -> FloatArray:
    turned = rays @ matrix.T
    depth = np.where(rays[..., 2:] > 1e-9, turned[..., 2:], np.nan)
    return np.asarray(turned[..., :2] / depth)


def _pinhole_ray(uv: ArrayLike, matrix: FloatArray) -> FloatArray:
    pixels = as_points(uv, "uv", 2)
    homogeneous = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], axis=-1)
    return np.asarray(homogeneous @ np.linalg.inv(matrix).T)
