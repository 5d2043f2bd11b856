"""Distributions, effects and warnings on columns small enough to count by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.measures import mean_shift
from gip_cli.report.case import Case
from gip_cli.report.changes import bars, changes
from tests.selecting import case_of, row, write_rows

Changes = dict[str, Any]
Open = Callable[[list[int]], tuple[Case, Changes]]


def test_few_values_have_a_bar_each() -> None:
    pool = np.array([1.0, 1.0, 2.0, 4.0, np.nan])
    drawn = bars({"pool": pool, "picks": np.array([4.0]), "random": np.array([2.0, np.nan])})
    assert drawn["distinct"]
    assert drawn["tail"] is None
    assert drawn["at"] == [1.0, 2.0, 4.0]
    assert drawn["width"] == 1.0
    assert drawn["shares"] == {"pool": [0.5, 0.25, 0.25], "picks": [0, 0, 1], "random": [0, 1, 0]}


@pytest.mark.parametrize(
    ("values", "each"),
    [(range(12), True), (range(13), False), ([0, 1, 30], True), ([0, 1, 31], False)],
)
def test_up_to_twelve_values_within_thirty_gaps_have_a_bar_each(values: Any, each: bool) -> None:
    pool = np.array(values, float)
    drawn = bars({"pool": pool, "picks": pool, "random": pool})
    assert (drawn["distinct"], drawn["at"] == pool.tolist()) == (each, each)


@pytest.mark.parametrize(("count", "bins"), [(8, 8), (1000, 20), (1728, 24), (5000, 24)])
def test_bins_are_as_many_as_the_picks_can_fill(count: int, bins: int) -> None:
    pool = np.arange(5000.0)
    drawn = bars({"pool": pool, "picks": pool[:count], "random": pool})
    assert len(drawn["at"]) == bins


def test_few_values_of_which_one_is_far_off_have_bars_that_can_be_seen() -> None:
    pool = np.repeat([0.0, 1.0, 2.0, 3.0, 5000.0], 100)
    drawn = bars({"pool": pool, "picks": pool, "random": pool})
    assert not drawn["distinct"]
    assert drawn["width"] == pytest.approx(5000 / len(drawn["at"]))
    assert [drawn["shares"]["pool"][at] for at in (0, -1)] == [0.8, 0.2]


def test_many_values_share_bins_of_which_the_last_is_all_from_where_it_begins() -> None:
    pool = np.append(np.arange(1000.0), 1e9)
    drawn = bars({"pool": pool, "picks": np.array([-5.0, 2e9]), "random": pool})
    assert not drawn["distinct"]
    assert drawn["tail"] == pytest.approx(np.quantile(pool, 0.995) * 7 / 8)
    assert drawn["shares"]["pool"][-1] == pytest.approx(np.mean(pool >= drawn["tail"]), abs=1e-5)
    assert len(drawn["at"]) == 8
    assert drawn["shares"]["picks"] == [0.5, *[0] * 6, 0.5]
    assert sum(drawn["shares"]["pool"]) == pytest.approx(1, abs=1e-4)
    middle = np.diff(drawn["at"])
    assert middle == pytest.approx(drawn["width"])


def test_a_long_tail_over_one_value_has_bars_up_to_its_end() -> None:
    pool = np.append(np.zeros(5000), np.arange(1.0, 21.0))  # 99.5 % are 0
    drawn = bars({"pool": pool, "picks": np.array([20.0]), "random": pool})
    assert drawn["tail"] is None
    assert drawn["width"] == pytest.approx(20 / 8)
    assert drawn["shares"]["picks"] == [*[0] * 7, 1]
    assert drawn["shares"]["pool"][0] == pytest.approx(5002 / 5020, abs=1e-5)


def test_a_column_without_any_value_is_empty_bars() -> None:
    nothing = np.full(3, np.nan)
    drawn = bars({"pool": nothing, "picks": nothing, "random": nothing})
    assert drawn["shares"] == {"pool": [0], "picks": [0], "random": [0]}


@pytest.fixture
def changed(tmp_path: Path) -> Open:
    """What changes by picking rows of 40 short, 40 long and 10 rare ones, which are the worst."""
    kinds = ["short"] * 40 + ["long"] * 40 + ["rare"] * 10
    quality = [0.2, 0.9] * 40 + [0.1] * 10
    rows = [
        row(
            (1, at),
            18 * (kind == "long"),
            kind=kind,
            gip={"signals": {"good": good, "loss": -good if at else None}, "lower": ["loss"]},
        )
        for at, (kind, good) in enumerate(zip(kinds, quality, strict=True))
    ]

    def run(picks: list[int]) -> tuple[Case, Changes]:
        case = case_of(write_rows(tmp_path / "pool", rows), 2, picks, ["kind"])
        return case, changes(case, case.picked[0])

    return run


def test_longer_and_worse_picks_and_groups_without_any_are_warned_of(changed: Open) -> None:
    worst = [*range(40, 80, 2)]
    assert changed(worst)[1]["warnings"] == [
        "The picks are longer than the pool: 20 tokens on average against 10. Length alone can "
        "change what a model learns.",
        "good is worse among the picks than in the pool: 0.2 against 0.5.",
        "loss is worse among the picks than in the pool: -0.2 against -0.503.",
        "No pick from kind: short. Random picks would have some.",
    ]
    best = [*range(1, 40, 2)]
    assert changed(best)[1]["warnings"] == [
        "The picks are shorter than the pool: 2 tokens on average against 10. Length alone can "
        "change what a model learns.",
        "No pick from kind: long. Random picks would have some.",
    ]


def test_what_random_picks_show_too_is_no_change(changed: Open) -> None:
    case, _ = changed([1])
    for draw in case.draws(5):
        _, told = changed(draw.tolist())
        assert told["warnings"] == []
    assert max(abs(end) for end in told["measures"][0]["random_shift"]) > 0.2


def test_measures_are_those_of_pool_picks_and_all_random_draws(changed: Open) -> None:
    picks = [*range(40, 80, 2)]
    case, told = changed(picks)
    draws = case.draws(len(picks))
    length, good, loss = told["measures"]
    assert [one["name"] for one in told["measures"]] == ["tokens", "good", "loss"]
    assert length["mean"] == {
        "pool": pytest.approx(10),
        "picks": 20,
        "random": pytest.approx(case.lengths[np.concatenate(draws)].mean()),
    }
    assert length["shift"] == pytest.approx(10 / case.lengths.std())
    shifts = [mean_shift(case.lengths[draw], case.lengths) for draw in draws]
    assert length["random_shift"] == [min(shifts), max(shifts)]
    assert [one["unknown"] for one in (length, good, loss)] == [0, 0, 1]
    assert sum(loss["shares"]["pool"]) == pytest.approx(1, abs=1e-4)


def test_of_a_signal_that_few_rows_have_the_draws_without_it_do_not_count(tmp_path: Path) -> None:
    rows = [row((1, at), gip={"signals": {"good": at if at < 4 else None}}) for at in range(40)]
    case = case_of(write_rows(tmp_path / "pool", rows), 2, [10, 11])
    case = replace(case, pickable=np.arange(40))  # as by --no-signals
    told = changes(case, case.picked[0])
    good, values = told["measures"][1], case.pool.signals.values[:, 0]
    shifts = [mean_shift(values[draw], values) for draw in case.draws(2)]
    known = [shift for shift in shifts if shift is not None]
    assert 0 < len(known) < len(shifts)
    assert good["random_shift"] == [min(known), max(known)]
    assert good["shift"] is None
    assert not any("good" in warning for warning in told["warnings"])


def test_groups_are_largest_first_and_missed_where_three_picks_could_be_expected(
    changed: Open,
) -> None:
    for count, dropped in ((26, ["short"]), (28, ["short", "rare"])):  # 2.9 and 3.1 rare ones
        case, told = changed([*range(40, 40 + count)])
        (group,) = told["groups"]
        assert (group["field"], group["labels"]) == ("kind", ["long", "short", "rare"])
        assert group["pool"] == pytest.approx([40 / 90, 40 / 90, 10 / 90])
        assert group["picks"] == [1, 0, 0]
        fell = 2 * np.arcsin(np.sqrt(group["pool"]))
        assert group["h"] == pytest.approx([np.pi - fell[0], *-fell[1:]], abs=1e-4)
        assert (group["dropped"], group["absent"]) == (dropped, 2)
        random = np.concatenate(case.draws(count))
        shares = [np.mean((random >= low) & (random < high)) for low, high in ((40, 80), (0, 40))]
        assert group["random"][:2] == pytest.approx(shares)


def test_a_group_that_cannot_be_picked_is_not_missed(tmp_path: Path) -> None:
    """Random picks are of the rows that could be picked: they have none of it, either."""
    good = {"signals": {"good": 1}}
    rows = [row((1, at), kind="in", gip=good) for at in range(40)]
    rows += [row((1, at), kind="out", gip={"signals": {"good": None}}) for at in range(40, 80)]
    picks = [*range(20)]
    case = case_of(write_rows(tmp_path / "pool", rows), 2, picks, ["kind"])
    told = changes(case, case.picked[0])
    (group,) = told["groups"]
    assert (group["pool"], group["random"]) == ([0.5, 0.5], [1, 0])
    assert (group["dropped"], group["absent"]) == ([], 1)
    assert not any("No pick" in warning for warning in told["warnings"])


def test_of_many_groups_without_a_pick_five_are_named(tmp_path: Path) -> None:
    rows = [row((1, at), kind="abcdefg"[at % 7]) for at in range(168)]
    path, picks = write_rows(tmp_path / "pool", rows), np.arange(0, 147, 7)  # 21: 3 of each group
    for kept, named in ((1, "b, c, d, e, f, …"), (2, "b, c, d, e, f")):
        chosen = np.sort(np.append(picks, np.arange(6, 168, 7))) if kept == 2 else picks
        case = case_of(path, 2, chosen.tolist(), ["kind"])
        told = changes(case, case.picked[0])
        assert told["warnings"] == [f"No pick from kind: {named}. Random picks would have some."]


def test_a_small_shift_is_not_told_however_sure_it_is(tmp_path: Path) -> None:
    values = np.arange(1000) % 2
    rows = [row((1, at), gip={"signals": {"good": int(v)}}) for at, v in enumerate(values)]
    path = write_rows(tmp_path / "pool", rows)
    ones, zeros = np.flatnonzero(values == 1), np.flatnonzero(values == 0)
    for better, warned in ((218, False), (188, True)):  # 0.13 and 0.25 standard deviations
        picks = np.concatenate([ones[:better], zeros[: 500 - better]])
        case = case_of(path, 2, picks.tolist())
        told = changes(case, case.picked[0])
        good = told["measures"][1]
        assert good["shift"] < good["random_shift"][0]
        assert bool(told["warnings"]) is warned
