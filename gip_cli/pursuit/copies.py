"""Rows that are copies of each other, of which the lowest is always picked first.

They gain the same at every turn, so that of thousands of copies only the lowest few count. Where
there are many, all of them would be tied for a pick, and be all that a draft is made on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.objective import Array, Ids

BATCH = 1024  # rows looked at at a time


class Copies:
    """Which rows of a pool are copies of each other.

    Attributes
    ----------
    group : (p,)
        The same number for all copies of a row; -1 for a row without any.
    rows : (n,)
        Rows that have copies, group by group, ascending in each.
    start : (n,)
        Where among them the group of each begins.
    """

    def __init__(self, group: Ids) -> None:
        self.group = group
        rows = np.flatnonzero(group >= 0)
        self.rows: Ids = rows[np.argsort(group[rows], kind="stable")]
        self.start: Ids = np.searchsorted(group[self.rows], group[self.rows])

    @staticmethod
    def among(ids: Ids, size: int, take: Callable[[Ids], Array]) -> Copies:
        """The copies among ascending rows `ids` of a pool of `size`; `take` gives rows (n, D)."""
        keys = fingerprints(ids, take)
        _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
        repeated = counts[group] > 1
        groups = np.full(size, -1)
        groups[ids[repeated]] = group[repeated]
        copies = Copies(groups)
        for at in range(0, len(copies.rows), BATCH):
            rows = copies.rows[at : at + BATCH]
            firsts = copies.rows[copies.start[at : at + BATCH]]
            groups[rows[(take(rows) != take(firsts)).any(axis=1)]] = -1  # fingerprints may collide
        return Copies(groups)

    def part(self, ids: Ids) -> Copies:
        """Those among some rows, as a pool of their own."""
        return Copies(self.group[ids])

    def before(self, counted: NDArray[np.bool_]) -> Ids:
        """(n,) how many of the copies below each of `rows` are counted (p,)."""
        counts = counted[self.rows]
        before: Ids = np.cumsum(counts) - counts
        before -= before[self.start]
        return before

    def lowest(self, ids: Ids, is_open: NDArray[np.bool_]) -> Ids:
        """Ascending rows `ids`, but of copies the lowest that are open (p,)."""
        chosen = np.zeros(len(self.group), np.bool_)
        chosen[ids] = True
        counts = np.bincount(self.start, chosen[self.rows], len(self.rows))[self.start]
        chosen[self.rows] = is_open[self.rows] & (self.before(is_open) < counts)
        return np.flatnonzero(chosen)

    def first(self, row: int, is_open: NDArray[np.bool_]) -> int:
        """The lowest open copy of an open row."""
        if self.group[row] < 0:
            return row
        return int(np.argmax((self.group == self.group[row]) & is_open))


def fingerprints(ids: Ids, take: Callable[[Ids], Array]) -> NDArray[np.uint64]:
    """(n,) numbers that are equal for equal rows, wherever they lie, and hardly ever for others."""
    keys = np.empty(len(ids), np.uint64)
    D = take(ids[:0]).shape[1]
    factors = 2 * np.random.default_rng(0).integers(2**63, size=D, dtype=np.uint64) + 1
    for start in range(0, len(ids), BATCH):
        X = take(ids[start : start + BATCH])
        bits = (X + 0.0).view(np.uint64)  # of 0.0 also where X holds -0.0
        bits = bits ^ (bits >> np.uint64(32))  # widened numbers end in zeros, as products would
        keys[start : start + BATCH] = (bits * factors).sum(axis=1)
    return keys
