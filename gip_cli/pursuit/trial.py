"""Propose picks on a few hundred rows, one at a time. Whatever is wrong with them shows later."""

from __future__ import annotations

import numpy as np

from gip_cli.pursuit.objective import Ids, Objective
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.rules import Rules, close
from gip_cli.pursuit.source import Source


def try_out(
    pool: RowStates,
    objective: Objective,
    rules: Rules | None,
    picks: int,
    max_cosine: float | None,
) -> Ids:
    """Up to `picks` rows of a gathered pool, in the order that the greedy would pick them.

    Rules and `max_cosine` are kept exactly, so that a draft never proposes a row that its own
    earlier picks have closed.

    Parameters
    ----------
    rules : Rules or None
        A snapshot, used up.
    """
    assert isinstance(pool.rows, Source)  # gathered
    X = pool.rows.embeddings
    F = X[:, : pool.d]
    named = pool.named(np.arange(len(pool))).tolist()
    local = objective.local(X, pool.state, pool.noise, picks)
    price = None if pool.price is None else pool.price.astype(X.dtype)
    floor = pool.rates(pool.floor(slice(None)), slice(None)).astype(X.dtype)
    closed = np.zeros(len(pool), X.dtype)
    rate = np.empty(len(pool), X.dtype)
    chosen: list[int] = []
    for _ in range(picks):
        local.gain(rate)
        if price is not None:
            rate /= price
        rate += closed
        i = int(rate.argmax())
        if rate[i] <= floor[i]:
            rate[rate <= floor] = -np.inf
            i = int(rate.argmax())
            if rate[i] == -np.inf:
                break
        if pool.copies is not None:
            i = pool.copies.first(i, closed == 0)
        chosen.append(i)
        local.pick(i, rate)
        closed[i] = -np.inf
        if rules is not None:
            closed[pool.located(close(rules, named[i]))] = -np.inf
        if max_cosine is not None:
            every = np.arange(len(pool))
            near = pool.are_near(every, np.full(len(pool), i), F @ F[i], max_cosine)
            closed[near] = -np.inf
    return np.array(chosen, np.int64)
