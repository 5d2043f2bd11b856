"""`gip embed`: rows to cached embeddings."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gip_cli.cli.console import note, progress
from gip_cli.cli.options import Format, Input, SkipBad, TextFields, tell_skipped
from gip_cli.errors import UsageError
from gip_cli.formats import Part, Renderer
from gip_cli.rows import BadRows, RowFile

Device = StrEnum("Device", ["auto", "cpu", "cuda", "mps"])
Dtype = StrEnum("Dtype", ["float32", "float16"])


def embed(
    input: Input,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="NAME.npy", help="Where to keep the embeddings."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A sentence-transformers name, or a model's directory; default: all-MiniLM-L6-v2."
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="The model's revision on its hub.", metavar="REV")
    ] = None,
    format: Format = None,
    text_field: TextFields = None,
    part: Annotated[Part, typer.Option(help="Which part of a row to embed.")] = Part.both,
    prompt_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="An instruction that the model wants before a text.")
    ] = "",
    max_length: Annotated[
        int | None,
        typer.Option(min=1, metavar="TOKENS", help="Cut texts here; default: the model's."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts encoded at once.")] = 32,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.auto,
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npy", help="Take these embeddings, one a row by position; no model."
        ),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(help="How embeddings are stored; float16 halves the file.")
    ] = Dtype.float32,
    skip_bad: SkipBad = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's repository run its code.")
    ] = False,
) -> None:
    """Embed every row of INPUT into NAME.npy; running again encodes only what is new.

    \b
    gip embed pool.jsonl -o pool.npy
    gip embed pool.jsonl -o pool.npy --vectors mine.npy
    zcat big.jsonl.gz | gip embed - -o big.npy --dtype float16
    """
    from gip_cli.encoder import DEFAULT_MODEL, load_encoder
    from gip_cli.store import check_target, write_embeddings

    check_target(output)
    if vectors and (revision or prompt_prefix or max_length or model):
        raise UsageError("--vectors needs no model", "leave out what is said of one")
    bad = BadRows(skip=skip_bad)
    with RowFile(input, bad, reread=True) as rows:
        renderer = Renderer.sniff(rows, format, text_field or (), part)
        note(f"{rows.name}: {renderer.format} rows")
        if vectors:
            from gip_cli.given_vectors import write_given

            count, dimension = write_given(rows, output, vectors, renderer, dtype=dtype, note=note)
            note(f"{output}: {count:,} rows x {dimension}, as given")
            tell_skipped(bad)
            return
        encoder = load_encoder(
            model or DEFAULT_MODEL,
            revision=revision,
            device=device,
            max_length=max_length,
            prompt_prefix=prompt_prefix,
            trust_remote_code=trust_remote_code,
        )
        with progress("embedding", "texts") as update:
            written = write_embeddings(
                rows,
                output,
                encoder,
                renderer,
                dtype=dtype,
                batch_size=batch_size,
                note=note,
                on_progress=lambda at: update(at.done, at.total, ""),
            )
    note(
        f"{output}: {written.rows:,} rows x {encoder.card.dimension}; {written.encoded:,} texts "
        f"encoded, {written.reused:,} rows reused, {written.resumed:,} resumed"
    )
    if written.truncated:
        note(
            f"{written.truncated:,} rows are longer than {encoder.card.max_length} tokens: "
            f"{written.tokens_unseen:.1%} of all tokens unseen"
        )
    tell_skipped(bad)
