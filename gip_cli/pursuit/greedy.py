"""The exact greedy step, one pick at a time: design section 2."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.results import Diagnostics, Progress, Selection, Stopped
from gip_cli.pursuit.rules import Rules

TIE = 1e-9  # gains that agree to this share are tied; the lowest row is picked
BLOCK = 4096


def project(
    rows: NDArray[np.floating],
    weights: NDArray[np.float64],
    K: NDArray[np.float64],
    s2: float,
    k: int,
    *,
    given: NDArray[np.float64],
    rules: Rules | None,
    price: NDArray[np.float64],
    max_cosine: float | None,
    stop_at: float | None,
    on_progress: Callable[[Progress], None] | None,
) -> Selection:
    m, d = rows.shape
    began = perf_counter()
    rows = rows.astype(np.float64)  # first form: exact at the cost of a copy
    Sigma = np.linalg.inv(np.eye(d) + given.T @ given / s2)
    M = Sigma @ K @ Sigma
    captured_given = 1.0 - float(np.vdot(K, Sigma)) if len(given) else 0.0
    v, n = np.empty(m), np.empty(m)
    for a in range(0, m, BLOCK):
        X = rows[a : a + BLOCK] * weights[a : a + BLOCK, None]
        v[a : a + BLOCK] = np.einsum("ij,ij->i", X @ Sigma, X)
        n[a : a + BLOCK] = np.einsum("ij,ij->i", X @ M, X)
    closed = np.isnan(weights)
    zero = v == 0
    w = np.where(closed, 0.0, weights)
    indices, gains = np.empty(k, np.int64), np.empty(k)
    stopped: Stopped = "budget"
    duplicates, captured, total = 0, np.empty(k), captured_given

    def selection(picks: int, stopped: Stopped) -> Selection:
        views = [a[:picks] for a in (indices, gains, captured)]
        for view in views:
            view.flags.writeable = False
        work = Diagnostics(picks, picks, picks, 0, {"walk": perf_counter() - began})
        return Selection(*views, captured_given, s2, stopped, duplicates, work)  # type: ignore

    for picks in range(k):
        rate = np.maximum(n, 0.0) / (s2 + v) / price
        rate[zero] = -1.0
        rate[closed] = -np.inf
        best = rate.max()
        if best == -np.inf:
            return selection(picks, "exhausted")
        i = int(np.argmax(rate >= best - TIE * abs(best)))
        x = w[i] * rows[i].astype(np.float64)
        u, h = Sigma @ x, M @ x
        den, a = s2 + x @ u, max(x @ h, 0.0)
        f = rows.dtype
        g = (rows @ u.astype(f)) * w
        t = (rows @ h.astype(f)) * w
        v -= g**2 / den
        n += g**2 * a / den**2 - 2 * g * t / den
        Sigma -= np.outer(u, u) / den
        M += np.outer(u, u) * a / den**2 - (np.outer(u, h) + np.outer(h, u)) / den
        indices[picks], gains[picks] = i, a / den
        total += a / den
        captured[picks] = total
        closed[i] = True
        if rules is not None:
            closed[rules.take(i)] = True
        if max_cosine is not None:
            near = (rows @ rows[i] > max_cosine) & ~closed
            duplicates += int(np.count_nonzero(near))
            closed |= near
        if on_progress is not None:
            on_progress(Progress(k, selection(picks + 1, "interrupted")))
        if stop_at is not None and total >= stop_at:
            return selection(picks + 1, "captured")
    return selection(k, stopped)
