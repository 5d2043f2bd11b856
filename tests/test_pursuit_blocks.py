"""Draft and verify against one pick at a time, on pools large enough for every level of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gip_cli.pursuit import default_noise, select
from gip_cli.pursuit.copies import Copies, fingerprints
from gip_cli.pursuit.draft import Belief, Drafter, Level, observe
from gip_cli.pursuit.greedy import ROUNDINGS, Greedy
from gip_cli.pursuit.information import Information
from gip_cli.pursuit.projection import Projection, folded, quadratic
from gip_cli.pursuit.residual import Residual
from gip_cli.pursuit.row_states import RowStates, highest
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.sweep_plan import Contest, SweepPlan, earliest
from gip_cli.pursuit.team import Team
from gip_cli.pursuit.trial import try_out
from gip_cli.pursuit.verify import LEAST_MARGIN, Closures, contenders, first_twin, verify
from tests import reference
from tests.pools import POOLS, duplicated, random, self_query, unit

# In one thread: several wait busily for each other, and other tests run beside it.
plain = threadpool_limits.wrap(limits=1, user_api="blas")(reference.plain)

DATA = Path(__file__).parents[2] / "shared" / "data"
FILES = ["alpaca_9k", "gsm8k_train"]


@pytest.fixture
def team():
    with Team() as team:
        yield team


def rows_of(name):
    path = DATA / f"{name}.minilm.npy"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return np.load(path)


@pytest.mark.parametrize("k", [50, 600])  # the former starts in float32
@pytest.mark.parametrize("noise", ["auto", 0.05])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
def test_blocks_equal_one_pick_at_a_time(pool, noise, k):
    F = pool(np.random.default_rng(12), m=8000, d=24).astype(np.float32)
    F = F[F.any(axis=1)]
    got = select(F, k, noise=noise)
    picks, won = plain(F, k, self_query(F), got.noise)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)


@pytest.mark.parametrize("workers", [1, 2, 7, 16])
def test_picks_do_not_depend_on_the_number_of_workers(workers):
    F = random(np.random.default_rng(20), m=40000, d=24).astype(np.float32)
    with threadpool_limits(workers, user_api="blas"):
        got = select(F, 300)
    picks, won = plain(F, 300, self_query(F), got.noise)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)


def test_an_error_in_one_worker_ends_the_turns_of_all():
    done = []

    def work(item):
        if item == 0:
            raise KeyboardInterrupt
        time.sleep(0.01)
        done.append(item)

    with threadpool_limits(2, "blas"), Team() as team, pytest.raises(KeyboardInterrupt):
        team.each(work, range(1000))
    assert len(done) < 100


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_product_is_the_same_for_any_number_of_workers(precision):
    """It is large enough to be shared, and its halves differ."""
    rng = np.random.default_rng(21)
    A, B = rng.normal(size=(301, 200)).astype(precision), rng.normal(size=(200, 150))
    products = []
    for workers in (1, 2, 5):
        with threadpool_limits(workers, user_api="blas"), Team() as team:
            assert team.size == workers
            products.append(team.product(A, B.astype(precision)))
    np.testing.assert_allclose(products[0], A @ B, atol=200 * np.finfo(precision).eps * 20)
    for product in products[1:]:
        np.testing.assert_array_equal(product, products[0])


@pytest.mark.parametrize("d", [5, 64, 100, 130, 900])
def test_half_of_a_symmetric_matrix_is_enough_for_its_form(d):
    rng = np.random.default_rng(22)
    X, A = rng.normal(size=(7, d)), rng.normal(size=(d, d))
    A += A.T
    np.testing.assert_allclose(quadratic(X, folded(A)), np.diagonal(X @ A @ X.T), atol=1e-10)


@pytest.mark.parametrize("query", ["self", "weighted", "targets"])
@pytest.mark.parametrize("name", FILES)
def test_real_embeddings_equal_one_pick_at_a_time(name, query):
    check_real(name, query, 500)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["auto", 0.05])
@pytest.mark.parametrize("query", ["self", "weighted", "targets"])
@pytest.mark.parametrize("name", FILES)
def test_real_embeddings_equal_one_pick_at_a_time_for_2000(name, query, noise):
    check_real(name, query, 2000, noise)


def check_real(name, query, k, noise="auto", device="cpu"):
    F = rows_of(name)
    rng = np.random.default_rng(13)
    weights = rng.uniform(0.2, 1, len(F)) if query == "weighted" else None
    K = self_query(rows_of("gsm8k_train")[::50] if query == "targets" else F)
    got = select(F, k, weights=weights, query=K, noise=noise, device=device)
    picks, won = plain(F, k, K, got.noise, weights)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["auto", 0.05])
def test_drift_is_bounded_over_20000_picks(noise):
    rng = np.random.default_rng(14)
    F = random(rng, m=22000, d=32).astype(np.float32)
    got = select(F, 20000, noise=noise)
    picks, won = plain(F, 20000, self_query(F), got.noise)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)
    X = F[got.indices].astype(float)
    Sigma = np.linalg.inv(np.eye(32) + X.T @ X / got.noise)
    assert got.captured[-1] == pytest.approx(1 - np.vdot(self_query(F), Sigma), abs=1e-12)


def test_drift_makes_states_be_worked_out_anew():
    F = random(np.random.default_rng(15), m=3000, d=16).astype(np.float32)
    got = select(F, 2500, noise=0.02)
    assert got.diagnostics.refreshes > 0
    picks, _ = plain(F, 2500, self_query(F), 0.02)
    np.testing.assert_array_equal(got.indices, picks)


@pytest.mark.parametrize(("seed", "m", "d", "k"), [(295, 25, 3, 8), (4820, 100, 8, 20)])
def test_other_rows_may_have_drifted_further_than_the_picks(seed, m, d, k):
    """Once a query of one direction is captured, what is left of it is small beside rounding."""
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((m, d))
    F = (F / np.linalg.norm(F, axis=1, keepdims=True)).astype(np.float32)
    weights, q = rng.uniform(0.1, 1, m), rng.standard_normal((d, 1))
    s2 = 10 ** rng.uniform(-4, -2)
    got = select(F, k, weights=weights, query=q @ q.T, noise=s2)
    picks, _ = plain(F, k, q @ q.T / np.vdot(q, q), s2, weights)
    np.testing.assert_array_equal(got.indices, picks)


@pytest.mark.parametrize("seed", [3, 5])
def test_picks_without_drift_hide_none_of_their_rivals(seed):
    """Rows that stand alone lose nothing; those alike all but 4e-6, with float32 beside that."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(3)
    F = np.vstack([np.tile([*x / np.linalg.norm(x)] + [0] * 200, (1000, 1)), np.eye(203)[3:]])
    F = F[rng.permutation(len(F))].astype(np.float32)
    weights = rng.uniform(0.05, 1, len(F))
    got = select(F, 80, weights=weights, noise=0.002)
    picks, _ = plain(F, 80, self_query(F), 0.002, weights)
    np.testing.assert_array_equal(got.indices, picks)


