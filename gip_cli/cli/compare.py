"""`gip compare`: selections side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import typer

from gip_cli.cli.cases import GroupFields, PoolEmbeddings, opened
from gip_cli.cli.options import SkipBad
from gip_cli.formats import printable

_GROUPS = 12  # largest groups shown in the table; --json has all

Line = tuple[str, list[str]]


def compare(
    selections: Annotated[
        list[str], typer.Argument(metavar="A.jsonl B.jsonl ...", help="Subsets of the pool.")
    ],
    pool: Annotated[
        str, typer.Option("--pool", metavar="POOL", help="The rows they were selected from.")
    ],
    embeddings: PoolEmbeddings = None,
    group_field: GroupFields = None,
    json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Measure subsets of a pool by one query, beside random and top-k rows of the same size.

    \b
    gip compare a.jsonl b.jsonl --pool scored.jsonl -e pool.npy
    gip compare a.jsonl b.jsonl --pool scored.jsonl --json | jq '.overlap'

    Query and noise are those of the first subset that has a receipt beside it, else the defaults
    of gip select. Where the output is not a terminal, the table is tab-separated.
    """
    from gip_cli.report.comparison import compare as measured

    with opened(pool, embeddings, selections, group_field, skip_bad=skip_bad) as case:
        figures = measured(case)
    if json:
        sys.stdout.buffer.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        _show(figures)


def _show(figures: dict[str, Any]) -> None:
    columns = {**figures["subsets"], **figures["references"]}
    names = [printable(name) for name in columns]
    lines = list(_lines(list(columns.values()), figures["length_unit"]))
    overlap = [
        (f"{printable(pair['a'])} and {printable(pair['b'])}", f"{pair['jaccard']:.3f}")
        for pair in figures["overlap"]
    ]
    if not sys.stdout.isatty():
        for name, values in [("", names), *lines]:
            print(name, *values, sep="\t")
        for name, value in overlap:
            print(f"overlap of {name}", value, sep="\t")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", box=box.SIMPLE_HEAD)
    for at, name in enumerate(names):
        reference = at >= len(figures["subsets"])
        table.add_column(Text(name), justify="right", style="dim" if reference else "")
    for name, values in lines:
        table.add_row(Text(name), *values)
    console = Console()
    console.print(table)
    for name, value in overlap:
        console.print(Text(f"  overlap (Jaccard) of {name}: {value}"))


def _lines(columns: list[dict[str, Any]], unit: str) -> Iterator[Line]:
    """The table's lines: what is measured, and its value in every column."""
    first = columns[0]

    def line(name: str, show: str, *path: str) -> Line:
        values = []
        for column in columns:
            value: Any = column
            for member in path:
                value = value[member]
            values.append("-" if value is None else format(value, show))
        return printable(name), values

    yield line("rows", ",d", "size")
    yield line("captured energy", ".1%", "captured")
    yield line("coverage, mean cosine", ".3f", "coverage_mean")
    yield line("coverage, 10th percentile", ".3f", "coverage_p10")
    yield line("nearest-neighbour cosine", ".3f", "nearest_cosine")
    yield line(f"{unit}, mean", ",.1f", "length")
    for name in first["signals"]:
        yield line(f"{name}, mean", ".3g", "signals", name)
    for field, shares in first["shares"].items():
        largest = sorted(shares, key=lambda label: -sum(c["shares"][field][label] for c in columns))
        for label in largest[:_GROUPS]:
            yield line(f"{field} = {label}", ".1%", "shares", field, label)
        if len(shares) > _GROUPS:
            yield f"{len(shares) - _GROUPS:,} smaller groups: see --json", []
