"""Calibrate a camera from images of a board, and measure the quality of the result.

OpenCV fits the parameters (`opencv_fit`). The quality measures are computed here for every lens
alike: residuals, standard deviations from the full normal matrix, and the error on held-out images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.coverage import Coverage, measure_coverage
from molmo_calibration.calibrate.detection import Detection, check_sizes
from molmo_calibration.calibrate.intrinsics_covariance import intrinsics_covariance
from molmo_calibration.calibrate.opencv_fit import ANOTHER_WAY, fit_camera
from molmo_calibration.calibrate.pose import board_pose, squared_errors
from molmo_calibration.cameras.camera import Camera
from molmo_calibration.errors import DegenerateError, InvalidArgumentError, TooFewViewsError
from molmo_calibration.geometry.transforms import Transform

MIN_VIEWS = 4

# An image is an outlier if its error is this many robust sigmas above the median of all, and
# at least half as large again: among very even images, a few percent more mean nothing.
_OUTLIER_SIGMAS = 4.0
_OUTLIER_RATIO = 1.5

# Corners that move by less than this between two images are of a board that stood still.
_STILL_PX = 1.0

# If all board axes are within this angle, focal length and distance cannot be separated.
_LEAST_TILT_RAD = np.deg2rad(5.0)


@dataclass(frozen=True, eq=False)
class ViewResult:
    """One image of a calibration.

    Args:
        name: of the image.
        pixels: (n, 2) detected corners.
        residuals_px: (n, 2) detected minus reprojected.
        camera_from_board: pose of the board.
        outlier: whether its error stands out.
    """

    name: str
    pixels: FloatArray
    residuals_px: FloatArray
    camera_from_board: Transform
    outlier: bool = False

    @property
    def rms_px(self) -> float:
        """Root mean square of the distances between detected and reprojected corners."""
        return float(np.sqrt((self.residuals_px**2).sum(axis=1).mean()))


@dataclass(frozen=True, eq=False)
class IntrinsicsResult:
    """A calibrated camera and how good it is.

    Args:
        camera: with its `intrinsics_covariance`.
        rms_px: over all corners.
        held_out_rms_px: over images that were left out of the calibration, each with only its
            pose fitted; NaN if there were too few to leave any out, infinite if a lens fitted
            without an image cannot see all of its corners.
        views: one per image.
        coverage: which part of the image and of the poses was seen.
    """

    camera: Camera
    rms_px: float
    held_out_rms_px: float
    views: tuple[ViewResult, ...]
    coverage: Coverage
    sigmas: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        covariance = self.camera.intrinsics_covariance
        assert covariance is not None
        object.__setattr__(self, "sigmas", np.sqrt(np.diag(covariance)))

    @property
    def outliers(self) -> tuple[str, ...]:
        """Names of images whose error stands out."""
        return tuple(view.name for view in self.views if view.outlier)

    @property
    def repeated(self) -> tuple[str, ...]:
        """Names of images that show the board where an earlier one shows it: they say nothing new."""
        return tuple(
            view.name
            for number, view in enumerate(self.views)
            if any(_alike(view, before) for before in self.views[:number])
        )


def calibrate_intrinsics(
    detections: Sequence[Detection],
    model: str = "plumb_bob",
    folds: int = 4,
    frame_id: str = "",
    progress: Callable[[float], None] | None = None,
) -> IntrinsicsResult:
    """Calibrate a camera.

    Args:
        detections: boards found in at least 4 images of one size.
        model: `plumb_bob`, `rational_polynomial` or `equidistant`.
        folds: how many times to calibrate with a part held out; 0 for never.
        frame_id: of the camera.
        progress: called with the share that is done, 0..1.

    Raises:
        TooFewViewsError: fewer than 4 images.
        DegenerateError: all boards parallel to each other, or a lens that folds over inside the
            image.
        InvalidArgumentError: different image sizes, or another model.
    """
    if model not in ("plumb_bob", "rational_polynomial", "equidistant"):
        raise InvalidArgumentError(
            "model must be plumb_bob, rational_polynomial or equidistant, got " + repr(model)
        )
    if len(detections) < MIN_VIEWS:
        raise TooFewViewsError(
            f"a calibration needs the board in at least {MIN_VIEWS} images, better 20, got "
            f"{len(detections)}; take more, tilted and in all corners of the image"
        )
    check_sizes(detections)
    camera, poses = fit_camera(detections, model, frame_id)
    _check_tilt(poses)
    tell = progress or (lambda share: None)
    tell(1 / (folds + 1))
    views = _mark_outliers(
        [_view(camera, d, pose) for d, pose in zip(detections, poses, strict=True)]
    )
    residuals = np.concatenate([view.residuals_px for view in views])
    _check_fold(views, model)
    camera = camera.replace(
        intrinsics_covariance=intrinsics_covariance(camera, detections, poses, residuals)
    )
    held_out = _held_out(detections, model, folds, tell)
    rms = float(np.sqrt((residuals**2).sum(axis=1).mean()))
    tell(1.0)
    return IntrinsicsResult(camera, rms, held_out, views, measure_coverage(detections))


def _check_tilt(poses: list[Transform]) -> None:
    axes = np.array([pose.rotation[:, 2] for pose in poses])
    widest = float(np.arccos(np.clip(axes @ axes.T, -1, 1)).max())
    if widest < _LEAST_TILT_RAD:
        raise DegenerateError(
            f"all boards are parallel to within {np.rad2deg(widest):.1f} degrees, so focal length "
            "and distance cannot be told apart; tilt the board by 20 to 45 degrees both ways"
        )


def _check_fold(views: Sequence[ViewResult], model: str) -> None:
    folded = [view.name for view in views if not np.isfinite(view.residuals_px).all()]
    if folded:
        raise DegenerateError(
            f"the {model} lens that fits best folds over inside the image: corners of "
            f"{', '.join(folded[:5])} have no ray in it; " + ANOTHER_WAY[model]
        )


def _view(camera: Camera, detection: Detection, pose: Transform) -> ViewResult:
    reprojected = camera.project(pose.apply(detection.board_points))
    return ViewResult(detection.name, detection.pixels, detection.pixels - reprojected, pose)


def _alike(one: ViewResult, other: ViewResult) -> bool:
    """Whether two images show the board at one place."""
    if one.pixels.shape != other.pixels.shape:
        return False
    squares = ((one.pixels - other.pixels) ** 2).sum(axis=1)
    return bool(squares.mean() < _STILL_PX**2)


def _mark_outliers(views: list[ViewResult]) -> tuple[ViewResult, ...]:
    errors = np.array([view.rms_px for view in views])
    middle = float(np.median(errors))
    spread = 1.4826 * float(np.median(np.abs(errors - middle)))
    limit = max(middle + _OUTLIER_SIGMAS * spread, _OUTLIER_RATIO * middle)
    return tuple(
        ViewResult(v.name, v.pixels, v.residuals_px, v.camera_from_board, bool(e > limit))
        for v, e in zip(views, errors, strict=True)
    )


def _held_out(
    detections: Sequence[Detection], model: str, folds: int, tell: Callable[[float], None]
) -> float:
    """Reprojection error on images the calibration has not seen."""
    if folds < 2 or len(detections) < 2 * MIN_VIEWS:
        return float("nan")
    squares: list[FloatArray] = []
    for fold in range(folds):
        kept = [d for i, d in enumerate(detections) if i % folds != fold]
        try:
            camera, _ = fit_camera(kept, model, "")
        except DegenerateError:
            # A part of the images may be too few for the lens; all of them were not.
            continue
        squares += [_held_out_errors(camera, d) for d in detections[fold::folds]]
        tell((fold + 2) / (folds + 1))
    return float(np.sqrt(np.concatenate(squares).mean())) if squares else float("nan")


def _held_out_errors(camera: Camera, detection: Detection) -> FloatArray:
    """Squared errors in pixels; infinite if no pose of the board fits the camera."""
    try:
        return squared_errors(camera, detection, board_pose(camera, detection))
    except DegenerateError:
        return np.full(len(detection.pixels), np.inf)
