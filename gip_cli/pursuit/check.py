"""What `select` accepts: each function returns its argument in the solver's form or raises."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gip_cli.pursuit.objective import Array, Floats

ROUNDING = 1e-8  # asymmetry and negative energy that a computed covariance may have
LEAST_NOISE = 1e-5  # times v = 1: below it float64 may not tell what is left of a direction
MOST_SQUARE = 1e16  # of a row's norm, which is to be 1: far beyond it numbers overflow
MOST_SPREAD = 1e7  # of it over the row's noise: rows of norm 10 at the least noise
MOST_SCORE = 1e100  # its square is to be a number
MOST_RATIO = 1e140  # of a score to the largest weight: its square over the least noise, too
MOST_NOISE = 1e20  # and most ratio of prices: rates must stay numbers in float32


def rows(embeddings: Floats) -> Floats:
    if not isinstance(embeddings, np.ndarray) or embeddings.ndim != 2:
        raise ValueError("embeddings must be a two-dimensional numpy array")
    if embeddings.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f"embeddings must be float16, float32 or float64, not {embeddings.dtype}")
    if 0 in embeddings.shape:
        raise ValueError(f"embeddings must have rows and columns, not shape {embeddings.shape}")
    _unmasked("embeddings", embeddings)
    return np.asarray(embeddings)  # products of np.matrix and the like are something else


def pursuit(name: str, *, for_residual: bool, given: bool) -> None:
    """Raise ValueError unless it is known and defined for what is said `for_residual` or given."""
    if name not in ("projection", "information", "residual"):
        raise ValueError(f"no pursuit {name!r}: projection, information or residual")
    if name != "residual" and for_residual:
        raise ValueError("scores and signed are for pursuit='residual'")
    if name == "residual" and given:
        raise ValueError("given is not defined for pursuit='residual'")


def helpers(device: object, rules: object, on_progress: object) -> None:
    """Raise ValueError unless they can be what `select` says."""
    if not isinstance(device, str):
        kind = type(device).__name__
        raise ValueError(f"device must be a name such as 'cpu' or 'cuda', not of type {kind}")
    methods = (getattr(rules, name, None) for name in ("pickable", "take", "copy"))
    if rules is not None and not all(map(callable, methods)):
        raise ValueError("rules must have the methods pickable, take and copy")
    if on_progress is not None and not callable(on_progress):
        raise ValueError("on_progress must be a function")


def budget(k: int) -> int:
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be a whole number of at least 1, not {k!r}")
    return int(k)


def _unmasked(name: str, values: ArrayLike) -> None:
    """Refuse masked values: a plain array of them would hold whatever lies below the mask."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must not be masked")


def numbers(name: str, values: ArrayLike) -> Array:
    """A copy in float64."""
    _unmasked(name, values)
    try:
        array = np.asarray(values)
        kind = array.dtype.kind
        if kind in "biuf" or (kind == "O" and None not in array.ravel().tolist()):
            with np.errstate(over="ignore"):  # infinite, for others to refuse
                return np.array(array, dtype=np.float64)
    # Dicts, sets, lists of different lengths, torch's tensors that require a gradient, ...
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"{name} must be an array of real numbers") from None
    raise ValueError(f"{name} must be real numbers, not {array.dtype}")


def vector(name: str, values: ArrayLike, length: int) -> Array:
    """A copy of (length,) numbers."""
    array = numbers(name, values)
    if array.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), not {array.shape}")
    return array


def weights(values: ArrayLike | None, length: int, name: str = "weights") -> Array:
    if values is None:
        return np.ones(length)
    w = vector(name, values, length)
    if np.any(w <= 0) or np.any(w > 1):
        raise ValueError(f"{name} must lie in (0, 1], or be NaN for rows that cannot be picked")
    return w


def pickable(values: ArrayLike, length: int) -> NDArray[np.bool_]:
    """Which rows `Rules.pickable` says may be picked (length,)."""
    _unmasked("rules.pickable()", values)
    rows = np.asarray(values, dtype=np.bool_)
    if rows.shape != (length,):
        raise ValueError(f"rules.pickable() must have shape ({length},), not {rows.shape}")
    return rows


def price(values: ArrayLike | None, length: int) -> Array | None:
    if values is None:
        return None
    cost = vector("price", values, length)
    if not np.all((cost > 0) & np.isfinite(cost)):
        raise ValueError("price must be positive and finite")
    least = cost.min()
    if cost.max() / MOST_NOISE > least:
        raise ValueError(f"no price may be more than {MOST_NOISE:g} times another")
    cost /= least  # of rates, only the order counts
    return cost


