"""The curve of a selection: every figure against what it is of, measured from scratch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.given import Given
from gip_cli.measures import knee
from gip_cli.report.case import Case
from gip_cli.report.curve import curve
from gip_cli.report.selections import Receipt
from tests.pools import unit
from tests.selecting import case_of, row, write_rows

D, M = 4, 60
Draw = Callable[..., tuple[Case, dict[str, Any]]]
RNG = np.random.default_rng(3)
VECTORS = unit(RNG.standard_normal((M, D)) + 0.4)
GOOD = RNG.uniform(0, 1, M).tolist()


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """The curve of picks from 60 rows, which have a signal or not."""

    def run(picks: list[int], good: list[float | None] | None = None) -> tuple[Case, Any]:
        rows = [
            row(vector, **({"gip": {"signals": {"good": good[at]}}} if good else {}))
            for at, vector in enumerate(VECTORS)
        ]
        case = case_of(write_rows(tmp_path / "pool", rows), D, picks)
        return case, curve(case, case.picked[0])

    return run


def along(case: Case, order: Any, at: list[int]) -> list[float]:
    return [case.captured(np.asarray(order)[:n]) for n in at]


def test_the_curve_is_what_the_first_picks_capture(draw: Draw) -> None:
    picks = RNG.permutation(M)[:30].tolist()
    case, told = draw(picks)
    n = told["n"]
    assert (n[:2], n[-1], n) == ([0, 1], 30, sorted(set(n)))
    assert told["captured"] == pytest.approx(along(case, picks, n), abs=1e-5)
    every = np.array(along(case, picks, [*range(1, 31)]))
    assert told["gains"] == pytest.approx(np.diff(every, prepend=0), rel=1e-3)
    bend = knee(every)
    assert told["knee"] == {
        "n": bend,
        "captured": pytest.approx(every[bend - 1]),
        "sharpness": pytest.approx(every[bend - 1] / every[-1] - bend / 30),
    }
    assert bend in n
    assert told["before"] == pytest.approx(0)
    assert told["pool"] == pytest.approx(case.captured(np.arange(M)))
    assert told["top"] is None


def test_a_long_curve_has_a_point_where_it_bends(tmp_path: Path) -> None:
    rows = [row(np.eye(6)[at % 6]) for at in range(200)]
    case = case_of(write_rows(tmp_path / "pool", rows), 6, range(200))
    told = curve(case, case.picked[0])
    assert len(told["n"]) < 100
    assert told["captured"][told["n"].index(told["knee"]["n"])] == pytest.approx(
        told["knee"]["captured"], rel=1e-4
    )


def test_what_rows_given_before_capture_is_where_the_curve_begins(draw: Draw) -> None:
    picks = RNG.permutation(M)[:30].tolist()
    case, _ = draw(picks)
    vectors = np.concatenate([unit(RNG.standard_normal((3, D))), VECTORS[picks[:1]]])
    keys = np.concatenate([np.zeros((3, 16), np.uint8), case.pool.keys[picks[:1]]])
    case = replace(case, given=Given(keys, vectors.astype(np.float32), np.ones(4), 0, 0))
    told = curve(case, case.picked[0])
    # The row that is also picked is observed once, as a pick.
    alone = replace(case, given=Given(keys[:3], vectors[:3].astype(np.float32), np.ones(3), 0, 0))
    before = alone.captured(np.empty(0, np.int64))
    every = np.array(along(alone, picks, [*range(31)]))
    assert told["before"] == pytest.approx(before)
    assert told["captured"] == pytest.approx(every[told["n"]], abs=1e-5)
    assert told["gains"] == pytest.approx(np.diff(every), rel=1e-3)
    bend = knee(every[1:] - before)
    assert told["knee"]["n"] == bend
    rise = (every[bend] - before) / (every[-1] - before)
    assert told["knee"]["sharpness"] == pytest.approx(rise - bend / 30)


def test_the_most_there_is_to_capture_is_by_all_rows_that_could_be_picked(draw: Draw) -> None:
    case, _ = draw([*range(0, 20, 2)])
    keys, atoms = case.pool.keys[:2], VECTORS[:2].astype(np.float32)  # of which row 0 can be picked
    before = Given(keys, atoms, np.ones(2), 0, 0)
    case = replace(case, pickable=np.arange(0, M, 2), given=before)
    assert curve(case, case.picked[0])["pool"] == pytest.approx(case.captured(case.pickable))


@pytest.mark.parametrize("count", [3, 20])
def test_random_picks_are_followed_until_they_capture_as_much(draw: Draw, count: int) -> None:
    picks = np.random.default_rng(0).permutation(M)[:count].tolist()
    case, told = draw(picks)
    n, random = told["n"], told["random"]
    followed = [along(case, order, n) for order in case.draws(count)]
    for name, measure in (("mean", np.mean), ("low", np.min), ("high", np.max)):
        assert random[name] == pytest.approx(measure(followed, axis=0), abs=1e-5)
    assert random["same"] == [random[name][-1] for name in ("mean", "low", "high")]
    assert (random["seeds"], random["searched"]) == (10, 2 * count)
    longer = [along(case, order, [*range(1, 2 * count + 1)]) for order in case.draws(2 * count)[:3]]
    enough = np.flatnonzero(np.mean(longer, axis=0) >= case.captured(np.array(picks)))
    assert random["needed"] == enough[0] + 1


def test_no_number_of_random_picks_is_told_where_twice_as_many_are_not_enough(draw: Draw) -> None:
    _, told = draw([0, 1, 2], [1.0] * 3 + [0.0] * (M - 3))
    assert told["random"]["needed"] is None
    assert told["random"]["searched"] == 6


def test_top_k_is_by_the_signals_where_they_are_enough(draw: Draw) -> None:
    best = np.argsort(GOOD)[::-1].tolist()
    case, told = draw(best[5:25], GOOD)
    assert told["top"] == pytest.approx(along(case, best, told["n"]), abs=1e-5)
    few = [one if at < 15 else None for at, one in enumerate(GOOD)]
    assert len(draw([*range(15)], few)[1]["top"]) == 16  # and none
    case, told = draw([*range(14, 30)], few)  # which hold rows that could not be picked
    assert told["top"] is None
    assert len(told["random"]["mean"]) == len(told["n"])
    assert told["random"]["searched"] == 15


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ({"num": 9}, ["head", "gip select"]),
        ({"fraction": 0.15}, ["head", "gip select"]),
        ({"captured": 0.5, "dedup_threshold": 0.9}, ["head", "gip select"]),
        ({"num": 9, "order": "input"}, ["gip select"]),  # whose first rows are not the first picks
        ({"tokens": 90}, ["head"]),  # fewer tokens have room for other rows
        ({"num": 9, "group_field": "kind", "max_per_group": 4}, ["head", "gip select"]),
        ({"num": 9, "group_field": "kind", "group_share": "equal"}, []),  # other quotas
    ],
    ids=str,
)
def test_commands_are_offered_where_a_smaller_budget_is_the_first_picks(
    draw: Draw, tmp_path: Path, options: dict[str, Any], begins: list[str]
) -> None:
    case, _ = draw([*range(9)])
    small, path = tmp_path / "small.jsonl", tmp_path / "small.receipt.json"
    small.touch()
    told = {
        "gip": "0.1.0", "numpy": "2.0.0", "noise": 1, "query": {"sources": {"self": 1}},
        "input": {"blake2b": "0"}, "embeddings": {"path": None, "model": "m"},
        "options": {"signals": {}, "quality_power": 2, **options},
    }  # fmt: skip
    path.write_text(json.dumps(told))
    picked = replace(case.picked[0], name=str(small), receipt=Receipt.read(path))
    commands = curve(case, picked)["commands"]
    assert len(commands) == len(begins)
    for command, words in zip(commands, begins, strict=True):
        assert command.startswith(words)
        assert command.endswith("small-@N@.jsonl")


def test_picks_are_better_than_random_by_all_digits(tmp_path: Path) -> None:
    """Shown with five, the picks and the best random rows capture as much."""
    angles = 1e-3 * np.linspace(0, 1, M)
    rows = [row((np.cos(angle), np.sin(angle))) for angle in angles]
    pool = write_rows(tmp_path / "pool", rows)
    every = np.array([case_of(pool, 2, [at]).captured(np.array([at])) for at in range(M)])
    best = int(np.argmax(every))
    case = case_of(pool, 2, [best])
    told = curve(case, case.picked[0])
    assert told["captured"][-1] == told["random"]["high"][-1]
    assert told["better"]
    drawn = [int(order[0]) for order in case.draws(1)]
    for no_better in (int(np.argmin(every)), drawn[int(np.argmax(every[drawn]))]):
        case = case_of(pool, 2, [no_better])
        assert not curve(case, case.picked[0])["better"]
