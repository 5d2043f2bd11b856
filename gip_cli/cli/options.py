"""Options that several commands share, so that they have one name and one meaning."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from gip_cli.cli.console import note
from gip_cli.errors import StorageError, UsageError
from gip_cli.formats import FormatName
from gip_cli.rows import BadRows
from gip_cli.storage import replacing, storage_errors

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
Format = Annotated[
    FormatName | None, typer.Option(help="The rows' format; default: found from the first row.")
]
TextFields = Annotated[
    list[str] | None,
    typer.Option(
        "--text-field", metavar="A.B", help="A field that is the row's text, by dots; repeatable."
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Skip rows that cannot be read, and count them.")
]


@contextmanager
def writing(output: str, source: str) -> Iterator[BinaryIO]:
    """Standard output, or a file replaced as a whole; never the file that is being read."""
    refuse_same(output, source)
    if output != "-":
        with replacing(output) as file:
            yield file
    elif sys.stdout is None:
        raise StorageError("standard output is closed", "give -o FILE")
    else:
        try:
            with storage_errors("<stdout>"):
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
        except BrokenPipeError:  # `| head` has what it wanted; typer would make it a failure
            raise typer.Exit(141) from None


def refuse_same(output: str, *sources: str) -> None:
    """Refuse to write over a file that is read, or to its end (``>> pool.jsonl``)."""
    written = _regular_file(output, 1)
    for source in sources:
        read = _regular_file(source, 0)
        if written and read and os.path.samestat(written, read):
            raise UsageError("output and input are the same file", "choose another", path=output)


def _regular_file(path: str, stream: int) -> os.stat_result | None:
    """What the system knows of a regular file, or of the one that a standard stream is."""
    with suppress(OSError):
        status = os.fstat(stream) if path == "-" else Path(path).stat()
        return status if stat.S_ISREG(status.st_mode) else None
    return None


def tell_skipped(bad: BadRows) -> None:
    """Say how many rows were skipped, and the first reason."""
    if bad.count:
        note(f"{bad.count:,} bad rows skipped; the first: {bad.first}")
