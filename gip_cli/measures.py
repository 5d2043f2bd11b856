"""What a selection is worth, in numbers: what receipt, report and compare say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Array, Mask, Rows, Vectors, unit_rows
from gip_cli.pursuit.source import gram
from gip_cli.pursuit.team import Team

Measured = TypeVar("Measured")

RANDOM_SEEDS = 10  # random subsets behind every reference: what tells of one agrees

_BLOCK = 1 << 11
_STEPS = 256  # rows of an order that are conditioned on together
_SLACK = 1e-5  # how far a cosine of float32 rows may be from the exact one
_SAMPLE = 4096  # rows whose neighbours are looked up, where there are more


def side_by_side(measure: Callable[[Rows], Measured], sets: Sequence[Rows]) -> list[Measured]:
    """`measure` of each set of rows, by workers with one BLAS thread each.

    So it is the same, bit by bit, for any number of threads, and they never wait busily for each
    other: ten random draws of 1,000 rows took 2.6 s on two cores that others used, now 0.15 s.
    """
    measured: dict[int, Measured] = {}

    def work(at: int) -> None:
        measured[at] = measure(sets[at])

    with Team() as team:
        team.each(work, range(len(sets)))
    return [measured[at] for at in range(len(sets))]


def captured_energy(
    vectors: Vectors,
    weights: Array,
    picks: Rows,
    covariance: Array,
    noise: float,
    given: Array | None = None,
) -> float:
    """Share of the query's energy that a set of rows captures, in [0, 1) (design 2).

    ``1 - tr(K Sigma_S) / tr(K)`` with ``Sigma_S = (I + X_Sᵀ X_S / s2)^-1``, in closed form; of
    fewer rows than dimensions as ``tr((s2 I + X_S X_Sᵀ)^-1 X_S K X_Sᵀ) / tr(K)``, the same by
    Woodbury's identity: ten random draws of 1,000 rows of 3,072 dimensions take a third as long.

    Parameters
    ----------
    vectors : (m, d) unit embeddings; weights : (m,); picks : (n,) rows; covariance : K (d, d);
    given : (g, d) atoms observed beforehand, optional.
    """
    before = np.empty((0, vectors.shape[1])) if given is None else given
    if len(before) + len(picks) < vectors.shape[1]:
        atoms = np.vstack([before, vectors[picks].astype(np.float64) * weights[picks, None]])
        spread = noise * np.eye(len(atoms)) + atoms @ atoms.T
        captured = np.vdot(np.linalg.solve(spread, atoms), atoms @ covariance)
        return float(captured / np.trace(covariance))
    precision: Array = np.eye(vectors.shape[1]) + before.T @ before / noise
    for start in range(0, len(picks), _BLOCK):  # the picks can be the whole pool
        rows = picks[start : start + _BLOCK]
        atoms = vectors[rows].astype(np.float64) * weights[rows, None]
        precision += atoms.T @ atoms / noise
    return _captured(precision, covariance)


def captured_by_all(
    vectors: Vectors, weights: Array, covariance: Array, noise: float, given: Array | None = None
) -> float:
    """`captured_energy` of all rows that have a weight (m,), those of 0 left out; by a team."""
    precision = np.eye(vectors.shape[1]) + gram(vectors, weights**2) / noise
    with Team():
        if given is not None:
            precision += given.T @ given / noise
        return _captured(precision, covariance)


def _captured(precision: Array, covariance: Array) -> float:
    left = np.trace(np.linalg.solve(precision, covariance))
    return float(1 - left / np.trace(covariance))


def captured_gains(
    vectors: Vectors,
    weights: Array,
    order: Rows,
    covariance: Array,
    noise: float,
    given: Array | None = None,
) -> Array:
    """Share of the query's energy that each row adds to those before it (n,).

    Their cumulative sum is `captured_energy` of every prefix of `order`. By blocks: for atoms X
    and ``noise I + X Sigma Xᵀ = L Lᵀ``, row t of ``U = L⁻¹ X Sigma`` is the greedy step's
    ``u / sqrt(den)`` (design 2), so that Sigma loses ``u uᵀ / den`` and the gain is
    ``U_t K U_tᵀ / tr(K)``.

    Parameters
    ----------
    vectors : (m, d) unit embeddings; weights : (m,); order : (n,) rows; covariance : K (d, d);
    given : (g, d) atoms observed beforehand, optional.
    """
    sigma: Array = np.eye(vectors.shape[1])
    if given is not None:
        sigma = np.linalg.inv(sigma + given.T @ given / noise).astype(np.float64, copy=False)
    gains = np.empty(len(order))
    for start in range(0, len(order), _STEPS):
        rows = order[start : start + _STEPS]
        atoms = vectors[rows].astype(np.float64) * weights[rows, None]
        seen = atoms @ sigma
        steps = np.linalg.cholesky(noise * np.eye(len(rows)) + seen @ atoms.T)
        moved = np.linalg.solve(steps, seen)
        gains[start : start + _STEPS] = np.einsum("ij,ij->i", moved @ covariance, moved)
        sigma -= moved.T @ moved
    scaled: Array = gains / np.trace(covariance)
    return scaled


def knee(captured: Array) -> int:
    """Number of picks at which a curve of captured energy (n,) bends most.

    The point farthest above the chord from no picks to all of them, both axes scaled to 1
    (Satopää et al., "Finding a Kneedle in a Haystack", 2011, without smoothing). All picks where
    none captures anything.
    """
    if not len(captured) or captured[-1] <= 0:
        return len(captured)
    taken = np.arange(1, len(captured) + 1) / len(captured)
    return int(np.argmax(captured / captured[-1] - taken)) + 1


def closest_pairs(vectors: Vectors, picks: Rows, count: int) -> tuple[Rows, Array]:
    """The pairs of picks with the largest cosines: positions (c, 2) in `picks`, cosines (c,).

    Blockwise and exact over all pairs; c is `count` or the number of pairs.
    """
    found: dict[int, tuple[Rows, Array]] = {}

    def look(low: int) -> None:
        pairs, cosines = [], []
        ours = _normalised(vectors[picks[low : low + _BLOCK]])
        for high in range(low, len(picks), _BLOCK):
            near = ours @ _normalised(vectors[picks[high : high + _BLOCK]]).T
            if high == low:
                near[np.tril_indices(len(near))] = -np.inf
            at = np.argpartition(near, -min(count, near.size), axis=None)[-count:]
            first, second = np.unravel_index(at[np.isfinite(near.ravel()[at])], near.shape)
            pairs.append(np.stack([first + low, second + high], axis=1))
            cosines.append(near[first, second].astype(np.float64))
        found[low] = _largest(pairs, cosines, count)

    lows = range(0, len(picks), _BLOCK)
    with Team() as team:
        team.each(look, lows)
    pairs, cosines = zip(*(found[low] for low in lows), strict=True)
    return _largest(pairs, cosines, count)


def _largest(pairs: Sequence[Rows], cosines: Sequence[Array], count: int) -> tuple[Rows, Array]:
    """The `count` pairs of the largest cosines, of several lists; ties in their order."""
    every, of = np.concatenate(pairs), np.concatenate(cosines)
    best = np.argsort(-of, kind="stable")[:count]
    return every[best], of[best]


def mean_shift(sample: Array, reference: Array) -> float | None:
    """Difference of means in standard deviations of `reference` (Glass's Delta); NaN is unknown.

    None where either has no known value; 0 where `reference` has no spread.
    """
    ours, theirs = sample[~np.isnan(sample)], reference[~np.isnan(reference)]
    if not (ours.size and theirs.size):
        return None
    # That of one value repeated is rounding, or 0.
    spread = float(theirs.std()) if theirs.min() < theirs.max() else 0.0
    return float((ours.mean() - theirs.mean()) / spread) if spread > 0 else 0.0


def known_mean(values: Array) -> float | None:
    """The mean of what is not NaN; None where nothing is known."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def nearest_cosines(vectors: Vectors, picks: Rows) -> Array:
    """Each pick's cosine with its nearest other pick (n,); of a seeded sample if n > 4096.

    Blockwise: never an n x n matrix, nor a copy of the picks. Fewer than two give an empty array.
    """
    if len(picks) < 2:
        return np.empty(0)
    chosen = sample(np.arange(len(picks)), _SAMPLE)
    nearest = np.full(len(chosen), -1.0)
    queries = _normalised(vectors[picks[chosen]])
    for start in range(0, len(picks), _BLOCK):
        block = _normalised(vectors[picks[start : start + _BLOCK]])
        cosines = queries @ block.T
        own = np.flatnonzero((chosen >= start) & (chosen < start + len(block)))
        cosines[own, chosen[own] - start] = -1.0
        np.maximum(nearest, cosines.max(axis=1), out=nearest)
    return nearest


def closest(vectors: Vectors, references: Vectors, own: Rows | None = None) -> tuple[Rows, Array]:
    """Each row's nearest reference: its position (m,) and their cosine (m,); ties to the first.

    Blockwise: never an m x t matrix, nor a copy of the pool.

    Parameters
    ----------
    vectors : (m, d) unit embeddings; references : (t, d) unit embeddings;
    own : (m,) the reference that is the row itself and so does not count, -1 where none is.
    Where no reference counts the cosine is -inf.
    """
    which = np.zeros(len(vectors), dtype=np.int64)
    cosine = np.full(len(vectors), -np.inf)

    def look(low: int) -> None:
        part = slice(low, low + _BLOCK)
        block = _normalised(vectors[part])
        for start in range(0, len(references), _BLOCK):
            others = _normalised(references[start : start + _BLOCK])
            cosines = block @ others.T
            if own is not None:
                place = own[part] - start
                there = (place >= 0) & (place < cosines.shape[1])
                cosines[np.flatnonzero(there), place[there]] = -np.inf
            nearest = cosines.argmax(axis=1)
            found = cosines[np.arange(len(nearest)), nearest]
            closer = found > cosine[part]
            cosine[part] = np.where(closer, found, cosine[part])
            which[part] = np.where(closer, nearest + start, which[part])

    with Team() as team:
        team.each(look, range(0, len(vectors), _BLOCK))
    np.minimum(cosine, 1.0, out=cosine)  # past which rounding can take it
    return which, cosine


def nearer(
    vectors: Vectors, references: Vectors, nearest: tuple[Rows, Array], threshold: float
) -> Mask:
    """(m,) rows whose cosine with a reference is above the threshold; near it by float64.

    As the solver closes rows: a threshold can be so close to 1 that single precision misses it.

    Parameters
    ----------
    nearest : tuple
        What `closest` says of them.
    """
    which, cosine = nearest
    above: Mask = cosine > threshold
    unsure = np.flatnonzero(np.abs(cosine - threshold) < _SLACK)
    for start in range(0, len(unsure), _BLOCK):
        at = unsure[start : start + _BLOCK]
        rows = _normalised(vectors[at], np.float64)
        own = _normalised(references[which[at]], np.float64)
        near = np.einsum("ij,ij->i", rows, own) > threshold
        rest = np.flatnonzero(~near)  # of several as near as rounding another may be the nearest
        for low in range(0, len(references) if len(rest) else 0, _BLOCK):
            others = _normalised(references[low : low + _BLOCK], np.float64)
            near[rest] |= (rows[rest] @ others.T).max(axis=1) > threshold
        above[at] = near
    return above


def _normalised(vectors: Vectors, dtype: type[np.floating[Any]] = np.float32) -> npt.NDArray[Any]:
    """Rows in `dtype` over their norms, which half precision has rounded off 1.

    Whatever type they are of now: what was read of a store in half precision beside other rows is
    in float32.
    """
    return unit_rows(vectors.astype(dtype))


def random_picks(pickable: Rows, count: int, seed: int) -> Rows:
    """A seeded random subset of the rows that could have been picked; fewer are the first of more.

    So what is measured of `count` rows and along a longer draw is measured of the same rows.
    """
    return np.random.default_rng(seed).permutation(pickable)[:count].copy()


def random_rows_of(tokens: npt.NDArray[Any], pickable: Rows, most: int, seed: int) -> Rows:
    """A seeded random subset of no more than `most` tokens, of which each row has `tokens` (m,)."""
    order, left = random_picks(pickable, len(pickable), seed), most
    drawn = order[:0]
    while len(order := order[tokens[order] <= left]):  # past rows that do not fit, as picks go
        fitting = order[np.cumsum(tokens[order]) <= left]
        drawn, order = np.append(drawn, fitting), order[len(fitting) :]
        left -= int(tokens[fitting].sum())
    return drawn


def sample(rows: Rows, count: int) -> Rows:
    """`rows` if they are no more than `count`, else a seeded sample of them, in order."""
    return rows if len(rows) <= count else np.sort(random_picks(rows, count, seed=0))
