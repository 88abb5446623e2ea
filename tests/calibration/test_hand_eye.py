"""Hand-eye calibration on simulated arms: accuracy, honesty of the spread, and refusals."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from molmo_calibration import (
    DegenerateError,
    HandEyeSample,
    InvalidArgumentError,
    TooFewViewsError,
    Transform,
    calibrate_hand_eye,
    hand_eye_report,
    judge_hand_eye,
    opencv_answer,
    static_transform_line,
)
from molmo_calibration.geometry.rotations import matrix_from_rotation_vector

from benchmarks.hand_eye_coverage import measure

GOLDEN = pathlib.Path(__file__).parent / "data" / "hand_eye_golden.json"
SETUPS = ["eye_in_hand", "eye_to_hand"]


def arm(
    rng: np.random.Generator, setup: str, poses: int = 15, noise: float = 1.0, swing: float = 0.35
) -> tuple[Transform, list[HandEyeSample]]:
    """An arm with a camera, seeing a board with 2 mrad and 1 mm of noise on every axis."""
    x = Transform.from_parts(turn(rng, 0.5), rng.normal(size=3) * 0.05)
    z = Transform.from_parts(turn(rng, 1.0), [0.5, 0, 0.1] + rng.normal(size=3) * 0.1)
    samples = []
    for _ in range(poses):
        seen = Transform.from_parts(turn(rng, swing), [0, 0, 0.6] + rng.normal(size=3) * 0.08)
        moved = z @ seen.inverse() @ x.inverse()
        noisy = Transform.from_parts(
            turn(rng, 2e-3 * noise) @ seen.rotation,
            seen.translation + rng.normal(size=3) * 1e-3 * noise,
        )
        gripper = moved if setup == "eye_in_hand" else moved.inverse()
        samples.append(HandEyeSample(gripper, noisy))
    return x, samples


def turn(rng: np.random.Generator, size: float) -> np.ndarray:
    return matrix_from_rotation_vector(rng.normal(size=3) * size)


class TestAccuracy:
    @pytest.mark.parametrize("setup", SETUPS)
    def test_exact_poses_give_the_exact_answer(self, setup: str) -> None:
        truth, samples = arm(np.random.default_rng(0), setup, noise=0.0)
        result = calibrate_hand_eye(samples, setup)
        metres, radians = result.transform.difference(truth)
        assert metres < 1e-6
        assert radians < 1e-6
        assert result.board_scatter_m < 1e-6

    def test_accuracy_and_honesty(self) -> None:
        """15 poses: at most 0.15 degrees and 1.5 mm (median), and the spread says as much."""
        rng = np.random.default_rng(1)
        errors, spreads = [], []
        for index in range(20):
            setup = SETUPS[index % 2]
            truth, samples = arm(rng, setup)
            result = calibrate_hand_eye(samples, setup)
            errors.append(truth.difference(result.transform))
            spreads.append((result.spread_m, result.spread_rad))
        metres, radians = np.median(errors, axis=0)
        assert metres <= 1.5e-3
        assert np.rad2deg(radians) <= 0.15
        ratio = np.sqrt(np.mean(np.square(errors), axis=0) / np.mean(np.square(spreads), axis=0))
        assert (ratio > 1 / 1.5).all()
        assert (ratio < 1.5).all()

    def test_one_wrong_pose_is_named_and_does_little(self) -> None:
        truth, samples = arm(np.random.default_rng(2), "eye_in_hand")
        spoiled = Transform.from_parts(
            samples[3].camera_from_board.rotation, samples[3].camera_from_board.translation + 0.05
        )
        samples[3] = HandEyeSample(samples[3].base_from_gripper, spoiled)
        result = calibrate_hand_eye(samples)
        assert result.outliers == (3,)
        assert result.transform.difference(truth)[0] < 0.01
        assert judge_hand_eye(result).grade != "good"

    def test_three_boards_read_upside_down_do_nothing(self) -> None:
        truth, samples = arm(np.random.default_rng(7), "eye_in_hand")
        half_turn = Transform.from_parts(np.diag([-1.0, -1.0, 1.0]), [0.2, 0.125, 0.0])
        for index in (1, 6, 11):
            seen = samples[index].camera_from_board @ half_turn
            samples[index] = HandEyeSample(samples[index].base_from_gripper, seen)
        result = calibrate_hand_eye(samples)
        assert result.outliers == (1, 6, 11)
        assert result.transform.difference(truth)[0] < 0.004
        assert judge_hand_eye(result).grade == "usable"


class TestHonesty:
    """Small samples of `benchmarks/hand_eye_coverage.py`, whose full table is in the documentation."""

    @pytest.mark.parametrize("setup", SETUPS)
    @pytest.mark.parametrize("noise", ["arm", "board"])
    def test_the_90_percent_region_and_park(self, setup: str, noise: str) -> None:
        row = measure(40, 12, setup, noise)
        assert 0.75 <= row.transform <= 0.99
        assert 0.75 <= row.point <= 0.99
        # With noise in the arm only, Park's closed form is nearly as good.
        assert row.fit_mm < (1.0 if noise == "board" else 1.25) * row.closed_mm

    def test_few_poses_are_said_to_be_few(self) -> None:
        _, samples = arm(np.random.default_rng(4), "eye_to_hand", poses=11, noise=0.1)
        verdict = judge_hand_eye(calibrate_hand_eye(samples, "eye_to_hand"))
        assert verdict.grade == "usable"
        assert "11 poses are too few for a sure estimate of its error" in verdict.sentence
        _, samples = arm(np.random.default_rng(4), "eye_to_hand", poses=12, noise=0.1)
        verdict = judge_hand_eye(calibrate_hand_eye(samples, "eye_to_hand"))
        assert verdict.grade == "good"
        assert "too few" not in verdict.sentence

    def test_a_board_that_scatters_is_not_good(self) -> None:
        """Many poses make a sure answer of a loose arm, but do not make the arm a tight one."""
        _, samples = arm(np.random.default_rng(5), "eye_in_hand", poses=200, noise=12.0)
        verdict = judge_hand_eye(calibrate_hand_eye(samples))
        assert verdict.grade != "good"


class TestAgainstOpenCv:
    def test_where_this_opencv_has_a_solver(self) -> None:
        truth, samples = arm(np.random.default_rng(3), "eye_in_hand")
        other = opencv_answer(samples)
        if other is None:
            pytest.skip("this OpenCV (5.0.0) has no calibrateHandEye; see the kept answers below")
        ours = calibrate_hand_eye(samples).transform
        assert ours.difference(other)[0] < 3e-3
        assert truth.difference(ours)[0] < 5e-3

    def test_kept_answers_of_opencv_4(self) -> None:
        kept = json.loads(GOLDEN.read_text())
        for case in kept["cases"]:
            samples = [
                HandEyeSample(Transform(np.array(a)), Transform(np.array(b)))
                for a, b in zip(case["base_from_gripper"], case["camera_from_board"], strict=True)
            ]
            ours = calibrate_hand_eye(samples, case["setup"])
            metres, radians = ours.transform.difference(Transform(np.array(case["park"])))
            assert metres < 3 * ours.spread_m
            assert radians < 3 * ours.spread_rad


class TestWords:
    def test_the_sentence_and_the_command(self) -> None:
        _, samples = arm(np.random.default_rng(4), "eye_in_hand")
        result = calibrate_hand_eye(samples)
        assert "p_gripper = gripper_from_camera @ p_camera" in result.sentence
        assert result.transform.to_frame == "gripper"
        line = static_transform_line(result, child="cam_optical")
        assert "--frame-id gripper --child-frame-id cam_optical" in line
        verdict = judge_hand_eye(result)
        assert verdict.grade == "good"
        page = hand_eye_report(result, verdict, "Arm")
        assert "class=scatter" in page
        assert "static_transform_publisher" in page
        _, samples = arm(np.random.default_rng(4), "eye_to_hand", poses=8)
        result = calibrate_hand_eye(samples, "eye_to_hand")
        assert "p_base = base_from_camera @ p_camera" in result.sentence
        assert any("more poses (8" in line for line in judge_hand_eye(result).advice)


class TestRefused:
    def test_too_few(self) -> None:
        _, samples = arm(np.random.default_rng(0), "eye_in_hand", poses=4)
        with pytest.raises(TooFewViewsError, match="at least 5 poses, better 15, got 4"):
            calibrate_hand_eye(samples)

    def test_all_poses_alike(self) -> None:
        _, samples = arm(np.random.default_rng(0), "eye_in_hand")
        with pytest.raises(DegenerateError, match="one axis only"):
            calibrate_hand_eye([samples[0]] * 10)

    def test_one_axis_only(self) -> None:
        _, samples = arm(np.random.default_rng(0), "eye_in_hand", swing=0.0)
        alike = [
            HandEyeSample(
                Transform.from_parts(
                    matrix_from_rotation_vector([0, 0, 0.1 * i]), [0.1 * i, 0, 0]
                ),
                s.camera_from_board,
            )
            for i, s in enumerate(samples)
        ]
        with pytest.raises(DegenerateError, match="second axis"):
            calibrate_hand_eye(alike)

    def test_a_mirrored_pose_and_another_setup(self) -> None:
        with pytest.raises(InvalidArgumentError, match="determinant is -1"):
            Transform(np.diag([1, 1, -1, 1.0]))
        _, samples = arm(np.random.default_rng(0), "eye_in_hand")
        with pytest.raises(InvalidArgumentError, match="eye_in_hand or eye_to_hand"):
            calibrate_hand_eye(samples, "eye_on_foot")
