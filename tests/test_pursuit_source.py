"""Rows widened block by block: bit for bit what numpy makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gip_cli.pursuit import select
from gip_cli.pursuit.source import Source, copy
from gip_cli.pursuit.team import Team

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE = HALVES[np.isfinite(HALVES)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("halves", [HALVES, FINITE, FINITE[:0]], ids=["all", "finite", "none"])
def test_every_half_is_copied_bit_for_bit(halves, dtype):
    out = np.empty(len(halves), dtype)
    copy(halves, out)
    assert out.tobytes() == halves.astype(dtype).tobytes()


@pytest.mark.parametrize("one", [np.inf, -np.inf, np.nan, -np.nan])
def test_what_is_not_finite_stays_so(one):
    out = np.empty(3, np.float32)
    copy(np.array([1, one, -2], np.float16), out)
    np.testing.assert_array_equal(out, [1, one, -2])
    F = np.eye(40, dtype=np.float16)
    F[30, 20] = one
    with pytest.raises(ValueError, match="embeddings must be finite: row 30 is not"):
        select(F, 3)
    with pytest.raises(ValueError, match="embeddings must be finite: row 30 is not"):
        select(F, 3, query=np.eye(40))


@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_and_chosen_rows_lie_beside_scores(order):
    rng = np.random.default_rng(0)
    F = np.asarray(rng.standard_normal((50, 7)).astype(np.float16), order=order)
    scores = rng.standard_normal((50, 2))
    source = Source(F, scores)
    whole = np.hstack([F.astype(np.float32), scores.astype(np.float32)])
    np.testing.assert_array_equal(
        source.block(slice(5, 40), np.empty((64, 9), np.float32)), whole[5:40]
    )
    np.testing.assert_array_equal(source.take(np.array([3, 1, 49]), np.float32), whole[[3, 1, 49]])


@pytest.mark.parametrize("rows", [1, 2, 299, 300])
def test_the_gram_matrix_is_the_same_bit_by_bit_for_any_team(rows, monkeypatch):
    monkeypatch.setattr("gip_cli.pursuit.source.WIDENED", 10)
    rng = np.random.default_rng(1)
    F, w = rng.standard_normal((rows, 24)).astype(np.float32), rng.uniform(0, 1, rows)
    for weights in (None, w):
        found = []
        for workers in (1, 2, 7):
            with threadpool_limits(workers, user_api="blas"), Team() as team:
                found.append(Source(F).gram(team, weights))
        assert all(np.array_equal(one, found[0]) for one in (*found, found[0].T))
        scaled = F if weights is None else F * np.sqrt(w)[:, None]
        np.testing.assert_allclose(found[0], scaled.T.astype(np.float64) @ scaled, rtol=1e-9)
