"""What selections are judged by: one pool, one query, one noise, and the same references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from gip_cli.arrays import Array, Rows, Vectors
from gip_cli.candidates import Candidates, gather_candidates
from gip_cli.companions import Companion, Companions
from gip_cli.embeddings import Embeddings, join_keys, keys_digest
from gip_cli.errors import UsageError
from gip_cli.formats import ONE_TEXT
from gip_cli.given import Given
from gip_cli.groups import Groups
from gip_cli.measures import (
    RANDOM_SEEDS,
    captured_by_all,
    captured_energy,
    captured_gains,
    closest,
    random_picks,
    random_rows_of,
    sample,
    side_by_side,
)
from gip_cli.plan import Budget, Plan
from gip_cli.pool import Pool
from gip_cli.printable import agreeing, counted
from gip_cli.pursuit import default_noise, least_noise
from gip_cli.report.selections import Picked, Receipt
from gip_cli.rows import BadRows
from gip_cli.signals import quality_weights

COVERED = 20_000  # rows of the pool whose coverage is measured, where there are more


@dataclass(frozen=True)
class Case:
    """The pool's arrays, and the yardstick by which every selection of it is measured."""

    pool: Pool
    vectors: Vectors  # (m, d)
    lengths: Array  # (m,) in `unit`, NaN where not known
    token_field: str | None  # whose tokens they are, else the store's
    unit: str  # tokens, or where the store does not know them characters: the response's, if any
    groups: dict[str, Groups]  # by field
    covariance: Array  # the query's, (d, d)
    sources: dict[str, float]  # shares of the query
    weights: Array  # (m,), 0 for rows that lack a signal
    given: Given | None  # the rows that were there before
    noise: float
    pickable: Rows
    ranked: Rows | None  # the pickable rows by quality, best first; None without signals
    picked: list[Picked]
    skipped: list[BadRows]  # of the files that the receipt names
    notes: list[str]  # what a reader of the figures must know

    def captured(self, rows: Rows) -> float:
        """Share of the query's energy that `rows`, and those given before, capture."""
        return captured_energy(
            self.vectors, self.weights, rows, self.covariance, self.noise, self._before(rows)
        )

    def captured_by_all(self) -> float:
        """Share that all rows which could be picked, and those given before, capture."""
        weights = np.zeros(len(self.weights))
        weights[self.pickable] = self.weights[self.pickable]
        given = self._before(self.pickable)
        return captured_by_all(self.vectors, weights, self.covariance, self.noise, given)

    def curve(self, order: Rows) -> tuple[float, Array]:
        """What the rows given before capture, and what each of `order` (n,) adds to that."""
        given = self._before(order)
        fixed = self.covariance, self.noise, given
        before = captured_energy(self.vectors, self.weights, order[:0], *fixed)
        return before, captured_gains(self.vectors, self.weights, order, *fixed)

    def _before(self, rows: Rows) -> Array | None:
        """The atoms given before that are not among `rows`: nothing is observed twice."""
        if self.given is None:
            return None
        again: Array = self.given.atoms[join_keys(self.pool.keys[rows], self.given.keys) < 0]
        return again

    def draws(self, count: int) -> list[Rows]:
        """Random subsets of the rows that could have been picked, the same ones every time."""
        return [random_picks(self.pickable, count, seed) for seed in range(RANDOM_SEEDS)]

    def price(self, picked: Picked) -> int | None:
        """The tokens of a selection by `--tokens`; None of others, and where none are counted.

        And where others are, by another field, and where no row has so few, as of an edited file.
        """
        options = picked.receipt.options if picked.receipt else {}
        same = options.get("token_field") == self.token_field
        if not ("tokens" in options and same and self.unit == "tokens"):
            return None
        tokens = int(np.nansum(self.lengths[picked.rows]))
        return tokens if tokens >= np.nanmin(self.lengths[self.pickable]) else None

    def random_for(self, picked: Picked) -> list[Rows]:
        """Random rows for a selection's price, as its receipt has them: as many, or its tokens."""
        if (most := self.price(picked)) is None:
            return self.draws(len(picked.rows))
        of_price = partial(random_rows_of, self.lengths, self.pickable, most)
        return [of_price(seed) for seed in range(RANDOM_SEEDS)]

    @cached_property
    def sampled(self) -> Rows:
        """The rows of the pool whose coverage is measured (c,): all, or a seeded sample."""
        return sample(np.arange(len(self.pool)), COVERED)

    def coverage(self, rows: Rows) -> tuple[Rows, Array]:
        """Each sampled row's nearest of `rows`, by its place there, and their cosine: (c,) each."""
        return closest(self._covered, self.vectors[rows])

    @cached_property
    def _covered(self) -> Vectors:
        return self.vectors[self.sampled]


