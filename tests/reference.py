"""Dense oracles: each pursuit in a few lines of `numpy.linalg`, at any cost in time."""

from __future__ import annotations

import numpy as np

TIE = 1e-9  # as the solver's: gains that agree to this share are tied


def first_best(gain, open_):
    """Lowest row whose gain ties with the best among the open rows."""
    gain = np.where(open_, gain, -np.inf)
    return int(np.argmax(gain >= gain.max() - TIE * abs(gain.max())))


def projection(F, k, K, s2, weights=None):
    """(k,) picks and gains of the exact greedy, the posterior inverted anew for each pick."""
    X = np.asarray(F, float) * (1.0 if weights is None else np.asarray(weights, float)[:, None])
    open_, picks, gains = ~np.isnan(X[:, 0]), [], []
    X[~open_] = 0
    zero = ~X.any(axis=1)
    for _ in range(min(k, open_.sum())):
        Sigma = np.linalg.inv(np.eye(X.shape[1]) + X[picks].T @ X[picks] / s2)
        Z = X @ Sigma
        gain = np.einsum("ij,ij->i", Z @ K, Z) / (s2 + np.einsum("ij,ij->i", Z, X))
        i = first_best(np.where(zero, -1, gain), open_)
        picks.append(i), gains.append(gain[i])
        open_[i] = False
    return np.array(picks), np.array(gains)
