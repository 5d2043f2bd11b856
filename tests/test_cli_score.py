"""`gip score --metadata`: signals come in, and every other byte of every line stays."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import orjson
import pytest

from gip_cli.signals import strip
from tests.toys import error_of, gip

ROOT = Path(__file__).parent.parent
POOL = ROOT / "sample_data/alpaca.jsonl"
METADATA = ("--metadata", "rating=meta.rating", "--range", "rating=1:5", "--metadata", "up=upvotes")


def test_the_sample_pool_scored_and_stripped_is_the_sample_pool(tmp_path: Path) -> None:
    out = tmp_path / "scored.jsonl"
    run = gip("score", POOL, "-o", out, *METADATA)
    assert run.returncode == 0
    assert run.stderr.decode().splitlines() == [
        "gip: up: scale 0 to 120, as the rows span (--range sets another)",
        "gip: rating: 3 of 204 rows have no number and cannot be picked by it",
        "gip: up: 2 of 204 rows have no number and cannot be picked by it",
        "gip: 204 rows scored",
    ]
    lines = out.read_bytes().splitlines()
    for line, own in zip(lines, POOL.read_bytes().splitlines(), strict=True):
        assert strip(line, orjson.loads(line)) == own
    first = json.loads(lines[0])
    assert first["gip"] == {"signals": {"rating": 1.0, "up": 1.0}, "ranges": {"rating": [1, 5]}}
    assert gip("score", POOL, *METADATA).stdout == out.read_bytes()


def test_odd_bytes_stay_as_they_are(tmp_path: Path) -> None:
    rows = [
        b'{ "up" : 1.50 ,\r"a":"\\u00e9 \xc3\xa9\\/" }',  # a carriage return ends no line
        *(b'{"up":1e2,"a":[ ]}', b'{"up":-0}'),
    ]
    (tmp_path / "pool").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n  ".join(rows))
    run = gip("score", tmp_path / "pool", "--metadata", "s=up")
    out = run.stdout.removesuffix(b"\n").split(b"\n")
    assert [strip(line, orjson.loads(line)) for line in out] == rows
    assert [json.loads(line)["gip"]["signals"]["s"] for line in out] == [1.5, 100.0, 0.0]


def test_an_array_becomes_lines(tmp_path: Path) -> None:
    (tmp_path / "pool").write_bytes(gzip.compress(b'[\n {"up":\n 1},\n {"up": 2}]'))
    run = gip("score", tmp_path / "pool", "--metadata", "s=up")
    assert [json.loads(line)["up"] for line in run.stdout.splitlines()] == [1, 2]


@pytest.mark.parametrize(
    ("row", "options", "why"),
    [
        ({"up": 6}, ["--range", "s=1:5"], "s is 6, outside its range 1:5; widen --range"),
        ({"up": None}, ["--require"], "no number in field 'up'; mend the row (fields: "),
        ({"up": 1, "gip": {"signals": {"s": 1}}}, [], "signal 's' is there already; pass"),
        ({"up": 1, "gip": 3}, [], 'the member "gip" is not one that gip writes; rename'),
    ],
)
def test_what_is_refused_leaves_the_old_file(
    row: dict[str, object], options: list[str], why: str, tmp_path: Path
) -> None:
    pool, out = tmp_path / "pool", tmp_path / "out"
    pool.write_text('{"up": 3}\n' + json.dumps(row) + "\n")
    out.write_bytes(b"old")
    run = gip("score", pool, "-o", out, "--metadata", "s=up", *options)
    assert run.returncode == 3
    assert error_of(run).startswith(f"{pool}:2: {why}")
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("judged", [[], ["--judge-url", "http://[::1]:9/v1", "--judge-model", "m"]])
def test_of_values_outside_their_range_all_are_counted(judged: list[str], tmp_path: Path) -> None:
    """So that the range, or the rows, can be mended at once; what else is wrong has its turn."""
    pool, out = tmp_path / "pool", tmp_path / "out"
    for ups, told in (
        ((3, 6, 1), "; widen --range or mend the row"),
        ((3, 6, 1, 0.5), " (so is 1 more row, from 0.5 to 6); widen --range or mend the rows"),
        ((3, 6, None, 9, 5, 7.5), " (so are 2 more rows, from 6 to 9); widen"),
        ((3, 6, 2, 6), " (so is 1 more row); widen"),
    ):
        rows = [json.dumps({"text": "a", "up": up}) for up in ups]
        for lines in (rows, [*rows, "7", '{"text": "a", "up": 99}']):
            pool.write_text("\n".join(lines))
            run = gip("score", pool, "-o", out, "--metadata", "s=up", "--range", "s=1:5", *judged)
            assert run.returncode == 3
            assert error_of(run).startswith(f"{pool}:2: s is 6, outside its range 1:5{told}")
            assert not out.exists()


def test_a_field_that_no_row_has_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "scored.jsonl"
    run = gip("score", POOL, "-o", out, "--metadata", "q=meta.ratin")
    assert run.returncode == 3
    assert error_of(run).startswith(f"{POOL}: no row has a number in field 'meta.ratin'; fields")
    assert not out.exists()


def test_a_name_of_metadata_and_of_the_judge_is_refused_before_anything_is_asked() -> None:
    run = gip("score", POOL, "--metadata", "accuracy=upvotes", "--judge-model", "m", "--dry-run")
    assert run.returncode == 2
    assert error_of(run).startswith("accuracy is a signal of --metadata and the judge's")


def test_skipped_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "pool").write_bytes(b'{"up":1}\n{"up":\n\n7\n{"up":2}\n')
    run = gip("score", tmp_path / "pool", "--metadata", "s=up", "--skip-bad")
    assert run.returncode == 0
    assert len(run.stdout.splitlines()) == 2
    assert b"2 rows scored" in run.stderr
    assert f"2 bad rows skipped; the first: {tmp_path / 'pool'}:2: not JSON".encode() in run.stderr


def test_a_format_that_is_said_holds_for_metadata_too(tmp_path: Path) -> None:
    """Without one, nothing but the number is read of a row."""
    pool, out = tmp_path / "pool.jsonl", tmp_path / "scored.jsonl"
    pool.write_text('{"text": "a", "up": 1}\n{"q": "b", "up": 2}\n')
    command = ["score", pool, "-o", out, "--metadata", "up=up"]
    assert gip(*command).returncode == 0
    assert out.read_bytes().count(b"\n") == 2
    for said, fault in (
        (["--format", "text"], "not readable as text row: no 'text'"),
        (["--text-field", "text"], "not readable as fields: field 'text' is missing or null"),
    ):
        run = gip(*command, *said)
        remedy = "the rows before it are: mend it or pass --skip-bad"
        assert (run.returncode, error_of(run)) == (3, f"{pool}:2: {fault}; {remedy}")
    pool.write_text('{"text": "a", "up": 1}\n{"question": "b", "answer": "c", "up": 2}\n')
    run = gip(*command, "--format", "text")
    assert error_of(run).endswith(
        "no 'text'; it looks like qa, and a file has one format: convert its rows, embed them "
        "apart, or pass --skip-bad, which leaves them out"
    )
    pool.write_text('{"text": "a", "up": 1}\n{"q": "b", "up": 2}\n')
    run = gip(*command, "--format", "text", "--skip-bad")
    assert run.stderr.decode().splitlines()[-2:] == [
        "gip: 1 row scored",
        f"gip: 1 bad row skipped; the first: {pool}:2: not readable as text row: no 'text'",
    ]
    before = out.read_bytes()
    run = gip(*command, "--format", "alpaca", "--skip-bad")
    assert run.returncode == 3
    assert error_of(run).startswith(f"{pool}: no usable rows: none is of format alpaca; check")
    assert out.read_bytes() == before


def test_scoring_again_adds_to_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "scored.jsonl"
    first = gip("score", POOL, "--metadata", "up=upvotes").stdout
    out.write_bytes(first)
    again = gip("score", out, "--metadata", "rating=meta.rating", "--range", "rating=1:5").stdout
    both = gip("score", POOL, "--metadata", "up=upvotes", *METADATA[:4]).stdout
    assert [json.loads(line) for line in again.splitlines()] == [
        json.loads(line) for line in both.splitlines()
    ]
