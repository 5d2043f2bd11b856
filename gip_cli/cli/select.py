"""`gip select`: the rows that carry the information."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer

from gip_cli.cli.console import note, progress
from gip_cli.cli.options import Input, Output, SkipBad, tell_skipped, writing
from gip_cli.cli.sources import embeddings_for, vectors_of
from gip_cli.errors import InputError, UsageError
from gip_cli.pool import Pool, Signals, load_pool
from gip_cli.pursuit import select as pursue
from gip_cli.query import Query, build_query
from gip_cli.receipt import receipt as make_receipt
from gip_cli.rows import BadRows, RowFile
from gip_cli.selection import picked_lines
from gip_cli.signals import to_unit
from gip_cli.storage import replacing

Order = StrEnum("Order", ["rank", "input"])

_BUDGET = {"rich_help_panel": "Budget"}
_QUERY = {"rich_help_panel": "Query"}
_OUTPUT = {"rich_help_panel": "Output"}


def select(
    input: Input,
    embeddings: Annotated[
        str | None,
        typer.Option(
            "--embeddings",
            "-e",
            metavar="NAME.npy",
            help="From gip embed; default: INPUT's sibling .npy, else made for this run.",
        ),
    ] = None,
    num: Annotated[
        int | None, typer.Option("--num", "-k", min=1, metavar="N", help="Rows to pick.", **_BUDGET)
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(metavar="F", help="Share of the rows to pick, 0 to 1.", **_BUDGET),
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHT]", help="A signal to use; default: all, alike.", **_QUERY
        ),
    ] = None,
    no_signals: Annotated[
        bool, typer.Option("--no-signals", help="Leave the attached signals aside.", **_QUERY)
    ] = False,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE.jsonl", help="Examples of the task to select for; repeatable.", **_QUERY
        ),
    ] = None,
    self_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Share of the pool itself; default 1 without signals.", **_QUERY),
    ] = None,
    signal_weight: Annotated[
        float | None, typer.Option(min=0, help="Share of the signals; default 1.", **_QUERY)
    ] = None,
    target_weight: Annotated[
        float, typer.Option(min=0, help="Share of the targets.", **_QUERY)
    ] = 1.0,
    quality_power: Annotated[
        float, typer.Option(min=0, help="Larger leans to quality.", **_QUERY)
    ] = 2.0,
    noise: Annotated[
        str,
        typer.Option(
            metavar="auto|FLOAT", help="Larger leans to quality, smaller to diversity.", **_QUERY
        ),
    ] = "auto",
    output: Output = "-",
    order: Annotated[
        Order, typer.Option(help="Rows as picked, or as in INPUT.", **_OUTPUT)
    ] = Order.rank,
    keep_signals: Annotated[
        bool, typer.Option("--keep-signals", help="Leave attached signals in the rows.", **_OUTPUT)
    ] = False,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Add rank, gain and captured energy.", **_OUTPUT)
    ] = False,
    receipt: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json", help="What was done; default: beside the output.", **_OUTPUT
        ),
    ] = None,
    skip_bad: SkipBad = False,
) -> None:
    """Pick the rows of INPUT that carry most of the information.

    \b
    gip select pool.jsonl -k 1000 > small.jsonl
    gip select scored.jsonl -e pool.npy --fraction 0.1 --target task.jsonl -o small.jsonl
    """
    started = time.monotonic()
    if (num is None) == (fraction is None):
        raise UsageError("give one budget", "-k N or --fraction F")
    if fraction is not None and not 0 < fraction <= 1:
        raise UsageError(f"--fraction {fraction:g} is not in (0, 1]")
    variance = _noise(noise)
    bad = BadRows(skip=skip_bad)
    with (
        RowFile(input, bad, reread=True) as rows,
        embeddings_for(rows, input, embeddings) as store,
    ):
        pool = load_pool(rows, store.settings.renderer)
        vectors = pool.embedded(store)
        signals, shares = _signals(pool, signal or [], no_signals)
        try:
            query = build_query(
                vectors,
                unit_signals=to_unit(signals.values, signals.ranges, signals.lower)
                if shares
                else None,
                signal_shares=shares,
                targets=vectors_of(target, store) if target else None,
                self_weight=self_weight,
                signal_weight=signal_weight,
                target_weight=target_weight,
                quality_power=quality_power,
            )
        except ValueError as error:
            raise UsageError(str(error), "see --signal, --target and the weights") from None
        k = num or max(1, round((fraction or 0) * len(pool)))
        _tell_pickable(pool, query, k)
        with progress("picking", "rows") as update:
            selection = pursue(
                vectors,
                k,
                weights=query.weights,
                query=query.covariance,
                noise=variance,
                on_progress=lambda at: update(at.picks, at.budget, f"captured {at.captured:.1%}"),
            )
        with writing(output, input) as out:
            for line in picked_lines(
                pool,
                selection,
                by_rank=order is Order.rank,
                annotate=annotate,
                keep_signals=keep_signals,
            ):
                out.write(line)
        options = {
            "num": num,
            "fraction": fraction,
            "signals": dict(zip(signals.names, shares, strict=True)),
            "targets": target or [],
            "quality_power": quality_power,
            "noise": noise,
            "order": str(order),
        }
        figures = make_receipt(pool, store, vectors, signals, query, selection, options)
    _summarise(figures)
    tell_skipped(bad)
    place = receipt or (None if output == "-" else str(Path(output).with_suffix(".receipt.json")))
    if place:
        figures["time"] = {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(time.monotonic() - started, 3),
        }
        with replacing(place) as file:
            file.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")


def _noise(text: str) -> Any:
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--noise {text} is neither auto nor a positive number")
    return value


def _signals(pool: Pool, wanted: list[str], none: bool) -> tuple[Signals, list[float]]:
    """The signals to use and their shares."""
    if none and wanted:
        raise UsageError("--signal and --no-signals exclude each other")
    if none:
        return pool.signals.chosen([]), []
    names, shares = [], []
    for text in wanted or pool.signals.names:
        name, equals, weight = (
            text.rpartition("=") if text not in pool.signals.names else (text, "", "")
        )
        try:
            shares.append(float(weight) if equals else 1.0)
        except ValueError:
            raise UsageError(f"--signal {text!r} is not NAME=WEIGHT") from None
        if not 0 < shares[-1] < float("inf"):
            raise UsageError(f"--signal {text!r}: a weight is positive")
        names.append(name if equals else text)
    return pool.signals.chosen(names), shares


def _tell_pickable(pool: Pool, query: Query, k: int) -> None:
    unscored = int(np.count_nonzero(np.isnan(query.weights)))
    if unscored == len(pool):
        raise InputError(
            "no row has all the signals",
            "choose with --signal, or --no-signals",
            path=pool.rows.name,
        )
    if unscored:
        note(f"{unscored:,} of {len(pool):,} rows lack a signal and cannot be picked")
    if k > len(pool) - unscored:
        note(f"asked for {k:,} rows, {len(pool) - unscored:,} can be picked: picking them all")


def _summarise(figures: dict[str, Any]) -> None:
    """The outcome in a few lines, picks against the pool or against random picks."""
    note(
        f"picked {figures['picked']:,} of {figures['input']['rows']:,} rows; captured "
        f"{figures['captured']:.1%} of the query's energy "
        f"(random picks: {figures['captured_by_random']['mean']:.1%}), noise {figures['noise']:.4g}"
    )
    for name, means in figures["signals"].items():
        note(f"  {name}: mean {means['picked']:.3g} (pool {means['pool']:.3g})")
    length, cosine = figures["response_characters"], figures["nearest_cosine"]
    note(f"  response length: mean {length['picked']:,.0f} characters (pool {length['pool']:,.0f})")
    if cosine["picked"] is not None:
        note(
            f"  nearest-neighbour cosine: mean {cosine['picked']:.3f} "
            f"(random picks {cosine['random']:.3f})"
        )
