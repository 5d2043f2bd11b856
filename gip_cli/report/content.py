"""Everything that a report says, as plain data: the page and the figures only draw it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from gip_cli.arrays import Rows
from gip_cli.measures import (
    closest,
    closest_pairs,
    known_mean,
    nearest_cosines,
    sample,
    side_by_side,
)
from gip_cli.printable import counted, escaped
from gip_cli.report import Method
from gip_cli.report.case import Case
from gip_cli.report.changes import bars, changes
from gip_cli.report.curve import curve, shown
from gip_cli.report.layout import layout
from gip_cli.report.selections import Picked
from gip_cli.turns import Turn

MAP_ROWS = 50_000
_EXTREMES = 10  # closest pairs, and worst covered rows
# Bytes of text in all, of the picks and of the others, and at least and at most of one row: the
# page stays under 8 MB at 10,000 rows even where text does not compress.
_PICKED_TEXT, _OTHER_TEXT, _ROW_TEXT = 2_400_000, 2_800_000, (280, 4_000)

Data = dict[str, Any]


def content(case: Case, method: Method = Method.pca) -> Data:
    """The report's data, ready for JSON.

    ``rows`` holds the rows shown, by column; everything else names a row by its place there.
    Names stand in sentences and in charts, and so are escaped; the rows' own texts are not.
    """
    covered = [_coverage(case, one.rows) for one in case.picked]
    picked = _distinct(np.concatenate([one.rows for one in case.picked]))
    told = _distinct(np.concatenate([*(one.worst for one in covered), picked]))[:MAP_ROWS]
    others = np.setdiff1d(np.arange(len(case.pool)), told)
    rows = np.sort(np.concatenate([told, sample(others, MAP_ROWS - len(told))]))
    place = np.full(len(case.pool), -1)
    place[rows] = np.arange(len(rows))
    plane = layout(case.vectors, rows, method)
    return {
        "gip": version("gip-cli"),
        "pool": {
            "name": escaped(case.pool.rows.name),
            "rows": len(case.pool),
            "pickable": len(case.pickable),
        },
        "noise": case.noise,
        "query": case.sources,
        "notes": [*map(escaped, [*case.notes, *_other_prices(case)])],
        "unit": case.unit,
        "signals": [*map(escaped, case.pool.signals.names)],
        "fields": [*map(escaped, case.groups)],
        "labels": [[*map(escaped, groups.names)] for groups in case.groups.values()],
        "map": {
            "about": plane.description,
            "x": np.round(plane.positions[:, 0], 4).tolist(),
            "y": np.round(plane.positions[:, 1], 4).tolist(),
        },
        "rows": _rows(case, rows, place[told]),
        "selections": [
            _selection(case, one, coverage, rows, place)
            for one, coverage in zip(case.picked, covered, strict=True)
        ],
    }


def _other_prices(case: Case) -> Iterator[str]:
    """Of which selections the random rows along the curve are not those beside it elsewhere."""
    for one in case.picked:
        if (tokens := case.price(one)) is not None:
            yield (
                f"{one.name} was selected by --tokens: random rows are of no more than its "
                f"{counted(tokens, 'token')}, but along its curve as many as its picks, of other "
                "tokens."
            )


def _distinct(rows: Rows) -> Rows:
    """`rows` without repeats, in the order met."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]


@dataclass(frozen=True)
class _Coverage:
    """How well picks cover the sampled rows, and the `worst` of them that are no picks.

    `nearest` and `cosines` tell the rank of each one's nearest pick, and how near it is.
    """

    mean: float
    worst: Rows
    nearest: Rows
    cosines: list[float]


def _coverage(case: Case, picks: Rows) -> _Coverage:
    nearest, cosines = case.coverage(picks)
    others = np.flatnonzero(~np.isin(case.sampled, picks))
    at = others[np.argsort(cosines[others], kind="stable")[:_EXTREMES]]
    return _Coverage(float(cosines.mean()), case.sampled[at], nearest[at], shown(cosines[at]))


