"""How much is enough: captured energy against the number of picks, and what it is held against."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.measures import captured_energy, captured_gains, knee
from gip_cli.report.case import Case
from gip_cli.report.selections import Picked, Receipt, Rows

_POINTS = 80
_LONGER = 3  # random orders that are followed to twice the budget
_NUMBER = "@N@"  # stands in the commands for the number of picks; no shell quotes it
_PLAIN_OPTIONS = {"num", "fraction", "signals", "targets", "quality_power", "noise", "order"}

Matrix = npt.NDArray[np.float64]


def curve(case: Case, picked: Picked) -> dict[str, Any]:
    """The selection's curve at about 80 points, its knee, and random and top-k beside it.

    ``gains`` (n,) are the picks' own, rounded; ``random.needed`` is how many random rows capture
    as much as the selection, null where twice as many do not.
    """
    count = len(picked.rows)
    gains = _gains(case, picked.rows)
    captured = np.cumsum(gains)
    bend = knee(captured)
    steps = np.concatenate([np.geomspace(1, count, _POINTS // 4), np.linspace(1, count, _POINTS)])
    at = np.unique(np.append(steps.round().astype(int), bend))
    draws = case.draws(2 * count)
    longer = np.mean([np.cumsum(_gains(case, draw)) for draw in draws[:_LONGER]], axis=0)
    band = np.array([np.cumsum(_gains(case, draw[:count])) for draw in draws])
    enough = np.flatnonzero(longer >= captured[-1])
    # Fewer rows than picks can be drawn where the file holds rows that could not be picked.
    drawn = band[:, np.minimum(at, band.shape[1]) - 1]
    top = None
    if case.ranked is not None and len(case.ranked) >= count:
        top = np.cumsum(_gains(case, case.ranked[:count]))[at - 1]
    return {
        "n": at.tolist(),
        "captured": shown(captured[at - 1]),
        "random": {
            "mean": shown(drawn.mean(axis=0)),
            "low": shown(drawn.min(axis=0)),
            "high": shown(drawn.max(axis=0)),
            "seeds": len(draws),
            "needed": int(enough[0]) + 1 if enough.size else None,
            "searched": len(longer),
        },
        "top": None if top is None else shown(top),
        "pool": captured_energy(
            case.vectors, case.weights, case.pickable, case.query.covariance, case.noise
        ),
        "knee": {
            "n": bend,
            "captured": float(captured[bend - 1]),
        },
        "commands": _commands(picked),
        "gains": [float(f"{gain:.5g}") for gain in gains],
    }


def _gains(case: Case, rows: Rows) -> Matrix:
    return captured_gains(case.vectors, case.weights, rows, case.query.covariance, case.noise)


def shown(values: Matrix) -> list[float]:
    """Values with the digits that a page can show."""
    rounded: list[float] = np.round(values, 5).tolist()
    return rounded


def _commands(picked: Picked) -> list[str]:
    """What gives the first @N@ picks: cutting the file, and selecting again where possible."""
    path = Path(picked.name)
    smaller = str(path.with_name(f"{path.stem}-{_NUMBER}{path.suffix}"))
    commands = [f"head -n {_NUMBER} {shlex.quote(picked.name)} > {shlex.quote(smaller)}"]
    receipt = picked.receipt
    # Under quotas, budgets in tokens and the like, fewer picks need not be the first of more.
    if receipt and not any(v for k, v in receipt.options.items() if k not in _PLAIN_OPTIONS):
        commands.append(shlex.join(_select_again(receipt, smaller)))
    return commands


def _select_again(receipt: Receipt, output: str) -> list[str]:
    words = ["gip", "select", receipt.value["input"]["path"]]
    words += ["-e", receipt.value["embeddings"]["path"], "-k", _NUMBER]
    words += ["--noise", repr(receipt.noise)]
    for name, share in receipt.signals.items():
        words += ["--signal", f"{name}={share:g}"]
    words += [] if receipt.signals else ["--no-signals"]
    for target in receipt.targets:
        words += ["--target", target]
    for source, share in receipt.sources.items():
        words += [f"--{source.removesuffix('s')}-weight", f"{share:g}"]
    if receipt.signals:
        words += ["--quality-power", f"{receipt.quality_power:g}"]
    return [*words, "-o", output]
