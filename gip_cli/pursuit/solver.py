"""`select`: checks what it is given, then lets a kernel pick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gip_cli.pursuit.noise import default_noise
from gip_cli.pursuit.pool import Source
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.results import Progress, Selection
from gip_cli.pursuit.rules import Rules
from gip_cli.pursuit.run import Problem, run

PURSUITS = ("projection", "information", "residual")
BLOCK_BYTES = 1 << 23


def select(
    embeddings: NDArray[np.floating],
    k: int,
    *,
    weights: ArrayLike | None = None,
    query: ArrayLike | None = None,
    noise: float | Literal["auto"] = "auto",
    pursuit: str = "projection",
    scores: ArrayLike | None = None,
    signed: bool = False,
    given: ArrayLike | None = None,
    given_weights: ArrayLike | None = None,
    rules: Rules | None = None,
    price: ArrayLike | None = None,
    max_cosine: float | None = None,
    stop_at: float | None = None,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
) -> Selection:
    """Pick up to `k` rows whose span captures most of a query's energy (arXiv 2603.13790)."""
    rows = np.asarray(embeddings) if not isinstance(embeddings, np.ndarray) else embeddings
    if rows.ndim != 2 or rows.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError("embeddings must be a (m, d) array of float16, float32 or float64")
    m, d = rows.shape
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if pursuit not in PURSUITS:
        raise ValueError(f"pursuit must be one of {', '.join(PURSUITS)}, not {pursuit!r}")
    if pursuit != "projection" or device != "cpu":
        raise NotImplementedError(f"pursuit {pursuit!r} on device {device!r}")

    w = np.ones(m) if weights is None else np.array(weights, dtype=np.float64)
    if w.shape != (m,):
        raise ValueError(f"weights must have shape ({m},), not {w.shape}")
    if np.any(w <= 0) or np.any(w > 1):
        raise ValueError("weights must lie in (0, 1], or be NaN for rows that cannot be picked")
    rules = rules.copy() if rules is not None else None
    if rules is not None:
        w[~rules.pickable()] = np.nan

    K = self_query(rows) if query is None else np.array(query, dtype=np.float64)
    if K.shape != (d, d):
        raise ValueError(f"query must have shape ({d}, {d}), not {K.shape}")
    if not np.trace(K) > 0:
        raise ValueError("the query has no energy: its trace must be positive and finite")
    K /= np.trace(K)

    k = min(k, int(np.count_nonzero(~np.isnan(w))))
    s2 = float(noise) if noise != "auto" else default_noise(k, w, K) if k else 1.0
    if not 0 < s2 < np.inf:
        raise ValueError(f"noise must be positive and finite, not {noise}")
    cost = None if price is None else np.asarray(price, dtype=np.float64)
    if cost is not None and (cost.shape != (m,) or not np.all(cost > 0)):
        raise ValueError(f"price must have shape ({m},) and be positive")
    G = np.empty((0, d)) if given is None else np.array(given, dtype=np.float64)
    gw = np.ones(len(G)) if given_weights is None else np.asarray(given_weights, dtype=np.float64)
    return run(
        Problem(
            source=Source(rows),
            objective=Projection(K),
            noise=np.where(np.isnan(w), np.inf, s2 / np.square(w)),
            s2=s2,
            k=k,
            given=G,
            given_noise=s2 / gw**2,
            rules=rules,
            price=cost,
            max_cosine=max_cosine,
            stop_at=stop_at,
        ),
        on_progress,
    )


def self_query(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """F^T F, accumulated in float64 block by block."""
    m, d = rows.shape
    step = max(1, BLOCK_BYTES // (8 * d))
    K = np.zeros((d, d))
    for start in range(0, m, step):
        block = rows[start : start + step].astype(np.float64)
        K += block.T @ block
    return K
