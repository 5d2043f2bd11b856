"""The methods compared: each takes unit rows (m, d) and a budget, and returns picks (k,)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from gip_cli.pursuit import default_noise, select
from tests import reference
from tests.benchmarks.pools import self_query

Picks = np.ndarray
Notes = dict[str, Any]


def gip(pursuit: str, **options: Any) -> Callable[[np.ndarray, int], tuple[Picks, Notes]]:
    def run(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
        got = select(F, k, pursuit=pursuit, **options)
        work = got.diagnostics
        return got.indices, asdict(work) | {"acceptance": work.acceptance}

    return run


def weighted(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    """`projection` of rows rated 1 to 5, as a judge or metadata would, at random."""
    ratings = np.random.default_rng(0).integers(1, 6, len(F))
    return gip("projection", weights=ratings / 5)(F, k)


def plain(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    """`projection` as the paper's equations read: two float32 products with all rows a pick."""
    K = self_query(F)
    return reference.plain(F, k, K, default_noise(k, None, K), dtype=np.float32)[0], {}


def gram(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    """`residual` as the paper computes it: from the m x m Gram matrix of all rows."""
    K = self_query(F)
    s2 = default_noise(k, None, K)
    energy, V = np.linalg.eigh(K)
    A = F @ F.T
    C = F @ (V * np.sqrt(np.maximum(energy, 0.0)) @ V.T).astype(np.float32)
    left, picks = np.ones(len(F), bool), []
    for _ in range(k):
        i = int(np.argmax(np.where(left, np.einsum("ij,ij->i", C, C), -1.0)))
        picks.append(i)
        left[i] = False
        C -= np.outer(A[i], C[i] / np.float32(s2 + A[i, i]))
    return np.array(picks), {}


def relevance(F: np.ndarray) -> np.ndarray:
    """f^T K f of the self query: how typical a row is, for methods that want a score."""
    return np.einsum("ij,ij->i", F @ self_query(F).astype(np.float32), F)


def pyversity(strategy: str) -> Callable[[np.ndarray, int], tuple[Picks, Notes]]:
    def run(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
        from pyversity import diversify

        return diversify(F, relevance(F), k, strategy=strategy, diversity=0.5).indices, {}

    return run


def apricot(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    from apricot import FacilityLocationSelection

    return FacilityLocationSelection(k, metric="cosine").fit(F).ranking, {}


def submodlib(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    from submodlib import FacilityLocationFunction

    objective = FacilityLocationFunction(n=len(F), mode="dense", data=F, metric="cosine")
    ranking = objective.maximize(k, optimizer="LazyGreedy", show_progress=False)
    return np.array([row for row, _ in ranking]), {}


def farthest_points(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    from skmatter.sample_selection import FPS

    return FPS(n_to_select=k).fit(F).selected_idx_, {}


def random(F: np.ndarray, k: int) -> tuple[Picks, Notes]:
    return np.random.default_rng(0).choice(len(F), k, replace=False), {}


METHODS: dict[str, Callable[[np.ndarray, int], tuple[Picks, Notes]]] = {
    "gip projection": gip("projection"),
    "gip projection, rated": weighted,
    "gip information": gip("information"),
    "gip residual": gip("residual"),
    "gip projection on a GPU": gip("projection", device="cuda"),
    "gip information on a GPU": gip("information", device="cuda"),
    "gip residual on a GPU": gip("residual", device="cuda"),
    "plain projection": plain,
    "Gram residual": gram,
    "pyversity MMR": pyversity("mmr"),
    "pyversity MSD": pyversity("msd"),
    "pyversity DPP": pyversity("dpp"),
    "apricot facility location": apricot,
    "submodlib facility location": submodlib,
    "scikit-matter FPS": farthest_points,
    "random": random,
}

# Floating-point operations that a method cannot do without, per row, dimension and pick.
PRODUCTS = {
    "gip projection": 4,
    "gip projection, rated": 4,
    "gip information": 2,
    "gip residual": 4,
}
