"""`gip compare`: selections side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any

import orjson
import typer

from gip_cli.cli.cases import GroupFields, files_read, opened, receipts_of
from gip_cli.cli.files import check_outputs, writing
from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import EmbeddingsOfReceipt, Quiet, SkipBad, TextOptions
from gip_cli.printable import counted, escaped, printable, rounded

_GROUPS = 12  # largest groups shown in the table; --json has all

_LABEL = 26  # characters of what is measured, and
_NAME, _NARROW = 30, 10  # of a selection's name, which takes several lines where it has fewer

Line = tuple[str, list[str]]


@grouped
def compare(
    selections: Annotated[
        list[str], typer.Argument(metavar="FILE.jsonl", help="Subsets of the pool.")
    ],
    pool: Annotated[
        str, typer.Option("--pool", metavar="POOL", help="The rows they were selected from.")
    ],
    embeddings: EmbeddingsOfReceipt = None,
    group_field: GroupFields = None,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    text: TextOptions = TextOptions(),  # noqa: B008 - frozen
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
) -> None:
    """Measure subsets of a pool by one query, beside random and top-k rows of the same size.

    \b
    gip compare a.jsonl b.jsonl --pool scored.jsonl -e pool.npy
    gip compare a.jsonl b.jsonl --pool scored.jsonl --json | jq '.overlap'

    Embeddings, query and noise are those of the first subset that has a receipt
    beside it, else the defaults of gip select. Where the output is not a
    terminal, the table is tab-separated.
    """
    from gip_cli.report.comparison import compare as measured

    receipts = receipts_of(selections)
    check_outputs("-", read=files_read(pool, selections, receipts))
    with opened(
        pool, embeddings, selections, receipts, group_field, text, skip_bad=skip_bad
    ) as case:
        figures = measured(case)
    if not json and sys.stdout is not None and sys.stdout.isatty():
        _show(figures)
        return
    with writing("-") as out:
        if json:
            out.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")
        else:
            out.writelines("\t".join(cells).encode() + b"\n" for cells in _cells(figures))


def _cells(figures: dict[str, Any]) -> Iterator[list[str]]:
    """The table for other programs: names in full."""
    names, columns = _columns(figures)
    yield ["", *map(escaped, names)]
    for name, values in _lines(columns, figures["length_unit"], escaped):
        yield [name, *values]
    for pair in figures["overlap"]:
        both = f"{escaped(pair['a'])} and {escaped(pair['b'])}"
        yield [f"overlap (Jaccard) of {both}", f"{pair['jaccard']:.3f}"]


def _columns(figures: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Their names, and their figures: a file may be named as a reference is."""
    both = figures["subsets"], figures["references"]
    return [name for part in both for name in part], [one for part in both for one in part.values()]


def _show(figures: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    _, columns = _columns(figures)
    names = [(_end(name), "") for name in figures["subsets"]]
    names += [(_end(name), "dim") for name in figures["references"]]
    lines = list(_lines(columns, figures["length_unit"], printable))
    widths = [max(len(line[at]) for _, line in lines if line) for at in range(len(names))]
    console = Console()
    fit = max(1, (console.width - _LABEL - 3) // (max(_NARROW, *widths) + 3))
    room = console.width - max(widths) - 7  # that one column of figures leaves
    label = max(1, min(_LABEL, room, max(len(name) for name, _ in lines)))
    for start in range(0, len(names), fit):
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("", width=label, overflow="fold")
        part = slice(start, start + fit)
        for (name, style), width in zip(names[part], widths[part], strict=True):
            table.add_column(
                Text(name), justify="right", style=style, min_width=width, overflow="fold"
            )
        for name, values in lines:
            table.add_row(Text(name), *values[part])
        console.print(table)
    for pair in figures["overlap"]:
        both = f"{_end(pair['a'])} and {_end(pair['b'])}"
        console.print(Text(f"  overlap (Jaccard) of {both}: {pair['jaccard']:.3f}"))


def _end(path: str) -> str:
    """A name in little room: a path's end, where paths differ."""
    whole = escaped(path)
    return whole if len(whole) <= _NAME else "…" + whole[1 - _NAME :]


def _lines(
    columns: Collection[dict[str, Any]], unit: str, shown: Callable[[str], str]
) -> Iterator[Line]:
    """The table's lines: what is measured, and its value in every column."""
    first = next(iter(columns))

    def line(name: str, show: Callable[[Any], str], *path: str) -> Line:
        values = []
        for column in columns:
            value: Any = column
            for member in path:
                value = value[member]
            values.append("-" if value is None else show(value))
        return shown(name), values

    yield line("rows", "{:,d}".format, "size")
    yield line("captured energy", "{:.1%}".format, "captured")
    yield line("coverage, mean cosine", "{:.3f}".format, "coverage_mean")
    yield line("coverage, 10th percentile", "{:.3f}".format, "coverage_p10")
    yield line("nearest-neighbour cosine", "{:.3f}".format, "nearest_cosine")
    yield line(f"{unit}, mean", "{:,.1f}".format, "length")
    for name in first["signals"]:
        yield line(f"{name}, mean", rounded, "signals", name)
    for field, shares in first["shares"].items():
        largest = sorted(shares, key=lambda label: -sum(c["shares"][field][label] for c in columns))
        for label in largest[:_GROUPS]:
            yield line(f"{field} = {label}", "{:.1%}".format, "shares", field, label)
        if len(shares) > _GROUPS:
            yield f"{counted(len(shares) - _GROUPS, 'smaller group')}: see --json", []
