"""Noise model of hand-eye calibration, estimated from the poses.

Three independent errors per pose, alike along every axis: of positions (arm and board together), of
the arm's orientation, and of the board's. An error of the arm's orientation also moves the board,
by the cross product with the lever from gripper to board; that is what tells the two apart.

The three variances are unknown. Up to a common factor they are a ratio and a share; the factor
is integrated out, and ratio and share are summed over a grid with their restricted likelihood as
weight (Patterson and Thompson, Biometrika 1971; Harville, Biometrika 1974). The covariance
therefore includes the uncertainty of the noise and the degrees of freedom that the fit used up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_calibration.arrays import FloatArray, symmetric

# Share of the orientation variance that is the arm's.
_SHARES = np.linspace(0.0, 1.0, 9)

# Logarithm of position variance over orientation variance, less that of the guess: first wide,
# then near the best.
_WIDE = np.linspace(-7.0, 7.0, 15)
_NEAR = np.linspace(-1.5, 1.5, 11)

# Keeps normal equations of unit diagonal invertible.
_RIDGE = 1e-14

# A Student distribution needs more degrees of freedom than this to have a kurtosis.
_LEAST_FREEDOM = 6.0


@dataclass(frozen=True)
class NoiseModel:
    """Noise of the poses, arm and board together.

    Args:
        sigma_m: of positions along each axis, metres.
        sigma_rad: of orientations about each axis, radians.
        arm_share: which share of the variance of orientations is the arm's, 0..1.
    """

    sigma_m: float
    sigma_rad: float
    arm_share: float

    def squares(self, errors: FloatArray, levers: FloatArray) -> FloatArray:
        """(n,) squared errors in sigmas, chi² of 6 degrees; errors (n, 6), levers (n, 3)."""
        ratio = (self.sigma_m / self.sigma_rad) ** 2
        shares, ratios = np.array([self.arm_share]), np.array([ratio])
        white = _whitened(errors[..., None], levers, shares, ratios)[0, :, :, 0]
        return np.asarray((white**2).sum(axis=1) / self.sigma_rad**2)

    def changes_without(
        self, errors: FloatArray, jacobian: FloatArray, levers: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """(n, 12) how the parameters change, to first order, if one pose is left out."""
        system = np.concatenate([jacobian, -errors[..., None]], axis=2)
        system *= np.sqrt(weights)[:, None, None]
        ratio = np.array([(self.sigma_m / self.sigma_rad) ** 2])
        white = _whitened(system, levers, np.array([self.arm_share]), ratio)[0]
        grams = np.swapaxes(white, 1, 2) @ white
        others = grams.sum(axis=0) - grams
        scale = np.maximum(np.diagonal(others, axis1=1, axis2=2)[:, :-1], 1e-300) ** -0.5
        outer = scale[:, :, None] * scale[:, None]
        inverses = np.linalg.pinv(others[:, :-1, :-1] * outer, rcond=1e-12, hermitian=True) * outer
        return np.einsum("nij,nj->ni", inverses, others[:, :-1, -1])


@dataclass(frozen=True, eq=False)
class WeightedStep:
    """One Gauss-Newton step under unknown noise: a mixture of Student distributions.

    Args:
        shift: (p,) what to add to the parameters, the mean of the mixture.
        covariance: (p, p) of the mixture.
        noise: the most likely.
        weights: (k,) of the components, sum 1.
        offsets: (k, p) means of the components less `shift`.
        covariances: (k, p, p) of the components.
        freedom: degrees of freedom of each component.
    """

    shift: FloatArray
    covariance: FloatArray
    noise: NoiseModel
    weights: FloatArray
    offsets: FloatArray
    covariances: FloatArray
    freedom: float

    def region_covariance(self, count: int, chi_squared: float) -> FloatArray:
        """(count, count) covariance of the first parameters, scaled so that a region is honest.

        The tails of the mixture are heavier than those of a normal distribution, so an ellipsoid
        taken from `covariance` and a quantile of chi-squared holds too little. The scale is that of
        a Student distribution of the mixture's kurtosis (Mardia, Biometrika 1970), whose quantile is
        expanded to first order in its degrees of freedom.

        Args:
            count: number of parameters.
            chi_squared: quantile of chi-squared with `count` degrees of freedom.
        """
        covariance = self.covariance[:count, :count]
        root = _whitening(covariance)
        parts = root @ self.covariances[:, :count, :count] @ root.T
        offsets = self.offsets[:, :count] @ root.T
        trace, length = np.trace(parts, axis1=1, axis2=2), (offsets**2).sum(axis=1)
        squares = trace**2 + 2.0 * (parts**2).sum(axis=(1, 2))
        squares *= (self.freedom - 2.0) / (self.freedom - 4.0)
        mixed = np.einsum("ki,kij,kj->k", offsets, parts, offsets)
        fourth = self.weights @ (squares + 2.0 * trace * length + 4.0 * mixed + length**2)
        # (f - 2) / (f - 4) for a Student distribution of f degrees, 1 for a normal one.
        excess = max(float(fourth) / (count * (count + 2)), 1.0)
        inverse_freedom = (excess - 1.0) / (4.0 * excess - 2.0)
        return covariance * (1.0 + (chi_squared - count - 2.0) / 2.0 * inverse_freedom)


def weighted_step(
    errors: FloatArray,
    jacobian: FloatArray,
    levers: FloatArray,
    weights: FloatArray,
    guess: NoiseModel,
) -> WeightedStep:
    """The weighted least squares step, averaged over the posterior of the noise.

    Args:
        errors: (n, 6) metres and radians.
        jacobian: (n, 6, 12) of the errors.
        levers: (n, 3) from gripper to board, metres.
        weights: (n,) 0..1, less than 1 for outliers.
        guess: noise to look near to.
    """
    system = np.concatenate([jacobian, -errors[..., None]], axis=2)
    system *= np.sqrt(weights)[:, None, None]
    freedom = max(6.0 * float(weights.sum()) - jacobian.shape[2], _LEAST_FREEDOM)
    centre = 2.0 * float(np.log(guess.sigma_m / guess.sigma_rad))
    wide = _Grid.around(centre, _WIDE)
    best = wide.log_ratios[int(np.argmax(_solve(system, levers, wide, freedom).likelihoods))]
    grid = _Grid.around(float(best), _NEAR)
    solved = _solve(system, levers, grid, freedom)
    chances = np.exp(solved.likelihoods - solved.likelihoods.max())
    chances /= chances.sum()
    mean = chances @ solved.steps
    apart = solved.steps - mean
    covariance = np.einsum("k,kij->ij", chances, solved.covariances)
    covariance += (apart * chances[:, None]).T @ apart
    top = int(np.argmax(chances))
    sigma_rad = float(np.sqrt(solved.variances[top]))
    sigma_m = sigma_rad * float(np.exp(grid.log_ratios[top] / 2))
    noise = NoiseModel(sigma_m, sigma_rad, float(grid.shares[top]))
    return WeightedStep(
        mean, symmetric(covariance), noise, chances, apart, solved.covariances, freedom
    )


@dataclass(frozen=True, eq=False)
class _Grid:
    """Shares and logarithms of ratios, both (k,)."""

    shares: FloatArray
    log_ratios: FloatArray

    @classmethod
    def around(cls, centre: float, offsets: FloatArray) -> _Grid:
        shares, ratios = np.meshgrid(_SHARES, centre + offsets, indexing="ij")
        return cls(shares.ravel(), ratios.ravel())


@dataclass(frozen=True, eq=False)
class _Solutions:
    """Least squares for each cell of a grid, as if its share and ratio were known."""

    steps: FloatArray
    covariances: FloatArray
    variances: FloatArray
    likelihoods: FloatArray


def _solve(system: FloatArray, levers: FloatArray, grid: _Grid, freedom: float) -> _Solutions:
    ratios = np.exp(grid.log_ratios)
    gram = _grams(system, levers, grid.shares, ratios)
    # Metres and radians, and levers of any length: scaling keeps the inverse accurate.
    scale = np.maximum(np.diagonal(gram, axis1=1, axis2=2)[:, :-1], 1e-300) ** -0.5
    outer = scale[:, :, None] * scale[:, None]
    normal = gram[:, :-1, :-1] * outer + _RIDGE * np.eye(system.shape[2] - 1)
    inverses = np.linalg.inv(normal) * outer
    right = gram[:, :-1, -1]
    steps = np.einsum("kij,kj->ki", inverses, right)
    rest = np.maximum(gram[:, -1, -1] - (right * steps).sum(axis=1), 1e-300)
    across = ratios[:, None] + _left(grid.shares)[:, None] * (levers**2).sum(axis=1)
    spread = len(levers) * grid.log_ratios + 2.0 * np.log(across).sum(axis=1)
    spread = spread + np.linalg.slogdet(normal)[1] - 2.0 * np.log(scale).sum(axis=1)
    return _Solutions(
        steps,
        # Student's distribution of `freedom` degrees has this covariance.
        inverses * (rest / (freedom - 2.0))[:, None, None],
        rest / freedom,
        -0.5 * (spread + freedom * np.log(rest)),
    )


def _whitening(covariance: FloatArray) -> FloatArray:
    """W with W C W' = 1. Variances may differ by any factor: poses in mixed units are kilometres and milliradians apart."""
    scale = np.maximum(np.diagonal(covariance), 1e-300) ** -0.5
    variances, axes = np.linalg.eigh(symmetric(covariance * np.outer(scale, scale)))
    return np.asarray((axes / np.sqrt(np.maximum(variances, _RIDGE))).T * scale)


