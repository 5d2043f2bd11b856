"""Is every pick of a block the best of all rows at its turn? Settled in float64.

A sweep knows rates to its working precision and to the drift of the states since they were last
worked out. Rows that come within `margin` of a pick are therefore evaluated once more in float64
from the belief at the block's start and the block's columns; no pick rests on anything less.
The margin follows the drift: the picks' own rates are known exactly, so each sweep shows how far
its rates are off, and a block only counts as verified with a margin of at least four times that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gip_cli.pursuit.objective import Array, Columns, Ids, Objective
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep_plan import NEVER, Contest, Hits, SweepPlan, earliest, lookup

TIE = 1e-9  # rates that agree to this share are tied: well above float64's rounding of a rate
# Rates within this share of the best are looked at for twins: where a block leaves little of a
# rate, rounding parts equal rows by more than TIE.
NEAR = 1e-4
LEAST_MARGIN = {np.float32: 1e-5, np.float64: 1e-8}  # rounding within one block; 1e-8 > 2 TIE
BATCH = 1024  # rivals settled at a time, to bound memory
MANY_RIVALS = 64  # beside two a pick: for more it is worth looking whether they are copies

Sweep = Callable[[RowStates, SweepPlan], Hits]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive picks and what follows from them.

    Attributes
    ----------
    rows : (b,)
        Rows of the whole pool.
    X : (b, D) float64
        Their coordinates.
    columns : Columns
    closed : list of b arrays
        Rows of the whole pool that `Rules` closed at each pick.
    """

    rows: Ids
    X: Array
    columns: Columns
    closed: list[Ids]

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, picks: int) -> Block:
        """The first so many picks."""
        return Block(
            self.rows[:picks], self.X[:picks], self.columns.first(picks), self.closed[:picks]
        )

    @staticmethod
    def join(blocks: list[Block]) -> Block:
        """Blocks that follow one another, as one."""
        return Block(
            np.concatenate([block.rows for block in blocks]),
            np.concatenate([block.X for block in blocks]),
            Columns.join([block.columns for block in blocks]),
            [closed for block in blocks for closed in block.closed],
        )


