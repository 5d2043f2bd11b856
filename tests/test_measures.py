"""What a selection is worth: each figure against its definition, computed without blocks."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gip_cli import measures
from gip_cli.measures import (
    captured_by_all,
    captured_energy,
    captured_gains,
    closest,
    closest_pairs,
    knee,
    mean_shift,
    nearest_cosines,
    random_picks,
    sample,
    side_by_side,
)
from gip_cli.pursuit import select
from tests.pools import unit

RNG = np.random.default_rng(2)
D = 6
F = unit(RNG.standard_normal((90, D))).astype(np.float32)
W = RNG.uniform(0.2, 1, 90)
K = (F.T @ F).astype(np.float64)
GIVEN = unit(RNG.standard_normal((4, D))) * 0.7


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks even here, the last of them not full."""
    monkeypatch.setattr(measures, "_BLOCK", 7)
    monkeypatch.setattr(measures, "_STEPS", 8)


def test_captured_energy_of_one_row_by_hand() -> None:
    """Sigma = I - x xᵀ / (s2 + |x|²): with K = diag(3, 1), x = (1, 0), s2 = 1 that is 1.5 of 4."""
    one = captured_energy(np.eye(2), np.ones(2), np.array([0]), np.diag([3.0, 1]), 1.0)
    assert one == pytest.approx(1.5 / 4)
    none = captured_energy(np.eye(2), np.ones(2), np.empty(0, np.int64), np.eye(2), 1.0)
    assert none == pytest.approx(0)


@pytest.mark.parametrize("k", [1, D - 1, 20], ids=["one", "fewer than dimensions", "more"])
@pytest.mark.parametrize("given", [None, GIVEN], ids=["alone", "given"])
def test_captured_energy_is_what_the_pursuit_says(given: np.ndarray | None, k: int) -> None:
    selection = select(F, k, weights=W, query=K, noise=0.7, given=given, given_weights=None)
    energy = captured_energy(F, W, selection.indices, K, 0.7, given)
    assert energy == pytest.approx(selection.captured[-1], abs=1e-6)
    gains = captured_gains(F, W, selection.indices, K, 0.7, given)
    np.testing.assert_allclose(gains, selection.gains, atol=1e-6)


@pytest.mark.parametrize("given", [None, GIVEN], ids=["alone", "given"])
def test_the_energy_of_all_is_that_of_the_rows_with_a_weight(given: np.ndarray | None) -> None:
    some = np.flatnonzero(W > 0.5)
    energy = captured_by_all(F, np.where(W > 0.5, W, 0), K, 0.7, given)
    assert energy == pytest.approx(captured_energy(F, W, some, K, 0.7, given))


