"""What a sweep over a pool is told, and what it finds: the same on the host and on a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, Objective, Precision

STRETCH = 32  # picks whose columns' products are summed at a time, at most
ROUNDED = 4  # what their number is a multiple of
LONGEST = 8  # stretches in a block, at most
FIXED = 2  # in `Objective.products`
NEVER = np.iinfo(np.int64).max
MANY = 1024  # hits at a time, from which on those that decide nothing are dropped

Found = tuple[Ids, Ids, Floats]  # rows, picks of the block, and a rate or cosine of each pair


@dataclass(slots=True)
class Contest:
    """The picks of a block, and which other rows may have beaten one.

    Attributes
    ----------
    rates : (b,)
        Rate of each pick.
    margin : float
        Relative error that rates may have.
    picks : (b,)
        The picks' rows of the pool.
    closed, since : (n,), (n,)
        Ascending rows that the block closes, its picks among them, and the first pick of the
        block that each can no longer be; rows that are too near to a pick are not among them.
    last : int
        The first pick that is known to be beaten beyond doubt: those after it do not count. Workers
        set it side by side; where one's is lost, more hits are kept, never fewer.
    """

    rates: Array
    margin: float
    picks: Ids
    closed: Ids
    since: Ids
    last: int = NEVER

    def decisive(
        self, steps: Ids, rates: Floats, is_open: NDArray[np.bool_] | slice
    ) -> NDArray[np.bool_]:
        """(n,) hits that can decide the block, as far as the open ones among them tell.

        Picks count up to the first that is beaten beyond doubt, and there and before only the
        best rows do. Negative rates, which may be nothing, beat no other.
        """
        best = self.rates.copy()
        np.maximum.at(best, steps[is_open], rates[is_open])
        beaten = np.argmax(np.append(best > self.rates * (1 + self.margin), True))
        self.last = min(self.last, int(beaten))
        decisive: NDArray[np.bool_] = np.abs(rates) >= best[steps] * (1 - 2 * self.margin)
        decisive &= steps <= self.last
        return decisive

    def thinned(self, hits: Found, near: Found) -> Found:
        """Hits without those that decide nothing: a bad draft can be beaten by the whole pool.

        Rows that are `near` a pick, beyond doubt or not, prove nothing after it. The picks' own
        hits stay.
        """
        rows, steps, rates = hits
        if len(rows) < MANY:
            return hits
        is_open = (steps < lookup(self.closed, self.since, rows)) & (
            steps < lookup(*earliest(near[0], near[1] + 1), rows)
        )
        keep = np.isin(rows, self.picks) | self.decisive(steps, rates, is_open)
        return rows[keep], steps[keep], rates[keep]


def earliest(rows: Ids, since: Ids) -> tuple[Ids, Ids]:
    """Each row once, ascending, with its smallest `since`."""
    order = np.lexsort((since, rows))
    rows, first = np.unique(rows[order], return_index=True)
    return rows, since[order][first]


def lookup(keys: Ids, values: Ids, wanted: Ids) -> Ids:
    """Values of the wanted among ascending keys; NEVER for those that are not there."""
    if not len(keys):
        return np.full(len(wanted), NEVER)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], NEVER)


class SweepPlan:
    """A block of b picks as the chunks need it, padded to whole stretches of the same length.

    Parameters
    ----------
    limits : (b,)
        Rates that a row must come up to, to be reported.
    dtype : type
        Working precision.
    contest : Contest or None
        What decides the block, if hits that do not are to be left out.
    picks : (b, d) or None
        Embeddings of the picks, if rows closer to one than the cosine `bar` are to be reported.
    """

    def __init__(
        self,
        objective: Objective,
        block: Columns,
        limits: Array | float,
        dtype: Precision,
        contest: Contest | None = None,
        picks: Array | None = None,
        bar: float = np.inf,
    ) -> None:
        groups, b, D = block.vectors.shape
        self.objective, self.contest, self.bar = objective, contest, bar
        self.stretches = -(-b // STRETCH)
        self.stretch = -(-b // (ROUNDED * self.stretches)) * ROUNDED
        padded = self.stretches * self.stretch
        matrix = np.zeros((D, groups, padded), dtype)
        matrix[:, :, :b] = block.vectors.transpose(2, 0, 1)
        self.matrix = matrix.reshape(D, groups * padded)
        self.limits = np.full((self.stretches, self.stretch), np.inf, dtype)
        self.limits.reshape(-1)[:b] = limits
        self.least = self.limits.min(axis=1)
        self.fixed = np.zeros((self.stretches, self.stretch), dtype)
        if block.fixed is not None:
            self.fixed.reshape(-1)[:b] = block.fixed
        self.fixed_squares = np.einsum("cs,cs->c", self.fixed, self.fixed)
        # By rows, as small products go unpacked with such matrices alone.
        self.picks = None if picks is None else picks.T.astype(dtype, order="C")


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows that came up to a pick's limit, the picks' own rows among them; in no order.

    Attributes
    ----------
    rows, steps : (n,)
        Row of the pool, and the pick of the block that it came up to.
    rates : (n,)
        The row's rate just before that pick, to the working precision; see `Objective.gain` for
        what negative ones mean.
    near_rows, near_steps, cosines : (x,)
        Rows, picks that they are closer to than the bar, and how close, to the working precision.
    """

    rows: Ids
    steps: Ids
    rates: Floats
    near_rows: Ids
    near_steps: Ids
    cosines: Floats
