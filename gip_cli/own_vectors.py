"""Embeddings that the user made otherwise, taken into a store: one vector a row, by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from gip_cli.arrays import Array, Rows, Vectors, row_norms, unit_rows
from gip_cli.embedding_commit import commit, writing_store
from gip_cli.embedding_files import Settings
from gip_cli.embeddings import join_keys, open_embeddings, read_array
from gip_cli.encoder import OWN_VECTORS, ModelCard
from gip_cli.errors import MismatchError, UsageError
from gip_cli.formats import Part, Renderer
from gip_cli.printable import Tell, agreeing, counted
from gip_cli.rows import RowFile
from gip_cli.storage import storage_errors
from gip_cli.store import differing_settings, row_keys, tell_gone, unwritable_but_current

TOKENS_UNKNOWN = -1
_BLOCK = 1 << 13  # rows normalised at a time
_ROUNDING = 1e-2  # between a text's vectors, which depend on its batch: unit, of half precision
_SAME = 1e-6  # of single precision


def write_own_vectors(
    rows: RowFile,
    target: str | Path,
    vectors: str | Path,
    renderer: Renderer,
    *,
    dtype: str = "float32",
    note: Tell = lambda text: None,
) -> tuple[int, int]:
    """Make the store `target` from the `.npy` file `vectors`; its shape (m, d).

    The i-th vector is the i-th usable row's; from here on they are joined by key, so that rows of
    one text all have the first one's. Vectors are brought to unit norm. Token counts are unknown:
    -1.

    Raises
    ------
    MismatchError
        Another number of vectors than rows, a vector that is not finite, two different ones for
        one text, or not such a file.
    UsageError, StorageError
        As `store.write_embeddings`.
    """
    source = Path(vectors)
    if source.exists() and not source.is_file() and not source.is_dir():
        raise UsageError("not a regular file", "save it first: it is read twice", path=source)
    with storage_errors(source), source.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
    given = read_array(
        source,
        ("float16", "float32", "float64"),
        2,
        "save it with numpy.save as (rows, d) floats, C-ordered",
    )
    card = ModelCard(OWN_VECTORS, None, f"blake2b:{digest}", given.shape[1], 0, 0, "")
    settings = Settings(card, renderer, dtype)
    if there := unwritable_but_current(rows, target, settings, note):
        return len(there.keys), card.dimension
    with writing_store(target, note) as paths:
        keys = row_keys(rows, renderer)
        if len(keys) != len(given):
            many, few = counted(len(given), "vector"), counted(len(keys), "row")
            raise MismatchError(
                rows.bad.beside(f"{many} for {few} of {rows.name}"),
                "give one vector for each row that is not skipped, in their order",
                path=source,
            )
        first = join_keys(keys, keys)
        if other := _check_repeated(given, first, rows, renderer, source):
            repeat = agreeing(other, "repeat")
            note(
                f"{source}: {counted(other, 'row')} {repeat} a text with a slightly other vector, "
                f"and {agreeing(other, 'have')} the first one's"
            )
        if paths.json.exists():
            with suppress(MismatchError, UsageError):  # of a damaged store nothing can be lost
                old = open_embeddings(paths.npy)
                if old.settings.card.model != OWN_VECTORS:
                    note(f"{target} was made by {old.settings.card.model}, and is replaced")
                if old.settings.renderer == renderer:
                    tell_gone(old, keys, rows.name, note)
                else:  # the same rows have other keys
                    read = old.settings.renderer.to_json(), renderer.to_json()
                    note(
                        f"{target} was made with other settings "
                        f"({', '.join(differing_settings(*read))}), and its "
                        f"{counted(len(old.keys), 'row')} {agreeing(len(old.keys), 'are')} replaced"
                    )
        tokens = np.full(len(keys), TOKENS_UNKNOWN, dtype=np.int64)
        commit(paths, settings, keys, tokens, _unit_blocks(given, first, source, note))
    return len(given), given.shape[1]


def _check_repeated(
    vectors: Vectors, first: Rows, rows: RowFile, renderer: Renderer, source: Path
) -> int:
    """How many rows have another vector than the first of their text; raises if quite another.

    Parameters
    ----------
    first : (m,)
        The first row of each one's text.
    """
    other = 0
    repeated = np.flatnonzero(first != np.arange(len(first)))
    for start in range(0, len(repeated), _BLOCK):
        at = repeated[start : start + _BLOCK]
        apart = row_norms(_unit(vectors, at, source) - _unit(vectors, first[at], source))
        if (off := apart > _ROUNDING).any():
            row = at[np.argmax(off)]
            embedded = "text" if renderer.part is Part.both else renderer.part
            lines = [rendered.row.line for rendered in renderer.read(rows)]
            raise MismatchError(
                f"lines {lines[first[row]]} and {lines[row]} of {rows.name} have the same "
                f"{embedded} but different vectors",
                "embed what tells them apart (--text-field, --part), or give them one vector",
                path=source,
            )
        other += int(np.count_nonzero(apart > _SAME))
    return other


def _unit_blocks(vectors: Vectors, first: Rows, source: Path, note: Tell) -> Iterator[Array]:
    """Blocks of each row's vector, the `first` one's (m,), over its norm; zero rows stay zero."""
    scaled = zero = 0
    for start in range(0, len(vectors), _BLOCK):
        at = first[start : start + _BLOCK]
        block = _unit(vectors, at, source)
        off = np.abs(row_norms(vectors[at]) - 1) > 1e-3
        some = block.any(axis=1)
        scaled += int(np.count_nonzero(off & some))
        zero += int(np.count_nonzero(~some))
        yield block
    if scaled:
        note(f"{source}: {counted(scaled, 'vector')} brought to unit norm")
    if zero:
        note(f"{source}: {counted(zero, 'vector')} of zeros kept, to be picked last if at all")


def _unit(vectors: Vectors, at: Rows, source: Path) -> Array:
    """Rows `at` (n,) divided by their norms, however large or small these are; (n, d)."""
    block = vectors[at].astype(np.float64)
    largest = np.abs(block).max(axis=1)
    if not (finite := np.isfinite(largest)).all():
        row = at[np.argmin(finite)]
        raise MismatchError(f"row {row + 1} is not finite", "mend it", path=source)
    # By a power of two, which rounds nothing, so that no square overflows or vanishes.
    return unit_rows(np.ldexp(block, -np.frexp(largest)[1][:, None]))
