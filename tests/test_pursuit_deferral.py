"""Rows left out of sweeps: the bounds hold for any row, and no pick is another for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from gip_cli.pursuit import select
from gip_cli.pursuit.deferral import GUESS, LAST_SPAN, SPAN, Bounds, Deferral, bounding
from gip_cli.pursuit.draft import Belief, Drafter, Level, observe
from gip_cli.pursuit.greedy import Greedy
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.team import Team
from tests import reference
from tests.pools import self_query, unit

plain = threadpool_limits.wrap(limits=1, user_api="blas")(reference.plain)


def uneven(seed, m, d):
    """Rows of a falling spectrum, as embeddings of text have: most are far from the best."""
    rng = np.random.default_rng(seed)
    return unit(rng.standard_normal((m, d)) * np.arange(1, d + 1) ** -0.7)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1 << 32),
    st.integers(1, 3 * SPAN),
    st.integers(2, 20),
    st.floats(-4, 20),
    st.floats(-6, 6),
    st.sampled_from([SPAN, LAST_SPAN]),
)
def test_no_row_changes_more_than_its_bounds_say(seed, b, d, noise, norm, size):
    """Neither random rows nor those along which states change most, before any of the picks."""
    rng = np.random.default_rng(seed)
    X = 10**norm * uneven(seed, b + 40, d)
    K, s2 = self_query(uneven(seed + 1, 50, d)), 10 ** (noise + 2 * norm)
    before, picks = X[:40], X[40:]
    with Team() as team:
        belief = Projection(K, team)
        belief.observe(before, np.full(40, s2))
        Sigma = belief.posterior.smoothed(np.eye(d))
        block = belief.observe(picks, np.full(b, s2))
        change = Bounds(team).change(block, size)
    assert len(change.rises) == -(-b // size)
    assert_tight(change, block)
    rows = np.vstack([unit(rng.standard_normal((20, d))), unit(block.vectors[0]), unit(picks)])
    M = Sigma @ K @ Sigma
    rounding = 1e-9 * np.linalg.norm(M), 1e-9 * np.linalg.norm(Sigma)
    start_v, start_n = Sigma, M
    for t in range(b + 1):
        v_lost, n_rise = start_v - Sigma, Sigma @ K @ Sigma - start_n
        # The pick at the end of a span is of both: before it, it is the next one's; after, this'.
        for span in {min(t // size, len(change.rises) - 1), max(t - 1, 0) // size}:
            most = np.linalg.eigvalsh(n_rise)[-1]
            assert most <= change.rises[span] + rounding[0]
            rise = np.einsum("ij,jk,ik->i", rows, n_rise, rows)
            assert (rise <= change.rises[span] + rounding[0]).all()
        assert np.linalg.eigvalsh(v_lost)[-1] <= change.drop + rounding[1]
        if t < b:
            u = Sigma @ picks[t] / np.sqrt(s2 + picks[t] @ Sigma @ picks[t])
            Sigma = Sigma - np.outer(u, u)


def assert_tight(change, block):
    """They are within a fifth of what they should be: of more, too few rows would be deferred."""
    U, R = block.vectors
    scale = 1e-4 * np.linalg.norm(U) * np.linalg.norm(R)
    for span, rise in enumerate(change.rises):
        before, picks = (
            slice(span * change.span),
            slice(span * change.span, (span + 1) * change.span),
        )
        u, r = U[picks], R[picks]
        p = np.sqrt(np.linalg.norm(r) / np.linalg.norm(u))
        N = U[before].T @ R[before]
        largest = np.linalg.eigvalsh((p * u - r / p).T @ (p * u - r / p) / 4 - (N + N.T) / 2)[-1]
        assert largest - scale / 100 <= rise <= max(1.2 * largest, 0) + 1.2 * scale
    largest = np.linalg.eigvalsh(U @ U.T)[-1]
    assert largest <= change.drop <= 1.201 * max(largest, GUESS * np.linalg.norm(U) ** 2)


@given(st.integers(0, 1 << 32), st.integers(1, 12), st.floats(-5, 1))
def test_a_bound_is_above_all_eigenvalues_and_not_far(seed, d, guess):
    A = np.random.default_rng(seed).standard_normal((d, d))
    A += A.T
    largest, bound = np.linalg.eigvalsh(A)[-1], bounding(A, 10**guess)
    assert bound > largest - 1e-12
    assert bound <= max(10**guess, 1.2 * largest * (1 + 1e-9))


@pytest.mark.parametrize("priced", [False, True])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["uneven", "short", "copies", "explained"])
def test_whatever_is_deferred_is_called_up_in_time(kind, precision, priced):
    """Nine rows in ten, at random, before each block: the next picks are among them."""
    rng = np.random.default_rng(15)
    F = uneven(16, 1500, 24)
    if kind == "short":
        F *= rng.uniform(0.2, 1, (1500, 1))
    K, s2 = self_query(F), 3.0
    if kind == "copies":
        F = np.repeat(F[:150], 10, axis=0)
    if kind == "explained":  # picks explain away what others have beside the query: gains rise
        K, s2 = np.diag(np.append([1, 0.5], np.full(22, 1e-3))), 0.05
    F, noise = F.astype(precision), s2 * rng.choice([1, 1.5, 3], 1500)
    price = rng.choice([1.0, 2.0, 3.0], 1500) if priced else None
    if kind == "copies":
        noise, price = np.full(1500, 1.5 * s2), None
    X, squares = F.astype(float), np.square(F.astype(float)).sum(axis=1)
    with Team() as team:
        belief = Belief(Projection(K, team), None)
        host = Sweeper(team, belief.objective, 24)
        deferral = Deferral(squares, host)
        drafter = Drafter([Level(256, 64, 1)], host.sweep, None)
        greedy = Greedy(drafter, host.sweep, host, spread=1 / s2, deferral=deferral)
        pool = RowStates(Source(F), noise.copy(), price, belief.objective.state(X))
        picks = []
        while len(picks) < 160:
            others = ~deferral.is_deferred & np.isfinite(pool.noise)
            others &= rng.random(1500) < 0.9
            deferral.is_deferred |= others
            step = greedy.advance(pool, belief, 40)
            belief = step.after
            picks += step.block.rows.tolist()
            v, n = belief.objective.state(X)
            assert np.count_nonzero(deferral.is_deferred) == deferral.deferred
            asleep = deferral.is_deferred & np.isfinite(pool.noise)
            assert (pool.state[0, asleep] <= v[asleep] + 1e-9).all()
            assert (pool.state[1, asleep] >= n[asleep] * (1 - 1e-9)).all()
            open_ = np.isfinite(pool.noise) & ~deferral.is_deferred
            np.testing.assert_allclose(pool.state[:, open_], [v[open_], n[open_]], rtol=1e-3)
            assert np.isinf(pool.noise[picks]).all()
    weights = np.sqrt(s2 / noise)
    want, _ = reference.greedy(
        reference.projection(K, s2), X, 160, s2, weights, 1.0 if price is None else price
    )
    assert picks[:160] == want.tolist()


def most_at_each_pick(F, belief, block, noise, price):
    """Gains over price of all rows before each pick of a block, the highest of each row first."""
    after, gains = belief.copy().objective, []
    for x, s2 in zip(block.X, noise[block.rows], strict=True):
        gains.append(after.gain(after.state(F), noise) / price)
        after.observe(x[None], np.array([s2]))
    return np.array(gains)


@pytest.mark.parametrize("deferred", [0, 500])
def test_rows_that_cannot_beat_a_pick_of_the_last_block_are_dismissed(deferred):
    rng = np.random.default_rng(24)
    F = uneven(23, 4000, 12)
    noise, price = 900 * rng.choice([1, 1.5, 3], 4000), rng.choice([1.0, 2.0, 3.0], 4000)
    with Team() as team:
        belief = Belief(Projection(self_query(F), team), None)
        host = Sweeper(team, belief.objective, 12)
        deferral = Deferral(np.ones(4000), host)
        pool = RowStates(Source(F), noise.copy(), price, belief.objective.state(F))
        drafter = Drafter([Level(256, 64, 1, fall=1e-3, trusted=64)], host.sweep, None)
        proposal = drafter.propose(pool, belief, 40)
        block = proposal.block
        assert len(block) > 32  # more than are bounded together
        rates = most_at_each_pick(F, belief, block, noise, price)
        least = block.columns.gains / price[block.rows]
        lower = np.argsort(rates[0])
        deferral.is_deferred[lower[:deferred]] = True
        pool.noise[lower[500:600]] = np.inf
        assert deferral.dismiss(pool, block)
        out = deferral.is_deferred.copy()
        assert 1500 < np.count_nonzero(out) == deferral.deferred == deferral.most
        assert not out[block.rows].any()
        assert not out[lower[500:600]].any()
        assert out[lower[:deferred]].all()
        assert (rates[:, out] < least[:, None]).all()
        # Where few can be, all are swept.
        rivals = np.flatnonzero(~out & np.isfinite(pool.noise))
        others = len(rivals) - len(block)
        assert others >= 12**2 / 6  # fewer are not worth the bounds
        for count, dismissed in (others // 4, 0), (others, others):
            few = pool.subset(np.union1d(rivals, np.flatnonzero(out)[:count]))
            other = Deferral(np.ones(4000), host)
            assert other.dismiss(few, block) == (dismissed > 0)
            assert other.deferred == dismissed


@pytest.mark.parametrize(("left", "s2"), [(3, 3.0), (20, 50.0), (40, 900.0)])
def test_any_block_may_be_the_last(left, s2):
    """Of each, rows are dismissed; as it is not, they are called up again where they are wanted."""
    F = uneven(25, 3000, 24).astype(np.float32)
    K, X = self_query(F), F.astype(float)
    dismissed = 0
    with Team() as team:
        belief = Belief(Projection(K, team), None)
        host = Sweeper(team, belief.objective, 24)
        deferral = Deferral(np.square(X).sum(axis=1), host)
        drafter = Drafter([Level(256, 64, 1)], host.sweep, None)
        greedy = Greedy(drafter, host.sweep, host, spread=1 / s2, deferral=deferral)
        pool = RowStates(Source(F), np.full(3000, s2), None, belief.objective.state(X))
        picks = []
        while len(picks) < 200:
            step = greedy.advance(pool, belief, left)
            belief = step.after
            picks += step.block.rows.tolist()
            dismissed += deferral.deferred > 0
    assert dismissed > 200 // left // 2
    want, _ = reference.greedy(reference.projection(K, s2), X, len(picks), s2)
    assert picks == want.tolist()


def test_what_contenders_turn_out_to_be_is_known_of_the_pool():
    """And where they cannot be told apart at all, all rows take part again."""
    F = np.repeat(uneven(19, 20, 5), 2, axis=0)
    with Team() as team:
        belief = Belief(Projection(self_query(F), team), None)
        pool = RowStates(Source(F), np.ones(40), None, belief.objective.state(F))
        state = pool.state.copy()
        deferral = Deferral(np.ones(40), Sweeper(team, belief.objective, 5))
        deferral.is_deferred[[0, 10, 11]] = True
        pool.state[:, [0, 10, 11]] *= 2
        contenders = deferral.contenders(pool)
        assert len(contenders) == 37
        contenders.know_copies()
        contenders.set_aside(35)  # of the contenders: with its copy, 38 and 39 of the pool
        deferral.rejoin(pool, contenders, belief, None)
    assert np.sort(pool.copies.rows).tolist() == list(range(40))
    assert np.flatnonzero(pool.aside).tolist() == [38, 39]
    np.testing.assert_allclose(pool.state, state, rtol=1e-6)
    assert not deferral.deferred
    assert not deferral.is_deferred.any()
    assert deferral.caution == 2


def test_rows_that_are_due_are_called_up_only_if_what_is_known_of_them_anew_wants_it():
    F = uneven(17, 3000, 24).astype(np.float32)
    X = F.astype(float)
    with Team() as team:
        belief = Belief(Projection(self_query(F), team), None)
        host = Sweeper(team, belief.objective, 24)
        deferral = Deferral(np.square(X).sum(axis=1), host)
        pool = RowStates(Source(F), np.full(3000, 900.0), None, belief.objective.state(X))
        hot, rates = pool.hottest(belief.objective, 50)
        v, n = pool.state.copy()
        order = hot[np.argsort(-rates)]
        deferral.is_deferred[:] = True
        deferral.is_deferred[order[:3]] = False
        pool.state *= [[0.5], [5.0]]  # as after many blocks
        block = observe(pool, belief, order[:3]).block
        assert deferral.call_up(pool, belief.objective, block)
        assert deferral.caution == 1
        least = block.columns.gains.min()
        gains = belief.objective.gain(np.stack([v, n]), pool.noise)
        awake = ~deferral.is_deferred
        assert awake[gains >= least].all()
        assert np.count_nonzero(awake) == 3000 - deferral.deferred < 1000
        others = awake.copy()
        others[order[:3]] = False
        np.testing.assert_allclose(pool.state[:, others], [v[others], n[others]], rtol=1e-12)
        np.testing.assert_array_equal(pool.state[0, ~awake], v[~awake] / 2)
        due = ~awake & (5 * n > pool.state[1])
        assert np.count_nonzero(due) > 1000
        assert (pool.state[1, due] >= n[due]).all()
        np.testing.assert_allclose(pool.state[1, due], n[due], rtol=1e-2, atol=1e-5)
        # More than an eighth is wanted: the next rows to be deferred are further from the best.
        deferral.is_deferred[:] = False
        deferral.is_deferred[order[3:23]] = True
        assert deferral.call_up(pool, belief.objective, block)
        assert deferral.caution == 2
        assert deferral.deferred < 20 * 7 / 8


@pytest.mark.parametrize(
    ("query", "row", "noise"),
    [([1, 0], [1, 1], 0.1), ([1, -1], [1, 0.8], 100.0)],
    ids=["v falls", "n rises"],
)
def test_a_row_that_the_first_pick_makes_better_than_the_second_is_called_up(query, row, noise):
    """The first explains away what the row has beside the query, though it has hardly any of it."""
    F = unit(np.array([[0.03, 1, 0], [1, 0, 1], [*row, 0]]))
    q = unit(np.array([[*query, 0.0]]))
    noises = np.array([0.1, 1e3, noise])
    with Team() as team:
        belief = Belief(Projection(q.T @ q, team), None)
        state, gain = belief.objective.state, belief.objective.gain
        before = gain(state(F), noises)
        after = belief.copy().objective
        after.observe(F[:1], noises[:1])
        then = after.gain(after.state(F), noises)
        assert then[2] > 1.5 * before[2]
        between = np.sqrt(then[2] * before[2])
        price = np.array([before[0] / 10, then[1] / between, 1])
        host = Sweeper(team, belief.objective, 3)
        deferral = Deferral(np.ones(3), host)
        pool = RowStates(Source(F), noises, price, state(F))
        deferral.is_deferred[2] = True
        block = observe(pool, belief, np.array([0, 1])).block
        assert block.columns.gains[1] / price[1] == pytest.approx(between)
        assert deferral.call_up(pool, belief.objective, block)


def test_rows_near_the_best_are_not_deferred_where_rates_hardly_fall():
    F = uneven(18, 3000, 24).astype(np.float32)
    with Team() as team:
        belief = Belief(Projection(self_query(F), team), None)
        host = Sweeper(team, belief.objective, 24)
        deferral = Deferral(np.square(F.astype(float)).sum(axis=1), host)
        drafter = Drafter([Level(256, 64, 1)], host.sweep, None)
        greedy = Greedy(drafter, host.sweep, host, spread=1e-7)
        pool = RowStates(
            Source(F), np.full(3000, 1e7), None, belief.objective.state(F.astype(float))
        )
        for _ in range(4):
            step = greedy.advance(pool, belief, 64)
            belief = step.after
            deferral.defer(pool, step)
        gains = belief.objective.gain(pool.state, pool.noise)
        assert deferral.deferred > 1000
        assert gains[deferral.is_deferred].max() < 0.98 * step.block.columns.gains[-1]


def swept(F, k, **options):
    """What is picked where all open rows are swept each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gip_cli.pursuit.deferral.ENOUGH", 0)
        all_rows = select(F, k, **options)
    assert all_rows.diagnostics.deferred == 0
    return all_rows


