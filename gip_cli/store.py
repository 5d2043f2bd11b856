"""Writing a store of embeddings: only new keys are encoded, and no finished batch is lost.

Every batch goes to a journal beside the target as soon as it is encoded; a run that was cut off
goes on from there. The finished files are laid in a folder that is renamed when all are whole,
then moved to their places: whoever comes next, reader or writer, finds old or new, never both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.embedding_journal import Journal
from gip_cli.embeddings import (
    FORMAT_VERSION,
    Embeddings,
    Keys,
    Paths,
    Settings,
    join_keys,
    keys_digest,
    open_embeddings,
    read_description,
)
from gip_cli.encoder import Encoder
from gip_cli.errors import MismatchError, UsageError
from gip_cli.formats import KEY_BYTES, Renderer, key_of
from gip_cli.rows import RowFile, storage_errors

_WINDOW = 64  # batches sorted by length together, so that little padding is computed
_BLOCK = 1 << 13  # rows copied at a time

Notes = Callable[[str], None]


@dataclass(frozen=True)
class Progress:
    """Texts encoded so far in this run, of how many."""

    done: int
    total: int


@dataclass(frozen=True)
class Written:
    """What a run did: rows in the store, texts encoded, reused, and resumed from a journal."""

    rows: int
    encoded: int
    reused: int
    resumed: int
    truncated: int
    tokens_unseen: float  # share of all tokens beyond the model's length


def write_embeddings(
    rows: RowFile,
    target: str | Path,
    encoder: Encoder,
    renderer: Renderer,
    *,
    dtype: str = "float32",
    batch_size: int = 32,
    note: Notes = lambda text: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Written:
    """Embed every row of `rows` into the store `target`, one embedding a row, in their order.

    Parameters
    ----------
    rows : RowFile
        Opened with ``reread=True``: keys first, then the texts whose key is new.
    note : callable
        Told what a person should know: waiting for another run, starting anew.

    Raises
    ------
    InputError
        A row that cannot be read or has no text.
    UsageError
        `target` is a file that gip did not write.
    StorageError
        The disk is full, or the place not writable.
    """
    paths = Paths.of(target)
    settings = Settings(encoder.card, renderer, dtype)
    with storage_errors(paths.npy), _locked(paths, note):
        _finish_commit(paths)
        old = _reusable(paths, settings, note)
        keys = _keys(rows, renderer)
        in_old = join_keys(old.keys if old else keys[:0], keys)
        with Journal(paths.hidden("journal"), settings) as journal:
            resumed = join_keys(journal.keys, keys)
            new = _first_of_each(keys, (in_old < 0) & (resumed < 0))
            _encode(rows, renderer, encoder, journal, new, batch_size, on_progress)
            in_journal = join_keys(journal.keys, keys)
            tokens = _commit(paths, settings, keys, old, in_old, journal, in_journal)
        journal.remove()
    cut = _cut(tokens, settings)
    return Written(
        rows=len(keys),
        encoded=int(np.count_nonzero(new)),
        reused=int(np.count_nonzero(in_old >= 0)),
        resumed=int(np.count_nonzero((resumed >= 0) & (in_old < 0))),
        truncated=cut["truncated_rows"],
        tokens_unseen=cut["tokens_unseen"],
    )


@contextmanager
def _locked(paths: Paths, note: Notes) -> Iterator[None]:
    """One writer a target. The lock dies with its process and lies where nobody looks."""
    place = blake2b(os.fsencode(paths.npy.resolve()), digest_size=8).hexdigest()
    lock = filelock.FileLock(Path(tempfile.gettempdir()) / f"gip-{place}.lock", mode=0o666)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        note(f"another gip embed is writing {paths.npy}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _reusable(paths: Paths, settings: Settings, note: Notes) -> Embeddings | None:
    """The store that is there, if its vectors mean the same."""
    present = [path for path in paths.all if path.exists()]
    if not present:
        return None
    try:
        read_description(paths.json)
    except MismatchError:  # NAME.json may well be somebody's pool
        foreign = paths.json if paths.json in present else present[0]
        raise UsageError(
            "exists and was not written by gip embed", "choose another NAME.npy", path=foreign
        ) from None
    try:
        old = open_embeddings(paths.npy)
    except MismatchError as error:
        note(f"not reusing what is there: {error}")
        return None
    if old.settings != settings:
        note(f"{paths.npy} was made with other settings; encoding every row anew")
        return None
    return old


def _keys(rows: RowFile, renderer: Renderer) -> Keys:
    keys = bytearray()
    for one in renderer.read(rows):
        keys += key_of(one.text)
    return np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES)


def _first_of_each(keys: Keys, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of the `wanted` rows (m,), the first of every key."""
    first = np.zeros(len(keys), dtype=bool)
    positions = np.flatnonzero(wanted)
    if positions.size:
        distinct = np.unique(keys[positions].view(f"V{KEY_BYTES}").ravel(), return_index=True)[1]
        first[positions[distinct]] = True
    return first


