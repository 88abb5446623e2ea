"""Which lens model a camera has, and its projection of rays onto the plane at distance one.

Names are those of ROS's `CameraInfo.distortion_model`; `radtan` (Kalibr) and `fisheye` (OpenCV)
are understood as well.
"""

from __future__ import annotations

import re
from typing import Protocol

import numpy as np

from molmo_calibration.arrays import ArrayLike, BoolArray, FloatArray, as_finite
from molmo_calibration.cameras.brown_conrady import BrownConrady
from molmo_calibration.cameras.kannala_brandt import KannalaBrandt
from molmo_calibration.errors import InvalidArgumentError

MODELS = ("none", "plumb_bob", "rational_polynomial", "equidistant")

COEFFICIENT_COUNTS = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}

# k1, k2, p1, p2: fewer are no lens of any model here.
_FEWEST = 4

# Fits without corners at the rim reach a million; far beyond, memory was read that nobody wrote.
_LARGEST = 1e9

_ALIASES = {
    "": "none",
    "radtan": "plumb_bob",
    "fisheye": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
    "thin_prism": "rational_polynomial",
    "tilted": "rational_polynomial",
    "pinhole": "none",
    "brown_conrady": "plumb_bob",
    "equi": "equidistant",
}

# Models that are not implemented, but do not distort if all their coefficients are 0.
# `omni`, `double_sphere` and similar models are not pinholes, with any coefficients.
_STRAIGHT_AT_ZERO = ("inverse_brown_conrady", "modified_brown_conrady")


