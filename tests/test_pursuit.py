"""The pursuit's invariants, and agreement with dense oracles pick for pick."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import default_noise, effective_rank, select
from tests import reference


def unit(A):
    norms = np.linalg.norm(A, axis=1, keepdims=True)
    return np.divide(A, norms, out=np.zeros_like(A), where=norms > 0)


def random(rng, m=150, d=12):
    return unit(rng.standard_normal((m, d)) + 0.5)


def clustered(rng):
    return unit(rng.standard_normal((6, 12))[rng.integers(6, size=150)] + 0.1 * random(rng))


def duplicated(rng):
    return random(rng)[rng.integers(40, size=150)]


def rank_deficient(rng):
    return unit(random(rng, d=5) @ rng.standard_normal((5, 12)))


def zero_rows(rng):
    return random(rng) * (rng.random(150) < 0.8)[:, None]


POOLS = [random, clustered, duplicated, rank_deficient, zero_rows]


@pytest.mark.parametrize("targets", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("noise", ["auto", 0.05, 30.0])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
def test_equals_dense_reference(pool, noise, weighted, targets):
    rng = np.random.default_rng(7)
    F = pool(rng).astype(np.float32)
    weights = rng.uniform(0.2, 1, len(F)) if weighted else None
    T = random(rng, m=4) if targets else F.astype(np.float64)
    K = T.T @ T / np.trace(T.T @ T)
    s2 = default_noise(len(F), weights, K) if noise == "auto" else noise
    got = select(F, len(F), weights=weights, query=K if targets else None, noise=noise)
    picks, gains = reference.projection(F, len(F), K, s2, weights)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, gains, rtol=1e-6, atol=1e-12)
    assert got.noise == pytest.approx(s2)


def test_effective_rank_of_known_spectra():
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.diag([3.0, 0, 0])) == pytest.approx(1)
