"""Where `select` and its kin find embeddings: given, beside the rows, or made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gip_cli.cli.console import note, progress
from gip_cli.companions import sibling
from gip_cli.embeddings import Embeddings, open_embeddings
from gip_cli.formats import Renderer
from gip_cli.rows import RowFile


@contextmanager
def embeddings_for(
    rows: RowFile, source: str, given: str | None, tell: Callable[[str], None] = note
) -> Iterator[Embeddings]:
    """The store named, else the rows' sibling ``.npy``, else a temporary one by the defaults."""
    beside = sibling(source)
    if given is None and beside is not None:
        tell(f"using {beside}")
        given = str(beside)
    if given is not None:
        store = open_embeddings(given)
        if zero := store.check_rows():
            tell(f"{given}: {zero:,} rows are zero and can only be picked last")
        yield store
        return
    from gip_cli.encoder import load_encoder
    from gip_cli.store import write_embeddings

    tell(f"no embeddings given for {rows.name}: making them for this run (gip embed keeps them)")
    with tempfile.TemporaryDirectory(prefix="gip-") as folder:
        target = Path(folder) / "pool.npy"
        with progress("embedding", "texts") as update:
            write_embeddings(
                rows,
                target,
                load_encoder(),
                Renderer.sniff(rows),
                on_progress=lambda at: update(at.done, at.total, ""),
            )
        yield open_embeddings(target)
