"""Rows that gain nothing: picked in their order when no others are left.

Their states are of no more use, and how near they are to one another does not depend on what is
picked. So the cosines of many of them with all that are open take one pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gip_cli.pursuit.chunk import Buffers, neighbours
from gip_cli.pursuit.draft import Belief, observe
from gip_cli.pursuit.objective import Floats, Ids
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.sweep_plan import LONGEST, STRETCH, Found
from gip_cli.pursuit.verify import Block, closing

MOST_PAIRS = 1 << 24  # of rows whose cosines are compared at a time: all may be near


def remaining(
    pool: RowStates, belief: Belief, zero: Ids, host: Sweeper, max_cosine: float | None
) -> Iterator[tuple[Block, Ids]]:
    """The open rows of a pool one by one, those of all zeros last, and how many each closes.

    Parameters
    ----------
    zero : (n,)
        Rows of the whole pool that are all zeros.
    """
    rest = pool.named(np.flatnonzero(np.isfinite(pool.noise)))
    rest = rest[np.argsort(np.isin(rest, zero), kind="stable")]
    while len(rest):
        pool, batch = pool.narrowed(), rest
        near = [np.empty(0, np.int64)] * len(rest)
        if max_cosine is not None:
            batch = rest[: max(1, min(LONGEST * STRETCH, MOST_PAIRS // len(pool)))]
            near = neighbourhoods(pool, batch, host, max_cosine)
        for row, close_by in zip(batch[:, None], near, strict=True):
            at = pool.located(row)
            if np.isfinite(pool.noise[at]):
                last = observe(pool, belief, row)
                belief = last.after
                closed, _ = closing(pool, last.block)
                pool.noise[closed] = np.inf
                duplicates = np.isfinite(pool.noise[close_by])
                pool.noise[close_by] = np.inf
                yield last.block, np.array([np.count_nonzero(duplicates)])
        rest = rest[len(batch) :]
        rest = rest[np.isfinite(pool.noise[pool.located(rest)])]


def neighbourhoods(pool: RowStates, batch: Ids, host: Sweeper, max_cosine: float) -> list[Ids]:
    """Rows of the pool that lie too near to each row of the whole pool in `batch`."""
    picks, found = pool.located(batch), list[Found]()
    columns = pool.exact(picks)[:, : pool.d].T.astype(pool.dtype)
    bar = max_cosine - pool.slack

    def work(X: Floats, rows: slice, buffers: Buffers) -> None:
        found.append(neighbours(columns, bar, X, rows.start, buffers))

    host.each_chunk(pool, LONGEST, work)
    rows, by, cosines = (np.concatenate(column) for column in zip(*found, strict=True))
    is_near = pool.are_near(rows, picks[by], cosines, max_cosine)
    rows, by = rows[is_near], by[is_near]
    order = np.argsort(by, kind="stable")
    ends = np.cumsum(np.bincount(by, minlength=len(batch)))
    return np.split(rows[order], ends[:-1])
