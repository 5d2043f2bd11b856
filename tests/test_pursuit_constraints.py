"""Rules, prices, near-duplicates, rows given: the dense oracle's picks under each of them."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import select
from gip_cli.pursuit.rules import Checked
from tests import reference
from tests.pools import POOLS, clustered, duplicated, random, self_query, zero_rows


class Budget:
    """The rows' costs must fit in what is left; so many rows a group."""

    def __init__(self, costs, left, groups, quotas):
        self.costs, self.left, self.groups, self.quotas = costs, left, groups, quotas.copy()

    def pickable(self):
        return (self.costs <= self.left) & (self.quotas[self.groups] > 0)

    def take(self, row):
        self.left -= self.costs[row]
        self.quotas[self.groups[row]] -= 1
        return np.flatnonzero(~self.pickable())

    def copy(self):
        return Budget(self.costs, self.left, self.groups, self.quotas)


def neighbours(F, bar):
    F = np.asarray(F, float)

    def closes(i):
        near = F @ F[i] > bar
        near[i] = False
        return np.flatnonzero(near)

    return closes


def oracle(pursuit, F, noise):
    K = self_query(F)
    if pursuit == "projection":
        return reference.projection(K, noise)
    if pursuit == "information":
        return reference.information(np.eye(F.shape[1]), noise)
    energy, V = np.linalg.eigh(K)
    return reference.residual(F @ V * np.sqrt(np.maximum(energy, 0)) @ V.T, noise, signed=True)


@pytest.mark.parametrize("constraint", ["rules", "price", "max_cosine", "all"])
@pytest.mark.parametrize("noise", [0.05, 5.0])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
def test_constrained_picks_equal_the_oracle(pursuit, pool, noise, constraint):
    rng = np.random.default_rng(11)
    F = pool(rng).astype(np.float32)
    m = len(F)
    costs = rng.integers(1, 30, m).astype(float)
    budget = Budget(costs, 300.0, rng.integers(0, 4, m), np.array([10, 5, 20, 3]))
    options = {"rules": budget, "price": costs, "max_cosine": 0.9}
    if constraint != "all":
        options = {constraint: options[constraint]}
    closers = []
    if "rules" in options:
        closers.append(budget.copy().take)
    if "max_cosine" in options:
        closers.append(neighbours(F, 0.9))
    picks, won = reference.greedy(
        oracle(pursuit, F, noise),
        F,
        m,
        noise,
        price=options.get("price", 1.0),
        closes=lambda i: np.concatenate([np.empty(0, int), *(closes(i) for closes in closers)]),
    )
    got = select(F, m, noise=noise, pursuit=pursuit, **options)
    clear = len(won) if pursuit != "residual" else np.argmax(np.append(won, 0.0) < 1e-13)
    assert len(got.indices) == len(picks)
    np.testing.assert_array_equal(got.indices[:clear], picks[:clear])
    np.testing.assert_allclose(got.gains, won, rtol=1e-6, atol=1e-12)
    assert got.stopped == ("budget" if constraint == "price" else "exhausted")


class Saying:
    """Rules that say once which rows may be picked, and close none later."""

    def __init__(self, said):
        self.said = said

    def pickable(self):
        return self.said

    def take(self, row):
        return []

    def copy(self):
        return self


@pytest.mark.parametrize("kind", [list, np.array])
def test_rows_that_may_be_picked_can_be_said_as_any_numbers(kind):
    F, odd = random(np.random.default_rng(0)), [0, 1] * 75
    got = select(F, 150, rules=Saying(kind(odd)))
    np.testing.assert_array_equal(np.sort(got.indices), np.flatnonzero(odd))


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (np.ones((150, 1), bool), r"shape \(150,\), not \(150, 1\)"),
        (np.ones(149, bool), r"not \(149,\)"),
        ([1], r"not \(1,\)"),
        (np.ma.masked_equal([0, 1] * 75, 0), "must not be masked"),
    ],
)
def test_rows_that_may_be_picked_are_said_row_by_row(said, fault):
    with pytest.raises(ValueError, match=fault):
        select(random(np.random.default_rng(0)), 9, rules=Saying(said))


