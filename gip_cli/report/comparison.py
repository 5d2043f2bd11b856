"""Subsets side by side: what each is worth, beside random and top-k rows of the same size."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from gip_cli.arrays import Rows
from gip_cli.measures import known_mean, nearest_cosines, side_by_side
from gip_cli.printable import counted
from gip_cli.report.case import Case


def _worth(case: Case, rows: Rows) -> dict[str, Any]:
    """The subset `rows` (n,) in numbers: means over its rows, None where nothing is known.

    ``length`` is in the case's unit: tokens, where the store knows them. ``coverage_*`` are of the
    pool: each row's best cosine with the subset, mean and 10th percentile. ``shares`` holds each
    group's share of the subset, by field.
    """
    coverage = case.coverage(rows)[1]
    signals = case.pool.signals
    return {
        "size": len(rows),
        "captured": case.captured(rows),
        "coverage_mean": float(coverage.mean()),
        "coverage_p10": float(np.quantile(coverage, 0.1)),
        "nearest_cosine": known_mean(nearest_cosines(case.vectors, rows)),
        "length": known_mean(case.lengths[rows]),
        "signals": {
            name: known_mean(signals.values[rows, at]) for at, name in enumerate(signals.names)
        },
        "shares": {
            field: dict(zip(groups.names, groups.shares(rows).tolist(), strict=True))
            for field, groups in case.groups.items()
        },
    }


def compare(case: Case) -> dict[str, Any]:
    """All selections of a case, references of the same sizes, and every two's overlap.

    Random rows are those that could be picked, all of them where these are fewer; for a selection
    by tokens they are of its tokens, on average as many as their name says. Top-k is left out where
    fewer rows than that can be ranked.
    """
    references: dict[str, list[Rows]] = {}
    for one in sorted(case.picked, key=lambda one: len(one.rows)):
        size, tokens, random = len(one.rows), case.price(one), case.random_for(one)
        of_tokens = "" if tokens is None else f" ({counted(tokens, 'token')})"
        references[f"random {_mean_of([*map(len, random)]):,}{of_tokens}"] = random
        if case.ranked is not None and len(case.ranked) >= size:
            references[f"top-k {size:,}"] = [case.ranked[:size]]
    sets = [*(one.rows for one in case.picked), *chain(*references.values())]
    measured = iter(side_by_side(lambda rows: _worth(case, rows), sets))
    return {
        "pool": {"path": case.pool.rows.name, "rows": len(case.pool)},
        "noise": case.noise,
        "query": case.sources,
        "length_unit": case.unit,
        "notes": case.notes,
        "subsets": {one.name: next(measured) for one in case.picked},
        "references": {
            name: _mean_of([next(measured) for _ in rows]) for name, rows in references.items()
        },
        "overlap": [
            {"a": a.name, "b": b.name, "jaccard": _jaccard(a.rows, b.rows)}
            for at, a in enumerate(case.picked)
            for b in case.picked[at + 1 :]
        ],
    }


def _mean_of(figures: list[Any]) -> Any:
    """The mean of figures of one shape, member by member."""
    first = figures[0]
    if isinstance(first, dict):
        return {name: _mean_of([one[name] for one in figures]) for name in first}
    known = [one for one in figures if one is not None]
    if isinstance(first, int):
        return round(float(np.mean(figures)))
    return float(np.mean(known)) if known else None


def _jaccard(a: Rows, b: Rows) -> float:
    shared = len(np.intersect1d(a, b))
    return shared / (len(a) + len(b) - shared)
