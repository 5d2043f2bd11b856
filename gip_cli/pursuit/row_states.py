"""Rows that compete for the next pick, and what is known of each."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.copies import BATCH, Copies, fingerprints
from gip_cli.pursuit.objective import Array, Floats, Ids, Objective, Precision
from gip_cli.pursuit.source import Source, Subset

SAMPLED, LEAST_SAMPLE, SPARE = 16, 100, 1.5  # every so many rates; rates; times as many as wanted
ROUNDING = 1e-16  # energy, of a query of unit trace: a row that captures no more gains nothing


class RowStates:
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
    d : int
        How many of a row's coordinates are its embedding.
    index : (p,) or None
        Ascending rows of the whole pool that these are; None if this is the whole pool.
    dtype : type
        Working precision: of all products with the rows.
    copies : Copies or None
        Rows that were copies of each other when they were looked for; None before that.
    aside : (p,) or None
        Rows that gain nothing at the present turn, whatever their states say.
    """

    def __init__(
        self,
        whole: Source,
        noise: Array,
        price: Array | None,
        state: Array,
        index: Ids | None = None,
        rows: Source | Subset | None = None,
        dtype: Precision = np.float32,
    ) -> None:
        self.whole, self.index, self.dtype = whole, index, dtype
        self.d = whole.embeddings.shape[1]
        self.rows = rows or whole
        self.noise, self.price = noise, price
        self.state, self.after = state, np.empty_like(state)
        self.copies: Copies | None = None
        self.aside: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.noise)

    def hottest(self, objective: Objective, size: int) -> tuple[Ids, Array]:
        """Up to `size` rows of the highest rates that gain anything: ascending rows, rates.

        A copy counts by what will be left for it when those below it have been picked.
        """
        gain = objective.gain(self.state, self.noise)
        if self.aside is not None:
            gain[self.aside] = 0.0
        if self.copies is not None:
            is_open = np.isfinite(self.noise)
            if self.aside is not None:
                is_open &= ~self.aside
            before = self.copies.before(is_open)
            rows = self.copies.rows
            later = (before > 0) & is_open[rows]
            rows, before = rows[later], before[later]
            state = objective.repeated(self.state[:, rows], self.noise[rows], before)
            gain[rows] = objective.gain(state, self.noise[rows])
        # Among thousands of equal rates, such as closed rows' zeros, the highest take 40 times as
        # long to find: a million rows, three quarters of them closed, 44 ms.
        ids = np.flatnonzero(gain > self.floor(slice(None)))
        rate = self.rates(gain[ids], ids)
        if size < len(ids):
            best = highest(rate, size)
            ids, rate = ids[best], rate[best]
            if self.copies is not None:
                ids = self.copies.lowest(ids, is_open)
                rate = self.rates(gain[ids], ids)
        return ids, rate

    def gather(self, ids: Ids) -> RowStates:
        """A copy of some rows, to draft on."""
        return self.part(ids, Source(self.whole.take(self.named(ids), self.dtype)))

    def narrowed(self) -> RowStates:
        """The rows that can still be picked, where they are less than half of these; else this.

        Those which rules have closed cost a sweep as much as others. Gathered block by block the
        others cost more than where they lie side by side, but less than twice as much.
        """
        is_open = np.isfinite(self.noise)
        if not 0 < 2 * np.count_nonzero(is_open) < len(self):
            return self
        return self.subset(np.flatnonzero(is_open))

    def subset(self, ids: Ids) -> RowStates:
        """A copy of what is known of some rows, which are left where they are."""
        return self.part(ids, Subset(self.whole, self.named(ids)))

    def part(self, ids: Ids, rows: Source | Subset) -> RowStates:
        """Some rows as a pool of their own, whose coordinates are `rows`."""
        part = RowStates(
            self.whole,
            self.noise[ids],
            None if self.price is None else self.price[ids],
            self.state[:, ids],
            self.named(ids),
            rows,
            self.dtype,
        )
        part.copies = self.copies and self.copies.part(ids)
        part.aside = None if self.aside is None else self.aside[ids]
        return part

    def find_copies(self, suspects: Ids) -> bool:
        """Whether a sample of the open rows `suspects` are mostly copies: then all are found."""
        sample = suspects[:BATCH]
        if 2 * len(np.unique(fingerprints(sample, self.traits))) > len(sample):
            return False
        self.know_copies()
        return True

    def know_copies(self) -> None:
        """Find all copies among the open rows."""
        self.copies = Copies.among(np.flatnonzero(np.isfinite(self.noise)), len(self), self.traits)

    def traits(self, ids: Ids) -> Array:
        """(n, D + 1 or 2) all that tells rows from each other."""
        marks = [self.noise] if self.price is None else [self.noise, self.price]
        return np.column_stack([self.exact(ids), *(mark[ids] for mark in marks)])

    def contesting(self, block: Ids, closed: Ids) -> RowStates:
        """This without rows set aside, and those behind a copy that a block leaves open.

        Parameters
        ----------
        block : (b,)
            Its picks, which remain.
        closed : (n,)
            Rows that it closes, its picks among them.
        """
        if self.copies is None and self.aside is None:
            return self
        is_out = np.zeros(len(self), np.bool_)
        if self.copies is not None:
            stays = np.isfinite(self.noise)
            stays[closed] = False
            is_out[self.copies.rows] = self.copies.before(stays) > 0
        if self.aside is not None:
            is_out |= self.aside
        is_out[block] = False
        other = copy(self)
        other.noise = np.where(is_out, np.inf, self.noise)
        return other

    def set_aside(self, row: int) -> None:
        """Leave a row and its copies out of the present turn."""
        if self.aside is None:
            self.aside = np.zeros(len(self), np.bool_)
        self.aside[row] = True
        like, trait = np.flatnonzero(self.noise == self.noise[row]), self.traits(np.array([row]))
        column = int(np.abs(trait[0, : self.d]).argmax())  # which tells most rows from this one
        values = self.whole.embeddings[self.named(like), column]
        like = like[values == trait[0, column]]
        for start in range(0, len(like), BATCH):
            ids = like[start : start + BATCH]
            self.aside[ids[(self.traits(ids) == trait).all(axis=1)]] = True

    def floor(self, ids: Ids | slice) -> Array:
        """Gains of rows `ids` that are not above it are rounding."""
        return ROUNDING / (1 + self.noise[ids])

    def rates(self, gains: Array, ids: Ids | slice) -> Array:
        """Gains of rows `ids` over their prices."""
        return gains if self.price is None else gains / self.price[ids]

    @property
    def slack(self) -> float:
        """How far an inner product may be from the cosine: norms are as exact as the rows are."""
        return 2e-3 if self.whole.embeddings.dtype == np.float16 else 1e-5

    def exact(self, ids: Ids) -> Array:
        """(n, D) rows in float64, from the embeddings as they were given."""
        return self.whole.take(self.named(ids))

    def are_near(
        self, rows: Ids, others: Ids, cosines: Floats, max_cosine: float
    ) -> NDArray[np.bool_]:
        """(x,) pairs of rows closer than `max_cosine`, by their cosines (x,).

        Rounding's doubt in those is settled in float64.
        """
        are_near: NDArray[np.bool_] = cosines > max_cosine
        unsure = np.flatnonzero(np.abs(cosines - max_cosine) <= self.slack)
        for start in range(0, len(unsure), BATCH):
            batch = unsure[start : start + BATCH]
            are_near[batch] = self.exact_cosines(rows[batch], others[batch]) > max_cosine
        return are_near

    def exact_cosines(self, rows: Ids, others: Ids) -> Array:
        """(n,) cosines in float64 of the embeddings of pairs of rows."""
        F, G = (self.exact(ids)[:, : self.d] for ids in (rows, others))
        inner, *squares = (np.einsum("ij,ij->i", *pair) for pair in ((F, G), (F, F), (G, G)))
        norms = np.sqrt(np.multiply(*squares))
        cosines: Array = np.divide(inner, norms, out=np.zeros_like(inner), where=norms > 0)
        return cosines

    def named(self, ids: Ids) -> Ids:
        """Rows of the whole pool that rows `ids` of this one are."""
        if self.index is None:
            return ids
        named: Ids = self.index[ids]
        return named

    def located(self, rows: Ids) -> Ids:
        """Where rows of the whole pool are in this one; those that are not are left out."""
        if self.index is None:
            return rows
        at = np.minimum(np.searchsorted(self.index, rows), len(self) - 1)
        located: Ids = at[self.index[at] == rows]
        return located

    def rewind(self, sums: Floats) -> None:
        """Put in `after` what is left after stretches of picks that subtract `sums` (n, s, p)."""
        np.subtract(self.state, sums.sum(axis=0, dtype=np.float64), out=self.after)

    def accept(self, closed: Ids) -> None:
        """Make the states at the end of a block the present ones, and close rows."""
        self.state, self.after = self.after, self.state
        self.noise[closed] = np.inf


def highest(rates: Array, size: int) -> Ids:
    """Where the `size` highest rates are, ascending.

    A sample tells which rates need not be looked at: a million took ten times as long without.
    """
    likely = np.arange(len(rates))
    if size >= LEAST_SAMPLE * SAMPLED:
        sample = rates[::SAMPLED]
        above = min(len(sample), int(SPARE * size / SAMPLED))
        enough = np.flatnonzero(rates >= np.partition(sample, -above)[-above])
        likely = enough if len(enough) >= size else likely
    best: Ids = likely[np.argpartition(rates[likely], len(likely) - size)[len(likely) - size :]]
    best.sort()
    return best
