"""What the receipt says, against a case small enough to count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from gip_cli.groups import Grouping, Shares
from gip_cli.measures import captured_energy, nearest_cosines
from gip_cli.plan import Budget, Plan
from gip_cli.receipt import receipt
from gip_cli.rows import BadRows, RowFile
from tests.selecting import in_memory, pose, row, unit, write_rows

D = 4
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    rng = np.random.default_rng(4)
    rows = [
        row(v, n % 5, lang="de" if n < 6 else "en")
        for n, v in enumerate(unit(rng.standard_normal((40, D)) + 0.2))
    ]
    path = write_rows(tmp_path / "pool", rows)
    store = in_memory(path, D)

    def run(plan: Plan, given: int = 0) -> dict[str, Any]:
        beside = {"given": [write_rows(tmp_path / "given", rows[:given])]} if given else {}
        with RowFile(path, BadRows(), reread=True) as file:
            problem = pose(file, store, plan, **beside)
            selection = problem.solve()
            figures = receipt(
                problem,
                selection,
                store=store,
                store_path=None,
                beside={},
                options={"num": plan.budget.rows},
            )
        orjson.dumps(figures)  # plain data
        return {**figures, "picks": selection.indices, "problem": problem}

    return run


def test_random_picks_have_the_same_budget_in_rows(make: Make) -> None:
    figures = make(Plan(Budget(rows=8), noise=0.5))
    rows = figures["problem"].candidates
    energies = [
        captured_energy(
            rows.vectors,
            rows.query.weights,
            np.random.default_rng(seed).permutation(40)[:8],
            rows.query.covariance,
            0.5,
        )
        for seed in range(10)
    ]
    told = figures["captured_by_random"]
    assert told["mean"] == pytest.approx(np.mean(energies))
    assert told["sd"] == pytest.approx(np.std(energies))
    assert figures["captured"] > max(energies)
    cosines = [
        nearest_cosines(rows.vectors, np.random.default_rng(seed).permutation(40)[:8])
        for seed in range(10)
    ]
    assert figures["nearest_cosine"]["random"] == pytest.approx(np.mean(cosines))


def test_random_picks_have_the_same_budget_in_tokens(make: Make) -> None:
    """Rows of 4 to 8 tokens: by chance not as many rows as were picked, but as many tokens."""
    figures = make(Plan(Budget(tokens=60, length_power=2.0), noise=0.5))
    assert figures["tokens"]["picked"] <= 60
    assert figures["stopped"] == "budget"
    everything = make(Plan(Budget(tokens=100_000), noise=0.5))
    assert everything["captured_by_random"]["mean"] == pytest.approx(everything["captured"])
    assert everything["captured_by_random"]["sd"] == pytest.approx(0, abs=1e-9)
    assert everything["stopped"] == "budget"
    assert everything["picked"] == 40


def test_random_picks_start_from_what_is_given(make: Make) -> None:
    figures = make(Plan(Budget(rows=1), noise=0.5), given=12)
    assert figures["given"]["rows"] == figures["given"]["in_pool"] == 12
    assert figures["given"]["captured"] < figures["captured_by_random"]["mean"]
    assert figures["captured_by_random"]["mean"] < figures["captured"]
    assert figures["pickable"] == 28
    assert figures["not_pickable"] == {"given": 12}


def test_the_curve_has_20_points_and_ends_at_the_last_pick(make: Make) -> None:
    curve = make(Plan(Budget(rows=39), noise=0.5))["captured_curve"]
    assert len(curve) == 20
    assert curve[0][0] == 1
    assert curve[-1][0] == 39
    assert [captured for _, captured in curve] == sorted(captured for _, captured in curve)


def test_quotas_are_a_table_where_rows_are_wanted(make: Make) -> None:
    figures = make(Plan(Budget(), noise=0.5, grouping=Grouping("lang", per_group=8)))
    assert figures["quotas"]["table"] == [
        {"group": "de", "rows": 6, "available": 6, "share": None, "quota": 8, "picked": 6,
         "shortfall": 2},
        {"group": "en", "rows": 34, "available": 34, "share": None, "quota": 8, "picked": 8,
         "shortfall": 0},
    ]  # fmt: skip
    grouping = Grouping("lang", shares=Shares("file", {"en": 3}))
    figures = make(Plan(Budget(tokens=100), noise=0.5, grouping=grouping))
    de, en = figures["quotas"]["table"]
    assert (de["rows"], de["share"], de["quota"]) == (6, 0, 0)
    assert (en["rows"], en["share"], en["quota"]) == (34, 3, 100)
    assert en["available"] > 34
    figures = make(Plan(Budget(rows=20), noise=0.5, grouping=Grouping("lang", at_most=6)))
    assert figures["quotas"] == {"unit": "rows", "groups": 2, "full": 2}
    assert (figures["stopped"], figures["picked"], figures["asked"]) == ("exhausted", 12, 20)


def test_near_duplicates_of_rows_given_are_counted_once(make: Make) -> None:
    assert make(Plan(Budget(rows=9), noise=0.5))["duplicates_avoided"] is None
    figures = make(Plan(Budget(rows=40), noise=0.5, dedup_threshold=0.9), given=3)
    closed = figures["not_pickable"].get("duplicate of given", 0)
    assert closed > 0
    assert figures["picked"] + figures["duplicates_avoided"] == 40 - 3 - closed
