"""Dense oracles: each pursuit in a few lines of `numpy.linalg`, at any cost in time.

Each returns the picks, (k,), and their gains, computing everything anew for every pick. A
`closed` callback makes constrained variants: it is told the pick and says which rows it closes.
"""

from __future__ import annotations

import numpy as np

TIE = 1e-9  # as the solver's: gains that agree to this share are tied,
ROUNDING = 1e-16  # and so are those that are no more than rounding


def greedy(gains, X, k, s2, weights=None, price=1.0, closes=None, fill=True):
    """Pick k rows of the largest `gains(X, picks)` over price, the lowest row where they tie.

    Rows that gain nothing come last; not at all if not `fill`.
    """
    X = np.asarray(X, float) * (1.0 if weights is None else np.asarray(weights, float)[:, None])
    open_ = ~np.isnan(X[:, 0])
    X[~open_] = 0
    w2 = 1.0 if weights is None else np.nan_to_num(np.square(weights))
    zero, picks, won = ~X.any(axis=1), [], []
    while len(picks) < k and open_.any():
        gain = gains(X, picks)
        rate = np.where(gain > ROUNDING * w2 / (w2 + s2), gain / price, 0.0)
        rate = np.where(open_, np.where(zero, -1.0, rate), -np.inf)
        if not fill and rate.max() <= 0:
            break
        i = int(np.argmax(rate >= rate.max() - TIE * abs(rate.max())))
        picks.append(i)
        won.append(gain[i])
        open_[i] = False
        if closes is not None:
            open_[closes(i)] = False
    return np.array(picks), np.array(won)


def covariance(X, S, s2):
    return np.linalg.inv(np.eye(X.shape[1]) + X[S].T @ X[S] / s2)


def projection(K, s2):
    def gains(X, S):
        Z = X @ covariance(X, S, s2)
        return np.einsum("ij,ij->i", Z @ K, Z) / (s2 + np.einsum("ij,ij->i", Z, X))

    return gains


def information(Q, s2):
    """Design 2.3 as it stands there: -log(1 - u^T (Q^T Sigma Q)^-1 u), or log(1 + v / s2)."""

    def gains(X, S):
        Sigma = covariance(X, S, s2)
        v = np.einsum("ij,ij->i", X @ Sigma, X)
        if np.linalg.matrix_rank(Q) == X.shape[1]:
            return np.log1p(v / s2)
        u = X @ Sigma @ Q / np.sqrt(s2 + v)[:, None]
        return -np.log1p(-np.einsum("ij,ij->i", u @ np.linalg.inv(Q.T @ Sigma @ Q), u))

    return gains


def residual(C, s2, signed):
    """Design 2.3: c_j -= (f_j^T f_i + s2 [i = j]) c_i / (s2 + |f_i|^2), from scores C (m, q)."""

    def gains(X, S):
        c, squares = C.copy(), np.einsum("ij,ij->i", X, X)
        for i in S:
            c -= np.outer(X @ X[i] + s2 * (np.arange(len(X)) == i), c[i]) / (s2 + squares[i])
        gain = np.einsum("ij,ij->i", c, c) / (s2 + squares)
        return gain if signed else np.where(c.sum(axis=1) > 0, gain, 0.0)

    return gains


def plain(F, k, K, s2, weights=None, dtype=float):
    """`projection` one pick at a time (design section 2), for pools too large to invert.

    O(m d) a pick, products with all rows in `dtype`; v and n are worked out anew every thousand
    picks.
    """
    X = np.asarray(F, dtype)
    if weights is not None:
        X = X * np.asarray(weights, dtype)[:, None]
    Sigma, picks, won = np.eye(X.shape[1]), [], []
    open_ = np.ones(len(X), bool)
    for pick in range(k):
        if pick % 1000 == 0:
            M = Sigma @ K @ Sigma
            v = np.einsum("ij,ij->i", X @ Sigma.astype(dtype), X, dtype=float)
            n = np.einsum("ij,ij->i", X @ M.astype(dtype), X, dtype=float)
        gain = np.where(open_, n / (s2 + v), -np.inf)
        i = int(np.argmax(gain >= gain.max() * (1 - TIE)))
        u, h, den, a = Sigma @ X[i], M @ X[i], s2 + v[i], n[i]
        # One vector at a time: BLAS takes twice as long for two together.
        g, t = ((X @ vector.astype(dtype)).astype(float) for vector in (u, h))
        v -= g**2 / den
        n += g**2 * a / den**2 - 2 * g * t / den
        Sigma -= np.outer(u, u) / den
        M += np.outer(u, u) * a / den**2 - (np.outer(u, h) + np.outer(h, u)) / den
        open_[i] = False
        picks.append(i)
        won.append(a / den)
    return np.array(picks), np.array(won)
