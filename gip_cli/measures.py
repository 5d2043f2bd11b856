"""What a selection is worth, in numbers: what receipt, report and compare say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]

_BLOCK = 1 << 11
_SAMPLE = 4096  # rows whose neighbours are looked up, where there are more


def captured_energy(
    vectors: Vectors, weights: Matrix, picks: Rows, covariance: Matrix, noise: float
) -> float:
    """Share of the query's energy that a set of rows captures, in [0, 1) (design 2).

    ``1 - tr(K Sigma_S) / tr(K)`` with ``Sigma_S = (I + X_Sᵀ X_S / s2)^-1``, in closed form.

    Parameters
    ----------
    vectors : (m, d) unit embeddings; weights : (m,); picks : (n,) rows; covariance : K (d, d).
    """
    atoms = vectors[picks].astype(np.float64) * weights[picks, None]
    precision = np.eye(vectors.shape[1]) + atoms.T @ atoms / noise
    left = np.trace(np.linalg.solve(precision, covariance))
    return float(1 - left / np.trace(covariance))


def nearest_cosines(vectors: Vectors, picks: Rows, seed: int = 0) -> Matrix:
    """Each pick's cosine with its nearest other pick (n,); of a seeded sample if n > 4096.

    Blockwise: never an n x n matrix. Fewer than two picks give an empty array.
    """
    if len(picks) < 2:
        return np.empty(0)
    chosen = np.arange(len(picks))
    if len(picks) > _SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(len(picks), _SAMPLE, replace=False))
    nearest = np.full(len(chosen), -1.0)
    queries = vectors[picks[chosen]].astype(np.float32)
    for start in range(0, len(picks), _BLOCK):
        block = vectors[picks[start : start + _BLOCK]].astype(np.float32)
        cosines = queries @ block.T
        own = np.flatnonzero((chosen >= start) & (chosen < start + len(block)))
        cosines[own, chosen[own] - start] = -1.0
        np.maximum(nearest, cosines.max(axis=1), out=nearest)
    return nearest


def random_picks(pickable: Rows, count: int, seed: int) -> Rows:
    """A seeded random subset of the rows that could have been picked."""
    return np.random.default_rng(seed).choice(pickable, min(count, len(pickable)), replace=False)
