"""Signals from fields: what counts as a number, and what is refused instead of guessed."""

from __future__ import annotations

import re
import sys
from typing import Any

import orjson
import pytest

from gip_cli.errors import InputError, UsageError
from gip_cli.metadata import Metadata, MetadataScorer, parse_ranges
from gip_cli.rows import Row


def row_of(value: dict[str, Any]) -> Row:
    return Row(orjson.dumps(value), value, "pool.jsonl", 7, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s=upvotes", Metadata("s", "upvotes", None, False)),
        ("s=-meta.perplexity", Metadata("s", "meta.perplexity", None, True)),
        ("s=turns.0.score:max", Metadata("s", "turns.0.score", "max", False)),
        ("s=-scores:mean", Metadata("s", "scores", "mean", True)),
        ("s=rating:human", Metadata("s", "rating:human", None, False)),
        ("s=-dc:score:v.x:min", Metadata("s", "dc:score:v.x", "min", True)),
        ("s=x:max:last", Metadata("s", "x:max", "last", False)),
        ("s=-max", Metadata("s", "max", None, True)),
    ],
)
def test_the_command_line_form(text: str, expected: Metadata) -> None:
    assert Metadata.parse(text) == expected


@pytest.mark.parametrize("text", ["", "s", "=f", "s=", "s=-", "s=f:", "s=f::max", "s=:max"])
def test_another_form_is_a_wrong_use(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^--metadata .* is not NAME=FIELD; FIELD is a dotted path"
    ):
        Metadata.parse(text)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (3, 3.0),
        (-2.5, -2.5),
        (True, 1.0),
        ("4", 4.0),
        (" 4.5e1 ", 45.0),
        ("4/5", None),
        ("1_000", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
        ({}, None),
        ([1, 2], None),  # a list needs to be told how it is joined
    ],
)
def test_what_counts_as_a_number(member: Any, value: float | None) -> None:
    assert Metadata.parse("s=f").value(row_of({"f": member})) == value


@pytest.mark.parametrize(
    ("how", "members", "value"),
    [
        ("mean", [1, "2", 6], 3.0),
        ("max", [1, 9, 2], 9.0),
        ("min", [1, 9, -2], -2.0),
        ("last", [1, 9, 2], 2.0),
        ("mean", [], None),
        ("mean", [1, None], None),
        ("max", [1, [2]], None),
        ("mean", [1.7e308, 1.7e308], 1.7e308),  # though the sum is no number,
        ("mean", [sys.float_info.max] * 3, sys.float_info.max),  # nor that of their thirds
        ("mean", [1.7e308, 1.7e308, -1.7e308, -1.7e308], 0.0),
        ("mean", [4.4, 4.4, 4.4], 4.4),  # 4.400000000000001 if summed as it comes
        ("mean", [0.1, 0.1, 0.1], 0.1),  # 0.10000000000000002 if divided as it comes
        ("max", 4, 4.0),
    ],
)
def test_how_a_list_is_joined(how: str, members: Any, value: float | None) -> None:
    assert Metadata.parse(f"s=f:{how}").value(row_of({"f": members})) == value


@pytest.mark.parametrize("text", ["s=-1e308:1e308", "s=-1e101:1", "s=1:1e101"])
def test_a_range_is_no_wider_than_signals_may_be(text: str) -> None:
    with pytest.raises(UsageError, match=rf"'{text}' goes beyond 1e\+100; scale the sig"):
        parse_ranges([text])


@pytest.mark.parametrize("text", ["", "s", "s=1", "s=5:1", "s=1:1", "=1:2", "s=a:b", "s=1:inf"])
def test_a_range_is_two_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="is not NAME=LO:HI"):
        parse_ranges([text])
    assert parse_ranges(["s=-1:2.5"]) == {"s": (-1, 2.5)}


def scorer(*sources: str, **options: Any) -> MetadataScorer:
    ranges = parse_ranges(options.pop("ranges", ()))
    return MetadataScorer([Metadata.parse(text) for text in sources], ranges, **options)


def test_a_missing_value_is_null_and_counted() -> None:
    score = scorer("s=a", "t=b")
    line = score.line(row_of({"a": 1}))
    assert orjson.loads(line)["gip"] == {"signals": {"s": 1.0, "t": None}}
    assert score.missing == {"t": 1}


def test_a_field_without_any_number_is_an_error_that_shows_the_fields() -> None:
    score = scorer("s=a", "t=b")
    score.line(row_of({"a": 1, "c": 2}))
    with pytest.raises(
        InputError, match=r"pool.jsonl: no row has a number in field 'b'; fields here: a, c"
    ):
        score.check()
    score.line(row_of({"b": 1}))
    score.check()


def test_fields_within_others_are_shown_and_that_there_are_more() -> None:
    score = scorer("s=b")
    members = {"n": {"x": 1, "y": {"z": [2]}, "e": {}}, "l": [{"a": 1}]}
    score.line(row_of(members))
    with pytest.raises(InputError, match=r"fields here: n.x, n.y.z, n.e, l$"):
        score.check()
    deep: Any = 0
    for _ in range(250):
        deep = {"d" * 9: deep}
    wide = scorer("s=b")
    wide.line(row_of({"deep": deep, **{f"f{n}": n for n in range(8)}}))
    with pytest.raises(InputError, match=r"fields here: deep(\.d{9}){5}\.d{5}…, f0, .*f6, …$"):
        wide.check()