@pytest.mark.parametrize(
    ("pursuit", "seed"), [("projection", 229), ("information", 1432), ("information", 47)]
)
def test_gains_that_float32_cannot_tell_from_nothing_are_told_apart_from_the_first(pursuit, seed):
    """A query nearly orthogonal to the pool, of which so little is picked that it starts so."""
    rng = np.random.default_rng(seed)
    t = rng.standard_normal(64)
    t /= np.linalg.norm(t)
    A = rng.standard_normal((3, 64))
    A -= np.outer(A @ t, t)
    A /= np.linalg.norm(A, axis=1, keepdims=True)
    A += 10.0 ** -rng.uniform(3, 4.5) * rng.uniform(0.3, 3, (3, 1)) * t
    F = A[np.arange(300) % 3]
    captured, squares = (F @ t) ** 2, np.einsum("ij,ij->i", F, F)
    best = {
        "projection": captured / (0.1 + squares),
        "information": np.log1p(captured / (0.1 + squares - captured)),
    }[pursuit].argmax()
    got = select(F, 1, query=np.outer(t, t), noise=0.1, pursuit=pursuit)
    assert got.indices.tolist() == [best]


@pytest.mark.parametrize("price", [None, [1e-3, 1.0, 1.0]])
def test_a_trial_knows_gains_from_rounding_as_pools_do(price, team):
    """Each of two rows gains less than rounding at its own noise; the third, at its, more."""
    F = np.eye(3)
    belief = Projection(np.diag([5e-17, 4e-17, 1.0]), team)
    noise = np.array([1.0, 1.0, 1e18])
    prices = None if price is None else np.array(price)
    pool = RowStates(Source(F), noise, prices, belief.state(F))
    assert belief.gain(pool.state, noise).argmax() == 0
    hot, _ = pool.hottest(belief, 3)
    assert hot.tolist() == [2]
    assert try_out(pool, belief, None, 3, None).tolist() == [2]