def assert_same(F, k, *, least=2000, **options):
    got, want = select(F, k, **options), swept(F, k, **options)
    assert got.diagnostics.deferred > least
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_allclose(got.gains, want.gains, rtol=1e-9)
    np.testing.assert_allclose(got.captured, want.captured, rtol=1e-9)
    assert got.stopped == want.stopped
    assert got.duplicates == want.duplicates
    return got


@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
def test_picks_equal_one_pick_at_a_time(precision):
    F = uneven(3, 16000, 48).astype(precision)
    w = np.random.default_rng(4).uniform(0.1, 1, 16000)
    got = select(F, 2000, weights=w)
    assert got.diagnostics.deferred > 10000
    picks, won = plain(F, 2000, self_query(F), got.noise, w)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)


def test_picks_without_weights_equal_one_pick_at_a_time():
    F = uneven(3, 16000, 48).astype(np.float32)
    with threadpool_limits(3, user_api="blas"):
        got = select(F, 6000)
    assert got.diagnostics.deferred > 5000
    picks, won = plain(F, 6000, self_query(F), got.noise)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)


@pytest.mark.parametrize("k", [100, 200])
def test_the_last_picks_are_among_few_rows_though_none_were_deferred_before(k):
    F = uneven(5, 16000, 48).astype(np.float32)
    w = np.random.default_rng(26).uniform(0.5, 1, 16000)
    for weights in None, w:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Deferral, "defer", lambda *_: None)
            got = select(F, k, weights=weights)
        assert got.diagnostics.deferred > 16000 / 4
        picks, won = plain(F, k, self_query(F), got.noise, weights)
        np.testing.assert_array_equal(got.indices, picks)
        np.testing.assert_allclose(got.gains, won, rtol=1e-6)


