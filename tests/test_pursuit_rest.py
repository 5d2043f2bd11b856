"""Rows that gain nothing follow the others one by one, though they are compared many at a time."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import select
from tests.pools import unit
from tests.test_pursuit_constraints import Budget


@pytest.mark.parametrize("pursuit", ["projection", "information"])
@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("max_cosine", [None, -0.2, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_rows_that_gain_nothing_are_picked_as_one_by_one(device, max_cosine, precision, pursuit):
    """The query is one direction; 1,100 rows of clusters have nothing of it, and some are zeros."""
    if device != "cpu":
        pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    m, gaining = 1200, 100
    F = rng.standard_normal((60, 24))[rng.integers(60, size=m)] + 0.2 * rng.standard_normal((m, 24))
    F[rng.random(m) < 0.05] = 0
    F[gaining:, 0] = 0
    F[:gaining, 1:] = 0
    F = unit(F)[rng.permutation(m)].astype(precision)
    costs, groups = rng.integers(1, 9, m).astype(float), rng.integers(0, 3, m)
    budget = Budget(costs, 0.7 * costs.sum(), groups, np.array([m, m // 4, 70]))
    got = select(
        F,
        m,
        query=np.diag(np.eye(24)[0]),
        noise=1.0,
        rules=budget,
        max_cosine=max_cosine,
        pursuit=pursuit,
        device=device,
    )
    want, duplicates = one_by_one(F, budget.copy(), max_cosine)
    assert got.indices.tolist() == want
    assert (got.duplicates, got.stopped) == (duplicates, "exhausted")


def one_by_one(F, rules, max_cosine):
    """Rows that hold the query's direction first, zeros last, each closing those near to it."""
    F, duplicates, picks = F.astype(float), 0, []
    open_ = rules.pickable()
    for i in np.argsort(np.select([F[:, 0] != 0, F.any(axis=1)], [0, 1], 2), kind="stable"):
        if not open_[i]:
            continue
        picks.append(int(i))
        open_[i] = False
        open_[rules.take(i)] = False
        if max_cosine is not None:
            near = open_ & (unit(F) @ unit(F)[i] > max_cosine)
            duplicates += np.count_nonzero(near)
            open_[near] = False
    return picks, duplicates