def finite(squares: Array) -> None:
    """Raise ValueError unless all squared norms (m,) are numbers, and not beyond all bounds."""
    if len(bad := np.flatnonzero(~(squares <= MOST_SQUARE))):
        row, norm = bad[0], np.sqrt(squares[bad[0]])
        if np.isfinite(norm):
            raise ValueError(f"embeddings must be of unit norm: row {row} has norm {norm:.3g}")
        raise ValueError(f"embeddings must be finite: row {row} is not, or far from unit norm")


def spread(squares: Array, noise: Array) -> None:
    """Raise ValueError unless squared norms (m,) are such that float64 tells what a pick leaves."""
    if len(bad := np.flatnonzero(squares > MOST_SPREAD * noise)):
        norm = np.sqrt(squares[bad[0]])
        raise ValueError(
            f"embeddings must be of unit norm: row {bad[0]} has norm {norm:.3g}, too large beside "
            "the noise"
        )


def query(values: ArrayLike, d: int) -> Array:
    """A copy, made exactly symmetric and of unit trace."""
    K = numbers("query", values)
    if K.shape != (d, d):
        raise ValueError(f"query must have shape ({d}, {d}) like the embeddings, not {K.shape}")
    trace = np.trace(K)
    if not 0 < trace < np.inf or not np.all(np.isfinite(K)):
        raise ValueError("query must be finite and have energy: its trace must be more than 0")
    K /= trace
    if np.max(np.abs(K - K.T)) > ROUNDING:
        raise ValueError("query must be symmetric")
    K += K.T.copy()
    K /= 2
    try:
        np.linalg.cholesky(K + ROUNDING * np.eye(d))
    except np.linalg.LinAlgError:
        least, largest = np.linalg.eigvalsh(K)[[0, -1]]
        raise ValueError(
            "query must be positive semidefinite: its least eigenvalue is "
            f"{least / largest:.1g} of the largest (T.T @ T in float16 is too coarse)"
        ) from None
    return K


def least_noise(weights: ArrayLike) -> float:
    """Least noise variance beside weights (m,), by the largest; NaN ones do not count.

    Never so small that a weight's noise, s2 / w^2, could be 0 / 0; no larger without any weights.
    """
    w = np.asarray(weights, dtype=np.float64)
    largest = float(np.max(w, initial=0.0, where=~np.isnan(w)))
    return max(LEAST_NOISE * largest**2, MOST_NOISE * np.finfo(np.float64).tiny)


def noise(value: object, least: float) -> float:
    s2 = real("noise", value)
    if not least <= s2 <= MOST_NOISE:
        raise ValueError(f"noise must lie in [{least:g}, {MOST_NOISE:g}], not {s2}")
    return s2


def real(name: str, value: object) -> float:
    """A single number, also of no dimensions, as float."""
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value.item()
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name} must be a real number, not {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large a number") from None


def scores(values: ArrayLike, length: int) -> Array:
    C = numbers("scores", values)
    if C.ndim != 2 or len(C) != length or not C.shape[1] or not np.all(np.isfinite(C)):
        raise ValueError(f"scores must be finite and have shape ({length}, q), not {C.shape}")
    if np.max(np.abs(C), initial=0.0) > MOST_SCORE:
        raise ValueError(f"scores must lie in [-{MOST_SCORE:g}, {MOST_SCORE:g}]")
    return C


def given(embeddings: ArrayLike | None, values: ArrayLike | None, d: int) -> tuple[Array, Array]:
    if embeddings is None:
        if values is not None:
            raise ValueError("given_weights go with given")
        return np.empty((0, d)), np.empty(0)
    G = numbers("given", embeddings)
    if G.ndim != 2 or G.shape[1] != d or not np.all(np.isfinite(G)):
        raise ValueError(f"given must be finite and have shape (g, {d}), not {G.shape}")
    if np.max(np.abs(G), initial=0.0) > MOST_SQUARE**0.5:
        raise ValueError("given must be of unit norm")
    w = weights(values, len(G), "given_weights")
    if np.any(np.isnan(w)):
        raise ValueError("given_weights must not be NaN: those rows have been picked")
    return G, w


def share(name: str, value: float | None, low: float, high: float) -> float | None:
    if value is None:
        return None
    value = real(name, value)
    if not low < value < high:
        raise ValueError(f"{name} must be more than {low:g} and less than {high:g}, not {value}")
    return value
