"""Every exit code is listed in the help, and driven here by the real command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gip_cli.errors import GipError
from tests.judge.server import Asked, Handler, JudgeServer
from tests.toys import GIP, error_of, process, store_given, write_rows

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    pool = write_rows(tmp_path / "pool.jsonl", ["a", "b", "c", "d"], up=3)
    store_given(pool, np.eye(4))
    return pool


def help_text() -> str:
    return " ".join(process("--help").stdout.decode().split())


def test_every_code_is_in_the_help_and_the_readme() -> None:
    shown = re.search(r"Exit codes: (.*?143 \w+)", help_text())
    assert shown is not None
    listed = {int(code) for code in re.findall(r"\b\d+\b", shown[1])}
    assert listed == {0, *(one.exit_code for one in GipError.__subclasses__()), 129, 130, 141, 143}
    _, table = (ROOT / "README.md").read_text().split("| exit code | meaning |\n| --- | --- |\n")
    rows = table.partition("\n\n")[0].splitlines()
    documented = [int(code) for row in rows for code in row.split("|")[1].split(",")]
    assert sorted(documented) == sorted(listed)


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in GipError.__subclasses__()]
    assert sorted(codes) == [1, 2, 3, 4, 5, 6]


def test_0_done(pool: Path, tmp_path: Path) -> None:
    assert process("select", pool, "-k", 2).returncode == 0
    assert process("--help").returncode == 0
    assert process("--version").stdout.startswith(b"gip ")


def test_1_a_check_did_not_hold(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.jsonl"
    run = process("select", pool, "-k", 2, "-o", out, "--check")
    assert run.returncode == 1
    assert "missing" in error_of(run)
    run = process("select", pool, "-k", 1, "-o", out, "--min-captured", 0.99)
    assert run.returncode == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nosuch"], "No such command"),
        (["select", "POOL"], "budget"),
        (["select", "POOL", "-k", "0"], "not a positive number"),
        (["select", "POOL", "--nosuch"], "--nosuch"),
        (["select", "missing.jsonl", "-k", "2"], "missing.jsonl: no such file"),
        (["select", "POOL", "-k", "2", "-e", "missing.npy"], "no such embeddings"),
        (["select", "POOL", "-k", "2", "-o", "POOL"], "the same file"),
        (["embed", "POOL"], "'--output'"),
        (["embed", "POOL", "-o", "x.bin"], "embeddings are named NAME.npy"),
        (["score", "POOL"], "nothing to score by"),
        (["score", "POOL", "--metadata", "x"], "is not NAME=FIELD"),
        (["score", "POOL", "--metadata", "x=up", "-o", "POOL"], "the same file"),
    ],
)
def test_2_wrong_usage(arguments: list[str], why: str, pool: Path) -> None:
    before = pool.read_bytes()
    run = process(*[str(pool) if one == "POOL" else one for one in arguments])
    assert run.returncode == 2
    assert why in error_of(run)
    assert pool.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["select", "-k", "2"],
        ["embed", "-o", "x.npy", "--vectors", "vectors.npy"],
        ["score", "--metadata", "x=up"],
    ],
)
def test_3_bad_input_data(arguments: list[str], pool: Path, tmp_path: Path) -> None:
    pool.write_bytes(pool.read_bytes() + b'{"text": "e"')
    run = process(*arguments, pool, cwd=tmp_path)
    assert run.returncode == 3
    assert error_of(run).startswith(f"{pool}:5: the file breaks off amid this row")


def test_4_embeddings_that_do_not_belong(pool: Path, tmp_path: Path) -> None:
    write_rows(pool, ["a", "b", "c", "e"])
    run = process("select", pool, "-e", tmp_path / "pool.npy", "-k", 2)
    assert run.returncode == 4
    assert error_of(run).startswith(f"{pool}:4: no embedding in {tmp_path / 'pool.npy'}; run gip")


def test_5_too_many_judge_failures(pool: Path, tmp_path: Path) -> None:
    def broken(handler: Handler, asked: Asked) -> bool:
        handler.json({"error": {"message": "out of order"}}, 500)
        return True

    with JudgeServer(broken) as server:
        run = process("score", pool, "--judge-url", server.url, "--judge-model", "m",
                  "-o", tmp_path / "scored.jsonl", "--max-retries", 0)  # fmt: skip
    assert run.returncode == 5
    assert not (tmp_path / "scored.jsonl").exists()


def test_6_the_system_refused(pool: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        run = process("score", pool, "--metadata", "x=up", stdout=full, stderr=subprocess.PIPE)
    assert run.returncode == 6
    assert error_of(run) == "<stdout>: no space left on device"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_128_and_more_stopped_by_a_signal(
    number: signal.Signals, code: int, pool: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [GIP, "score", "-", "--metadata", "x=up", "-o", out / "scored.jsonl"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(pool.read_bytes())
    process.stdin.flush()
    while not list(out.iterdir()):  # until it is at work
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    errors = process.communicate()[1].decode()
    assert process.returncode == code
    told = "interrupted" if code == 130 else f"ended by {number.name}"
    assert errors == f"gip: error: {told}\n"
    assert list(out.iterdir()) == []


def test_141_the_reader_went_away(pool: Path, tmp_path: Path) -> None:
    write_rows(pool, [f"row {n}" for n in range(20_000)], up=1)
    score = f"{GIP} score {pool} --metadata x=up"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    named = f"head -n 1 {fifo} & {score} -o {fifo}"
    run = subprocess.run(["bash", "-c", named], capture_output=True)
    assert (run.returncode, run.stderr, run.stdout.count(b"\n")) == (141, b"", 1)
    piped = f"{score} | head -n 1; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", piped], capture_output=True)
    assert (run.returncode, run.stderr, run.stdout.count(b"\n")) == (141, b"", 1)
    read, written = os.pipe()
    os.close(read)  # the help is short: a reader could go away too late
    run = subprocess.run([GIP, "--help"], stdout=written, stderr=subprocess.PIPE)
    os.close(written)
    assert (run.returncode, run.stderr) == (141, b"")


def test_a_library_that_ends_the_process_is_heard(pool: Path, tmp_path: Path) -> None:
    """It is no reader that went away."""
    (tmp_path / "threadpoolctl.py").write_text("import sys; sys.exit('no licence')")
    run = subprocess.run(
        [sys.executable, "-c", "from gip_cli.cli import main; main()", "select", pool, "-k", "3"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
    )
    assert (run.returncode, run.stderr) == (1, b"no licence\n")
