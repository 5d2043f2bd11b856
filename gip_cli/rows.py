"""Rows of instruction data as bytes, value and place.

Rows are read as JSONL, gzipped JSONL or one JSON array, and are never re-serialised: what is
written later is the row's own bytes, found again by offset, so that a pool larger than memory
costs only its offsets.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import orjson

from gip_cli.errors import InputError, UsageError
from gip_cli.storage import storage_errors

_BLANK = b" \t\r\n"
_BETWEEN = re.compile(r"[ \t\r\n]*")
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its bytes without the line end, its value, and where it stands.

    `offset` counts bytes from the start of the (decompressed) file; `line` from 1.
    """

    raw: bytes
    value: dict[str, Any]
    source: str
    line: int
    offset: int

    def error(self, what: str, remedy: str = "") -> InputError:
        """An `InputError` that names this row's place."""
        return InputError(what, remedy, path=self.source, line=self.line)


class BadRows:
    """What happens to a row that cannot be used: an error, or, if `skip`, counted and told."""

    def __init__(self, *, skip: bool = False) -> None:
        self._skip = skip
        self.reset()

    def reset(self) -> None:
        """Forget what was counted: each pass over a file counts anew."""
        self.count = 0
        self.first: InputError | None = None

    def refuse(self, error: InputError) -> None:
        """Raise `error`, or count it when bad rows are to be skipped."""
        if not self._skip:
            raise error
        self.count += 1
        self.first = self.first or error


