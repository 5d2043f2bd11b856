"""Signals that stand in the rows already: upvotes, ratings, another tool's labels."""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gip_cli.errors import InputError, UsageError
from gip_cli.formats import lookup, members_shown
from gip_cli.printable import agreeing, counted, exact, printable
from gip_cli.rows import Row, unquoted
from gip_cli.signals import LARGEST, attach, outside, refuse_present


def _mean(numbers: list[float]) -> float:
    try:
        mean = math.fsum(numbers) / len(numbers)
    except OverflowError:  # of the sum, which fractions do without
        mean = statistics.mean(numbers)
    return min(max(mean, min(numbers)), max(numbers))  # past which rounding can take it


_REDUCE: dict[str, Callable[[list[float]], float]] = {
    "mean": _mean,
    "max": max,
    "min": min,
    "last": lambda numbers: numbers[-1],
}

_FEW = 100  # one row in so many may lie far from the others
_NARROW = 0.1  # share of a scale in which rows hardly differ


@dataclass(frozen=True)
class Metadata:
    """A signal that stands in the rows already: ``NAME=[-]FIELD[:mean|max|min|last]``.

    Any other colon is the field's own, and so are all but the last: ``x:max`` is ``x:max:last``.
    """

    name: str
    field: str
    reduce: str | None
    lower: bool

    @classmethod
    def parse(cls, text: str) -> Metadata:
        """Read the command line's form; raises UsageError."""
        name, equals, field = text.partition("=")
        lower = field.startswith("-")
        field, reduce = field.removeprefix("-"), None
        before, colon, how = field.rpartition(":")
        if colon and how in _REDUCE:
            field, reduce = before, how
        if not (name and equals and field) or field.endswith(":"):
            raise UsageError(
                f"--metadata {text!r} is not NAME=FIELD",
                f"FIELD is a dotted path, '-' before it if less is better, :{'|'.join(_REDUCE)} "
                "after it for a list",
            )
        return cls(name, field, reduce, lower)

    def value(self, row: Row) -> float | None:
        """The row's number, or None if the field is missing or not a number."""
        member = lookup(row.value, self.field)
        if isinstance(member, list):
            numbers = [_number(one) for one in member]
            if not numbers or None in numbers or self.reduce is None:
                return None
            return _number(_REDUCE[self.reduce](numbers))  # type: ignore[arg-type]
        return _number(member)

    def joined(self, row: Row) -> str:
        """How to have a number of the row that `value` has none of: its list's; else empty."""
        field, hows = "-" * self.lower + self.field, ", ".join(f":{how}" for how in _REDUCE)
        if replace(self, reduce="last").value(row) is not None:
            return f"it holds a list: {self.name}={field} takes one of {hows} after it"
        before, colon, how = self.field.rpartition(":")
        if colon and lookup(row.value, before) is not None:  # perhaps meant to join it
            return f"after {before!r} goes one of {hows}, not :{how}"
        return ""


def _number(member: Any) -> float | None:
    member = unquoted(member)
    if not isinstance(member, (bool, int, float)) or not math.isfinite(member):
        return None
    return float(member)


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """Read ``NAME=LO:HI``; raises UsageError."""
    name, _, bounds = text.partition("=")
    low, _, high = bounds.partition(":")
    ends = _number(low), _number(high)
    if not name or ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
        raise UsageError(f"--range {text!r} is not NAME=LO:HI with LO below HI")
    if max(map(abs, (ends[0], ends[1]))) > LARGEST:
        raise UsageError(f"--range {text!r} goes beyond {LARGEST:g}", "scale the signal down")
    return name, (ends[0], ends[1])


