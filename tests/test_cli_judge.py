"""`gip score` with a judge, as a user runs it, against a real server on 127.0.0.1."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gip_cli.cli import app
from gip_cli.errors import UsageError
from tests import toys
from tests.judge.server import Asked, Handler, JudgeServer, answer, distribution, expected_index
from tests.toys import GIP

KEY = "sk-test-9Xv2LmNoPqRsTuVw"
ROWS = [{"instruction": f"question {n}", "input": "", "output": "a", "n": n} for n in range(6)]
SPACED = '{ "instruction" :"question 6",  "output":"a", "input":"" , "n": 6 }'


@pytest.fixture(autouse=True)
def _no_key_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


def gip(
    *arguments: object, code: int = 0, stdin: bytes | None = None, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command, which must end with `code`; in a process of its own where it needs one."""
    options: dict[str, Any] = {"env": {**os.environ, **more}} if more else {}
    if stdin is not None:
        options["input"] = stdin
    done = toys.gip(*arguments, **options)
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + SPACED + "\n")
    return path


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer() as running:
        yield running


def judge(server: JudgeServer) -> list[object]:
    return ["--judge-url", server.url, "--judge-model", "m"]


def members(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line)["gip"] for line in path.read_text().splitlines()]


def test_tokens_are_told_as_far_as_the_server_counts_them(pool: Path, server: JudgeServer) -> None:
    out = pool.with_name("scored.jsonl")
    said = gip("score", pool, "-o", out, *judge(server)).stderr
    assert b"judge: 7 asked by systemone, 700 input and 0 output tokens\n" in said

    def silent(handler: Handler, asked: Asked) -> bool:
        handler.json({name: one for name, one in answer(asked).items() if name != "usage"})
        return True

    server.fault = silent
    again = ("--journal", pool.with_name("again.jsonl"))
    said = gip("score", pool, "-o", out, *judge(server), *again).stderr
    assert b"judge: 7 asked by systemone, of tokens nothing is told\n" in said


def test_scores_are_spliced_in_and_the_rest_keeps_its_bytes(
    pool: Path, server: JudgeServer
) -> None:
    out = pool.with_name("scored.jsonl")
    done = gip("score", pool, "-o", out, *judge(server))
    assert done.stdout == b""
    assert b"7 to ask, 0 in" in done.stderr
    for raw, line in zip(pool.read_text().splitlines(), out.read_text().splitlines(), strict=True):
        assert line.startswith(raw.rstrip(" }"))
        assert json.loads(line) == {**json.loads(raw), "gip": json.loads(line)["gip"]}
    assert [list(one) for one in members(out)] == [["signals", "ranges"]] * 7
    for row, member in zip([*ROWS, json.loads(SPACED)], members(out), strict=True):
        turns = (row["instruction"], row["output"])
        assert list(member["ranges"]) == ["helpfulness", "accuracy", "reasoning"]
        assert list(member["ranges"].values()) == [[1, 5]] * 3
        for name, score in member["signals"].items():
            assert score == pytest.approx(1 + expected_index(turns, name))


def test_a_second_run_asks_nothing_and_writes_the_same(pool: Path, server: JudgeServer) -> None:
    out = pool.with_name("scored.jsonl")
    gip("score", pool, "-o", out, *judge(server))
    first, asked = out.read_bytes(), len(server.requests)
    assert pool.with_name("scored.judge.jsonl").exists()
    done = gip("score", pool, "-o", out, *judge(server))
    assert out.read_bytes() == first
    assert len(server.requests) == asked == 7
    assert b"0 to ask, 7 in" in done.stderr
    # Into a pipe, with the journal named.
    journal = ["--journal", pool.with_name("scored.judge.jsonl")]
    done = gip("score", "-", *judge(server), *journal, stdin=pool.read_bytes())
    assert done.stdout == first
    assert len(server.requests) == asked


