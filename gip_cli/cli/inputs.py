"""What `select` and its kin read: rows, and their embeddings, given, found or made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gip_cli.cli.console import note, progress, reading
from gip_cli.cli.options import TextOptions
from gip_cli.companions import sibling
from gip_cli.embedding_files import store_with
from gip_cli.embeddings import Embeddings, Keys, join_keys, open_embeddings
from gip_cli.errors import GipError, InputError, MismatchError, UsageError
from gip_cli.formats import ONE_TEXT, NotOfFormatError, Renderer
from gip_cli.pool import Pool, load_pool
from gip_cli.printable import Tell, agreeing, counted
from gip_cli.rows import RowFile
from gip_cli.storage import temporary_folder


@contextmanager
def embeddings_for(
    rows: RowFile,
    source: str,
    given: str | None,
    text: TextOptions,
    tell: Tell = note,
) -> Iterator[tuple[Embeddings, str | None]]:
    """The store named, else the rows' sibling ``.npy``, else one beside them that has them all,
    else a temporary one by the defaults; and its path, if it stays.

    Raises
    ------
    UsageError
        `text` is said, and the store's rows were read otherwise; several stores have all rows.
    """
    if given is None:
        beside = sibling(source) or _holder(rows, Path(source).parent, text, tell)
        if beside is not None:
            tell(f"using {beside}")
            given = str(beside)
    if given is not None:
        store = open_embeddings(given)
        ours = store.settings.renderer
        if not _reads_so(rows, ours, text):
            raise UsageError(
                f"made by reading rows as {' and '.join(ours.fields) or ours.format}",
                "leave out --format and --text-field, or run gip embed with them and another -o, "
                "and take that by -e",
                path=given,
            )
        if zero := store.check_rows():
            tell(f"{given}: {counted(zero, 'zero row')}, to be picked last if at all")
        yield store, given
        return
    from gip_cli.encoder import find_encoder
    from gip_cli.store import write_embeddings

    tell(f"no embeddings given for {rows.name}: making them for this run (gip embed keeps them)")
    renderer = text.renderer(rows)
    tell(f"{rows.name}: {renderer.format} rows")
    with tempfile.TemporaryDirectory(prefix="gip-", dir=temporary_folder()) as folder:
        target = Path(folder) / "pool.npy"
        with progress("embedding", "texts") as update:
            encoder = find_encoder()
            written = write_embeddings(
                rows, target, encoder, renderer, note=tell, on_progress=update
            )
        for loss in written.losses(encoder.card):
            tell(loss)
        yield open_embeddings(target), None


def _reads_so(rows: RowFile, ours: Renderer, text: TextOptions) -> bool:
    """Whether a store's renderer is the one that the options ask for, if they do."""
    return not text.said or text.renderer(rows, ours.part) == ours


def _holder(rows: RowFile, folder: Path, text: TextOptions, tell: Tell) -> Path | None:
    """The store in `folder` that has every row: that of a scored file's pool, say.

    Where there is none, stores that cannot be read are told: one of them may be the rows'.
    """
    from gip_cli.store import row_keys

    keys: dict[Renderer, Keys] = {}
    holders, damaged = [], []
    named = {
        Path(f"{str(path).removesuffix('.keys.npy')}.npy") for path in folder.glob("*.keys.npy")
    }
    for path in folder.glob("*.json"):  # of a store whose keys are missing, too
        if path.with_suffix(".npy").exists() and (whole := store_with(path)):
            named.add(whole)
    for path in sorted(named):
        try:
            store = open_embeddings(path)
        except GipError as error:
            damaged.append(error)
            continue
        with suppress(GipError):  # rows of another format
            ours = store.settings.renderer
            if not _reads_so(rows, ours, text):
                continue
            if ours not in keys:
                keys[ours] = row_keys(rows, ours)
            if (join_keys(store.keys, keys[ours]) >= 0).all():
                holders.append(store.paths.npy)
    if len(holders) > 1:
        names = " and ".join(map(str, holders))
        raise UsageError(f"all rows are in {names}", "say by -e which", path=rows.name)
    if holders:
        return holders[0]
    for one in damaged:
        tell(f"not looked through for the rows: {one}")
    return None


def pool_of(rows: RowFile, store: Embeddings, fields: Iterable[str]) -> Pool:
    """The rows, read as those of the store were; raises as `load_pool`."""
    renderer = store.settings.renderer
    try:
        with reading(rows):
            return load_pool(rows, renderer, fields)
    except NotOfFormatError as error:
        made = f"{counted(len(store.keys), 'row')} of format {renderer.format}"
        remedy = (
            f"is {store.paths.npy} ({made}) of this pool? If it is, mend the row or pass "
            "--skip-bad, else give by -e what gip embed makes of it"
        )
        if renderer.found(rows) not in (None, renderer.format):
            raise MismatchError(error.fault, remedy) from None
        raise InputError(error.fault, remedy) from None


def tell_unanswered(pool: Pool, tell: Tell = note) -> None:
    """Say how many rows of conversations have no response to measure."""
    if pool.unanswered and pool.renderer.format not in ONE_TEXT:
        these = f"{pool.unanswered:,} of {counted(len(pool), 'row')}"
        tell(
            f"{pool.rows.name}: {these} {agreeing(pool.unanswered, 'have')} no turn of an "
            "assistant: all the text counts as response"
        )
