"""What a block of picks does to one chunk of rows.

Chunks are small enough for a core's cache. One matrix product gives the columns of all b picks.
Their products, summed over a *stretch* of up to 32 picks, say what the states are at the stretch's
end, and bound how high a row's rate can have been within it. Only where that reaches the least rate
of a pick in the stretch is the row followed pick by pick: few rows, once the first hundred picks
are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from gip_cli.pursuit.objective import Floats, Ids, Objective, Precision
from gip_cli.pursuit.pieces import multiply
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep_plan import FIXED, STRETCH, Found, SweepPlan

CHUNK_BYTES = 1 << 21  # of products: a core's second-level cache
MOST_ROWS = 2048  # in a chunk
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