def open_case(
    pool: Pool,
    store: Embeddings,
    picked: list[Picked],
    group_fields: Iterable[str],
    *,
    skip_bad: bool,
) -> Case:
    """Measure by the query of the first selection that has a receipt, else by the defaults.

    `pool` has the fields to group by, and that in which a receipt says that tokens are counted.

    Raises
    ------
    UsageError
        The receipt names signals or files that are not there, a query without energy, or a noise
        that no selection of these rows had.
    InputError
        No row of the pool could have been picked.
    MismatchError
        A row of the pool has no embedding and may not be skipped.
    """
    receipt = next((one.receipt for one in picked if one.receipt), None)
    rows, beside = _gathered(pool, store, receipt, skip_bad=skip_bad)
    weights, covariance = rows.query.weights, rows.query.covariance
    if receipt and receipt.noise < least_noise(rows.weights):
        raise UsageError(
            f"the noise of {receipt.path} is too small for these rows",
            "give the pool that was selected from, or move the receipt away",
        )
    for one in picked:
        if receipt and receipt.noise < least_noise(weights[one.rows]):
            raise UsageError(
                f"the noise of {receipt.path} is too small for rows of {one.name}, which weigh "
                "more than any that could be picked",
                f"leave {one.name} out, or move the receipt away",
            )
    most = max(len(one.rows) for one in picked)
    known = bool((rows.tokens > 0).any())
    has_response = pool.renderer.format not in ONE_TEXT
    case = Case(
        pool=pool,
        vectors=rows.vectors,
        lengths=np.where(rows.counted, rows.tokens, np.nan)
        if known
        else pool.lengths.astype(np.float64),
        token_field=receipt.options.get("token_field") if receipt else None,
        unit="tokens" if known else "response " * has_response + "characters",
        groups={field: Groups.by(pool.fields[field]) for field in group_fields},
        covariance=covariance,
        sources=rows.query.sources,
        weights=np.nan_to_num(weights),
        given=rows.given,
        noise=receipt.noise if receipt else default_noise(most, rows.weights, covariance),
        pickable=np.flatnonzero(rows.open),
        ranked=_by_quality(rows),
        picked=picked,
        skipped=[one.skipped for one in beside],
        notes=[],
    )
    case.notes.extend(_notes(case, rows, store, receipt))
    case.notes.extend(_strangers(beside, receipt))
    return case


def _gathered(
    pool: Pool, store: Embeddings, receipt: Receipt | None, *, skip_bad: bool
) -> tuple[Candidates, list[Companion]]:
    """The pool's rows by the receipt's plan or, without one, by the defaults.

    And the files that the receipt names.
    """
    plan = replace(receipt.plan if receipt else Plan(Budget(rows=1)), skip_bad=skip_bad)
    named = receipt.files if receipt else {}
    try:
        beside = Companions(store, skip_bad=skip_bad).read_parts(named)
        files = [one for part in beside.values() for one in part]
        return gather_candidates(pool, store, plan, **beside), files
    except UsageError as error:
        if receipt is None:  # by the defaults only rows without energy make no query
            raise UsageError(error.fault, "give other embeddings: -e") from None
        remedy = "run where gip select ran, or move the receipt away"
        told = str(error) if str(error) != error.fault else f"{error}; {remedy}"
        raise UsageError(f"the query of {receipt.path}: {told}") from None


