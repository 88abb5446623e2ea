"""Make golden.json: what mrcal and ROS 1's image_geometry say about cameras.

Neither is on PyPI, so their numbers are kept. Made on Debian 12 with

    apt-get install python3-mrcal python3-image-geometry
    /usr/bin/python3 tests/calibration/data/make_golden.py

(mrcal 2.2, image_geometry 1.16.2). Cameras and points are fixed, so it makes the same file again.
"""

from __future__ import annotations

import json
import pathlib
import types

import image_geometry
import mrcal
import numpy as np

FOCAL = [611.0, 607.0, 322.5, 238.25]
LENSES = {
    "LENSMODEL_OPENCV5": [-0.28, 0.07, 0.001, -0.0005, 0.01],
    "LENSMODEL_OPENCV8": [0.1, 0.02, 0.001, -0.0005, 0.01, 0.15, 0.01, 0.001],
}


def points() -> np.ndarray:
    rng = np.random.default_rng(7)
    xy = rng.uniform([-0.45, -0.35], [0.45, 0.35], (40, 2))
    z = rng.uniform(0.3, 4.0, (40, 1))
    return np.hstack([xy * z, z])


def from_mrcal() -> list[dict]:
    cases = []
    for model, lens in LENSES.items():
        parameters = np.array(FOCAL + lens)
        pixels = mrcal.project(points(), model, parameters)
        rays = mrcal.unproject(pixels, model, parameters, normalize=True)
        cases.append(
            {
                "model": model,
                "parameters": parameters.tolist(),
                "pixels": pixels.tolist(),
                "rays": rays.tolist(),
            }
        )
    return cases


def from_image_geometry() -> dict:
    info = types.SimpleNamespace(
        width=640,
        height=480,
        distortion_model="plumb_bob",
        D=LENSES["LENSMODEL_OPENCV5"],
        K=[611.0, 0, 322.5, 0, 607.0, 238.25, 0, 0, 1],
        R=[0.9998, -0.0175, 0.0097, 0.0174, 0.9998, 0.0093, -0.0099, -0.0091, 0.9999],
        P=[580.0, 0, 318.0, 0, 0, 580.0, 240.0, 0, 0, 0, 1, 0],
        roi=types.SimpleNamespace(x_offset=100, y_offset=40, width=400, height=360),
        binning_x=2,
        binning_y=2,
        header=types.SimpleNamespace(stamp=0, frame_id="camera_optical"),
    )
    left, _, right = np.linalg.svd(np.reshape(info.R, (3, 3)))
    info.R = (left @ right).ravel().tolist()
    model = image_geometry.PinholeCameraModel()
    model.fromCameraInfo(info)
    raw = np.random.default_rng(8).uniform([5, 5], [195, 175], (20, 2))
    rectified = [np.asarray(model.rectifyPoint(p)).ravel().tolist() for p in raw]
    rays = [list(map(float, model.projectPixelTo3dRay(p))) for p in rectified]
    return {
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "D": info.D,
        "K": info.K,
        "R": info.R,
        "P": info.P,
        "roi": [100, 40, 400, 360],
        "binning": [2, 2],
        "raw": raw.tolist(),
        "rectified": rectified,
        "rectified_rays": rays,
    }


if __name__ == "__main__":
    golden = {
        "points": points().tolist(),
        "mrcal": from_mrcal(),
        "image_geometry": from_image_geometry(),
    }
    target = pathlib.Path(__file__).with_name("golden.json")
    target.write_text(json.dumps(golden, indent=1) + "\n")
