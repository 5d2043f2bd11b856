"""What a sweep over a pool is told, and what it finds: the same on the host and on a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, Objective, Precision

STRETCH = 32  # picks whose columns' products are summed at a time
LONGEST = 8  # stretches in a block, at most
FIXED = 2  # in `Objective.products`


class Plan:
    """A block of b picks as the chunks need it, padded to whole stretches.

    Parameters
    ----------
    limits : (b,)
        Rates that a row must come up to, to be reported.
    dtype : type
        Working precision.
    picks : (b, d) or None
        Embeddings of the picks, if rows closer to one than the cosine `bar` are to be reported.
    """

    def __init__(
        self,
        objective: Objective,
        block: Columns,
        limits: Array | float,
        dtype: Precision,
        picks: Array | None = None,
        bar: float = np.inf,
    ) -> None:
        groups, b, D = block.vectors.shape
        self.objective, self.bar = objective, bar
        self.stretches = -(-b // STRETCH)
        padded = self.stretches * STRETCH
        matrix = np.zeros((D, groups, padded), dtype)
        matrix[:, :, :b] = block.vectors.transpose(2, 0, 1)
        self.matrix = matrix.reshape(D, groups * padded)
        self.limits = np.full((self.stretches, STRETCH), np.inf, dtype)
        self.limits.reshape(-1)[:b] = limits
        self.least = self.limits.min(axis=1)
        self.fixed = np.zeros((self.stretches, STRETCH), dtype)
        if block.fixed is not None:
            self.fixed.reshape(-1)[:b] = block.fixed
        self.fixed_squares = np.einsum("cs,cs->c", self.fixed, self.fixed)
        self.picks = None if picks is None else picks.T.astype(dtype)


@dataclass(frozen=True, slots=True)
class Hits:
    """Rows that came up to a pick's limit, the picks' own rows among them; in no order.

    Attributes
    ----------
    rows, steps : (n,)
        Row of the pool, and the pick of the block that it came up to.
    rates : (n,)
        The row's rate just before that pick, to the working precision.
    near_rows, near_steps, cosines : (x,)
        Rows, picks that they are closer to than the bar, and how close, to the working precision.
    """

    rows: Ids
    steps: Ids
    rates: Floats
    near_rows: Ids
    near_steps: Ids
    cosines: Floats
