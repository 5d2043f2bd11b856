"""Constraints alone and in pairs: the solver's picks against a dense greedy that counts anew."""

from __future__ import annotations

import itertools
import math
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gip_cli.constraints import All, Caps
from gip_cli.groups import Grouping, Shares
from gip_cli.plan import Budget, Plan
from gip_cli.problem import Problem
from gip_cli.pursuit import Selection
from gip_cli.rows import BadRows, RowFile
from tests.pools import unit
from tests.selecting import in_memory, pose, row, write_rows

D = 5
GROUPS = ("de", "en", "fr")


def test_caps_close_what_no_longer_fits() -> None:
    costs = np.array([5, 2, 9, 4, 7])
    caps = Caps(np.array([10]), np.zeros(5, dtype=np.int64), costs)
    assert caps.pickable().tolist() == [True] * 5
    assert sorted(caps.take(1)) == [2]  # 8 left
    before = caps.copy()
    assert sorted(caps.take(0)) == [0, 3, 4]  # 3 left
    assert sorted(before.take(4)) == [0, 1, 3, 4]  # 1 left, and the other copy is untouched
    assert caps.pickable().tolist() == [False, True, False, False, False]  # still 3 left


def test_caps_of_groups_close_only_the_group() -> None:
    caps = Caps(np.array([1, 2]), np.array([0, 1, 0, 1, 1]), np.ones(5, dtype=np.int64))
    assert sorted(caps.take(0)) == [0, 2]
    assert caps.take(3).tolist() == []
    assert sorted(caps.take(4)) == [1, 3, 4]


def test_a_cap_of_nothing_closes_its_group_from_the_start() -> None:
    caps = Caps(np.array([0, 1]), np.array([0, 1, 0]), np.ones(3, dtype=np.int64))
    assert caps.pickable().tolist() == [False, True, False]


@given(st.data())
def test_caps_are_what_counting_anew_says(data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 12))
    costs = np.array(data.draw(st.lists(st.integers(0, 6), min_size=m, max_size=m)))
    groups = np.array(data.draw(st.lists(st.integers(0, 2), min_size=m, max_size=m)))
    limits = np.array(data.draw(st.lists(st.integers(0, 12), min_size=3, max_size=3)))
    both = All([Caps(limits, groups, costs), Caps(np.array([14]), 0 * groups, costs)])
    allowed = both.pickable()
    picks: list[int] = []
    while allowed.any():
        pick = int(data.draw(st.sampled_from(np.flatnonzero(allowed).tolist())))
        picks.append(pick)
        allowed[pick] = False
        closed = both.copy().take(pick)
        assert np.array_equal(np.sort(closed), np.sort(both.take(pick)))
        allowed[closed] = False
        left = limits - np.bincount(groups[picks], weights=costs[picks], minlength=3)
        fits = (costs <= left[groups]) & (costs <= 14 - costs[picks].sum())
        fits[picks] = False
        assert np.array_equal(allowed, fits)
    after = Caps(limits, groups, costs).after(np.array(picks, dtype=np.int64))
    left = limits - np.bincount(groups[picks], weights=costs[picks], minlength=3)
    assert np.array_equal(after.pickable(), costs <= left[groups])


@dataclass(frozen=True)
class Case:
    """A pool, what lies beside it, and what is asked of it."""

    rows: list[dict[str, Any]]
    given: list[dict[str, Any]] = field(default_factory=list)
    exclude: list[dict[str, Any]] = field(default_factory=list)
    budget: Budget | None = None
    grouping: Grouping | None = None
    dedup: float | None = None
    noise: float = 1.0

    def solved(self, **changes: Any) -> tuple[Problem, Selection]:
        """Pose and solve the case as it stands, or with another plan."""
        with tempfile.TemporaryDirectory() as folder:
            everything = write_rows(Path(folder) / "all", self.rows + self.given + self.exclude)
            store = in_memory(everything, D)
            beside = {
                part: [write_rows(Path(folder) / part, rows)]
                for part, rows in (("given", self.given), ("exclude", self.exclude))
                if rows
            }
            plan = Plan(
                self.budget or Budget(rows=len(self.rows)),
                noise=self.noise,
                grouping=self.grouping,
                dedup_threshold=self.dedup,
                exclude_threshold=0.8,
            )
            pool = write_rows(Path(folder) / "pool", self.rows)
            with RowFile(pool, BadRows(), reread=True) as file:
                problem = pose(file, store, replace(plan, **changes), **beside)
                return problem, problem.solve()


