"""One pass over a pool: what a block of picks does to every row, and who might have beaten it.

Rows go by in chunks small enough for a core's cache. For each chunk one matrix product gives
the columns of all b picks. Their products, summed over a *stretch* of up to 32 picks, say what the
states are at the stretch's end, and bound how high a row's rate can have been within it. Only
where that reaches the least rate of a pick in the stretch is the row followed pick by pick: few
rows, once the first hundred picks are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from math import isqrt, prod

import numpy as np

from gip_cli.pursuit.objective import Floats, Ids, Objective, Precision
from gip_cli.pursuit.pieces import multiply
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep_plan import FIXED, LONGEST, STRETCH, Found, Hits, SweepPlan
from gip_cli.pursuit.team import Team

CHUNK_BYTES = 1 << 21  # of products: a core's second-level cache
MOST_ROWS = 2048  # in a chunk
FEW_WORKERS = 4  # for more, chunks are larger
LARGEST = 4  # times as large, at most
WAKING = 256  # stretches of rows: waking one more worker takes as long
FOLLOWED = 1024  # stretches of rows followed at a time


class Buffers:
    """One worker's memory: of all products. The loop over chunks allocates a few (c,) vectors.

    Parameters
    ----------
    objective : Objective
    D : int
        Coordinates of a row.
    dtype : type
        Working precision.
    scale : int
        How many times as large as for few workers chunks are.
    """

    def __init__(
        self, objective: Objective, D: int, dtype: Precision = np.float32, scale: int = 1
    ) -> None:
        self.groups, self.states = objective.groups, objective.states
        self.products = np.empty(scale * CHUNK_BYTES // np.dtype(dtype).itemsize, dtype)
        runs = self.products.size // (self.groups * STRETCH)  # of a stretch each, at most
        self.rows = np.empty((scale * MOST_ROWS, D), dtype)
        self.cosines = np.empty(self.products.size // self.groups, dtype)
        self.sums = np.empty(len(objective.products) * runs, dtype)
        self.paths = np.empty(self.states * (runs + len(self.rows)), dtype)
        self.columns = np.empty(self.groups * FOLLOWED * STRETCH, dtype)
        self.term = np.empty(FOLLOWED * STRETCH, dtype)
        self.path = np.empty(self.states * FOLLOWED * STRETCH, dtype)
        # x @ earlier: running sums of x, without the last.
        self.earlier = np.triu(np.ones((STRETCH, STRETCH), dtype), 1)

    def most_rows(self, stretches: int) -> int:
        """Rows that a chunk can have for blocks of so many stretches."""
        return min(len(self.rows), self.products.size // (self.groups * STRETCH * stretches))


class Sweeper:
    """Sweeps pools on the host.

    Parameters
    ----------
    team : Team
    objective : Objective
        Of the kind that will be swept for.
    D : int
        Coordinates of a row.
    """

    def __init__(self, team: Team, objective: Objective, D: int) -> None:
        self.team, self.objective, self.D = team, objective, D
        self.equip(np.float32)

    def equip(self, dtype: Precision) -> None:
        """Work in another precision from now on.

        Between the steps of a chunk workers queue for the interpreter's lock. Many of them are
        better off with fewer steps on larger chunks: 16 workers take 9.4 s for 1,000 picks of a
        million rows with a cache's chunks, 5.2 s with four times as large ones.
        """
        scale = min(LARGEST, max(1, self.team.size // FEW_WORKERS))
        workers = range(self.team.size)
        self.buffers = [Buffers(self.objective, self.D, dtype, scale) for _ in workers]
        self.sums = np.empty(0, dtype)

    def each_chunk(
        self,
        pool: RowStates,
        stretches: int,
        work: Callable[[Floats, slice, Buffers], None],
        starts: Iterable[int] | None = None,
    ) -> None:
        """Call `work(X, rows, buffers)` for all chunks X (c, D) of a pool, side by side.

        Every worker has as many chunks, all of one size, so that none waits for the last. Of n
        workers each does 1/n of the work once n are awake: least is sqrt(work / WAKING) of them,
        which for the few rows of a draft may be the calling thread alone.

        Parameters
        ----------
        starts : iterable, optional
            First rows of the chunks to do; all by default.
        """
        if not len(pool):
            return
        workers = min(self.team.size, max(1, isqrt(len(pool) * stretches // WAKING)))
        most = self.buffers[0].most_rows(stretches) * workers
        size = -(-len(pool) // (-(-len(pool) // most) * workers))
        left = iter(range(0, len(pool), size) if starts is None else starts)

        def share(worker: int) -> None:
            buffers = self.buffers[worker]
            for start in left:
                rows = slice(start, min(start + size, len(pool)))
                work(pool.rows.block(rows, buffers.rows), rows, buffers)

        self.team.run(share, workers)

    def recompute(self, pool: RowStates, objective: Objective) -> None:
        """Work the states of all rows out from the belief, in float64."""

        def work(X: Floats, rows: slice, _: Buffers) -> None:
            pool.state[:, rows] = objective.state(X.astype(np.float64, copy=False))

        self.each_chunk(pool, LONGEST, work)

    def sweep(self, pool: RowStates, plan: SweepPlan) -> Hits:
        """Write the states after the block to `pool.after`; find the rows that reach its limits.

        Once a pick is known to be beaten beyond doubt, the block ends before it: the rows left are
        swept for what remains of it, and those swept before go back to there.
        """
        nothing: Found = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        swept: dict[int, tuple[int, list[Found], Found]] = {}  # by chunk: picks, reached, near
        contest, stretches, stretch, most = plan.contest, plan.stretches, plan.stretch, len(plan)
        sums = (
            self.room(stretches, len(pool))
            if contest and contest.may_shorten and stretches > 1
            else None
        )

        def work(X: Floats, rows: slice, buffers: Buffers) -> None:
            nonlocal plan
            plan = now = plan.shortened()  # which others may do meanwhile
            near = nothing
            if now.picks is not None:
                near = neighbours(now.picks, now.bar, X, rows.start, buffers)
            reached = [
                contest.thinned(hits, near) if contest else hits
                for hits in advance(pool, now, X, rows, buffers, sums)
            ]
            swept[rows.start] = len(now), reached, near

        starts: list[int] | None = None
        while starts is None or starts:
            self.each_chunk(pool, stretches, work, starts)
            plan = plan.shortened()
            picks = min(len(plan), *(picks for picks, *_ in swept.values()))
            if picks < len(plan):
                plan = plan.first(picks)
            starts = []
            if picks < stretch:
                starts = [start for start, (before, *_) in swept.items() if before > picks]
        reached = [nothing, *chain.from_iterable(hits for _, hits, _ in swept.values())]
        near = [nothing, *(near for *_, near in swept.values())]
        columns = map(np.concatenate, [*zip(*reached, strict=True), *zip(*near, strict=True)])
        hits = Hits(*columns, picks=picks, stretch=stretch, sums=sums)
        if picks == most:
            return hits
        if sums is not None and picks >= stretch:
            pool.rewind(sums[: picks // stretch])
        return hits.first(picks)

    def room(self, stretches: int, rows: int) -> Floats:
        """(stretches, s, rows) for what stretches of picks subtract from states."""
        most = LONGEST * self.objective.states * rows
        if len(self.sums) < most:
            self.sums = np.empty(most, self.sums.dtype)
        return shaped(self.sums, stretches, self.objective.states, rows)


def advance(
    pool: RowStates,
    plan: SweepPlan,
    X: Floats,
    rows: slice,
    buffers: Buffers,
    kept: Floats | None = None,
) -> Iterator[Found]:
    """Bring rows X (c, D) to the end of the block; yield those that reach a limit on the way.

    What each stretch subtracts from their states is `kept` (stretches, s, p), if it is given.
    """
    objective, stretches, c = plan.objective, plan.stretches, len(X)
    groups, stretch = objective.groups, plan.stretch
    runs = shaped(buffers.products, c * groups * stretches, stretch)
    multiply(X, plan.matrix, runs.reshape(c, -1))
    columns = runs.reshape(c, groups, stretches, stretch)
    sums = shaped(buffers.sums, len(objective.products), stretches, c)
    for out, (left, right) in zip(sums, objective.products, strict=True):
        if left == FIXED:
            out[...] = plan.fixed_squares[:, None]
            continue
        factor = plan.fixed[None] if right == FIXED else columns[:, right]
        np.einsum("jcs,jcs->cj", columns[:, left], factor, out=out)

    states = shaped(buffers.paths, objective.states, stretches + 1, c)
    states[:, 0] = pool.state[:, rows]
    for i in range(stretches):
        np.subtract(states[:, i], sums[: objective.states, i], out=states[:, i + 1])
    if kept is not None:
        kept[:stretches, :, rows] = sums[: objective.states].swapaxes(0, 1)
    change = sums[: objective.states].sum(axis=1, dtype=np.float64)
    np.subtract(pool.state[:, rows], change, out=pool.after[:, rows])

    noise = pool.noise[rows].astype(states.dtype)
    peak = objective.peak(states[:, :-1], states[:, 1:], sums, noise)
    if pool.price is not None:
        peak /= pool.price[rows]
    hot = np.flatnonzero(peak >= plan.least[:, None])
    for first in range(0, len(hot), FOLLOWED):
        at, row = np.divmod(hot[first : first + FOLLOWED], c)  # stretch, row of the chunk
        followed = shaped(buffers.columns, groups, len(row), stretch)
        for group, out in enumerate(followed):
            np.take(runs, (row * groups + group) * stretches + at, axis=0, out=out, mode="clip")
        rates = follow(plan, at, followed, states[:, at, row], noise[row], buffers)
        if pool.price is not None:
            rates /= pool.price[rows.start + row, None]
        which, steps = np.divmod(np.flatnonzero(np.abs(rates) >= plan.limits[at]), stretch)
        yield rows.start + row[which], at[which] * stretch + steps, rates[which, steps]


def follow(
    plan: SweepPlan, at: Ids, columns: Floats, state: Floats, noise: Floats, buffers: Buffers
) -> Floats:
    """(h, stretch) gains of h rows just before each pick of the stretches `at` (h,).

    Their columns are (groups, h, stretch). States just before each pick are running sums, which
    a product with a triangle of ones gives several times faster than `cumsum`.
    """
    h, stretch = columns.shape[1:]
    term, path = shaped(buffers.term, h, stretch), shaped(buffers.path, len(state), h, stretch)
    earlier = buffers.earlier[:stretch, :stretch]
    for out, before, (left, right) in zip(path, state, plan.objective.products, strict=False):
        factor = plan.fixed[at] if right == FIXED else columns[right]
        np.multiply(columns[left], factor, out=term)
        np.matmul(term, earlier, out=out)
        np.subtract(before[:, None], out, out=out)
    gains: Floats = plan.objective.gain(path, noise[:, None])
    return gains


def shaped(memory: Floats, *shape: int) -> Floats:
    """The beginning of a worker's memory, as an array of some shape."""
    return memory[: prod(shape)].reshape(shape)


def neighbours(picks: Floats, bar: float, X: Floats, start: int, buffers: Buffers) -> Found:
    """Rows of X (c, D) closer to one of the picks (d, b) than the bar, the picks, how close."""
    d, b = picks.shape
    cosines = shaped(buffers.cosines, len(X), b)
    multiply(X[:, :d], picks, cosines)
    rows, steps = np.divmod(np.flatnonzero(cosines > bar), b)
    return start + rows, steps, cosines[rows, steps]
