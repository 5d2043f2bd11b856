"""Which rows may still be picked: a budget of tokens, quotas of rows or tokens for groups.

These are the `Rules` of `gip_cli.pursuit`: state that picks change, and that only ever closes
rows. Rows that can never be picked (excluded, without a signal) need no rule: their weight is NaN.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Counts, Mask, Rows
from gip_cli.pursuit import Rules


class Caps:
    """Each group's picks may cost so much in all: a quota of rows, a budget of tokens.

    Rows lie sorted by group and cost, so that those which no longer fit are always the tail of
    their group: a pick costs a search and the rows that it closes, whatever the pool's size.
    Memory is one number a row.

    Parameters
    ----------
    limits : (G,)
        Most that the picks of each group may cost.
    groups : (m,)
        Group of each row, 0 to G - 1.
    costs : (m,)
        What picking a row costs, >= 0: 1 to count rows, else its tokens.
    """

    def __init__(self, limits: Counts, groups: npt.NDArray[np.integer], costs: Counts) -> None:
        self._groups, self._costs = groups, costs
        self._order = np.lexsort((costs, groups)).astype(np.min_scalar_type(len(groups)))
        sizes = np.bincount(groups, minlength=len(limits))
        self._starts = np.cumsum(sizes) - sizes
        self._left = limits.astype(np.int64)
        self._ends = self._fitting()

    def _fitting(self) -> Rows:
        """Where in the sorted order each group's rows that still fit end."""
        fit = np.bincount(self._groups[self.pickable()], minlength=len(self._left))
        return self._starts + fit

    def pickable(self) -> Mask:
        """(m,) rows whose cost fits in what their group has left."""
        fit: Mask = self._costs <= self._left[self._groups]
        return fit

    def take(self, row: int) -> npt.NDArray[np.integer]:
        """Spend the row's cost; the rows of its group that no longer fit."""
        group = self._groups[row]
        self._left[group] -= self._costs[row]
        start, end = self._starts[group], self._ends[group]
        fit = bisect_right(self._order, self._left[group], start, end, key=self._costs.__getitem__)
        self._ends[group] = fit
        return self._order[fit:end]

    def copy(self) -> Self:
        """A snapshot that shares all but what picks change: two numbers a group."""
        other = copy(self)
        other._left, other._ends = self._left.copy(), self._ends.copy()
        return other

    def after(self, rows: Rows) -> Self:
        """The state once all of `rows` are picked."""
        other = self.copy()
        np.subtract.at(other._left, self._groups[rows], self._costs[rows])
        other._ends = other._fitting()
        return other


class All:
    """Several rules at once: a row may be picked while every one of them allows it."""

    def __init__(self, rules: Sequence[Rules]) -> None:
        self._rules = rules

    def pickable(self) -> Mask:
        allowed: Mask = np.logical_and.reduce([rule.pickable() for rule in self._rules])
        return allowed

    def take(self, row: int) -> npt.NDArray[np.integer]:
        return np.concatenate([rule.take(row) for rule in self._rules])

    def copy(self) -> Self:
        other = copy(self)
        other._rules = [rule.copy() for rule in self._rules]
        return other
