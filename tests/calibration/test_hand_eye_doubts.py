"""Likely mistakes in hand-eye poses are named, and keep the verdict from being good."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from molmo_calibration import (
    HandEyeSample,
    Transform,
    calibrate_hand_eye,
    judge_hand_eye,
)
from molmo_calibration.geometry.rotations import (
    matrix_from_quaternion,
    matrix_from_rotation_vector,
)

from benchmarks.hand_eye_coverage import SETUPS, simulate

METRES = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254}


def samples(setup: str, seed: int = 0, poses: int = 15) -> list[HandEyeSample]:
    return simulate(np.random.default_rng(seed), poses, setup, "both")[1]


def changed(
    given: list[HandEyeSample],
    arm: Callable[[Transform], Transform] = lambda pose: pose,
    board: Callable[[Transform], Transform] = lambda pose: pose,
) -> list[HandEyeSample]:
    return [HandEyeSample(arm(s.base_from_gripper), board(s.camera_from_board)) for s in given]


def scaled(factor: float) -> Callable[[Transform], Transform]:
    return lambda pose: Transform.from_parts(pose.rotation, pose.translation * factor)


def inverted(pose: Transform) -> Transform:
    return pose.inverse()


def reordered(pose: Transform) -> Transform:
    x, y, z, w = pose.quaternion
    return Transform.from_parts(matrix_from_quaternion([w, x, y, z]), pose.translation)


class TestUnits:
    @pytest.mark.parametrize("setup", SETUPS)
    @pytest.mark.parametrize("arm", METRES)
    @pytest.mark.parametrize("board", METRES)
    def test_units_are_named_unless_both_are_metres(
        self, setup: str, arm: str, board: str
    ) -> None:
        given = changed(samples(setup), scaled(1 / METRES[arm]), scaled(1 / METRES[board]))
        result = calibrate_hand_eye(given, setup)
        verdict = judge_hand_eye(result)
        sentences = " ".join(doubt.sentence for doubt in result.doubts)
        if arm == board == "metres":
            assert not result.doubts
            assert verdict.grade != "bad"
            return
        assert verdict.grade == "bad"
        if arm != board:
            assert f"arm's poses look like {arm} and the board's like {board}" in sentences
        else:
            assert "must be in metres" in sentences
            assert arm == "inches" or arm in sentences

    def test_a_square_said_in_metres_where_millimetres_are_wanted(self) -> None:
        result = calibrate_hand_eye(changed(samples("eye_in_hand"), board=scaled(1e-3)))
        assert "1000 times too small (is --square right?)" in result.doubts[0].sentence[
            :120
        ].replace("1001", "1000").replace("999.", "1000")
        assert judge_hand_eye(result).grade == "bad"

    @pytest.mark.parametrize("setup", SETUPS)
    @pytest.mark.parametrize("which", ["arm", "board", "both"])
    def test_translations_that_were_never_set(self, setup: str, which: str) -> None:
        """Poses that merely turn are consistent, and fit a camera and a board at one place."""
        for seed in range(5):
            given = changed(
                samples(setup, seed),
                scaled(0.0 if which != "board" else 1.0),
                scaled(0.0 if which != "arm" else 1.0),
            )
            result = calibrate_hand_eye(given, setup)
            assert judge_hand_eye(result).grade == "bad"
            if which == "both":
                assert "camera_from_board are not set" in result.doubts[0].sentence

    @pytest.mark.parametrize("which", ["arm", "board"])
    def test_half_of_the_poses_in_millimetres(self, which: str) -> None:
        for seed in range(10):
            given = samples("eye_in_hand", seed)
            in_mm = changed(given[:7], **{which: scaled(1e3)})
            result = calibrate_hand_eye(in_mm + given[7:])
            assert judge_hand_eye(result).grade == "bad"
            assert np.isfinite([result.spread_m, result.change_m]).all()

    @pytest.mark.parametrize("factor", [1.06, 0.93])
    def test_a_square_of_another_size(self, factor: float) -> None:
        result = calibrate_hand_eye(changed(samples("eye_in_hand", 1), board=scaled(factor)))
        assert [doubt.grade for doubt in result.doubts] == ["usable"]
        said = float(result.doubts[0].sentence.split("board is ")[1].split(" times")[0])
        assert said == pytest.approx(1 / factor, abs=0.02)
        assert judge_hand_eye(result).grade != "good"


class TestSizeOfTheBoard:
    """Only translations of the arm have a known size."""

    @pytest.mark.parametrize("setup", SETUPS)
    @pytest.mark.parametrize("noise", ["arm", "board", "both"])
    @pytest.mark.parametrize("movement_m", [0.0, 0.001])
    def test_an_arm_that_merely_turns_determines_no_size(
        self, setup: str, noise: str, movement_m: float
    ) -> None:
        for seed in range(3):
            result = calibrate_hand_eye(turning(setup, noise, movement_m, seed), setup)
            (doubt,) = result.doubts
            assert "translates too little" in doubt.sentence
            assert doubt.grade == "good"

    @pytest.mark.parametrize("setup", SETUPS)
    def test_one_that_translates_a_little_gets_no_false_hint(self, setup: str) -> None:
        for seed, noise in itertools.product(range(2), ["arm", "board", "both"]):
            poses = turning(setup, noise, 0.02, seed)
            assert not calibrate_hand_eye(poses, setup).doubts

    def test_an_arm_that_turns_about_the_tip_of_a_tool(self) -> None:
        """Its flange moves by centimetres, and yet nothing has a known size."""
        tip = Transform.from_parts(np.eye(3), [0.0, 0.0, -0.15])
        given = changed(turning("eye_in_hand", "board", 0.0, 7), arm=lambda pose: pose @ tip)
        (doubt,) = calibrate_hand_eye(given).doubts
        assert "translates too little" in doubt.sentence


def turning(setup: str, noise: str, movement_m: float, seed: int) -> list[HandEyeSample]:
    """15 poses of an arm that turns by 0.3 rad and moves by `movement_m` along each axis."""
    rng = np.random.default_rng(seed)
    in_hand = setup == "eye_in_hand"
    x = Transform.from_parts(turn(rng, 0.3), [0.05, -0.03, 0.08])
    start = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.45, 0.1, 0.5])
    if not in_hand:
        x = Transform.from_parts(np.diag([1.0, -1.0, -1.0]), [0.5, 0.1, 1.0])
    board = Transform.from_parts(np.eye(3), [0.0, 0.0, 0.55])
    z = (start if in_hand else start.inverse()) @ x @ board
    samples = []
    for _ in range(15):
        shift = start.translation + rng.normal(0, movement_m, 3)
        arm = Transform.from_parts(turn(rng, 0.3) @ start.rotation, shift)
        seen = x.inverse() @ (arm.inverse() if in_hand else arm) @ z
        samples.append(
            HandEyeSample(
                arm if noise == "board" else noisy(rng, arm),
                seen if noise == "arm" else noisy(rng, seen),
            )
        )
    return samples


def turn(rng: np.random.Generator, size: float) -> np.ndarray:
    return matrix_from_rotation_vector(rng.normal(0, size, 3))


def noisy(rng: np.random.Generator, pose: Transform) -> Transform:
    shift = pose.translation + rng.normal(0, 1e-3, 3)
    return Transform.from_parts(turn(rng, 2e-3) @ pose.rotation, shift)


class TestOtherReadings:
    @pytest.mark.parametrize("setup", SETUPS)
    def test_what_was_inverted_is_among_what_is_named(self, setup: str) -> None:
        other = SETUPS[1 - SETUPS.index(setup)]
        given = samples(setup, 2)
        cases = [
            (changed(given, arm=inverted), setup, "base_from_gripper is inverted"),
            (changed(given, board=inverted), setup, "camera_from_board is inverted"),
            (changed(given, arm=reordered), setup, "the arm's quaternions are in the order w"),
            (changed(given, board=reordered), setup, "the board's quaternions are in the order w"),
            (given, other, f"the setup is {setup}"),
        ]
        for poses, said, expected in cases:
            result = calibrate_hand_eye(poses, said)
            assert expected in result.doubts[0].sentence, expected
            assert judge_hand_eye(result).grade == "bad"

    def test_images_that_lag_behind_the_arm(self) -> None:
        given = samples("eye_in_hand", 3)
        late = [
            HandEyeSample(now.base_from_gripper, before.camera_from_board)
            for before, now in itertools.pairwise(given)
        ]
        result = calibrate_hand_eye(late)
        assert "arm's pose after it" not in result.doubts[0].sentence
        assert "arm's pose before it" in result.doubts[0].sentence

    @pytest.mark.parametrize("setup", SETUPS)
    def test_both_inverted_is_consistent_and_far_out(self, setup: str) -> None:
        result = calibrate_hand_eye(changed(samples(setup, 4), inverted, inverted), setup)
        assert "both inverted" in result.doubts[0].sentence
        assert "both inverted" in judge_hand_eye(result).advice[0]

    def test_half_the_boards_upside_down(self) -> None:
        """Two groups of poses, each with its own answer: no error of numpy's, and never usable."""
        turned = Transform.from_parts(np.diag([-1.0, -1.0, 1.0]), [0.2, 0.125, 0.0])
        for seed in range(30):
            given = samples("eye_in_hand", seed)
            for sample in range(7):
                board = given[sample].camera_from_board @ turned
                given[sample] = HandEyeSample(given[sample].base_from_gripper, board)
            result = calibrate_hand_eye(given)
            assert judge_hand_eye(result).grade == "bad"
            assert np.isfinite([result.spread_m, result.change_m]).all()

    def test_a_camera_beyond_reach(self) -> None:
        away = Transform.from_parts(np.eye(3), [0, 3.0, 0])
        result = calibrate_hand_eye(
            changed(samples("eye_to_hand"), arm=lambda p: away @ p), "eye_to_hand"
        )
        assert "farther than an arm reaches" in result.doubts[0].sentence

    @pytest.mark.parametrize("noise", [0.0, 1.0])
    def test_copies_of_poses(self, noise: float) -> None:
        """Exact ones, and those of an arm that stood still while it was recorded twice."""
        rng = np.random.default_rng(6)
        given = samples("eye_in_hand", 5, poses=8)

        def again(pose: Transform) -> Transform:
            turned = turn(rng, noise * 1e-4) @ pose.rotation
            return Transform.from_parts(turned, pose.translation + rng.normal(0, noise * 1e-4, 3))

        result = calibrate_hand_eye(given + changed(given[:7], again, again))
        assert "7 of 15 poses are copies of others" in result.doubts[0].sentence
        assert judge_hand_eye(result).grade == "usable"