def test_rules_are_kept_and_left_as_they_were():
    rng = np.random.default_rng(0)
    F, costs = random(rng), rng.integers(1, 30, 150).astype(float)
    budget = Budget(costs, 200.0, np.zeros(150, int), np.array([12]))
    got = select(F, 100, rules=budget)
    assert len(got.indices) <= 12
    assert costs[got.indices].sum() <= 200
    assert (budget.left, budget.quotas.tolist()) == (200.0, [12])


def test_rules_that_close_every_row_leave_no_least_noise():
    got = select(np.eye(3), 2, weights=[0.1] * 3, noise=1e-7, rules=Saying([False] * 3))
    assert (len(got.indices), got.stopped) == (0, "exhausted")


def test_rows_that_rules_never_allow_do_not_count_for_the_noise():
    F, weights = random(np.random.default_rng(1)), np.linspace(0.1, 1, 150)
    top = Budget(np.where(weights > 0.5, 0.0, 1.0), 0.5, np.zeros(150, int), np.array([150]))
    got = select(F, 20, weights=weights, rules=top)
    assert got.noise == select(F, 20, weights=np.where(weights > 0.5, weights, np.nan)).noise
    assert np.all(weights[got.indices] > 0.5)


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
def test_no_two_picks_are_closer_than_max_cosine(pool):
    F = pool(np.random.default_rng(2))
    got = select(F, len(F), noise=1.0, max_cosine=0.8)
    cosines = F[got.indices] @ F[got.indices].T
    assert np.all(cosines[np.triu_indices(len(cosines), 1)] <= 0.8)
    assert got.stopped == "exhausted"
    assert got.duplicates == len(F) - len(got.indices)  # every other row is too near to a pick


def test_a_cosine_at_the_bar_is_settled_in_float64():
    """Rows whose cosine with the first pick lies within float32's rounding of the bar."""
    angles = np.arccos(0.75 + np.array([-3e-9, -1e-9, 1e-9, 3e-9]))
    F = np.vstack([[1.0, 0.0, 0.0], np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1)])
    got = select(F, 1, query=np.diag([1.0, 0.1, 0.1]), noise=1.0, max_cosine=0.75)
    assert (got.indices.tolist(), got.duplicates) == ([0], 2)


def test_rows_in_half_precision_are_as_near_as_their_norms_allow():
    F = random(np.random.default_rng(4), m=200, d=8).astype(np.float16)
    got = select(np.vstack([F, F]), 400, noise=1.0, max_cosine=0.9999)
    assert (len(got.indices), got.duplicates) == (200, 200)


def test_duplicates_of_picks_that_stop_at_drops_do_not_count():
    F = random(np.random.default_rng(0), m=300, d=6)
    whole = select(F, 300, noise=1.0, max_cosine=0.8)
    got = select(F, 300, noise=1.0, max_cosine=0.8, stop_at=whole.captured[3] - 1e-9)
    near = np.any(F @ F[got.indices].T > 0.8, axis=1)
    near[got.indices] = False
    assert (len(got.indices), got.duplicates) == (4, np.count_nonzero(near))


def test_a_row_closed_by_rules_is_no_duplicate():
    F = duplicated(np.random.default_rng(3))
    groups = np.unique(F, axis=0, return_inverse=True)[1].ravel()
    one_each = Budget(np.zeros(150), 1.0, groups, np.ones(groups.max() + 1, int))
    got = select(F, 150, noise=1.0, rules=one_each, max_cosine=1 - 1e-6)
    assert (len(got.indices), got.duplicates) == (groups.max() + 1, 0)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("targets", [False, True], ids=["self", "targets"])
