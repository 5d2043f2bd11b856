"""What a pursuit must define so that drafts can be verified by matrix products.

Every pursuit of design 2.3 keeps a few numbers per row, its *state* (for `projection` v and n),
and each pick t changes them by products of that row's *columns*, which are inner products of the
row with vectors that the pick determines:

    a_jt = f_j . left_t,    b_jt = f_j . right_t,    state_j -= a_jt a_jt, a_jt b_jt or b_jt b_jt

So a whole block of picks is one matrix product for the columns and sums of their products for
the states. This is what `gip_cli.pursuit.chunk` does, for any `Objective`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[Any]  # of the working precision: float32, or float64 where that does not do
Ids = NDArray[np.int64]
Precision = type[np.float32] | type[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """What a block of b picks does to the rest of the pool.

    Attributes
    ----------
    vectors : (g, b, D)
        left and right vectors of each pick, g = 1 or 2.
    fixed : (b,) or None
        A factor that a pick multiplies its left columns by, the same for all rows.
    gains : (b,)
        Gain of each pick, just before it, in float64.
    energy : (b,)
        Share of the query's energy that each pick captured.
    """

    vectors: Array
    gains: Array
    energy: Array
    fixed: Array | None = None

    def first(self, picks: int) -> Columns:
        """What the first so many picks do."""
        return Columns(
            self.vectors[:, :picks],
            self.gains[:picks],
            self.energy[:picks],
            None if self.fixed is None else self.fixed[:picks],
        )

    @staticmethod
    def join(blocks: list[Columns]) -> Columns:
        """Blocks that follow one another, as one."""
        fixed = [block.fixed for block in blocks if block.fixed is not None]
        return Columns(
            np.concatenate([block.vectors for block in blocks], axis=1),
            np.concatenate([block.gains for block in blocks]),
            np.concatenate([block.energy for block in blocks]),
            np.concatenate(fixed) if fixed else None,
        )


class Local(Protocol):
    """A few hundred rows on which picks are tried one at a time, by their Gram matrices."""

    def gain(self, out: Floats) -> None:
        """Write the gain of each row to `out` (p,)."""
        ...

    def pick(self, i: int, rates: Floats) -> object:
        """Update all rows for the pick of row `i`; `rates` (p,) tell which may be next."""
        ...


class Objective(Protocol):
    """The pursuit's belief: d x d matrices in float64, conditioned on the picks so far.

    Attributes
    ----------
    K : (d, d)
        Query covariance of unit trace.
    states, groups : int
        Numbers kept per row, and columns of a pick.
    products : tuple of pairs
        Which columns' products are summed: 0 is a, 1 is b, 2 the picks' `fixed` factors. The
        first `states` sums are subtracted from the states, the others only serve `peak`.
    """

    K: Array

    @property
    def states(self) -> int: ...

    @property
    def groups(self) -> int: ...

    @property
    def cancels(self) -> bool:
        """Whether gains are differences of states."""
        ...

    @property
    def products(self) -> tuple[tuple[int, int], ...]: ...

    def copy(self) -> Self: ...

    def observe(self, X: Array, noise: Array) -> Columns:
        """Condition on picks X (b, D) with noise (b,)."""
        ...

    def state(self, X: Floats) -> Floats:
        """(s, c) states of rows X (c, D) under the present belief, in X's precision."""
        ...

    def gain(self, state: Floats, noise: Floats) -> Floats:
        """Gains of rows in a given state: (s, ...) and (...) to (...). Infinite noise gives 0.

        Negative where the working precision cannot tell whether the gain is that, or nothing.
        """
        ...

    def potential(self, state: Array, noise: Array) -> Array | None:
        """(p,) what rows would gain if none gained nothing; None if the best gain is no less."""
        ...

    def repeated(self, state: Array, noise: Array, times: Ids) -> Array:
        """(s, p) states of rows (s, p) once so many copies of each (p,) have been picked."""
        ...

    def peak(self, before: Floats, after: Floats, sums: Floats, noise: Floats) -> Floats:
        """(..., c) upper bounds of the gain at every step between two states (s, ..., c).

        `sums` (products, ..., c) are the products summed over the steps between them.
        """
        ...

    def local(self, X: Floats, state: Array, noise: Array, picks: int) -> Local:
        """Room for `picks` trial picks on rows X (p, D) that are in the given state."""
        ...


def namespace(array: Floats) -> Any:
    """The module whose functions take this array: numpy, or torch for a device's tensors."""
    return np if isinstance(array, np.ndarray) else sys.modules["torch"]


def rise(aa: Floats, bb: Floats, ab: Floats) -> Floats:
    """How far -sum a b can have risen above its start on the way to its end, at most.

    The steps upwards sum to (sum |a b| - sum a b) / 2, and by Cauchy-Schwarz
    sum |a b| <= sqrt(sum a^2 sum b^2).
    """
    bound: Floats = namespace(aa).sqrt(aa * bb)
    bound -= ab
    bound *= 0.5
    return bound
