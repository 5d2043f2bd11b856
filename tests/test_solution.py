"""Why rows are not picked, and why the picks ended where they did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gip_cli.candidates import Reason
from gip_cli.groups import Grouping, Shares
from gip_cli.plan import Budget, Plan, Sources
from gip_cli.solution import Solution
from tests.selecting import problem_of, row, write_rows

D = 5
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
    problem = problem_of(path, D, plan)
    solution = Solution(problem, problem.solve())
    words = [Reason(code).words for code in solution.reasons]
    picks = solution.selection.indices.tolist()
    return picks, words, solution.duplicates, solution.stopped


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
            problem = problem_of(path, D, plan)
            assert Solution(problem, problem.solve()).stopped == stopped, (limit, tokens)


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


def test_what_is_left_of_picks_that_captured_enough_is_the_budgets(tmp_path: Path) -> None:
    picks, words, _, stopped = settled(tmp_path, Plan(Budget(captured=0.2), noise=0.1))
    assert (picks[0], stopped) == (0, "captured")
    assert words.count("open") + words.count("budget") == 6


def test_a_near_duplicate_is_closer_than_the_threshold(tmp_path: Path) -> None:
    rows = [row(vector) for vector in ([1, 0, 0, 0], [0.5] * 4, [0, 0.6, 0, 0.8])]
    path = write_rows(tmp_path / "three", rows)
    first = write_rows(tmp_path / "first", rows[:1])
    for threshold, reason in ((0.5, Reason.BUDGET), (0.49, Reason.DUPLICATE)):
        sources = Sources(self_weight=0.0)  # the target alone: its own row is the pick
        plan = Plan(Budget(rows=1), sources, noise=0.1, dedup_threshold=threshold)
        problem = problem_of(path, 4, plan, targets=[first])
        solution = Solution(problem, problem.solve())
        assert solution.reasons.tolist() == [Reason.OPEN, reason, Reason.BUDGET]


def test_near_duplicates_are_those_that_the_solver_closed_however_near(tmp_path: Path) -> None:
    angles = np.random.default_rng(0).uniform(0, 5e-3, 300)
    path = write_rows(tmp_path / "fan", [row([1, angle]) for angle in angles])
    problem = problem_of(path, 2, Plan(Budget(rows=300), noise=0.1, dedup_threshold=0.9999999))
    solution = Solution(problem, problem.solve())
    told = np.count_nonzero(solution.reasons == Reason.DUPLICATE)
    assert 0 < told == solution.duplicates == 300 - len(solution.selection.indices)


def test_an_interruption_is_one_though_the_tokens_are_spent(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "two", [row(np.eye(D)[0]), row(np.eye(D)[1], 50)])
    problem = problem_of(path, D, Plan(Budget(tokens=D), noise=0.1))
    made = problem.solve()
    assert Solution(problem, made).stopped == "budget"
    assert Solution(problem, replace(made, stopped="interrupted")).stopped == "interrupted"


def test_tokens_are_not_spent_where_a_row_that_fits_gains_nothing(tmp_path: Path) -> None:
    near = np.eye(D)[0] + NEAR * np.eye(D)[4]
    rows = [
        row(vector, words, gip={"signals": {"a": good}, "ranges": {"a": [0, 1]}})
        for vector, words, good in ((np.eye(D)[0], 0, 1.0), (near, 0, 0.1), (np.eye(D)[1], 50, 0.5))
    ]
    path = write_rows(tmp_path / "three", rows)
    sources = Sources(("a",), self_weight=0.0)
    plan = Plan(Budget(tokens=3 * D), sources, noise=0.1, pursuit="residual")
    problem = problem_of(path, D, plan)
    solution = Solution(problem, problem.solve())
    assert solution.reasons.tolist() == [Reason.OPEN, Reason.NO_GAIN, Reason.BUDGET]
    assert solution.stopped == "exhausted"