class Quota:
    """At most so many rows of each group."""

    def __init__(self, group, left):
        self.group, self.left = group, dict.fromkeys(np.unique(group).tolist(), left)

    def pickable(self):
        return np.ones(len(self.group), np.bool_)

    def take(self, row):
        group = int(self.group[row])
        self.left[group] -= 1
        return np.flatnonzero(self.group == group) if not self.left[group] else np.empty(0, int)

    def copy(self):
        other = Quota.__new__(Quota)
        other.group, other.left = self.group, dict(self.left)
        return other


def test_what_else_decides_picks_decides_them_as_before():
    F, rng = uneven(5, 16000, 48).astype(np.float32), np.random.default_rng(6)
    T, w = uneven(7, 30, 48), rng.uniform(0.1, 1, 16000)
    assert_same(F, 2000, query=T.T @ T)
    assert_same(F, 2000, price=rng.uniform(1, 9, 16000))
    assert_same(F, 2000, weights=w, noise=30.0, given=F[:500].astype(float))
    assert assert_same(F, 2000, weights=w, stop_at=0.9, noise=2.0).stopped == "captured"
    w[rng.permutation(16000)[:4000]] = np.nan
    shorter = F * rng.uniform(0.5, 1, (16000, 1)).astype(np.float32)
    assert_same(shorter, 2000, weights=w)


