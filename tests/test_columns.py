"""Signals and fields as columns: what rows declare, chosen and weighted; values held once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gip_cli.columns import SignalColumns, Signals, Values
from gip_cli.errors import InputError, UsageError
from gip_cli.rows import BadRows, RowFile
from tests.selecting import write_rows


def signals_of(path: Path) -> Signals:
    columns = SignalColumns()
    with RowFile(path, BadRows()) as rows:
        for one in rows:
            columns.add(one)
    return columns.signals()


def signalled(**member: object) -> dict[str, object]:
    return {"text": "1 0 0", "gip": member}


def test_a_signal_may_first_appear_in_any_row(tmp_path: Path) -> None:
    rows = [
        {"text": "1 0 0"},
        signalled(signals={"a": 2}),
        signalled(signals={"b": 5, "a": None}, lower=["b"], ranges={"b": [0, 9]}),
        {"text": "1 0 0"},
    ]
    signals = signals_of(write_rows(tmp_path / "pool", rows))
    assert signals.names == ("a", "b")
    assert signals.ranges == (None, (0, 9))
    assert signals.lower == (False, True)
    nan = np.nan
    np.testing.assert_array_equal(signals.values, [[nan, nan], [2, nan], [nan, 5], [nan, nan]])
    assert signals.scales == ((2, 2), (0, 9))


def test_two_scales_of_one_signal_are_refused(tmp_path: Path) -> None:
    for scale in ({"ranges": {"a": [1, 5]}}, {"lower": ["a"]}):
        rows = [signalled(signals={"a": 2}), signalled(signals={"a": 3}, **scale)]
        with pytest.raises(InputError, match=r"pool:2: signal 'a' has another scale"):
            signals_of(write_rows(tmp_path / "pool", rows))


SIGNALS = Signals(("a", "b", "a=2"), np.arange(6.0).reshape(2, 3), (None,) * 3, (False,) * 3)


def test_signals_are_chosen_with_their_weights() -> None:
    chosen, shares = SIGNALS.weighted(["b=0.5", "a"])
    assert (chosen.names, shares) == (("b", "a"), [0.5, 1.0])
    np.testing.assert_array_equal(chosen.values, [[1, 0], [4, 3]])
    assert SIGNALS.weighted(["a=2"])[0].names == ("a=2",)  # a name that looks like a weight
    assert SIGNALS.weighted(["a=2=3", "b=1e9"])[1] == [3.0, 1e9]
    assert SIGNALS.weighted(SIGNALS.names)[0] is SIGNALS  # no copy
    assert SIGNALS.weighted([])[0].values.shape == (2, 0)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["c"], "no row has signal 'c'; signals here: a, b, a=2"),
        (["b=x"], "not NAME=WEIGHT"),
        (["b=-1"], "with a positive weight"),
        (["b=0"], "with a positive weight"),
        (["b=nan"], "with a positive weight"),
        (["b=inf"], "with a positive weight"),
        (["b=1.1e9"], r"with a positive weight of at most 1e\+09"),
        (["b", "b=2"], "two --signal named 'b'"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(wanted: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SIGNALS.weighted(wanted)


def test_chosen_signals_keep_their_own_scales() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    signals = Signals(("a", "b"), values, ((0, 4), None), (False, True))
    for names, ranges, lower, unit in (
        (("b",), (None,), (True,), [[1], [0]]),
        (("b", "a"), (None, (0, 4)), (True, False), [[1, 0.25], [0, 0.75]]),
    ):
        chosen = signals.chosen(names)
        assert (chosen.names, chosen.ranges, chosen.lower) == (names, ranges, lower)
        np.testing.assert_array_equal(chosen.unit(), unit)


def test_a_signal_that_no_row_has_a_value_of_is_none() -> None:
    values = np.array([[1.0, np.nan], [np.nan, np.nan]])
    signals = Signals(("a", "b"), values, (None, None), (False, False))
    with pytest.raises(UsageError, match=r"no row has signal 'b'; signals here: a$"):
        signals.chosen(("b",))


def test_a_field_holds_each_value_once() -> None:
    given = ["3", 3, None, 3, 3.0, True, 1, {"b": [1], "a": 2}, {"a": 2, "b": [1]}, "3"]
    values = Values(given)
    assert values.distinct == ["3", 3, None, 3.0, True, 1, {"a": 2, "b": [1]}]
    assert [type(values.distinct[code]) for code in values.codes] == [type(one) for one in given]
    assert [values.distinct[code] for code in values.codes] == given