def draw_pool(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Some 24 rows, every third close to the one before, in groups, with tokens and signals."""
    m = int(rng.integers(18, 30))
    vectors = unit(rng.standard_normal((m, D)) + 0.3)
    vectors[1::3] = unit(vectors[0::3][: len(vectors[1::3])] + 0.05 * vectors[1::3])
    return [
        row(
            vector,
            int(rng.integers(0, 9)),
            lang=GROUPS[int(rng.choice(3, p=[0.6, 0.3, 0.1]))],
            gip={
                "signals": {"good": float(g) if (g := rng.uniform(1, 5)) > 1.3 else None},
                "ranges": {"good": [1, 5]},
            },
        )
        for vector in vectors
    ]


# Budgets in tokens are large enough for a third of one to hold any row.
# Each adds one constraint to a case; a key is what it constrains, and no pair takes one key twice.
CONSTRAINTS: dict[str, tuple[str, Any]] = {
    "num": (
        "budget",
        lambda rng, case: replace(case, budget=Budget(rows=int(rng.integers(1, 20)))),
    ),
    "fraction": (
        "budget",
        lambda rng, case: replace(case, budget=Budget(fraction=rng.uniform(0.1, 1))),
    ),
    "tokens": (
        "budget",
        lambda rng, case: replace(case, budget=Budget(tokens=int(rng.integers(60, 200)))),
    ),
    "price": (
        "budget",
        lambda rng, case: replace(
            case, budget=Budget(tokens=int(rng.integers(60, 200)), length_power=rng.uniform(0.2, 2))
        ),
    ),
    "captured": (
        "budget",
        lambda rng, case: replace(case, budget=Budget(captured=rng.uniform(0.1, 0.9))),
    ),
    "per group": (
        "group",
        lambda rng, case: replace(
            case, grouping=Grouping("lang", per_group=int(rng.integers(1, 6)))
        ),
    ),
    "at most": (
        "group",
        lambda rng, case: replace(case, grouping=Grouping("lang", at_most=int(rng.integers(1, 6)))),
    ),
    "proportional": (
        "group",
        lambda rng, case: replace(
            case, grouping=Grouping("lang", shares=Shares("proportional", {}))
        ),
    ),
    "equal": (
        "group",
        lambda rng, case: replace(case, grouping=Grouping("lang", shares=Shares("equal", {}))),
    ),
    "shares": (
        "group",
        lambda rng, case: replace(
            case,
            grouping=Grouping(
                "lang", shares=Shares("file", {"de": 1, "en": rng.uniform(0, 3), "es": 1})
            ),
        ),
    ),
    "given": (
        "given",
        lambda rng, case: replace(
            case, given=[dict(case.rows[i]) for i in rng.choice(12, 3, replace=False)]
        ),
    ),
    "dedup": ("dedup", lambda rng, case: replace(case, dedup=rng.uniform(0.5, 0.99))),
    "exclude": (
        "exclude",
        lambda rng, case: replace(
            case, exclude=[dict(case.rows[i]) for i in rng.choice(12, 2, replace=False)]
        ),
    ),
}
PAIRS = [
    pair
    for pair in itertools.combinations(CONSTRAINTS, 2)
    if CONSTRAINTS[pair[0]][0] != CONSTRAINTS[pair[1]][0]
    and not ("captured" in pair and {"proportional", "equal", "shares"} & set(pair))
]


def draw_case(seed: int, names: tuple[str, ...]) -> Case:
    rng = np.random.default_rng(seed)
    case = Case(draw_pool(rng), noise=float(rng.uniform(0.1, 3)))
    for name in names:
        case = CONSTRAINTS[name][1](rng, case)
    return case


def dense(problem: Problem) -> list[int]:
    """The greedy picks, every matrix inverted and every constraint counted anew at each pick."""
    rows, plan, limits = problem.candidates, problem.plan, problem.limits
    F = rows.vectors.astype(np.float64)
    X = np.nan_to_num(rows.query.weights)[:, None] * F
    K = rows.query.covariance / np.trace(rows.query.covariance)
    before = rows.given.atoms if rows.given else np.empty((0, D))
    beside = rows.given.vectors if rows.given else np.empty((0, D))
    most = plan.budget.rows or len(F)
    if plan.budget.fraction:
        most = max(1, math.floor(plan.budget.fraction * len(F) + 0.5))
    picks: list[int] = []
    while len(picks) < most:
        atoms = np.concatenate([before, X[picks]])
        Sigma = np.linalg.inv(np.eye(D) + atoms.T @ atoms / problem.noise)
        if plan.budget.captured and 1 - np.trace(K @ Sigma) >= plan.budget.captured:
            break
        Z = X @ Sigma
        gain = np.einsum("ij,ij->i", Z @ K, Z) / (problem.noise + np.einsum("ij,ij->i", Z, X))
        gain /= np.maximum(rows.tokens, 1) ** plan.budget.length_power
        allowed = rows.open
        allowed[picks] = False
        if plan.budget.tokens:
            allowed &= rows.tokens + rows.tokens[picks].sum() <= plan.budget.tokens
        if limits.quotas:
            spent = limits.quotas.spent(np.array(picks, dtype=np.int64))
            group = limits.quotas.groups.codes
            allowed &= (spent[group] + limits.quotas.costs) <= limits.quotas.limits[group]
        if plan.dedup_threshold:
            near = plan.dedup_threshold < F @ np.concatenate([F[picks], beside]).T
            allowed &= ~near.any(axis=1)
        if not allowed.any():
            break
        picks.append(int(np.argmax(np.where(allowed, gain, -1))))
    return picks


def check_constraints(problem: Problem, selection: Selection, case: Case) -> None:
    """What no selection may break, whatever was picked."""
    rows, plan, picks = problem.candidates, problem.plan, selection.indices
    assert len(set(picks.tolist())) == len(picks)
    texts = {case.rows[i]["text"] for i in picks}
    assert not texts & {one["text"] for one in case.given + case.exclude}
    assert all(case.rows[i]["gip"]["signals"]["good"] is not None for i in picks)
    if plan.budget.rows:
        assert len(picks) <= plan.budget.rows
    if plan.budget.tokens:
        assert sum(len(text.split()) for text in texts) <= plan.budget.tokens
    if plan.budget.captured and selection.stopped == "captured":
        reached = [selection.captured_given, *selection.captured]  # given rows alone may do
        assert reached[-1] >= plan.budget.captured
        assert len(reached) == 1 or reached[-2] < plan.budget.captured
    if quotas := problem.limits.quotas:
        spent = quotas.spent(picks)
        assert np.all(spent <= quotas.limits)
        free = plan.dedup_threshold is None and not plan.budget.tokens and not plan.budget.captured
        if free and np.minimum(quotas.limits, quotas.available).sum() <= problem.limits.most:
            assert np.array_equal(spent, np.minimum(quotas.limits, quotas.available))
    F = rows.vectors.astype(np.float64)
    if plan.dedup_threshold:
        cosines = F[picks] @ F[picks].T - 2 * np.eye(len(picks))
        assert cosines.max(initial=-1) <= plan.dedup_threshold + 1e-6


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6))
def test_a_pair_of_constraints_holds_and_the_picks_are_the_greedy_ones(
    pair: tuple[str, str], seed: int
) -> None:
    case = draw_case(seed, pair)
    problem, selection = case.solved()
    check_constraints(problem, selection, case)
    assert selection.indices.tolist() == dense(problem)
    again = case.solved()[1]
    assert np.array_equal(again.indices, selection.indices)
    assert np.array_equal(again.gains, selection.gains)


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_rows_in_another_order_are_picked_in_the_same(pair: tuple[str, str], seed: int) -> None:
    case = draw_case(seed, pair)
    order = np.random.default_rng(seed).permutation(len(case.rows))
    picks = case.solved()[1].indices
    shuffled = replace(case, rows=[case.rows[i] for i in order])
    assert np.array_equal(order[shuffled.solved()[1].indices], picks)


# Not a prefix, and not tested as one: a budget in tokens (a smaller one has room for other rows)
# and shares of a budget (their quotas change with it).
PREFIX = {"per group", "at most", "given", "dedup", "exclude"}


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if set(pair) <= PREFIX], ids=" and ".join)
@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), fewer=st.integers(1, 12))
def test_a_smaller_budget_is_a_prefix(pair: tuple[str, str], seed: int, fewer: int) -> None:
    case = draw_case(seed, pair)
    all_of_them = case.solved()[1].indices
    fewer_of_them = case.solved(budget=Budget(rows=fewer))[1].indices
    assert np.array_equal(fewer_of_them, all_of_them[:fewer])


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.9))
def test_a_smaller_share_of_the_energy_is_a_prefix(seed: int, share: float) -> None:
    case = draw_case(seed, ("dedup",))
    more = case.solved(budget=Budget(captured=0.95))[1].indices
    less = case.solved(budget=Budget(captured=share))[1].indices
    assert np.array_equal(less, more[: len(less)])


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), first=st.integers(1, 8), then=st.integers(1, 8))
def test_extending_a_selection_is_the_run_that_began_with_it(
    seed: int, first: int, then: int
) -> None:
    """Pick for pick, also where near-duplicates of what is given are closed."""
    case = draw_case(seed, ("dedup",))
    whole = case.solved(budget=Budget(rows=first + then))[1]
    assume(len(whole.indices) > first)
    given = [dict(case.rows[i]) for i in whole.indices[:first]]
    problem, rest = replace(case, given=given).solved(budget=Budget(rows=then))
    assert np.array_equal(rest.indices, whole.indices[first:])
    np.testing.assert_allclose(rest.captured, whole.captured[first:], atol=1e-9)
    assert problem.candidates.given is not None and problem.candidates.given.unscored == 0
