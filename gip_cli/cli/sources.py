"""Where `select` and its kin find embeddings: given, beside the rows, or made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gip_cli.cli.console import note, progress
from gip_cli.companions import sibling
from gip_cli.embeddings import Embeddings, open_embeddings
from gip_cli.errors import UsageError
from gip_cli.formats import Renderer
from gip_cli.printable import counted
from gip_cli.rows import RowFile


@contextmanager
def embeddings_for(
    rows: RowFile,
    source: str,
    given: str | None,
    format: str | None,
    fields: Sequence[str],
    tell: Callable[[str], None] = note,
) -> Iterator[Embeddings]:
    """The store named, else the rows' sibling ``.npy``, else a temporary one by the defaults.

    Raises
    ------
    UsageError
        `format` or `fields` are said, and the store's rows were read by others.
    """
    beside = sibling(source)
    if given is None and beside is not None:
        tell(f"using {beside}")
        given = str(beside)
    if given is not None:
        store = open_embeddings(given)
        ours = store.settings.renderer
        if (format or fields) and Renderer.sniff(rows, format, fields, ours.part) != ours:
            raise UsageError(
                f"made by reading rows as {' and '.join(ours.fields) or ours.format}",
                "leave out --format and --text-field, or run gip embed with them",
                path=given,
            )
        if zero := store.check_rows():
            tell(f"{given}: {counted(zero, 'zero row')}, to be picked last if at all")
        yield store
        return
    from gip_cli.encoder import load_encoder
    from gip_cli.store import write_embeddings

    tell(f"no embeddings given for {rows.name}: making them for this run (gip embed keeps them)")
    if stores := sorted(Path(source).parent.glob("*.keys.npy")):  # a scored file's pool, perhaps
        tell(f"  or -e {str(stores[0]).removesuffix('.keys.npy')}.npy, if it is of them?")
    renderer = Renderer.sniff(rows, format, fields)
    tell(f"{rows.name}: {renderer.format} rows")
    with tempfile.TemporaryDirectory(prefix="gip-") as folder:
        target = Path(folder) / "pool.npy"
        with progress("embedding", "texts") as update:
            write_embeddings(
                rows,
                target,
                load_encoder(),
                renderer,
                on_progress=lambda done, total: update(done, total, ""),
            )
        yield open_embeddings(target)
