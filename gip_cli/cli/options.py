"""Options that several commands share, with one name and one meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gip_cli.cli.console import be_quiet
from gip_cli.formats import FormatName, Part, Renderer
from gip_cli.rows import RowFile

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT", help="Rows: JSONL, gzipped JSONL or a JSON array; - is standard input."
    ),
]


def _embeddings(default: str) -> Any:
    return typer.Option(
        "--embeddings", "-e", metavar="NAME.npy", help=f"From gip embed; default: {default}."
    )


_FOUND = "those beside the rows, else made for the run"
Embeddings = Annotated[str | None, _embeddings(_FOUND)]
EmbeddingsOfReceipt = Annotated[str | None, _embeddings(f"the receipt's, else {_FOUND}")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=be_quiet, expose_value=False, help="Only errors on stderr."
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Skip bad rows, and count them.")]


@dataclass(frozen=True)
class TextOptions:
    """What of a row is its text."""

    format: Annotated[
        FormatName | None,
        typer.Option(metavar="NAME", help=f"{', '.join(FormatName)}; default: by the first row."),
    ] = None
    text_field: Annotated[
        list[str] | None,
        typer.Option(metavar="A.B", help="A field that is the text, by dots; repeatable."),
    ] = None

    @property
    def said(self) -> bool:
        """Whether it is said, else it is found from the first row."""
        return bool(self.format or self.text_field)

    def renderer(self, rows: RowFile, part: Part = Part.both) -> Renderer:
        """What makes the rows' texts; raises as `Renderer.sniff`."""
        return Renderer.sniff(rows, self.format, self.text_field or (), part)