@pytest.mark.parametrize("size", [1599, 1600, 9000, 39_999])
@pytest.mark.parametrize(
    "order", ["random", "ascending", "descending", "sample is high", "sample is low", "ties"]
)
def test_the_highest_rates_are_found_however_they_lie(order, size):
    rng = np.random.default_rng(41)
    rates = rng.exponential(size=40_000)
    match order:
        case "ascending":
            rates.sort()
        case "descending":
            rates[::-1].sort()
        case "sample is high":
            rates[::16] += 10
        case "sample is low":
            rates[::16] *= 1e-9
        case "ties":
            rates = rng.integers(0, 3, size=40_000).astype(float)
    found = highest(rates, size)
    assert np.all(np.diff(found) > 0)
    np.testing.assert_array_equal(np.sort(rates[found]), np.sort(rates)[-size:])


@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
def test_a_pool_is_narrowed_to_the_rows_that_can_still_be_picked(precision, team):
    """Once less than half of them can, and again; what is known of the others stays the same."""
    F = random(np.random.default_rng(23), m=400, d=24).astype(precision)
    belief = Projection(self_query(F), team)
    noise, price = np.linspace(1.0, 2.0, 400), np.linspace(1.0, 3.0, 400)
    pool = RowStates(Source(F), noise, price, belief.state(F.astype(float)))
    pool.dtype = np.float64  # as `Greedy.use_float64` has it
    pool.noise[::2] = np.inf
    assert pool.narrowed() is pool
    pool.noise[1] = np.inf
    narrow = pool.narrowed()
    assert narrow.index.tolist() == list(range(3, 400, 2))
    narrow.noise[:100] = np.inf
    for part, rows in ((narrow, slice(3, None, 2)), (narrow.narrowed(), slice(203, None, 2))):
        block = part.rows.block(slice(5, 20), np.empty((99, 24), np.float32))
        assert np.array_equal(block, F[rows][5:20].astype(np.float32))
        assert part.dtype is np.float64
        assert np.array_equal(part.price, price[rows])
        assert np.array_equal(part.state, pool.state[:, rows])
    pool.noise[:203] = np.inf
    named, rates = pool.hottest(belief, 20)
    hot, same = narrow.narrowed().hottest(belief, 20)
    assert narrow.narrowed().named(hot).tolist() == named.tolist()
    assert same.tolist() == rates.tolist()
    narrow.noise[:] = np.inf
    assert narrow.narrowed() is narrow


@pytest.mark.parametrize(
    ("pursuit", "precision", "s2"),
    [
        ("projection", np.float64, 1e-4),
        ("projection", np.float32, 0.2),
        ("residual", np.float32, 0.2),
    ],
)
def test_rates_are_off_by_no_more_than_is_allowed_for(pursuit, precision, s2, team):
    """Few picks leave hardly anything of rows in 8 dimensions: what is left is the more rounded."""
    beyond_one = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        F = np.eye(8)[rng.integers(8, size=60)] + 0.01 * rng.normal(size=(60, 8))
        F = np.vstack([np.pad(F, ((0, 0), (0, 20))), np.eye(20, 28, 8)])
        F = (F / np.linalg.norm(F, axis=1, keepdims=True)).astype(np.float32).astype(float)
        K = np.diag(np.append(1 + 0.1 * rng.random(8), np.full(20, 1e-9)))
        K /= np.trace(K)
        if pursuit == "projection":
            belief, noise = Projection(K, team), np.full(80, s2)
        else:
            belief, noise = Residual(K, 0, True, team), np.full(80, 1 + s2)
        pool = RowStates(Source(F.astype(precision)), noise, None, belief.state(F))
        host = Sweeper(team, belief, 28)
        greedy = Greedy(Drafter([Level(256, 64, 1)], host.sweep, None), host.sweep, host)
        greedy.spread = float(np.max(1 / noise))
        if precision is np.float64:
            greedy.use_float64(pool)
        after = greedy.advance(pool, Belief(belief, None), 8).after
        block = greedy.drafter.propose(pool, after, 8).block
        kept, exact = (belief.gain(at, pool.noise) for at in (pool.state, after.objective.state(F)))
        gains = block.columns.gains[: greedy.drafter.sound(pool, block)]
        rivals = exact >= 0.9 * gains.min()
        off = np.abs(kept[rivals] / exact[rivals] - 1).max()
        one = greedy.rounding(
            pool, after.objective, block, greedy.largest_now(pool, after.objective)
        )
        assert pool.dtype is precision
        assert off <= max(LEAST_MARGIN[precision], ROUNDINGS * one)
        beyond_one += off > max(LEAST_MARGIN[precision], one)
    assert beyond_one


