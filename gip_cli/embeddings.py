"""The `.npy` store of embeddings: how it is checked, how rows find theirs.

Beside ``NAME.npy`` (m, d) lie ``NAME.keys.npy`` (m, 16), the rows' keys, ``NAME.tokens.npy``
(m,), their token counts, and ``NAME.json``, which says how they were made. Rows are joined to
embeddings by key, never by position.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Counts, Rows, Vectors, row_norms
from gip_cli.embedding_files import Paths, Settings, read_description
from gip_cli.errors import MismatchError, UsageError
from gip_cli.formats import KEY_BYTES
from gip_cli.storage import LFS_POINTER, storage_errors

_TRIES = 100  # to open files that are changing: a writer's renames take milliseconds
_BLOCK = 1 << 14  # rows read at a time when a whole file is checked
_UNIT_TOLERANCE = {"float32": 1e-4, "float16": 5e-3}  # of a row's norm

Keys = npt.NDArray[np.uint8]  # (m, 16)


class PointerError(MismatchError):
    """A file of the store is elsewhere, and to be fetched, not made again."""


@dataclass(frozen=True)
class Embeddings:
    """An opened store: vectors (m, d), keys (m, 16) and tokens (m,), all memory-mapped.

    `digest` is BLAKE2b-128 of the keys: which rows these are, in which order.
    """

    paths: Paths
    settings: Settings
    vectors: Vectors
    keys: Keys
    tokens: Counts
    digest: str
    file: os.stat_result  # of the vectors, as they were when it was opened

    def check_unchanged(self) -> None:
        """Raise MismatchError if the vectors were written over where they lie, as by ``cp``.

        A new file in their place, as gip and rsync put it there, leaves those that were opened.
        """
        with suppress(OSError):
            was, now = self.file, self.paths.npy.stat()
            if (now.st_dev, now.st_ino) != (was.st_dev, was.st_ino):
                return
            if (now.st_size, now.st_mtime_ns) != (was.st_size, was.st_mtime_ns):
                raise MismatchError(
                    "was written over while it was read", "run again", path=self.paths.npy
                )

    def check_rows(self) -> int:
        """Refuse rows that are not finite or not unit; the number of zero rows.

        Raises
        ------
        MismatchError
            Names the first such row.
        """
        zero = 0
        for start in range(0, len(self.vectors), _BLOCK):
            norms = row_norms(self.vectors[start : start + _BLOCK])
            off = np.abs(norms - 1) > _UNIT_TOLERANCE[self.vectors.dtype.name]
            off &= norms != 0
            off |= ~np.isfinite(norms)
            if off.any():
                row = int(np.argmax(off))
                raise MismatchError(
                    f"row {start + row + 1} has norm {norms[row]:.4g}, not 1",
                    "run gip embed again",
                    path=self.paths.npy,
                )
            zero += int(np.count_nonzero(norms == 0))
        return zero


def as_keys(data: bytes | bytearray) -> Keys:
    """Keys (m, 16) that lie one after the other, where they lie."""
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, KEY_BYTES)


def sortable(keys: Keys) -> npt.NDArray[np.void]:
    """Keys as (m,) opaque 16-byte values, which numpy sorts and compares as bytes."""
    return np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").ravel()


def join_keys(known: Keys, keys: Keys) -> Rows:
    """Where each of `keys` (n, 16) stands in `known`: (n,), -1 where it does not."""
    if not len(known):
        return np.full(len(keys), -1)
    ours, wanted = sortable(known), sortable(keys)
    order = np.argsort(ours, kind="stable")
    found = np.minimum(np.searchsorted(ours, wanted, sorter=order), len(order) - 1)
    return np.where(ours[order[found]] == wanted, order[found], -1)


def find_run(known: Keys, keys: Keys) -> int | None:
    """Where all of `keys` (n, 16), n > 0, stand in `known` in their order; None if nowhere.

    Only the first place of the first key is looked at.
    """
    start = int(np.argmax(sortable(known) == sortable(keys[:1])))
    return start if np.array_equal(known[start : start + len(keys)], keys) else None


def rows_at(array: npt.NDArray[Any], at: Rows) -> npt.NDArray[Any]:
    """Rows `at` (m,) of a store's `array`, zero where -1: a view where they stand together."""
    if at[0] >= 0 and at[-1] - at[0] == len(at) - 1 and np.all(np.diff(at) == 1):
        return array[at[0] : at[-1] + 1]
    rows = array[at]
    rows[at < 0] = 0
    return rows


