"""Bytes that can be read again: a file as it lies, a pipe or gzip by way of a temporary file."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self, cast

from gip_cli.errors import InputError, UsageError
from gip_cli.printable import file_name
from gip_cli.storage import descriptor, storage_errors, temporary_folder


class Stream:
    """A file, gzipped or not (told by content, not by name), or standard input (``-``).

    Parameters
    ----------
    reread : bool
        Whether it is read more than once. What cannot be read twice (a pipe, gzip) is then kept
        in an unnamed temporary file until `close`.

    Attributes
    ----------
    name : str
        What people are told (`file_name`).
    packed : bool
        Whether it is gzipped.

    Raises
    ------
    UsageError
        No such file, or it is a directory.
    StorageError
        The system refuses to read it, or the temporary file to be written.
    """

    def __init__(self, path: str | Path, *, reread: bool) -> None:
        shown = file_name(path)
        self.name = "<stdin>" if shown == "-" else shown
        self._line = 0  # met so far
        self._start = 0  # where offsets are counted from
        self._reread = reread
        with ExitStack() as opened, storage_errors(self.name):
            plain = _stdin() if shown == "-" else opened.enter_context(Path(path).open("rb"))
            # A pipe may have given one byte so far; no text of rows begins with that.
            self.packed = packed = plain.peek(2)[:2] in (b"\x1f\x8b", b"\x1f")
            file: io.BufferedReader | gzip.GzipFile = plain
            if packed:
                file = opened.enter_context(gzip.open(plain))
            self._file = cast("BinaryIO", file)
            if reread and (packed or not plain.seekable()):
                self._file = opened.enter_context(self._spool(file))
            elif plain.seekable():
                self._start = plain.tell()
            self._state = _state(self._file)
            self._opened = opened.pop_all()

    def _spool(self, file: io.BufferedReader | gzip.GzipFile) -> BinaryIO:
        # Around all of it: a file that could not be written cannot be closed either.
        kept = "pipes and gzip are kept there while they are read: TMPDIR names another folder"
        with storage_errors(temporary_folder(), kept), ExitStack() as opened:
            spool = opened.enter_context(tempfile.TemporaryFile(prefix="gip-"))
            while chunk := self._chunk(file):
                self._line += chunk.count(b"\n")
                spool.write(chunk)
            spool.flush()
            opened.pop_all()
        return cast("BinaryIO", spool)

    def _chunk(self, file: io.BufferedReader | gzip.GzipFile) -> bytes:
        with self._errors():
            return file.read1(1 << 16)  # what comes before damage is not lost, but counted

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with storage_errors(self.name):
            try:
                yield
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                what = "ends early" if isinstance(error, EOFError) else "is damaged"
                raise InputError(
                    f"the gzip stream {what} after line {self._line}",
                    "fetch the file again",
                    path=self.name,
                ) from None

    def lines(self) -> Iterator[bytes]:
        """Every line with its end; from the first again, if it is read more than once.

        Raises
        ------
        InputError
            A damaged gzip stream, or a file that somebody has written to.
        """
        if self._reread:
            self.check_unchanged()
            self._file.seek(self._start)
        # Errors are translated around the loop: around every line it takes a third of the time.
        with self._errors():
            # Not `yield from`, which would close the file with this generator.
            for raw in self._file:
                self._line += 1
                yield raw

    def rest(self) -> bytes:
        """All that `lines` has not come to; raises as it does."""
        with self._errors():
            return self._file.read()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` (`reread` streams, not amid `lines`)."""
        with storage_errors(self.name):
            self.check_unchanged()
            self._file.seek(self._start + offset)
            return self._file.read(length)

    @property
    def size(self) -> int | None:
        """Bytes that `lines` comes to; None where only reading them tells."""
        state = _state(self._file)
        if state is None or (self.packed and not self._reread):
            return None
        return state[0] - self._start

    def check_unchanged(self) -> None:
        """Raise `changed` if somebody has written to the file since it was opened.

        One that is read once may grow: what was there is read.
        """
        state = _state(self._file)
        grown = not self._reread and state and self._state and state[0] > self._state[0]
        if state != self._state and not grown:
            raise self.changed()

    def changed(self) -> InputError:
        """The error for a file that is not what it was when it was opened."""
        return InputError("changed while it was read", "run again", path=self.name)

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_stdout(path: str) -> bool:
    """Whether it is standard output, by ``-`` or by a name that the system has for it."""
    return path == "-" or descriptor(path) == 1


def is_stream(path: str, standard: int = 1) -> bool:
    """Whether it is the standard stream by any name, or no regular file: nothing lies beside it."""
    if path == "-" or descriptor(path) is not None:  # also where a file is called so
        return True
    with suppress(OSError):
        status = Path(path).stat()
        return not stat.S_ISREG(status.st_mode) or os.path.samestat(status, os.fstat(standard))
    return False


def receipt_places(selection: str) -> list[Path]:
    """Where the receipt of a selection may lie, and is written first of all; none of a stream.

    Beside it, under a name of its own, of which only `.jsonl` is left out: `a.jsonl` and `a.json`
    are two selections. Of a link beside what it leads to, so that it is found by both names, or
    beside the link: caches (of git-annex, DVC, the hub) keep every file as a link to elsewhere.
    """
    if is_stream(selection):
        return []
    files = [selection]
    if Path(selection).is_symlink():
        files.insert(0, os.path.realpath(selection))
    return [Path(f"{file.removesuffix('.jsonl')}.receipt.json") for file in files]


def _stdin() -> io.BufferedReader:
    if sys.stdin is None:  # started with it closed
        raise UsageError("standard input is closed", "give a file", path="<stdin>")
    # Whoever shares it may have set it not to wait: it would end where nothing is there yet.
    os.set_blocking(sys.stdin.fileno(), True)
    return cast("io.BufferedReader", sys.stdin.buffer)


def _state(file: BinaryIO) -> tuple[int, int] | None:
    """What changes when somebody writes to a file; None where that means nothing."""
    status = os.fstat(file.fileno())
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