class RowFile:
    """A file of rows, or standard input (``-``).

    Parameters
    ----------
    path : str or Path
        ``.jsonl``, gzipped or not (told by content, not by name), or a JSON array.
    bad : BadRows
        What to do with rows that are not JSON objects.
    reread : bool
        Whether rows are read more than once. What cannot be read twice (a pipe, gzip) is then
        kept in an unnamed temporary file until `close`.

    Raises
    ------
    UsageError
        No such file, or it is a directory.
    StorageError
        The system refuses to read it, or the temporary file to be written.
    """

    def __init__(self, path: str | Path, bad: BadRows, *, reread: bool = False) -> None:
        # A name that is not UTF-8 is shown, and kept in receipts, with its bytes escaped.
        shown = os.fsencode(path).decode(errors="backslashreplace")
        self.name = "<stdin>" if shown == "-" else shown
        self.bad = bad
        self._line = 0  # met so far
        self._start = 0  # where the first row's bytes are counted from
        self._reread = reread
        with ExitStack() as opened, storage_errors(self.name):
            plain = _stdin() if shown == "-" else opened.enter_context(Path(path).open("rb"))
            packed = plain.peek(2)[:2] == b"\x1f\x8b"
            self._stream = cast("BinaryIO", plain)
            if packed:
                self._stream = cast("BinaryIO", opened.enter_context(gzip.open(plain)))
            if reread and (packed or not plain.seekable()):
                self._stream = opened.enter_context(self._spool(self._stream))
            elif plain.seekable():
                self._start = plain.tell()
            self._state = _state(self._stream) if reread else None
            self._opened = opened.pop_all()

    def _spool(self, stream: BinaryIO) -> BinaryIO:
        with ExitStack() as opened:
            with storage_errors(tempfile.gettempdir()):
                spool = opened.enter_context(tempfile.TemporaryFile(prefix="gip-"))
            while chunk := self._chunk(stream):
                self._line += chunk.count(b"\n")
                with storage_errors(tempfile.gettempdir()):
                    spool.write(chunk)
            with storage_errors(tempfile.gettempdir()):
                spool.flush()
            opened.pop_all()
        return cast("BinaryIO", spool)

    def _chunk(self, stream: BinaryIO) -> bytes:
        with storage_errors(self.name), self._gzip_errors():
            return stream.read(1 << 16)

    @contextmanager
    def _gzip_errors(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = "ends early" if isinstance(error, EOFError) else "is damaged"
            raise InputError(
                f"the gzip stream {what} after line {self._line}",
                "fetch the file again",
                path=self.name,
            ) from None

    def __iter__(self) -> Iterator[Row]:
        """Every row in order; blank lines are passed over.

        Raises
        ------
        InputError
            A line that is not a JSON object (unless bad rows are skipped), a damaged gzip
            stream, an array that breaks off, or a file without any row.
        """
        if self._reread:
            self.check_unchanged()
            self._stream.seek(self._start)
        self.bad.reset()
        found = False
        for row in self._rows():
            found = True
            yield row
        self.check_unchanged()
        if not found:
            raise InputError(
                "no rows" if not self.bad.count else "no usable rows",
                "expected JSON objects, one a line",
                path=self.name,
            )

    def _rows(self) -> Iterator[Row]:
        self._line = offset = 0
        seen = False  # only the first row's place can open an array
        lines = iter(self._stream)
        while True:
            with storage_errors(self.name), self._gzip_errors():
                raw = next(lines, None)
            if raw is None:
                return
            self._line = line = self._line + 1
            start, offset = offset, offset + len(raw)
            if line == 1:
                if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise InputError(
                        "UTF-16 text", "convert it to UTF-8 (iconv -f UTF-16)", path=self.name
                    )
                if raw.startswith(_UTF8_BOM):
                    raw, start = raw[3:], 3
            text = raw.strip(_BLANK)
            if not text:
                continue
            if text.startswith(b"[") and not seen:
                with storage_errors(self.name), self._gzip_errors():
                    rest = self._stream.read()
                yield from self._array(raw + rest, start, line)
                return
            seen = True
            start += raw.index(text)
            if row := self._parse(text, line, start):
                yield row

    def _parse(self, raw: bytes, line: int, offset: int) -> Row | None:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            at = f"column {error.colno}" if error.pos else "the start"
            what, remedy = f"not JSON: {error.msg} at {at}", "mend the line or pass --skip-bad"
        else:
            if isinstance(value, dict):
                return Row(raw, value, self.name, line, offset)
            what = f"a JSON {_KIND[type(value)]} where an object was expected"
            remedy = "mend the line or pass --skip-bad"
        self.bad.refuse(InputError(what, remedy, path=self.name, line=line))
        return None

    def _array(self, data: bytes, base: int, line: int) -> Iterator[Row]:
        # Latin-1 maps every byte to one character, so the decoder's positions are byte offsets;
        # orjson then reads each element's own bytes and is the judge of all but their ends.
        text = data.decode("latin-1")
        scan = json.JSONDecoder(parse_int=str, parse_float=str, strict=False).raw_decode
        counted, end = 0, text.index("[") + 1
        at = _past_blanks(text, end)
        while text[at : at + 1] != "]":
            line += data.count(b"\n", counted, at)
            counted = at
            try:
                end = scan(text, at)[1]
            except (ValueError, RecursionError):
                raise self._broken(line) from None
            if row := self._parse(data[at:end], line, base + at):
                yield row
            at = _past_blanks(text, end)
            comma = text[at : at + 1] == ","
            at = _past_blanks(text, at + comma)
            if comma == (text[at : at + 1] == "]"):
                raise self._broken(line + data.count(b"\n", counted, at))
        if data[at + 1 :].strip(_BLANK):
            raise InputError(
                "text after the end of the JSON array",
                "give one JSON array, or one object a line",
                path=self.name,
                line=line + data.count(b"\n", counted, at),
            )

    def _broken(self, line: int) -> InputError:
        return InputError(
            "the JSON array breaks off or is damaged here",
            "mend it: --skip-bad cannot tell where the next row begins",
            path=self.name,
            line=line,
        )

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a row met before, on one line (`reread` files, not while iterating).

        Line breaks inside an array's element can only be white space between its parts, so
        they are made spaces; nothing else of a row ever changes.
        """
        with storage_errors(self.name):
            self.check_unchanged()
            self._stream.seek(self._start + offset)
            raw = self._stream.read(length)
        return one_line(raw)

    def check_unchanged(self) -> None:
        """Raise `changed` if somebody has written to the file since it was opened."""
        if self._reread and _state(self._stream) != self._state:
            raise self.changed()

    def changed(self) -> InputError:
        """The error for a file that is not what it was when it was opened."""
        return InputError("changed while it was read", "run again", path=self.name)

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


_KIND: dict[type, str] = {
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _stdin() -> io.BufferedReader:
    if sys.stdin is None:  # started with it closed
        raise UsageError("standard input is closed", "give a file", path="<stdin>")
    return cast("io.BufferedReader", sys.stdin.buffer)


def _state(stream: BinaryIO) -> tuple[int, int] | None:
    """What changes when somebody writes to a file; None where that means nothing."""
    status = os.fstat(stream.fileno())
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _past_blanks(text: str, at: int) -> int:
    return cast("re.Match[str]", _BETWEEN.match(text, at)).end()


def one_line(raw: bytes) -> bytes:
    """`raw` with the line breaks between its JSON parts made spaces."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in raw or b"\r" in raw else raw
