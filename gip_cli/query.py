"""What the task asks for: signals, targets and the pool itself as one covariance K (d, d).

Design 2.1: K is a sum of sources, each of unit trace, weighted by the user; this is the same as
putting the columns of several query matrices Q side by side, K = Q Qᵀ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gip_cli.arrays import Array, Vectors
from gip_cli.plan import Sources
from gip_cli.pursuit.source import gram
from gip_cli.signals import quality_weights


@dataclass(frozen=True)
class Query:
    """Query covariance K (d, d) of unit trace, and weights w (m,), NaN for rows not pickable.

    `sources` holds each source's share of K.
    """

    covariance: Array
    weights: Array
    sources: dict[str, float]


def build_query(
    vectors: Vectors,
    mix: Sources = Sources(),  # noqa: B008 - frozen
    *,
    unit_signals: Array | None = None,
    signal_shares: Sequence[float] = (),
    targets: Vectors | None = None,
) -> Query:
    """Mix the sources that are there.

    Parameters
    ----------
    vectors : (m, d)
        The pool's unit embeddings F.
    mix : Sources
        The sources' shares. By default signals count 1 if there are any, else the pool itself does,
        and targets as much as that. Its power is that of the weights (design 2.2).
    unit_signals : (m, a), optional
        Signals in [0, 1], NaN where missing; K gets ``sum_a share_a Fᵀ diag(s_a²) F``.
    targets : (t, d), optional
        Embeddings T of target-task examples; K gets ``Tᵀ T``.

    Raises
    ------
    ValueError
        No source has a positive share or any energy.
    """
    m, d = vectors.shape
    weights: Array = np.broadcast_to(1.0, m)
    pool_weight = float(unit_signals is None) if mix.self_weight is None else mix.self_weight
    # By name: its share, and the vectors and weights of its Gram matrix.
    sources: dict[str, tuple[float, Vectors, Array | None]] = {"self": (pool_weight, vectors, None)}
    if unit_signals is not None:
        weights = quality_weights(unit_signals, signal_shares, mix.quality_power)
        squares = np.nan_to_num(unit_signals) ** 2 @ (signal_shares / np.sum(signal_shares))
        share = 1.0 if mix.signal_weight is None else mix.signal_weight
        sources["signals"] = (share, vectors, squares)
    if targets is not None:
        sources["targets"] = (mix.target_weight, targets, None)
    shares = {name: share for name, (share, *_) in sources.items() if share > 0}
    if not shares:
        raise ValueError("no query source has a positive weight")
    total = sum(shares.values())
    covariance = np.zeros((d, d))
    for name, share in shares.items():
        part = gram(*sources[name][1:])
        if not np.trace(part) > 0:
            what = "embeddings" if name == "self" else name
            zero = "all, or the vectors of their rows," if name == "signals" else "all"
            raise ValueError(f"the {what} of the query have no energy: {zero} are zero")
        covariance += share / total * part / np.trace(part)
    return Query(covariance, weights, {name: share / total for name, share in shares.items()})