def _encode(
    rows: RowFile,
    renderer: Renderer,
    encoder: Encoder,
    journal: Journal,
    new: npt.NDArray[np.bool_],
    batch_size: int,
    on_progress: Callable[[Progress], None],
) -> None:
    total = int(np.count_nonzero(new))
    if not total:
        return
    done = 0
    texts = (one.text for one, wanted in zip(renderer.read(rows), new, strict=True) if wanted)
    while window := [text for text, _ in zip(texts, range(_WINDOW * batch_size), strict=False)]:
        window.sort(key=len, reverse=True)
        for start in range(0, len(window), batch_size):
            batch = window[start : start + batch_size]
            encoded = encoder.encode(batch)
            journal.append([key_of(text) for text in batch], encoded.tokens, encoded.vectors)
            done += len(batch)
            on_progress(Progress(done, total))


def _commit(
    paths: Paths,
    settings: Settings,
    keys: Keys,
    old: Embeddings | None,
    in_old: npt.NDArray[np.int64],
    journal: Journal,
    in_journal: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Lay out the new files, make them current together; the rows' token counts (m,)."""
    staging = paths.hidden("staging")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        tokens = np.empty(len(keys), dtype=np.int64)
        records = journal.records
        shape = (len(keys), settings.card.dimension)
        header = {"descr": np.dtype(settings.dtype).str, "fortran_order": False, "shape": shape}
        with (staging / paths.npy.name).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(keys), _BLOCK):
                block = slice(start, start + _BLOCK)
                ours, theirs = in_old[block], in_journal[block]
                vectors = np.empty((len(ours), shape[1]), dtype=settings.dtype)
                if old:
                    vectors[ours >= 0] = old.vectors[ours[ours >= 0]]
                    tokens[block][ours >= 0] = old.tokens[ours[ours >= 0]]
                fresh = ours < 0
                vectors[fresh] = records["vector"][theirs[fresh]]
                tokens[block][fresh] = records["tokens"][theirs[fresh]]
                file.write(vectors.data)
            _sync(file)
        for path, array in ((paths.keys, keys), (paths.tokens, tokens)):
            with (staging / path.name).open("wb") as file:
                np.save(file, array, allow_pickle=False)
                _sync(file)
        description = {
            "version": FORMAT_VERSION,
            "gip": version("gip-cli"),
            **settings.to_json(),
            "rows": len(keys),
            "keys": keys_digest(keys),
            **_cut(tokens, settings),
        }
        with (staging / paths.json.name).open("wb") as file:
            file.write(orjson.dumps(description, option=orjson.OPT_INDENT_2) + b"\n")
            _sync(file)
        staging.replace(paths.hidden("commit"))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _finish_commit(paths)
    return tokens


def _finish_commit(paths: Paths) -> None:
    """Move the files of a commit to their places, also where an earlier run was cut off."""
    commit = paths.hidden("commit")
    if commit.exists():
        for path in paths.all:
            if (commit / path.name).exists():
                (commit / path.name).replace(path)
        commit.rmdir()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _cut(tokens: npt.NDArray[np.int64], settings: Settings) -> dict[str, Any]:
    """How much of the text the model never saw."""
    card = settings.card
    room = card.max_length - card.overhead if card.max_length else np.iinfo(np.int64).max
    beyond = np.maximum(tokens - room, 0)
    return {
        "truncated_rows": int(np.count_nonzero(beyond)),
        "tokens_unseen": round(float(beyond.sum() / max(tokens.sum(), 1)), 6),
    }
