"""A predictor of scores: what a network will score, and how sure that is, before it is trained."""

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from threadpoolctl import ThreadpoolController

from toolchain.search.features import Array

# Matrices of some hundred rows gain nothing from threads, and lose much where candidates are being
# trained on the same cores.
_one_thread = ThreadpoolController().wrap(limits=1, user_api="blas")
_LENGTHS = (2.0, 4.0, 8.0, 16.0, 32.0)
_NOISES = (0.01, 0.05, 0.2, 0.5)


class ScorePredictor:
    """A Gaussian process over features with a Matern 5/2 kernel.

    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1; features
    and scores are standardised. Length and noise are those of the largest marginal likelihood
    (equation 5.8) on a grid, the scale follows from them.

    Args:
        x: features, [n, features].
        scores: [n].
        like: takes over the length and the noise of another predictor, which saves most of the
            time.

    Attributes:
        shape: the length and the noise.
    """

    shape: tuple[float, float]

    @_one_thread  # type: ignore[untyped-decorator]
    def __init__(self, x: Array, scores: Array, like: "ScorePredictor | None" = None):
        self._mean, spread = x.mean(0), x.std(0)
        self._spread = np.where(spread > 1e-9, spread, np.inf)  # what never differs says nothing
        self._known = self._scaled(x)
        self._offset, self._scale = float(scores.mean()), float(scores.std()) or 1.0
        target = (scores - self._offset) / self._scale
        distances = _distances(self._known, self._known)
        grid = [(length, noise) for length in _LENGTHS for noise in _NOISES]
        fits = [self._fit(distances, target, *pair) for pair in ([like.shape] if like else grid)]
        _, self.shape, self._factor, self._weights, self._variance = max(fits, key=lambda f: f[0])

    def _fit(
        self, distances: Array, target: Array, length: float, noise: float
    ) -> tuple[float, tuple[float, float], Any, Array, float]:
        kernel = _matern(distances / length)
        kernel[np.diag_indices_from(kernel)] += noise
        factor = cho_factor(kernel, lower=True)
        weights = cho_solve(factor, target)
        variance = max(float(target @ weights) / len(target), 1e-9)
        likelihood = -0.5 * len(target) * np.log(variance) - np.log(np.diag(factor[0])).sum()
        return float(likelihood), (length, noise), factor, weights, variance

    @property
    def noise(self) -> float:
        """Standard deviation of what a score owes to all that the features do not say."""
        return float(self._scale * np.sqrt(self._variance * self.shape[1]))

    @_one_thread  # type: ignore[untyped-decorator]
    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return the expected scores and their standard deviations, without the noise, [n] each."""
        kernel = _matern(_distances(self._scaled(x), self._known) / self.shape[0])
        mean = self._offset + self._scale * kernel @ self._weights
        reduced = solve_triangular(self._factor[0], kernel.T, lower=True)
        variance = self._variance * np.maximum(1 - (reduced**2).sum(0), 1e-9)
        return mean, self._scale * np.sqrt(variance)

    def _scaled(self, x: Array) -> Array:
        return (x - self._mean) / self._spread


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _matern(distances: Array) -> Array:
    scaled = np.sqrt(5) * distances
    return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)


def held_out(x: Array, scores: Array, folds: int = 10, seed: int = 0) -> Array:
    """Predict each score by a predictor that has not seen it: cross-validation, [n]."""
    order = np.random.default_rng(seed).permutation(len(scores))
    result = np.zeros(len(scores))
    for fold in range(folds):
        out = order[fold::folds]
        rest = np.setdiff1d(order, out)
        result[out] = ScorePredictor(x[rest], scores[rest]).predict(x[out])[0]
    return result
