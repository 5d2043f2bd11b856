"""Groups by a field, and budgets divided among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gip_cli.columns import Values
from gip_cli.errors import InputError, UsageError
from gip_cli.groups import Grouping, Groups, Shares, largest_remainder, weigh


@pytest.mark.parametrize(
    ("weights", "total", "parts"),
    [
        ([1, 1, 1], 9, [3, 3, 3]),
        ([1, 1, 1], 10, [4, 3, 3]),  # a tie goes to the first
        ([1, 1, 2], 2, [1, 0, 1]),  # exact 0.5, 0.5, 1
        ([41, 33, 26], 10, [4, 3, 3]),  # exact 4.1, 3.3, 2.6
        ([3, 1], 2, [2, 0]),  # exact 1.5, 0.5: a tie goes to the larger weight
        ([18, 48, 34], 20, [3, 10, 7]),  # exact 3.6, 9.6, 6.8: a tie but for rounding
        ([2, 18, 3, 27], 134, [5, 48, 8, 73]),  # exact 5.36, 48.24, 8.04, 72.36: a wider one
        ([0, 5], 3, [0, 3]),
        ([0.1, 0.2, 0.7], 1000, [100, 200, 700]),
        ([1.2e308, 4e307], 20, [15, 5]),
        ([1], 2**40, [2**40]),
        ([0.1, 0.2, 0.7], 2**40, [109951162778, 219902325555, 769658139443]),
        ([1.5e-323, 5e-324], 20, [15, 5]),
    ],
)
def test_largest_remainders(weights: list[float], total: int, parts: list[int]) -> None:
    assert largest_remainder(np.array(weights, dtype=float), total).tolist() == parts


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda w: sum(w) > 1e-3),
    st.integers(0, 10**9),
)
def test_parts_sum_to_the_total_and_are_next_to_exact(weights: list[float], total: int) -> None:
    parts = largest_remainder(np.array(weights), total)
    exact = np.array(weights) / np.sum(weights) * total
    assert parts.sum() == total
    assert np.all(np.abs(parts - exact) <= 1 + 1e-6 * total)
    assert np.all(parts[np.array(weights) == 0] == 0)


def test_groups_are_values_by_their_names() -> None:
    groups = Groups.by(Values(["de", None, 3, "3", True, ["b", "a"], "de"]), also=["xx"])
    assert groups.names == ("3", '["b","a"]', "de", "null", "true", "xx")
    assert [groups.names[code] for code in groups.codes] == [
        "de", "null", "3", "3", "true", '["b","a"]', "de"
    ]  # fmt: skip
    assert Groups.by(Values([{"b": 2, "a": 1}, {"a": 1, "b": 2}])).names == ('{"a":1,"b":2}',)
    rows = np.array([0, 2, 3])
    assert groups.total(np.arange(7), rows).tolist() == [5, 0, 0, 0, 0, 0]


def test_shares_by_size_evenly_and_by_file() -> None:
    groups = Groups.by(Values(["a", "b", "b", "b", "c"]), also=["d"])
    sizes = np.array([1, 3, 0, 0])  # no row of c can be picked, none is in d
    assert weigh(Shares("proportional", {}), groups, sizes).tolist() == [1, 3, 0, 0]
    assert weigh(Shares("equal", {}), groups, sizes).tolist() == [1, 1, 0, 0]
    file = Shares("file", {"a": 1, "c": 1, "d": 2})
    assert weigh(file, groups, sizes).tolist() == [1, 0, 1, 2]  # c and d will fall short
    with pytest.raises(UsageError, match="name no group that rows are in; groups here: a, b"):
        weigh(Shares("file", {"c": 1, "d": 2}), groups, sizes)
    with pytest.raises(UsageError, match=r"groups here: b, d$"):
        weigh(Shares("file", {"a": 1}), groups, np.array([0, 3, 0, 1]))
    many = Groups.by(Values([*"abcdefghij"]), also=["z"])
    with pytest.raises(UsageError, match=r"^s\.json: the shares name .*: a, b, .*, h and 2 more$"):
        weigh(Shares("file", {"z": 1}, "s.json"), many, np.array([1] * 10 + [0]))


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "{}",
        '{"a": -1, "b": 3}',
        '{"a": "2"}',
        '{"a": true}',
        '{"a": 0}',
        '{"a": 1e308, "b": 1e308}',
        "{",
        "3",
    ],
)
def test_a_file_that_holds_no_shares_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "shares.json").write_text(text)
    with pytest.raises(InputError, match=r"shares\.json: not "):
        Shares.parse(str(tmp_path / "shares.json"))


def test_shares_are_words_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "equal").write_text('{"de": 2}')
    assert Shares.parse("equal") == Shares("equal", {})
    assert Shares.parse("proportional") == Shares("proportional", {})
    assert Shares.parse(str(tmp_path / "equal")) == Shares("file", {"de": 2})
    (tmp_path / "some").write_text('{"de": 2, "en": 0}')
    assert Shares.parse(str(tmp_path / "some")) == Shares("file", {"de": 2, "en": 0})
    with pytest.raises(UsageError, match=r"^--group-share even: no such file; give proportional, "):
        Shares.parse("even")
    with pytest.raises(UsageError, match=r"a directory where a file was expected$"):
        Shares.parse(str(tmp_path))


def test_a_file_that_names_no_group_here_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"fr": 2}')
    shares = Shares.parse(str(tmp_path / "s.json"))
    with pytest.raises(UsageError, match=r"s\.json: the shares name no group that rows are in"):
        weigh(shares, Groups.by(Values(["de"]), also=shares.of), np.array([1, 0]))


def test_a_grouping_has_one_limit() -> None:
    for limits in ({}, {"per_group": 2, "at_most": 3}):
        with pytest.raises(UsageError, match="one limit"):
            Grouping("lang", **limits)
    assert Grouping("lang", at_most=1).at_most == Grouping("lang", per_group=1).per_group == 1
    with pytest.raises(UsageError, match="--max-per-group 0"):
        Grouping("lang", at_most=0)
