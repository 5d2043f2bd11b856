"""The lines that a selection is written as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from gip_cli.plan import Budget, Plan
from gip_cli.problem import Problem
from gip_cli.rows import BadRows, RowFile
from gip_cli.selection import difference, picked_lines, rejected_lines
from gip_cli.solution import Solution
from tests.selecting import in_memory, pose

LINES = [
    b'{"text":"1 0 0", \r "z": 1.50}',  # bytes that no writer of JSON would make
    b'{"text":"0 1 0","gip":{"signals":{"good":4}, "ranges":{"good":[1,5]}},"z":2}',
    b'{"text":"0 0 1","gip":{"signals":{"good":2},"ranges":{"good":[1,5]}}}',
    b'{"text":"0 1 1","z":4}',
]
OWN = [
    b'{"text":"1 0 0", \r "z": 1.50}\n',
    b'{"text":"0 1 0","z":2}\n',
    b'{"text":"0 0 1"}\n',
    b'{"text":"0 1 1","z":4}\n',
]


@pytest.fixture
def problem(tmp_path: Path) -> Iterator[Problem]:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\r\n".join(LINES) + b"\n")
    with RowFile(path, BadRows(), reread=True) as rows:
        yield pose(rows, in_memory(path, 3), Plan(Budget(rows=2), noise=1.0))


def test_lines_are_the_users_bytes_in_the_order_picked_or_the_files(problem: Problem) -> None:
    selection = problem.solve()
    pool = problem.candidates.pool
    assert selection.indices.tolist() == [1, 2]  # only two have a signal, the better is first
    assert list(picked_lines(pool, selection)) == [OWN[1], OWN[2]]
    selection = replace(selection, indices=np.array([3, 0]))
    assert list(picked_lines(pool, selection)) == [OWN[3], OWN[0]]
    assert list(picked_lines(pool, selection, by_rank=False)) == [OWN[0], OWN[3]]


def test_signals_stay_if_asked(problem: Problem) -> None:
    lines = list(picked_lines(problem.candidates.pool, problem.solve(), keep_signals=True))
    assert lines == [LINES[1] + b"\n", LINES[2] + b"\n"]


def test_what_an_earlier_selection_said_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    said = b'"reason":"budget","nearest":null,"rank":1,"gain":0.1,"captured":0.1}}'
    path.write_bytes(b"\n".join([LINES[1], LINES[2].removesuffix(b"}}") + b"," + said]) + b"\n")
    with RowFile(path, BadRows(), reread=True) as rows:
        again = pose(rows, in_memory(path, 3), Plan(Budget(rows=2), noise=1.0))
        lines = picked_lines(again.candidates.pool, again.solve(), keep_signals=True)
        assert list(lines) == [LINES[1] + b"\n", LINES[2] + b"\n"]
        assert list(picked_lines(again.candidates.pool, again.solve())) == [OWN[1], OWN[2]]


@pytest.mark.parametrize("keep", [False, True])
def test_annotations_are_the_ranks_of_the_run_whatever_the_order(
    keep: bool, problem: Problem
) -> None:
    selection, pool = problem.solve(), problem.candidates.pool
    selection = replace(selection, indices=np.array([2, 1]))
    lines = picked_lines(pool, selection, by_rank=False, annotate=True, keep_signals=keep)
    members = [orjson.loads(line)["gip"] for line in lines]
    assert [member["rank"] for member in members] == [2, 1]
    for name, figures in (("gain", selection.gains), ("captured", selection.captured)):
        told = [member[name] for member in members]
        assert told == [float(f"{figure:.6g}") for figure in figures[::-1]]
        assert told == pytest.approx(figures[::-1].tolist(), rel=1e-5)
    assert [member.get("signals") for member in members] == (
        [{"good": 4}, {"good": 2}] if keep else [None, None]
    )


def test_rows_not_picked_keep_their_bytes_but_for_the_reason(problem: Problem) -> None:
    lines = list(rejected_lines(Solution(problem, problem.solve())))
    why = [orjson.loads(line)["gip"] for line in lines]
    assert [one["reason"] for one in why] == ["no signal", "no signal"]
    assert why[1]["nearest"] == {"line": 2, "cosine": pytest.approx(0.5**0.5, abs=1e-5)}
    assert lines[0].startswith(b'{"text":"1 0 0", \r "z": 1.50,"gip":{"reason":"no signal"')


def test_beside_no_pick_no_row_has_a_nearest(problem: Problem) -> None:
    none = replace(problem.solve(), indices=np.empty(0, dtype=np.int64))
    why = [orjson.loads(line)["gip"] for line in rejected_lines(Solution(problem, none))]
    assert [one["reason"] for one in why] == ["no signal", "budget", "budget", "no signal"]
    assert [one["nearest"] for one in why] == [None] * 4


@pytest.mark.parametrize("keep", [False, True])
def test_rows_not_picked_keep_their_signals_only_if_asked(keep: bool, problem: Problem) -> None:
    selection = replace(problem.solve(), indices=np.array([1]))
    options = {"keep_signals": True} if keep else {}
    line = list(rejected_lines(Solution(problem, selection), **options))[1]
    member = orjson.loads(line)["gip"]
    assert member["reason"] == "budget"
    assert member.get("signals") == ({"good": 2} if keep else None)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b"a\nb\n", b"a\nb\n", None),
        (b"a\nb\n", b"b\na\n", "the same rows in another order; the first difference is at line 1"),
        (b"a\nb\n", b"a\nb\nc\n", "1 of 3 lines is new, 0 of 2 are gone; the first difference is"),
        (b"a\nb\n", b"a\n", "0 of 1 line are new, 1 of 2 is gone; the first difference"),
        (b"a\na\n", b"a\nb\n", "1 of 2 lines is new, 1 of 2 is gone"),
        (b"a\nb\r\n", b"a\nb\n", "other line ends; the first difference is at line 2"),
        (b"a\nb", b"a\nb\n", "other line ends; the first difference is at line 2"),
        (b"a\rb\n", b"a\rc\n", "1 of 1 line is new, 1 of 1 is gone"),
        (b"", b"a\n", "1 of 1 line is new, 0 of 0 are gone; the first difference is at line 1"),
    ],
)  # fmt: skip
def test_a_difference_is_told_in_rows(old: bytes, new: bytes, what: str | None) -> None:
    told = difference(old, new)
    assert told is None if what is None else told is not None and told.startswith(what)
