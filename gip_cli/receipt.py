"""What was done, as data: enough to do it again and to judge the result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gip_cli.arrays import Array, Rows
from gip_cli.candidates import Candidates, Reason, count_reasons
from gip_cli.companions import Companion
from gip_cli.embeddings import Embeddings, keys_digest, sortable
from gip_cli.limits import Quotas
from gip_cli.measures import (
    RANDOM_SEEDS,
    captured_energy,
    known_mean,
    nearest_cosines,
    random_picks,
    random_rows_of,
    side_by_side,
)
from gip_cli.problem import Problem
from gip_cli.pursuit import Selection, effective_rank
from gip_cli.rows import BadRows
from gip_cli.solution import Solution

CURVE_POINTS = 20
_OF_THE_RUN = re.compile(
    r"(gip|numpy|time)\b"
    # How files were named: which ones they were, their digests tell.
    r"|(input|embeddings|beside\.\w+\.\d+)\.path$|options\.(targets|given|exclude)\.\d+$"
)
_IDLE = 1e-3  # share of the energy captured that is as good as nothing

Figures = dict[str, Any]


def receipt(
    solution: Solution,
    *,
    store: Embeddings,
    store_path: str | None,
    beside: Mapping[str, Sequence[Companion]],
    options: Figures,
) -> Figures:
    """Inputs with digests, what was asked, and the picks against the pool and random picks.

    Everything follows from input, versions and options: the same again gives the same.

    Parameters
    ----------
    store_path : str or None
        Where the embeddings lie; None for those that were made for this run alone.
    beside : mapping
        The other files that were read, by their part: targets, given, exclude.
    options : dict
        What was asked for, in the words of the command line.
    """
    problem, selection = solution.problem, solution.selection
    rows, picks = problem.candidates, selection.indices
    pool, given = rows.pool, rows.given
    pickable = np.flatnonzero(rows.open)
    in_file = picks if options.get("order") != "input" else np.sort(picks)
    draws = [_random(problem, pickable, picks, seed) for seed in range(RANDOM_SEEDS)]
    nearest, *nearest_of_random = side_by_side(
        lambda chosen: nearest_cosines(rows.vectors, chosen), [picks, *draws]
    )
    return {
        "gip": version("gip-cli"),
        "numpy": np.__version__,
        "input": _file(pool.rows.name, len(pool), pool.digest, pool.rows.bad),
        "beside": {
            part: [_file(f.path, len(f), f.digest, f.skipped) for f in files]
            for part, files in beside.items()
            if files
        },
        "embeddings": {
            "path": store_path,
            "keys": store.digest,
            **store.settings.to_json(),
        },
        "options": options,
        "query": {
            "sources": rows.query.sources,
            "signals": rows.signals_used,
            "effective_rank": effective_rank(rows.query.covariance),
        },
        "noise": selection.noise,
        "not_pickable": count_reasons(rows.reasons),
        "pickable": len(pickable),
        "asked": problem.limits.asked,
        "picked": len(picks),
        "picked_keys": keys_digest(pool.keys[in_file]),
        "stopped": solution.stopped,
        "captured": selection.captured_in_all,
        "captured_curve": _curve(selection),
        "idle_picks": _idle(selection),
        "captured_by_random": _spread(
            side_by_side(lambda draw: _captured(rows, draw, selection.noise), draws)
        ),
        "given": None
        if given is None
        else {
            "rows": len(given),
            "repeated": given.repeated,
            "in_pool": int(np.count_nonzero(rows.reasons == Reason.GIVEN)),
            "without_signals": given.unscored,
            "captured": selection.captured_given,
        },
        "repeated_texts": len(picks) - len(np.unique(sortable(pool.keys[picks]))),
        "duplicates_avoided": None  # those of rows given are among `not_pickable`
        if problem.plan.dedup_threshold is None
        else solution.duplicates,
        "quotas": quota_table(problem.limits.quotas, picks),
        "tokens": {"picked": int(rows.tokens[picks].sum()), "pool": int(rows.tokens.sum())}
        if rows.tokens.any()
        else None,
        "signals": {
            name: _against(values, picks, draws)
            | {"missing": int(np.count_nonzero(np.isnan(values)))}
            | {"scale": [*map(float, scale)], "scale_from": "rows" if declared is None else "range"}
            for name, values, scale, declared in zip(
                rows.signals.names,
                rows.signals.values.T,
                rows.signals.scales,
                rows.signals.ranges,
                strict=True,
            )
        },
        "response_characters": _against(pool.lengths.astype(np.float64), picks, draws),
        "nearest_cosine": {
            "picked": known_mean(nearest),
            "random": known_mean(np.concatenate(nearest_of_random)),
        },
    }


def _file(path: str, rows: int, digest: str, bad: BadRows) -> Figures:
    """A file that was read, and how many of its rows were skipped."""
    return {"path": path, "rows": rows, "skipped": bad.count, "blake2b": digest}


def _idle(selection: Selection) -> int:
    """How many of the last picks captured together less than a thousandth of what all did."""
    own = selection.captured - selection.captured_given
    before = np.append(0.0, own[:-1])
    return int(np.count_nonzero(before > (1 - _IDLE) * own[-1])) if own.size else 0


def quota_table(quotas: Quotas | None, picks: Rows) -> Figures | None:
    """What each group might have, had to give and gave; sums only where nothing was wanted."""
    if quotas is None:
        return None
    spent = quotas.spent(picks)
    full = int(np.count_nonzero((spent >= quotas.limits) & (spent > 0)))
    sums = {"unit": quotas.unit, "groups": len(spent), "full": full}
    if not quotas.wanted:
        return sums
    columns = {
        "group": list(quotas.groups.names),
        "in_pool": quotas.groups.count(slice(None)).tolist(),
        "rows": quotas.rows.tolist(),
        "available": quotas.available.tolist(),
        "share": [None] * len(spent) if quotas.shares is None else quotas.shares.tolist(),
        "quota": quotas.limits.tolist(),
        "picked": spent.tolist(),
        "shortfall": (quotas.limits - spent).tolist(),
    }
    rows = zip(*columns.values(), strict=True)
    return {**sums, "table": [dict(zip(columns, row, strict=True)) for row in rows]}


def _random(problem: Problem, pickable: Rows, picks: Rows, seed: int) -> Rows:
    """Random rows for the same price: as many as were picked, or of no more tokens.

    Not of the tokens asked for, which full groups, duplicates or Ctrl-C may leave over.
    """
    tokens = problem.candidates.tokens
    if problem.plan.budget.tokens is None:
        return random_picks(pickable, len(picks), seed)
    return random_rows_of(tokens, pickable, int(tokens[picks].sum()), seed)


def _captured(rows: Candidates, picks: Rows, noise: float) -> float:
    given = rows.given.atoms if rows.given else None
    return captured_energy(
        rows.vectors, rows.query.weights, picks, rows.query.covariance, noise, given
    )


def _curve(selection: Selection) -> list[list[float]]:
    """Captured energy after each of about 20 evenly spaced numbers of picks."""
    count = len(selection.captured)
    at = np.unique(np.linspace(1, count, min(CURVE_POINTS, count)).round().astype(int))
    return [[int(n), float(selection.captured[n - 1])] for n in at]


def _spread(values: list[float]) -> Figures:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "seeds": len(values)}


def _against(values: Array, picks: Rows, draws: list[Rows]) -> Figures:
    """Means over the picks, the pool, and random picks (over all draws)."""
    return {
        "picked": known_mean(values[picks]),
        "pool": known_mean(values),
        "random": known_mean(values[np.concatenate(draws)]),
    }


def change(old: bytes, new: Figures) -> str | None:
    """What a receipt's file says otherwise than figures, in one clause; None if nothing.

    When, by which versions and from which folder the selection was made does not matter, nor do
    roundings: those of another processor are others.
    """
    try:
        there = orjson.loads(old)
        orjson.dumps(there)  # it reads deeper than it writes, and than can be walked
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return "not a receipt"
    before, after = dict(_told(there)), dict(_told(new))
    for place in {**before, **after}:
        same = _same(place, before.get(place, ""), after.get(place, ""))
        if not same and not _OF_THE_RUN.match(place):
            return f"{place} differs" if place else "not a receipt"
    return None


def _same(place: str, was: Any, is_now: Any) -> bool:
    """Whether a single value says what it did, or names a file that others tell of."""
    if isinstance(was, float) and isinstance(is_now, float):
        return isclose(was, is_now, rel_tol=1e-4, abs_tol=1e-6)
    if was and is_now and isinstance(was, str) and isinstance(is_now, str):
        if place == "embeddings.model":  # beside it stands the digest of the weights
            return Path(was).name == Path(is_now).name
        if place == "options.group_share" and not {was, is_now} & {"proportional", "equal"}:
            return True  # what the files said, the quotas tell
    return bool(was == is_now)


def _told(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value within a receipt's, and where it stands, by dots."""
    members = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(members, dict) and members:
        for name, member in members.items():
            yield from _told(member, f"{place}.{name}".removeprefix("."))
    else:
        yield place, value
