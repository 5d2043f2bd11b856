"""Rows keep their bytes and their place, whatever holds them; a bad one is named or counted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tracemalloc
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gip_cli.errors import InputError, UsageError
from gip_cli.rows import TOLD, BadRows, Row, RowFile

ROWS = [b'{"a": 1}', b'{ "b":\t"\\u00e4 \xc3\xa4" , "a":1.0}', b'{"a":{"b":[1, 2]}}']


def read(path: Path, *, skip: bool = False) -> list[Row]:
    with RowFile(path, BadRows(skip=skip)) as rows:
        return list(rows)


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(path))


HOLDERS = {
    "lines": b"\n".join(ROWS) + b"\n",
    "no final newline": b"\n".join(ROWS),
    "CRLF": b"\r\n".join(ROWS) + b"\r\n",
    "BOM": b"\xef\xbb\xbf" + b"\n".join(ROWS),
    "BOM amid": b"".join(b"\xef\xbb\xbf%s\n" % row for row in ROWS) + b"\xef\xbb\xbf",
    "blank lines": b"\n \t\n" + b"\n\n\r\n".join(ROWS) + b"\n  \n",
    "indented": b"".join(b"  " + row + b"\t \n" for row in ROWS),
    "gzip": gzip.compress(b"\n".join(ROWS)),
    "gzip in two members": gzip.compress(ROWS[0] + b"\n") + gzip.compress(b"\n".join(ROWS[1:])),
    "array": b"[" + b",".join(ROWS) + b"]",
    "array over lines": b"[\n  " + b",\n  ".join(ROWS) + b"\n]\n",
    "array with BOM": b"\xef\xbb\xbf \n [" + b" , ".join(ROWS) + b"]\n\n",
    "gzipped array": gzip.compress(b"[" + b",".join(ROWS) + b"]"),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_rows_keep_their_bytes_and_are_found_again_by_offset(holder: str, tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(HOLDERS[holder])
    with RowFile(path, BadRows(), reread=True) as rows:
        first, second = list(rows), list(rows)
        assert [row.raw for row in first] == ROWS
        assert [row.value for row in first] == [orjson.loads(raw) for raw in ROWS]
        assert first == second
        assert [rows.read(row.offset, len(row.raw)) for row in reversed(first)] == ROWS[::-1]


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b"\n" + ROWS[0] + b"\n\n" + ROWS[1])
    assert [row.line for row in read(path)] == [2, 4]
    path.write_bytes(b"[\n" + ROWS[0] + b",\n{\n" + b'"a": 2},\n\n' + ROWS[2] + b"]")
    assert [row.line for row in read(path)] == [2, 3, 6]


def test_an_element_over_several_lines_is_written_on_one(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b'[{"a":\r\n 1}]')
    with RowFile(path, BadRows(), reread=True) as rows:
        (row,) = rows
        assert rows.read(row.offset, len(row.raw)) == b'{"a":   1}'


@pytest.mark.parametrize("between", [b",", b",\n"], ids=["on one line", "over lines"])
def test_an_array_is_in_memory_twice_not_more(between: bytes, tmp_path: Path) -> None:
    data = b"[" + between.join(b'{"a": "%s"}' % (b"x" * 1000) for _ in range(4000)) + b"]\n"
    (tmp_path / "pool").write_bytes(data)
    tracemalloc.start()
    with RowFile(tmp_path / "pool", BadRows()) as rows:
        assert sum(1 for _ in rows) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * len(data)


REFUSED = {
    b"": ": no rows",
    b"\n \r\n\n": ": no rows",
    b"[]": ": no rows",
    ROWS[0] + b"\n" + ROWS[0][:-1]: ":2: the file breaks off amid this row; fetch it again, or",
    ROWS[0] + b'\n{"a": 1,': ":2: the file breaks off amid this row",
    b'{"a": "\xe4\xbd': ":1: the file breaks off amid this row",  # amid a character
    ROWS[0][:-1] + b"\n": ":1: not JSON: unexpected end of data at column 8",
    b'{"a": "caf\xe9"}': ":1: not UTF-8; convert the file with iconv",
    ROWS[0] + b"\n\x00\n": ":2: NUL bytes, as in a file that was not written to its end; fetch it",
    ROWS[0][:4] + bytes(9): ":1: NUL bytes",
    b'{"a": "\x00"}': ":1: not JSON",
    b'{"a": "\xff"}': ":1: not UTF-8; convert the file with iconv",
    b"a,b\n1,2": ":1: not JSON: unexpected character, expected a JSON value at the start; conv",
    b'{"a": "\\ud800"}': ":1: not JSON",
    b'{"a": NaN}': ":1: not JSON: NaN and Infinity are no numbers of it, at column 7; write null",
    b'{"\xc3\xa9": -Infinity}': ":1: not JSON: NaN and Infinity are no numbers of it, at column 8",
    b'{"a": 1e999}': ":1: not JSON",
    b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}": ":1: not JSON: depth limit exceeded",
    b'{"a": 1} {"a": 2}': ":1: not JSON",
    b"1\n": ":1: a JSON number where an object was expected",
    b'"x"\n': ":1: a JSON string where an object was expected",
    b'{\n "a": 1\n}\n': ":1: an object over several lines; write one a line: jq -c . FILE",
    b'{"a": 1,\n "b": 2}\n': ":1: an object over several lines; write one a line",
    b'\n{\n "a": 1\n}\n': ":2: an object over several lines",
    b'{"a": 1},\n{"a": 2}\n': ":1: not JSON: unexpected content after document at column 9",
    b'{"a": "in code {\n': ":1: not JSON: unexpected end of data",
    b"\x93NUMPY\x01\x00v\x00{'descr'": ": a NumPy array, not rows; give the file of rows it was",
    b"PAR1\x15\x04": ": a Parquet file, not rows; write it as JSONL",
    b"\x28\xb5\x2f\xfd\x04": ": compressed by zstd; give gip what zstd -dc FILE makes of it",
    bz2.compress(ROWS[0]): ": compressed by bzip2; give gip what bzip2 -dc FILE",
    lzma.compress(ROWS[0]): ": compressed by xz; give gip what xz -dc FILE makes of it",
    b"null\n": ":1: a JSON null where an object was expected",
    ROWS[0] + b"\n[1]\n": ":2: a JSON array where an object was expected",
    b"[1]": ":1: a JSON array where an object was expected",
    b"[INFO] rows follow\n" + ROWS[0]: ":1: not JSON",
    b"[{}, 1]": ":1: a JSON number where an object was expected",
    b'[{"a": NaN}]': ":1: not JSON",
    b'[\n{"a": "\xff"}]': ":2: not UTF-8",
    b'[\n{"a": 1,\n "b": NaN}]': ":3: not JSON: NaN and Infinity are no numbers of it, at column",
    b'{"a": Nan}': ":1: not JSON: unexpected character, expected a JSON value at column 7; mend",
    b'[\n{"a": ' + b"9" * 5000 + b"}]": ":2: not JSON: number is infinity",
    b'[\n{"a": "\x01"}]': ":2: not JSON: unexpected control character",
    b'[{"a": 1},\n{"a"': ":2: the JSON array breaks off or is damaged here",
    b'[{"a": 1}\n{"a": 2}]': ":2: the JSON array breaks off or is damaged here",
    b'[{"a": 1},]': ":1: the JSON array breaks off or is damaged here",
    b'[{"a": 1}': ":1: the JSON array breaks off or is damaged here",
    b"[" * 100_000: ":1: not JSON: depth limit exceeded",
    b'[{"a": ' + b"[" * 100_000: ":1: a row of the JSON array is nested too deeply",
    b'[{"a": 1}]\n{"a": 2}': ":1: text after the end of the JSON array",
    '{"a": 1}'.encode("utf-16"): ": UTF-16 text; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    '{"a": 1}'.encode("utf-32"): ": UTF-32 text; convert it to UTF-8 (iconv -f UTF-32 -t UTF-8)",
    **{
        text.encode(encoding): f": {encoding[:6]} text; convert it to UTF-8 (iconv -f {encoding} -t"
        for encoding in ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE")
        for text in ('{"a": 1}\n', '[\n{"a": 1}]', '{\n"a": 1}')
    },
    b"\x16\0\0\0\x02a\0": ":1: not JSON: ",  # BSON, whose length comes first
    gzip.compress(
        gzip.compress(b'{"a": 1}', mtime=0), mtime=0
    ): ": gzipped twice; give gip what gzip -dc",
    gzip.compress(b"\n".join(ROWS), mtime=0)[:-9]: ": the gzip stream ends early after line",
    gzip.compress(b"\n".join(ROWS), mtime=0)[:-8]
    + b"12345678": ": the gzip stream is damaged after line",
    gzip.compress(b"\n".join(ROWS), mtime=0) + b"junk": ": the gzip stream is damaged after line",
    gzip.compress(b"", mtime=0)[:10] + b"\xff" * 9: ": the gzip stream is damaged after line 0",
}


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data[:40]))
def test_what_is_not_rows_is_refused_with_its_place(data: bytes, tmp_path: Path) -> None:
    message = refusal(tmp_path / "pool", data)
    assert message.startswith(REFUSED[data])
    assert ";" in message  # a remedy


@pytest.mark.parametrize("reread", [False, True])
@pytest.mark.parametrize("array", [False, True])
def test_skipped_rows_are_counted(array: bool, reread: bool, tmp_path: Path) -> None:
    path = tmp_path / "pool"
    parts = [ROWS[0], b"3", ROWS[1], b'{"a": NaN}', b"null", ROWS[2]]
    path.write_bytes(b"[" + b",\n".join(parts) + b"]" if array else b"\n".join(parts))
    bad = BadRows(skip=True)
    with RowFile(path, bad, reread=reread) as rows:
        assert [row.raw for row in rows] == ROWS
        assert bad.count == 3
        assert str(bad.first).startswith(f"{path}:2: a JSON number")
        if reread:
            list(rows)
            assert bad.count == 3  # not six


@pytest.mark.parametrize("first", [b"[1, 2]", b"[INFO] rows follow"])
def test_a_first_line_in_brackets_is_a_bad_row_and_no_array(first: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b"\n".join([first, *ROWS]))
    assert [row.raw for row in read(path, skip=True)] == ROWS


def test_a_file_of_nothing_but_bad_rows_is_no_pool(tmp_path: Path) -> None:
    (tmp_path / "pool").write_bytes(b"1\n2\n")
    why = r"no usable rows \(2 bad rows skipped; the first: .*pool:1: .*\); expected JSON objects"
    with pytest.raises(InputError, match=why):
        read(tmp_path / "pool", skip=True)


def test_damage_is_told_after_the_last_line_that_could_be_read(tmp_path: Path) -> None:
    (tmp_path / "pool").write_bytes(gzip.compress(b"\n".join(ROWS) + b"\n")[:-8])
    for reread in (False, True):
        with (
            pytest.raises(InputError, match="ends early after line 3"),
            RowFile(tmp_path / "pool", BadRows(), reread=reread) as rows,
        ):
            list(rows)


def test_damage_of_an_array_that_is_read_once_is_told(tmp_path: Path) -> None:
    (tmp_path / "pool").write_bytes(gzip.compress(b"[" + b",\n".join(ROWS) + b"]")[:-8])
    with pytest.raises(InputError, match="ends early after line 1"):
        read(tmp_path / "pool")


TOLD_ROWS = b'{"a": 1}\n' * (2 * TOLD)


@pytest.mark.parametrize(
    ("data", "reread", "total"),
    [
        (TOLD_ROWS, False, 2 * TOLD),
        (TOLD_ROWS, True, 2 * TOLD),
        (gzip.compress(TOLD_ROWS), True, 2 * TOLD),
        (gzip.compress(TOLD_ROWS), False, None),  # its bytes are not those of the rows
    ],
    ids=["lines", "lines reread", "gzip reread", "gzip"],  # its bytes hold the time
)
def test_how_many_rows_are_read_is_told_and_of_how_many_if_that_is_known(
    data: bytes, reread: bool, total: int | None, tmp_path: Path
) -> None:
    path, told = tmp_path / "pool", []
    path.write_bytes(data)
    with RowFile(path, BadRows(), reread=reread) as rows:
        rows.on_progress = lambda *done: told.append(done)
        list(rows)
    assert told == [(TOLD, total), (2 * TOLD, total)]


def test_of_a_file_that_is_emptied_while_it_is_read_rows_are_told_until_it_is_noticed(
    tmp_path: Path,
) -> None:
    path, told = tmp_path / "pool.json", []
    path.write_bytes(b"[" + b",".join([b"{}"] * TOLD) + b"]")  # read whole, at once
    with RowFile(path, BadRows(), reread=True) as rows:
        rows.on_progress = lambda *done: told.append(done)
        with pytest.raises(InputError, match="changed while it was read"):
            for _ in rows:
                os.truncate(path, 0)
    assert told == [(TOLD, TOLD)]


def test_a_pipe_can_be_read_twice(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, HOLDERS["CRLF"])
    os.close(writing)
    with RowFile(f"/dev/fd/{reading}", BadRows(), reread=True) as rows:
        assert [row.raw for row in rows] == [row.raw for row in rows] == ROWS
        assert rows.read(0, 8) == ROWS[0]
    os.close(reading)


def test_gzip_from_a_pipe_is_told_by_its_first_byte() -> None:
    """All that has come when it is looked at, where whatever writes it is slow."""
    reading, writing = os.pipe()
    packed = gzip.compress(HOLDERS["lines"])
    os.write(writing, packed[:1])
    with RowFile(f"/dev/fd/{reading}", BadRows()) as rows:
        os.write(writing, packed[1:])
        os.close(writing)
        assert [row.raw for row in rows] == ROWS
    os.close(reading)


@pytest.mark.parametrize("change", [b"x", b""])
def test_a_file_that_changes_meanwhile_is_noticed(change: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b"\n".join(ROWS))
    with RowFile(path, BadRows(), reread=True) as rows:
        (*_, last) = rows
        path.write_bytes(path.read_bytes() + change)
        os.utime(path)
        with pytest.raises(InputError, match="changed while it was read; run again"):
            rows.read(last.offset, len(last.raw))
        with pytest.raises(InputError, match="changed while it was read"):
            list(rows)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("left", [1000, 1003])  # at a line's end, and amid a row
def test_a_file_that_is_cut_while_it_is_read_once_is_noticed(
    left: int, skip: bool, tmp_path: Path
) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b'{"a": 1}\n\n' * 100_000)
    with (
        RowFile(path, BadRows(skip=skip), reread=False) as rows,
        pytest.raises(InputError, match="changed while it was read; run again"),
    ):
        for row in rows:
            if row.line == 1:
                os.truncate(path, 500_000 + left)


def test_a_file_that_is_read_once_may_grow(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b"\n".join(ROWS) + b"\n")
    with RowFile(path, BadRows(), reread=False) as rows, path.open("ab") as file:
        for row in rows:
            file.write(row.raw + b"\n")
            if row.line == len(ROWS):
                file.flush()
        assert path.read_bytes().count(b"\n") >= 2 * len(ROWS)


@pytest.mark.parametrize("name", ["missing", ".", "pool/below"])
def test_a_path_that_is_no_file_is_a_wrong_use(name: str, tmp_path: Path) -> None:
    (tmp_path / "pool").touch()
    with pytest.raises(UsageError, match=r"no such file|a directory|not below a directory"):
        read(tmp_path / name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
objects = st.dictionaries(st.text(max_size=3), json_values, max_size=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@given(values=st.lists(objects, min_size=1, max_size=5), indent=..., packed=...)
def test_lines_and_array_hold_the_same_rows(
    place: Path, values: list[dict[str, object]], indent: bool, packed: bool
) -> None:
    option = orjson.OPT_INDENT_2 if indent else 0
    array = orjson.dumps(values, option=option)
    lines = b"\n".join(map(orjson.dumps, values))
    found = []
    for data in (array, lines):
        (place / "pool").write_bytes(gzip.compress(data, 0) if packed else data)
        found.append([row.value for row in read(place / "pool")])
    assert found == [values, values]
