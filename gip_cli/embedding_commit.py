"""Where a store may be written, and how its finished files are made current together.

They are written to a folder that is renamed when all are whole, then moved to their places:
whoever comes next, reader or writer, finds the old store or the new one, never parts of both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from gip_cli.arrays import Counts, Vectors
from gip_cli.embedding_files import (
    FORMAT_VERSION,
    NewerFormatError,
    Paths,
    Settings,
    read_description,
)
from gip_cli.embeddings import Keys, check_fetched, keys_digest
from gip_cli.errors import MismatchError, UsageError
from gip_cli.printable import Tell
from gip_cli.storage import created, locked, replaceable, storage_errors


class LinkedStoreError(UsageError):
    """A link among a store's files, which writing the store would replace."""


@contextmanager
def writing_store(target: str | Path, note: Tell) -> Iterator[Paths]:
    """One writer a target, whose files are gip's own and whole."""
    paths = check_target(target)
    with storage_errors(paths.npy), locked(paths.npy, note):
        check_target(target)
        finish_commit(paths)
        yield paths


def check_target(target: str | Path) -> Paths:
    """Refuse a place where a store cannot or must not be written, before any work is done.

    Raises
    ------
    UsageError
        Not named ``NAME.npy``, no such directory, or a file there is not a store's.
    LinkedStoreError
        A file there is a link.
    MismatchError
        The store there was written by a newer gip, or has a file that is still to be fetched.
    StorageError
        The store there is write-protected.
    """
    paths = Paths.of(target)
    with storage_errors(paths.npy):
        replaceable(paths.npy)
        if link := next((path for path in paths.all if path.is_symlink()), None):
            what = "a link, which the new file would replace"
            remedy = "name the store that it leads to, or remove it"
            raise LinkedStoreError(what, remedy, path=link)
        present = [path for path in paths.all if path.exists()]
        if not present or paths.hidden("commit").exists():
            return paths
        try:
            read_description(paths.json)
        except NewerFormatError:
            raise
        except MismatchError:
            foreign, what = paths.json, "exists and was not written by gip embed"
            remedy = "choose another NAME.npy"
            if paths.json not in present:  # it may well be gip's own, of which one file was kept
                foreign, what = (
                    present[0],
                    f"may be anybody's without a {paths.json.name} beside it",
                )
                remedy = f"bring that back, move the file away, or {remedy}"
            raise UsageError(what, remedy, path=foreign) from None  # NAME.json may be a pool
        for path in present:
            if not os.access(path, os.W_OK):
                raise PermissionError(0, "write-protected")
            check_fetched(path)
    return paths


def commit(
    paths: Paths,
    settings: Settings,
    keys: Keys,
    tokens: Counts,
    blocks: Iterable[Vectors],
) -> None:
    """Write the four files and make them current.

    Parameters
    ----------
    keys : (m, 16); tokens : (m,)
    blocks : iterable of (n, d)
        The vectors in order, some rows at a time.
    """
    staging = paths.hidden("staging")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        shape = (len(keys), settings.card.dimension)
        header = {"descr": np.dtype(settings.dtype).str, "fortran_order": False, "shape": shape}
        with _synced(staging, paths.npy) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype=settings.dtype).data)
        for path, array in ((paths.keys, keys), (paths.tokens, tokens)):
            with _synced(staging, path) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        description = {
            "version": FORMAT_VERSION,
            "gip": version("gip-cli"),
            **settings.to_json(),
            "rows": len(keys),
            "keys": keys_digest(keys),
            **unseen(tokens, settings),
        }
        with _synced(staging, paths.json) as file:
            file.write(orjson.dumps(description, option=orjson.OPT_INDENT_2) + b"\n")
        staging.replace(paths.hidden("commit"))
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    finish_commit(paths)


def finish_commit(paths: Paths) -> None:
    """Move the files of a commit to their places, also where an earlier run was cut off."""
    folder = paths.hidden("commit")
    if folder.exists():
        left = [path for path in paths.all if (folder / path.name).exists()]
        for path in left:
            try:
                (folder / path.name).replace(path)
            except OSError:
                if path == paths.npy:  # refused before any has moved: the old store is whole
                    staging = paths.hidden("staging")  # cut short, its removal is no half a commit
                    shutil.rmtree(staging, ignore_errors=True)
                    folder.replace(staging)
                    shutil.rmtree(staging, ignore_errors=True)
                raise
        folder.rmdir()


@contextmanager
def _synced(staging: Path, target: Path) -> Iterator[BinaryIO]:
    with created(staging / target.name, target) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def unseen(tokens: Counts, settings: Settings) -> dict[str, Any]:
    """How much of the texts the model never saw: rows cut, and the share of all tokens."""
    card = settings.card
    room = card.max_length - card.overhead if card.max_length else np.iinfo(np.int64).max
    beyond = np.maximum(tokens - room, 0)
    return {
        "truncated_rows": int(np.count_nonzero(beyond)),
        "tokens_unseen": round(float(beyond.sum() / max(tokens.sum(), 1)), 6),
    }
