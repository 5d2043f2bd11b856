"""The query's covariance: sources of unit trace, mixed by their shares."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.plan import Sources
from gip_cli.pursuit import select
from gip_cli.pursuit.source import gram
from gip_cli.query import build_query
from tests.pools import unit

RNG = np.random.default_rng(1)
F = unit(RNG.standard_normal((40, 5))).astype(np.float32)
T = unit(RNG.standard_normal((7, 5))).astype(np.float32)
S = RNG.uniform(0, 1, (40, 2))


def normal(K: np.ndarray) -> np.ndarray:
    return K / np.trace(K)


def test_the_pool_itself_is_the_query_without_other_sources() -> None:
    query = build_query(F)
    np.testing.assert_allclose(query.covariance, normal(F.T @ F), atol=1e-7)
    assert query.sources == {"self": 1.0}
    assert query.weights.tolist() == [1.0] * 40


def test_signals_weigh_rows_by_their_squares_and_shares() -> None:
    query = build_query(F, Sources(quality_power=1), unit_signals=S, signal_shares=[3, 1])
    squares = (3 * S[:, 0] ** 2 + S[:, 1] ** 2) / 4
    np.testing.assert_allclose(query.covariance, normal(F.T @ (squares[:, None] * F)), atol=1e-7)
    np.testing.assert_allclose(query.weights, np.maximum(S @ [0.75, 0.25], 0.05))
    assert query.sources == {"signals": 1.0}


def test_a_source_counts_by_its_share_however_little_energy_it_has() -> None:
    shares = {"targets": T[:1], "signal_shares": [1, 1]}
    little = build_query(F, unit_signals=S * 1e-4, **shares).covariance
    np.testing.assert_allclose(little, build_query(F, unit_signals=S, **shares).covariance)


def test_weights_are_the_squares_of_means_unless_another_power_is_said() -> None:
    weights = build_query(F, unit_signals=S, signal_shares=[1, 1]).weights
    np.testing.assert_allclose(weights, np.maximum(S.mean(axis=1), 0.05) ** 2)


def test_a_missing_signal_adds_nothing_and_leaves_no_weight() -> None:
    holes = S.copy()
    holes[3, 1] = np.nan
    query = build_query(F, unit_signals=holes, signal_shares=[1, 1])
    assert np.flatnonzero(np.isnan(query.weights)).tolist() == [3]
    assert np.isfinite(query.covariance).all()


@pytest.mark.parametrize(
    ("mix", "options", "sources"),
    [
        ({}, {"targets": T}, {"self": 0.5, "targets": 0.5}),
        ({"self_weight": 0}, {"targets": T}, {"targets": 1}),
        ({"target_weight": 3}, {"targets": T}, {"self": 0.25, "targets": 0.75}),
        (
            {},
            {"targets": T, "unit_signals": S, "signal_shares": [1, 1]},
            {"signals": 0.5, "targets": 0.5},
        ),
        (
            {"self_weight": 1, "signal_weight": 4},
            {"unit_signals": S, "signal_shares": [1, 1]},
            {"self": 0.2, "signals": 0.8},
        ),
    ],
    ids=str,
)
def test_sources_are_mixed_by_their_shares(
    mix: dict, options: dict, sources: dict[str, float]
) -> None:
    query = build_query(F, Sources(**mix), **options)
    assert query.sources == sources
    parts = {
        "self": F.T @ F,
        "signals": F.T @ (np.mean(S**2, axis=1)[:, None] * F),
        "targets": T.T @ T,
    }
    mixed = sum(share * normal(parts[name]) for name, share in sources.items())
    np.testing.assert_allclose(query.covariance, mixed, atol=1e-7)


def test_a_query_without_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="no query source has a positive weight"):
        build_query(F, Sources(self_weight=0))
    with pytest.raises(ValueError, match="the targets of the query have no energy"):
        build_query(F, targets=np.zeros((2, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="the embeddings of the query have no energy"):
        build_query(np.zeros_like(F))


def test_gram_by_blocks_is_the_gram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gip_cli.pursuit.source.WIDENED", 7)
    w = RNG.uniform(0, 1, 40)
    np.testing.assert_allclose(gram(F), F.T @ F, atol=1e-5)
    np.testing.assert_allclose(gram(F.astype(np.float16), w), F.T @ (w[:, None] * F), atol=2e-3)
    assert np.array_equal(gram(F, w), gram(F, w).T)


@pytest.mark.parametrize("rank", [1, 2, 20])
def test_a_query_of_rows_that_are_alike_has_no_negative_energy(rank: int) -> None:
    """Seen with 10,000 rows of few directions: -7e-7 of the trace, which the solver refuses."""
    alike = unit(RNG.standard_normal((10_000, rank)) @ RNG.standard_normal((rank, 64)))
    query = build_query(alike.astype(np.float32))
    assert np.linalg.eigvalsh(query.covariance)[0] > -1e-12
    assert np.trace(query.covariance) == pytest.approx(1)
    np.testing.assert_allclose(query.covariance, normal(alike.T @ alike), atol=1e-6)
    assert len(select(alike, 5, query=query.covariance).indices) == 5


@pytest.mark.parametrize("source", ["targets", "signals"])
def test_a_query_of_few_rows_has_no_more_directions_than_they_have(source: str) -> None:
    """`information` goes by directions: float32's rounding had made 197 of 15."""
    rows = unit(RNG.standard_normal((200, 64))).astype(np.float32)
    signals = np.zeros((200, 1))
    signals[:15] = RNG.uniform(0.1, 1, (15, 1))
    query = (
        build_query(rows, Sources(self_weight=0), targets=rows[:15])
        if source == "targets"
        else build_query(rows, unit_signals=signals, signal_shares=[1])
    )
    assert np.linalg.matrix_rank(query.covariance, hermitian=True) == 15
    told = select(rows, 20, query=query.covariance, pursuit="information", noise=1.0)
    exact = rows[:15].astype(float)
    wanted = exact.T @ exact if source == "targets" else exact.T @ (signals[:15] ** 2 * exact)
    want = select(rows, 20, query=wanted, pursuit="information", noise=1.0)
    np.testing.assert_array_equal(told.indices, want.indices)
