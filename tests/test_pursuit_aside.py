"""Rows set aside: by their states they gain something, by their own evaluation nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import select
from gip_cli.pursuit.draft import Belief, Drafter, Level
from gip_cli.pursuit.greedy import Greedy
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.team import Team
from tests.pools import unit


@pytest.mark.parametrize(
    ("seed", "most", "copies"),
    [(36, 20, 1), (891, 20, 1), (125, 20, 3), (439, 20, 3), (0, 3000, 1), (3, 3000, 1)],
)
def test_a_residual_of_sum_0_ends_no_pursuit(seed, most, copies):
    """Two scores so large that beside them float64 leaves the others' sums of either sign."""
    rng = np.random.default_rng(seed)
    d, q = int(rng.integers(3, 12)), int(rng.integers(2, 5))
    B, _ = np.linalg.qr(rng.standard_normal((d, d)))
    m = int(rng.integers(5 if most == 20 else 600, most))
    F = B[np.append([0, 0], rng.integers(1, d, size=m))]
    scores = rng.standard_normal((len(F), q))
    scores[:, -1] -= scores.sum(axis=1)
    gaining = rng.random(len(F)) < 0.4
    scores[gaining] = rng.uniform(0.01, 0.1, (np.count_nonzero(gaining), q))
    scores[:2] = rng.uniform(0.5, 1, (2, q)) * 10.0 ** rng.uniform(3, 6)
    if copies > 1:
        rows = np.sort(rng.integers(len(F), size=copies * len(F)))
        F, scores = F[rows], scores[rows]
    picks = select(F, len(F), noise=1.0, pursuit="residual", scores=scores).indices
    left, largest = scores.copy(), np.abs(scores).max()
    for i in picks:  # design 2.3
        left -= np.outer(F @ F[i] + (np.arange(len(F)) == i), left[i]) / 2
    left[picks] = 0
    gains = np.einsum("ij,ij->i", left, left) / 2
    gaining = (left.sum(axis=1) > 1e-12 * largest) & (gains > 1e-13 * largest**2)
    assert not gaining.any()


@pytest.mark.parametrize(
    ("seed", "copies"), [(41, 1), (48, 1), (52, 1), (93, 1), (38, 3), (52, 3), (97, 3)]
)
def test_rounding_at_a_low_price_ends_no_pursuit(seed, copies):
    """Half of the rows cost so little that what rounding leaves of their gain is the best rate."""
    rng = np.random.default_rng(seed)
    d, m = int(rng.choice([3, 5, 8])), int(rng.integers(5, 40))
    F = rng.normal(size=(m, d))
    F[rng.random(m) < 0.8, 0] = 0
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    F = unit(F)
    price = np.where(rng.random(m) < 0.5, 1e-16, 1.0)
    F = F @ Q
    if copies > 1:
        rows = np.sort(rng.integers(m, size=copies * m))
        F, price = F[rows], price[rows]
    query = np.outer(Q[0], Q[0])
    got = select(F, len(F), query=query, noise=1.0, price=price, pursuit="information")
    np.testing.assert_array_equal(np.sort(got.indices), np.arange(len(F)))
    end = np.argmax(np.append(got.gains, 0.0) <= 0)
    assert np.all(got.gains[end:] < 1e-6)  # by then no row gains anything


def test_a_row_is_set_aside_with_its_copies_alone():
    x, y = np.eye(2)
    pool = RowStates(Source(np.array([x, y, x, x, -x, x])), np.ones(6), None, np.ones((1, 6)))
    pool.noise[2] = 2
    pool.set_aside(3)
    assert np.flatnonzero(pool.aside).tolist() == [0, 3, 5]
    contesting = pool.contesting(np.array([1]), np.array([1]))
    assert np.flatnonzero(np.isinf(contesting.noise)).tolist() == [0, 3, 5]
    assert np.isfinite(pool.noise).all()


def test_a_row_set_aside_is_looked_at_again_at_every_turn():
    """The first is orthogonal to the query, and explains the second away once that is picked."""
    F = unit(np.array([[0.0, 1, 0], [1, 1, 0], [0, 0, 1]]))
    with Team() as team:
        belief = Belief(Projection(np.diag([1.0, 0, 0.05]), team), None)
        pool = RowStates(Source(F), np.full(3, 0.1), None, belief.objective.state(F))
        host = Sweeper(team, belief.objective, 3)
        greedy = Greedy(Drafter([Level(9, 9, 1)], host.sweep, None), host.sweep, host, spread=10.0)
        pool.set_aside(0)
        pool.set_aside(1)
        picks = []
        while step := greedy.advance(pool, belief, 3):
            picks.append(step.block.rows.tolist())
            belief = step.after
    assert picks == [[1], [0, 2]]
