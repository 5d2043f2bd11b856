"""The default noise: design 2.4."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.check import least_noise


def effective_rank(K: NDArray[np.floating]) -> float:
    """Effective rank of a query, tr(K)^2 / tr(K^2), between 1 and d.

    Parameters
    ----------
    K : (d, d)
        Query covariance, symmetric and positive semidefinite, of any trace > 0.

    Raises
    ------
    ValueError
        K is not square or has no energy.
    """
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not 0 < np.trace(K) < np.inf:
        raise ValueError(f"a query is (d, d) and has energy, not {K.shape} of trace 0 or less")
    return float(np.trace(K) ** 2 / np.vdot(K, K))


def default_noise(k: float, weights: NDArray[np.floating] | None, K: NDArray[np.floating]) -> float:
    """Noise variance at which budget, dimension and scale of the weights need no tuning.

    s2 = 0.5 k mean(w^2) / r, with r the query's effective rank (design 2.4); where that is less
    than float64 can work with, the least noise that it can.

    Parameters
    ----------
    k : float
        Number of picks that share the work.
    weights : (m,) or None
        Quality of each row in (0, 1]; NaN rows cannot be picked and do not count. None is 1.
    K : (d, d)
        Query covariance.

    Raises
    ------
    ValueError
        `k` is not positive, no weight is a number, or as `effective_rank`.
    """
    if not k > 0 or (weights is not None and np.isnan(weights).all()):
        raise ValueError("the noise is for a positive number of picks, and for rows with a weight")
    squares = np.square(1.0 if weights is None else weights, dtype=float)
    s2 = 0.5 * k * float(np.nanmean(squares)) / effective_rank(K)
    return max(s2, least_noise(1.0 if weights is None else weights))
