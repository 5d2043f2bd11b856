"""`gip score`: attach quality signals to rows."""

from __future__ import annotations

from typing import Annotated

import typer

from gip_cli.cli.console import note
from gip_cli.cli.options import Input, Output, SkipBad, tell_skipped, writing
from gip_cli.errors import UsageError
from gip_cli.metadata import Metadata, MetadataScorer, parse_range
from gip_cli.rows import BadRows, RowFile, one_line


def score(
    input: Input,
    output: Output = "-",
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=[-]FIELD[:HOW]",
            help="A signal from a field, by dots; - before it: less is better; HOW joins a list: "
            "mean, max, min or last. Repeatable.",
        ),
    ] = None,
    range: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LO:HI", help="The signal's scale; default: what the pool spans."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace signals of the same name.")
    ] = False,
    require: Annotated[
        bool, typer.Option("--require", help="A missing value is an error, not null.")
    ] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Attach quality signals to every row of INPUT; the rest of each line keeps its bytes.

    \b
    gip score pool.jsonl -o scored.jsonl --metadata rating=meta.rating --range rating=1:5
    gip score pool.jsonl --metadata ppl=-perplexity | gip select - -e pool.npy -k 500 > small.jsonl
    """
    if not metadata:
        raise UsageError("nothing to score by", "pass --metadata NAME=FIELD")
    scorer = MetadataScorer(
        [Metadata.parse(text) for text in metadata],
        dict(map(parse_range, range or ())),
        overwrite=overwrite,
        require=require,
    )
    bad = BadRows(skip=skip_bad)
    with RowFile(input, bad) as rows, writing(output, input) as out:
        for row in rows:
            out.write(one_line(scorer.line(row)) + b"\n")
    for name, count in scorer.missing.items():
        note(
            f"{name}: {count:,} of {scorer.rows:,} rows have no number; they cannot be picked by it"
        )
    note(f"{scorer.rows:,} rows scored")
    tell_skipped(bad)
