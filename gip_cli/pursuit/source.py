"""Rows as they lie in memory or in a file, widened block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gip_cli.pursuit.objective import Array, Floats, Ids, Precision
from gip_cli.pursuit.team import Team

# Rows in float64 at a time. With fewer, where d is large adding up the (d, d) products takes longer
# than they do: 20,000 rows of 4,096 coordinates took 18 s by 128 rows, 3 s by these.
WIDENED = 1024
MOST_LANES, LANES_BYTES = 16, 1 << 25  # of sums that are formed side by side


class Source:
    """The rows of a pool.

    Parameters
    ----------
    embeddings : (m, d) float16, float32 or float64
        Never copied as a whole; may be a read-only memory map.
    extra : (m, q) or None
        Further coordinates of each row (the scores of `residual`).

    Attributes
    ----------
    shape : (m, D)
        D = d + q.
    """

    def __init__(self, embeddings: Floats, extra: Array | None = None) -> None:
        self.embeddings, self.extra = embeddings, extra
        m, d = embeddings.shape
        self.shape = m, d + (0 if extra is None else extra.shape[1])

    def block(self, rows: slice, out: Floats) -> Floats:
        """(c, D) consecutive rows in the precision of `out`: a view if it can be, else in `out`."""
        if self.extra is None and self.embeddings.dtype == out.dtype:
            return self.embeddings[rows]
        out = out[: rows.stop - rows.start]
        d = self.embeddings.shape[1]
        copy(self.embeddings[rows], out[:, :d])
        if self.extra is not None:
            out[:, d:] = self.extra[rows]
        return out

    def take(self, rows: Ids, dtype: Precision = np.float64) -> Floats:
        """(n, D) chosen rows."""
        chosen: Floats = self.embeddings[rows]
        if chosen.dtype != dtype:
            given, chosen = chosen, np.empty(chosen.shape, dtype)
            copy(given, chosen)
        if self.extra is not None:
            chosen = np.hstack([chosen, self.extra[rows].astype(dtype, copy=False)])
        return chosen

    def gram(self, team: Team, weights: Array | None = None) -> Array:
        """(d, d) F^T diag(weights) F in float64, the same bit by bit for any team.

        Blocks of rows are summed by turns in several *lanes*, which are the workers' tasks: how
        many follows from the rows' shape alone.

        Parameters
        ----------
        weights : (m,), optional
            Not negative.
        """
        m, d = self.embeddings.shape
        lanes = max(2, min(MOST_LANES, LANES_BYTES // (8 * d * d), -(-m // WIDENED)))
        grams = np.zeros((lanes, d, d))

        def work(lane: int) -> None:
            term = np.empty((d, d))
            for start, block in self._widened(lane, lanes):
                if weights is not None:
                    block *= np.sqrt(weights[start : start + len(block), None])
                with np.errstate(over="ignore", invalid="ignore"):  # of rows that are not finite
                    grams[lane] += np.matmul(block.T, block, out=term)

        team.each(work, range(lanes))
        gram: Array = grams.sum(axis=0)
        return gram

    def squares(self) -> Array:
        """(m,) squared norms of the embeddings in float64."""
        return np.concatenate([np.einsum("ij,ij->i", block, block) for _, block in self._widened()])

    def _widened(self, first: int = 0, step: int = 1) -> Iterator[tuple[int, Array]]:
        """Every `step`-th block of embeddings in float64 (c, d), each in the place of the last.

        With the first of its rows.
        """
        m, d = self.embeddings.shape
        size = min(m, WIDENED)
        buffer = np.empty((size, d))
        for start in range(first * size, m, step * size):
            block = buffer[: min(size, m - start)]
            block[...] = self.embeddings[start : start + len(block)]
            yield start, block


class Subset:
    """Some rows of a source, left where they are: sweeps gather them block by block."""

    def __init__(self, whole: Source, index: Ids) -> None:
        self.whole, self.index = whole, index
        self.shape = len(index), whole.shape[1]

    def block(self, rows: slice, out: Floats) -> Floats:
        """As `Source.block`, always a copy."""
        index, whole = self.index[rows], self.whole
        if whole.extra is not None or whole.embeddings.dtype != out.dtype:
            return whole.take(index, out.dtype.type)
        gathered: Floats = out[: len(index)]
        np.take(whole.embeddings, index, axis=0, out=gathered, mode="clip")  # others buffer `out`
        return gathered


def gram(vectors: Floats, row_weights: Array | None = None) -> Array:
    """``Fᵀ diag(row_weights) F`` (d, d) in float64, by blocks.

    In float32 its rounding would be energy in directions that no row has, and `information` goes
    by directions.
    """
    with Team() as team:
        return Source(vectors).gram(team, row_weights)


def copy(rows: Floats, out: Floats) -> None:
    """`out[...] = rows`, and four times as fast from half to single precision.

    A half's bits, moved to where a single's are, say a number 2^-112 times as large: exponents
    are biased by 15, a single's by 127. Infinities and NaNs, all halves from 0x7c00 on but for
    their sign, would become numbers.
    """
    if rows.dtype != np.float16 or out.dtype != np.float32:
        with np.errstate(over="ignore"):  # of rows beyond float32, which are refused
            out[...] = rows
        return
    bits, target = rows.view(np.int16), out.view(np.int32)
    if bits.max(initial=0) >= 0x7C00 or rows.view(np.uint16).max(initial=0) >= 0xFC00:
        out[...] = rows
        return
    np.left_shift(bits, 13, out=target, dtype=np.int32)
    np.bitwise_and(target, np.int32(-0x70000001), out=target)  # without copies of the sign
    np.multiply(out, np.float32(2.0**112), out=out)
