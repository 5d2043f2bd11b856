"""Which rows may still be picked: the solver's side of the contract."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit import check


class Rules(Protocol):
    """Constraints on the picks (token budgets, quotas, exclusions), as state that picks change.

    A pick can only ever close rows, never open them again: this is what lets the solver verify
    many picks at once. `select` works on copies and leaves the object it was given untouched.
    """

    def pickable(self) -> NDArray[np.bool_]:
        """(m,) mask of the rows that may be picked first. Called once, before the first pick."""
        ...

    def take(self, row: int) -> NDArray[np.integer]:
        """Record that `row` is picked; (c,) rows that may no longer be picked because of it.

        By their numbers, not by a mask; rows that were closed before, and `row` itself, may be
        among them.
        """
        ...

    def copy(self) -> Self:
        """An independent snapshot. Cheap: drafts that may be thrown away are made on copies."""
        ...


class Checked:
    """Rules of m rows that are held to the contract: what they say raises ValueError if it is not.

    A mask from `take`, read as numbers, would close the rows 0 and 1 alone. And rows that it names
    again at every pick are passed on once: they would be told apart at every level of a draft.
    """

    def __init__(self, rules: Rules, is_open: NDArray[np.bool_]) -> None:
        self._rules, self._is_open = rules, is_open

    def pickable(self) -> NDArray[np.bool_]:
        pickable = check.pickable(self._rules.pickable(), len(self._is_open))
        self._is_open &= pickable
        return pickable

    def take(self, row: int) -> NDArray[np.int64]:
        rows, m = np.asarray(self._rules.take(row)), len(self._is_open)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            what = f"{rows.dtype} of shape {rows.shape}"
            raise ValueError(f"rules.take() must give rows by their numbers, not {what}")
        if rows.size and not (rows.min() >= 0 and rows.max() < m):
            raise ValueError(f"rules.take() must give rows from 0 to {m - 1}")
        closed: NDArray[np.int64] = rows.astype(np.int64, copy=False)
        closed = closed[self._is_open[closed]]
        self._is_open[closed] = False
        return closed

    def copy(self) -> Checked:
        return Checked(self._rules.copy(), self._is_open.copy())


def close(rules: Rules | None, row: int) -> NDArray[np.int64]:
    """Record a pick; the rows that it closes."""
    return np.asarray(() if rules is None else rules.take(row), np.int64)
