"""The journal of an embedding run: every finished batch, safe from a kill at any byte."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.embeddings import Keys, Settings
from gip_cli.formats import KEY_BYTES

_SYNC_SECONDS = 20.0  # what a power cut can cost at most


class Journal:
    """Encoded texts in the order they came: a line of settings, then records of one size.

    A record's checksum tells whether it is whole; whatever follows the last whole one is cut.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self._header = orjson.dumps(settings.to_json()) + b"\n"
        self._record = np.dtype(
            [
                ("key", "u1", KEY_BYTES),
                ("tokens", "<i8"),
                ("vector", settings.dtype, settings.card.dimension),
                ("checksum", "<u4"),
            ]
        )
        self._synced = time.monotonic()
        self._file = self._open()

    def _open(self) -> BinaryIO:
        file = self.path.open("r+b" if self.path.exists() else "w+b", buffering=0)
        if file.read(len(self._header)) == self._header:
            whole = len(self._header)
            while record := file.read(self._record.itemsize):
                if len(record) < self._record.itemsize:
                    break
                if zlib.crc32(record[:-4]) != int.from_bytes(record[-4:], "little"):
                    break
                whole += len(record)
            file.truncate(whole)
        else:  # another model's or another part's: of no use here
            file.truncate(0)
            file.seek(0)
            file.write(self._header)
        file.seek(0, os.SEEK_END)
        return file

    def append(
        self, keys: list[bytes], tokens: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]
    ) -> None:
        records = np.zeros(len(keys), dtype=self._record)
        records["key"] = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES)
        records["tokens"] = tokens
        records["vector"] = vectors
        for number, record in enumerate(records):
            records["checksum"][number] = zlib.crc32(record.tobytes()[:-4])
        self._file.write(records.tobytes())
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    @property
    def records(self) -> npt.NDArray[Any]:
        """All whole records (n,), memory-mapped, with fields key, tokens and vector."""
        size = self.path.stat().st_size - len(self._header)
        if not size:
            return np.empty(0, dtype=self._record)
        return np.memmap(self.path, dtype=self._record, mode="r", offset=len(self._header))

    @property
    def keys(self) -> Keys:
        return np.ascontiguousarray(self.records["key"])

    def remove(self) -> None:
        self.path.unlink()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
