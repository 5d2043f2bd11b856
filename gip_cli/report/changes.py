"""What changed: signals, length and groups of the picks against the pool and random picks."""

from __future__ import annotations

from typing import Any

import numpy as np

from gip_cli.arrays import Array, Rows
from gip_cli.measures import known_mean, mean_shift
from gip_cli.printable import escaped, printable, rounded
from gip_cli.report.case import Case
from gip_cli.report.selections import Picked

_FEWEST_BINS, _MOST_BINS = 8, 24
_DISTINCT = 12  # values up to which each has a bar of its own,
_WIDEST = 30  # if they span no more than so many of their least gaps
_TAIL = 0.995  # quantile of the pool beyond which values share the last bar
_SMALL_EFFECT = 0.2  # Cohen's convention, in standard deviations
_EXPECTED = 3.0  # random picks of a group below which its absence says nothing (P(0) = 5 %)


def changes(case: Case, picked: Picked) -> dict[str, Any]:
    """Distributions with effect sizes, and the warnings that follow from them.

    ``measures`` is length, then every signal: bars, means, and the shift of the mean in standard
    deviations of the pool (Glass's Delta) with the range that random picks show. ``groups`` has
    each field's shares with Cohen's h, ``2 asin(sqrt(p)) - 2 asin(sqrt(q))``.
    """
    rows, draws = picked.rows, case.random_for(picked)
    signals = case.pool.signals
    columns = [(case.unit, case.lengths)]
    columns += [(escaped(name), signals.values[:, at]) for at, name in enumerate(signals.names)]
    measures = [_measure(name, values, rows, draws) for name, values in columns]
    groups = [_groups(case, field, rows, draws) for field in case.groups]
    return {
        "measures": measures,
        "groups": groups,
        "warnings": [
            text
            for text in (
                _longer(measures[0]),
                *map(_worse, measures[1:], signals.lower),
                *map(_dropped, groups),
            )
            if text
        ],
    }


def _measure(name: str, values: Array, rows: Rows, draws: list[Rows]) -> dict[str, Any]:
    shifts = [shift for draw in draws if (shift := mean_shift(values[draw], values)) is not None]
    random = values[np.concatenate(draws)]
    return {
        "name": name,
        "mean": {
            "pool": known_mean(values),
            "picks": known_mean(values[rows]),
            "random": known_mean(random),
        },
        "shift": mean_shift(values[rows], values),
        "random_shift": [min(shifts), max(shifts)] if shifts else None,
        "unknown": int(np.count_nonzero(np.isnan(values))),
        **bars({"pool": values, "picks": values[rows], "random": random}),
    }


def bars(samples: dict[str, Array]) -> dict[str, Any]:
    """Each sample's shares in common bins; the first decides the bins.

    Where it has few distinct values, about evenly spaced, each is a bar (``at`` holds them); else
    ``at`` holds the middles of bins of equal width, the last of which takes the tail beyond the
    99.5th percentile (there is none where that is the minimum); ``tail`` is where that bin begins.
    """
    first = next(iter(samples.values()))
    known = first[~np.isnan(first)]
    distinct = np.unique(known)
    gaps = np.diff(distinct)
    # Bars as wide as the least gap cannot be seen beside one of a thousand times as much.
    few = len(distinct) <= _DISTINCT and bool(gaps.sum() <= _WIDEST * gaps.min(initial=np.inf))
    if few:
        at = distinct if len(distinct) else np.zeros(1)
        edges = np.concatenate([[-np.inf], (at[1:] + at[:-1]) / 2, [np.inf]])
        width, last = float(gaps.min()) if len(gaps) else 1.0, None
    else:
        end = float(np.quantile(known, _TAIL))
        if end == known.min():  # nearly all rows have this one value
            end = float(known.max())
        rice = round(2 * np.cbrt(len(samples["picks"])))  # Rice's rule
        edges = np.linspace(known.min(), end, int(np.clip(rice, _FEWEST_BINS, _MOST_BINS)) + 1)
        at, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
        last = float(edges[-2]) if known.max() > end else None
        edges[0], edges[-1] = -np.inf, np.inf
    shares = {}
    for name, values in samples.items():
        counts = np.histogram(values[~np.isnan(values)], edges)[0]
        shares[name] = np.round(counts / max(counts.sum(), 1), 5).tolist()
    return {
        "at": at.tolist(),
        "width": width,
        "distinct": few,
        "tail": last,
        "shares": shares,
    }


def _groups(case: Case, field: str, rows: Rows, draws: list[Rows]) -> dict[str, Any]:
    groups = case.groups[field]
    pool = groups.shares(np.arange(len(case.pool)))
    order = np.argsort(-pool, kind="stable")  # largest first
    pool = pool[order]
    picks = groups.shares(rows)[order]
    random = groups.shares(np.concatenate(draws))[order]
    drawn = float(np.mean([*map(len, draws)]))
    expected = groups.shares(case.pickable)[order] * drawn  # random picks of each
    dropped = order[(picks == 0) & (expected >= _EXPECTED)]
    names = [*map(escaped, groups.names)]
    return {
        "field": escaped(field),
        "labels": [names[at] for at in order],
        "pool": pool.tolist(),
        "picks": picks.tolist(),
        "random": random.tolist(),
        "h": (2 * np.arcsin(np.sqrt(picks)) - 2 * np.arcsin(np.sqrt(pool))).round(4).tolist(),
        "dropped": [names[at] for at in dropped],
        "absent": int(np.count_nonzero(picks == 0)),
    }


def _moved(measure: dict[str, Any]) -> float:
    """The shift of the mean, 0 where it is negligible or random picks show as much."""
    shift, random = measure["shift"], measure["random_shift"]
    if shift is None or random is None or random[0] <= shift <= random[1]:
        return 0.0
    return float(shift) if abs(shift) >= _SMALL_EFFECT else 0.0


def _longer(length: dict[str, Any]) -> str:
    if not (shift := _moved(length)):
        return ""
    return (
        f"The picks are {'longer' if shift > 0 else 'shorter'} than the pool: "
        f"{rounded(length['mean']['picks'])} {length['name']} on average against "
        f"{rounded(length['mean']['pool'])}. Length alone can change what a model learns."
    )


def _worse(signal: dict[str, Any], lower: bool) -> str:
    shift = _moved(signal)
    if not (shift > 0 if lower else shift < 0):
        return ""
    picks, pool = (rounded(signal["mean"][of]) for of in ("picks", "pool"))
    name = printable(signal["name"])
    return f"{name} is worse among the picks than in the pool: {picks} against {pool}."


def _dropped(group: dict[str, Any]) -> str:
    if not group["dropped"]:
        return ""
    names = ", ".join(printable(name) for name in group["dropped"][:5])
    names += ", …" if len(group["dropped"]) > 5 else ""
    return f"No pick from {printable(group['field'])}: {names}. Random picks would have some."