def test_rows_too_near_to_a_pick_are_closed_though_they_are_deferred():
    """Each row has some near it, of lower weight: at their turn they would be good picks."""
    F, rng = uneven(20, 4000, 48), np.random.default_rng(21)
    F = unit(np.repeat(F, 4, axis=0) + rng.uniform(0, 0.3, (16000, 1)) * uneven(22, 16000, 48))
    w = np.tile([1, 0.8, 0.6, 0.4], 4000) * rng.uniform(0.5, 1, 16000)
    group = rng.integers(400, size=16000)
    for options in {}, {"rules": Quota(group, 9)}, {"rules": Quota(group, 9), "price": 1 / w}:
        got = assert_same(F.astype(np.float32), 2500, weights=w, max_cosine=0.95, **options)
        assert got.duplicates > 1000
        cosines = F[got.indices] @ F[got.indices].T
        assert cosines[~np.eye(2500, dtype=bool)].max() < 0.95 + 1e-6


def test_rules_close_deferred_rows_and_leave_none_but_those():
    """Ten groups, each of lower weights than the last: whole groups are deferred, then wanted."""
    F, rng = uneven(8, 16000, 48).astype(np.float32), np.random.default_rng(9)
    group = np.sort(rng.integers(10, size=16000))
    w = 0.75**group * rng.uniform(0.9, 1, 16000)
    got = assert_same(F, 2000, weights=w, rules=Quota(group, 200), noise=50.0)
    assert np.bincount(group[got.indices]).tolist() == [200] * 10
    got = assert_same(F, 2000, weights=w, rules=Quota(group, 150))
    assert got.stopped == "exhausted"
    assert len(got.indices) == 1500


def test_rows_of_all_zeros_and_those_that_gain_nothing_come_last():
    """A pool that is picked to its last row, most of it in a plane, some rows of zeros."""
    F = np.zeros((16000, 48), np.float32)
    F[:12000] = uneven(10, 12000, 48)
    F[12000:15900, :2] = uneven(11, 3900, 2)
    w = np.random.default_rng(12).uniform(0.2, 1, 16000)
    got = select(F, 16000, weights=w)
    assert got.diagnostics.deferred > 2000
    assert np.sort(got.indices).tolist() == list(range(16000))
    assert np.sort(got.indices[-100:]).tolist() == list(range(15900, 16000))


def test_copies_are_picked_in_their_order():
    """Of 4,000 rows, each four times: those of the best are found among the contenders."""
    F = np.repeat(uneven(13, 4000, 48), 4, axis=0).astype(np.float32)
    w = np.repeat(np.random.default_rng(14).uniform(0.1, 1, 4000), 4)
    got = select(F, 1500, weights=w)
    picks, won = plain(F, 1500, self_query(F), got.noise, w)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)
