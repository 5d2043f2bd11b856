"""Laying out the finished files of a store and making them current together.

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
from gip_cli.embedding_files import FORMAT_VERSION, Paths, Settings
from gip_cli.embeddings import Keys, keys_digest


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
        with _synced(staging / paths.npy.name) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype=settings.dtype).data)
        for path, array in ((paths.keys, keys), (paths.tokens, tokens)):
            with _synced(staging / path.name) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        description = {
            "version": FORMAT_VERSION,
            "gip": version("gip-cli"),
            **settings.to_json(),
            "rows": len(keys),
            "keys": keys_digest(keys),
            **unseen(tokens, settings),
        }
        with _synced(staging / paths.json.name) as file:
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
        for path in paths.all:
            if (folder / path.name).exists():
                (folder / path.name).replace(path)
        folder.rmdir()


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
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
