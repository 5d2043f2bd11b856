"""Rows whose gains cannot reach the next picks': left out of sweeps until they might.

Once the first few hundred picks are made, the rates of a pool's rows fall slowly and together, so
that a row well below the best stays there for hundreds of picks. What a block of picks can do to
its v and n is bounded for all rows at once, by the largest eigenvalues of (d, d) matrices; the
states of deferred rows are moved by those bounds, n upwards and v downwards, so that their gains
are upper bounds. Where one reaches a pick's, n is worked out anew, for less than a third of what
the block's products would have cost; where that does not settle it either, the row is swept again.

Of the last block no states are needed: rows that the bounds rule out for it are left out, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.chunk import Buffers
from gip_cli.pursuit.draft import Belief, Step
from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, Objective
from gip_cli.pursuit.projection import Projection, folded, quadratic
from gip_cli.pursuit.rest import neighbourhoods
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.sweep_plan import LONGEST, STRETCH
from gip_cli.pursuit.team import Team
from gip_cli.pursuit.verify import Block

SPAN = 2 * STRETCH  # picks whose products are bounded together: fewer take longer, bound tighter
LAST_SPAN = STRETCH  # of the last block: of a million rows 40 % are ruled out then, not 25 %
GUESS, TIGHTER, LOOSER = 1e-4, 0.8, 1.2  # of eigenvalues; those of U^T R are 1 at most
SHORTEST = STRETCH  # picks: a shorter block tells too little of the next
LEAST_SHARE = 1 / 4  # of the open rows: to defer fewer is not worth gathering the others
HIGHEST = 0.98  # of the best rate, that a row to be deferred may have
MOST_RECALLED = 1 / 8  # of the deferred rows, before fewer are: one costs as much as three blocks
SLACK = 1e-3  # of a pick's rate: those of other rows may be off by a tenth of that
ENOUGH = 6  # times as many rows as dimensions squared: for fewer, eigenvalues take too long


@dataclass(frozen=True, slots=True)
class Change:
    """How far a block of picks can bring the states of a row of unit norm.

    Attributes
    ----------
    span : int
        Picks that are taken together.
    rises : (c,)
        How far n is above its value at the block's start, at most, during each span of picks.
    drop : float
        How far v falls, at most.
    """

    span: int
    rises: Array
    drop: float


class Bounds:
    """Bounds what blocks of picks do to any row.

    Of sums of a_t = f.u_t and b_t = f.r_t: n loses a_t b_t at a pick, v loses a_t^2. Before a span
    of picks, n has lost f^T N f, with N = sym(U^T R) of all picks before it. Within the span it
    rises no further, at any pick, than f^T W^T W f with W = (p U - R / p) / 2 of the span's picks,
    for any p > 0: -a b is (p a - b / p)^2 / 4 - (p a + b / p)^2 / 4. So the largest eigenvalue of
    W^T W - N bounds the rise, and that of U U^T what v loses.

    Attributes
    ----------
    guesses : list of float
        What the next block's rises will be, as far as the last one's tell, span by span.
    drop_guess : float
        And what v will lose.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.guesses: list[float] = []
        self.drop_guess = GUESS

    def change(self, block: Columns, size: int = SPAN) -> Change:
        """What a block can do, its picks taken `size` at a time."""
        left, right = block.vectors
        a, b = np.linalg.norm(left), np.linalg.norm(right)
        U, R = (left / a).astype(np.float32), (right / b).astype(np.float32)
        rounding = U.shape[1] * float(np.finfo(np.float32).eps)
        starts = range(0, len(U), size)
        rises = np.empty(len(starts))
        self.guesses += [GUESS] * (len(starts) - len(self.guesses))

        def rise(i: int) -> None:
            before, span = slice(starts[i]), slice(starts[i], starts[i] + size)
            p = np.sqrt(np.linalg.norm(R[span]) / np.linalg.norm(U[span]))
            W = (p * U[span] - R[span] / p) / 2
            if i:
                terms = [W, U[before], R[before]], [W, R[before] / -2, U[before] / -2]
                above = np.concatenate(terms[0]).T @ np.concatenate(terms[1])
            else:  # without N the largest eigenvalue is that of a smaller matrix
                above = W @ W.T
            bound = bounding(above, self.guesses[i])
            self.guesses[i] = TIGHTER * bound
            rises[i] = a * b * (bound + rounding)

        self.team.each(rise, range(len(starts)))
        drop = bounding(U @ U.T, self.drop_guess)
        self.drop_guess = TIGHTER * drop
        return Change(size, rises, a**2 * (drop + rounding))


