"""The pursuit's invariants, and agreement with dense oracles pick for pick."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import effective_rank, select
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


@pytest.mark.parametrize("targets", [False, True], ids=["self", "targets"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("noise", [0.05, 2.0, 30.0])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual", "signed"])
def test_equals_dense_reference(pursuit, pool, noise, weighted, targets):
    rng = np.random.default_rng(7)
    F = pool(rng).astype(np.float32)
    m, d = F.shape
    weights = rng.uniform(0.2, 1, m) if weighted else None
    T = random(rng, m=4) if targets else F.astype(np.float64)
    K = T.T @ T / np.trace(T.T @ T)
    signed = pursuit == "signed"
    match pursuit:
        case "projection":
            gains = reference.projection(K, noise)
        case "information":
            gains = reference.information(T.T if targets else np.eye(d), noise)
        case _:
            energy, V = np.linalg.eigh(K)
            X = F if weights is None else F * weights[:, None]
            scores = X @ V * np.sqrt(np.maximum(energy, 0)) @ V.T
            gains = reference.residual(scores, noise, signed)
            pursuit = "residual"
    fill = pursuit != "residual" or signed
    picks, won = reference.greedy(gains, F, m, noise, weights, fill=fill)
    got = select(
        F,
        m,
        weights=weights,
        query=K if targets else None,
        noise=noise,
        pursuit=pursuit,
        signed=signed,
    )
    # The residual decays geometrically, until what is left of it is rounding.
    clear = len(won) if pursuit != "residual" else np.argmax(np.append(won, 0.0) < 1e-13)
    assert len(got.indices) == len(picks)
    np.testing.assert_array_equal(got.indices[:clear], picks[:clear])
    np.testing.assert_allclose(got.gains, won, rtol=1e-6, atol=1e-12)


def test_effective_rank_of_known_spectra():
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.diag([3.0, 0, 0])) == pytest.approx(1)
