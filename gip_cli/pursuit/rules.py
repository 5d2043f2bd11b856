"""Which rows may still be picked: the solver's side of the contract."""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray


class Rules(Protocol):
    """Constraints on the picks (token budgets, quotas, exclusions), as state that picks change.

    A pick can only ever close rows, never open them again: this is what lets the solver verify
    many picks at once. `select` works on copies and leaves the object it was given untouched.
    """

    def pickable(self) -> NDArray[np.bool_]:
        """(m,) rows that may be picked first. Called once, before the first pick."""
        ...

    def take(self, row: int) -> NDArray[np.integer]:
        """Record that `row` is picked; (c,) rows that may no longer be picked because of it.

        Rows that were closed before, and `row` itself, may be among them.
        """
        ...

    def copy(self) -> Self:
        """An independent snapshot. Cheap: drafts that may be thrown away are made on copies."""
        ...


def close(rules: Rules | None, row: int) -> NDArray[np.int64]:
    """Record a pick; the rows that it closes."""
    if rules is None:
        return np.empty(0, np.int64)
    return np.asarray(rules.take(row)).astype(np.int64, copy=False)
