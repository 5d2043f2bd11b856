"""What a report says of a selection, and which rows it shows with how much of their text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.report.case import Case
from gip_cli.report.content import _clipped, content
from tests.selecting import opened_case, row, write_rows


def told(folder: Path, rows: list[dict[str, Any]], picks: list[int]) -> tuple[Case, Any, Any]:
    """The case of picks of rows of two dimensions, a report's data, and its one selection."""
    path = write_rows(folder / "pool.jsonl", rows)
    with opened_case(path, 2, picks) as case:
        data = content(case)
    return case, data, data["selections"][0]


def fan(m: int) -> list[dict[str, Any]]:
    """Rows that lie over a quarter of the circle, in no order."""
    angles = np.random.default_rng(0).permutation(np.linspace(0, np.pi / 2, m))
    return [row((np.cos(angle), np.sin(angle))) for angle in angles]


def test_the_map_keeps_the_distances_of_rows_in_two_dimensions(tmp_path: Path) -> None:
    case, data, _ = told(tmp_path, fan(9), [4])
    there = np.column_stack([data["map"]["x"], data["map"]["y"]])
    for ours, theirs in zip(there, case.vectors, strict=True):
        away = np.linalg.norm(case.vectors - theirs, axis=1)
        assert np.linalg.norm(there - ours, axis=1) == pytest.approx(away, abs=1e-3)


def test_of_more_rows_than_can_be_shown_the_worst_covered_come_first_and_picks_by_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gip_cli.report.content.MAP_ROWS", 12)
    monkeypatch.setattr("gip_cli.report.case.COVERED", 20)
    case, data, selection = told(tmp_path, fan(30), picks := [29, 5, 1])
    shown = np.array(data["rows"]["line"]) - 1
    assert (len(shown), len(data["map"]["x"])) == (12, 12)
    assert shown[selection["picks"][:2]].tolist() == [29, 5]
    assert selection["picks"][2] == -1
    worst = shown[[one["row"] for one in selection["worst"]]]
    assert len(worst) == 10
    assert not {*worst} - {*case.sampled}
    near = case.vectors[worst] @ case.vectors[picks].T
    assert [one["nearest"] for one in selection["worst"]] == near.argmax(axis=1).tolist()
    assert [one["cosine"] for one in selection["worst"]] == pytest.approx(
        near.max(axis=1), abs=1e-4
    )


def test_rows_are_shown_with_their_lines(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "pool.jsonl", fan(3))
    path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\n\n"))
    with opened_case(path, 2, [1]) as case:
        assert content(case)["rows"]["line"] == [2, 4, 6]


def test_the_pools_name_and_notes_are_escaped(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "po\u202eol.jsonl", fan(3))
    with opened_case(path, 2, [1]) as case:
        case.notes.append(f"{path} is odd.")
        data = content(case)
    for told in (data["pool"]["name"], data["notes"][-1]):
        assert r"po\u202eol.jsonl" in told


def test_coverage_is_the_mean_over_the_pool_beside_that_of_all_random_draws(tmp_path: Path) -> None:
    case, _, selection = told(tmp_path, fan(30), [3, 8])
    cosines = [case.coverage(rows)[1].mean() for rows in (np.array([3, 8]), *case.draws(2))]
    assert selection["coverage"] == pytest.approx(
        {"picks": cosines[0], "random": np.mean(cosines[1:])}
    )


def test_all_rows_that_could_be_picked_are_not_held_against_random_ones(tmp_path: Path) -> None:
    """Which are the same ones."""
    good = [None, 1, None]
    rows = [row((1, at), gip={"signals": {"good": one}}) for at, one in enumerate(good)]
    _, data, selection = told(tmp_path, rows, [1])
    assert (data["pool"]["rows"], data["pool"]["pickable"]) == (3, 1)
    assert (selection["all"], selection["curve"]["better"]) == (True, False)
    assert not any("random draws" in warning for warning in selection["warnings"])


def test_a_pick_is_shown_with_more_of_its_text_than_other_rows(tmp_path: Path) -> None:
    rows = [row((1, at), words=1200) for at in range(1000)]
    _, data, selection = told(tmp_path, rows, [500])
    sizes = [len(text) for _, text in data["rows"]["turns"]]
    assert sizes[selection["picks"][0]] == 4000
    assert sizes.count(2800) == 1000 - 1 - 10  # nor are the worst covered rows cut as much
    cut = data["rows"]["cut"]
    assert [*map(sum, zip(sizes, cut, strict=True))] == [len(one["text"]) for one in rows]


@pytest.mark.parametrize(
    ("limit", "kept", "cut"),
    [
        (9, ["user", "éé", "assistant", "abc"], 0),
        (7, ["user", "éé", "assistant", "abc"], 0),
        (5, ["user", "éé", "assistant", "a"], 2),
        (4, ["user", "éé"], 3),
        (3, ["user", "é"], 4),  # no half a letter
    ],
)
def test_turns_are_cut_by_bytes_together_and_what_is_cut_is_told_in_letters(
    limit: int, kept: list[str], cut: int
) -> None:
    assert _clipped([("user", "éé"), ("assistant", "abc")], limit) == (kept, cut)
