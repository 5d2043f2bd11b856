"""Options that several commands share, with one name and one meaning."""

from __future__ import annotations

from typing import Annotated

import typer

from gip_cli.cli.console import be_quiet
from gip_cli.formats import FormatName

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT", help="Rows: JSONL, gzipped JSONL or a JSON array; - is standard input."
    ),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="OUT", help="Where to write; - is standard output."),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        "--embeddings",
        "-e",
        metavar="NAME.npy",
        help="From gip embed; default: those beside the rows, else made for the run.",
    ),
]
Format = Annotated[
    FormatName | None,
    typer.Option(metavar="NAME", help=f"{', '.join(FormatName)}; default: by the first row."),
]
TextFields = Annotated[
    list[str] | None,
    typer.Option(
        "--text-field", metavar="A.B", help="A field that is the text, by dots; repeatable."
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=be_quiet, expose_value=False, help="Only errors on stderr."
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip bad rows, and count them.")]
