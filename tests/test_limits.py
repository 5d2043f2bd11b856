"""Budgets and quotas as limits on the rows that there are, and the noise made for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gip_cli.candidates import Reason
from gip_cli.errors import UsageError
from gip_cli.groups import Grouping, Shares
from gip_cli.limits import Limits
from gip_cli.plan import Budget, Plan, Sources
from gip_cli.pursuit import effective_rank
from gip_cli.rows import BadRows, RowFile
from tests.selecting import in_memory, pose, problem_of, random_rows, row, write_rows

D, M = 5, 40


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "pool", random_rows(M, D))


def test_the_default_noise_is_made_for_the_picks_to_be_expected(pool: Path, tmp_path: Path) -> None:
    def noise(budget: Budget, **beside: list[Path]) -> float:
        return problem_of(pool, D, Plan(budget), **beside).noise

    rows = problem_of(pool, D, Plan(Budget(rows=1))).candidates
    one = 0.5 * np.mean(rows.weights**2) / effective_rank(rows.query.covariance)
    assert noise(Budget(rows=7)) == pytest.approx(7 * one)
    assert noise(Budget(rows=999)) == pytest.approx(M * one)
    assert noise(Budget(fraction=0.25)) == pytest.approx(10 * one)
    expected = round(100 / rows.tokens.mean())
    assert noise(Budget(tokens=100)) == pytest.approx(expected * one)
    assert noise(Budget(captured=0.5)) == pytest.approx(0.5 * np.mean(rows.weights**2))
    lines = pool.read_bytes().splitlines(keepends=True)
    (tmp_path / "given").write_bytes(b"".join(lines[:5]))
    assert noise(Budget(rows=7), given=[tmp_path / "given"]) == pytest.approx(12 * one)
    assert problem_of(pool, D, Plan(Budget(rows=7), noise=0.3)).noise == 0.3


def test_rows_that_are_excluded_do_not_count_in_the_default_noise(
    pool: Path, tmp_path: Path
) -> None:
    """Those that are closed because of rows given do: they would have been picked."""
    lines = pool.read_bytes().splitlines(keepends=True)
    aside = tmp_path / "aside"
    aside.write_bytes(b"".join(lines[:5]))
    for budget in (Budget(rows=7), Budget(tokens=60)):
        problem = problem_of(pool, D, Plan(budget), exclude=[aside])
        rows = problem.candidates
        assert 5 <= np.count_nonzero(~rows.open) < M
        count = 7 if budget.rows else round(60 / rows.tokens[rows.open].mean())
        w = rows.query.weights
        one = 0.5 * np.mean(w[rows.open] ** 2) / effective_rank(rows.query.covariance)
        assert problem.noise == pytest.approx(count * one)
        assert one != pytest.approx(0.5 * np.mean(w**2) / effective_rank(rows.query.covariance))
    problem = problem_of(pool, D, Plan(Budget(rows=7), dedup_threshold=0.5), given=[aside])
    assert Reason.DUPLICATE_OF_GIVEN in problem.candidates.reasons
    one = 0.5 * np.mean(w**2) / effective_rank(problem.candidates.query.covariance)
    assert problem.noise == pytest.approx(12 * one)


def test_a_token_budget_of_the_shortest_row_is_one_pick(pool: Path) -> None:
    tokens = problem_of(pool, D, Plan(Budget(rows=1))).candidates.tokens
    least = int(tokens.min())
    problem = problem_of(pool, D, Plan(Budget(tokens=least)))
    assert problem.limits.expected == 1
    assert tokens[problem.solve().indices].tolist() == [least]
    with pytest.raises(UsageError, match=rf"is less than the shortest row has \({least}\)"):
        problem_of(pool, D, Plan(Budget(tokens=least - 1)))


def test_the_default_noise_follows_weights_however_small(tmp_path: Path) -> None:
    bad = {"signals": {"a": 0}, "ranges": {"a": [0, 1]}}
    sources = Sources(self_weight=1, signal_weight=0, quality_power=5)  # weights of 0.05^5
    path = write_rows(tmp_path / "pool", [row(v, gip=bad) for v in np.eye(D)])
    for budget in (Budget(rows=3), Budget(captured=0.5)):
        problem = problem_of(path, D, Plan(budget, sources))
        assert problem.noise == problem.solve().noise


@pytest.mark.parametrize(
    ("share", "rows"),
    [(0.0125, 1), (0.0375, 2), (0.0624, 2), (0.0625, 3), (0.0875, 4), (0.001, 1), (1.0, M)],
)
def test_a_share_of_the_rows_is_rounded_half_up(share: float, rows: int, pool: Path) -> None:
    assert problem_of(pool, D, Plan(Budget(fraction=share))).limits.asked == rows


def test_rows_of_no_tokens_are_not_picked_of_a_group_without_a_share(tmp_path: Path) -> None:
    rows = [row((1, at), group="ab"[at % 2], n=at % 2 and 3) for at in range(6)]
    path = write_rows(tmp_path / "pool", [*rows, row((1, 9), group="b", n=0)])
    grouping = Grouping("group", shares=Shares("file", {"b": 1}))
    problem = problem_of(path, 2, Plan(Budget(tokens=6, token_field="n"), grouping=grouping))
    picks = {*problem.solve().indices.tolist()}
    assert 6 in picks
    assert not {0, 2, 4} & picks


def test_a_share_is_of_all_rows_also_of_those_that_cannot_be_picked(
    pool: Path, tmp_path: Path
) -> None:
    aside = tmp_path / "aside"
    aside.write_bytes(b"".join(pool.read_bytes().splitlines(keepends=True)[:8]))
    assert problem_of(pool, D, Plan(Budget(fraction=0.25)), exclude=[aside]).limits.asked == M / 4


def test_the_default_noise_is_not_below_the_least_beside_rows_that_are_given(
    tmp_path: Path,
) -> None:
    low, high = ({"signals": {"a": a}, "ranges": {"a": [0, 1]}} for a in (0, 1))
    path = write_rows(tmp_path / "pool", [row(vector, gip=low) for vector in np.eye(D)])
    given = write_rows(tmp_path / "given", [row(np.eye(D)[0], gip=high)])
    sources = Sources(self_weight=1, signal_weight=0)
    problem = problem_of(path, D, Plan(Budget(rows=1), sources), given=[given])
    assert problem.noise == 1e-5
    assert problem.solve().indices.tolist() == [1]


def test_a_share_is_taken_as_it_is_written(tmp_path: Path) -> None:
    """0.145 * 100 is 14.499999999999998."""
    path = write_rows(tmp_path / "pool", [row(np.ones(D), number) for number in range(100)])
    assert problem_of(path, D, Plan(Budget(fraction=0.145))).limits.asked == 15


def limits(tmp_path: Path, tokens: str, plan: Plan, groups: str = "") -> Limits:
    """Of rows with so many tokens each, a digit a row, and in so many groups, a letter a row."""
    rows = [
        row(np.ones(D), number, n=int(n), group=group)
        for number, (n, group) in enumerate(zip(tokens, groups or tokens, strict=True))
    ]
    return problem_of(write_rows(tmp_path / "pool", rows), D, plan).limits


@pytest.mark.parametrize(
    ("tokens", "budget", "most", "expected"),
    [
        ("555", 100, 3, 3),
        ("5551", 11, 3, 3),  # 1 + 5 + 5: just what is asked for; on average 4 tokens, 2.75 rows
        ("9991", 10, 2, 1),  # on average 7: 1.4 rows
        ("9991", 3, 1, 1),  # on average none
        ("0001", 3, 4, 3),  # as if each had one token
    ],
)
def test_a_token_budget_in_rows(
    tokens: str, budget: int, most: int, expected: int, tmp_path: Path
) -> None:
    plan = Plan(Budget(tokens=budget, token_field="n"), noise=1.0)
    found = limits(tmp_path, tokens, plan)
    assert (found.asked, found.most, found.expected) == (None, most, expected)


def test_quotas_bound_the_picks_of_a_token_budget_and_the_tokens_those_of_quotas(
    tmp_path: Path,
) -> None:
    plan = Plan(Budget(tokens=90, token_field="n"), grouping=Grouping("group", at_most=1))
    found = limits(tmp_path, "111111", plan, "aaaabb")
    assert (found.most, found.expected) == (2, 2)
    plan = Plan(Budget(tokens=2, token_field="n"), grouping=Grouping("group", at_most=2))
    found = limits(tmp_path, "111111", plan, "aabbcc")
    assert (found.most, found.expected) == (2, 2)


@pytest.mark.parametrize(
    ("rows", "groups", "quotas", "most"),
    [
        (8, "aaaaaaab", [4, 4], 5),  # of which b has one
        (8, "aabb", [4, 4], 4),  # of what is asked for, not of what is there
    ],
)
def test_shares_of_rows_are_of_those_asked_for_and_no_more_are_picked_than_there_are(
    rows: int, groups: str, quotas: list[int], most: int, tmp_path: Path
) -> None:
    plan = Plan(Budget(rows=rows), grouping=Grouping("group", shares=Shares("equal", {})))
    found = limits(tmp_path, "1" * len(groups), plan, groups)
    assert found.quotas is not None
    assert found.quotas.limits.tolist() == quotas
    assert (found.asked, found.most, found.expected) == (rows, most, most)


def test_the_share_of_a_group_without_rows_goes_to_no_other(tmp_path: Path) -> None:
    grouping = Grouping("group", shares=Shares("file", {"a": 1.0, "c": 1.0}))
    found = limits(tmp_path, "1111", Plan(Budget(rows=4), grouping=grouping), "aaab")
    assert found.quotas is not None
    assert found.quotas.groups.names == ("a", "b", "c")
    assert found.quotas.limits.tolist() == [2, 0, 2]
    assert found.most == 2


def test_shares_of_tokens_are_in_proportion_to_tokens_not_to_rows(tmp_path: Path) -> None:
    grouping = Grouping("group", shares=Shares("proportional", {}))
    plan = Plan(Budget(tokens=10, token_field="n"), grouping=grouping)
    quotas = limits(tmp_path, "442222", plan, "aabbbb").quotas
    assert quotas is not None
    assert quotas.limits.tolist() == [5, 5]


def test_a_budget_that_fits_a_row_but_none_in_its_quota_is_refused(tmp_path: Path) -> None:
    plan = Plan(
        Budget(tokens=9, token_field="n"), grouping=Grouping("group", shares=Shares("equal", {}))
    )
    with pytest.raises(UsageError, match=r"^no row fits in any group's quota; raise the budget$"):
        limits(tmp_path, "6666", plan, "aabb")
    assert limits(tmp_path, "5666", plan, "aabb").most == 1  # a may have 5, b the other 4


def test_rows_without_any_tokens_are_told_and_where_they_were_looked_for(tmp_path: Path) -> None:
    message = "--tokens: every row that can be picked has 0 tokens"
    with pytest.raises(UsageError, match=f"{message} in field 'n'; say where rows have theirs: "):
        limits(tmp_path, "000", Plan(Budget(tokens=9, token_field="n")))
    path = write_rows(tmp_path / "pool", [row(axis) for axis in np.eye(D)])
    aside = write_rows(tmp_path / "aside", [row(np.eye(D)[0])])
    with RowFile(path, BadRows(), reread=True) as file:
        store = in_memory(path, D)
        store.tokens[1:] = 0
        with pytest.raises(UsageError, match=f"{message}; say where"):
            pose(file, store, Plan(Budget(tokens=9)), exclude=[aside])
