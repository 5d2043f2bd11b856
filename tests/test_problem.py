"""The pursuits and the noise as a plan asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.arrays import Array
from gip_cli.candidates import Reason
from gip_cli.errors import UsageError
from gip_cli.groups import Grouping, Shares
from gip_cli.plan import Budget, Plan, Pursuit, Sources
from gip_cli.problem import Problem
from gip_cli.solution import Solution
from tests.selecting import problem_of, random_rows, row, write_rows

D, M = 5, 40


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "pool", random_rows(M, D))


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


@pytest.mark.parametrize(("power", "first"), [(0, 1), (1, 1), (3, 0)])
def test_a_row_of_twice_the_tokens_costs_two_to_the_length_power(
    power: float, first: int, tmp_path: Path
) -> None:
    """The second row, of two tokens, gains between two and eight times as much as the first."""
    rows = [
        row(np.eye(D)[at], n=at + 1, gip={"signals": {"a": good}, "ranges": {"a": [0, 1]}})
        for at, good in enumerate((0.7, 1.0))
    ]
    budget = Budget(tokens=3, token_field="n", length_power=power)
    plan = Plan(budget, noise=1.0)
    selection = problem_of(write_rows(tmp_path / "pool", rows), D, plan).solve()
    assert selection.indices.tolist() == [first, 1 - first]


def test_residual_pursues_the_signals_themselves(pool: Path) -> None:
    plan = Plan(Budget(rows=M), Sources(("a=3", "b")), noise=0.8, pursuit="residual")
    problem = problem_of(pool, D, plan)
    selection = problem.solve()
    assert selection.indices.tolist() == dense_residual(problem, M)
    assert selection.stopped == "exhausted"  # no row of a positive residual is left
    assert 3 < len(selection.indices) < M
    assert set(Solution(problem, selection).reasons.tolist()) == {Reason.OPEN, Reason.NO_GAIN}


def test_residual_of_another_query_is_defined_and_knows_no_rows_given(
    pool: Path, tmp_path: Path
) -> None:
    plan = Plan(Budget(rows=4), Sources(()), noise=0.8, pursuit="residual")
    assert len(problem_of(pool, D, plan).solve().indices) == 4
    (tmp_path / "given").write_bytes(pool.read_bytes().splitlines()[0])
    with pytest.raises(UsageError, match="given is not defined for pursuit='residual'"):
        problem_of(pool, D, plan, given=[tmp_path / "given"]).solve()


def test_information_with_a_spanning_query_is_d_optimal(pool: Path) -> None:
    """There the gain is log(1 + v / s2) (design 2.3): the query drops out."""
    plan = Plan(Budget(rows=12), Sources(()), noise=0.8, pursuit="information")
    problem = problem_of(pool, D, plan)
    F = problem.candidates.vectors.astype(np.float64)
    picks: list[int] = []
    for _ in range(12):
        Sigma = np.linalg.inv(np.eye(D) + F[picks].T @ F[picks] / 0.8)
        v = np.einsum("ij,jk,ik->i", F, Sigma, F)
        v[picks] = -1
        picks.append(int(np.argmax(v)))
    assert problem.solve().indices.tolist() == picks


def test_a_device_that_is_not_there_is_told_before_any_work() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(UsageError, match=r"^--device cuda: torch finds no CUDA GPU; use cpu$"):
        Plan(Budget(rows=3), device="cuda")


class Untrimmed(Problem):
    """All copies of a row are left to the solver."""

    def _weights(self) -> Array:
        return self.candidates.weights


@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
@pytest.mark.parametrize(
    ("budget", "grouping"),
    [
        (Budget(rows=7), None),
        (Budget(rows=9), Grouping("group", shares=Shares("equal", {}))),
        (Budget(), Grouping("group", per_group=4)),
        (Budget(tokens=40), None),
        (Budget(tokens=40, length_power=0.5), Grouping("group", shares=Shares("equal", {}))),
        (Budget(fraction=0.02), None),
    ],
)
def test_copies_that_have_no_turn_are_kept_from_the_solver_and_change_nothing(
    budget: Budget, grouping: Grouping | None, pursuit: Pursuit, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    rows = [
        row(
            np.eye(D)[rng.choice(3, p=[0.7, 0.2, 0.1])] + 0.1,
            int(rng.integers(0, 2)),
            group="ab"[int(rng.integers(0, 2))],
            gip={"signals": {"a": float(rng.choice([0.5, 1]))}, "ranges": {"a": [0, 1]}},
        )
        for _ in range(300)
    ]
    path = write_rows(tmp_path / "pool", rows)
    plan = Plan(budget, Sources(("a",), self_weight=1), pursuit=pursuit, grouping=grouping)
    problem = problem_of(path, D, plan)
    kept, trimmed = Untrimmed(**vars(problem)).solve(), problem.solve()
    assert trimmed.indices.tolist() == kept.indices.tolist()
    assert trimmed.stopped == kept.stopped
    np.testing.assert_allclose(trimmed.gains, kept.gains, rtol=1e-12)
    assert np.count_nonzero(~np.isnan(problem._weights())) < 250


@pytest.mark.parametrize(
    ("rows", "plan", "picks"),
    [
        ([{}] * 9, Plan(Budget(rows=3)), [0, 1, 2]),
        ([{"good": 0.2}] * 9 + [{"good": 1.0}], Plan(Budget(rows=3)), [9, 0, 1]),
        (
            [{"good": 0.2}] * 9 + [{"good": 1.0}],
            Plan(Budget(rows=2), Sources(self_weight=0.0), noise=9.0, pursuit="residual"),
            [9, 0],
        ),
        (
            [{"n": 50}] * 9 + [{"n": 1}] * 3,
            Plan(Budget(tokens=54, token_field="n", length_power=1.0)),
            [9, 10, 11, 0],
        ),
        (
            [{"lang": "de"}] * 9 + [{"lang": "en"}] * 3,
            Plan(Budget(rows=4), grouping=Grouping("lang", at_most=2)),
            [0, 1, 9, 10],
        ),
    ],
    ids=["nothing", "better", "better by scores", "shorter", "of another group"],
)
def test_copies_of_a_text_that_differ_in_anything_else_have_their_turn(
    rows: list[dict[str, Any]], plan: Plan, picks: list[int], tmp_path: Path
) -> None:
    one = {"good": 0.5, "n": 1, "lang": "de"}
    path = write_rows(
        tmp_path / "pool",
        [
            row(np.ones(D), **it, gip={"signals": {"good": it["good"]}, "ranges": {"good": [0, 1]}})
            for it in ({**one, **other} for other in rows)
        ],
    )
    assert problem_of(path, D, plan).solve().indices.tolist() == picks


def test_copies_are_near_duplicates_of_their_pick_all_of_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "pool", [row(np.eye(D)[n // 9]) for n in range(10)])
    selection = problem_of(path, D, Plan(Budget(rows=3), dedup_threshold=0.9)).solve()
    assert (selection.indices.tolist(), selection.duplicates) == ([0, 9], 8)


def test_rows_without_tokens_cost_as_much_as_those_of_one_where_gains_are_per_token(
    tmp_path: Path,
) -> None:
    path = write_rows(tmp_path / "pool", [row(v, n=n) for n, v in enumerate(np.eye(D)[:3])])
    plan = Plan(Budget(tokens=3, token_field="n", length_power=1.0))
    assert problem_of(path, D, plan).solve().indices.tolist() == [0, 1, 2]  # prices 1, 1 and 2
