"""What reaches a terminal and a pipe, and what files may be named: no raw control, no colour."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.toys import GIP, gip, process, store_given, write_rows

ROOT = Path(__file__).parent.parent
CONTROLS = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # but the newline


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    pool = write_rows(tmp_path / "pool.jsonl", [f"row {n}" for n in range(40)], up=3)
    store_given(pool, np.random.default_rng(0).standard_normal((40, 8)))
    return pool


def on_a_terminal(*arguments: object, code: int = 0, **environment: str) -> bytes:
    """What a command that ends with `code` shows on a terminal, which its streams are."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    process = subprocess.Popen(
        [GIP, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert process.wait() == code
    return shown.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("forced", [{}, {"GITHUB_ACTIONS": "true"}])
def test_no_colour_and_no_progress_where_there_is_no_terminal(
    forced: dict[str, str], pool: Path
) -> None:
    env = os.environ | {"TERM": "xterm-256color"} | forced
    for arguments in (["--help"], ["select", pool, "-k", 5], ["select", "--help"], ["nosuch"]):
        run = gip(*arguments, env=env)
        assert b"\x1b" not in run.stdout + run.stderr
        assert b"\r" not in run.stderr


def test_a_terminal_has_colour_and_progress_and_no_color_has_neither(
    pool: Path, tmp_path: Path
) -> None:
    select = ("select", pool, "-k", 30, "-o", tmp_path / "small.jsonl")
    assert b"\x1b[" in on_a_terminal("--help")
    assert b"\x1b[" in on_a_terminal(*select)
    assert b"\x1b" not in on_a_terminal(*select, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(*select, TERM="dumb")
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", on_a_terminal("--help", NO_COLOR="1"))


def test_bars_show_rows_being_read_and_written_with_rate_and_time_left(tmp_path: Path) -> None:
    """Of how many rows is told by the bytes left, anew each time, which keeps the rate."""

    def bars(*arguments: object) -> list[str]:
        shown = on_a_terminal(*arguments).decode()
        return [re.sub(r"\x1b\[[0-9;?]*\w", "", bar) for bar in re.split(r"[\r\n]+", shown)]

    reading = re.compile(r"reading .* \d+/1[23]\d{3} .*rows/s")
    pool = write_rows(tmp_path / "pool.jsonl", [f"row {n}" for n in range(13_000)], n=1)
    vectors, store = tmp_path / "vectors.npy", tmp_path / "pool.npy"
    np.save(vectors, np.random.default_rng(0).standard_normal((13_000, 8), np.float32))
    assert any(map(reading.match, bars("embed", pool, "--vectors", vectors, "-o", store)))
    score = ("score", pool, "--metadata", "n=n")
    assert any(map(reading.match, bars(*score, "-o", tmp_path / "scored.jsonl")))
    small, rejects = tmp_path / "small.jsonl", tmp_path / "rejects.jsonl"
    shown = bars("select", pool, "-k", 3, "-o", small, "--rejects", rejects)
    assert any(map(reading.match, shown))
    assert any(re.match(r"writing .* \d+/12997 .*rows/s", bar) for bar in shown)
    assert rejects.read_bytes().count(b"\n") == 12_997
    shown = on_a_terminal("select", pool, "-k", 3, "-o", small, "--rejects", "-").decode()
    lines = [line for line in shown.splitlines() if '"text"' in line]
    assert len(lines) == 12_997
    assert all(line.startswith('{"text":"row ') for line in lines[1:])
    assert not any(map(reading.match, bars(*score)))  # rows go to the terminal


def test_a_page_is_not_written_to_a_terminal(pool: Path, tmp_path: Path) -> None:
    small = write_rows(tmp_path / "small.jsonl", ["row 3", "row 9"], up=3)
    for output in ((), ("-o", "/dev/stdout")):
        told = on_a_terminal("report", pool, "-s", small, *output, code=2, TERM="dumb").decode()
        assert told.strip() == (
            "gip: error: a page is for a browser, not for a terminal; pass -o FILE.html"
        )


NASTY = "\x1b]0;owned\x07\x1b[31m\u202e\u0000\u2028"


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([{NASTY: 1}], ["-k", "1"]),
        ([{"messages": [{"role": NASTY}]}], ["-k", "1"]),
        ([{"text": "a", "gip": {"signals": {NASTY: 1}}}, {"text": "b"}], ["-k", "1"]),
        ([{"text": "a", "gip": {"signals": {NASTY: 1}, "ranges": {NASTY: [0, 2]}}},
          {"text": "b", "gip": {"signals": {NASTY: 1}}}], ["-k", "1"]),
        ([{"text": "a", "lang": NASTY}, {"text": "b"}],
         ["-k", "2", "--group-field", "lang", "--group-share", "equal"]),
        ([{"text": "a", "lang": [NASTY]}, {"text": "b"}], ["-k", "2", "--group-field", "lang"]),
    ],
)  # fmt: skip
def test_control_characters_of_a_dataset_never_reach_the_terminal_raw(
    rows: list[dict[str, object]], options: list[str], pool: Path, tmp_path: Path
) -> None:
    nasty = tmp_path / "nasty.jsonl"
    nasty.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    np.save(tmp_path / "two.npy", np.eye(2)[: len(rows)])
    gip("embed", nasty, "-o", tmp_path / "nasty.npy", "--vectors", tmp_path / "two.npy")
    for arguments in (
        ["select", nasty, "-e", tmp_path / "pool.npy", *options],
        ["select", nasty, "-e", tmp_path / "nasty.npy", *options, "-o", tmp_path / "o.jsonl"],
        ["embed", nasty, "-o", tmp_path / "x.npy", "--vectors", tmp_path / "two.npy"],
        ["score", nasty, "--metadata", "s=up", "--require", "-o", tmp_path / "s.jsonl"],
    ):
        said = gip(*arguments).stderr
        assert said
        assert not CONTROLS.search(said), said
        assert "\u202e" not in said.decode()


