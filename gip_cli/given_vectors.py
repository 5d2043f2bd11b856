"""Embeddings that the user made otherwise, taken into a store: one vector a row, by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.embedding_commit import commit
from gip_cli.embedding_files import Settings
from gip_cli.embeddings import read_array, row_norms
from gip_cli.encoder import GIVEN, ModelCard
from gip_cli.errors import MismatchError
from gip_cli.formats import Renderer
from gip_cli.rows import RowFile
from gip_cli.storage import storage_errors
from gip_cli.store import Notes, row_keys, writing_store

TOKENS_UNKNOWN = -1
_BLOCK = 1 << 13  # rows normalised at a time


def write_given(
    rows: RowFile,
    target: str | Path,
    vectors: str | Path,
    renderer: Renderer,
    *,
    dtype: str = "float32",
    note: Notes = lambda text: None,
) -> tuple[int, int]:
    """Make the store `target` from the `.npy` file `vectors`; its shape (m, d).

    The i-th vector is the i-th usable row's; from here on they are joined by key. Vectors are
    brought to unit norm. Token counts are unknown: -1.

    Raises
    ------
    MismatchError
        Another number of vectors than rows, a vector that is not finite, or not such a file.
    UsageError, StorageError
        As `store.write_embeddings`.
    """
    source = Path(vectors)
    with storage_errors(source), source.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
    given = read_array(
        source, ("float16", "float32", "float64"), 2, "save it with numpy.save, C-ordered"
    )
    with writing_store(target, note) as paths:
        keys = row_keys(rows, renderer)
        if len(keys) != len(given):
            raise MismatchError(
                f"{len(given):,} vectors for {len(keys):,} rows of {rows.name}",
                "give one vector for each row, in their order",
                path=source,
            )
        card = ModelCard(GIVEN, None, f"blake2b:{digest}", given.shape[1], 0, 0, "")
        tokens = np.full(len(keys), TOKENS_UNKNOWN, dtype=np.int64)
        commit(
            paths, Settings(card, renderer, dtype), keys, tokens, _unit_blocks(given, source, note)
        )
    return len(given), given.shape[1]


def _unit_blocks(
    vectors: npt.NDArray[np.floating[Any]], source: Path, note: Notes
) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks of rows divided by their norms; zero rows stay zero."""
    scaled = 0
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        norms = row_norms(block)
        if not np.isfinite(norms).all():
            row = start + int(np.argmin(np.isfinite(norms)))
            raise MismatchError(f"row {row + 1} is not finite", "mend it", path=source)
        scaled += int(np.count_nonzero((norms > 0) & (np.abs(norms - 1) > 1e-3)))
        yield block / np.where(norms > 0, norms, 1)[:, None]
    if scaled:
        note(f"{source}: {scaled:,} vectors brought to unit norm")