def test_a_complete_journal_needs_neither_key_nor_server_nor_a_place_to_write(
    pool: Path, server: JudgeServer
) -> None:
    journal = pool.parent / "kept" / "judge.jsonl"
    journal.parent.mkdir()
    options = ["-o", "-", "--judge-model", "m", "--judge-api", "systemone", "--journal", journal]
    url = ["--judge-url", server.url]
    first = gip("score", pool, *url, *options).stdout
    asked = len(server.requests)
    kept = journal.read_bytes() + b'{"key": "00'  # torn, as by a kill
    journal.write_bytes(kept)
    journal.chmod(0o444)
    journal.parent.chmod(0o555)
    elsewhere = ["--judge-url", "http://127.0.0.1:1/v1", "--api-key-env", "NO_SUCH_KEY"]
    for place in ([], elsewhere):  # OpenAI's own, without a key
        done = toys.gip("score", pool, *place, *options, preexec_fn=toys.powerless)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout == first
        assert b"0 to ask, 7 in" in done.stderr
    # What is missing is told with the key, before anything is asked or written.
    with pool.open("a") as file:
        print('{"instruction": "new", "output": "b"}', file=file)
    for row_count in ("1 row", "2 rows"):
        done = gip("score", pool, *options, code=2)
        told = f"{row_count} to ask about, 7 in {journal}: no API key: OPENAI_API_KEY is not in"
        assert told in toys.error_of(done)
        with pool.open("a") as file:
            print('{"instruction": "newer", "output": "b"}', file=file)
    done = toys.gip("score", pool, *url, *options, preexec_fn=toys.powerless)
    assert done.returncode == 6
    assert "judge.jsonl: write-protected" in toys.error_of(done)
    assert journal.read_bytes() == kept
    assert len(server.requests) == asked
    gip("score", pool, "--judge-model", "m", "-o", pool.with_name("scored.jsonl"), code=2)
    assert not pool.with_name("scored.judge.jsonl").exists()