NAMES = ["with space.jsonl", "ünïcödé 数据.jsonl", "-dash.jsonl", "a'b\"c;$(d).jsonl", "x" * 240]


@pytest.mark.parametrize(
    "name", [*map(os.fsencode, NAMES), b"not utf-8 \xff.jsonl", b"esc\x1b.jsonl"]
)
def test_a_file_may_have_any_name(name: bytes, pool: Path, tmp_path: Path) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    source = folder / os.fsdecode(name)
    source.write_bytes(pool.read_bytes())
    shown = [source.name, "./" + source.name][source.name.startswith("-")]
    run = process("score", "--metadata", "s=up", "-o", "out " + source.name[:100],
              "--", source.name, cwd=folder)  # fmt: skip
    assert run.returncode == 0, run.stderr
    run = process("select", shown, "-e", pool.with_name("pool.npy"), "-k", 3, "-o", "small.jsonl",
              cwd=folder)  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert not CONTROLS.search(run.stderr)
    assert set((folder / "small.jsonl").read_bytes().splitlines()) < set(
        pool.read_bytes().splitlines()
    )


def test_names_that_are_not_utf_8_are_escaped_in_what_is_written(
    pool: Path, tmp_path: Path
) -> None:
    byte, shown = os.fsdecode(b"\xff"), "\\xff"
    rows, out = f"{byte}.jsonl", f"out{byte}.jsonl"
    for part in ("jsonl", "npy", "keys.npy", "tokens.npy", "json"):
        pool.with_suffix(f".{part}").rename(tmp_path / f"{byte}.{part}")

    def ran(*arguments: object) -> bytes:
        run = process(*arguments, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        return run.stdout

    ran("select", rows, "-k", 2, "-e", f"{byte}.npy", "--target", rows, "-o", out)
    receipt = orjson.loads((tmp_path / f"out{byte}.receipt.json").read_bytes())
    assert receipt["input"]["path"] == receipt["beside"]["targets"][0]["path"] == f"{shown}.jsonl"
    assert receipt["options"]["targets"] == [f"{shown}.jsonl"]
    assert receipt["embeddings"]["path"] == f"{shown}.npy"
    (tmp_path / f"out{byte}.receipt.json").unlink()
    ran("select", rows, "-k", 2, "-o", out)  # the embeddings are found beside the rows
    figures = orjson.loads(ran("compare", out, "--pool", rows, "--json"))
    assert list(figures["subsets"]) == [f"out{shown}.jsonl"]
    ran("report", rows, "-s", out, "-o", f"{byte}.html")
    assert (tmp_path / f"{byte}.html").exists()


def test_minus_is_a_stream_both_ways(pool: Path, tmp_path: Path) -> None:
    scored = gip("score", "-", "--metadata", "s=up", input=pool.read_bytes())
    assert scored.returncode == 0
    select = ("select", "-", "-e", tmp_path / "pool.npy", "-k", 3)
    run = gip(*select, "-o", "-", input=scored.stdout)
    assert run.returncode == 0
    assert run.stdout == gip("select", pool, "-k", 3, "--no-signals").stdout
    assert set(run.stdout.splitlines()) < set(pool.read_bytes().splitlines())


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_standard_stream_takes_no_data_with_it(closed: int, pool: Path) -> None:
    """Else messages would go to stdout, or into the file that got the stream's number."""
    small = pool.with_name("small.jsonl")
    command = f"{GIP} select {pool} -k 3 -o {small} {closed}>&-"
    run = subprocess.run(["bash", "-c", command], capture_output=True)
    assert run.returncode == 0
    assert run.stdout == b""
    assert set(small.read_bytes().splitlines()) < set(pool.read_bytes().splitlines())
    run = subprocess.run(
        ["bash", "-c", f"{GIP} score - --metadata s=up {closed}>&-"],
        input=pool.read_bytes(), capture_output=True,
    )  # fmt: skip
    assert b"Traceback" not in run.stderr
    assert run.returncode == {0: 2, 1: 6, 2: 0}[closed]


def test_nobody_hearing_the_messages_does_not_stop_the_work(pool: Path) -> None:
    small = pool.with_name("small.jsonl")
    for end in ("2>/dev/full", "2> >(true)"):
        command = f"{GIP} select {pool} -k 3 -o {small} {end}"
        assert subprocess.run(["bash", "-c", command]).returncode == 0
        assert small.read_bytes().count(b"\n") == 3
        small.unlink()


def test_a_flag_that_blas_raises_is_not_shown() -> None:
    command = """
import sys
import numpy as np
from gip_cli.cli import main
sys.argv = ["gip", "--version"]
try:
    main()
finally:
    np.full((2, 2), np.inf) @ np.zeros(2)
    np.log(np.array([-1.0]))
"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert "encountered in log" in done.stderr
    assert "matmul" not in done.stderr
