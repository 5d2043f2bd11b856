"""What a sweep over a pool is told, and what it finds: the same on the host and on a device."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, Objective, Precision

STRETCH = 32  # picks whose columns' products are summed at a time, at most
ROUNDED = 4  # what their number is a multiple of
LONGEST = 8  # stretches in a block, at most
# Picks that a block is not shortened to fewer than: where drafts are mostly wrong, as on rows in
# tight clusters, one more pick a block spares up to a third of the drafts.
LEAST_KEPT = 8
# Rates that fall to less within one stretch: half as long ones bound them better, and of the first
# few hundred picks' rows a quarter fewer need following.
STEEP = 0.95
FIXED = 2  # in `Objective.products`
NEVER = np.iinfo(np.int64).max
MANY = 1024  # hits at a time, from which on it pays to drop those that decide nothing

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
        set it side by side; where one's is lost, more is swept and kept, never less.
    may_shorten : bool
        Whether a block that is wrong may end before its first wrong pick, to spare sweeps.
    """

    rates: Array
    margin: float
    picks: Ids
    closed: Ids
    since: Ids
    last: int = NEVER
    may_shorten: bool = False

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
        if len(rows) < MANY and not (self.may_shorten and self.last > LEAST_KEPT):
            return hits
        is_open = (steps < lookup(self.closed, self.since, rows)) & (
            steps < lookup(*earliest(near[0], near[1] + 1), rows)
        )
        if len(rows) < MANY and not is_open.any():
            return hits
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


def stretch_of(limits: Array) -> int:
    """How many picks a block's stretches have, of limits (b,)."""
    stretches = -(-len(limits) // STRETCH)
    if stretches == 1 and limits[-1] < STEEP * limits[0]:
        stretches = 2
    return -(-len(limits) // (ROUNDED * stretches)) * ROUNDED


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
    stretch : int, optional
        Picks in a stretch; as many as suit the block by default.
    """

    def __init__(
        self,
        objective: Objective,
        block: Columns,
        limits: Array | float,
        dtype: Precision,
        contest: Contest | None = None,
        picks: Floats | None = None,
        bar: float = np.inf,
        stretch: int | None = None,
    ) -> None:
        groups, b, D = block.vectors.shape
        limits = np.broadcast_to(limits, b)
        self.objective, self.block, self.contest, self.bar = objective, block, contest, bar
        self.stretch = stretch or stretch_of(limits)
        self.stretches = -(-b // self.stretch)
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

    def __len__(self) -> int:
        return len(self.block.gains)

    def shortened(self) -> SweepPlan:
        """The plan for the picks that may still be right, as far as the contest has come.

        Within the first stretch those before the first that is beaten beyond doubt, else whole
        stretches. A few are kept at least: where one of those is beaten it matters what beats it.
        """
        contest = self.contest
        last = max(LEAST_KEPT, contest.last) if contest and contest.may_shorten else len(self)
        if last >= len(self):
            return self
        return self.first(last if last < self.stretch else last - last % self.stretch)

    def first(self, picks: int) -> SweepPlan:
        """The plan for the first so many picks, by the same stretches or a shorter one."""
        return SweepPlan(
            self.objective,
            self.block.first(picks),
            self.limits.reshape(-1)[:picks],
            self.matrix.dtype.type,
            self.contest,
            None if self.picks is None else self.picks[:, :picks].T,
            self.bar,
            min(self.stretch, -(-picks // ROUNDED) * ROUNDED),
        )


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
    picks : int
        How many of the block's picks, from the first on, `pool.after` is for.
    sums : (stretches, s, p) or None
        What each stretch of picks subtracts from the states: until the next sweep, which
        overwrites it. None for a block of one stretch, and from a device.
    """

    rows: Ids
    steps: Ids
    rates: Floats
    near_rows: Ids
    near_steps: Ids
    cosines: Floats
    _: KW_ONLY
    picks: int
    sums: Floats | None = None

    def first(self, picks: int) -> Hits:
        """Those of the first so many picks."""
        reached, near = self.steps < picks, self.near_steps < picks
        return replace(
            self,
            picks=picks,
            rows=self.rows[reached],
            steps=self.steps[reached],
            rates=self.rates[reached],
            near_rows=self.near_rows[near],
            near_steps=self.near_steps[near],
            cosines=self.cosines[near],
        )
