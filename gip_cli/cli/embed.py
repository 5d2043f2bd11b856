"""`gip embed`: rows to cached embeddings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gip_cli.cli.console import note, progress, tell_skipped
from gip_cli.cli.files import same_file
from gip_cli.cli.options import Format, Input, Quiet, SkipBad, TextFields
from gip_cli.errors import StorageError, UsageError
from gip_cli.formats import Part, Renderer
from gip_cli.printable import counted
from gip_cli.rows import BadRows, RowFile

Device = StrEnum("Device", ["auto", "cpu", "cuda", "mps"])
Dtype = StrEnum("Dtype", ["float32", "float16"])

_BATCH = 32


def embed(
    input: Input,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="NAME.npy", help="Where to keep the embeddings."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A sentence-transformers name, or a model's directory; default: all-MiniLM-L6-v2.",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="The model's revision on its hub.", metavar="REV")
    ] = None,
    format: Format = None,
    text_field: TextFields = None,
    part: Annotated[
        Part, typer.Option(metavar="NAME", help="What to embed: both, prompt or response.")
    ] = Part.both,
    prompt_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="An instruction that the model wants before a text.")
    ] = "",
    max_length: Annotated[
        int | None,
        typer.Option(min=1, metavar="TOKENS", help="Cut texts here; default: the model's."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=65_536, metavar="N", help="Texts encoded at once.")
    ] = _BATCH,
    device: Annotated[
        Device, typer.Option(metavar="NAME", help="Where the model runs: auto, cpu, cuda or mps.")
    ] = Device.auto,
    reuse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OTHER.npy",
            help="Take what these embeddings have of the rows, too; repeatable.",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npy", help="Take these embeddings, one a row by position; no model."
        ),
    ] = None,
    dtype: Annotated[
        Dtype,
        typer.Option(
            metavar="NAME", help="How to store them: float32, or float16: half the bytes."
        ),
    ] = Dtype.float32,
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
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
    from gip_cli.embeddings import open_embeddings
    from gip_cli.encoder import DEFAULT_MODEL, load_encoder
    from gip_cli.store import lending, write_embeddings

    _check_output(output, [input, vectors] if vectors else [input])
    of_a_model = (model, revision, prompt_prefix, max_length, trust_remote_code, reuse)
    if vectors and (any(of_a_model) or batch_size != _BATCH or device != Device.auto):
        raise UsageError(
            "--vectors needs no model", "leave out what is said of one, and --reuse beside it"
        )
    bad = BadRows(skip=skip_bad)
    with RowFile(input, bad, reread=True) as rows:
        renderer = Renderer.sniff(rows, format, text_field or (), part)
        note(f"{rows.name}: {renderer.format} rows")
        if vectors:
            from gip_cli.given_vectors import write_given

            count, dimension = write_given(rows, output, vectors, renderer, dtype=dtype, note=note)
            note(f"{output}: {counted(count, 'row')} x {dimension}, as given")
            tell_skipped(bad)
            return
        with lending():
            lent = [open_embeddings(other) for other in reuse or ()]
        done = 0
        with progress("embedding", "texts") as update:  # it moves while the model is loaded, too
            encoder = load_encoder(
                model or DEFAULT_MODEL,
                revision=revision,
                device=device,
                max_length=max_length,
                prompt_prefix=prompt_prefix,
                trust_remote_code=trust_remote_code,
            )

            def on_progress(so_far: int, total: int) -> None:
                nonlocal done
                done = so_far
                update(done, total)

            try:
                written = write_embeddings(
                    rows,
                    output,
                    encoder,
                    renderer,
                    dtype=dtype,
                    batch_size=batch_size,
                    reuse=lent,
                    note=note,
                    on_progress=on_progress,
                )
            except (KeyboardInterrupt, UsageError):
                if done:
                    note(f"{counted(done, 'text')} encoded and kept: run again to go on")
                raise
    note(
        f"{output}: {counted(written.rows, 'row')} x {encoder.card.dimension}; "
        f"{counted(written.encoded, 'text')} encoded, {counted(written.reused, 'row')} reused, "
        f"{written.resumed:,} resumed"
    )
    if written.truncated:
        note(
            f"rows longer than {encoder.card.max_length} tokens: {written.truncated:,}; "
            f"{written.tokens_unseen:.1%} of all tokens unseen"
        )
    tell_skipped(bad)


def _check_output(output: str, read: list[str]) -> None:
    """Refuse a store of which a file is read; raises UsageError, and as `check_target`."""
    from gip_cli.embedding_commit import LinkedStoreError, check_target
    from gip_cli.embedding_files import Paths

    paths = Paths.of(output)
    for path in paths.all:
        if any(same_file(str(path), source) for source in read):
            raise UsageError(
                f"embeddings of {output} also write {path}, which is the input",
                f"choose another NAME.npy, e.g. -o {Path(output).with_suffix('.emb.npy')}",
            )
    try:
        check_target(output)
    except (StorageError, LinkedStoreError):
        if not paths.current(paths.json).exists():
            raise  # else it may be up to date, which only reading it and the rows can tell