def test_a_row_that_is_added_after_the_answers_were_counted_is_one_line(
    tmp_path: Path, server: JudgeServer
) -> None:
    many = tmp_path / "many.jsonl"
    many.write_text('{"text": "the same"}\n' * 10_000)
    gip("score", many, *judge(server))
    command = [GIP, "score", many, *map(str, judge(server)), "-o", tmp_path / "scored.jsonl"]
    command += ["--journal", many.with_suffix(".judge.jsonl")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"0 to ask, 1 in" not in process.stderr.readline():
            assert process.poll() is None
        with many.open("a") as file:
            file.write('{"text": "another"}\n')
        said = process.stderr.read().decode()
    assert (process.returncode, said.count("\n")) == (3, 1), said
    assert f"{many}: changed while it was read; run again" in said
    assert len(server.requests) == 1


def test_a_row_that_changes_while_scores_are_written_is_one_line(
    tmp_path: Path, server: JudgeServer
) -> None:
    long = tmp_path / "long.jsonl"  # more than pipe and buffers hold
    long.write_text("".join(json.dumps({"text": f"{n} " * 20_000}) + "\n" for n in range(10, 20)))
    command = [GIP, "score", long, *map(str, judge(server))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        with long.open("r+b") as file:
            file.seek(-20, os.SEEK_END)
            file.write(b"X")
        said = process.communicate()[1].decode().splitlines()
    assert process.returncode == 3
    assert said[-1] == f"gip: error: {long}:10: changed since it was judged; run again"


def test_without_an_output_file_the_journal_lies_beside_the_input(
    pool: Path, server: JudgeServer
) -> None:
    gip("score", pool, *judge(server))
    assert pool.with_name("pool.judge.jsonl").exists()
    for stream in ("-", "/dev/stdin"):  # beside which nothing lies
        done = gip("score", stream, *judge(server), stdin=pool.read_bytes(), code=2)
        assert b"--journal PATH" in done.stderr
    with pool.open() as file:
        assert (
            subprocess.run([GIP, "score", "/dev/stdin", *judge(server)], stdin=file).returncode == 2
        )


def test_standard_output_is_not_the_journal_by_another_name(
    pool: Path, server: JudgeServer
) -> None:
    journal = pool.with_name("pool.judge.jsonl")
    with journal.open("wb") as file:
        done = subprocess.run(
            [GIP, "score", pool, *judge(server)], stdout=file, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert b"journal and output are the same file" in done.stderr
    assert journal.read_bytes() == b""
    assert server.requests == []


def test_keep_probabilities_and_metadata_in_one_run(pool: Path, server: JudgeServer) -> None:
    out = pool.with_name("scored.jsonl")
    options = ["--attribute", "accuracy", "--keep-probabilities", "--metadata", "order=n"]
    gip("score", pool, "-o", out, *judge(server), *options)
    for row, member in zip([*ROWS, json.loads(SPACED)], members(out), strict=True):
        turns = (row["instruction"], row["output"])
        assert member["signals"]["order"] == row["n"]
        assert member["ranges"] == {"accuracy": [1, 5]}
        assert member["judge"]["accuracy"]["confidence"] == 0.5
        assert member["judge"]["accuracy"]["probabilities"] == pytest.approx(
            distribution(turns, "accuracy")
        )
    # Scored anew from metadata: what the judge said of its old score goes, also its range.
    anew = gip("score", out, "--metadata", "accuracy=n", "--overwrite").stdout.splitlines()
    assert [json.loads(line)["gip"] for line in anew] == [
        {"signals": {"order": n, "accuracy": n}} for n in range(7)
    ]
    # Judged again without: what was kept for the attribute goes with its old score.
    done = gip("score", out, *judge(server), "--attribute", "accuracy", code=3)
    assert b"scored.jsonl:1: signal 'accuracy' is there already; pass --overwrite" in done.stderr
    again = ["--attribute", "accuracy", "--overwrite", "-o", pool.with_name("again.jsonl")]
    gip("score", out, *judge(server), *again)
    assert all("judge" not in member for member in members(pool.with_name("again.jsonl")))


@pytest.mark.parametrize(
    ("row", "options", "said"),
    [
        ({"n": None}, ["--require"], "no number in field 'n'"),
        ({"n": 9}, ["--range", "order=0:7"], "order is 9, outside its range 0:7"),
        ({"gip": {"mine": 1}, "n": 7}, ["--overwrite"], 'the member "gip" is not one that gip'),
        ({}, ["--metadata", "order=m"], "no row has a number in field 'm'"),
    ],
    ids=["missing", "outside", "foreign", "none"],
)
def test_rows_that_cannot_be_scored_are_found_before_anything_is_asked(
    row: dict[str, Any], options: list[str], said: str, pool: Path, server: JudgeServer
) -> None:
    with pool.open("a") as file:
        print(json.dumps(ROWS[0] | row), file=file)
    metadata = [] if options[0] in ("--metadata", "--overwrite") else ["--metadata", "order=n"]
    done = gip("score", pool, *judge(server), *metadata, *options, code=3)
    assert said.encode() in done.stderr
    assert server.requests == []


@pytest.mark.parametrize("beside", [[], ["--metadata", "order=n", "--range", "order=0:9"]])
@pytest.mark.parametrize("name", ["accuracy", "order"])
def test_scores_outside_their_range_are_mended_by_scoring_again(
    name: str, beside: list[str], pool: Path, server: JudgeServer
) -> None:
    odd = {"signals": {name: 99}, "ranges": {name: [1, 5]}}
    pool.write_text(json.dumps(ROWS[0] | {"n": 7, "gip": odd}) + "\n")
    scored = name == "accuracy" or bool(beside)
    done = gip("score", pool, *judge(server), *beside, "--overwrite", code=0 if scored else 3)
    if scored:
        assert json.loads(done.stdout)["gip"]["signals"][name] <= 9
    else:
        assert b"signal 'order' is 99, outside its range 1:5" in done.stderr


def test_probabilities_that_there_are_none_of_are_told_and_not_attached(
    pool: Path, server: JudgeServer
) -> None:
    """Where auto falls back to chat, and of an answer that has none of one attribute."""
    out = pool.with_name("scored.jsonl")
    command = ("score", pool, "-o", out, *judge(server), "--keep-probabilities")

    def silent(handler: Handler, asked: Asked) -> bool:
        value = answer(asked)
        if asked.turns[0] == "question 2":
            del value["answers"]["accuracy"]["probabilities"]
        handler.json(value)
        return True

    server.fault = silent
    assert b"judge: 1 score has no probabilities to keep: systemone gave none\n" in (
        gip(*command).stderr
    )
    assert members(out)[2]["judge"]["accuracy"] == {"probabilities": None, "confidence": 0.5}

    def only_chat(handler: Handler, asked: Asked) -> bool:
        if asked.path.endswith("/systemone"):
            handler.json({}, 404)
        return asked.path.endswith("/systemone")

    server.fault = only_chat
    for asked in (7, 0):  # also where the journal has all answers
        said = gip(*command, "--journal", pool.with_name("chat.jsonl")).stderr
        assert b"judge: 21 scores have no probabilities to keep: chat gave none\n" in said
        assert (b"7 asked by chat" in said) == bool(asked)
        assert not any("judge" in member for member in members(out))
    done = gip(*command, "--judge-api", "chat", code=2)
    assert b"--keep-probabilities: --judge-api chat gives none; leave it out" in done.stderr


def test_a_dry_run_asks_nothing_and_leaves_nothing(pool: Path, server: JudgeServer) -> None:
    out = pool.with_name("scored.jsonl")
    before = sorted(pool.parent.iterdir())
    done = gip("score", pool, "-o", out, *judge(server), "--dry-run", "--price-per-mtok", 0.1)
    assert b"7 rows, 7 distinct, 0 in the journal" in done.stdout
    assert b"7 requests, about" in done.stdout
    assert b"4 characters a token, reckoned" in done.stdout
    assert b"about $0.00 at $0.1" in done.stdout
    assert server.requests == []
    assert sorted(pool.parent.iterdir()) == before
    gip("score", pool, "-o", out, "--judge-model", "m", "--dry-run")  # no key is needed to reckon
    # Of a stream there is no place for a journal, nor need of one.
    rows = b"x\n" + pool.read_bytes()
    done = gip("score", "-", *judge(server), "--dry-run", "--skip-bad", stdin=rows)
    assert b"7 requests, about" in done.stdout
    assert b"gip: 1 bad row skipped; the first: <stdin>:1: not JSON" in done.stderr


def test_a_dry_runs_answer_is_its_output_and_comes_quiet_or_not(pool: Path) -> None:
    command = ("score", pool, "--judge-model", "m", "--dry-run")
    loud, quiet = gip(*command), gip(*command, "-q")
    assert quiet.stdout == loud.stdout != b""
    assert quiet.stderr == b""
    assert b"dry run" not in loud.stderr


def test_a_dry_run_reckons_by_the_kind_of_answers_that_the_journal_holds(
    pool: Path, server: JudgeServer
) -> None:
    """A chat model reads the rubric as prose, a decision model as JSON."""

    def reckoned(*options: object) -> bytes:
        done = gip("score", pool, *judge(server), "--dry-run", *options)
        [said] = re.findall(rb"dry run: (7 requests, about .*)", done.stdout)
        return bytes(said)

    by_decisions, by_chat = reckoned(), reckoned("--judge-api", "chat")
    assert by_decisions != by_chat
    one = pool.with_name("one.jsonl")
    one.write_text('{"text": "another row"}\n')
    journal = ("--journal", pool.with_name("answers.jsonl"))
    gip("score", one, *judge(server), "--judge-api", "chat", *journal)
    assert reckoned(*journal) == by_chat


def test_a_host_that_takes_no_connection_is_not_told_as_slow(pool: Path) -> None:
    with socket.socket() as silent, contextlib.ExitStack() as waiting:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        for _ in range(4):  # more than wait to be accepted: whoever comes is not answered
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(silent.getsockname())
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        options = ["--judge-url", url, "--judge-model", "m", "--timeout", 1, "--max-retries", 0]
        said = gip("score", pool, *options, code=5).stderr.decode()
    assert said.count(f"{url}: no connection yet (no answer in time)") == 1
    assert "slow" not in said


def test_a_server_that_is_not_there_is_told_once_before_the_retries(pool: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{free.getsockname()[1]}/v1"
    command = ["score", pool, "--judge-url", url, "--judge-model", "m", "--max-retries"]
    said = gip(*command, 1, code=5).stderr.decode()
    assert said.count(f"{url.replace('user:secret@', '')}: no connection yet (") == 1
    with subprocess.Popen([GIP, *map(str, command), "20"], stderr=subprocess.PIPE) as run:
        assert run.stderr is not None
        while b"no connection" not in (line := run.stderr.readline()):
            assert line
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
    assert run.returncode == 130
    assert b"interrupted" in rest
    assert b"answers so far" not in rest  # there are none


def test_too_many_failures_leave_the_old_output_and_the_journal(
    pool: Path, server: JudgeServer
) -> None:
    def two_refused(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] not in ("question 1", "question 2"):
            return False
        handler.json({"error": {"message": "context too long"}}, 400)
        return True

    server.fault = two_refused
    out = pool.with_name("scored.jsonl")
    out.write_text("old\n")
    done = gip("score", pool, "-o", out, *judge(server), code=5)
    assert out.read_text() == "old\n"
    assert re.search(rb"judge: 7 asked by systemone, [\d,]+ input and [\d,]+ output", done.stderr)
    assert (
        b"2 of 7 distinct rows (28.6%) lack a score (2 HTTP 400); the last: context too long"
        in (done.stderr)
    )
    done = gip("score", pool, "-o", out, *judge(server), "--max-failure-rate", 1)
    assert b"2 of 7 distinct rows lack a score (2 HTTP 400); null is attached" in done.stderr
    assert [member["signals"]["accuracy"] is None for member in members(out)] == [
        n in (1, 2) for n in range(7)
    ]
    assert len(server.requests) == 7 + 2


@pytest.mark.parametrize(("status", "again"), [(400, 0), (413, 0), (422, 0), (403, 1), (500, 1)])
def test_a_row_that_the_server_refuses_as_it_is_keeps_no_run_from_the_journal_alone(
    status: int, again: int, pool: Path, server: JudgeServer
) -> None:
    def refused(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] == "question 1":
            handler.json({"error": {"message": "context too long"}}, status)
        return asked.turns[0] == "question 1"

    server.fault = refused
    out, rate = pool.with_name("scored.jsonl"), ("--max-failure-rate", 0.2, "--max-retries", 0)
    lasting = b"1 of these will not be asked about again, unless you delete the lines with "
    first = gip("score", pool, "-o", out, *judge(server), *rate)
    told = f"1 of 7 distinct rows lacks a score (1 HTTP {status}); null is attached"
    assert told.encode() in first.stderr
    assert (lasting in first.stderr) is (not again)
    before = out.read_bytes()
    second = gip("score", pool, "-o", out, *judge(server), *rate)
    assert f"{again} to ask, {7 - again} in".encode() in second.stderr
    assert told.encode() in second.stderr
    assert out.read_bytes() == before
    assert len(server.requests) == 7 + again


def test_a_server_that_refuses_row_after_row_is_not_believed_to_mean_the_rows(
    pool: Path, server: JudgeServer
) -> None:
    out, rate = pool.with_name("scored.jsonl"), ("--max-failure-rate", 1, "--max-retries", 0)
    gip("score", pool, "-o", out, *judge(server), *rate)
    with pool.open("a") as file:
        for n in range(30):
            file.write(json.dumps({"instruction": f"more {n}", "output": "yes"}) + "\n")
    server.fault = lambda handler, asked: handler.json({"error": {"message": "no"}}, 400) or True
    gip("score", pool, "-o", out, *judge(server), *rate)
    server.fault = None
    done = gip("score", pool, "-o", out, *judge(server), *rate)
    assert b"30 to ask, 7 in" in done.stderr
    assert not [one for one in members(out) if one["signals"]["accuracy"] is None]


def test_scored_rows_go_on_to_select(pool: Path, server: JudgeServer, tmp_path: Path) -> None:
    import numpy as np

    from gip_cli.embeddings import keys_digest
    from gip_cli.formats import key_of

    def no_accuracy(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] != "question 3":
            return False
        handler.json({"answers": {"accuracy": {"type": "refusal"}}})
        return True

    server.fault = no_accuracy
    out = pool.with_name("scored.jsonl")
    gip("score", pool, "-o", out, *judge(server), "--max-failure-rate", 0.5)
    rows = [json.loads(line) for line in pool.read_text().splitlines()]
    keys = np.array(
        [list(key_of(f"{row['instruction']}\n{row['output']}")) for row in rows], dtype=np.uint8
    )
    np.save(tmp_path / "p.npy", np.eye(7, 8, dtype=np.float32))
    np.save(tmp_path / "p.keys.npy", keys)
    np.save(tmp_path / "p.tokens.npy", np.ones(7, dtype=np.int64))
    card = {"model": "x", "revision": None, "weights": "w", "dimension": 8, "max_length": 0}
    card |= {"overhead": 0, "prompt_prefix": "", "format": "alpaca", "fields": [], "part": "both"}
    description = {"version": 1, "rows": 7, "keys": keys_digest(keys), "dtype": "float32", **card}
    (tmp_path / "p.json").write_text(json.dumps(description))
    done = gip("select", out, "-e", tmp_path / "p.npy", "-k", 7)
    picked = done.stdout.decode().splitlines()
    assert len(picked) == 6
    assert set(picked) == set(pool.read_text().splitlines()) - {json.dumps(ROWS[3])}
    assert b"1 of 7 rows lacks a signal and cannot be picked" in done.stderr


def test_long_rows_are_cut_counted_and_told(tmp_path: Path, server: JudgeServer) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"text": "' + "x" * 50 + '"}\n{"text": "short"}\n')
    done = gip("score", pool, *judge(server), "--max-judge-chars", 20)
    assert b"1 row cut to 20 characters" in done.stderr
    assert sorted(asked.turns for asked in server.requests) == [
        ("short",),
        ("x" * 10, "x" * 10),
    ]
    assert '{"characters_cut": 30}' in server.requests[0].body["state"]


@pytest.mark.parametrize(
    ("number", "background"),
    [
        (signal.SIGINT, False),
        *((number, where) for number in (signal.SIGTERM, signal.SIGHUP) for where in (False, True)),
    ],
)
def test_a_signal_ends_soon_with_the_journal_whole(
    number: signal.Signals, background: bool, pool: Path, server: JudgeServer
) -> None:
    """In the background of a shell script Ctrl-C is ignored, and the other signals are not."""

    def slow(handler: Handler, asked: Asked) -> bool:
        if asked.turns[0] in ("question 0", "question 1"):
            return False
        handler.hang()
        return True

    server.fault = slow
    out = pool.with_name("scored.jsonl")
    command = [GIP, "score", pool, "-o", out, *map(str, judge(server))]
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"] if background else []
    with subprocess.Popen([*ignoring, *command], stderr=subprocess.PIPE) as process:
        while len(server.requests) < 7:
            time.sleep(0.01)
        time.sleep(0.2)
        if background:
            process.send_signal(signal.SIGINT)
        process.send_signal(number)
        started = time.monotonic()
        assert process.wait(10) == 128 + number
        assert time.monotonic() - started < 5
        assert process.stderr is not None
        said = process.stderr.read().decode().splitlines()
    told = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert said[-2].startswith("gip: judge: the answers so far are kept in")
    assert said[-1] == f"gip: error: {told}"
    assert not out.exists()
    assert pool.with_name("scored.judge.jsonl").read_text().count("\n") == 3
    server.fault = None
    gip("score", pool, "-o", out, *judge(server))
    assert len(server.requests) == 7 + 5


def test_the_key_stands_in_no_file_and_no_message(pool: Path, server: JudgeServer) -> None:
    def tattle(handler: Handler, asked: Asked) -> bool:
        handler.json({"error": {"message": f"bad key {asked.headers['authorization']}"}}, 401)
        return True

    options = [*judge(server), "--api-key-env", "MY_KEY", "-o", pool.with_name("scored.jsonl")]
    server.fault = tattle
    refused = gip("score", pool, *options, code=5, MY_KEY=KEY)
    assert b"HTTP 401 (bad key Bearer [key])" in refused.stderr
    without = gip("score", pool, *judge(server), code=5, OPENAI_API_KEY="")
    assert b"HTTP 401 (no API key was sent: bad key Bearer none)" in without.stderr
    server.requests.clear()
    server.fault = None
    done = gip("score", pool, *options, MY_KEY=KEY)
    assert {asked.headers["authorization"] for asked in server.requests} == {f"Bearer {KEY}"}
    written = [path.read_bytes() for path in pool.parent.rglob("*") if path.is_file()]
    for text in (refused.stderr, refused.stdout, done.stderr, done.stdout, *written):
        assert KEY.encode() not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--attribute", "accuracy"], "no judge is named"),
        (["--judge-url", "http://127.0.0.1:1/v1"], "--judge-url without --judge-model"),
        (["--judge-local", "d", "--judge-model", "m"], "--judge-local excludes"),
        (["--judge-local", "d", "--judge-api", "chat"], "--judge-api goes with a server"),
        (["--judge-local", "d", "--api-key-env", "K"], "--api-key-env goes with a server"),
        (
            ["--judge-local", "d", "--max-concurrent-requests", "2"],
            "--max-concurrent-requests goes with a server",
        ),
        (
            ["--judge-local", "d", "--requests-per-minute", "2"],
            "--requests-per-minute goes with a server",
        ),
        (["--judge-local", "d", "--timeout", "2"], "--timeout goes with a server"),
        (["--judge-local", "d", "--max-retries", "2"], "--max-retries goes with a server"),
        (["--judge-model", "m"], "OPENAI_API_KEY is not in the environment"),
        (["--judge-model", "m", "--judge-url", "localhost:8000"], "not the address of a server"),
        (["--judge-model", "m", "--judge-url", "http://é..b/v1"], "not the address of a server"),
        (["--judge-model", "m", "--attribute", "charm", "--dry-run"], "no attribute 'charm'"),
        (["--judge-model", "m", "--rubric", "none.toml", "--dry-run"], "no such file"),
        (["--judge-model", "m", "--judge-url", "http://h/v1?v=1"], "v1, no ? or #"),
        (["--judge-model", "m", "--timeout", "inf"], "not a finite number"),
        (["--judge-model", "m", "--dry-run", "--journal", "POOL"], "not a judge's journal"),
        (["--judge-model", "m", "-o", "o", "--journal", "o"], "journal and output are the same"),
        ([], "pass --metadata NAME=FIELD, --judge-model or --judge-local"),
    ],
)
def test_wrong_usage_is_one_line(
    pool: Path, options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    given = [str(pool) if one == "POOL" else one for one in options]
    before = pool.read_bytes()
    with pytest.raises(UsageError) as caught:
        app(["score", str(pool), *given], standalone_mode=False)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert pool.read_bytes() == before


def test_a_missing_package_is_one_line(pool: Path) -> None:
    program = (
        "import sys; sys.modules['aiolimiter'] = None\n"
        "from gip_cli.cli import main\n"
        f"sys.argv = ['gip', 'score', {str(pool)!r}, '--judge-model', 'm']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr.decode().splitlines()[-1].endswith("pip install '.[judge]' in the clone of gip")
    )
    assert b"Traceback" not in done.stderr


def test_help_and_metadata_never_load_the_judges_packages(pool: Path) -> None:
    program = (
        "import sys; from gip_cli.cli import app\n"
        f"app(['score', {str(pool)!r}, '--metadata', 'n=n'], standalone_mode=False)\n"
        "print(sorted({'openai', 'torch', 'transformers'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr.decode().splitlines()[-1] == "[]"


def test_more_connections_than_files_may_be_open_are_refused(pool: Path) -> None:
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (128, 128))
    judge = ("--judge-url", "http://127.0.0.1:1/v1", "--judge-model", "m", "--dry-run")
    for count, code in ((200, 2), (96, 0)):
        run = toys.gip("score", pool, *judge, "--max-concurrent-requests", count, preexec_fn=few)
        assert run.returncode == code
        told = f"--max-concurrent-requests {count}: of 128 files that may be open at once"
        assert (told in run.stderr.decode()) == bool(code)
