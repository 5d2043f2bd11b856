"""Rows that compete for the next pick, and what is known of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.objective import Array, Floats, Objective

Ids = NDArray[np.int64]


class Source:
    """Rows as they lie in memory or in a file, widened block by block.

    Parameters
    ----------
    embeddings : (m, d) float16, float32 or float64
        Never copied as a whole; may be a read-only memory map.
    extra : (m, q) or None
        More coordinates of each row (the scores of `residual`).
    """

    def __init__(self, embeddings: Floats, extra: Array | None = None) -> None:
        self.embeddings, self.extra = embeddings, extra
        m, d = embeddings.shape
        self.shape = m, d + (0 if extra is None else extra.shape[1])
        self.direct = embeddings.dtype == np.float32 and extra is None

    def block(self, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """(stop - start, D) rows in float32: a view where that is possible, else in `out`."""
        if self.direct:
            return self.embeddings[start:stop]  # type: ignore[return-value]
        out = out[: stop - start]
        d = self.embeddings.shape[1]
        out[:, :d] = self.embeddings[start:stop]
        if self.extra is not None:
            out[:, d:] = self.extra[start:stop]
        return out

    def take(self, ids: Ids, dtype: type[np.floating]) -> Floats:
        """(n, D) chosen rows in `dtype`."""
        rows = self.embeddings[ids].astype(dtype, copy=False)
        if self.extra is None:
            return rows
        return np.concatenate([rows, self.extra[ids].astype(dtype)], axis=1)


class Pool:
    """Rows, their noise and price, and their states under the belief of an objective.

    Attributes
    ----------
    noise : (p,)
        s2 / w^2 of each row; infinite where the row can no longer be picked, which makes its
        gain zero.
    price : (p,) or None
        What a gain is divided by before gains are compared.
    state, after : (s, p)
        States of the rows now, and those that a sweep has worked out for the end of a block.
    index : (p,) or None
        Ascending rows of the whole pool that these are; None if this is the whole pool.
    """

    def __init__(
        self,
        whole: Source,
        noise: Array,
        price: Array | None,
        state: Array,
        index: Ids | None = None,
    ) -> None:
        self.whole, self.index = whole, index
        self.rows = whole if index is None else Source(whole.take(index, np.float32))
        self.noise, self.price = noise, price
        self.state, self.after = state, np.empty_like(state)

    def __len__(self) -> int:
        return len(self.noise)

    def hottest(self, objective: Objective, size: int, floor: float) -> tuple[Ids, Array]:
        """Up to `size` rows of the highest rates, of gains above `floor`: ascending rows, rates."""
        rate = objective.gain(self.state, self.noise)
        rate[rate <= floor] = 0.0
        if self.price is not None:
            rate /= self.price
        if size < len(self):
            ids = np.argpartition(rate, len(self) - size)[len(self) - size :]
            ids.sort()
        else:
            ids = np.arange(len(self))
        ids = ids[rate[ids] > 0]
        return ids, rate[ids]

    def gather(self, ids: Ids) -> Pool:
        """A copy of some rows, to draft on."""
        return Pool(
            self.whole,
            self.noise[ids],
            None if self.price is None else self.price[ids],
            self.state[:, ids],
            self.named(ids),
        )

    def exact(self, ids: Ids) -> Array:
        """(n, D) rows in float64, from the embeddings as they were given."""
        return self.whole.take(self.named(ids), np.float64)

    def named(self, ids: Ids) -> Ids:
        """Rows of the whole pool that rows `ids` of this one are."""
        return ids if self.index is None else self.index[ids]

    def located(self, rows: Ids) -> Ids:
        """Where rows of the whole pool are in this one; those that are not are left out."""
        if self.index is None:
            return rows
        at = np.minimum(np.searchsorted(self.index, rows), len(self) - 1)
        return at[self.index[at] == rows]

    def accept(self, closed: Ids) -> None:
        """Make the states at the end of a block the present ones, and close rows."""
        self.state, self.after = self.after, self.state
        self.noise[closed] = np.inf
