"""The default noise: design 2.4."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gip_cli.pursuit import check


def effective_rank(K: ArrayLike) -> float:
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
    A = check.numbers("a query", K)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not 0 < np.trace(A) < np.inf:
        raise ValueError(f"a query is (d, d) and has energy, not {A.shape} of trace 0 or less")
    A = np.ldexp(A, -np.frexp(np.trace(A))[1])  # so that squares are numbers; nothing is rounded
    return float(np.trace(A) ** 2 / np.vdot(A, A))


def default_noise(k: float, weights: ArrayLike | None, K: ArrayLike) -> float:
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
    w = check.numbers("weights", 1.0 if weights is None else weights)
    if not 0 < k < np.inf or np.isnan(w).all():
        raise ValueError("the noise is for a positive number of picks, and for rows with a weight")
    s2 = 0.5 * k * float(np.nanmean(np.square(w))) / effective_rank(K)
    return max(s2, check.least_noise(w))
