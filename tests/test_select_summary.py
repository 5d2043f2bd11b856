"""What `gip select` tells, of figures that a small selection's receipt is changed to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.cli.select_summary import progress_of, summarise
from gip_cli.plan import Budget, Plan
from gip_cli.pursuit import Progress
from gip_cli.receipt import Figures
from tests.selecting import embed, problem_of, row, write_rows
from tests.toys import gip

D = 4


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """Of 3 rows out of 8, without quotas."""
    folder = tmp_path_factory.mktemp("summary")
    rows = [
        row(vector, gip={"signals": {"good": at}})
        for at, vector in enumerate([*np.eye(D), *(np.eye(D) + 0.5)])
    ]
    pool = write_rows(folder / "pool.jsonl", rows)
    embed(pool, D)
    assert gip("select", pool, "-k", 3, "-o", folder / "small.jsonl").returncode == 0
    receipt: Figures = json.loads((folder / "small.receipt.json").read_bytes())
    return receipt


def told(figures: Figures, **changes: Any) -> list[str]:
    lines: list[str] = []
    summarise(figures | changes, lines.append)
    return lines


def group(
    name: str, picked: int, quota: int, available: int, *, share: float | None = 1.0, size: int = 0
) -> Figures:
    """A line of a quota table: of `size` rows that could be picked, which are the unit if 0."""
    return {
        "group": name,
        "in_pool": max(1, size or available),
        "rows": size or available,
        "available": available,
        "share": share,
        "quota": quota,
        "picked": picked,
        "shortfall": quota - picked,
    }


def quotas(*table: Figures, unit: str = "rows", full: int = 0) -> Figures:
    return {"unit": unit, "groups": len(table), "full": full, "table": list(table)}


def test_a_selection_that_went_well_is_told_in_four_lines(figures: Figures) -> None:
    assert [line.split(":")[0].split(";")[0] for line in told(figures)] == [
        "picked 3 of 8 rows",
        "  good",
        "  text length",
        "  nearest-neighbour cosine",
    ]


def test_means_are_those_of_the_picks_and_of_the_pool(figures: Figures) -> None:
    means = {"picked": 1.0, "pool": 2.0, "random": 3.0}
    scale = {"scale": [0, 7], "scale_from": "range"}
    lines = told(figures, signals={"good": means | scale})
    assert lines[1] == "  good: mean 1 (pool 2)"
    assert lines[2].startswith("  text length: mean ")
    lines = told(figures, embeddings={"format": "qa"})
    assert lines[2].startswith("  response length: mean ")
    alone = {"picked": 0.5, "random": None}  # of one random row each
    assert not any("cosine" in line for line in told(figures, nearest_cosine=alone))


def test_no_threshold_is_offered_for_repeats_that_come_by_one(figures: Figures) -> None:
    for options, said in (
        ({}, "; --dedup-threshold 0.99 keeps such out, a lower --noise most"),
        ({"dedup_threshold": 0.9}, ": their vectors are zero"),
    ):
        lines = told(figures, repeated_texts=1, options=options)
        assert lines[1] == f"  1 of 3 picks repeats the text of another{said}"


@pytest.mark.parametrize(("idle", "said"), [(5, ""), (6, "the last 6 picks: fewer would do")])
def test_picks_that_add_nothing_are_told_where_they_are_more_than_a_twentieth(
    idle: int, said: str, figures: Figures
) -> None:
    lines = told(figures, picked=100, idle_picks=idle)
    assert [line for line in lines if "fewer would do" in line][:1] == (
        [f"  less than a thousandth of that comes from {said}"] if said else []
    )


@pytest.mark.parametrize("option", ["per_group", "group_share"])
def test_no_fewer_would_do_where_each_group_was_to_have_some(option: str, figures: Figures) -> None:
    options = figures["options"] | {option: 3}
    lines = told(figures, picked=100, idle_picks=9, options=options)
    assert "  less than a thousandth of that comes from the last 9 picks" in lines


@pytest.mark.parametrize(
    ("missing", "which"),
    [
        ({"good": 2}, ""),
        ({"good": 0, "true": 2}, " (true: 2)"),
        ({"good": 1, "true": 2}, " (true: 2, good: 1)"),
        ({"good": 2, "true": 2}, ""),
        (dict.fromkeys("abcdefg", 1), " (a: 1, b: 1, c: 1, d: 1, e: 1, 2 more)"),
    ],
)
def test_of_several_signals_it_is_told_which_rows_lack(
    missing: dict[str, int], which: str, figures: Figures
) -> None:
    means = figures["signals"]["good"]
    lacking = {name: means | {"missing": count} for name, count in missing.items()}
    lines = told(figures, signals=lacking, not_pickable={"no signal": 2})
    assert lines[0] == f"2 of 8 rows lack a signal{which} and cannot be picked"


def test_no_near_duplicates_are_told_too(figures: Figures) -> None:
    assert "  0 near-duplicates of picks avoided" in told(figures, duplicates_avoided=0)


def test_rows_of_groups_without_a_share_cannot_be_picked(figures: Figures) -> None:
    """Those that there are: of tokens, too, rows are counted."""
    table = quotas(
        group("a", 90, 90, 200, size=4),
        group("b", 0, 0, 70, share=0.0, size=2),
        group("c", 0, 0, 0, share=0.0),
        group("d", 0, 0, 0, share=0.0, size=1),  # in tokens, of which it has none
        unit="tokens",
    )
    lines = told(figures, quotas=table, options={"group_share": "shares.json"})
    assert lines[0] == (
        "3 of 8 rows are in 2 groups (b, d) to which shares.json gives no share and cannot be "
        "picked"
    )
    assert lines[1].startswith("picked 3 of 8 rows")  # b's quota of none is not told again


@pytest.mark.parametrize(
    ("options", "stopped", "said"),
    [
        ({"tokens": 9}, "budget", ["--tokens counts the embedded part only: the prompt"]),
        ({"tokens": 9, "token_field": "n"}, "budget", []),
        ({"captured": 0.4}, "captured", []),
        ({"captured": 0.4}, "interrupted", []),
        ({"captured": 0.4}, "exhausted", ["--captured 0.4 is not reached: no further row can be"]),
        ({}, "exhausted", ["picked 3 of the 5 asked for: no further row can be picked"]),
        ({}, "interrupted", []),
        ({}, "budget", []),
    ],
)
def test_a_budget_that_is_not_met_is_told(
    options: Figures, stopped: str, said: list[str], figures: Figures
) -> None:
    changes = {
        "embeddings": {"part": "prompt", "format": "qa"},
        "tokens": {"picked": 8, "pool": 99},
        "asked": None if options else 5,
    }
    lines = told(figures, options=options, stopped=stopped, **changes)
    before = lines[: next(n for n, line in enumerate(lines) if line.startswith("picked 3 of 8 "))]
    assert [line[: len(one)] for line, one in zip(before, said, strict=True)] == said


@pytest.mark.parametrize(
    ("table", "full", "unit", "said"),
    [
        ([group("a", 3, 3, 9, share=None)], 1, "rows", "but from groups that are full (--per-gr"),
        ([group("a", 3, 4, 9, share=None)], 0, "rows", "no further row can be picked"),
        ([group("a", 3, 3, 9, share=None)], 1, "tokens", "no further row can be picked"),
    ],
)
def test_full_groups_are_why_no_further_row_is_picked(
    table: list[Figures], full: int, unit: str, said: str, figures: Figures
) -> None:
    line, *_ = told(
        figures,
        stopped="exhausted",
        options={"per_group": 3},
        quotas=quotas(*table, full=full, unit=unit),
    )
    assert said in line


def test_rows_that_are_near_duplicates_of_picks_are_none_that_full_groups_keep_out(
    figures: Figures,
) -> None:
    table = quotas(group("a", 3, 3, 8, share=None), full=1)
    options = {"max_per_group": 3, "dedup_threshold": 0.9}
    for duplicates, said in ((4, "but from groups that are full"), (5, "no further row can be")):
        line = told(
            figures,
            stopped="exhausted",
            options=options,
            quotas=table,
            duplicates_avoided=duplicates,
        )[0]
        assert said in line


def test_groups_that_the_budget_cut_off_are_told_apart_from_those_with_too_few_rows(
    figures: Figures,
) -> None:
    table = quotas(
        group("a", 1, 2, 2, share=None), group("b", 0, 2, 9, share=None), group("c", 1, 2, 1)
    )
    one_of_c = ["1 group is 1 row short:", "  c: 1 of 2 rows"]
    cut = "2 groups (a, b) have fewer than --per-group 2: the budget ended first"
    options = {"per_group": 2, "tokens": 9, "token_field": "n"}
    spent = {"tokens": {"picked": 9, "pool": 99}}
    assert told(figures, options=options, quotas=table, **spent)[:3] == [*one_of_c, cut]
    assert told(figures, options={"per_group": 2}, quotas=table)[:3] == [*one_of_c, cut]
    # Without another budget, or where no row was left, it is not for the budget's end.
    every = ["3 groups are 4 rows short:", "  b: 0 of 2 rows", "  a: 1 of 2 rows"]
    assert told(figures, options={"per_group": 2}, quotas=table, asked=None)[:3] == every
    lines = told(figures, options={"per_group": 2}, quotas=table, stopped="exhausted", asked=5)
    assert lines[1:4] == every


def test_groups_whose_part_of_the_budget_is_nothing_are_told(figures: Figures) -> None:
    table = quotas(group("a", 2, 2, 9), group("b", 0, 0, 1), group("c", 0, 0, 0))
    none = (
        "1 of 2 groups gets none of the 2 rows "
        "(larger shares come first, alike ones by name): raise the budget"
    )
    assert told(figures, quotas=table)[0] == none
    lines = told(figures, quotas=table, options={"group_share": "equal"})
    assert lines[:2] == ["no row of 1 group (c) can be picked", none]


@pytest.mark.parametrize(
    ("line", "is_short"),
    [
        (group("a", 80, 99, 200, size=10), False),  # 19 of 20 that a row has
        (group("a", 80, 100, 200, size=10), True),  # just a row's
        (group("a", 80, 99, 90, size=4), True),  # there are fewer
        (group("a", 0, 19, 200, size=10), True),  # not one row
        (group("a", 99, 99, 200, size=10), False),
    ],
)
def test_tokens_are_short_where_a_row_would_have_fitted(
    line: Figures, is_short: bool, figures: Figures
) -> None:
    lines = told(figures, quotas=quotas(line, unit="tokens"), options={"group_share": "equal"})
    assert lines[0].startswith("1 group is " if is_short else "picked 3 of 8 rows")


def test_the_largest_shortfalls_are_told_and_the_rest_counted(figures: Figures) -> None:
    table = [group(f"g{n}", 0, n, int(n < 7)) for n in range(1, 8)]
    assert told(figures, quotas=quotas(*table))[:7] == [
        "7 groups are 28 rows short:",
        "  g7: 0 of 7 rows (no row of it can be picked)",
        *(f"  g{n}: 0 of {n} rows" for n in range(6, 2, -1)),
        "  and 2 more (see the receipt)",
    ]
    assert told(figures, quotas=quotas(*table[2:]))[:7][-1].startswith("picked 3 of 8 rows")
    misspelt = quotas(table[6] | {"in_pool": 0})
    assert told(figures, quotas=misspelt)[1] == "  g7: 0 of 7 rows (no row is in it)"


@pytest.mark.parametrize(
    ("names", "said"), [("abc", "3 groups (a, b, c) have"), ("abcd", "(a, b, c and 1 more) have")]
)
def test_a_few_groups_are_named(names: str, said: str, figures: Figures) -> None:
    table = quotas(*(group(name, 1, 2, 9, share=None) for name in names))
    line, *_ = told(figures, options={"per_group": 2}, quotas=table)
    assert said in line


def test_other_rows_are_not_excluded(figures: Figures) -> None:
    aside = {"exclude": [{"path": "x.jsonl", "rows": 1}]}
    assert told(figures, beside=aside)[0] == "no row is too close to an excluded one"
    lines = told(figures, beside=aside, not_pickable={"given": 1, "no signal": 1})
    assert lines[:3] == [
        "1 of 8 rows is given and cannot be picked",
        "1 of 8 rows lacks a signal and cannot be picked",
        "no other row is too close to an excluded one",
    ]
    lines = told(figures, beside=aside, not_pickable={"no signal": 1})
    assert lines[1] == "no row is too close to an excluded one"  # nor that without a signal


@pytest.mark.parametrize(
    ("budget", "total"),
    [
        (Budget(rows=3), lambda at: 7),
        (Budget(tokens=3 * D + 2), lambda at: at.picks * (3 * D + 2) / (at.picks * D)),
        (Budget(captured=0.5), lambda at: at.picks * 0.5 / at.captured),
    ],
)
def test_progress_is_told_of_what_the_budget_counts(
    budget: Budget, total: Any, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "pool", [row(vector) for vector in np.eye(D)])
    problem = problem_of(path, D, Plan(budget, noise=0.1))
    at = Progress(7, problem.solve())
    made, expected, detail = progress_of(problem, at)
    assert (made, detail) == (at.picks, f"captured {at.captured:.1%}")
    assert expected == pytest.approx(total(at))
