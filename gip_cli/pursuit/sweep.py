"""One pass over a pool: what a block of picks does to every row, and who might have beaten it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from math import isqrt

import numpy as np

from gip_cli.pursuit.chunk import Buffers, advance, neighbours, shaped
from gip_cli.pursuit.objective import Floats, Objective, Precision
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep_plan import LONGEST, Found, Hits, SweepPlan
from gip_cli.pursuit.team import Team

FEW_WORKERS = 4  # for more, chunks are larger
LARGEST = 4  # times as large, at most
WAKING = 256  # stretches of rows: waking one more worker takes as long


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
        sums = None
        if contest and contest.may_shorten and stretches > 1:
            sums = self.room(stretches, len(pool))

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
            picks = min([len(plan), *(picks for picks, *_ in swept.values())])
            if picks < len(plan):
                plan = plan.first(picks)
            starts = []
            if picks < stretch:
                starts = [start for start, (before, *_) in swept.items() if before > picks]
        reached = [nothing, *chain.from_iterable(hits for _, hits, _ in swept.values())]
        near = [nothing, *(near for *_, near in swept.values())]
        columns = map(np.concatenate, [*zip(*reached, strict=True), *zip(*near, strict=True)])
        hits = Hits(*columns, picks=picks, sums=sums)
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
