"""Small pools of unit rows for the pursuit's tests, each with its own difficulty."""

from __future__ import annotations

import numpy as np


def unit(A: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(A, axis=1, keepdims=True)
    return np.divide(A, norms, out=np.zeros_like(A), where=norms > 0)


def random(rng, m=150, d=12):
    """Rows around one mean direction, as embeddings of text are."""
    return unit(rng.standard_normal((m, d)) + 0.5)


def clustered(rng, m=150, d=12):
    """Six tight clusters: within one, gains differ little."""
    return unit(rng.standard_normal((6, d))[rng.integers(6, size=m)] + 0.1 * random(rng, m, d))


def duplicated(rng, m=150, d=12):
    """Every row about four times: ties at each pick."""
    return random(rng, m, d)[rng.integers(max(1, m // 4), size=m)]


def rank_deficient(rng, m=150, d=12):
    """All rows in a subspace of five dimensions."""
    return unit(random(rng, m, 5) @ rng.standard_normal((5, d)))


def zero_rows(rng, m=150, d=12):
    """One row in five is all zeros."""
    return random(rng, m, d) * (rng.random(m) < 0.8)[:, None]


POOLS = [random, clustered, duplicated, rank_deficient, zero_rows]


def self_query(F):
    F = np.asarray(F, float)
    return F.T @ F / np.trace(F.T @ F)
