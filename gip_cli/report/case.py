"""What selections are judged by: one pool, one query, one noise, and the same references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.embeddings import Embeddings, join_keys
from gip_cli.errors import InputError, UsageError
from gip_cli.measures import random_picks
from gip_cli.pool import Pool
from gip_cli.pursuit import default_noise
from gip_cli.query import Query, build_query
from gip_cli.report.selections import Picked, Receipt, Rows
from gip_cli.signals import quality_weights, to_unit

Matrix = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]
Groups = dict[str, tuple[list[str], Rows]]  # field -> labels, largest first; label of each row (m,)

SEEDS = 10  # random subsets that make a band
COVERED = 20_000  # rows of the pool whose coverage is measured, where there are more
_NO_GROUP = "(none)"


@dataclass(frozen=True)
class Case:
    """The pool's arrays, and the yardstick by which every selection of it is measured."""

    pool: Pool
    vectors: Vectors  # (m, d)
    tokens: Rows  # (m,)
    groups: Groups
    query: Query
    weights: Matrix  # (m,) the query's, 0 for rows that could not be picked
    noise: float
    receipt: Receipt | None  # where query and noise come from; None: gip select's defaults
    pickable: Rows
    ranked: Rows | None  # the pickable rows by quality, best first; None without signals
    picked: list[Picked]
    notes: list[str]  # what a reader of the figures must know

    def draws(self, count: int, seeds: int = SEEDS) -> list[Rows]:
        """Random subsets of the rows that could have been picked, the same ones every time."""
        return [random_picks(self.pickable, count, seed) for seed in range(seeds)]

    def sampled(self) -> Rows:
        """The rows of the pool whose coverage is measured: all, or a seeded sample."""
        return sample(np.arange(len(self.pool)), COVERED)


def sample(rows: Rows, count: int) -> Rows:
    """`rows` if they are no more than `count`, else a seeded sample of them, in order."""
    return rows if len(rows) <= count else np.sort(random_picks(rows, count, seed=0))


def open_case(
    pool: Pool,
    store: Embeddings,
    picked: list[Picked],
    vectors_of: Callable[[Sequence[str]], Vectors],
) -> Case:
    """Rebuild the query of the first selection that has a receipt, else that of the defaults.

    Parameters
    ----------
    vectors_of : callable
        Embeds the rows of files (the receipt's targets) in the store's space.

    Raises
    ------
    UsageError
        The receipt names signals that the pool does not have, or a query without energy.
    InputError
        No row of the pool has all the signals.
    """
    receipt = next((one.receipt for one in picked if one.receipt), None)
    vectors = pool.embedded(store)
    signals = pool.signals.chosen(list(receipt.signals) if receipt else pool.signals.names)
    shares = list(receipt.signals.values()) if receipt else [1.0] * len(signals.names)
    sources = receipt.sources if receipt else {}
    try:
        query = build_query(
            vectors,
            unit_signals=to_unit(signals.values, signals.ranges, signals.lower) if shares else None,
            signal_shares=shares,
            targets=vectors_of(receipt.targets) if receipt and "targets" in sources else None,
            self_weight=sources.get("self", 0.0) if sources else None,
            signal_weight=sources.get("signals", 0.0) if sources else None,
            target_weight=sources.get("targets", 0.0),
            quality_power=receipt.quality_power if receipt else 2.0,
        )
    except ValueError as error:
        raise UsageError(str(error), "give the pool and the options of gip select") from None
    known = ~np.isnan(query.weights)
    if not known.any():
        raise InputError("no row has all the signals", "score the rows", path=pool.rows.name)
    most = max(len(one.rows) for one in picked)
    return Case(
        pool,
        vectors,
        store.tokens[join_keys(store.keys, pool.keys)],
        {field: _labels(values) for field, values in pool.fields.items()},
        query,
        np.where(known, query.weights, 0.0),
        receipt.noise if receipt else default_noise(most, query.weights, query.covariance),
        receipt,
        np.flatnonzero(known),
        _by_quality(pool, query, scored=bool(shares)),
        picked,
        _notes(pool, picked, receipt, known),
    )


def _labels(values: list[Any]) -> tuple[list[str], Rows]:
    named = [
        _NO_GROUP if v is None else v if isinstance(v, str) else orjson.dumps(v).decode()
        for v in values
    ]
    labels = [label for label, _ in Counter(named).most_common()]
    number = {label: at for at, label in enumerate(labels)}
    return labels, np.array([number[name] for name in named], dtype=np.int64)


def _by_quality(pool: Pool, query: Query, *, scored: bool) -> Rows | None:
    """Top-k's order: by the query's weights, else by all signals alike; ties in seeded order."""
    signals = pool.signals
    if not signals.names:
        return None
    weights = query.weights
    if not scored:
        unit = to_unit(signals.values, signals.ranges, signals.lower)
        weights = quality_weights(unit, [1.0] * len(signals.names), 1.0)
    ties = np.random.default_rng(0).permutation(len(weights))
    order = np.lexsort((ties, -weights))
    return order[~np.isnan(weights[order])]


def _notes(
    pool: Pool, picked: list[Picked], receipt: Receipt | None, known: npt.NDArray[np.bool_]
) -> list[str]:
    notes = []
    if receipt is None:
        basis = "all signals alike" if pool.signals.names else "the pool itself as query"
        notes.append(f"No receipt beside the selection: measured by gip's defaults ({basis}).")
    elif receipt.value.get("input", {}).get("blake2b") != pool.digest:
        notes.append(
            f"{pool.rows.name} is not byte for byte the file that was selected from: "
            "signals and figures may differ from the receipt's."
        )
    for one in picked:
        if one.receipt and one.receipt.options.get("order") == "input":
            notes.append(
                f"{one.name} was written in input order: its ranks, its curve and the smaller "
                "budgets follow the file, not the order of picking."
            )
        if one.receipt and one.receipt.value.get("picked") != len(one.rows):
            notes.append(
                f"{one.name} has {len(one.rows):,} rows, its receipt tells of "
                f"{one.receipt.value.get('picked')}: the file was changed since."
            )
        if unscored := int(np.count_nonzero(~known[one.rows])):
            notes.append(
                f"{unscored:,} rows of {one.name} lack a signal of the query: they count as "
                "capturing nothing."
            )
    return notes
