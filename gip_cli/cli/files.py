"""The files that a command reads and writes: which ones it must refuse, and how it writes."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from gip_cli.errors import StorageError, UsageError
from gip_cli.storage import Replacements, replaceable, replacing, storage_errors
from gip_cli.streams import is_stdout, is_stream

_OTHER_PACKED = (".bz2", ".xz", ".zst", ".zip")


def check_outputs(*written: str, read: Iterable[str]) -> None:
    """Refuse, before any work, what a command cannot or must not write.

    Raises
    ------
    UsageError
        Two outputs of one name, a file that is read, belongs to embeddings or is named like them,
        a name of a packed file that gip cannot make, a directory, or no such directory.
    StorageError
        A file that is write-protected.
    """
    from gip_cli.embedding_files import store_with  # imports numpy

    named = ["-" if is_stdout(path) else path for path in written]
    files = [path for path in named if path == "-" or not is_stream(path)]
    # A file that takes the place of the one that standard output goes to, and others with it.
    lost = "-" in named and any(path != "-" and same_file("-", path) for path in named)
    if lost or len({os.path.realpath(path) for path in files}) < len(files):
        raise UsageError("two outputs of one name", "see -o, --rejects, --receipt and --json")
    sources = list(read)
    for path in written:
        refuse_same(path, *sources)
        if path != "-" and (store := store_with(replaceable(path))):
            raise UsageError(f"belongs to the embeddings {store}", "choose another", path=path)
        if path.endswith(".npy"):  # later runs would take it for the embeddings of NAME.jsonl
            raise UsageError("a name for embeddings alone", "choose another", path=path)
        if path.lower().endswith(_OTHER_PACKED):  # whoever unpacks it would find plain text
            raise UsageError(
                "gip packs by gzip alone", "name it .gz, or pack what goes to -o -", path=path
            )


@contextmanager
def writing(output: str, together: Replacements | None = None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is replaced, as by `replacing`; gzipped if named so."""
    if output.lower().endswith(".gz"):
        with (
            replacing(output, together) as file,
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
        ):
            yield cast("BinaryIO", packed)
    elif not is_stdout(output):
        with replacing(output, together) as file:
            yield file
    elif sys.stdout is None:
        raise StorageError("standard output is closed", "send it to a file")
    elif isinstance(sys.stdout.buffer, RawIOBase):
        # As PYTHONUNBUFFERED has it: it takes what there is room for, and leaves out the rest.
        with storage_errors("<stdout>"), open(sys.stdout.fileno(), "wb", closefd=False) as file:
            yield file
    else:
        with storage_errors("<stdout>"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()


def refuse_same(output: str, *sources: str) -> None:
    """Refuse to write over a file that is read, or to its end (``>> pool.jsonl``)."""
    if any(same_file(output, source) for source in sources):
        raise UsageError("output and input are the same file", "choose another", path=output)


def check_present(*read: str) -> None:
    """Refuse, before any work, files that cannot be read; raises as `storage_errors`."""
    for path in read:
        if path != "-":
            with storage_errors(path):
                if stat.S_ISDIR(Path(path).stat().st_mode):
                    raise IsADirectoryError
                if not os.access(path, os.R_OK):
                    raise PermissionError(errno.EACCES, "permission denied")


def check_inputs(*read: str, remedy: str = "save one to a file") -> None:
    """Refuse standard input, or another pipe, for two inputs: the second would find it empty."""
    streams = set()
    for path in read:
        status = _status(path, 0)
        if status and (path == "-" or stat.S_ISFIFO(status.st_mode)):
            stream = status.st_dev, status.st_ino
            if stream in streams:
                raise UsageError("two inputs from one pipe", remedy, path=path)
            streams.add(stream)


def same_file(output: str, source: str) -> bool:
    """Whether both are one regular file, by whatever names; ``-`` is a standard stream."""
    written, read = _regular_file(output, 1), _regular_file(source, 0)
    return bool(written and read and os.path.samestat(written, read))


def _regular_file(path: str, stream: int) -> os.stat_result | None:
    """What the system knows of a regular file, or of the one that a standard stream is."""
    status = _status(path, stream)
    return status if status and stat.S_ISREG(status.st_mode) else None


def _status(path: str, stream: int) -> os.stat_result | None:
    """What the system knows of a file, ``-`` being a standard stream."""
    with suppress(OSError):
        return os.fstat(stream) if path == "-" else Path(path).stat()
    return None