@pytest.mark.parametrize(("drift", "can_tell"), [(2e-5, True), (3e-5, False)])
def test_a_margin_is_as_wide_as_it_may_be_before_states_are_worked_out_anew(drift, can_tell, team):
    """A margin of four times the drift: 8e-5 is within the widest, 1.2e-4 is not."""
    F = random(np.random.default_rng(19), m=400, d=24).astype(np.float32)
    belief = Projection(self_query(F), team)
    noise = np.full(len(F), 1e3)  # so that rates hardly fall
    picks, _ = plain(F, 8, self_query(F), 1e3)
    proposal = observe(
        RowStates(Source(F), noise, None, np.empty((2, len(F)))), Belief(belief, None), picks
    )
    pool = RowStates(Source(F), noise, None, belief.state(F.astype(float)) * [[1], [1 + drift]])
    verdict = verify(
        pool,
        belief,
        proposal.block,
        margin=2e-5,
        widest=1e-4,
        is_final=True,
        may_shorten=False,
        max_cosine=None,
        sweep=Sweeper(team, belief, 24).sweep,
    )
    assert (verdict is not None) == can_tell
    assert verdict is None or verdict.confirmed == len(picks)


@pytest.mark.parametrize("noise", [1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("seed", [1, 2, 5])
def test_of_rows_that_are_the_same_the_lowest_wins_however_small_the_noise(seed, noise):
    """What a few targets leave is no larger than rounding soon, which then differs between them."""
    rng = np.random.default_rng(seed)
    F = duplicated(rng, m=1500, d=8)
    T = F[rng.integers(len(F), size=3)]
    with threadpool_limits(1, user_api="blas"):
        got = select(F, 60, query=T.T @ T, noise=noise)
    open_ = np.ones(len(F), bool)
    for pick in got.indices:
        assert pick == np.flatnonzero((F[pick] == F).all(axis=1) & open_)[0]
        open_[pick] = False
    with threadpool_limits(3, user_api="blas"):
        again = select(F, 60, query=T.T @ T, noise=noise)
    np.testing.assert_array_equal(again.indices, got.indices)
    fewer = select(F, 20, query=T.T @ T, noise=noise)
    np.testing.assert_array_equal(fewer.indices, got.indices[:20])


def test_a_twin_is_not_missed_among_real_rows():
    """Its rate had drifted further than those of the picks, which set the margin."""
    rows = np.repeat(np.arange(4000), 2)
    F = rows_of("alpaca_9k")[np.random.default_rng(0).permutation(rows)]
    T = rows_of("gsm8k_train")[:30].astype(float)
    picks = select(F, 150, query=T.T @ T, noise=1e-4).indices.tolist()
    for turn, pick in enumerate(picks):
        twin = np.flatnonzero((F[pick] == F).all(axis=1))[0]
        assert twin == pick or twin in picks[:turn]


def test_of_a_row_and_its_negative_the_first_is_picked():
    """Both gain the same, whatever BLAS rounds: within 1e-4 of noise by more than a tie allows."""
    rng = np.random.default_rng(10)
    F, T = rng.choice([-1.0, 1.0], (255, 8)) / np.sqrt(8), rng.standard_normal((3, 8))
    picks = select(F, 64, query=T.T @ T, noise=1e-4).indices.tolist()
    for turn, pick in enumerate(picks):
        same = np.flatnonzero(np.abs(F @ F[pick]) > 1 - 1e-9)
        assert set(same[same < pick]) <= set(picks[:turn])


@pytest.mark.parametrize("seed", [4, 6, 9])
def test_float64_rows_are_not_rounded_where_next_to_nothing_of_them_is_left(seed):
    """The states before the first pick were those of the rows in float32."""
    F = np.random.default_rng(seed).choice([-1.0, 1.0], (40, 8)) / np.sqrt(8)
    given, F = F[:5], F[5:]
    got = select(F, 8, query=np.eye(8), noise=1e-5, given=given)

    def gains(X, S):
        before = range(len(X), len(X) + len(given))
        return reference.projection(np.eye(8) / 8, 1e-5)(np.vstack([X, given]), [*S, *before])[
            : len(X)
        ]

    for turn, pick in enumerate(got.indices):
        gain = gains(F, got.indices[:turn])
        gain[got.indices[:turn]] = 0
        assert gain[pick] == pytest.approx(gain.max(), rel=1e-6)


@pytest.mark.parametrize("noise", [0.01, 1.0, 1e3])
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
@pytest.mark.parametrize("kind", ["many of one", "few rows", "all equal"])
def test_of_many_copies_only_the_first_few_cost_anything(kind, pursuit, noise):
    """The picks are those of a pool that holds no more copies of a row than there are picks."""
    rng, k = np.random.default_rng(24), 100
    F, rows = random(rng, m=20_000, d=24).astype(np.float32), np.arange(20_000)
    match kind:
        case "many of one":
            rows[rng.random(20_000) < 0.3] = 7
        case "few rows":
            rows = rng.integers(24, size=20_000)
        case _:
            rows[:] = 7
    kept = np.concatenate([np.flatnonzero(rows == row)[:k] for row in np.unique(rows)])
    kept.sort()
    weights = rng.uniform(0.5, 1, 20_000)[rows]
    options = {"query": self_query(F), "pursuit": pursuit, "noise": noise}
    got = select(F[rows], k, weights=weights, **options)
    want = select(F[rows[kept]], k, weights=weights[kept], **options)
    np.testing.assert_array_equal(got.indices, kept[want.indices])
    assert got.diagnostics.near_ties < 4 * k
    assert got.diagnostics.blocks <= 30


def test_a_copy_counts_once_rules_have_closed_all_below_it():
    class Rule:
        def pickable(self):
            return np.ones(3000, bool)

        def take(self, row):
            return np.arange(2000)

        def copy(self):
            return self

    got = select(np.ones((3000, 1)), 100, noise=1.0, rules=Rule())
    assert got.indices.tolist() == [0, *range(2000, 2099)]


def test_copies_are_the_same_in_every_number():
    """Rows 0, 2 and 5 are, if zeros have no sign; 1 and 4 are; 3 has another noise."""
    x, y = np.eye(2) + 0.1
    F = np.array([x * [1, 0], y, x * [1, -0.0], x * [1, 0], y, x * [1, 0]])
    pool = RowStates(Source(F.astype(np.float16)), np.ones(6), None, np.ones((2, 6)))
    pool.noise[3] = 2
    assert pool.find_copies(np.arange(6))
    copies = pool.copies
    assert copies.rows.tolist() in ([0, 2, 5, 1, 4], [1, 4, 0, 2, 5])
    assert copies.part(np.array([2, 3, 5])).rows.tolist() == [0, 2]
    is_open = np.arange(6) > 0
    assert dict(zip(copies.rows.tolist(), copies.before(is_open).tolist(), strict=True)) == {
        0: 0, 2: 0, 5: 1, 1: 0, 4: 1
    }  # fmt: skip
    assert copies.lowest(np.array([3, 4, 5]), is_open).tolist() == [1, 2, 3]
    assert [copies.first(row, is_open) for row in (3, 4, 5)] == [3, 1, 2]
    contesting = pool.contesting(np.array([4]), np.array([0, 4]))
    assert np.isinf(contesting.noise).tolist() == [False] * 5 + [True]


def test_rows_whose_fingerprints_collide_are_no_copies(monkeypatch):
    monkeypatch.setattr("gip_cli.pursuit.copies.fingerprints", lambda ids, take: ids * 0)
    F = np.eye(3)[[0, 1, 0, 2]]
    assert Copies.among(np.arange(4), 4, F.__getitem__).rows.tolist() == [0, 2]


def test_fingerprints_of_narrow_numbers_differ():
    F = random(np.random.default_rng(25), m=5000).astype(np.float16).astype(float)
    assert len(np.unique(fingerprints(np.arange(5000), F.__getitem__))) == 5000


@pytest.mark.parametrize("pursuit", [Projection, Information, Residual])
def test_what_is_left_for_a_copy_is_what_picks_of_the_others_leave(pursuit, team):
    """Of a row of unit norm, in each pursuit's own states."""
    x, K = np.array([[0.6, 0.8, 0.0]]), np.diag([0.5, 0.3, 0.2])
    belief = Residual(K, 0, True, team) if pursuit is Residual else pursuit(K, team)
    noise = np.array([2.5])
    want = belief.repeated(belief.state(x), noise, np.array([3]))
    belief.observe(np.repeat(x, 3, axis=0), np.repeat(noise, 3))
    np.testing.assert_allclose(want, belief.state(x))


def test_twins_have_the_same_noise_and_price():
    x, y = np.eye(3)[:2]
    pool = RowStates(Source(np.array([x, y, -x, x])), np.ones(4), np.ones(4), np.ones((2, 4)))
    assert first_twin(pool, 3, np.array([1, 2])) == 2
    assert first_twin(pool, 3, np.array([0, 1, 2])) == 0
    assert first_twin(pool, 3, np.array([1])) == 3
    pool.noise[0] = 2
    assert first_twin(pool, 3, np.array([0, 1, 2])) == 2
    pool.price[2] = 2
    assert first_twin(pool, 3, np.array([0, 1, 2])) == 3


@pytest.mark.parametrize("noise", [1.0, 1e8, 1e16])
def test_information_is_exact_beside_any_noise(noise):
    """log1p(v / noise), of which log((noise + v) / noise) leaves nothing at 1e16."""
    weights = np.random.default_rng(21).uniform(0.9, 1, 40)
    got = select(
        np.eye(40), 40, weights=weights, query=np.eye(40), noise=noise, pursuit="information"
    )
    order = np.argsort(-weights)
    np.testing.assert_array_equal(got.indices, order)
    np.testing.assert_allclose(got.gains, np.log1p(weights[order] ** 2 / noise), rtol=1e-12)


@pytest.mark.parametrize("seed", [191, 811, 1070])
def test_a_residual_that_may_be_positive_hides_no_row_that_is(seed):
    """float32 leaves a residual's sign in doubt: such a row may not pass for the best."""
    rng = np.random.default_rng(seed)
    m, d, q = (int(rng.integers(*ends)) for ends in ((50, 3000), (5, 40), (2, 5)))
    F = rng.standard_normal((m, d)) + 0.5
    F = (F / np.linalg.norm(F, axis=1, keepdims=True)).astype(np.float32)
    scores = rng.uniform(0, 1, (m, q))
    s2 = 10 ** rng.uniform(-2, 1.5)
    k = int(rng.integers(10, 150))
    if rng.random() < 0.5:
        scores = np.round(scores * 4) / 4
    got = select(F, k, noise=s2, pursuit="residual", scores=scores)
    picks, won = reference.greedy(reference.residual(scores, s2, False), F, k, s2, fill=False)
    np.testing.assert_array_equal(got.indices, picks)
    np.testing.assert_allclose(got.gains, won, rtol=1e-6)


@pytest.mark.parametrize("seed", [2, 10, 23, 25, 27, 36])
def test_rates_that_rise_count_for_how_inexact_those_after_them_are(seed):
    """A pick lifts a large residual's sum above 0, whose own pick leaves little of its twin's.

    The twin is then a rival of ordinary rows, whose own picks drift by next to nothing.
    """
    rng = np.random.default_rng(seed)
    size, s2, d, m = 1e4, 0.1, 48, 500
    F = np.eye(d)[rng.integers(d - 3, size=m)]
    F[:, :-3] += np.abs(rng.standard_normal((m, d - 3))) * (rng.random((m, d - 3)) < 0.1)
    scores = rng.uniform(0.5, 1, (m, 2))
    for i in range(2):
        one, other = 2 * i, 2 * i + 1
        F[one] = np.eye(d)[d - 3 + i]
        F[one, :-3] = -rng.uniform(0, 0.3, d - 3) / size
        F[other] = F[one] + 0.1 * np.eye(d)[d - 2 + i]
    F = unit(F)
    for one, other in (0, 1), (2, 3):
        scores[one] = [size, -size - 0.2 * rng.random() / size]
        scores[other] = scores[one] * (F[one] @ F[other]) / (1 + s2)
        scores[other] += rng.uniform(0.3, 0.8, 2) * [1, -1]
        scores[other, 0] -= max(0.0, scores[other].sum()) + 0.2 * rng.random() / size
    order = rng.permutation(m)
    F, scores = F[order].astype(np.float32), scores[order]
    got = select(F, 45, noise=s2, pursuit="residual", scores=scores)
    picks, _ = reference.greedy(reference.residual(scores, s2, False), F, 45, s2, fill=False)
    np.testing.assert_array_equal(got.indices, picks)


@pytest.mark.parametrize(("signed", "largest"), [(False, 32.0), (True, 8.0)])
def test_rows_that_gain_nothing_as_yet_count_for_how_inexact_rates_are(signed, largest, team):
    """Of residual -8, noise and norm 2 and price 1 a rate could be 32; the best there is, is 8."""
    F, scores, price = np.eye(4), np.array([[4.0], [-8], [9], [1]]), np.array([1.0, 1, 90, 1])
    belief = Residual(np.eye(4) / 4, 1, signed, team)
    source, noise = Source(F, scores), np.full(4, 2.0)
    noise[1] = np.inf if signed else 2.0
    pool = RowStates(source, noise, price, belief.state(source.take(np.arange(4))))
    host = Sweeper(team, belief, 5)
    greedy = Greedy(Drafter([Level(256, 64, 1)], host.sweep, None), host.sweep, host)
    step = greedy.advance(pool, Belief(belief, None), 1)
    assert (step.block.rows.tolist(), greedy.largest) == ([0], largest)
    greedy.advance(pool, step.after, 1)
    assert greedy.largest == largest


def test_no_block_is_longer_than_the_longest():
    level = Level(2, 64, 1)
    level.learn(60, 50, np.ones(1))
    assert level.trusted == 64
    level.learn(60, 20, np.ones(1))
    assert level.trusted == 40


@pytest.mark.parametrize("may_shorten", [False, True])
def test_a_draft_goes_as_far_as_its_rows_are_trusted(may_shorten):
    """Rows down to a tenth of the best, which falls by 1 % a pick: to its 2nd or 3rd power."""
    level = Level(2, 1024, 1, may_shorten, trusted=1024)
    level.learn(101, 101, np.array([1.0, *np.zeros(99), 0.99**100]))
    power = 3 if may_shorten else 2
    assert level.ahead(np.array([1.0, 0.1])) == int(power * np.log(10) / -np.log(0.99))


@pytest.mark.parametrize("rates", [(1.0, 0.0), (1.0, -1e-18), (-1e-18, 1e-18)])
def test_a_block_may_begin_or_end_with_a_pick_of_which_rounding_left_nothing(rates):
    level = Level(2, 64, 1)
    level.learn(2, 2, np.array(rates))
    assert level.fall == np.inf
    assert level.ahead(np.array([1.0, 0.0])) == 32  # no more than the least


@pytest.mark.parametrize("seed", [1381, 1694, 2165])
def test_information_of_rows_that_hold_hardly_more_than_rounding_of_the_query(seed):
    """What one block gains, the same picks in a shorter block may not, which divided by zero."""
    rng = np.random.default_rng(seed)
    m, d = int(rng.integers(3, 60)), int(rng.choice([3, 5, 8]))
    F = rng.normal(size=(m, d))
    F[rng.random(m) < 0.8, 0] = 0
    F /= np.linalg.norm(F, axis=1, keepdims=True)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    noise = float(10.0 ** rng.uniform(-5, 1))
    got = select(F @ Q, m, query=np.outer(Q[0], Q[0]), noise=noise, pursuit="information")
    np.testing.assert_array_equal(np.sort(got.indices), np.arange(m))


def test_diagnostics_tell_what_was_done():
    F = random(np.random.default_rng(16), m=8000, d=24)
    work = select(F, 300).diagnostics
    assert 0 < work.blocks <= 300
    assert 0 < work.accepted <= 300 <= work.drafted + work.blocks
    assert 0 < work.acceptance <= 1
    assert {"prepare", "draft", "verify"} <= set(work.seconds)
    assert all(seconds >= 0 for seconds in work.seconds.values())
    few = F[:400].astype(np.float32)
    assert select(few, 100, noise=1.0).diagnostics.near_ties < 50
    assert select(np.vstack([few, few]), 100, noise=1.0).diagnostics.near_ties >= 100  # the twins


@pytest.mark.parametrize("targets", [False, True], ids=["self", "targets"])
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
def test_what_is_drafted_is_mostly_what_is_picked(pursuit, targets):
    """No wrong draft is ever picked: only the number of blocks, here 10 to 27, tells of one."""
    F = random(np.random.default_rng(0), m=3000, d=24).astype(np.float32)
    K = self_query(F[:5] if targets else F)
    work = select(F, 300, noise=1.0, pursuit=pursuit, query=K).diagnostics
    assert work.blocks <= 35


def test_a_sweep_leaves_the_states_of_the_belief_and_hides_no_row(team):
    """Against all rates of all steps: states to float32's precision, and every row that counts."""
    rng = np.random.default_rng(17)
    F = random(rng, m=3000, d=24).astype(np.float32)
    K, noise = self_query(F), rng.uniform(0.5, 3, len(F))
    noise[::7] = np.inf
    belief = Projection(K, team)
    belief.observe(F[:40].astype(float), noise[1:41].clip(max=9))
    pool = RowStates(Source(F), noise, None, belief.state(F.astype(float)))
    picks = rng.choice(np.flatnonzero(np.isfinite(noise)), 70, replace=False)
    rates, step = np.empty((len(F), 70)), belief.copy()
    for t, pick in enumerate(picks):
        rates[:, t] = step.gain(step.state(F.astype(float)), noise)
        step.observe(F[pick : pick + 1].astype(float), noise[pick : pick + 1])
    limits = np.quantile(rates, 0.98, axis=0)
    block = belief.copy().observe(F[picks].astype(float), noise[picks])
    np.testing.assert_allclose(block.gains, rates[picks, np.arange(70)], rtol=1e-9)
    hits = Sweeper(team, belief, 24).sweep(pool, SweepPlan(belief, block, limits, np.float32))
    np.testing.assert_allclose(pool.after, step.state(F.astype(float)), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(hits.rates, rates[hits.rows, hits.steps], rtol=1e-4)
    found = np.zeros_like(rates, bool)
    found[hits.rows, hits.steps] = True
    assert not np.any(~found & (rates > limits * (1 + 1e-4)))
    assert not np.any(found & (rates < limits * (1 - 1e-4)))


@pytest.mark.parametrize("max_cosine", [None, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_a_bad_draft_is_refuted_by_few_rows_and_the_same_ones(seed, max_cosine, team):
    """Nearly all rows beat picks made at random: what decides is kept, the rest not even told."""
    rng = np.random.default_rng(seed)
    F = random(rng, m=4000, d=24).astype(np.float32)
    belief, noise = Projection(self_query(F), team), np.ones(len(F))
    pool = RowStates(Source(F), noise, None, belief.state(F.astype(float)))
    rates = belief.gain(pool.state, noise)
    best = np.argsort(-rates)
    picks = np.append(best[:seed], rng.choice(best[100:], 64 - seed, replace=False))
    ruled = np.sort(best[seed : seed + 20])  # the very rows that would refute the draft first
    block = belief.copy().observe(F[picks].astype(float), noise[picks])
    closed, since = np.append(picks, ruled), np.append(np.arange(64), np.ones(20, int))
    contest = Contest(block.gains, 1e-5, picks, *earliest(closed, since))
    near = () if max_cosine is None else (F[picks].astype(float), max_cosine)
    sweeper, limits = Sweeper(team, belief, 24), block.gains * (1 - 1e-5)
    every = sweeper.sweep(pool, SweepPlan(belief, block, limits, np.float32, None, *near))
    few = sweeper.sweep(pool, SweepPlan(belief, block, limits, np.float32, contest, *near))
    assert len(every.rows) > 10 * len(F) > 10 * len(few.rows)
    np.testing.assert_array_equal(np.sort(few.near_rows), np.sort(every.near_rows))
    closed = np.append(closed, every.near_rows)
    closures = Closures(*earliest(closed, np.append(since, every.near_steps + 1)), 0)
    decisive = contenders(every, closures, contest)
    assert len(decisive)
    np.testing.assert_array_equal(contenders(few, closures, contest), decisive)
    for pick, step in zip(picks, range(64), strict=True):
        assert np.any((few.rows == pick) & (few.steps == step))


def test_default_noise_of_a_budget_beyond_the_pool_counts_the_pool():
    F = random(np.random.default_rng(18), m=30)
    assert select(F, 500).noise == pytest.approx(default_noise(30, None, self_query(F)))