def keys_digest(keys: Keys) -> str:
    """BLAKE2b-128, in hex, of keys (m, 16) in their order."""
    return blake2b(np.ascontiguousarray(keys).data, digest_size=16).hexdigest()


def open_embeddings(path: str | Path) -> Embeddings:
    """Open a store, its parts checked against each other; again, where it is just being replaced.

    Raises
    ------
    UsageError
        No such file.
    MismatchError
        The parts do not belong together, or are not what `gip embed` writes.
    """
    paths = Paths.of(path)
    for _ in range(_TRIES):
        before = paths.state()
        try:
            opened = _open(paths)
        except (UsageError, MismatchError):
            if paths.state() == before:
                raise
        else:
            if paths.state() == before:
                return opened
    return _open(paths)


def _open(paths: Paths) -> Embeddings:
    with storage_errors(paths.npy):
        try:
            paths.current(paths.npy).stat()
        except FileNotFoundError:
            remedy = "make them with gip embed"
            raise UsageError("no such embeddings", remedy, path=paths.npy) from None
        file = paths.current(paths.npy).stat()
        description = read_description(paths.current(paths.json))
        vectors = read_array(paths.current(paths.npy), ("float32", "float16"), 2)
        keys = read_array(paths.current(paths.keys), ("uint8",), 2)
        tokens = read_array(paths.current(paths.tokens), ("int64",), 1)
    settings, rows = description.settings, description.rows
    if not (
        vectors.shape == (rows, settings.card.dimension)
        and keys.shape == (rows, KEY_BYTES)
        and tokens.shape == (rows,)
        and vectors.dtype.name == settings.dtype
        and keys_digest(keys) == description.keys
    ):
        raise MismatchError(
            f"{paths.npy.name}, {paths.keys.name}, {paths.tokens.name} and {paths.json.name} do "
            "not belong together",
            "run gip embed again",
            path=paths.npy,
        )
    return Embeddings(
        paths, settings, vectors, np.asarray(keys), np.asarray(tokens), description.keys, file
    )


def check_fetched(path: Path) -> None:
    """Raise PointerError where only Git's stand-in for the file is there."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            what = "a Git LFS pointer, not the file"
            raise PointerError(what, "fetch that: git lfs pull", path=path)


def read_array(
    path: Path, dtypes: tuple[str, ...], dimensions: int, remedy: str = "run gip embed again"
) -> npt.NDArray[Any]:
    """A `.npy` file memory-mapped, its type checked; never unpickles.

    Raises
    ------
    MismatchError
        Missing, truncated, pickled, or of another type, byte order or layout.
    """
    if not path.exists():
        raise MismatchError("missing", remedy, path=path)
    check_fetched(path)
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":  # numpy.load would also take archives
            raise MismatchError("not a .npy file", remedy, path=path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2: read all the same
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - numpy's header parser raises whatever Python's does
        raise MismatchError("not a whole .npy file of numbers", remedy, path=path) from None
    if array.dtype.name not in dtypes:
        raise MismatchError(f"holds {array.dtype}, not {' or '.join(dtypes)}", remedy, path=path)
    if not array.dtype.isnative:
        raise MismatchError("is in another byte order", remedy, path=path)
    if array.ndim != dimensions or not array.size:
        raise MismatchError(f"has shape {array.shape}", remedy, path=path)
    if not array.flags.c_contiguous:
        raise MismatchError("is in Fortran order", remedy, path=path)
    return array