class Lens(Protocol):
    """Rays to normalized image coordinates and back; everything in columns of length n."""

    def image(
        self, x: FloatArray, y: FloatArray, z: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Normalized image x, y, and where the ray is one the lens can see."""

    def ray(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Unit ray x, y, z; NaN where no ray lands on the point."""

    def jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """d(image) / d(ray), (n, 2, 3)."""

    def coefficient_jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """d(image) / d(distortion coefficients), (n, 2, number of coefficients)."""


def model_name(name: str, coefficients: ArrayLike) -> str:
    """The canonical name of a distortion model.

    Args:
        name: as a file or message has it, e.g. "plumb_bob", "radtan" or "".
        coefficients: the numbers that came with it; RealSense's own variants of Brown-Conrady
            are accepted if all of them are 0, because then they bend nothing.

    Raises:
        InvalidArgumentError: a model that would give wrong points here, a fisheye without its
            coefficients, or coefficients without a model.
    """
    spelled = re.sub(r"[ -]+", "_", name.strip().lower())
    canonical = _ALIASES.get(spelled, spelled)
    values = np.asarray(coefficients, dtype=np.float64).ravel()
    if canonical == "plumb_bob" and len(values) in COEFFICIENT_COUNTS["rational_polynomial"]:
        # Drivers name OpenCV's longer lists plumb_bob as well; the order is the same.
        return "rational_polynomial" if values[5:].any() else "plumb_bob"
    if canonical == "none" and np.any(values):
        raise InvalidArgumentError(
            f"distortion model {name!r} came with the coefficients {values.ravel().tolist()}, so "
            "something bends the rays; name the model (plumb_bob, rational_polynomial or "
            "equidistant) or set the coefficients to 0"
        )
    if canonical == "equidistant" and values.size == 0:
        raise InvalidArgumentError(
            f"distortion model {name!r} must come with 4 coefficients, got none; four zeros are "
            "an ideal fisheye, which is not a pinhole"
        )
    if canonical in MODELS:
        # A driver without distortion often sends "plumb_bob" and no coefficients.
        return "none" if values.size == 0 else canonical
    if spelled in _STRAIGHT_AT_ZERO and not np.any(values):
        return "none"
    raise InvalidArgumentError(
        f"distortion model {name!r} is not one of {', '.join(MODELS)}, and would bend the rays "
        "otherwise; rectify the image in the driver, or calibrate again with one of these"
    )


def check_distortion(model: str, coefficients: ArrayLike) -> FloatArray:
    """The coefficients as float64, in a number that fits the model.

    All models but the fisheye are one list in OpenCV's order, so zeros at the end mean nothing:
    they are left out where a driver pads, and added where it stops early.

    Raises:
        InvalidArgumentError: unknown model, wrong number of coefficients, not finite, or too large.
    """
    if model not in MODELS:
        raise InvalidArgumentError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    values = as_finite(np.asarray(coefficients, dtype=np.float64).reshape(-1), "distortion", (-1,))
    if model == "none" and not values.any():
        return np.empty(0)
    if np.abs(values).max(initial=0.0) > _LARGEST:
        raise InvalidArgumentError(
            f"distortion holds {values[np.abs(values).argmax()]:.3g}: no lens has such a coefficient; was the memory of "
            "the message ever set?"
        )
    fitting = _fitting(values, COEFFICIENT_COUNTS[model])
    if fitting is None or (model == "equidistant" and len(values) < 4):
        counts = " or ".join(str(n) for n in COEFFICIENT_COUNTS[model])
        raise InvalidArgumentError(
            f"distortion of model {model} must have {counts} coefficients, got {len(values)}"
            + _other_model(model, values)
        )
    return fitting


def _fitting(values: FloatArray, counts: tuple[int, ...]) -> FloatArray | None:
    """The coefficients with zeros at the end added or left out, so that their number is a model's.

    None if more than zeros would have to be left out, or too few are there to be a lens.
    """
    if len(values) in counts:
        return values
    if len(values) > counts[-1]:
        return values[: counts[-1]] if not values[counts[-1] :].any() else None
    if len(values) < _FEWEST:
        return None
    more = next(count for count in counts if count > len(values))
    return np.pad(values, (0, more - len(values)))


def _other_model(model: str, values: FloatArray) -> str:
    if model == "plumb_bob" and len(values) in COEFFICIENT_COUNTS["rational_polynomial"]:
        return "; in OpenCV's order as many are a rational_polynomial"
    if len(values) > COEFFICIENT_COUNTS[model][-1]:
        return f", and those beyond the first {COEFFICIENT_COUNTS[model][-1]} are not 0"
    return ""


def lens_for(model: str, coefficients: FloatArray) -> Lens:
    """The lens that a checked model name and its coefficients describe."""
    if model == "equidistant":
        return _Fisheye(coefficients)
    if model == "none" or not coefficients.any():
        return _Straight(len(coefficients))
    return _Bent(coefficients)


class _Straight:
    """A lens without distortion, though it may have coefficients, all 0."""

    def __init__(self, count: int) -> None:
        self._count = count

    def image(
        self, x: FloatArray, y: FloatArray, z: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return x / z, y / z, np.asarray(z > 0)

    def ray(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        scale = 1.0 / np.sqrt(x * x + y * y + 1.0)
        return x * scale, y * scale, scale

    def jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        return _perspective_jacobian(x, y, z)

    def coefficient_jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        return _Bent(np.zeros(self._count)).coefficient_jacobian(x, y, z)


class _Bent:
    """A Brown-Conrady lens in front of the perspective division."""

    def __init__(self, coefficients: FloatArray) -> None:
        self._brown = BrownConrady(coefficients)
        self._count = len(coefficients)

    def image(
        self, x: FloatArray, y: FloatArray, z: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = 1.0 / z
            u, v = x * inverse, y * inverse
            seen = self._brown.valid(u, v) & (z > 0)
            return (*self._brown.distort(u, v), seen)

    def ray(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        u, v = self._brown.undistort(x, y)
        scale = 1.0 / np.sqrt(u * u + v * v + 1.0)
        return u * scale, v * scale, scale

    def jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            bend = self._brown.jacobian(x / z, y / z)
        return np.asarray(bend @ _perspective_jacobian(x, y, z))

    def coefficient_jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._brown.coefficient_jacobian(x / z, y / z, self._count)


class _Fisheye:
    """A Kannala-Brandt lens."""

    def __init__(self, coefficients: FloatArray) -> None:
        self._kannala = KannalaBrandt(coefficients)

    def image(
        self, x: FloatArray, y: FloatArray, z: FloatArray
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        return (*self._kannala.image(x, y, z), self._kannala.valid(x, y, z))

    def ray(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self._kannala.ray(x, y)

    def jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        return self._kannala.jacobian(x, y, z)

    def coefficient_jacobian(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        return self._kannala.coefficient_jacobian(x, y, z)


def _perspective_jacobian(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / z
        zero = np.zeros_like(inverse)
        first = np.stack([inverse, zero, -x * inverse * inverse], -1)
        second = np.stack([zero, inverse, -y * inverse * inverse], -1)
    return np.stack([first, second], -2)
