"""The journal of an embedding run: every finished batch, safe from a kill at any byte."""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from glob import escape
from hashlib import blake2b
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.arrays import Counts
from gip_cli.embedding_files import Paths, Settings
from gip_cli.embeddings import Keys, as_keys
from gip_cli.formats import KEY_BYTES
from gip_cli.storage import created

_SYNC_SECONDS = 20.0  # what a power cut can cost at most


class EmbeddingJournal:
    """Encoded texts in the order they came: a line of settings, then records of one size.

    A record's checksum tells whether it is whole, and `left` how many of its batch follow;
    whatever comes after the last whole batch is cut. A text's vector depends on its batch by a
    rounding, so that only whole batches give a resumed run the bytes of an uninterrupted one.
    Every settings have a journal of their own, so that a run with others does not cost the
    work of this one.
    """

    def __init__(self, paths: Paths, settings: Settings) -> None:
        self._paths = paths
        self._header = orjson.dumps(settings.to_json()) + b"\n"
        self.path = paths.hidden(blake2b(self._header, digest_size=4).hexdigest() + ".journal")
        self._record = np.dtype(
            [
                ("key", "u1", KEY_BYTES),
                ("tokens", "<i8"),
                ("vector", settings.dtype, settings.card.dimension),
                ("left", "<u4"),
                ("checksum", "<u4"),
            ]
        )
        self._synced = time.monotonic()
        self._file = self._open()

    def _open(self) -> BinaryIO:
        there = self.path.exists()
        file = self.path.open("r+b") if there else created(self.path, self._paths.npy, "x+b")
        try:
            self._cut(file)
        except BaseException:
            with suppress(OSError):  # it is the one being raised
                file.close()
            self._remove_if_empty()
            raise
        return file

    def _cut(self, file: BinaryIO) -> None:
        """Leave `file` open at the end of its last whole batch."""
        if file.read(len(self._header)) == self._header:
            whole = file.tell()
            while len(record := file.read(self._record.itemsize)) == self._record.itemsize:
                if zlib.crc32(record[:-4]) != int.from_bytes(record[-4:], "little"):
                    break
                if record[-8:-4] == bytes(4):
                    whole = file.tell()
            file.seek(whole)
        else:  # cut off in its first line
            file.seek(0)
            file.write(self._header)
        file.truncate()  # which flushes before

    def append(self, keys: list[bytes], tokens: Counts, vectors: npt.NDArray[np.float32]) -> None:
        """Add one batch; it survives the process at once.

        The machine it survives with a later batch, of 20 seconds on, or when the run is cut off.
        """
        records = np.zeros(len(keys), dtype=self._record)
        records["key"] = as_keys(b"".join(keys))
        records["tokens"] = tokens
        records["vector"] = vectors
        records["left"] = np.arange(len(keys))[::-1]
        for number, record in enumerate(records):
            records["checksum"][number] = zlib.crc32(record.tobytes()[:-4])
        self._file.write(records.tobytes())
        self._file.flush()
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    @property
    def records(self) -> npt.NDArray[Any]:
        """All records (n,), memory-mapped, with fields key, tokens and vector."""
        count = (self.path.stat().st_size - len(self._header)) // self._record.itemsize
        if count < 1:
            return np.empty(0, dtype=self._record)
        return np.memmap(
            self.path, dtype=self._record, mode="r", offset=len(self._header), shape=count
        )

    @property
    def keys(self) -> Keys:
        return np.ascontiguousarray(self.records["key"])

    def remove(self) -> None:
        """Remove it, and those of other settings: their target has been replaced."""
        names = escape(f".{self._paths.npy.name}.") + "[0-9a-f]" * 8 + ".journal"
        for path in self._paths.npy.parent.glob(names):
            path.unlink(missing_ok=True)

    def __enter__(self) -> EmbeddingJournal:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._file:
                if kind is not None:  # else it is in the store, which is synced
                    os.fsync(self._file.fileno())
        finally:
            self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        if self.path.exists() and not len(self.records):
            self.path.unlink()
