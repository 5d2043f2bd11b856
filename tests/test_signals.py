"""Signals travel in the row's own line, whose other bytes never change; and they map to [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gip_cli.columns import Signals
from gip_cli.errors import InputError
from gip_cli.rows import Row
from gip_cli.signals import attach, attached, quality_weights, splice, strip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=4).filter("gip".__ne__), json_values, max_size=4)


def row_of(raw: bytes) -> Row:
    return Row(raw, orjson.loads(raw), "pool.jsonl", 7, 0)


@given(objects, st.sampled_from([0, orjson.OPT_INDENT_2]), st.sampled_from([b"", b" ", b"\n\t "]))
@example({}, 0, b" ")
@example({'"}{': ['\\"', "}"]}, 0, b"")
def test_attaching_adds_and_stripping_gives_the_bytes_back(
    value: dict[str, Any], option: int, blanks: bytes
) -> None:
    raw = orjson.dumps(value, option=option)[:-1] + blanks + b"}"
    scored = attach(row_of(raw), {"s": 0.5, "t": None}, {"s": (0, 1)}, ["t"])
    row = row_of(scored)
    assert row.value == {
        **value,
        "gip": {"signals": {"s": 0.5, "t": None}, "ranges": {"s": [0, 1]}, "lower": ["t"]},
    }
    assert scored.startswith(raw[:-1].rstrip() if not value else raw[:-1])
    assert strip(scored, row.value) == raw


@pytest.mark.parametrize(
    ("moved", "own"),
    [
        (b'{"gip":{"signals":{"s":1}},"a":1, "b" : 2}', b'{"a":1, "b" : 2}'),
        (b'{"a":1, "gip":{"signals":{"s":1}},"b":2}', b'{"a":1,"b":2}'),
        (b'{"a":{"gip":1},"gip":{}}', b'{"a":{"gip":1}}'),
        (b'{"a":1,"g\\u0069p":{}}', b'{"a":1}'),
        (b'{"gip":1,"a":"\\"gip\\":{","gip":{}}', b'{"a":"\\"gip\\":{"}'),
        (b'{"gip":{}}', b"{}"),
        (b'{"a":1,"gip":{"signals":{"s":1,"gip":2}} }', b'{"a":1}'),
        (b'{"a":1,"gip":{},"b":{"c":1,"gip":{}}}', b'{"a":1,"b":{"c":1,"gip":{}}}'),
        (b'{"a":1,"g\\u0069p":{},"gip":{}}', b'{"a":1}'),
        (b'{"gip":{},"a":"x\\"},\\"gip\\":{}"}', b'{"a":"x\\"},\\"gip\\":{}"}'),
    ],
)
def test_stripping_finds_the_member_wherever_a_tool_has_put_it(moved: bytes, own: bytes) -> None:
    assert strip(moved, orjson.loads(moved)) == own


def test_a_string_of_many_megabytes_is_passed_over_in_one_go() -> None:
    raw = b'{"a":"' + b'x\\"' * 5_000_000 + b'"}'
    assert strip(splice(raw, {"signals": {"s": 1}}), {"gip": 1}) == raw


def test_signals_of_other_names_and_what_select_wrote_stay() -> None:
    own = row_of(b'{"a":1,"gip":{"rank":1,"gain":0.0}}')
    sure = {"confidence": 0.5}
    first = attach(own, {"s": 1, "t": 2}, {"s": (0, 5)}, ["t"], {"s": sure, "t": sure})
    second = attached(row_of(attach(row_of(first), {"t": 4.5}, {"t": (0, 10)})))
    assert second["signals"] == {"s": 1, "t": 4.5}
    assert second["ranges"] == {"s": [0, 5], "t": [0, 10]}
    assert "lower" not in second  # scored anew, t is no longer one of which less is better
    assert second["judge"] == {"s": sure}  # nor is the value the judge's
    assert (second["rank"], second["gain"]) == (1, 0.0)


@pytest.mark.parametrize(
    "member",
    [
        b"1",
        b"null",
        b"[]",
        b"{}",
        b'{"mine":0}',
        b'{"signals":{},"mine":[3]}',
        b'{"signals":[1]}',
        b'{"signals":{"s":"4"}}',
        b'{"signals":{"s":true}}',
        b'{"ranges":{"s":5}}',
        b'{"ranges":{"s":[1]}}',
        b'{"ranges":{"s":[5,1]}}',
        b'{"ranges":{"s":[1,1]}}',
        b'{"ranges":{"s":[0,1e101]}}',
        b'{"ranges":{"s":[1,null]}}',
        b'{"lower":"s"}',
        b'{"lower":[1]}',
        b'{"judge":[1]}',
        b'{"judge":' + b'{"s":' * 300 + b"1" + b"}" * 301,
    ],
)
def test_a_member_of_that_name_that_gip_did_not_write_is_refused(member: bytes) -> None:
    with pytest.raises(InputError, match=r"^pool.jsonl:7: the member \"gip\".*rename or remove"):
        attached(row_of(b'{"gip":' + member + b"}"))


@pytest.mark.parametrize("value", [0.9, 5.1])
def test_a_signal_outside_its_own_range_is_refused_where_it_stands(value: float) -> None:
    raw = b'{"gip":{"signals":{"s":%g,"t":null},"ranges":{"s":[1,5],"t":[0,1]}}}'
    assert attached(row_of(raw % 1))["signals"] == {"s": 1, "t": None}
    with pytest.raises(InputError, match=f"pool.jsonl:7: signal 's' is {value}, outside .* 1:5"):
        attached(row_of(raw % value))


@pytest.mark.parametrize("value", [1.1e100, -1e308])
def test_a_signal_too_large_to_measure_is_refused_attached_or_not(value: float) -> None:
    told = f"pool.jsonl:7: signal 's' is {value:g}, and 1e.100 is the largest; scale it down"
    with pytest.raises(InputError, match=told.replace("+", ".")):
        attach(row_of(b"{}"), {"t": None, "s": value}, {})
    with pytest.raises(InputError, match=told.replace("+", ".")):
        attached(row_of(b'{"gip":{"signals":{"s":%g}}}' % value))


def test_the_largest_signal_and_the_widest_range_are_attached_and_read_again() -> None:
    member = attached(row_of(attach(row_of(b"{}"), {"s": -1e100}, {"s": (-1e100, 1e100)})))
    assert member == {"signals": {"s": -1e100}, "ranges": {"s": [-1e100, 1e100]}}


@pytest.mark.parametrize(("high", "text"), [(5.0, b"5"), (0.5, b"0.5"), (1e20, b"1e+20")])
def test_a_range_is_written_as_people_write_it(high: float, text: bytes) -> None:
    line = attach(row_of(b"{}"), {"s": 0.25}, {"s": (0.0, high)})
    assert line == b'{"gip":{"signals":{"s":0.25},"ranges":{"s":[0,%s]}}}' % text


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "declared", "lower", "unit"),
    [
        ([1, 3, 5], (1.0, 5.0), False, [0, 0.5, 1]),
        ([1, 3, 5], (1.0, 5.0), True, [1, 0.5, 0]),
        ([2, 3], (1.0, 5.0), False, [0.25, 0.5]),
        ([2, 3, 4], None, False, [0, 0.5, 1]),
        ([2, NAN, 4], None, False, [0, NAN, 1]),
        ([2, NAN, 2], None, True, [1, NAN, 1]),  # without spread it says nothing against a row
        ([NAN, NAN], None, False, [NAN, NAN]),
        ([-1e308, 0, 1e308], None, False, [0, 0.5, 1]),
        ([0, 5e-324, NAN], None, False, [1, 1, NAN]),  # of which there is no half
    ],
)
def test_signals_map_to_the_unit_interval(
    values: list[float], declared: tuple[float, float] | None, lower: bool, unit: list[float]
) -> None:
    column = np.array(values, dtype=float)[:, None]
    found = Signals(("s",), column, (declared,), (lower,)).unit()
    np.testing.assert_array_equal(found[:, 0], unit)


def test_weights_are_floored_means_to_a_power_and_nan_where_a_signal_is_missing() -> None:
    unit = np.array([[1, 1], [1, 0], [0, 0], [NAN, 1]])
    np.testing.assert_allclose(
        quality_weights(unit, [3, 1], 2), [1, 0.75**2, 0.05**2, NAN], equal_nan=True
    )
    np.testing.assert_array_equal(quality_weights(unit, [3, 1], 0), [1, 1, 1, NAN])
    best = quality_weights(np.ones((1, 3)), [0.7, 0.2, 0.1], 2)  # whose mean rounds to above 1
    np.testing.assert_array_equal(best, [1])