def _left(shares: FloatArray) -> FloatArray:
    """Conditional variance of the arm's part of a turn, given the whole turn of variance 1."""
    return shares * (1.0 - shares)


def _whitened(
    rows: FloatArray, levers: FloatArray, shares: FloatArray, ratios: FloatArray
) -> FloatArray:
    """(k, n, 6, m) rows with the noise of each pose independent and of orientation variance 1.

    Given the turn, the arm's part of it (share) has moved the board by a cross product; what is
    left of the shift has variance `ratio` along the lever and more across it.

    Args:
        rows: (n, 6, m).
        levers: (n, 3).
        shares: (k,).
        ratios: (k,).
    """
    swung = np.cross(levers[:, None], rows[:, 3:], axisa=2, axisb=1, axisc=1)
    shift = rows[:, :3] + shares[:, None, None, None] * swung
    along, lengths = _directions(levers)
    across = (ratios[:, None] + _left(shares)[:, None] * lengths**2) ** -0.5
    part = along[:, :, None] * np.einsum("ni,knim->knm", along, shift)[:, :, None]
    inside = ratios[:, None, None, None] ** -0.5 * part
    shift = across[..., None, None] * (shift - part) + inside
    turn = np.broadcast_to(rows[:, 3:], shift.shape)
    return np.concatenate([shift, turn], axis=2)