def parse_ranges(texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Read several, each of another name; raises UsageError."""
    ranges = dict(map(_range, texts))
    if len(ranges) < len(texts):
        raise UsageError("two --range of one name", "give each signal one")
    return ranges


class BeyondRangeError(InputError):
    """A value outside its range: of the first row, and of how many others."""

    def __init__(
        self, row: Row, source: Metadata, ends: tuple[float, float], values: list[float]
    ) -> None:
        self.row, self.source, self.ends, self.values = row, source, ends, values
        what, more = f"{source.name} is {outside(values[0], *ends)}", len(values) - 1
        if more:
            others = f"{agreeing(more, 'are')} {counted(more, 'more row')}"
            low, high = exact(min(values)), exact(max(values))
            what += f" (so {others}" + f", from {low} to {high}" * (low != high) + ")"
        remedy = "widen --range or mend the row" + "s" * bool(more)
        super().__init__(what, remedy, path=row.source, line=row.line)


class MetadataScorer:
    """Attaches metadata signals to rows, one at a time.

    Parameters
    ----------
    sources : sequence of Metadata
    ranges : mapping of name to (low, high)
        Declared scales; a value outside is an error.
    overwrite : bool
        Replace signals of the same name that a row has already.
    beside : names
        Signals that are attached, and overwritten, by another in the same run.
    require : bool
        A value that is missing or not a number is an error instead of null.
    """

    def __init__(
        self,
        sources: Sequence[Metadata],
        ranges: dict[str, tuple[float, float]],
        *,
        overwrite: bool = False,
        beside: Collection[str] = (),
        require: bool = False,
    ) -> None:
        names = [source.name for source in sources]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"two --metadata named {twice[0]!r}", "give each signal its own name")
        self.names = set(names)
        if unknown := sorted(ranges.keys() - self.names):
            judged = unknown[0] in beside
            raise UsageError(
                f"--range {unknown[0]}=... names no signal of --metadata",
                "leave it out: a judge's scale is its rubric's"
                if judged
                else f"those here: {', '.join(sorted(self.names)) or 'none'}",
            )
        self._sources = sources
        self._ranges = ranges
        self._lower = [source.name for source in sources if source.lower]
        self._overwrite = overwrite
        self._replaced = beside if overwrite else ()
        self._require = require
        self._first: Row | None = None
        self._odd: dict[str, Row] = {}  # the first that has something, but no number, in the field
        self._undeclared = {name: array("d") for name in self.names - ranges.keys()}
        self.rows = 0
        self.missing: Counter[str] = Counter()

    def line(self, row: Row) -> bytes:
        """The row's bytes with its signals.

        Raises
        ------
        InputError
            A value outside its range, one that is missing though required, or a signal that is
            there already.
        """
        self.rows += 1
        self._first = self._first or row
        if not self._overwrite:
            refuse_present(row, self.names)
        signals: dict[str, float | None] = {}
        for source in self._sources:
            value = signals[source.name] = source.value(row)
            if value is None:
                if self._require:
                    there = members_shown(row.value)
                    remedy = (
                        source.joined(row) or f"mend the row (fields: {there}) or drop --require"
                    )
                    raise row.error(f"no number in field {source.field!r}", remedy)
                self.missing[source.name] += 1
                if source.name not in self._odd and lookup(row.value, source.field) is not None:
                    self._odd[source.name] = row
            elif source.name in self._ranges:
                low, high = ends = self._ranges[source.name]
                if not low <= value <= high:
                    raise BeyondRangeError(row, source, ends, [value])
            else:
                self._undeclared[source.name].append(value)
        return attach(row, signals, self._ranges, self._lower, replaced=self._replaced)

    @contextmanager
    def counting_beyond(self, rest: Iterable[Row]) -> Iterator[None]:
        """Within it the error of a value outside its range counts those of the `rest`, too."""
        try:
            yield
        except BeyondRangeError as first:
            (low, high), values = first.ends, first.values
            with suppress(InputError):  # what else is wrong there has its turn once this is mended
                for value in map(first.source.value, rest):
                    if value is not None and not low <= value <= high:
                        values.append(value)
            raise BeyondRangeError(first.row, first.source, first.ends, values) from None

    def check(self) -> None:
        """Raise InputError for a field in which no row at all had a number."""
        for source in self._sources:
            if self._first and self.missing[source.name] == self.rows:
                what = f"no row has a number in field {source.field!r}"
                odd = self._odd.get(source.name, self._first)
                remedy = source.joined(odd) or f"fields here: {members_shown(self._first.value)}"
                if isinstance(value := lookup(odd.value, source.field), str):
                    what += f" (line {odd.line}: {printable(repr(value))})"
                    remedy = "write numbers there, or choose another field"
                raise InputError(what, remedy, path=self._first.source)

    def scales(self) -> Iterator[str]:
        """What to tell of each signal without a declared range: the scale that the rows span."""
        for source in self._sources:
            if not (known := self._undeclared.get(source.name)):
                continue
            values = np.sort(np.frombuffer(known))
            low, high = values[[0, -1]].tolist()
            if low == high:
                yield f"{source.name}: every number is {low:g}, which tells no row from another"
                continue
            scale = f"scale {exact(low)} to {exact(high)}, as the rows span"
            yield f"{source.name}: {scale} (--range sets another)"
            few = len(values) // _FEW
            most = len(values) - few
            widths = values[most - 1 :] - values[: few + 1]
            at = int(np.argmin(widths))
            if 0 < widths[at] < _NARROW * (high - low):
                yield (
                    f"{source.name}: 99% of the rows lie from {values[at]:g} to "
                    f"{values[at + most - 1]:g}, where on that scale they hardly differ: "
                    "mend or cut what lies beyond"
                )
