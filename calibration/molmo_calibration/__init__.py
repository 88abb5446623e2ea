"""From pixels to metres: cameras, depth, projection, triangulation and calibration.

Names are loaded when they are first used, and the runtime part needs numpy alone; calibrating
needs OpenCV and SciPy (the `calibration` extra).
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "calibrate.board_pdf": ("board_pdf", "save_board_pdf"),
    "calibrate.boards": ("Board",),
    "cameras.camera": ("Camera",),
    "cameras.camera_matrix": ("Roi",),
    "calibrate.camera_check": ("check_camera", "check_images"),
    "files.camera_files": ("camera_from_dict", "camera_to_dict", "load_camera", "save_camera"),
    "files.camera_messages": ("camera_from_message", "fill_message"),
    "calibrate.coverage": ("Coverage", "measure_coverage"),
    "depth.depth": ("depth_at",),
    "depth.depth_result": ("DepthCandidate", "DepthResult"),
    "depth.depth_image": (
        "DepthImage",
        "depth_from_array",
        "depth_from_bytes",
        "depth_from_message",
    ),
    "calibrate.detection": ("Detection",),
    "calibrate.find_board": ("detect_board", "detect_in_file"),
    "errors": (
        "BoardNotFoundError",
        "BrokenLibraryError",
        "CalibrationError",
        "CameraFileError",
        "DegenerateError",
        "ExtrapolationError",
        "FrameError",
        "InvalidArgumentError",
        "MissingExtraError",
        "NotCalibratedError",
        "TooFewViewsError",
    ),
    "geometry.frames": ("FrameGraph", "PoseTrack", "interpolate"),
    "calibrate.hand_eye": (
        "HandEyeResult",
        "HandEyeSample",
        "calibrate_hand_eye",
        "opencv_answer",
    ),
    "files.hand_eye_files": ("load_hand_eye", "save_hand_eye", "static_transform_line"),
    "cameras.image_map": ("ImageMap", "crop", "flip", "letterbox", "resize", "rotate"),
    "calibrate.intrinsics": ("IntrinsicsResult", "ViewResult", "calibrate_intrinsics"),
    "lifting.lifting": ("deproject", "lift"),
    "cameras.mapped_camera": ("MappedCamera", "map_camera"),
    "lifting.mesh": ("intersect_mesh", "load_mesh"),
    "depth.strategies": ("DepthOptions",),
    "depth.noise": ("ConstantNoise", "DepthNoise", "StereoNoise", "TimeOfFlightNoise"),
    "cameras.pixels": (
        "norm_from_px",
        "norm_from_uv",
        "px_from_norm",
        "px_from_uv",
        "uv_covariance_from_norm",
        "uv_from_norm",
        "uv_from_px",
    ),
    "lifting.plane": ("Plane", "intersect_plane"),
    "lifting.plane_fit": ("PlaneFit", "fit_plane", "plane_from_depth"),
    "calibrate.pose": ("board_pose",),
    "lifting.position": ("Ellipsoid", "Position", "mahalanobis_squared"),
    "reports.report": ("hand_eye_report", "intrinsics_report"),
    "files.transform_files": ("load_transform",),
    "geometry.transforms": ("Transform", "link_from_optical"),
    "lifting.posed_view": ("View",),
    "lifting.triangulation": ("Triangulation", "triangulate"),
    "reports.assessment": ("Verdict", "judge_hand_eye", "judge_intrinsics"),
}

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'molmo_calibration' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"molmo_calibration.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