def _grams(
    rows: FloatArray, levers: FloatArray, shares: FloatArray, ratios: FloatArray
) -> FloatArray:
    """(k, m, m) W' W of the whitened rows W, without building the (k, n, 6, m) array.

    Weights depend on the cell, products of rows on the pose: along the lever one weight holds for
    all poses, across it the share enters as a polynomial.
    """
    count = rows.shape[2]
    along, lengths = _directions(levers)
    shift, turn = rows[:, :3], rows[:, 3:]
    inside = np.einsum("ni,nim->nm", along, shift)
    outside = shift - along[:, :, None] * inside[:, None]
    swung = np.cross(levers[:, None], turn, axisa=2, axisb=1, axisc=1)
    across = 1.0 / (ratios[:, None] + _left(shares)[:, None] * lengths**2)

    def summed(left: FloatArray, right: FloatArray) -> FloatArray:
        products = np.swapaxes(left, 1, 2) @ right
        return (across @ products.reshape(len(rows), -1)).reshape(-1, count, count)

    mixed = summed(outside, swung)
    share = shares[:, None, None]
    gram = summed(outside, outside) + share * (mixed + np.swapaxes(mixed, 1, 2))
    gram += share**2 * summed(swung, swung) + inside.T @ inside / ratios[:, None, None]
    flat = turn.reshape(-1, count)
    return np.asarray(gram + flat.T @ flat)


def _directions(levers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, 3) unit vectors along the levers and (n,) lengths."""
    lengths = np.linalg.norm(levers, axis=1)
    return levers / np.maximum(lengths, 1e-150)[:, None], lengths
