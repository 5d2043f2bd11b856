"""`gip embed`: rows to cached embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gip_cli.cli.console import Update, note, progress, tell_skipped
from gip_cli.cli.embed_options import Dtype, EncodingOptions, ModelOptions, TextOptions
from gip_cli.cli.files import same_file
from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import Input, Quiet, SkipBad
from gip_cli.errors import StorageError, UsageError
from gip_cli.formats import Renderer
from gip_cli.printable import counted
from gip_cli.rows import BadRows, RowFile

if TYPE_CHECKING:
    from gip_cli.encoder import ModelCard
    from gip_cli.store import Written


@grouped
def embed(
    input: Input,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="NAME.npy", help="Where to keep the embeddings."),
    ],
    model: ModelOptions = ModelOptions(),  # noqa: B008 - frozen
    text: TextOptions = TextOptions(),  # noqa: B008
    encoding: EncodingOptions = EncodingOptions(),  # noqa: B008
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
    from gip_cli.given_vectors import write_given
    from gip_cli.store import lending, write_embeddings

    _check_output(output, [input, vectors] if vectors else [input])
    of_a_model = (model, encoding) != (ModelOptions(), EncodingOptions()) or trust_remote_code
    if vectors and (of_a_model or reuse):
        raise UsageError(
            "--vectors needs no model", "leave out what is said of one, and --reuse beside it"
        )
    bad = BadRows(skip=skip_bad)
    with RowFile(input, bad, reread=True) as rows:
        renderer = Renderer.sniff(rows, text.format, text.text_field or (), text.part)
        note(f"{rows.name}: {renderer.format} rows")
        if vectors:
            count, dimension = write_given(rows, output, vectors, renderer, dtype=dtype, note=note)
            note(f"{output}: {counted(count, 'row')} x {dimension}, as given")
        else:
            with lending():
                lent = [open_embeddings(other) for other in reuse or ()]
            # The bar moves while the model is loaded, too.
            with progress("embedding", "texts") as update, _told_if_ended(update) as on_progress:
                encoder = load_encoder(
                    model.model or DEFAULT_MODEL,
                    revision=model.revision,
                    device=encoding.device,
                    max_length=encoding.max_length,
                    prompt_prefix=encoding.prompt_prefix,
                    trust_remote_code=trust_remote_code,
                )
                written = write_embeddings(
                    rows,
                    output,
                    encoder,
                    renderer,
                    dtype=dtype,
                    batch_size=encoding.batch_size,
                    reuse=lent,
                    note=note,
                    on_progress=on_progress,
                )
            _tell(output, written, encoder.card)
    tell_skipped(bad)


@contextmanager
def _told_if_ended(update: Update) -> Iterator[Callable[[int, int], None]]:
    """What tells `update` how many texts are encoded; they are kept when the run is ended."""
    done = 0

    def on_progress(so_far: int, total: int) -> None:
        nonlocal done
        done = so_far
        update(done, total)

    try:
        yield on_progress
    except (KeyboardInterrupt, UsageError):
        if done:
            note(f"{counted(done, 'text')} encoded and kept: run again to go on")
        raise


def _tell(output: str, written: Written, card: ModelCard) -> None:
    note(
        f"{output}: {counted(written.rows, 'row')} x {card.dimension}; "
        f"{counted(written.encoded, 'text')} encoded, {counted(written.reused, 'row')} reused, "
        f"{written.resumed:,} resumed"
    )
    if written.truncated:
        note(
            f"rows longer than {card.max_length} tokens: {written.truncated:,}; "
            f"{written.tokens_unseen:.1%} of all tokens unseen"
        )


def _check_output(output: str, read: list[str]) -> None:
    """Refuse a store of which a file is read; raises UsageError, and as `check_target`."""
    from gip_cli.embedding_commit import check_target
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
    except StorageError:
        if not paths.current(paths.json).exists():
            raise  # else it may be up to date, which only reading it and the rows can tell
