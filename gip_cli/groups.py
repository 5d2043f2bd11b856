"""Groups of rows by a field's value, and how much of the budget each may or must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.arrays import Array, Counts, Rows
from gip_cli.columns import Values
from gip_cli.errors import InputError, UsageError
from gip_cli.printable import listed
from gip_cli.rows import is_number
from gip_cli.storage import storage_errors

_SHOWN = 8  # groups named in a message


@dataclass(frozen=True)
class Shares:
    """How a budget is divided: by the groups' sizes, evenly, or as a file says."""

    rule: Literal["proportional", "equal", "file"]
    of: Mapping[str, float]  # a file's shares by group name, of any positive sum; else empty
    path: str | None = field(default=None, compare=False)  # of that file

    @classmethod
    def parse(cls, text: str) -> Shares:
        """``proportional``, ``equal``, or the path of a JSON object of shares by group.

        Raises
        ------
        UsageError, InputError
            No such file; or not an object of numbers >= 0 with a positive sum.
        """
        if text == "proportional":
            return cls("proportional", {})
        if text == "equal":
            return cls("equal", {})
        if not Path(text).exists():
            raise UsageError(
                f"--group-share {text}: no such file", "give proportional, equal or FILE.json"
            )
        with storage_errors(text):
            data = Path(text).read_bytes()
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise InputError(f"not JSON: {error.msg}", "mend the file", path=text) from None
        numbers: list[Any] = list(value.values()) if isinstance(value, dict) else []
        if (
            not all(map(is_number, numbers))
            or min(numbers, default=0) < 0
            or not 0 < sum(numbers) < float("inf")
        ):
            raise InputError(
                "not shares by group",
                'expected {"GROUP": NUMBER, ...}, numbers >= 0 and not all zero',
                path=text,
            )
        return cls("file", value, text)


@dataclass(frozen=True)
class Grouping:
    """A field whose values are groups, and exactly one limit on them.

    `per_group` rows of each are wanted; or `shares` of the budget; or `at_most` rows of each are
    allowed, but none wanted.
    """

    field: str
    per_group: int | None = None
    shares: Shares | None = None
    at_most: int | None = None

    def __post_init__(self) -> None:
        if sum(limit is not None for limit in (self.per_group, self.shares, self.at_most)) != 1:
            raise UsageError(
                "--group-field goes with one limit",
                "pass --per-group N, --group-share SHARES or --max-per-group N",
            )
        for option, count in (("--per-group", self.per_group), ("--max-per-group", self.at_most)):
            if count is not None and count < 1:
                raise UsageError(f"{option} {count} is not a positive number")


@dataclass(frozen=True)
class Groups:
    """Each row's group (m,), an index into `names`, which are sorted."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int32]

    @classmethod
    def by(cls, values: Values, also: Iterable[str] = ()) -> Groups:
        """Group rows by their values; names in `also` are groups even if no row has them."""
        names = [_name(value) for value in values.distinct]
        known = sorted({*names, *also})
        at = {name: code for code, name in enumerate(known)}
        return cls(
            tuple(known), np.array([at[name] for name in names], dtype=np.int32)[values.codes]
        )

    def count(self, rows: Rows | slice) -> Counts:
        """(G,) how many of the chosen rows each group has."""
        return np.bincount(self.codes[rows], minlength=len(self.names))

    def shares(self, rows: Rows) -> Array:
        """(G,) each group's share of the chosen rows."""
        return self.count(rows) / len(rows)

    def total(self, costs: Counts, rows: Rows) -> Counts:
        """(G,) what the chosen rows of each group cost together."""
        sums = np.zeros(len(self.names), dtype=np.int64)
        np.add.at(sums, self.codes[rows], costs[rows])
        return sums


def _name(value: Any) -> str:
    """A group's name: a string as it is, anything else as JSON; a missing field is ``null``."""
    return (
        value
        if isinstance(value, str)
        else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    )


def weigh(shares: Shares, groups: Groups, sizes: Counts) -> Array:
    """In which proportion (G,) rows or tokens are divided among the groups.

    Parameters
    ----------
    sizes : (G,)
        Rows or tokens that each group could give; groups of none share nothing, unless a file
        names them.

    Raises
    ------
    UsageError
        The file's shares name none of the groups that have rows.
    """
    if shares.rule == "file":
        weights = np.array([float(shares.of.get(name, 0)) for name in groups.names])
        if not np.any(weights[sizes > 0]):
            here = [groups.names[g] for g in np.flatnonzero(sizes)]
            raise UsageError(
                "the shares name no group that rows are in",
                f"groups here: {listed(here, _SHOWN)}",
                path=shares.path,
            )
    else:
        weights = (sizes if shares.rule == "proportional" else sizes > 0).astype(np.float64)
    return weights


def largest_remainder(weights: Array, total: int) -> Counts:
    """`total` divided in proportion to `weights` (G,) into whole parts that sum to it.

    Every group gets its exact part rounded down; what is left goes, one each, to the largest
    remainders, ties to the larger weight, then to the first.
    """
    # By a power of two, so that the products are the same but for those that overflowed.
    weights = np.ldexp(weights, -np.frexp(weights.max())[1])
    exact = weights * total / weights.sum()
    parts: Counts = np.floor(exact).astype(np.int64)
    order = np.lexsort((-weights, (parts - exact).round(9)))  # rounding must not break ties
    parts[order[: total - int(parts.sum())]] += 1
    return parts
