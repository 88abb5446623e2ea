"""Make hand_eye_golden.json: what OpenCV 4's Park solver says about three simulated arms.

OpenCV 5.0.0 lost the function, so its answers are kept. Made in a fresh environment with

    pip install "opencv-python-headless<5" numpy
    python tests/calibration/data/make_hand_eye_golden.py
"""

from __future__ import annotations

import json
import pathlib

import cv2
import numpy as np

rng = np.random.default_rng(11)


def pose(size: float, shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(rng.normal(size=3) * size)[0]
    matrix[:3, 3] = shift
    return matrix


def case(setup: str) -> dict:
    x, z = pose(0.5, rng.normal(size=3) * 0.05), pose(1.0, np.array([0.5, 0.0, 0.1]))
    arms, boards = [], []
    for _ in range(15):
        seen = pose(0.35, [0, 0, 0.6] + rng.normal(size=3) * 0.08)
        arms.append(z @ np.linalg.inv(seen) @ np.linalg.inv(x))
        boards.append(seen @ pose(2e-3, rng.normal(size=3) * 1e-3))
    turn, shift = cv2.calibrateHandEye(
        [a[:3, :3] for a in arms],
        [a[:3, 3] for a in arms],
        [b[:3, :3] for b in boards],
        [b[:3, 3] for b in boards],
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    answer = np.eye(4)
    answer[:3, :3], answer[:3, 3] = turn, shift.ravel()
    given = arms if setup == "eye_in_hand" else [np.linalg.inv(a) for a in arms]
    return {
        "setup": setup,
        "base_from_gripper": [a.tolist() for a in given],
        "camera_from_board": [b.tolist() for b in boards],
        "park": answer.tolist(),
    }


if __name__ == "__main__":
    setups = ["eye_in_hand", "eye_to_hand", "eye_in_hand"]
    golden = {"opencv": cv2.__version__, "cases": [case(setup) for setup in setups]}
    target = pathlib.Path(__file__).with_name("hand_eye_golden.json")
    target.write_text(json.dumps(golden) + "\n")
