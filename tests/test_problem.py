"""The pursuits and the noise as a plan asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gip_cli.candidates import Reason
from gip_cli.embeddings import Embeddings
from gip_cli.errors import UsageError
from gip_cli.groups import Grouping, Shares
from gip_cli.measures import closest
from gip_cli.plan import Budget, Plan, Sources
from gip_cli.problem import Problem
from gip_cli.pursuit import effective_rank
from gip_cli.rows import BadRows, RowFile
from tests.selecting import in_memory, pose, row, unit, write_rows

D, M = 5, 40
Pool = tuple[RowFile, Embeddings]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    rng = np.random.default_rng(6)
    rows = [
        row(
            vector,
            int(rng.integers(0, 9)),
            gip={"signals": {"a": rng.uniform(0, 1), "b": rng.uniform(0, 1)}, "ranges": RANGES},
        )
        for vector in unit(rng.standard_normal((M, D)) + 0.3)
    ]
    path = write_rows(tmp_path / "pool", rows)
    with RowFile(path, BadRows(), reread=True) as file:
        yield file, in_memory(path, D)


RANGES = {"a": [0, 1], "b": [0, 1]}


def dense_residual(problem: Problem, k: int) -> list[int]:
    """Design 2.3, from the scores alone: c_j -= (f_jᵀ f_i + s2 [i = j]) c_i / (s2 + |f_i|²)."""
    F = problem.candidates.vectors.astype(np.float64)
    signals = problem.candidates.signals.values  # in [0, 1] as they are
    c = signals * np.sqrt([0.75, 0.25])
    G = F @ F.T
    picks: list[int] = []
    while len(picks) < k:
        gain = np.where(c.sum(axis=1) > 0, (c**2).sum(axis=1), -1)
        gain[picks] = -1
        if gain.max() <= 0:
            break
        i = int(np.argmax(gain / (problem.noise + np.diag(G))))
        c -= np.outer(G[i] + problem.noise * (np.arange(M) == i), c[i]) / (problem.noise + G[i, i])
        picks.append(i)
    return picks


def test_residual_pursues_the_signals_themselves(pool: Pool) -> None:
    plan = Plan(Budget(rows=M), Sources(("a=3", "b")), noise=0.8, pursuit="residual")
    problem = pose(*pool, plan)
    selection = problem.solve()
    assert selection.indices.tolist() == dense_residual(problem, M)
    assert selection.stopped == "exhausted"  # no row of a positive residual is left
    assert 3 < len(selection.indices) < M
    reasons = problem.reasons(selection, np.full(M, -1.0))
    assert set(reasons.tolist()) == {Reason.OPEN, Reason.NO_GAIN}


def test_residual_of_another_query_is_defined_and_knows_no_rows_given(
    pool: Pool, tmp_path: Path
) -> None:
    plan = Plan(Budget(rows=4), Sources(()), noise=0.8, pursuit="residual")
    assert len(pose(*pool, plan).solve().indices) == 4
    (tmp_path / "given").write_bytes((tmp_path / "pool").read_bytes().splitlines()[0])
    with pytest.raises(UsageError, match="given is not defined for pursuit='residual'"):
        pose(*pool, plan, given=[tmp_path / "given"]).solve()


def test_information_with_a_spanning_query_is_d_optimal(pool: Pool) -> None:
    """There the gain is log(1 + v / s2) (design 2.3): the query drops out."""
    plan = Plan(Budget(rows=12), Sources(()), noise=0.8, pursuit="information")
    problem = pose(*pool, plan)
    F = problem.candidates.vectors.astype(np.float64)
    picks: list[int] = []
    for _ in range(12):
        Sigma = np.linalg.inv(np.eye(D) + F[picks].T @ F[picks] / 0.8)
        v = np.einsum("ij,jk,ik->i", F, Sigma, F)
        v[picks] = -1
        picks.append(int(np.argmax(v)))
    assert problem.solve().indices.tolist() == picks


NEAR = 0.05  # to an axis: a cosine of 0.999


def settled(tmp_path: Path, plan: Plan) -> tuple[list[int], list[str], int, str]:
    """Of six rows by quality: picks, why the others are none, duplicates, and why it stopped."""
    axes = np.eye(D)
    rows = [
        row(vector, lang=lang, gip={"signals": {"a": good}, "ranges": {"a": [0, 1]}})
        for vector, lang, good in (
            (axes[0], "de", 1.0),
            (axes[0] + NEAR * axes[4], "fr", 0.5),
            (axes[1], "de", 0.4),
            (axes[2], "en", 0.8),
            (axes[3], "es", 0.6),
            (axes[2] + NEAR * axes[4], "de", 0.3),
        )
    ]
    path = write_rows(tmp_path / "six", rows)
    with RowFile(path, BadRows(), reread=True) as file:
        problem = pose(file, in_memory(path, D), plan)
        selection = problem.solve()
    vectors = problem.candidates.vectors
    cosine = closest(vectors, vectors[selection.indices])[1]
    words = [Reason(code).words for code in problem.reasons(selection, cosine)]
    stopped, duplicates = problem.ended(selection)
    return selection.indices.tolist(), words, duplicates, stopped


def test_tokens_are_spent_where_a_row_is_too_long_though_others_are_closed_and_would_fit(
    tmp_path: Path,
) -> None:
    short, long = np.eye(D)[:2]
    rows = [row(short, lang="de"), row(short, lang="de"), row(long, 50, lang="en")]
    path = write_rows(tmp_path / "three", rows)
    for limit in (
        {"dedup_threshold": 0.9},
        {"grouping": Grouping("lang", at_most=1)},
    ):
        for tokens, stopped in ((2 * D, "budget"), (200, "exhausted")):
            plan = Plan(Budget(tokens=tokens), noise=0.1, **limit)
            with RowFile(path, BadRows(), reread=True) as file:
                problem = pose(file, in_memory(path, D), plan)
                assert problem.ended(problem.solve())[0] == stopped, (limit, tokens)


def test_every_row_that_is_not_picked_has_the_first_reason_that_holds(tmp_path: Path) -> None:
    plan = Plan(
        Budget(rows=2), noise=0.1, grouping=Grouping("lang", at_most=1), dedup_threshold=0.9
    )
    assert settled(tmp_path, plan) == (
        [0, 3],
        ["open", "duplicate", "group full", "open", "budget", "duplicate"],
        2,
        "budget",
    )
    assert settled(tmp_path, replace(plan, budget=Budget(rows=6))) == (
        [0, 3, 4],
        ["open", "duplicate", "group full", "open", "open", "duplicate"],
        2,
        "exhausted",
    )
    everything = settled(tmp_path, Plan(Budget(rows=7), noise=0.1))
    assert (sorted(everything[0]), everything[3]) == ([0, 1, 2, 3, 4, 5], "exhausted")
    assert settled(tmp_path, Plan(Budget(rows=6), noise=0.1))[3] == "budget"
    assert settled(tmp_path, replace(plan, grouping=None)) == (
        [0, 3],
        ["open", "duplicate", "budget", "open", "budget", "duplicate"],
        2,
        "budget",
    )
    assert settled(tmp_path, replace(plan, dedup_threshold=None, budget=Budget(rows=3))) == (
        [0, 3, 4],
        ["open", "budget", "group full", "open", "open", "group full"],
        0,
        "budget",
    )


def test_a_selection_that_falls_short_of_its_budget_is_exhausted(tmp_path: Path) -> None:
    """Whatever the budget counts; --per-group asks for no more than there is in each group."""
    two = Grouping("lang", at_most=1)
    for budget in (Budget(captured=0.999), Budget(tokens=100), Budget(rows=6)):
        for grouping in (None, two):
            *_, stopped = settled(tmp_path, Plan(budget, noise=0.1, grouping=grouping))
            reached = budget.rows and not grouping
            assert stopped == ("budget" if reached else "exhausted"), (budget, grouping)
    alone = Plan(Budget(), noise=0.1, grouping=Grouping("lang", per_group=1))
    assert settled(tmp_path, alone)[3] == "budget"


def test_shares_are_of_the_budget_also_where_it_is_more_than_there_are_rows(
    tmp_path: Path,
) -> None:
    equal = Grouping("lang", shares=Shares("equal", {}))
    picks, *_, stopped = settled(tmp_path, Plan(Budget(rows=12), noise=0.1, grouping=equal))
    assert (sorted(picks), stopped) == ([0, 1, 2, 3, 4, 5], "exhausted")  # de could give 3 of 12


def test_what_a_token_budget_has_no_room_for_is_the_budgets(tmp_path: Path) -> None:
    plan = Plan(Budget(tokens=3 * D - 1), noise=0.1, dedup_threshold=0.9)  # a row has D tokens
    assert settled(tmp_path, plan) == (
        [0, 3],
        ["open", "duplicate", "budget", "open", "budget", "duplicate"],
        2,
        "budget",
    )
    shares = Grouping("lang", shares=Shares("file", {"en": 1, "es": 1}))
    plan = Plan(Budget(tokens=3 * D), noise=0.1, grouping=shares)
    picks, words, _, stopped = settled(tmp_path, plan)
    assert (picks, stopped) == ([3, 4], "budget")
    assert set(words) == {"open", "group full"}


def test_the_default_noise_is_made_for_the_picks_to_be_expected(pool: Pool, tmp_path: Path) -> None:
    def noise(budget: Budget, **beside: list[Path]) -> float:
        return pose(*pool, Plan(budget), **beside).noise

    rows = pose(*pool, Plan(Budget(rows=1))).candidates
    one = 0.5 * np.mean(rows.weights**2) / effective_rank(rows.query.covariance)
    assert noise(Budget(rows=7)) == pytest.approx(7 * one)
    assert noise(Budget(rows=999)) == pytest.approx(M * one)
    assert noise(Budget(fraction=0.25)) == pytest.approx(10 * one)
    expected = round(100 / rows.tokens.mean())
    assert noise(Budget(tokens=100)) == pytest.approx(expected * one)
    assert noise(Budget(captured=0.5)) == pytest.approx(0.5 * np.mean(rows.weights**2))
    lines = (tmp_path / "pool").read_bytes().splitlines(keepends=True)
    (tmp_path / "given").write_bytes(b"".join(lines[:5]))
    assert noise(Budget(rows=7), given=[tmp_path / "given"]) == pytest.approx(12 * one)
    assert pose(*pool, Plan(Budget(rows=7), noise=0.3)).noise == 0.3


def test_the_default_noise_follows_weights_however_small(tmp_path: Path) -> None:
    bad = {"signals": {"a": 0}, "ranges": {"a": [0, 1]}}
    sources = Sources(self_weight=1, signal_weight=0, quality_power=5)  # weights of 0.05^5
    path = write_rows(tmp_path / "pool", [row(v, gip=bad) for v in np.eye(D)])
    with RowFile(path, BadRows(), reread=True) as file:
        store = in_memory(path, D)
        for budget in (Budget(rows=3), Budget(captured=0.5)):
            problem = pose(file, store, Plan(budget, sources))
            assert problem.noise == problem.solve().noise


def test_a_device_that_is_not_there_is_told_before_any_work() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(UsageError, match=r"^--device cuda: torch finds no CUDA GPU; use cpu$"):
        Plan(Budget(rows=3), device="cuda")