def _rows(case: Case, rows: Rows, told: Rows) -> Data:
    """Columns of the rows shown; those `told` (by place) with more of their text."""
    limits = np.full(len(rows), np.clip(_OTHER_TEXT // len(rows), *_ROW_TEXT))
    limits[told] = np.clip(_PICKED_TEXT // len(told), *_ROW_TEXT)
    texts, cuts = [], []
    for position, limit in zip(rows.tolist(), limits.tolist(), strict=True):
        turns, cut = _clipped(case.pool.renderer.turns(case.pool.row(position)), limit)
        texts.append(turns)
        cuts.append(cut)
    signals = case.pool.signals.values[rows]
    return {
        "line": case.pool.lines[rows].tolist(),
        "length": [None if np.isnan(value) else int(value) for value in case.lengths[rows]],
        "signals": [
            [None if np.isnan(value) else float(f"{value:.5g}") for value in column]
            for column in signals.T
        ],
        "groups": [groups.codes[rows].tolist() for groups in case.groups.values()],
        "turns": texts,
        "cut": cuts,
    }


def _clipped(turns: list[Turn], limit: int) -> tuple[list[str], int]:
    """Roles and texts alternating, the texts cut to `limit` bytes together; characters left out."""
    out: list[str] = []
    cut = 0
    for role, text in turns:
        data = text.encode()
        kept = text if len(data) <= limit else data[:limit].decode(errors="ignore")
        limit -= min(limit, len(data))
        cut += len(text) - len(kept)
        if kept:
            out += [role, kept]
    return out, cut


def _selection(case: Case, picked: Picked, coverage: _Coverage, rows: Rows, place: Rows) -> Data:
    picks = picked.rows
    own = np.full(len(case.pool), -1)
    own[picks] = np.arange(len(picks))
    nearest, cosines = closest(case.vectors[rows], case.vectors[picks], own[rows])
    pairs, pair_cosines = closest_pairs(case.vectors, picks, _EXTREMES)
    draws = case.random_for(picked)
    ours, *others = side_by_side(
        lambda chosen: nearest_cosines(case.vectors, chosen), [picks, *draws]
    )
    near = {"picks": ours, "random": np.concatenate(others)}
    changed = changes(case, picked)
    along = curve(case, picked)
    held_all = bool(np.isin(case.pickable, picks).all())  # random rows are the same ones
    warnings = changed["warnings"]
    if not (held_all or along["better"]):  # though they may beat the draws' mean
        drawn = f"the best of {along['random']['seeds']} random draws"
        in_vain = f"The picks capture no more of the query's energy than {drawn}."
        warnings = [in_vain, *warnings]
    return {
        "name": escaped(picked.name),
        "size": len(picks),
        "picks": place[picks].tolist(),  # by rank; -1 where there are more than can be shown
        "nearest": nearest.tolist(),  # rank from 0 of each shown row's nearest (other) pick
        "cosine": [round(c, 3) if np.isfinite(c) else None for c in cosines.tolist()],
        "curve": along,
        "tokens": case.price(picked),
        "coverage": {
            "picks": coverage.mean,
            "random": float(np.mean([case.coverage(draw)[1].mean() for draw in draws])),
        },
        "near": {
            "picks": known_mean(near["picks"]),
            "random": known_mean(near["random"]),
            **bars({"both": np.concatenate([*near.values()]), **near}),
        },
        "pairs": [
            {"ranks": pair, "cosine": cosine}
            for pair, cosine in zip(pairs.tolist(), shown(pair_cosines), strict=True)
        ],
        "worst": [
            {"row": row, "nearest": rank, "cosine": cosine}
            for row, rank, cosine in zip(
                place[coverage.worst].tolist(),
                coverage.nearest.tolist(),
                coverage.cosines,
                strict=True,
            )
        ],
        "changes": changed,
        "all": held_all,
        "warnings": warnings,
        "receipt": _escaped(picked.receipt.value) if picked.receipt else None,
    }


def _escaped(value: Any) -> Any:
    """A JSON value with all its texts escaped."""
    if isinstance(value, dict):
        return {escaped(name): _escaped(one) for name, one in value.items()}
    if isinstance(value, list):
        return [*map(_escaped, value)]
    return escaped(value) if isinstance(value, str) else value
