"""Options that several commands share, so that they have one name and one meaning."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from gip_cli.cli.console import note
from gip_cli.errors import UsageError
from gip_cli.rows import BadRows
from gip_cli.storage import replacing

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT", help="Rows: JSONL, gzipped JSONL or a JSON array; - is standard input."
    ),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="Where to write; - is standard output."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Skip rows that cannot be read, and count them.")
]


@contextmanager
def writing(output: str, source: str) -> Iterator[BinaryIO]:
    """Standard output, or a file replaced as a whole; never the file that is being read."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    refuse_same(output, source)
    with replacing(output) as file:
        yield file


def refuse_same(output: str, source: str) -> None:
    """Refuse to write over the rows that are read."""
    same = source != "-" and Path(source).exists() and Path(output).exists()
    if same and Path(output).samefile(source):
        raise UsageError("output and input are the same file", "choose another", path=output)


def tell_skipped(bad: BadRows) -> None:
    """Say how many rows were skipped, and the first reason."""
    if bad.count:
        note(f"{bad.count:,} bad rows skipped; the first: {bad.first}")
