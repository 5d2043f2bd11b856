"""Quality signals: carried in the row's own line, mapped to [0, 1].

A scored row has one more member, spliced in before the closing brace so that every other byte
of the line stays as it was::

    {"instruction": ..., "gip":{"signals":{"helpfulness":4.0},"ranges":{"helpfulness":[1,5]}}}

``ranges`` holds the declared ranges, ``lower`` the names for which less is better and ``judge``
what a judge said of a signal besides its value; what is empty is left out. The line carries them
so that scored files can be cut, shuffled and joined.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from gip_cli.arrays import Array
from gip_cli.printable import exact
from gip_cli.rows import Row, is_number

MEMBER = "gip"
_OF_SCORE = {"signals", "ranges", "lower", "judge"}
OF_SELECT = {"rank", "gain", "captured", "reason", "nearest"}
LARGEST = 1e100  # size of a signal; the squares of larger ones, and so deviations, overflow
MOST_WEIGHT = 1e9  # of a signal or source beside another: sums of far larger ones overflow
WEIGHT_FLOOR = 0.05  # of a row's mean signal: no row is so bad that it cannot be compared


def attach(
    row: Row,
    signals: Mapping[str, float | None],
    ranges: Mapping[str, tuple[float, float]],
    lower: Sequence[str] = (),
    judge: Mapping[str, Any] | None = None,
    replaced: Collection[str] = (),
) -> bytes:
    """The row's bytes with `signals` among its signals; those of other names are kept.

    Whatever stood beside an old signal of the same name goes with it. `judge` holds a judge's
    probabilities and confidence, by the signal's name. Old signals that are to be `replaced` later
    need not be in their range.

    Raises
    ------
    InputError
        The row's member is not what `gip` writes, or a signal is larger than `LARGEST`.
    """
    old = attached(row, replaced={*signals, *replaced})
    _refuse_large(row, signals)

    def others(part: str) -> dict[str, Any]:
        return {name: known for name, known in old.get(part, {}).items() if name not in signals}

    new = {
        **old,
        "signals": {**old.get("signals", {}), **signals},
        "ranges": {**others("ranges"), **{name: _plain(ends) for name, ends in ranges.items()}},
        "lower": [name for name in old.get("lower", ()) if name not in signals] + list(lower),
        "judge": {**others("judge"), **(judge or {})},
    }
    return splice(
        strip(row.raw, row.value),
        {name: part for name, part in new.items() if part not in ({}, [])},
    )


def _plain(ends: tuple[float, float]) -> list[float]:
    return [int(end) if abs(end) < 2**53 and float(end).is_integer() else end for end in ends]


def attached(row: Row, replaced: Collection[str] = ()) -> dict[str, Any]:
    """The row's ``"gip"`` member, checked; empty if it has none.

    Raises
    ------
    InputError
        The member is there but is not what `gip` writes, or a signal that is not to be `replaced`
        is outside its range or larger than `LARGEST`.
    """
    if MEMBER not in row.value:
        return {}
    member = row.value[MEMBER]
    well_formed = (  # anything else is the user's own, which `strip` must not take out
        isinstance(member, dict)
        and len(member) > 0
        and member.keys() <= _OF_SCORE | OF_SELECT
        and isinstance(signals := member.get("signals", {}), dict)
        and all(value is None or is_number(value) for value in signals.values())
        and isinstance(ranges := member.get("ranges", {}), dict)
        and all(
            isinstance(ends, list)
            and len(ends) == 2
            and all(is_number(end) and abs(end) <= LARGEST for end in ends)
            and ends[0] < ends[1]
            for ends in ranges.values()
        )
        and isinstance(lower := member.get("lower", []), list)
        and all(isinstance(name, str) for name in lower)
        and isinstance(member.get("judge", {}), dict)
        and not _too_deep(member)
    )
    if not well_formed:
        raise row.error(
            f'the member "{MEMBER}" is not one that gip writes', "rename or remove that member"
        )
    kept = {name: one for name, one in member.get("signals", {}).items() if name not in replaced}
    _refuse_large(row, kept)
    for name, (low, high) in member.get("ranges", {}).items():
        value = kept.get(name)
        if value is not None and not low <= value <= high:
            raise row.error(
                f"signal {name!r} is {outside(value, low, high)}",
                "score the row again with --overwrite, or mend it",
            )
    return dict(member)


def outside(value: float, low: float, high: float) -> str:
    """What to say of a signal that is not in its range."""
    return f"{exact(value)}, outside its range {exact(low)}:{exact(high)}"


def _refuse_large(row: Row, signals: Mapping[str, float | None]) -> None:
    for name, value in signals.items():
        if value is not None and abs(value) > LARGEST:
            raise row.error(
                f"signal {name!r} is {value:g}, and {LARGEST:g} is the largest", "scale it down"
            )


def _too_deep(member: dict[str, Any]) -> bool:
    """Whether orjson, which reads deeper than it writes, could not write it again."""
    try:
        orjson.dumps(member)
    except orjson.JSONEncodeError:
        return True
    return False


def refuse_present(row: Row, names: Collection[str]) -> None:
    """Raise InputError if the row has a signal of one of these names."""
    if there := attached(row).get("signals", {}).keys() & set(names):
        raise row.error(f"signal {min(there)!r} is there already", "pass --overwrite")


def splice(raw: bytes, member: Mapping[str, Any]) -> bytes:
    """`raw` with a last member ``"gip"``; every other byte stays. Empty members add nothing."""
    if not member:
        return raw
    body = raw[: raw.rindex(b"}")]
    comma = b"" if body.rstrip().endswith(b"{") else b","
    return body + comma + b'"%s":' % MEMBER.encode() + orjson.dumps(member) + raw[len(body) :]


_SPLICED = b',"%s":' % MEMBER.encode()  # as `splice` begins it after other members

# What can stand at a place where structure matters: a string, a bracket, or a separator.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]')


def strip(raw: bytes, value: Mapping[str, Any]) -> bytes:
    """`raw` without its ``"gip"`` members, wherever another tool has moved them."""
    if MEMBER not in value:
        return raw
    if (at := raw.rfind(_SPLICED)) > 0:
        # Mostly it is the last member, which need not be looked for: so it is where one value
        # follows its name, and what comes before is an object that has no other.
        with suppress(orjson.JSONDecodeError):
            orjson.loads(raw[at + len(_SPLICED) : -1])
            if MEMBER not in orjson.loads(rest := raw[:at] + b"}"):
                return rest
    kept = [raw[start:end] for name, start, end in _members(raw) if name != MEMBER]
    opening, closing = raw.index(b"{") + 1, raw.rindex(b"}")
    blanks = raw[opening : raw.index(b'"')]  # all that an object has that had no other member
    return raw[:opening] + (b",".join(kept) or blanks) + raw[closing:]


def _members(raw: bytes) -> Iterator[tuple[str | None, int, int]]:
    """The members of an object: name, and where it starts and ends between the commas."""
    name: str | None = None
    depth = start = 0
    for token in _TOKEN.finditer(raw):
        mark = token[0][:1]
        if mark in b"{[":
            depth += 1
            if depth == 1:
                start = token.end()
        elif depth == 1 and mark in b",}":
            yield name, start, token.start()
            name, start = None, token.end()
        elif depth == 1 and mark == b'"' and name is None:
            name = orjson.loads(token[0])
        if mark in b"}]":
            depth -= 1


def to_unit(values: Array, ranges: Sequence[tuple[float, float]], lower: Sequence[bool]) -> Array:
    """Map signals to [0, 1], 1 being best (design 2.2).

    Parameters
    ----------
    values : (m, a)
        NaN where missing; stays NaN.
    ranges : a pairs
        What is mapped to 0 and 1. A range without spread maps to 1: it says nothing against any
        row.
    lower : a flags
        Whether less is better.
    """
    unit = np.empty_like(values)
    for column, ((low, high), less) in enumerate(zip(ranges, lower, strict=True)):
        one = values[:, column]
        half = high / 2 - low / 2  # halves, so that no difference overflows
        if half == 0:  # also of the least numbers that there are
            unit[:, column] = np.where(np.isnan(one), np.nan, 1.0)
        else:
            unit[:, column] = (high / 2 - one / 2 if less else one / 2 - low / 2) / half
    return unit


def quality_weights(unit: Array, shares: Sequence[float], power: float) -> Array:
    """Weights w (m,) in (0, 1] from unit signals (m, a): weighted mean, floored, to a power.

    A row with any signal missing gets NaN: it cannot be picked (design 2.2).
    """
    mean = unit @ (np.asarray(shares, dtype=np.float64) / np.sum(shares))
    # Rounding can take the mean of a row of best signals above 1.
    floored: Array = np.clip(mean, WEIGHT_FLOOR, 1.0) ** power
    floored[np.isnan(mean)] = np.nan  # NaN ** 0 is 1
    return floored
