"""Rows of Gram matrices that drafts ask for: those of the whole matrices, each worked out once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from gip_cli.pursuit.gram_rows import FIRST, NEXT, GramRows
from gip_cli.pursuit.information import Information
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.residual import Residual
from gip_cli.pursuit.team import Team
from tests.pools import self_query, unit


class Asked:
    """Twice the rows and thrice the rows; notes which were asked for."""

    def __init__(self):
        self.rows = []

    def __call__(self, rows):
        self.rows.append(rows)
        return 2 * rows, 3 * rows


@given(st.integers(1, 3 * FIRST), st.integers(0, 1 << 32))
def test_every_row_is_worked_out_once_in_whatever_order(p, seed):
    rng = np.random.default_rng(seed)
    X, asked = rng.standard_normal((p, 7)), Asked()
    rates = rng.choice([-np.inf, 0.0, 1.0, 2.0], p)
    with Team() as team:
        gram = GramRows(X, asked, 2, team)
        for i in rng.integers(p, size=2 * p).tolist():
            want = np.stack([2 * X[i] @ X.T, 3 * X[i] @ X.T])
            np.testing.assert_allclose(gram.row(i, rates), want, atol=1e-12)
    rows = np.concatenate(asked.rows)
    assert len(np.unique(rows, axis=0)) == len(rows) == gram.known


def test_a_row_of_many_coordinates_may_be_alone():
    """Its work would be shared, but cannot be."""
    rng = np.random.default_rng(0)
    X, rates = rng.standard_normal((FIRST + 1, 20000)).astype(np.float32), np.zeros(FIRST + 1)
    with Team() as team:
        gram = GramRows(X, Asked(), 2, team)
        for i in range(FIRST + 1):
            want = np.stack([2 * X[i] @ X.T, 3 * X[i] @ X.T])
            np.testing.assert_allclose(gram.row(i, rates), want, rtol=1e-3, atol=1)


def test_rows_of_the_highest_rates_come_with_the_one_asked_for():
    rng = np.random.default_rng(0)
    X, rates, asked = rng.standard_normal((400, 3)), 1.0 * rng.permutation(400), Asked()
    best = np.argsort(-rates)
    with Team() as team:
        gram = GramRows(X, asked, 2, team)
        gram.row(int(best[-1]), rates)
        assert_rows(asked, X, [*best[: FIRST - 1], best[-1]])
        for i in best[: FIRST - 1].tolist():
            gram.row(i, rates)
        assert not asked.rows
        rates[best[: FIRST + 10]] = -np.inf
        gram.row(int(best[-2]), rates)
        assert_rows(asked, X, [*best[FIRST + 10 : FIRST + NEXT + 9], best[-2]])


def assert_rows(asked, X, ids):
    got = np.concatenate(asked.rows)
    asked.rows = []
    assert len(got) == len(ids)
    assert {*map(tuple, got)} == {*map(tuple, X[ids])}


@pytest.mark.parametrize("pursuit", ["projection", "information", "residual", "scores"])
def test_rows_are_those_of_the_belief_for_any_number_of_workers(pursuit):
    """And large enough to be shared."""
    rng = np.random.default_rng(22)
    X, d = unit(rng.standard_normal((301, 300))).astype(np.float32), 300
    F, rates, found = X.astype(float), rng.random(301).astype(np.float32), []
    K, noise = self_query(F), np.full(301, 2.0)
    if pursuit == "information":
        K = F[:50].T @ F[:50] / 50  # of less than full rank
    if pursuit == "scores":
        X = np.hstack([X, rng.standard_normal((301, 4))]).astype(np.float32)
    for workers in (1, 2, 5):
        with threadpool_limits(workers, user_api="blas"), Team() as team:
            if pursuit == "projection":
                belief = Projection(K, team)
            elif pursuit == "information":
                belief = Information(K, team)
            else:
                belief = Residual(K, X.shape[1] - d, False, team)
            belief.observe(X[:40].astype(float), noise[:40])
            gram = belief.local(X, belief.state(X.astype(float)), noise, 8).gram
            found.append(np.stack([gram.row(i, rates) for i in range(301)], axis=1))
    Sigma = np.linalg.inv(np.eye(d) + F[:40].T @ F[:40] / 2)
    if pursuit == "projection":
        want = F @ Sigma @ F.T, 2 * F @ Sigma @ K @ Sigma @ F.T
    elif pursuit == "information":
        told = np.linalg.inv(np.eye(d) + 1e12 * K + F[:40].T @ F[:40] / 2)
        want = F @ Sigma @ F.T, F @ told @ F.T
    else:
        C = X @ belief.R
        want = F @ F.T, 2 * C @ C.T
    for gram, matrix in zip(found[0], want, strict=True):
        np.testing.assert_allclose(gram, matrix, atol=1e-5 * np.abs(matrix).max())
    for gram in found[1:]:
        np.testing.assert_array_equal(gram, found[0])