def bounding(A: Floats, guess: float) -> float:
    """A number not far above `guess` that is above all eigenvalues of a symmetric matrix.

    Cholesky's factors exist of positive definite matrices alone, and take a third of the time that
    eigenvalues do.
    """
    below = -A.astype(np.float64)
    diagonal = np.diagonal(below).copy()
    while True:
        np.fill_diagonal(below, diagonal + guess)
        try:
            np.linalg.cholesky(below)
        except np.linalg.LinAlgError:
            guess *= LOOSER
        else:
            return guess


class Deferral:
    """Which rows of a pool are deferred.

    The states of deferred rows are bounds: v of them is no less than what the pool says, n no more.

    Parameters
    ----------
    squares : (m,)
        Squared norms of the whole pool's rows.
    host : Sweeper
    max_cosine : float or None
        As for `select`: rows that are too near to a pick are closed, though they are deferred.

    Attributes
    ----------
    most : int
        How many rows were deferred, at most.
    horizon : float
        For how many picks a row should stay below the best to be deferred: to work its n out anew
        takes as long as a sweep for a third as many picks as it has dimensions.
    caution : float
        How many times further below the best than that, as far as earlier ones were not.
    """

    def __init__(self, squares: Array, host: Sweeper, max_cosine: float | None = None) -> None:
        self.squares, self.host, self.max_cosine = squares, host, max_cosine
        self.is_deferred: NDArray[np.bool_] = np.zeros(len(squares), np.bool_)
        self.most = 0
        self.horizon = max(LONGEST * STRETCH, 2 * host.D / 3)
        self.caution = 1.0
        self._bounds = Bounds(host.team)
        self._last: tuple[Block, Change] | None = None

    @property
    def deferred(self) -> int:
        """How many rows are deferred; none for as long as the pool may be narrowed."""
        return int(np.count_nonzero(self.is_deferred))

    def contenders(self, pool: RowStates) -> RowStates:
        """The rows that take part: those that are open and not deferred, or the pool itself."""
        if not self.deferred:
            return pool
        return pool.subset(np.flatnonzero(np.isfinite(pool.noise) & ~self.is_deferred))

    def rivals(
        self,
        pool: RowStates,
        contenders: RowStates,
        objective: Objective,
        block: Block,
        *,
        is_last: bool,
    ) -> RowStates:
        """Who takes part in a block that the contenders have drafted.

        More, if rows that are deferred may beat a pick of it; fewer, if it is the last.
        """
        altered = self.call_up(pool, objective, block)
        if is_last:
            altered |= self.dismiss(pool, block)
        return self.contenders(pool) if altered else contenders

    def call_up(self, pool: RowStates, objective: Objective, block: Block) -> bool:
        """Whether any deferred rows may beat a pick of the block: they are deferred no longer."""
        if not self.deferred:
            return False
        ids = np.flatnonzero(self.is_deferred & np.isfinite(pool.noise))
        due = ids[self._rival(pool, ids, block)]
        if not len(due):
            return False
        self._renew(pool, due, objective)
        due = due[self._rival(pool, due, block)]
        self._recall(pool, due, objective)
        if len(due) > MOST_RECALLED * len(ids):
            self.caution *= 2
        return len(due) > 0

    def dismiss(self, pool: RowStates, block: Block) -> bool:
        """Whether many rows cannot beat any pick of the last block: they are deferred.

        Where it turns out to be wrong, and more picks follow, they are as any deferred rows.
        """
        is_rival = np.isfinite(pool.noise)
        is_rival[pool.located(block.rows)] = False
        ids = np.flatnonzero(is_rival)
        if ENOUGH * len(ids) < pool.d**2:
            return False
        if not self.deferred:
            self._last = block, self._bounds.change(block.columns, LAST_SPAN)
        out = ids[~self._rival(pool, ids, block)]
        if len(out) < LEAST_SHARE * len(ids):
            return False
        self._leave_out(pool, out)
        return True

    def rejoin(
        self, pool: RowStates, contenders: RowStates, belief: Belief, step: Step | None
    ) -> None:
        """Bring the pool's states to the end of a step that its contenders alone took part in.

        All rows take part again if there was none.
        """
        assert contenders.index is not None
        at = pool.located(contenders.index)
        if contenders.copies is not None and pool.copies is None:
            pool.know_copies()
        if contenders.aside is not None:
            pool.aside = np.zeros(len(pool), np.bool_)
            pool.aside[at] = contenders.aside
        if step:
            pool.state[:, at] = contenders.state
            pool.noise[at] = contenders.noise
            self._close(pool, step)
            change, ids = self._change(step.block), np.flatnonzero(self.is_deferred)
            squares = self.squares[pool.named(ids)]
            v, n = pool.state[:, ids]
            pool.state[0, ids] = np.maximum(v - change.drop * squares, 0)
            pool.state[1, ids] = n + change.rises[-1] * squares
        else:
            self._recall(pool, np.flatnonzero(self.is_deferred), belief.objective)
            self.caution *= 2

    def defer(self, pool: RowStates, step: Step) -> None:
        """Defer the rows that, as far as the last block tells, will stay below the best."""
        is_open = np.isfinite(pool.noise)
        count, block = np.count_nonzero(is_open), step.block
        if len(block) < SHORTEST or ENOUGH * count < pool.d**2:
            return
        rates = pool.rates(block.columns.gains, pool.located(block.rows))
        fall = (rates[-1] / rates[0]) ** (self.horizon / (len(block) - 1))
        target = rates[-1:] * min(fall, HIGHEST) ** self.caution
        gains = step.after.objective.gain(pool.state, pool.noise)
        is_low = is_open & (pool.rates(gains, slice(None)) < target)
        if self.deferred:
            is_low &= ~self.is_deferred
        ids = np.flatnonzero(is_low)
        least = LEAST_SHARE * count - self.deferred
        if len(ids) >= least:
            change = self._change(block)
            ids = ids[~self._reach(pool, ids, change.rises[-1:], change.drop, target)]
            if len(ids) >= least:
                self._leave_out(pool, ids)

    def _leave_out(self, pool: RowStates, ids: Ids) -> None:
        if not self.deferred:
            self.is_deferred = np.zeros(len(pool), np.bool_)
        self.is_deferred[ids] = True
        self.most = max(self.most, self.deferred)

    def _change(self, block: Block) -> Change:
        if self._last is None or self._last[0] is not block:
            self._last = block, self._bounds.change(block.columns)
        return self._last[1]

    def _rival(self, pool: RowStates, ids: Ids, block: Block) -> NDArray[np.bool_]:
        """Which of rows `ids` may beat a pick of a block."""
        change = self._change(block)
        rates = pool.rates(block.columns.gains, pool.located(block.rows))
        least = np.minimum.reduceat(rates, range(0, len(rates), change.span))
        return self._reach(pool, ids, change.rises, change.drop, least)

    def _reach(
        self, pool: RowStates, ids: Ids, rises: Array, drop: float, least: Array
    ) -> NDArray[np.bool_]:
        """Which of rows `ids` may come up to the rate `least` (c,) of a span of picks."""
        v, n = pool.state[:, ids]
        squares = self.squares[pool.named(ids)]
        spread = pool.noise[ids] + np.maximum(v - drop * squares, 0)
        if pool.price is not None:
            spread *= pool.price[ids]
        spread *= 1 - SLACK
        reach = np.zeros(len(ids), np.bool_)
        for rise, rate in zip(rises, least, strict=True):
            reach |= n + rise * squares >= rate * spread
        return reach

    def _close(self, pool: RowStates, step: Step) -> None:
        """Close what a step closes of the deferred rows, too; add to how many lie too near."""
        block = step.block
        if self.max_cosine is None:
            pool.noise[pool.located(np.concatenate(block.closed))] = np.inf
            return
        ids = np.flatnonzero(self.is_deferred & np.isfinite(pool.noise))
        ids = np.union1d(ids, pool.located(block.rows))
        near = neighbourhoods(pool.subset(ids), block.rows, self.host, self.max_cosine)
        for pick, (ruled, at) in enumerate(zip(block.closed, near, strict=True)):
            pool.noise[pool.located(ruled)] = np.inf
            step.closures.duplicates[pick] += np.count_nonzero(np.isfinite(pool.noise[ids[at]]))
            pool.noise[ids[at]] = np.inf

    def _renew(self, pool: RowStates, ids: Ids, objective: Objective) -> None:
        """Work out n of rows `ids`, which takes half of what both states do, or an upper bound."""
        assert isinstance(objective, Projection)
        M = objective.smoothed_query()
        F: Floats = folded(M).astype(pool.dtype)
        rounding = 2 * pool.d * np.finfo(pool.dtype).eps * np.linalg.norm(M)

        def work(X: Floats, rows: slice, _: Buffers) -> None:
            at = ids[rows]
            squares = self.squares[pool.named(at)]
            pool.state[1, at] = quadratic(X, F) + rounding * squares

        self.host.each_chunk(pool.subset(ids), LONGEST, work)

    def _recall(self, pool: RowStates, ids: Ids, objective: Objective) -> None:
        """Defer rows `ids` no longer: their states are worked out in float64."""
        part = pool.subset(ids)
        self.host.recompute(part, objective)
        pool.state[:, ids] = part.state
        self.is_deferred[ids] = False
