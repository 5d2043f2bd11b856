"""Every pursuit agrees with its dense oracle, pick for pick, for k up to m."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import select
from tests import reference
from tests.pools import POOLS, random, self_query


@pytest.mark.parametrize("targets", [False, True], ids=["self", "targets"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("noise", [0.05, 2.0, 30.0])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
def test_equals_dense_reference(pursuit, pool, noise, weighted, targets):
    rng = np.random.default_rng(7)
    F = pool(rng).astype(np.float32)
    m, d = F.shape
    weights = rng.uniform(0.2, 1, m) if weighted else None
    T = random(rng, m=4)
    K = self_query(T if targets else F)
    match pursuit:
        case "projection":
            gains = reference.projection(K, noise)
        case "information":
            gains = reference.information(T.T if targets else np.eye(d), noise)
        case _:
            energy, V = np.linalg.eigh(K)
            X = F if weights is None else F * weights[:, None]
            scores = X @ V * np.sqrt(np.maximum(energy, 0)) @ V.T
            gains = reference.residual(scores, noise, signed=True)
    picks, won = reference.greedy(gains, F, m, noise, weights)
    got = select(
        F,
        m,
        weights=weights,
        query=K if targets else None,
        noise=noise,
        pursuit=pursuit,
    )
    # The residual decays geometrically, until what is left of it is rounding.
    clear = len(won) if pursuit != "residual" else np.argmax(np.append(won, 0.0) < 1e-13)
    assert len(got.indices) == len(picks)
    np.testing.assert_array_equal(got.indices[:clear], picks[:clear])
    np.testing.assert_allclose(got.gains, won, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("signed", [False, True], ids=["positive", "signed"])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
def test_residual_of_given_scores(pool, signed, weighted):
    rng = np.random.default_rng(3)
    F = pool(rng).astype(np.float32)
    scores = rng.uniform(0, 1, (len(F), 2)) * F.any(axis=1)[:, None]
    weights = rng.uniform(0.2, 1, len(F)) if weighted else None
    gains = reference.residual(scores, 1.0, signed)
    picks, won = reference.greedy(gains, F, len(F), 1.0, weights, fill=signed)
    got = select(
        F, len(F), weights=weights, noise=1.0, pursuit="residual", scores=scores, signed=signed
    )
    clear = np.argmax(np.append(won, 0.0) < 1e-13)
    assert len(got.indices) == len(picks)
    np.testing.assert_array_equal(got.indices[:clear], picks[:clear])
    np.testing.assert_allclose(got.gains, won, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e20, 1e100])
def test_scores_have_no_scale(size, signed):
    rng = np.random.default_rng(4)
    F = random(rng).astype(np.float32)
    scores = rng.uniform(0, 1, (len(F), 2))
    want = select(F, 20, noise=1.0, pursuit="residual", scores=scores, signed=signed)
    got = select(F, 20, noise=1.0, pursuit="residual", scores=scores * size, signed=signed)
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_allclose(got.gains, want.gains * size**2, rtol=1e-9)


@pytest.mark.parametrize("weight", [1.0, 0.7, 0.3])
def test_a_row_whose_scores_sum_to_nothing_is_not_picked(weight):
    """Whatever rounding makes of the sum: of 0.1 + 0.2 - 0.3 itself it leaves 6e-17."""
    scores = [[-5.0, 4, 1], [5, 0, 0], [0.1, 0.2, -0.3], [-3, 1, 1]]
    options = {"noise": 1.0, "pursuit": "residual", "scores": scores, "weights": [weight] * 4}
    got = select(np.eye(4), 4, **options)
    assert (got.indices.tolist(), got.stopped) == ([1], "exhausted")
    assert select(np.eye(4), 4, **options, signed=True).indices.tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 199])
def test_nor_is_one_of_which_picks_of_larger_scores_leave_nothing_but_rounding(seed):
    """Axes turned at random, whose cosines are not quite 0 or 1: the picks are as of the axes."""
    rng = np.random.default_rng(seed)
    d, m = int(rng.integers(3, 12)), 100
    axes = np.append([0, 0], rng.integers(d, size=m))
    turned, _ = np.linalg.qr(rng.standard_normal((d, d)))
    scores = rng.integers(-8, 9, (len(axes), 3)).astype(float)
    scores[:, -1] -= scores.sum(axis=1)
    gaining = rng.random(len(axes)) < 0.4
    scores[gaining] = rng.uniform(1, 8, (np.count_nonzero(gaining), 3))
    scores[:2] = rng.uniform(1, 8, (2, 3)) * 2.0 ** rng.integers(10, 21)
    options = {"noise": 1.0, "pursuit": "residual", "scores": scores}
    want, got = (select(F, 12, **options) for F in (np.eye(d)[axes], turned[axes]))
    largest = np.abs(scores).max()
    clear = want.gains > 1e-13 * largest**2
    assert np.count_nonzero(clear) > 1
    np.testing.assert_array_equal(got.indices[: clear.sum()], want.indices[clear])


def test_scores_over_a_tiny_weight_have_no_say_in_the_norm_of_a_row():
    """Of weight 1e-12 and score 1 the gain is 1e24 / (1e19 + 1), of weight 1 about 1."""
    weights, scores = [1.0, 1e-12, 1.0], np.ones((3, 1))
    got = select(np.eye(3), 3, weights=weights, noise=1e-5, pursuit="residual", scores=scores)
    assert got.indices.tolist() == [1, 0, 2]
    np.testing.assert_allclose(got.gains, [1e5, 1 / (1 + 1e-5), 1 / (1 + 1e-5)])


def test_a_weight_below_the_least_counts_as_the_least_in_its_scores_too():
    """Of noise 1e20 at most: the gain of a score of 0.6 is 0.6^2 over noise and norm, not more."""
    weights = np.array([1e-12, 1.0])
    got = select(
        np.eye(2), 2, weights=weights, noise=1.0, pursuit="residual", scores=[[0.6], [0.5]]
    )
    np.testing.assert_allclose(got.gains, [0.36, 0.125])


@pytest.mark.parametrize("size", [1e-20, 1e-30, 1e-80, 1e-120])
def test_scores_over_weights_that_are_all_tiny_have_no_scale(size):
    """Least and automatic noise are in proportion to the largest weight's square."""
    rng = np.random.default_rng(5)
    F, scores, weights = random(rng), rng.uniform(0, 1, (150, 2)), rng.uniform(0.1, 1, 150)
    options = {"pursuit": "residual", "scores": scores}
    want = select(F, 20, weights=weights, **options)
    got = select(F, 20, weights=weights * size, **options)
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_allclose(got.gains * size**2, want.gains, rtol=1e-9)


def test_scores_too_large_beside_the_weights_are_refused():
    weights, scores = [1e-80, 1e-81], np.full((2, 1), 1e61)
    with pytest.raises(ValueError, match=r"1e\+140 times the largest weight") as error:
        select(np.eye(2), 1, weights=weights, pursuit="residual", scores=scores)
    assert "\n" not in str(error.value)
