"""How much is enough: captured energy against the number of picks, and what it is held against."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from gip_cli.arrays import Array
from gip_cli.measures import knee, side_by_side
from gip_cli.plan import Sources
from gip_cli.printable import no_option
from gip_cli.report.case import Case
from gip_cli.report.selections import Picked, Receipt
from gip_cli.streams import is_stream

_POINTS = 80
_LONGER = 3  # random orders that are followed to twice the budget
_NUMBER = "@N@"  # stands in the commands for the number of picks; no shell quotes it
# Under these options of gip select the picks for a smaller budget are the first of a larger.
_NESTED = (
    "format",
    "text_field",
    "given",
    "exclude",
    "exclude_threshold",
    "dedup_threshold",
    "group_field",
    "per_group",
    "max_per_group",
    "pursuit",
    "device",
    "annotate",
    "keep_signals",
)
_RESAID = {"num", "fraction", "captured", "signals", "targets", "quality_power", "noise", "order"}


def curve(case: Case, picked: Picked) -> dict[str, Any]:
    """The selection's curve at about 80 points, its knee, and random and top-k beside it.

    They begin at no picks, so that a single one makes a line, too. ``gains`` (n,) are the picks'
    own, rounded; ``random.needed`` is how many random rows capture as much as the selection, null
    where twice as many do not. ``random.same`` is mean, least and most of random rows for the
    selection's price: those at the curve's end, unless it was chosen by tokens.
    """
    count = len(picked.rows)
    draws = case.draws(2 * count)
    of_tokens = case.random_for(picked) if case.price(picked) is not None else []
    ranked = [] if case.ranked is None or len(case.ranked) < count else [case.ranked[:count]]
    (before, gains), *others = side_by_side(
        case.curve,
        [
            picked.rows,
            *(draw if seed < _LONGER else draw[:count] for seed, draw in enumerate(draws)),
            *of_tokens,
            *ranked,
        ],
    )
    captured = _along(before, gains)
    bend = knee(captured[1:] - before)
    steps = np.concatenate([np.geomspace(1, count, _POINTS // 4), np.linspace(0, count, _POINTS)])
    at = np.unique(np.append(steps.round().astype(int), bend))
    followed = [_along(*one) for one in others[: len(draws)]]
    longer = np.mean(followed[:_LONGER], axis=0)
    band = np.array([one[: count + 1] for one in followed])
    enough = np.flatnonzero(longer[1:] >= captured[-1])
    # Fewer rows than picks can be drawn where the file holds rows that could not be picked.
    drawn = band[:, np.minimum(at, band.shape[1] - 1)]
    priced = others[len(draws) :][: len(of_tokens)]
    same = np.array([_along(*one)[-1] for one in priced]) if priced else drawn[:, -1]
    top = _along(*others[-1])[at] if ranked else None
    return {
        "n": at.tolist(),
        "captured": shown(captured[at]),
        "random": {
            "mean": shown(drawn.mean(axis=0)),
            "low": shown(drawn.min(axis=0)),
            "high": shown(drawn.max(axis=0)),
            "same": shown(np.array([same.mean(), same.min(), same.max()])),
            "seeds": len(draws),
            "needed": int(enough[0]) + 1 if enough.size else None,
            "searched": len(longer) - 1,
        },
        "better": bool(captured[-1] > same.max()),  # than every draw
        "top": None if top is None else shown(top),
        "before": before,
        "pool": case.captured_by_all(),
        "knee": {
            "n": bend,
            "captured": float(captured[bend]),
            "sharpness": float((captured[bend] - before) / (gains.sum() or 1) - bend / count),
        },
        "commands": _commands(case, picked),
        "gains": [float(f"{gain:.5g}") for gain in gains],
    }


def _along(before: float, gains: Array) -> Array:
    """Captured after none, and after each, of the rows that add `gains` (n,): (n + 1,)."""
    return before + np.append(0.0, np.cumsum(gains))


def shown(values: Array) -> list[float]:
    """Values with the digits that a page can show."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def _commands(case: Case, picked: Picked) -> list[str]:
    """What gives the first @N@ picks, where it can: cutting the file, and selecting again.

    Not where a name holds what stands for the number, or what a shell's line cannot show.
    """
    path = Path(picked.name)
    packed = path.suffix == ".gz"
    plain = path.with_suffix("") if packed else path
    smaller = str(path.with_name(f"{plain.stem}-{_NUMBER}{plain.suffix}{'.gz' * packed}"))
    source, target = shlex.quote(no_option(picked.name)), shlex.quote(smaller)
    commands, head = [], f"head -n {_NUMBER}"
    receipt = picked.receipt
    options = receipt.options if receipt else {}
    by_rank = options.get("order") != "input" and "group_share" not in options
    if picked.by_line and by_rank and _can_be_named(picked.name):
        cut = f"gzip -dc {source} | {head} | gzip" if packed else f"{head} {source}"
        commands.append(f"{cut} > {target}")
    if receipt and options.keys() <= _RESAID.union(_NESTED) and _can_be_named(case.pool.rows.name):
        commands.append(shlex.join(_select_again(case, receipt, smaller)))
    return [one for one in commands if one.isprintable() and one.count(_NUMBER) == 2]


def _can_be_named(file: str) -> bool:
    """Whether the file is there under this name: no stream, and nothing escaped in the name."""
    with suppress(OSError):  # escaped, it can be longer than a name may be
        return Path(file).exists() and not is_stream(file, 0)
    return False


def _select_again(case: Case, receipt: Receipt, output: str) -> list[str]:
    """`gip select` with the receipt's options, those that differ from the defaults."""
    words = ["gip", "select", no_option(case.pool.rows.name)]
    if path := receipt.store_path or receipt.value["embeddings"]["path"]:
        words += ["-e", str(path)]
    words += ["-k", _NUMBER, "--noise", repr(receipt.noise)]
    if receipt.signals != dict.fromkeys(case.pool.signals.names, 1.0):
        for name, share in receipt.signals.items():
            words += ["--signal", f"{name}={share!r}"]
        words += [] if receipt.signals else ["--no-signals"]
    for target in receipt.files["targets"]:
        words += ["--target", target]
    scored, aimed = bool(receipt.signals), bool(receipt.files["targets"])
    there = ["self", *["signals"] * scored, *["targets"] * aimed]
    taken = there[scored:]  # by default, alike
    if receipt.sources != dict.fromkeys(taken, 1 / len(taken)):
        for source in there:
            share = receipt.sources.get(source, 0.0)
            words += [f"--{source.removesuffix('s')}-weight", repr(share)]
    power = receipt.plan.sources.quality_power
    if receipt.signals and power != Sources.quality_power:
        words += ["--quality-power", repr(power)]
    for option in _NESTED:
        said = receipt.files.get(option) or receipt.options.get(option, [])  # as it was found
        for value in said if isinstance(said, list) else [said]:
            words += [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
    words += ["--order", "input"] if receipt.options.get("order") == "input" else []
    words += ["--skip-bad"] if case.pool.rows.bad.skip else []
    return [*words, "-o", output]