def test_a_list_that_is_not_joined_is_named_with_the_ways_to_join_it() -> None:
    remedy = "it holds a list: s=-v takes one of :mean, :max, :min, :last after it"
    score = scorer("s=-v")
    score.line(row_of({"v": [1, 2]}))
    with pytest.raises(InputError, match=f"no row has a number in field 'v'; {remedy}"):
        score.check()
    with pytest.raises(InputError, match=f"no number in field 'v'; {remedy}"):
        scorer("s=-v", require=True).line(row_of({"v": [1, 2]}))
    first = scorer("s=v")
    first.line(row_of({"w": 1}))
    first.line(row_of({"v": "90%\x1b"}))
    first.line(row_of({"v": "the second that is odd"}))
    why = "pool.jsonl: no row has a number in field 'v' (line 7: '90%\\x1b'); write numbers there"
    with pytest.raises(InputError, match=re.escape(why)):
        first.check()
    score = scorer("s=v:mean")
    score.line(row_of({"v": ["a"]}))
    with pytest.raises(InputError, match="fields here: v"):
        score.check()


def test_a_colon_in_a_fields_name_is_the_fields_own() -> None:
    row = row_of({"rating:human": 4, "x:max": 2, "l:sum": [1, 2]})
    for text, value in (("s=rating:human", 4.0), ("s=x:max:last", 2.0), ("s=l:sum:max", 2.0)):
        assert Metadata.parse(text).value(row) == value
    for require in (False, True):  # a slip is told as one, though it could be a name
        score = scorer("s=f:sum", require=require)
        with pytest.raises(
            InputError, match="field 'f:sum'; after 'f' goes one of :mean, :max, :min, :last, not :"
        ):
            score.line(row_of({"f": [1, 2]}))
            score.check()


def test_a_missing_value_can_be_an_error() -> None:
    with pytest.raises(
        InputError, match=r"pool.jsonl:7: no number in field 'a'; mend the row \(fields: a\) or d"
    ):
        scorer("s=a", require=True).line(row_of({"a": "much"}))


@pytest.mark.parametrize("value", [0.99, 5.01])
def test_a_value_outside_its_range_is_an_error(value: float) -> None:
    score = scorer("s=a", ranges=["s=1:5"])
    score.line(row_of({"a": 1}))
    score.line(row_of({"a": 5}))
    with pytest.raises(InputError, match=f"pool.jsonl:7: s is {value:g}, outside its range 1:5"):
        score.line(row_of({"a": value}))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, 5, 2], ["s: scale 1 to 5, as the rows span (--range sets another)"]),
        ([1e100, -1e100] * 100, ["s: scale -1e+100 to 1e+100, as the rows span (--range sets"]),
        ([0] * 199 + [1], ["s: scale 0 to 1, as the rows span"]),  # a rare mark is no slip
        ([*range(1, 6)] * 20 + [1000], ["s: scale 1 to 1000", "s: 99% of the rows lie from 1 to "]),
        (
            [-3.0, -2.0, -1.0] * 50 + [-1000],
            [
                "s: scale -1000 to -1, as the rows span (--range sets another)",
                "s: 99% of the rows lie from -3 to -1, where on that scale they hardly differ",
            ],
        ),
        ([4, 4, None], ["s: every number is 4, which tells no row from another"]),
        ([None, "x"], []),
    ],
)  # fmt: skip
def test_the_scale_that_rows_span_is_told_and_where_few_of_them_make_it(
    values: list[Any], told: list[str]
) -> None:
    score = scorer("s=a", "t=b", ranges=["t=0:9"])
    for value in values:
        score.line(row_of({"a": value, "b": 1}))
    assert [text[: len(one)] for text, one in zip(score.scales(), told, strict=True)] == told


def test_a_value_just_outside_its_range_is_shown_in_full() -> None:
    """Six digits of it would be the end of the range."""
    with pytest.raises(InputError, match=r"s is 5.0000001, outside its range 0.9999999:5; widen"):
        scorer("s=a", ranges=["s=0.9999999:5"]).line(row_of({"a": 5.0000001}))
    attached = {"signals": {"s": 0.9999999}, "ranges": {"s": [1, 5]}}
    with pytest.raises(InputError, match=r"'s' is 0.9999999, outside its range 1:5; score"):
        scorer("t=a").line(row_of({"a": 1, "gip": attached}))


def test_a_signal_that_is_there_is_replaced_only_when_told() -> None:
    row = row_of({"a": 2, "gip": {"signals": {"s": 1, "t": 3}}})
    with pytest.raises(InputError, match="signal 's' is there already; pass --overwrite"):
        scorer("t=a", "s=a").line(row)  # of several the first by name, in every run
    line = scorer("s=a", overwrite=True).line(row)
    assert orjson.loads(line)["gip"]["signals"] == {"s": 2, "t": 3}


def test_a_signal_outside_its_range_is_mended_by_scoring_again() -> None:
    row = row_of({"a": 2, "gip": {"signals": {"s": 9}, "ranges": {"s": [1, 5]}}})
    with pytest.raises(InputError, match=r"'s' is 9, outside its range 1:5; score .* --overwrite"):
        scorer("t=a", overwrite=True).line(row)
    line = scorer("s=a", overwrite=True, ranges=["s=1:5"]).line(row)
    assert orjson.loads(line)["gip"] == {"signals": {"s": 2}, "ranges": {"s": [1, 5]}}


def test_names_must_be_told_apart() -> None:
    with pytest.raises(UsageError, match="two --metadata named"):
        scorer("s=a", "s=b")
    with pytest.raises(UsageError, match="two --range of one name; give each signal one"):
        parse_ranges(["s=1:5", "s=0:9"])
    with pytest.raises(
        UsageError, match=r"--range t=.* no signal of --metadata; those here: r, s$"
    ):
        scorer("s=a", "r=b", ranges=["t=1:5"])
    with pytest.raises(UsageError, match=r"--metadata; leave it out: a judge's scale is its rub"):
        scorer("s=a", ranges=["t=1:5"], beside=["t"])