def _strangers(beside: list[Companion], receipt: Receipt | None) -> Iterator[str]:
    """Files of other rows than those that the receipt names had."""
    for one in beside:
        if receipt and receipt.digests and one.digest not in receipt.digests:
            yield (
                f"{one.path} has other rows than when {receipt.path} was written: figures may "
                "differ from the receipt's."
            )


def _by_quality(rows: Candidates) -> Rows | None:
    """Top-k's order: by the query's signals, else by all alike; ties in seeded order."""
    signals, shares = rows.signals, rows.shares
    if not shares:
        signals = rows.pool.signals
        shares = [1.0] * len(signals.names)
    if not shares:
        return None
    weights = quality_weights(signals.unit(), shares, 1.0)
    ties = np.random.default_rng(0).permutation(len(weights))
    order = np.lexsort((ties, -weights))
    return order[rows.open[order] & ~np.isnan(weights[order])]


def _notes(
    case: Case, rows: Candidates, store: Embeddings, receipt: Receipt | None
) -> Iterator[str]:
    pool = case.pool
    if receipt is None:
        basis = "all signals alike" if rows.shares else "the pool itself as query"
        yield f"No receipt beside the selection: measured by gip's defaults ({basis})."
    elif receipt.value.get("input", {}).get("blake2b") != pool.digest:
        yield (
            f"{pool.rows.name} is not byte for byte the file that was selected from: "
            "signals and figures may differ from the receipt's."
        )
    if receipt and len(case.picked) > 1:
        yield (
            "All selections are measured by the query, weights and noise of one receipt, "
            f"{receipt.path}."
        )
    for one in case.picked:
        if one.receipt:
            yield from _deviations(one, one.receipt, store, pool)
        if unscored := int(np.count_nonzero(np.isnan(rows.query.weights[one.rows]))):
            yield (
                "Without a signal of the query, and so capturing nothing here: "
                f"{unscored:,} of {counted(len(one.rows), 'row')} of {one.name}."
            )
    if len(case.sampled) < len(pool):
        yield (
            f"Coverage is that of {len(case.sampled):,} of the pool's {len(pool):,} rows, a seeded "
            "sample."
        )
    if case.given is not None:
        [alone] = side_by_side(case.captured, [case.pickable[:0]])
        count = len(case.given)
        yield (
            f"Captured energy counts the {counted(count, 'row')} given before, which alone "
            f"{agreeing(count, 'capture')} {alone:.1%}; a row among both counts once."
        )


def _deviations(one: Picked, receipt: Receipt, store: Embeddings, pool: Pool) -> Iterator[str]:
    """In what a selection, as it is measured here, is not what its receipt tells of."""
    if not receipt.was_by(store):
        theirs = receipt.value["embeddings"]["model"]
        yield (
            f"{one.name} was selected by other embeddings ({theirs}) than these "
            f"({store.settings.card.model}): its figures are not its receipt's."
        )
    elif not receipt.was_of_texts_by(pool.renderer):
        yield (
            f"{one.name} was selected by embeddings of other texts of its rows (see --part and "
            "--text-field of gip embed) than these: its figures are not its receipt's."
        )
    if receipt.options.get("order") == "input":
        yield (
            f"{one.name} was written in input order: its ranks, its curve and the smaller "
            "budgets follow the file, not the order of picking."
        )
    if change := _change(one, receipt, pool):
        yield f"{one.name} {change}: the file was changed since."


def _change(picked: Picked, receipt: Receipt, pool: Pool) -> str:
    """How a selection's rows differ from those that its receipt tells of, if they do."""
    count, digest = (receipt.value.get(name) for name in ("picked", "picked_keys"))
    if count != len(picked.rows):
        return f"has {counted(len(picked.rows), 'row')}, its receipt tells of {count}"
    comparable = digest is not None and receipt.was_of_texts_by(pool.renderer)
    if comparable and digest != keys_digest(pool.keys[picked.rows]):
        return "has other rows than its receipt tells of, or another order"
    return ""
