"""Rows of instruction data as bytes, value and place.

Rows are read as JSONL, gzipped JSONL or one JSON array, and are never re-serialised: what is
written later is the row's own bytes, found again by offset: a pool larger than memory costs only
its offsets. An array is the exception: while it is read it is in memory as a whole, twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from gip_cli.errors import InputError, NoRowsError
from gip_cli.printable import counted
from gip_cli.storage import LFS_POINTER
from gip_cli.streams import Stream

TOLD = 1 << 12  # rows after which progress is told
_BLANK = b" \t\r\n"
_BETWEEN = re.compile(r"[ \t\r\n]*")
_OPENS_ARRAY = re.compile(rb"\[[ \t\r]*([{\]]|\Z)")  # of rows: a log's "[INFO]" does not
_NO_NUMBERS = ("NaN", "Infinity")  # but Python writes them
_UTF8_BOM = b"\xef\xbb\xbf"
_ENCODED = {  # how JSON begins in other encodings, with a byte order mark and without
    rb"\xff\xfe\0\0|\0\0\xfe\xff": "UTF-32",
    rb"\xff\xfe|\xfe\xff": "UTF-16",
    rb"\0\0\0[\s[{]": "UTF-32BE",
    rb"[\s[{]\0\0\0": "UTF-32LE",
    rb"\0[\s[{]\0[^\0]": "UTF-16BE",
    rb"[\s[{]\0[^\0]": "UTF-16LE",
}
_NO_ROWS = {  # how files begin that hold no rows, or hide them: what they are, and the remedy
    b"\x93NUMPY": ("a NumPy array, not rows", "give the file of rows it was made of"),
    LFS_POINTER: ("a Git LFS pointer, not the file", "fetch that: git lfs pull"),
    b"PAR1": ("a Parquet file, not rows", "write it as JSONL"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "give gip what zstd -dc FILE makes of it"),
    b"\xfd7zXZ": ("compressed by xz", "give gip what xz -dc FILE makes of it"),
    b"PK\x03\x04": ("a zip archive, not rows", "give gip what unzip -p FILE makes of it"),
    b"\x1f\x8b": ("gzipped twice", "give gip what gzip -dc FILE makes of it"),
    b"BZh": ("compressed by bzip2", "give gip what bzip2 -dc FILE makes of it"),
}


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
        self.skip = skip
        self.reset()

    def reset(self) -> None:
        """Forget what was counted: each pass over a file counts anew."""
        self.count = 0
        self.first: InputError | None = None

    def refuse(self, error: InputError) -> None:
        """Raise `error`, or count it when bad rows are to be skipped."""
        if not self.skip:
            raise error
        self.count += 1
        self.first = self.first or error

    @property
    def told(self) -> str:
        """How many rows were skipped, and the first reason; empty if none was."""
        if not self.first:
            return ""
        return f"{counted(self.count, 'bad row')} skipped; the first: {self.first.fault}"

    def beside(self, what: str) -> str:
        """What is wrong with a whole file, and with the rows of it that were skipped, if any."""
        return f"{what} ({self.told})" if self.told else what


class RowFile(Stream):
    """A file of rows, or standard input (``-``): JSONL or a JSON array, gzipped or not.

    Parameters
    ----------
    path, reread
        As `Stream`, whose errors it raises.
    bad : BadRows
        What to do with rows that are not JSON objects.

    Attributes
    ----------
    is_array : bool
        Whether it is a JSON array, as far as it was read.
    on_progress : callable
        Told now and then how many rows are read, and of how many by the bytes left, if that is
        known.
    """

    is_array = False
    on_progress: Callable[[int, int | None], None] = staticmethod(lambda done, total: None)

    def __init__(self, path: str | Path, bad: BadRows, *, reread: bool = False) -> None:
        super().__init__(path, reread=reread)
        self.bad = bad

    def __iter__(self) -> Iterator[Row]:
        """Every row in order; blank lines are passed over.

        Raises
        ------
        InputError
            A line that is not a JSON object (unless bad rows are skipped), a damaged gzip
            stream, an array that breaks off, or (`NoRowsError`) a file without any row.
        """
        self.bad.reset()
        count = 0
        for count, row in enumerate(self._rows(), 1):
            yield row
            if not count % TOLD:
                size, read = self.size, row.offset + len(row.raw)
                # Of a file that is cut meanwhile all are read, and no row less.
                total = None if size is None else round(count * max(size, read) / read)
                self.on_progress(count, total)
        self.check_unchanged()
        if not count:
            raise NoRowsError(
                self.bad.beside("no usable rows") if self.bad.count else "no rows",
                "expected JSON objects, one a line",
                path=self.name,
            )

    def _rows(self) -> Iterator[Row]:
        offset = 0
        seen = False  # only the first row's place can open an array
        for line, raw in enumerate(self.lines(), 1):
            start, offset = offset, offset + len(raw)
            if line == 1:
                for start_of, (what, remedy) in _NO_ROWS.items():
                    if raw.startswith(start_of):
                        raise InputError(what, remedy, path=self.name)
                for start_of, encoding in _ENCODED.items():
                    if re.match(start_of, raw):
                        remedy = f"convert it to UTF-8 (iconv -f {encoding} -t UTF-8)"
                        raise InputError(f"{encoding[:6]} text", remedy, path=self.name)
            while raw.startswith(_UTF8_BOM):  # also where `cat` has joined files that have one each
                raw, start = raw[3:], start + 3
            text = raw.strip(_BLANK)
            if not text:
                continue
            if not seen and _OPENS_ARRAY.match(text):
                del text  # it can be as long as the file
                self.is_array = True
                raw += self.rest()
                yield from self._array(raw, start, line)
                return
            seen = True
            start += raw.index(text)
            if row := self._parse(text, line, start, ended=raw.endswith(b"\n")):
                yield row

    def _parse(self, raw: bytes, line: int, offset: int, *, ended: bool = True) -> Row | None:
        at_line = line
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            at_line += error.lineno - 1  # an array's element can have several
            at = f"column {error.colno}" if error.pos else "the start"
            what, remedy = f"not JSON: {error.msg} at {at}", "mend the line or pass --skip-bad"
            if not ended and _breaks_off(raw):
                self.check_unchanged()
                what = "the file breaks off amid this row"
                remedy = "fetch it again, or pass --skip-bad"
            elif raw.startswith(bytes(2)) or raw.endswith(bytes(2)) or raw == b"\0":
                what = "NUL bytes, as in a file that was not written to its end"
                remedy = "fetch it again, or pass --skip-bad"
            elif not _is_utf8(raw):
                what, remedy = "not UTF-8", "convert the file with iconv, or pass --skip-bad"
            elif _goes_on(raw):
                what = "an object over several lines"
                remedy = "write one a line: jq -c . FILE"
            elif error.doc.startswith(_NO_NUMBERS, error.pos):
                what = f"not JSON: NaN and Infinity are no numbers of it, at {at}"
                remedy = "write null there, or pass --skip-bad"
            elif line == 1 and error.pos == 0:
                remedy = "convert the file to JSONL, one object a line, or pass --skip-bad"
        else:
            if isinstance(value, dict):
                return Row(raw, value, self.name, line, offset)
            what = f"a JSON {_KIND[type(value)]} where an object was expected"
            remedy = "mend the line or pass --skip-bad"
        self.bad.refuse(InputError(what, remedy, path=self.name, line=at_line))
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
            except RecursionError:
                raise InputError(
                    "a row of the JSON array is nested too deeply",
                    "mend it, or write one row a line: jq -c '.[]' FILE",
                    path=self.name,
                    line=line,
                ) from None
            except ValueError:
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

        As `one_line` has them; nothing else of a row ever changes.
        """
        return self.one_line(super().read(offset, length))

    def one_line(self, raw: bytes) -> bytes:
        """A row on one line: breaks in an array's element are made spaces.

        They can only be white space between its parts. A line is one already, with the carriage
        returns that it may hold there.
        """
        return raw.replace(b"\r", b" ").replace(b"\n", b" ") if self.is_array else raw


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


def unquoted(value: Any) -> Any:
    """The number that a text is, as converters of tables leave them; any other value as it is."""
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value.replace("_", "?"))  # Python's digit groups are no data format
    return value


def _breaks_off(raw: bytes) -> bool:
    """Whether a line is how a JSON text begins; it can end amid a character."""
    text = raw.decode(errors="ignore")
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return 0 < error.pos == len(text)
    return False


def _goes_on(raw: bytes) -> bool:
    """Whether a line is the first of an object over several."""
    if raw[:1] != b"{" or raw[-1:] not in (b"{", b","):
        return False
    with suppress(orjson.JSONDecodeError):
        return isinstance(orjson.loads(raw.removesuffix(b",") + b"}"), dict)
    return False


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _past_blanks(text: str, at: int) -> int:
    return cast("re.Match[str]", _BETWEEN.match(text, at)).end()
