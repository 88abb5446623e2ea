"""Solver of hand-eye calibration: a closed form, then least squares weighted by the noise estimated from the poses.

Both setups are one equation between two ways to the board, L X B = M Z, for every pose:

    eye_in_hand   A X B = Z      A base_from_gripper, X gripper_from_camera, Z base_from_board
    eye_to_hand   X B = A Z      X base_from_camera, Z gripper_from_board

with B = camera_from_board. Errors are where the camera puts the board less where the arm puts it,
in the base frame: 3 metres and 3 radians per pose.

Noise model: independent errors of the position (arm and board together), of the arm's orientation,
which also move the board by the arm's length, and of the board's orientation. Their three
variances are not known, so they are estimated from the poses themselves by restricted maximum
likelihood, see `hand_eye_noise`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray
from molmo_calibration.calibrate.hand_eye_noise import NoiseModel, weighted_step
from molmo_calibration.geometry.rotations import (
    cross_matrix,
    matrix_from_rotation_vector,
    rotation_vectors,
)

# Weight of radians against metres before the noise is known: boards are seen from 0.5 to 1 m.
_LEVER_M = 0.5

# Errors beyond this count linearly in the first fit, so that a wrong pose does not spoil its start.
_START_NOISE_M = 0.01

# A pose is an outlier if its squared error in sigmas (chi² of 6 degrees) is beyond this: 1 in 25000.
OUTLIER_LIMIT = 30.0

# Poses that are tried together as a start where some poses stand out by a factor.
_SUBSET = 5
_SUBSETS = 60
_STANDS_OUT = 4.0

# The 90 % region of the answer is honest: the 90 % quantile of chi² with 6 degrees of freedom.
_REGION = 10.645

_START_ROUNDS = 100
_ROUNDS = 12
_SETTLED = 1e-3

# 12 numbers are fitted to 6 of each pose: with the weight of fewer poses, noise runs towards zero.
_AGREEING_POSES = 2.5
_FLOOR = 1e-10

# Median length of a vector of three independent errors, in sigmas.
_MEDIAN_OF_THREE = 1.538


@dataclass(frozen=True, eq=False)
class Chain:
    """The two ways to the board, pose by pose.

    Args:
        left: (n, 4, 4) base_from_gripper for eye_in_hand, else identity.
        boards: (n, 4, 4) camera_from_board.
        right: (n, 4, 4) identity for eye_in_hand, else base_from_gripper.
    """

    left: FloatArray
    boards: FloatArray
    right: FloatArray

    @classmethod
    def of(cls, arms: FloatArray, boards: FloatArray, setup: str) -> Chain:
        """From (n, 4, 4) base_from_gripper and camera_from_board."""
        still = np.broadcast_to(np.eye(4), arms.shape)
        return cls(arms, boards, still) if setup == "eye_in_hand" else cls(still, boards, arms)

    @property
    def arms(self) -> FloatArray:
        """base_from_gripper, wherever it stands in the equation."""
        return np.asarray(self.left @ self.right)

    @property
    def moving(self) -> FloatArray:
        """(n, 4, 4) C of the classic form C X B = Z."""
        return np.asarray(np.linalg.inv(self.right) @ self.left)

    def errors(self, x: FloatArray, z: FloatArray) -> FloatArray:
        """(n, 6) metres and radians in the base frame."""
        seen, told = self.left @ x @ self.boards, self.right @ z
        turn = seen[:, :3, :3] @ np.swapaxes(told[:, :3, :3], 1, 2)
        return np.concatenate([seen[:, :3, 3] - told[:, :3, 3], rotation_vectors(turn)], axis=1)

    def jacobian(self, x: FloatArray, z: FloatArray) -> FloatArray:
        """d(errors) / d(shift and turn of X, shift and turn of Z), (n, 6, 12)."""
        result = np.zeros((len(self.boards), 6, 12))
        left, right = self.left[:, :3, :3], self.right[:, :3, :3]
        result[:, :3, :3] = result[:, 3:, 3:6] = left
        # X turns about its own origin, and the board is at the end of B; Z turns about the board.
        result[:, :3, 3:6] = -left @ cross_matrix(self.boards[:, :3, 3] @ x[:3, :3].T)
        result[:, :3, 6:9] = result[:, 3:, 9:] = -right
        return result

    def levers(self, z: FloatArray) -> FloatArray:
        """(n, 3) from gripper to board in the base frame: how turns of the gripper move the board."""
        return np.asarray((self.right @ z)[:, :3, 3] - self.arms[:, :3, 3])


@dataclass(frozen=True, eq=False)
class Fit:
    """The answer of `fit_chain`.

    Args:
        x: (4, 4) gripper_from_camera or base_from_camera.
        z: (4, 4) base_from_board or gripper_from_board.
        covariance: (6, 6) of x, about the fixed axes of its outer frame.
        errors: (n, 6) metres and radians.
        squares: (n,) squared error of each pose in sigmas; 6 on average.
        noise: of the poses.
        changes: (n, 6) how x changes if a pose is left out.
    """

    x: FloatArray
    z: FloatArray
    covariance: FloatArray
    errors: FloatArray
    squares: FloatArray
    noise: NoiseModel
    changes: FloatArray


def fit_chain(chain: Chain) -> Fit:
    """X and Z of a chain with at least 5 poses, and the covariance of X."""
    x, z = _first_fit(chain)
    errors = chain.errors(x, z)
    sigmas = np.median(_lengths(errors), axis=0) / _MEDIAN_OF_THREE + _FLOOR
    squares = ((_lengths(errors) / sigmas) ** 2).sum(axis=1)
    noise = NoiseModel(float(sigmas[0]), float(sigmas[1]), 0.5)
    for _ in range(_ROUNDS):
        step = weighted_step(
            errors, chain.jacobian(x, z), chain.levers(z), outlier_weights(squares), noise
        )
        x, z, noise = moved(x, step.shift[:6]), moved(z, step.shift[6:]), step.noise
        errors = chain.errors(x, z)
        squares = noise.squares(errors, chain.levers(z))
        settled = np.abs(step.shift) < _SETTLED * np.sqrt(np.diag(step.covariance)) + _FLOOR
        if settled.all() or contradictory(squares):
            break
    changes = noise.changes_without(
        errors, chain.jacobian(x, z), chain.levers(z), outlier_weights(squares)
    )
    covariance = step.region_covariance(6, _REGION)
    return Fit(x, z, covariance, errors, squares, noise, changes[:, :6])


def moved(matrix: FloatArray, step: FloatArray) -> FloatArray:
    """A pose with a small shift and turn about its own origin, in the outer frame."""
    result = np.array(matrix)
    result[:3, :3] = matrix_from_rotation_vector(step[3:]) @ matrix[:3, :3]
    result[:3, 3] += step[:3]
    return result


def relative_motions(chain: Chain) -> tuple[FloatArray, FloatArray]:
    """All pairs: C = A_j^-1 A_i and D = B_j B_i^-1, for which C X = X D."""
    arms = chain.moving
    i, j = np.triu_indices(len(arms), 1)
    return np.linalg.inv(arms[j]) @ arms[i], chain.boards[j] @ np.linalg.inv(chain.boards[i])


def closed_form(chain: Chain) -> FloatArray:
    """Park and Martin: rotation from pairs of rotation vectors, then a linear translation."""
    left, right = relative_motions(chain)
    rotation = _closed_rotation(left, right)
    design = (left[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    target = (right[:, :3, 3] @ rotation.T - left[:, :3, 3]).ravel()
    x = np.eye(4)
    x[:3, :3] = rotation
    x[:3, 3] = np.linalg.lstsq(design, target, rcond=None)[0]
    return x


def scaled_closed_form(chain: Chain) -> tuple[float, FloatArray]:
    """The factor on the board's translations that fits the arm's best, and (4, 4) X for it."""
    left, right = relative_motions(chain)
    rotation = _closed_rotation(left, right)
    seen = (right[:, :3, 3] @ rotation.T).ravel()
    # Columns of one size: units may differ by a factor of a thousand.
    unit = max(float(np.linalg.norm(seen)), 1e-300)
    design = np.column_stack([(left[:, :3, :3] - np.eye(3)).reshape(-1, 3), -seen / unit])
    solved = np.linalg.lstsq(design, -left[:, :3, 3].ravel(), rcond=None)[0]
    x = np.eye(4)
    x[:3, :3] = rotation
    x[:3, 3] = solved[:3]
    return float(solved[3] / unit), x


def _closed_rotation(left: FloatArray, right: FloatArray) -> FloatArray:
    alphas, betas = rotation_vectors(left[:, :3, :3]), rotation_vectors(right[:, :3, :3])
    # Rotation vectors jump near half a turn; such pairs say little and are left out.
    usable = np.linalg.norm(alphas, axis=1) < np.deg2rad(170)
    u, _, vt = np.linalg.svd(alphas[usable].T @ betas[usable])
    return np.asarray(u @ np.diag([1.0, 1.0, float(np.sign(np.linalg.det(u @ vt)))]) @ vt)


def board_place(chain: Chain, x: FloatArray) -> FloatArray:
    """Z for a given X: the middle of where the poses put the board."""
    where = chain.moving @ x @ chain.boards
    left, _, right = np.linalg.svd(where[:, :3, :3].sum(axis=0))
    z = np.eye(4)
    z[:3, :3] = left @ np.diag([1.0, 1.0, float(np.sign(np.linalg.det(left @ right)))]) @ right
    z[:3, 3] = np.median(where[:, :3, 3], axis=0)
    return z


def outlier_weights(squares: FloatArray) -> FloatArray:
    """(n,) 1 for poses that fit; the farther off an outlier is, the less it counts."""
    return np.asarray(np.minimum(1.0, OUTLIER_LIMIT / np.maximum(squares, 1e-12)) ** 2)


def contradictory(squares: FloatArray) -> bool:
    """Whether squared errors (n,) in sigmas leave too little weight to determine anything."""
    return float(outlier_weights(squares).sum()) < _AGREEING_POSES


def _lengths(errors: FloatArray) -> FloatArray:
    """(n, 2): lengths of the shifts in metres and of the turns in radians."""
    return np.linalg.norm(errors.reshape(-1, 2, 3), axis=2)


def _start(chain: Chain) -> tuple[FloatArray, FloatArray]:
    """The closed form of all poses or, if some stand out, of the subset most poses agree with."""
    x = closed_form(chain)
    z = board_place(chain, x)
    sizes = pose_sizes(chain, x, z)
    count = len(sizes)
    if count < _SUBSET + 2 or sizes.max() < _STANDS_OUT * np.median(sizes):
        return x, z
    best, answer = float(np.median(sizes)), (x, z)
    rng = np.random.default_rng(0)
    for _ in range(_SUBSETS):
        chosen = rng.permutation(count)[:_SUBSET]
        part = Chain(chain.left[chosen], chain.boards[chosen], chain.right[chosen])
        x = closed_form(part)
        z = board_place(part, x)
        middle = float(np.median(pose_sizes(chain, x, z)))
        if middle < best:
            best, answer = middle, (x, z)
    return answer


def pose_sizes(chain: Chain, x: FloatArray, z: FloatArray) -> FloatArray:
    """(n,) errors in metres, with radians counted at half a metre."""
    lengths = _lengths(chain.errors(x, z))
    return np.asarray(np.hypot(lengths[:, 0], _LEVER_M * lengths[:, 1]))


def _first_fit(chain: Chain) -> tuple[FloatArray, FloatArray]:
    """Gauss-Newton on a robust sum (pseudo-Huber), because the noise is still unknown."""
    x, z = _start(chain)
    weight = np.repeat([1.0, _LEVER_M], 3)

    def sizes(errors: FloatArray) -> FloatArray:
        return np.sqrt(1.0 + ((errors * weight) ** 2).sum(axis=1) / _START_NOISE_M**2)

    errors = chain.errors(x, z)
    for _ in range(_START_ROUNDS):
        root = weight / np.sqrt(sizes(errors))[:, None]
        design = (chain.jacobian(x, z) * root[..., None]).reshape(-1, 12)
        step = np.linalg.lstsq(design, -(errors * root).ravel(), rcond=1e-12)[0]
        before = float(sizes(errors).sum())
        for shorter in (1.0, 0.5, 0.25, 0.1, 0.01):
            new_x, new_z = moved(x, shorter * step[:6]), moved(z, shorter * step[6:])
            new = chain.errors(new_x, new_z)
            if float(sizes(new).sum()) < before:
                x, z, errors = new_x, new_z, new
                break
        else:
            break
        if before - float(sizes(errors).sum()) < 1e-9 * before:
            break
    return x, z
