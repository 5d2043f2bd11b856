"""What rows carry beside their text, as columns: their signals, and the values of a field."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.arrays import Array
from gip_cli.errors import UsageError
from gip_cli.rows import Row
from gip_cli.signals import MOST_WEIGHT, attached, to_unit

Range = tuple[float, float]


@dataclass(frozen=True)
class Signals:
    """Signal values (m, a), NaN where missing, with the scale that the rows declare."""

    names: tuple[str, ...]
    values: Array
    ranges: tuple[Range | None, ...]
    lower: tuple[bool, ...]

    def weighted(self, wanted: Sequence[str]) -> tuple[Signals, list[float]]:
        """The signals that ``NAME[=WEIGHT]`` texts choose, and their weights (1 if not said)."""
        names, shares = [], []
        for text in wanted:
            name, equals, weight = (text, "", "") if text in self.names else text.rpartition("=")
            try:
                share = float(weight) if equals else 1.0
            except ValueError:
                share = -1.0
            if not 0 < share <= MOST_WEIGHT:
                raise UsageError(
                    f"--signal {text!r} is not NAME=WEIGHT with a positive weight of at most "
                    f"{MOST_WEIGHT:g}"
                )
            names.append(name if equals else text)
            shares.append(share)
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"two --signal named {twice[0]!r}", "give its weight once")
        return self.chosen(tuple(names)), shares

    @cached_property
    def scales(self) -> tuple[Range, ...]:
        """The range of each (a): as declared, else from the least value to the largest."""
        known = ~np.isnan(self.values)
        spans = zip(
            np.min(self.values, axis=0, initial=np.inf, where=known).tolist(),
            np.max(self.values, axis=0, initial=-np.inf, where=known).tolist(),
            strict=True,
        )
        return tuple(
            declared or (span if span[0] <= span[1] else (0.0, 0.0))
            for declared, span in zip(self.ranges, spans, strict=True)
        )

    def unit(self) -> Array:
        """The values mapped to [0, 1] (m, a) by `scales`, 1 being best; NaN stays NaN."""
        return to_unit(self.values, self.scales, self.lower)

    def chosen(self, names: tuple[str, ...]) -> Signals:
        """Those of `names`, in that order; raises UsageError for one that no row has a value of."""
        columns = zip(self.names, self.values.T, strict=True)
        have = [name for name, column in columns if not np.isnan(column).all()]
        if unknown := [name for name in names if name not in have]:
            here = ", ".join(have) or "none; attach them with gip score"
            raise UsageError(f"no row has signal {unknown[0]!r}", f"signals here: {here}")
        if names == self.names:
            return self
        at = [self.names.index(name) for name in names]
        return Signals(
            names,
            self.values[:, at],
            tuple(self.ranges[i] for i in at),
            tuple(self.lower[i] for i in at),
        )


class SignalColumns:
    """Gathers the rows' signals into columns; a name may first appear in any row."""

    def __init__(self) -> None:
        self._count = 0
        self._values: dict[str, array[float]] = {}
        self._scales: dict[str, tuple[Any, bool]] = {}

    def add(self, row: Row) -> None:
        """Take the next row's signals; raises InputError where they are on another scale."""
        member = attached(row)
        ranges, lower = member.get("ranges", {}), member.get("lower", ())
        for name, value in member.get("signals", {}).items():
            scale = (ranges.get(name), name in lower)
            if self._scales.setdefault(name, scale) != scale:
                raise row.error(
                    f"signal {name!r} has another scale here than in the rows before",
                    "score all rows by one command",
                )
            column = self._values.setdefault(name, array("d"))
            column.extend([np.nan] * (self._count - len(column)))
            if value is not None:
                column.append(value)
        self._count += 1

    def signals(self) -> Signals:
        """The columns as they are now."""
        names = tuple(self._values)
        values = np.full((self._count, len(names)), np.nan)
        for at, column in enumerate(self._values.values()):
            values[: len(column), at] = column
        ranges = [self._scales[name][0] for name in names]
        return Signals(
            names,
            values,
            tuple(None if ends is None else (ends[0], ends[1]) for ends in ranges),
            tuple(self._scales[name][1] for name in names),
        )


class Values:
    """A field's value in each row: every distinct one once, and four bytes a row.

    Attributes
    ----------
    distinct : list
        JSON values in the order met. A number and the text of its digits are two values.
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.distinct: list[Any] = []
        self._at: dict[str | bytes, int] = {}
        self._codes = array("i")
        for value in values:
            self.append(value)

    def append(self, value: Any) -> None:
        """Take the next row's value, None where it has none; raises JSONEncodeError if too deep."""
        key = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        code = self._at.setdefault(key, len(self.distinct))
        if code == len(self.distinct):
            self.distinct.append(value)
        self._codes.append(code)

    @property
    def is_empty(self) -> bool:
        """Whether no row has a value."""
        return self.distinct == [None]

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """Each row's value (m,), an index into `distinct`."""
        return np.frombuffer(self._codes, dtype=np.int32)
