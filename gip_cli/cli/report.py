"""`gip report`: a page that shows what was picked."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gip_cli.cli.cases import GroupFields, files_read, opened, receipts_of
from gip_cli.cli.console import note
from gip_cli.cli.files import check_outputs, refuse_same, writing
from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import EmbeddingsOfReceipt, Quiet, SkipBad, TextOptions
from gip_cli.errors import UsageError
from gip_cli.printable import agreeing, counted
from gip_cli.report import Method
from gip_cli.streams import is_stdout


@grouped
def report(
    pool: Annotated[
        str,
        typer.Argument(metavar="POOL", help="The rows that were selected from, signals and all."),
    ],
    selection: Annotated[
        list[str],
        typer.Option(
            "--selection", "-s", metavar="FILE.jsonl", help="What was picked; repeatable."
        ),
    ],
    embeddings: EmbeddingsOfReceipt = None,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE.html", help="The page; - is standard output."),
    ] = "-",
    group_field: GroupFields = None,
    map: Annotated[
        Method,
        typer.Option(
            metavar="NAME", help="How rows are laid out: pca, or umap, which needs umap-learn."
        ),
    ] = Method.pca,
    figures: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write each figure there as PNG too.")
    ] = None,
    text: TextOptions = TextOptions(),  # noqa: B008 - frozen
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
) -> None:
    """Show what was picked, what was lost, and how small it can go: one HTML file.

    \b
    gip report scored.jsonl -e pool.npy --selection small.jsonl -o report.html
    gip report scored.jsonl -s a.jsonl -s b.jsonl --group-field source -o r.html

    The file needs no network and no other file. Embeddings, query and noise are
    those of the first selection that has a receipt beside it, else the defaults
    of gip select.
    """
    from gip_cli.report.content import content
    from gip_cli.report.figures import canvas_type, figure_folder, write_figures
    from gip_cli.report.page import page, plotly_script

    receipts = receipts_of(selection)
    read = files_read(pool, selection, receipts)
    check_outputs(output, read=read)
    if is_stdout(output) and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a page is for a browser, not for a terminal", "pass -o FILE.html")
    plotly_script()  # what is not installed is told before the work
    if figures is not None:
        canvas_type()
        folder = figure_folder(figures)
        for picture in folder.glob("*.png"):  # or what a link leads to
            refuse_same(str(picture), *read)
    with opened(
        pool, embeddings, selection, receipts, group_field, text, skip_bad=skip_bad
    ) as case:
        data = content(case, map)
    html = page(data)
    drawn = write_figures(data, folder) if figures is not None else []
    with writing(output) as out:
        out.write(html)
    for one in data["selections"]:
        for warning in one["warnings"]:
            note(f"{one['name']}: {warning}")
    if drawn:
        told = f"{figures}: {counted(len(drawn), 'figure')}"
        if others := len({*folder.glob("*.png")}.difference(drawn)):
            told += f"; {others:,} more there {agreeing(others, 'are')} not of this report"
        note(told)
    if not is_stdout(output):
        note(f"{output}: {len(html) / 1e6:.1f} MB")