@dataclass(frozen=True, slots=True)
class Closures:
    """Rows of a pool that a block closes, the picks themselves among them.

    Attributes
    ----------
    rows : (n,) ascending
    since : (n,)
        The first pick of the block that the row can no longer be.
    duplicates : (b,)
        How many of them each pick closes for their cosine alone.
    """

    rows: Ids
    since: Ids
    duplicates: Ids


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sweep said of a block.

    Attributes
    ----------
    confirmed : int
        Picks, from the first on, that are the best of all rows.
    right : int
        Row of the pool that is the best where the block is wrong. -1 if `pool.after` is what the
        confirmed picks leave, and `closures` are theirs.
    in_doubt : bool
        Whether only float64 could tell that the block is wrong, if it is.
    closures : Closures
    settled : int
        Rows evaluated in float64.
    margin : float
        Relative margin for the next block.
    """

    confirmed: int
    right: int
    in_doubt: bool
    closures: Closures
    settled: int
    margin: float


def verify(
    pool: RowStates,
    objective: Objective,
    block: Block,
    *,
    margin: float,
    widest: float,
    is_final: bool,
    may_shorten: bool,
    max_cosine: float | None,
    sweep: Sweep,
) -> Verdict | None:
    """Find the first pick that is not the best; leave the states after the block in `pool.after`.

    If it may be shortened, and states are known that a little fewer picks leave than are right,
    only those count as confirmed. None if the drift asks for a margin above `widest`.

    Parameters
    ----------
    objective : Objective
        The belief before the block.
    margin : float
        Relative error that rates may have.
    is_final : bool
        Whether to make sure that the margin is wide enough; drafts do without.
    may_shorten : bool
        Whether a block that is wrong may end before its first wrong pick, to spare sweeps.
    """
    picks = pool.located(block.rows)
    rates = pool.rates(block.columns.gains, picks)
    turns = np.argsort(picks)
    closed = closing(pool, block)
    contesting = pool.contesting(picks, closed[0])
    while True:
        contest = Contest(rates, margin, picks, *closed, may_shorten=may_shorten)
        plan = plan_of(pool, block, objective, max_cosine, contest)
        hits = sweep(contesting, plan)
        own = lookup(picks[turns], turns, hits.rows) == hits.steps
        drift = np.max(np.abs(np.abs(hits.rates[own]) / rates[hits.steps[own]] - 1), initial=0.0)
        if not is_final or (np.count_nonzero(own) == hits.picks and 4 * drift <= margin):
            break
        if margin >= widest:
            return None
        margin = min(8 * margin, widest)
    if hits.picks < len(block):
        block, picks, rates = block.first(hits.picks), picks[: hits.picks], rates[: hits.picks]
    closures = closures_of(pool, block, hits, max_cosine)
    rivals = contenders(hits, closures, contest)
    are_many = len(rivals) > MANY_RIVALS + 2 * len(block)
    if are_many and pool.copies is None and pool.find_copies(rivals):
        contesting = pool.contesting(picks, closing(pool, block)[0])
    if contesting is not pool:  # a margin of more than all of a rate finds closed rows, too
        rivals = rivals[np.isfinite(contesting.noise[rivals])]
    confirmed, right = settle(pool, objective, block, picks, rates, rivals, closures)
    in_doubt = right >= 0 and confirmed < contest.last
    if right >= 0 and hits.sums is not None and confirmed >= plan.stretch:
        stretches = confirmed // plan.stretch
        pool.rewind(hits.sums[:stretches])
        confirmed, right = stretches * plan.stretch, -1
        closures = closures_of(pool, block.first(confirmed), hits.first(confirmed), max_cosine)
    margin = max(LEAST_MARGIN[pool.dtype], 8 * float(drift))
    return Verdict(confirmed, right, in_doubt, closures, len(rivals), margin)


def contenders(hits: Hits, closures: Closures, contest: Contest) -> Ids:
    """Rows that, as far as a sweep can tell, may be better than a pick that still counts."""
    open_ = hits.steps < lookup(closures.rows, closures.since, hits.rows)
    rows, steps, theirs = hits.rows[open_], hits.steps[open_], hits.rates[open_]
    return np.unique(rows[contest.decisive(steps, theirs, slice(None))])


def impose(
    pool: RowStates, objective: Objective, block: Block, max_cosine: float | None, sweep: Sweep
) -> Closures:
    """`verify` for a block known to be right."""
    hits = sweep(pool, plan_of(pool, block, objective, max_cosine))
    return closures_of(pool, block, hits, max_cosine)


def plan_of(
    pool: RowStates,
    block: Block,
    objective: Objective,
    max_cosine: float | None,
    contest: Contest | None = None,
) -> SweepPlan:
    """What a sweep is told of a block: without a contest no row but too near ones is found."""
    limits = contest.rates * (1 - contest.margin) if contest else np.inf
    near = () if max_cosine is None else (block.X[:, : pool.d], max_cosine - pool.slack)
    return SweepPlan(objective, block.columns, limits, pool.dtype, contest, *near)


def settle(
    pool: RowStates,
    objective: Objective,
    block: Block,
    picks: Ids,
    rates: Array,
    rivals: Ids,
    closures: Closures,
) -> tuple[int, int]:
    """First pick that a rival beats, in float64, and that rival; (b, -1) if there is none."""
    found = []
    for start in range(0, len(rivals), BATCH):
        batch = rivals[start : start + BATCH]
        X = pool.exact(batch)
        columns = [X @ vectors.T for vectors in block.columns.vectors]
        if block.columns.fixed is not None:
            columns.append(block.columns.fixed)
        path = np.repeat(objective.state(X)[:, :, None], len(block), axis=2)
        for state, (left, right) in zip(path, objective.products, strict=False):
            change = columns[left] * columns[right]
            state -= np.cumsum(change, axis=1) - change
        rate = objective.gain(path, pool.noise[batch, None])
        if pool.price is not None:
            rate /= pool.price[batch, None]
        since = lookup(closures.rows, closures.since, batch)
        which, steps = np.nonzero(
            (rate >= rates * (1 - NEAR)) & (np.arange(len(block)) < since[:, None])
        )
        found.append((batch[which], steps, rate[which, steps]))
    if not found:
        return len(block), -1
    rows, steps, theirs = map(np.concatenate, zip(*found, strict=True))
    for step in np.unique(steps):
        at = steps == step
        who, rate = np.append(rows[at], picks[step]), np.append(theirs[at], rates[step])
        right = int(who[rate >= rate.max() * (1 - TIE)].min())
        right = first_twin(pool, right, np.sort(who[who < right]))
        if right != picks[step]:
            return int(step), right
    return len(block), -1


def first_twin(pool: RowStates, row: int, others: Ids) -> int:
    """The first of `others` that is `row` or its negative bit by bit; `row` if there is none.

    Such rows are tied, however differently they are rounded: gains are squares, and where a
    residual's sign counts only one of two negatives gains anything, and comes here.
    """
    X = pool.exact(np.array([row]))
    for start in range(0, len(others), BATCH):
        ids = others[start : start + BATCH]
        rows = pool.exact(ids)
        same = (rows == X).all(axis=1) | (rows == -X).all(axis=1)
        same &= pool.noise[ids] == pool.noise[row]
        if pool.price is not None:
            same &= pool.price[ids] == pool.price[row]
        if same.any():
            return int(ids[np.argmax(same)])
    return row


def closing(pool: RowStates, block: Block) -> tuple[Ids, Ids]:
    """Rows that a block's picks close, themselves and what `Rules` said, and since which pick."""
    picks = pool.located(block.rows)
    ruled = np.concatenate(block.closed)
    since = np.repeat(np.arange(len(block)) + 1, [len(rows) for rows in block.closed])
    if pool.index is not None:
        at = lookup(pool.index, np.arange(len(pool)), ruled)
        ruled, since = at[at != NEVER], since[at != NEVER]
    return earliest(np.append(picks, ruled), np.append(np.arange(len(picks)), since))


def closures_of(pool: RowStates, block: Block, hits: Hits, max_cosine: float | None) -> Closures:
    """What the picks close, and the rows that lie too near to one of them."""
    rows, since = closing(pool, block)
    if max_cosine is None:
        return Closures(rows, since, duplicates=np.zeros(len(block), np.int64))
    near, by = hits.near_rows, hits.near_steps
    is_near = pool.are_near(near, pool.located(block.rows)[by], hits.cosines, max_cosine)
    near, by = near[is_near], by[is_near]
    fresh = np.isfinite(pool.noise[near]) & (lookup(rows, since, near) > by + 1)
    return Closures(
        *earliest(np.concatenate([rows, near]), np.concatenate([since, by + 1])),
        duplicates=np.bincount(earliest(near[fresh], by[fresh])[1], minlength=len(block)),
    )
