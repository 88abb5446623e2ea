"""Grade a calibration: good, usable or bad, with the numbers that decide and advice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.calibrate.coverage import TARGETS
from molmo_calibration.calibrate.hand_eye import HandEyeResult
from molmo_calibration.calibrate.intrinsics import IntrinsicsResult

_GOOD_RMS_PX = 0.5
_BAD_RMS_PX = 1.0
_GOOD_FOCAL_SHARE = 0.003
_BAD_FOCAL_SHARE = 0.02

# A hand-eye calibration is good up to the first number and bad beyond the second.
_SHIFT_MM = (2.0, 5.0)
_TURN_DEG = (0.2, 0.5)
_SCATTER_MM = (10.0, 30.0)
_SCATTER_DEG = (1.0, 3.0)
_ENOUGH_POSES = 12
_OUTLIER_SHARE = 0.3

_LISTED = 5

# With more copies than this among the images, those held out are no test: the fit has seen their copies.
_REPEATED_SHARE = 0.1

_ADVICE = {
    "x": "move the board further to the left and the right",
    "y": "move the board further up and down",
    "size": "take some images from nearer and some from farther away",
    "skew": "tilt the board more, by 20 to 45 degrees, to all sides",
}


@dataclass(frozen=True)
class Verdict:
    """A grade with its reason.

    Args:
        grade: `good`, `usable` or `bad`.
        sentence: why, with the number that decided it.
        advice: what to do to make it better; empty if nothing is missing.
    """

    grade: str
    sentence: str
    advice: tuple[str, ...]


def judge_intrinsics(result: IntrinsicsResult) -> Verdict:
    """Judge a camera calibration by its error, its uncertainty and its coverage."""
    advice = [
        f"{_ADVICE[name]} (range {getattr(result.coverage, name):.2f}, aim for {target})"
        for name, target in TARGETS.items()
        if getattr(result.coverage, name) < target
    ]
    if result.coverage.rim_seen < 0.8:
        advice.append(f"fill the rim of the image ({result.coverage.rim_seen:.0%} of it was seen)")
    if len(result.views) < 15:
        advice.append(f"take more images ({len(result.views)} were used, aim for 20)")
    if result.outliers:
        advice.append(f"look at or remove {', '.join(result.outliers)}: the error stands out")
    repeated = result.repeated
    if repeated:
        advice.append(
            f"leave out images that show the board where another shows it ({_listed(repeated, len(result.views))}): "
            "they say nothing new, and make the calibration look surer than it is"
        )
    held_out = result.held_out_rms_px
    decisive = result.rms_px if np.isnan(held_out) else held_out
    # The covariance counts every image as new.
    copies = float(np.sqrt(len(result.views) / (len(result.views) - len(repeated))))
    focal = copies * float((result.sigmas[:2] / np.abs(np.diag(result.camera.matrix)[:2])).max())
    others = "" if np.isnan(held_out) else f", {held_out:.2f} px on images held out"
    facts = (
        f"the error is {result.rms_px:.2f} px{others}; the focal length is known to {focal:.2%}"
    )
    overfit = not np.isnan(held_out) and held_out > 1.5 * result.rms_px + 0.05
    if overfit:
        advice.append(
            "the error on images held out is much larger: too few or too similar images, "
            "or too many coefficients"
        )
    if decisive > _BAD_RMS_PX or focal > _BAD_FOCAL_SHARE:
        return Verdict("bad", f"do not use it: {facts}", tuple(advice))
    same = len(repeated) > _REPEATED_SHARE * len(result.views)
    doubtful = overfit or same or result.outliers
    if decisive > _GOOD_RMS_PX or focal > _GOOD_FOCAL_SHARE or doubtful:
        return Verdict("usable", f"usable, with care: {facts}", tuple(advice))
    return Verdict("good", f"good: {facts}", tuple(advice))


def _listed(names: tuple[str, ...], all_images: int) -> str:
    """Some names of images, how many there are, and of how many."""
    more = ", ..." if len(names) > _LISTED else ""
    return f"{len(names)} of {all_images}: {', '.join(names[:_LISTED])}{more}"


def judge_hand_eye(result: HandEyeResult) -> Verdict:
    """Judge a hand-eye calibration by its uncertainty, the scatter of the board and its poses."""
    shift_mm, turn_deg = result.spread_m * 1e3, float(np.rad2deg(result.spread_rad))
    poses = len(result.residuals_m)
    few = poses < _ENOUGH_POSES
    # Where no pose fits, all of them say how badly.
    outliers = result.outliers if len(result.outliers) < poses else ()
    fitting = np.delete(np.arange(poses), outliers)
    scatter_mm = float(np.sqrt(np.mean(result.residuals_m[fitting] ** 2))) * 1e3
    scatter_deg = float(np.rad2deg(np.sqrt(np.mean(result.residuals_rad[fitting] ** 2))))
    facts = (
        f"leaving one pose out moves the answer by {result.change_m * 1e3:.2f} mm and "
        f"{np.rad2deg(result.change_rad):.3f} degrees at most; it is known to {shift_mm:.2f} mm "
        f"and {turn_deg:.3f} degrees (one sigma); the board stays within {scatter_mm:.2f} mm and {scatter_deg:.2f} degrees rms"
        + (f"; {poses} poses are too few for a sure estimate of its error" if few else "")
    )
    grades = [doubt.grade for doubt in result.doubts]
    measured = (
        (shift_mm, _SHIFT_MM),
        (turn_deg, _TURN_DEG),
        (scatter_mm, _SCATTER_MM),
        (scatter_deg, _SCATTER_DEG),
    )
    advice = (*(doubt.sentence for doubt in result.doubts), *_hand_eye_advice(result))
    torn = len(result.outliers) > _OUTLIER_SHARE * poses
    if "bad" in grades or torn or any(value > limits[1] for value, limits in measured):
        return Verdict("bad", f"do not use it: {facts}", advice)
    doubtful = few or "usable" in grades or result.outliers
    if doubtful or any(value > limits[0] for value, limits in measured):
        return Verdict("usable", f"usable, with care: {facts}", advice)
    return Verdict("good", f"good: {facts}", advice)


def _hand_eye_advice(result: HandEyeResult) -> list[str]:
    advice = []
    if len(result.residuals_m) < _ENOUGH_POSES:
        advice.append(f"record more poses ({len(result.residuals_m)} were used, aim for 15)")
    if result.diversity_rad < np.deg2rad(30):
        advice.append(
            f"turn the gripper more between poses (largest turn about a second axis "
            f"{np.rad2deg(result.diversity_rad):.0f} degrees, aim for 30)"
        )
    if result.outliers:
        listed = ", ".join(str(i) for i in result.outliers)
        advice.append(f"look at poses {listed} (counted from 0): they do not fit the others")
    return advice
