"""What `gip embed` does with its options: vectors taken or made, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gip_cli.cli.console import Update, note, progress, reading, tell_skipped
from gip_cli.cli.embed_options import EncodingOptions, ModelOptions, PartOptions, StoreOptions
from gip_cli.cli.files import same_file
from gip_cli.embedding_commit import LinkedStoreError, check_target
from gip_cli.embedding_files import Paths
from gip_cli.embeddings import open_embeddings
from gip_cli.encoder import DEFAULT_MODEL, find_encoder
from gip_cli.errors import StorageError, UsageError
from gip_cli.formats import Renderer
from gip_cli.own_vectors import write_own_vectors
from gip_cli.printable import counted, no_option
from gip_cli.rows import BadRows, RowFile
from gip_cli.store import lending, write_embeddings


def run(
    input: str,
    output: str,
    model: ModelOptions,
    encoding: EncodingOptions,
    store: StoreOptions,
    text: PartOptions,
    *,
    skip_bad: bool,
) -> None:
    """Embed, and tell; raises the errors that the command ends with."""
    vectors = store.vectors
    _check_output(output, [input, vectors] if vectors else [input])
    of_a_model = (model, encoding) != (ModelOptions(), EncodingOptions())
    if vectors and (of_a_model or store.reuse):
        raise UsageError(
            "--vectors needs no model", "leave out what is said of one, and --reuse beside it"
        )
    bad = BadRows(skip=skip_bad)
    with RowFile(input, bad, reread=True) as rows:
        renderer = text.renderer(rows, text.part)
        note(f"{rows.name}: {renderer.format} rows")
        if vectors:
            with reading(rows):
                m, d = write_own_vectors(
                    rows, output, vectors, renderer, dtype=store.dtype, note=note
                )
            note(f"{output}: {counted(m, 'row')} x {d}, as given")
        else:
            _encode(rows, output, renderer, model, encoding, store)
    tell_skipped(bad)


def _encode(
    rows: RowFile,
    output: str,
    renderer: Renderer,
    model: ModelOptions,
    encoding: EncodingOptions,
    store: StoreOptions,
) -> None:
    """Store the model's vectors, and tell how many there were already."""
    with lending():
        lent = [open_embeddings(other) for other in store.reuse or ()]
    # The bar moves while the model is loaded, too.
    with progress("embedding", "texts") as update, _told_if_ended(update) as on_progress:
        encoder = find_encoder(
            model.model or DEFAULT_MODEL,
            revision=model.revision,
            device=encoding.device,
            max_length=encoding.max_length,
            prompt_prefix=encoding.prompt_prefix,
            trust_remote_code=model.trust_remote_code,
        )
        if encoding.prompt_prefix is None and (prompt := encoder.card.prompt_prefix):
            note(
                f"{encoder.card.model} has {prompt!r} before each text (--prompt-prefix '' has not)"
            )
        written = write_embeddings(
            rows,
            output,
            encoder,
            renderer,
            dtype=store.dtype,
            batch_size=encoding.batch_size,
            reuse=lent,
            note=note,
            on_progress=on_progress,
        )
    note(
        f"{output}: {counted(written.rows, 'row')} x {encoder.card.dimension}; "
        f"{counted(written.encoded, 'text')} encoded, {counted(written.reused, 'row')} reused, "
        f"{written.resumed:,} resumed"
    )
    for loss in written.losses(encoder.card):
        note(loss)


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


def _check_output(output: str, read: list[str]) -> None:
    """Refuse a store of which a file is read; raises UsageError, and as `check_target`."""
    paths = Paths.of(output)
    for path in paths.all:
        if any(same_file(str(path), source) for source in read):
            raise UsageError(
                f"embeddings of {output} also write {path}, which is the input",
                "choose another NAME.npy, e.g. "
                f"-o {no_option(Path(output).with_suffix('.emb.npy'))}",
            )
    try:
        check_target(output)
    except (StorageError, LinkedStoreError):
        if not paths.current(paths.json).exists():
            raise  # else it may be up to date, which only reading it and the rows can tell