@pytest.mark.parametrize("pursuit", ["projection", "information"])
def test_given_rows_are_as_if_picked_first(pursuit, targets, weighted):
    rng = np.random.default_rng(4)
    F = clustered(rng)
    weights = rng.uniform(0.2, 1, len(F)) if weighted else np.ones(len(F))
    K = self_query(random(rng, m=5) if targets else F)
    options = {"query": K, "noise": 0.7, "pursuit": pursuit}
    whole = select(F, 80, weights=weights, **options)
    first, rest = whole.indices[:30], whole.indices[30:]
    left = weights.copy()
    left[first] = np.nan
    got = select(F, 50, weights=left, given=F[first], given_weights=weights[first], **options)
    np.testing.assert_array_equal(got.indices, rest)
    np.testing.assert_allclose(got.gains, whole.gains[30:], rtol=1e-9)
    np.testing.assert_allclose(got.captured, whole.captured[30:], rtol=1e-9)
    assert got.captured_given == pytest.approx(whole.captured[29])


def test_given_rows_from_elsewhere_many_and_dependent():
    rng = np.random.default_rng(5)
    F, G = random(rng), duplicated(rng, m=700)
    K, gw = self_query(F), rng.uniform(0.2, 1, 700)
    X = np.vstack([G * gw[:, None], F])
    gains = reference.projection(K, 2.0)
    picks, won = reference.greedy(
        lambda _, S: gains(X, [*range(700), *(700 + i for i in S)])[700:], F, 60, 2.0
    )
    got = select(F, 60, query=K, noise=2.0, given=G, given_weights=gw)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-7)


def test_constraints_hold_among_rows_that_gain_nothing():
    F = zero_rows(np.random.default_rng(6))
    budget = Budget(np.ones(150), 140.0, np.zeros(150, int), np.array([150]))
    got = select(F, 150, noise=1.0, rules=budget)
    assert len(got.indices) == 140
    assert not F[got.indices[-10:]].any()


@pytest.mark.parametrize("unit", [1e-42, 1e36, 1e200])
def test_the_unit_of_prices_does_not_matter(unit):
    rng = np.random.default_rng(5)
    F, price = random(rng), np.exp(rng.standard_normal(150))
    got, scaled = (select(F, 50, noise=1.0, price=price * factor) for factor in (1, unit))
    np.testing.assert_array_equal(got.indices, scaled.indices)


def test_prices_weigh_gains_but_do_not_change_them():
    F = np.array([[1.0, 0.0], [0.0, 1.0]])
    got = select(F, 2, query=np.diag([3.0, 1.0]), noise=1.0, price=[4.0, 1.0])
    np.testing.assert_array_equal(got.indices, [1, 0])
    np.testing.assert_allclose(got.gains, [1 / 8, 3 / 8])


class Closing(Saying):
    def __init__(self, closed):
        super().__init__(np.ones(150, bool))
        self.closed = closed

    def take(self, row):
        return self.closed

    def copy(self):
        return self


@pytest.mark.parametrize(
    ("closed", "fault"),
    [
        (np.ones(150, bool), r"by their numbers, not bool of shape \(150,\)"),
        (np.array([1.9]), "not float64"),
        (3, r"of shape \(\)"),
        ([150], "rows from 0 to 149"),
        ([-1], "rows from 0 to 149"),
    ],
)
def test_rows_that_a_pick_closes_are_said_by_number(closed, fault):
    """A mask, read as numbers, would close the rows 0 and 1."""
    F = random(np.random.default_rng(0))
    with pytest.raises(ValueError, match=fault):
        select(F, 3, rules=Closing(closed))
    assert len(select(F, 3, rules=Closing([])).indices) == 3


def test_rows_that_rules_close_again_are_passed_on_once():
    """Each snapshot keeps its own account; rows that could not be picked first are never told."""

    class Naming(Saying):
        def take(self, row):
            return np.array([0, 1, row, row + 1])

    rules = Checked(Naming([0, 1, 1, 1, 1, 1]), np.ones(6, bool))
    rules.pickable()
    snapshot = rules.copy()
    assert [rules.take(row).tolist() for row in (3, 4, 3)] == [[1, 3, 4], [5], []]
    assert snapshot.take(4).tolist() == [1, 4, 5]