def test_the_energy_of_a_whole_pool_takes_no_copy_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_BLOCK", 512)
    pool = unit(RNG.standard_normal((20_000, D)).astype(np.float32))
    weights, everything = np.ones(len(pool)), np.arange(len(pool))
    tracemalloc.start()
    captured_energy(pool, weights, everything, K, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pool.nbytes / 2


def test_gains_of_any_order_sum_to_the_energy() -> None:
    order = RNG.permutation(90)[:30]
    gains = captured_gains(F, W, order, K, 0.3)
    for n in (1, 8, 17, 30):
        assert gains[:n].sum() == pytest.approx(captured_energy(F, W, order[:n], K, 0.3))


def test_closest_is_the_first_of_the_largest_cosines() -> None:
    references = unit(RNG.standard_normal((23, D))).astype(np.float32)
    references[20] = references[3]
    which, cosine = closest(F, references)
    exact = F @ references.T
    np.testing.assert_array_equal(which, exact.argmax(axis=1))
    np.testing.assert_allclose(cosine, exact.max(axis=1), atol=1e-6)
    assert 20 not in which
    half = closest(F.astype(np.float16), references)[1]
    np.testing.assert_allclose(half, cosine, atol=2e-3)


def test_no_cosine_is_above_1() -> None:
    rows = unit(RNG.standard_normal((500, 64))).astype(np.float32)
    for alike in (rows, rows.astype(np.float16)):
        assert closest(alike, alike)[1].max() == 1


def test_rows_of_half_precision_are_as_close_as_their_directions_are() -> None:
    half = F.astype(np.float16)
    np.testing.assert_allclose(closest(half, half)[1], 1, atol=1e-6)
    read = half.astype(np.float32)  # of a store in half precision, beside other rows
    np.testing.assert_allclose(closest(half, read)[1], 1, atol=1e-6)
    assert np.array_equal(read, half)  # left as they are
    twice = np.concatenate([half, half])
    np.testing.assert_allclose(nearest_cosines(twice, np.arange(len(twice))), 1, atol=1e-6)
    np.testing.assert_allclose(closest_pairs(twice, np.arange(len(twice)), 90)[1], 1, atol=1e-6)
    nothing = np.zeros((2, D), np.float16)
    assert closest(nothing, half)[1].tolist() == [0, 0]


def test_a_row_is_not_its_own_neighbour() -> None:
    picks = RNG.permutation(90)[:20]
    own = np.full(90, -1)
    own[picks] = np.arange(20)
    exact = F @ F[picks].T
    exact[picks, np.arange(20)] = -np.inf
    which, cosine = closest(F, F[picks], own)
    np.testing.assert_array_equal(which, exact.argmax(axis=1))
    np.testing.assert_allclose(cosine, exact.max(axis=1), atol=1e-6)


def test_nearest_cosines_are_to_another_pick() -> None:
    picks = np.array([3, 80, 41, 17, 9, 55, 2, 33, 71])
    exact = F[picks] @ F[picks].T - 3 * np.eye(len(picks))
    np.testing.assert_allclose(nearest_cosines(F, picks), exact.max(axis=1), atol=1e-6)
    assert nearest_cosines(F, picks[:1]).size == 0


def test_nearest_cosines_of_many_picks_are_those_of_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = np.tile(F, (46, 1))
    assert [len(nearest_cosines(many, np.arange(n))) for n in (4096, 4097)] == [4096, 4096]
    exact = nearest_cosines(F, np.arange(90))
    monkeypatch.setattr(measures, "_SAMPLE", 30)
    some = nearest_cosines(F, np.arange(90))
    assert len(some) == 30
    assert np.all(np.abs(some[:, None] - exact).min(axis=1) < 1e-6)


def test_closest_pairs_are_the_largest_of_all() -> None:
    picks = RNG.permutation(90)[:40]
    pairs, cosines = closest_pairs(F, picks, 12)
    upper = np.triu_indices(40, 1)
    exact = np.sort((F[picks] @ F[picks].T)[upper])[::-1][:12]
    np.testing.assert_allclose(cosines, exact, atol=1e-6)
    np.testing.assert_allclose(
        np.einsum("ij,ij->i", F[picks[pairs[:, 0]]], F[picks[pairs[:, 1]]]), cosines, atol=1e-6
    )
    assert len(closest_pairs(F, picks[:3], 12)[1]) == 3


def test_the_knee_is_where_the_curve_bends() -> None:
    assert knee(np.array([0.5, 0.9, 0.92, 0.94, 0.96])) == 2
    assert knee(np.array([])) == 0
    assert knee(np.zeros(3)) == 3


def test_a_shift_is_in_the_references_standard_deviations() -> None:
    reference = np.array([1.0, 3, np.nan])
    assert mean_shift(np.array([4.0, np.nan, 6]), reference) == pytest.approx(3)
    assert mean_shift(np.array([np.nan]), reference) is None
    assert mean_shift(np.array([5.0]), np.array([2.0, 2])) == 0
    constant = np.full(1000, 0.1)
    assert constant.std() > 0  # by rounding
    assert mean_shift(constant[:10], constant) == 0


def test_random_picks_are_distinct_pickable_and_the_same_for_a_seed() -> None:
    pickable = np.arange(10, 50)
    picks = random_picks(pickable, 20, seed=1)
    assert len(set(picks.tolist())) == 20
    assert set(picks) <= set(pickable)
    assert np.array_equal(picks, random_picks(pickable, 20, seed=1))
    assert not np.array_equal(picks, random_picks(pickable, 20, seed=2))
    assert np.array_equal(picks, random_picks(pickable, 30, seed=1)[:20])
    assert len(random_picks(pickable, 99, seed=1)) == 40
    some = sample(pickable, 20)
    assert some.tolist() == sorted(set(some.tolist()) & set(pickable.tolist()))
    assert (len(some), len(sample(pickable, 40))) == (20, 40)


def test_sets_measured_side_by_side_are_so_bit_by_bit_with_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measures, "_BLOCK", 2048)  # products that BLAS would divide
    rows = unit(np.random.default_rng(0).standard_normal((1500, 64))).astype(np.float32)
    sets = [random_picks(np.arange(1500), count, seed=count) for count in (300, 1000, 7)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            measured = side_by_side(lambda chosen: nearest_cosines(rows, chosen), sets)
            found.append([cosines.tobytes() for cosines in measured])
    assert found[0] == found[1]
    assert np.allclose(measured[1], nearest_cosines(rows, sets[1]), atol=1e-6)


NEAREST = """
import numpy as np
from gip_cli.measures import closest
rows = np.random.default_rng(0).standard_normal((2953, 64), dtype=np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
print(closest(rows[:2050], rows[2050:])[1].tobytes().hex())
"""


def test_nearest_rows_are_the_same_bit_by_bit_on_any_number_of_cores() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", NEAREST], capture_output=True, check=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
        ).stdout
        for threads in "12"
    }  # fmt: skip
    assert len(found) == 1
