"""The pursuit's invariants (design section 2), whatever the pool."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from gip_cli.pursuit import default_noise, effective_rank, select
from tests.pools import POOLS, duplicated, random, self_query, zero_rows

PURSUITS = ["projection", "information", "residual"]


@st.composite
def problems(draw):
    """A small pool of any kind, and how to pursue it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    F = draw(st.sampled_from(POOLS))(rng, m=draw(st.integers(2, 90)), d=draw(st.integers(5, 20)))
    assume(F.any())
    weights = rng.uniform(0.1, 1, len(F))
    weights[rng.random(len(F)) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    options = {
        "noise": draw(st.sampled_from([0.03, 0.5, 8.0])),
        "weights": draw(st.sampled_from([None, weights])),
        "pursuit": draw(st.sampled_from(PURSUITS)),
    }
    return F.astype(draw(st.sampled_from([np.float16, np.float32, np.float64]))), options


@given(problems())
@settings(max_examples=150)
def test_picks_are_distinct_gains_are_not_negative_captured_never_falls(problem):
    F, options = problem
    got = select(F, len(F), **options)
    assert len(set(got.indices)) == len(got.indices)
    assert np.all(got.gains >= 0)
    assert np.all(np.diff(got.captured, prepend=got.captured_given) >= 0)
    assert np.all(got.captured < 1)
    if options["pursuit"] == "projection":
        np.testing.assert_allclose(got.captured, np.cumsum(got.gains), rtol=1e-12)
    if options["weights"] is not None:
        assert not np.isnan(options["weights"][got.indices]).any()


@given(problems())
@settings(max_examples=50)
def test_captured_is_what_the_definition_says(problem):
    F, options = problem
    got = select(F, max(1, len(F) // 2), **options)
    w = np.ones(len(F)) if options["weights"] is None else options["weights"]
    X = F[got.indices] * w[got.indices, None]
    Sigma = np.linalg.inv(np.eye(F.shape[1]) + X.T.astype(float) @ X / got.noise)
    captured = 1 - np.vdot(self_query(F), Sigma)
    assert (got.captured[-1] if len(X) else 0.0) == pytest.approx(captured, abs=1e-9)


@given(problems(), st.integers(1, 40))
@settings(max_examples=50)
def test_k_picks_begin_with_fewer_at_the_same_noise(problem, k):
    F, options = problem
    few, more = select(F, k, **options), select(F, k + 25, **options)
    np.testing.assert_array_equal(few.indices, more.indices[: len(few.indices)])
    np.testing.assert_allclose(few.gains, more.gains[: len(few.gains)], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("pursuit", PURSUITS)
def test_permuting_the_rows_permutes_the_picks(pursuit):
    rng = np.random.default_rng(0)
    F = random(rng)
    order = rng.permutation(len(F))
    weights = rng.uniform(0.5, 1, len(F))  # without, all unit rows tie for information's first
    options = {"query": self_query(F), "noise": 1.0, "pursuit": pursuit}
    got = select(F, 60, weights=weights, **options)
    permuted = select(F[order], 60, weights=weights[order], **options)
    np.testing.assert_array_equal(order[permuted.indices], got.indices)


def test_a_duplicate_of_a_pick_gains_strictly_less_than_it_did():
    F = random(np.random.default_rng(1), m=30)
    first = select(F, 1, noise=1.0)
    F[0 if first.indices[0] else 1] = F[first.indices[0]]
    K = self_query(F)
    alone = select(F, 1, query=K, noise=1.0)
    twice = select(F[[alone.indices[0]] * 2], 2, query=K, noise=1.0)
    assert twice.gains[1] < twice.gains[0] == pytest.approx(alone.gains[0])


def test_ties_go_to_the_lowest_row():
    F = np.eye(6)[[5, 0, 3, 1, 0, 2, 4, 3]]
    got = select(F, 8, query=np.eye(6), noise=1.0)
    np.testing.assert_array_equal(got.indices, [0, 1, 2, 3, 5, 6, 4, 7])


def test_hand_checked_gains():
    """One axis of energy 3/4, one of 1/4, noise 1: n / (1 + v) by hand."""
    F = np.array([[1.0, 0.0], [0.0, 1.0]])
    got = select(F[[0, 0, 1]], 3, query=np.diag([3.0, 1.0]), noise=1.0)
    # First pick of an axis: energy * 1 / 2. Second: v = 1/2, n = energy / 4, energy / 4 / (3/2).
    np.testing.assert_array_equal(got.indices, [0, 1, 2])
    np.testing.assert_allclose(got.gains, [3 / 8, 1 / 8, 1 / 8])


@pytest.mark.parametrize("pursuit", ["projection", "information"])
def test_zero_rows_come_last_in_their_order(pursuit):
    F = zero_rows(np.random.default_rng(2))
    zeros = np.flatnonzero(~F.any(axis=1))
    got = select(F, len(F), noise=1.0, pursuit=pursuit)
    np.testing.assert_array_equal(got.indices[-len(zeros) :], zeros)
    assert np.all(got.gains[-len(zeros) :] == 0)


def test_rows_orthogonal_to_the_query_come_before_zero_rows():
    F = np.eye(4)[[3, 2, 1, 0]] * np.array([1, 0, 1, 1])[:, None]
    got = select(F, 4, query=np.diag([1.0, 0, 0, 0]), noise=1.0)
    np.testing.assert_array_equal(got.indices, [3, 0, 2, 1])


def test_rows_of_weight_nan_are_never_picked():
    F = random(np.random.default_rng(3))
    weights = np.where(np.arange(len(F)) % 3 == 0, np.nan, 1.0)
    got = select(F, len(F), weights=weights)
    np.testing.assert_array_equal(np.sort(got.indices), np.flatnonzero(np.arange(len(F)) % 3))
    assert got.stopped == "exhausted"


def test_read_only_memory_maps_and_half_precision(tmp_path):
    F = random(np.random.default_rng(4), m=500, d=24).astype(np.float16)
    np.save(tmp_path / "F.npy", F)
    mapped = np.load(tmp_path / "F.npy", mmap_mode="r")
    want = select(F.astype(np.float64), 80, noise=1.0)
    matrix = np.ndarray.view(F.astype(np.float32), np.matrix)  # whose rows stay two-dimensional
    masked = np.ma.masked_array(F, mask=False)
    for rows in (mapped, F, matrix, masked, np.asfortranarray(F), F[::-1][::-1]):
        np.testing.assert_array_equal(select(rows, 80, noise=1.0).indices, want.indices)


def test_a_lone_row_and_a_lone_dimension():
    assert select(np.ones((1, 3), np.float32), 5).indices.tolist() == [0]
    assert select(np.ones((4, 1), np.float32), 4).indices.tolist() == [0, 1, 2, 3]


def test_interruption_through_progress_leaves_the_picks_made():
    F = random(np.random.default_rng(5), m=400, d=20)
    want, seen = select(F, 300, noise=1.0), []

    def interrupt(progress):
        seen.append(progress)
        if progress.picks >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select(F, 300, noise=1.0, on_progress=interrupt)
    partial = seen[-1].selection
    assert 100 <= seen[-1].picks == len(partial.indices) < 300
    assert partial.stopped == "interrupted"
    assert seen[-1].captured == partial.captured[-1]
    np.testing.assert_array_equal(partial.indices, want.indices[: len(partial.indices)])
    for before, after in pairwise(seen):
        assert before.picks < after.picks
        assert before.captured <= after.captured
    assert not partial.indices.flags.writeable


def test_progress_ends_with_the_whole_selection():
    F, seen = duplicated(np.random.default_rng(6)), []
    got = select(F, 40, noise=1.0, on_progress=seen.append)
    np.testing.assert_array_equal(seen[-1].selection.indices, got.indices)
    assert seen[-1].budget == 40


def test_stop_at_stops_with_the_first_pick_that_reaches_it():
    F = random(np.random.default_rng(7))
    whole = select(F, 100, noise=1.0)
    got = select(F, 100, noise=1.0, stop_at=0.5)
    assert got.stopped == "captured"
    assert got.captured[-1] >= 0.5 > got.captured[-2]
    np.testing.assert_array_equal(got.indices, whole.indices[: len(got.indices)])


def test_what_given_rows_have_captured_may_be_enough():
    F = random(np.random.default_rng(7))
    got = select(F[50:], 10, noise=1.0, given=F[:50], stop_at=0.5)
    assert (len(got.indices), got.stopped) == (0, "captured")


@pytest.mark.parametrize(("w", "noise"), [(1e-9, 1.0), (1e-160, 1.0), (1e-200, "auto")])
def test_rows_of_the_smallest_weights_are_picked_best_first(w, noise):
    weights = np.array([0.1, 0.3, 1.0, 0.5]) * w
    got = select(np.ones((4, 1)), 4, noise=noise, weights=weights)
    assert got.indices.tolist() == ([2, 3, 1, 0] if w > 1e-10 else [0, 1, 2, 3])
    assert np.all(got.gains > 0)


@pytest.mark.parametrize("noise", [1e6, 1e12, 1e20])
def test_the_largest_noise_picks_by_what_a_row_holds_of_the_query(noise):
    F = random(np.random.default_rng(12))
    energy = np.einsum("ij,jk,ik->i", F, self_query(F), F)
    assert select(F, 10, noise=noise).indices.tolist() == np.argsort(-energy)[:10].tolist()


@pytest.mark.parametrize("pursuit", PURSUITS)
def test_rates_too_small_for_float32_are_told_apart(pursuit):
    """The largest noise and the largest prices: rates of 1e-46 and 1e-48, or 1e-40 and equal."""
    options = {"query": np.diag([1, 1e-8, 1e-6]), "price": [1, 1e20, 1e20], "noise": 1e20}
    got = select(np.eye(3), 3, pursuit=pursuit, **options)
    assert got.indices.tolist() == ([0, 1, 2] if pursuit == "information" else [0, 2, 1])
    assert np.all(got.gains > 0)


def test_the_least_noise_is_that_beside_the_weights_of_rows_given_too():
    """Of a given row of weight 1 float64 may not tell what less than 1e-5 of noise leaves."""
    options = {"weights": [1e-6] * 3, "given": np.eye(3)[:1]}
    with pytest.raises(ValueError, match=r"noise must lie in \[1e-05, 1e\+20\]"):
        select(np.eye(3), 2, noise=1.1e-17, **options)
    assert select(np.eye(3), 2, noise=1.1e-17, given_weights=[1e-6], **options).noise == 1.1e-17
    got = select(np.eye(3), 2, **options)  # the automatic noise, of which the given have no say
    assert (got.indices.tolist(), got.noise) == ([1, 2], 1e-5)


def test_budget_beyond_the_pool_picks_all_and_says_so():
    F = random(np.random.default_rng(8), m=20)
    assert select(F, 20).stopped == "budget"
    got = select(F, 21)
    assert (got.stopped, sorted(got.indices)) == ("exhausted", list(range(20)))


def test_no_row_may_be_picked():
    got = select(np.eye(3), 2, weights=[np.nan] * 3)
    assert (len(got.indices), got.stopped) == (0, "exhausted")


def test_inputs_are_left_alone():
    rng = np.random.default_rng(9)
    F, weights, K, price = random(rng), rng.uniform(0.1, 1, 150), np.eye(12), np.ones(150)
    before = [array.copy() for array in (F, weights, K, price)]
    select(F, 50, weights=weights, query=K, price=price, given=F[:3])
    for array, was in zip((F, weights, K, price), before, strict=True):
        np.testing.assert_array_equal(array, was)


def test_blas_has_the_threads_that_it_had_also_after_an_interruption():
    def interrupt(progress):
        raise KeyboardInterrupt

    F = random(np.random.default_rng(13))
    with threadpool_limits(2, user_api="blas"):
        before = threadpool_info()
        select(F, 10)
        assert threadpool_info() == before
        with pytest.raises(KeyboardInterrupt):
            select(F, 10, on_progress=interrupt)
        assert threadpool_info() == before


def test_default_noise_is_the_rule():
    K = np.diag([3.0, 1.0])  # effective rank 16 / 10
    assert effective_rank(K) == pytest.approx(1.6)
    assert default_noise(10, None, K) == pytest.approx(0.5 * 10 / 1.6)
    assert default_noise(10, np.array([0.5, np.nan, 1.0]), K) == pytest.approx(5 * 0.625 / 1.6)
    F, weights = random(np.random.default_rng(10)), np.full(150, 0.5)
    got = select(F, 30, weights=weights)
    assert got.noise == pytest.approx(default_noise(30, weights, self_query(F)))
    assert select(F, 30, weights=weights, noise=got.noise).indices.tolist() == got.indices.tolist()


@pytest.mark.parametrize("size", [1e-170, 1e-100, 1e100, 1e155, 1e200])
def test_a_query_has_no_scale_in_the_noise(size):
    assert effective_rank(np.diag([3.0, 1.0]) * size) == pytest.approx(1.6)
    assert default_noise(10, [1.0], np.diag([3.0, 1.0]) * size) == pytest.approx(5 / 1.6)


@pytest.mark.parametrize("kind", [np.float16, np.int8])
def test_effective_rank_of_a_query_in_few_bits(kind):
    assert effective_rank(np.eye(600, dtype=kind) * kind(100)) == pytest.approx(600)
    assert effective_rank([[100, 0], [0, 100]]) == pytest.approx(2)


def test_effective_rank_of_known_spectra():
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.diag([3.0, 0, 0])) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.ones(3)}, "two-dimensional"),
        ({"embeddings": np.ones((3, 2), int)}, "float16, float32 or float64"),
        ({"embeddings": np.ones((0, 2))}, "rows and columns"),
        ({"embeddings": np.array([[1.0, 0], [np.nan, 1]]), "query": np.eye(2)}, "row 1"),
        ({"embeddings": np.array([[1.0, 0], [0, 1], [np.inf, 1]])}, "row 2"),
        ({"embeddings": np.zeros((3, 2))}, "energy"),
        ({"embeddings": np.ma.masked_equal(np.eye(3), 0)}, "embeddings must not be masked"),
        ({"weights": np.ma.masked_equal([1.0, 0.5, 1.0], 0.5)}, "weights must not be masked"),
        ({"k": 0}, "at least 1"),
        ({"k": 2.5}, "whole number"),
        ({"k": True}, "whole number"),
        ({"weights": [1.0, 0.5]}, "weights must have shape \\(3,\\), not \\(2,\\)"),
        ({"weights": [1.0, 0.5, 0.0]}, "in \\(0, 1\\]"),
        ({"weights": [1.0, 0.5, 1j]}, "weights must be real"),
        ({"query": np.eye(2) * 1j}, "query must be real"),
        ({"query": np.eye(3)}, "query must have shape \\(2, 2\\)"),
        ({"query": np.array([[1.0, 1], [0, 1]])}, "symmetric"),
        ({"query": np.diag([2.0, -1])}, "semidefinite"),
        ({"noise": 0.0}, "noise"),
        ({"noise": 0.9e-5}, "noise"),
        ({"noise": 1e21}, "noise"),
        ({"noise": np.inf}, "noise"),
        ({"noise": "low"}, "noise must be a real number, not 'low'"),
        ({"noise": None}, "noise"),
        ({"noise": np.array([1.0, 2.0])}, "noise must be a real number"),
        ({"noise": True}, "noise must be a real number"),
        ({"noise": 10**400}, "noise is too large a number"),
        ({"max_cosine": -(10**400)}, "max_cosine is too large a number"),
        ({"stop_at": Fraction(10**400)}, "stop_at is too large a number"),
        ({"device": None}, "device must be a name such as 'cpu' or 'cuda', not of type NoneType"),
        ({"device": 0}, "device must be a name"),
        ({"rules": 5}, "rules must have the methods pickable, take and copy"),
        ({"on_progress": 5}, "on_progress must be a function"),
        ({"weights": [None] * 3}, "weights must be real numbers, not object"),
        ({"weights": ["0.5"] * 3}, "weights must be real numbers, not <U3"),
        ({"weights": [b"1"] * 3}, "weights must be real numbers"),
        ({"weights": np.ones(3, "m8[s]")}, "weights must be real numbers, not timedelta64"),
        ({"weights": {1.0}}, "weights must be an array of real numbers"),
        ({"weights": (1.0 for _ in range(3))}, "weights must be an array of real numbers"),
        ({"price": [10**400, 1, 1]}, "price must be an array of real numbers"),
        ({"price": [[1], [1, 2], 3]}, "price must be an array of real numbers"),
        ({"query": [[{}, 1], [1, 2]]}, "query must be an array of real numbers"),
        ({"given": np.array([[1j, 1]], object)}, "given must be an array of real numbers"),
        ({"given": [[1e160, 1.0]]}, "given must be of unit norm"),
        ({"embeddings": np.array([[1.0, 0], [np.inf, 1]]), "query": np.eye(2)}, "row 1"),
        ({"embeddings": np.array([[1.0, 0], [1e160, 1]])}, "row 1"),
        ({"embeddings": np.array([[1.0, 0], [1e160, 1]]), "query": np.eye(2)}, "row 1"),
        ({"pursuit": "nearest"}, "projection, information or residual"),
        ({"scores": np.ones((3, 1))}, "residual"),
        ({"pursuit": "residual", "scores": np.ones((2, 1))}, "scores"),
        ({"pursuit": "residual", "scores": np.full((3, 1), -1e101)}, "scores must lie in"),
        ({"pursuit": "residual", "given": np.eye(2)}, "not defined"),
        ({"given": np.eye(3)}, "given"),
        ({"given_weights": [1.0]}, "given"),
        ({"given": np.eye(2), "given_weights": [1.0, np.nan]}, "given_weights"),
        ({"price": [1.0, 2.0, 0.0], "embeddings": np.full((3, 2), np.nan)}, "price"),  # at once
        ({"price": [1.0, 2.0, 1e21]}, "price"),
        ({"max_cosine": 1.5}, "max_cosine"),
        ({"max_cosine": "0.5"}, "max_cosine"),
        ({"stop_at": 1.0}, "stop_at"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(change, message):
    arguments = {"embeddings": np.array([[1.0, 0], [0, 1], [0.6, 0.8]]), "k": 2} | change
    with pytest.raises(ValueError, match=message) as error:
        select(arguments.pop("embeddings"), arguments.pop("k"), **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_so_far_from_unit_norm_that_numbers_overflow_are_refused(dtype):
    F = np.eye(4, dtype=dtype)
    F[2] *= 1e15
    with pytest.raises(ValueError, match=r"must be of unit norm: row 2 has norm 1e\+15"):
        select(F, 2)


@pytest.mark.parametrize("pursuit", PURSUITS)
def test_rows_so_large_beside_the_noise_that_nothing_tells_what_a_pick_leaves_are_refused(pursuit):
    F = random(np.random.default_rng(13), m=40)
    F[7] *= 1e5
    with pytest.raises(
        ValueError, match=r"unit norm: row 7 has norm 1e\+05, too large beside"
    ) as e:
        select(F, 20, noise=1.0, pursuit=pursuit)
    assert "\n" not in str(e.value)
    assert len(select(F, 20, noise=1e4, pursuit=pursuit).indices) == 20


def test_a_query_of_coarse_examples_is_told_how_far_it_is_off():
    T = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float16)
    K = np.diag([1.0, *[0.0] * 6, -1e-3])
    with pytest.raises(ValueError, match=r"least eigenvalue is -0.001 of the largest \(T.T @ T in"):
        select(np.eye(8), 2, query=K)
    assert len(select(np.eye(8), 2, query=T.astype(float).T @ T.astype(float)).indices) == 2


@pytest.mark.parametrize(
    ("k", "weights", "K", "fault"),
    [
        (0, None, np.eye(3), "a positive number of picks"),
        (2, np.full(4, np.nan), np.eye(3), "rows with a weight"),
        (2, None, np.zeros((3, 3)), "has energy"),
        (2, None, np.ones((4, 3)), r"is \(d, d\)"),
    ],
)
def test_there_is_no_default_noise_for_nothing(k, weights, K, fault):
    with pytest.raises(ValueError, match=fault):
        default_noise(k, weights, K)
