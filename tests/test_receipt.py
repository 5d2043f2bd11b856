"""What the receipt says, against a case small enough to count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from gip_cli.companions import Companions
from gip_cli.embeddings import keys_digest
from gip_cli.groups import Grouping, Shares
from gip_cli.measures import captured_energy, nearest_cosines
from gip_cli.plan import Budget, Plan
from gip_cli.receipt import change, receipt
from gip_cli.rows import BadRows, RowFile
from gip_cli.solution import Solution
from tests.pools import unit
from tests.selecting import in_memory, pose, row, write_rows

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

    def run(
        plan: Plan, given: int = 0, options: dict[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        beside = {"given": [write_rows(tmp_path / "given", rows[:given])]} if given else {}
        with RowFile(path, BadRows(), reread=True) as file:
            problem = pose(file, store, plan, **beside)
            selection = replace(problem.solve(), **changes)
            figures = receipt(
                Solution(problem, selection),
                store=store,
                store_path=None,
                beside={},
                options=options or {"num": plan.budget.rows},
            )
        orjson.dumps(figures)  # plain data
        return {**figures, "picks": selection.indices, "problem": problem}

    return run


def test_random_picks_go_past_rows_that_do_not_fit_in_their_tokens(tmp_path: Path) -> None:
    """As picks do: of few tokens some would else be none at all."""
    rows = [row([1, at, 0, 0], 0 if at < 2 else 50) for at in range(20)]  # 4 tokens, and 54
    path = write_rows(tmp_path / "pool", rows)
    store = in_memory(path, D)
    with RowFile(path, BadRows(), reread=True) as file:
        problem = pose(file, store, Plan(Budget(tokens=8), noise=0.5))
        solution = Solution(problem, problem.solve())
        figures = receipt(solution, store=store, store_path=None, beside={}, options={})
    assert figures["tokens"]["picked"] == 8
    by_random = figures["captured_by_random"]
    assert (by_random["mean"], by_random["sd"]) == pytest.approx((figures["captured"], 0))


def test_random_picks_have_the_same_budget_in_rows(make: Make) -> None:
    figures = make(Plan(Budget(rows=8), noise=0.5))
    rows = figures["problem"].candidates
    draws = [np.random.default_rng(seed).permutation(40)[:8] for seed in range(10)]
    energies = [
        captured_energy(rows.vectors, rows.query.weights, draw, rows.query.covariance, 0.5)
        for draw in draws
    ]
    told = figures["captured_by_random"]
    assert told["mean"] == pytest.approx(np.mean(energies))
    assert told["sd"] == pytest.approx(np.std(energies))
    assert figures["captured"] > max(energies)
    cosines = [nearest_cosines(rows.vectors, draw) for draw in draws]
    assert figures["nearest_cosine"]["random"] == pytest.approx(np.mean(cosines))
    lengths = [rows.pool.lengths[draw] for draw in draws]
    assert figures["response_characters"]["random"] == pytest.approx(np.mean(lengths))


def test_random_picks_have_the_same_budget_in_tokens(make: Make) -> None:
    """Rows of 4 to 8 tokens: by chance not as many rows as were picked, but as many tokens."""
    figures = make(Plan(Budget(tokens=60, length_power=2.0), noise=0.5))
    assert figures["tokens"]["picked"] <= 60
    assert figures["stopped"] == "budget"
    everything = make(Plan(Budget(tokens=100_000), noise=0.5))
    assert everything["captured_by_random"]["mean"] == pytest.approx(everything["captured"])
    assert everything["captured_by_random"]["sd"] == pytest.approx(0, abs=1e-9)
    assert everything["stopped"] == "exhausted"
    assert everything["picked"] == 40
    few = Plan(Budget(tokens=100_000), noise=0.5, grouping=Grouping("lang", at_most=1))
    figures = make(few)  # of which full groups leave nearly all over
    assert (figures["stopped"], figures["picked"]) == ("exhausted", 2)
    assert figures["captured_by_random"]["mean"] < figures["captured"]


def test_tokens_are_those_of_the_picks_and_of_the_whole_pool(make: Make) -> None:
    figures = make(Plan(Budget(rows=3), noise=0.5), given=5)
    picked = sum(D + number % 5 for number in figures["picks"].tolist())
    assert figures["tokens"] == {"picked": picked, "pool": 40 * D + 8 * 10}


def test_of_vectors_that_were_given_no_tokens_are_told(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "pool", [row(axis) for axis in np.eye(D)])
    store = in_memory(path, D)
    store = replace(store, tokens=np.full(D, -1))
    with RowFile(path, BadRows(), reread=True) as file:
        problem = pose(file, store, Plan(Budget(rows=2), noise=0.5))
        solution = Solution(problem, problem.solve())
        figures = receipt(solution, store=store, store_path=None, beside={}, options={})
    assert figures["tokens"] is None


@pytest.mark.parametrize("order", ["rank", "input"])
def test_the_digest_of_the_picks_is_of_the_order_of_their_file(order: str, make: Make) -> None:
    figures = make(Plan(Budget(rows=8), noise=0.5), options={"order": order})
    picks = figures["picks"]
    assert picks.tolist() != sorted(picks)
    in_file = picks if order == "rank" else np.sort(picks)
    keys = figures["problem"].candidates.pool.keys
    assert figures["picked_keys"] == keys_digest(keys[in_file])


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
        {"group": "de", "in_pool": 6, "rows": 6, "available": 6, "share": None, "quota": 8,
         "picked": 6, "shortfall": 2},
        {"group": "en", "in_pool": 34, "rows": 34, "available": 34, "share": None, "quota": 8,
         "picked": 8, "shortfall": 0},
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


def test_groups_are_full_where_they_gave_what_they_might_and_that_is_something(
    make: Make,
) -> None:
    grouping = Grouping("lang", shares=Shares("file", {"en": 3}))
    figures = make(Plan(Budget(rows=4), noise=0.5, grouping=grouping))
    de, en = figures["quotas"]["table"]
    assert [(one["quota"], one["picked"]) for one in (de, en)] == [(0, 0), (4, 4)]
    assert figures["quotas"]["full"] == 1


def test_inputs_and_what_was_asked_are_in_the_receipt(tmp_path: Path) -> None:
    ends = {"good": [0, 8]}
    rows = [
        row(v, gip={"signals": {"good": n}, "ranges": ends}) for n, v in enumerate([*np.eye(D)] * 2)
    ]
    path = write_rows(tmp_path / "pool", rows[:6])
    store = in_memory(path, D)
    beside = {
        "given": [write_rows(tmp_path / "given", rows[4:6])],
        "targets": [path],
        "exclude": [],
    }
    companions = {
        part: [Companions(store).read(str(file)) for file in files]
        for part, files in beside.items()
    }
    with RowFile(path, BadRows(), reread=True) as file:
        problem = pose(file, store, Plan(Budget(rows=2), noise=0.5), **beside)
        selection = problem.solve()
        figures = receipt(
            Solution(problem, selection),
            store=store,
            store_path="p.npy",
            beside=companions,
            options={"num": 2},
        )
    assert (figures["gip"], figures["numpy"]) == (version("gip-cli"), np.__version__)
    files = path, tmp_path / "given"
    digests = [blake2b(one.read_bytes(), digest_size=16).hexdigest() for one in files]
    assert figures["input"] == {"path": str(path), "rows": 6, "skipped": 0, "blake2b": digests[0]}
    assert figures["beside"] == {
        "given": [
            {"path": str(tmp_path / "given"), "rows": 2, "skipped": 0, "blake2b": digests[1]}
        ],
        "targets": [figures["input"]],
    }
    assert figures["embeddings"] == {
        "path": "p.npy", "keys": store.digest, **store.settings.to_json()
    }  # fmt: skip
    covariance = problem.candidates.query.covariance
    assert figures["query"] == {
        "sources": {"signals": 0.5, "targets": 0.5},
        "signals": {"good": 1.0},
        "effective_rank": pytest.approx(np.trace(covariance) ** 2 / np.sum(covariance**2)),
    }
    assert (figures["noise"], figures["options"], figures["repeated_texts"]) == (0.5, {"num": 2}, 0)
    good = problem.candidates.signals.values[:, 0]
    assert figures["signals"]["good"]["picked"] == good[selection.indices].mean()
    assert figures["signals"]["good"]["scale"] == [0, 8]
    assert figures["signals"]["good"]["scale_from"] == "range"
    assert figures["signals"]["good"]["pool"] == good.mean() == 2.5
    assert figures["signals"]["good"]["missing"] == 0
    assert figures["response_characters"]["pool"] == problem.candidates.pool.lengths.mean()
    given = {"rows": 2, "repeated": 0, "in_pool": 4, "without_signals": 0}
    assert figures["given"] == given | {"captured": selection.captured_given}


@pytest.mark.parametrize(
    ("captured", "idle"),
    [
        ([0.6, 0.69995, 0.7], 1),
        ([0.6, 0.69985, 0.69995, 0.7], 2),
        ([0.6, 0.6997, 0.7], 0),  # a thousandth of what the picks captured, not of all
        ([0.6, 0.65, 0.7], 0),
        ([], 0),
    ],
)
def test_idle_picks_are_the_last_that_together_capture_next_to_nothing(
    make: Make, captured: list[float], idle: int
) -> None:
    said = {"captured": np.array(captured), "captured_given": 0.5}
    picks = np.arange(len(captured))
    figures = make(Plan(Budget(rows=4), noise=0.5), indices=picks, **said)
    assert figures["idle_picks"] == idle
    assert figures["captured"] == (captured or [0.5])[-1]
    assert figures["captured_curve"] == [[n, one] for n, one in enumerate(captured, 1)]


def test_near_duplicates_of_rows_given_are_counted_once(make: Make) -> None:
    assert make(Plan(Budget(rows=9), noise=0.5))["duplicates_avoided"] is None
    figures = make(Plan(Budget(rows=40), noise=0.5, dedup_threshold=0.9), given=3)
    closed = figures["not_pickable"].get("duplicate of given", 0)
    assert closed > 0
    assert figures["picked"] + figures["duplicates_avoided"] == 40 - 3 - closed


WRITTEN = b"""{
    "input": {"path": "pool.jsonl", "rows": 60},
    "beside": {"given": [{"path": "old.jsonl", "rows": 3}], "exclude": [{"path": "eval.jsonl"}]},
    "embeddings": {"model": "models/m", "weights": "blake2b:0"},
    "options": {"given": ["old.jsonl"], "exclude": ["eval.jsonl"], "num": 8,
                "group_share": "s.json"},
    "captured": 0.5, "captured_by_random": {"sd": 0.0}
}"""


@pytest.mark.parametrize(
    ("there", "now", "told"),
    [
        ("pool.jsonl", "/data/pool.jsonl", None),  # named from another folder
        ("old.jsonl", "/data/old.jsonl", None),
        ("eval.jsonl", "/data/eval.jsonl", None),
        ("s.json", "./s.json", None),
        ("s.json", "equal", "options.group_share differs"),
        ("models/m", "./m", None),
        ("models/m", "models/n", "embeddings.model differs"),
        ("blake2b:0", "blake2b:1", "embeddings.weights differs"),
        ('"rows": 3', '"rows": 4', "beside.given.0.rows differs"),
        ("8", "9", "options.num differs"),
        ("0.5", "0.50002", None),  # rounded otherwise by another processor,
        ("0.5", "0.5002", "captured differs"),
        ("0.0", "5e-7", None),  # of which nothing is left where it is next to nothing
        ("0.0", "5e-6", "captured_by_random.sd differs"),
    ],
)
def test_a_receipt_says_the_same_whatever_files_were_called_and_by_whatever_roundings(
    there: str, now: str, told: str | None
) -> None:
    figures = orjson.loads(WRITTEN.replace(there.encode(), now.encode()))
    assert change(WRITTEN, figures) == told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}),
    ],
)
def test_what_either_receipt_lacks_is_a_change(old: dict[str, int], new: dict[str, int]) -> None:
    assert change(orjson.dumps(old), new) == "b differs"
    assert change(orjson.dumps(new), new) is None
