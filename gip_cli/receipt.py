"""What was done, as data: enough to do it again and to judge the result."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.embeddings import Embeddings, keys_digest
from gip_cli.measures import captured_energy, nearest_cosines, random_picks
from gip_cli.pool import Pool, Signals
from gip_cli.pursuit import Selection, effective_rank
from gip_cli.query import Query

RANDOM_SEEDS = 5
CURVE_POINTS = 20

Figures = dict[str, Any]
Vectors = npt.NDArray[np.floating[Any]]


def receipt(
    pool: Pool,
    embeddings: Embeddings,
    vectors: Vectors,
    signals: Signals,
    query: Query,
    selection: Selection,
    options: Figures,
) -> Figures:
    """Inputs with digests, what was asked, and the picks against the pool and random picks.

    Everything follows from input, versions and options: the same again gives the same.
    """
    picks = selection.indices
    pickable = np.flatnonzero(~np.isnan(query.weights))
    draws = [random_picks(pickable, len(picks), seed) for seed in range(RANDOM_SEEDS)]
    random_captured = [
        captured_energy(vectors, query.weights, draw, query.covariance, selection.noise)
        for draw in draws
    ]
    return {
        "gip": version("gip-cli"),
        "numpy": np.__version__,
        "input": {"path": pool.rows.name, "rows": len(pool), "blake2b": pool.digest},
        "embeddings": {
            "path": str(embeddings.paths.npy),
            "keys": keys_digest(embeddings.keys),
            **embeddings.settings.to_json(),
        },
        "options": options,
        "query": {
            "sources": query.sources,
            "effective_rank": effective_rank(query.covariance),
        },
        "noise": selection.noise,
        "pickable": len(pickable),
        "picked": len(picks),
        "stopped": selection.stopped,
        "captured": _last(selection.captured),
        "captured_curve": _curve(selection),
        "captured_by_random": _spread(random_captured),
        "signals": {
            name: _against(signals.values[:, at], picks, draws)
            for at, name in enumerate(signals.names)
        },
        "response_characters": _against(pool.lengths.astype(np.float64), picks, draws),
        "nearest_cosine": {
            "picked": _mean(nearest_cosines(vectors, picks)),
            "random": _mean(nearest_cosines(vectors, draws[0])),
        },
    }


def _last(curve: npt.NDArray[np.float64]) -> float:
    return float(curve[-1]) if len(curve) else 0.0


def _curve(selection: Selection) -> list[list[float]]:
    """Captured energy after each of about 20 evenly spaced numbers of picks."""
    count = len(selection.captured)
    at = np.unique(np.linspace(1, count, min(CURVE_POINTS, count)).round().astype(int))
    return [[int(n), float(selection.captured[n - 1])] for n in at]


def _spread(values: list[float]) -> Figures:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "seeds": len(values)}


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _against(
    values: npt.NDArray[np.float64],
    picks: npt.NDArray[np.int64],
    draws: list[npt.NDArray[np.int64]],
) -> Figures:
    """Means over the picks, the pool, and random picks (over all draws)."""
    return {
        "picked": _mean(values[picks]),
        "pool": _mean(values),
        "random": _mean(values[np.concatenate(draws)]),
    }
