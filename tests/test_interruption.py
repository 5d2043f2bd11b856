"""Killed, terminated, interrupted at random moments: old file or new file, and nothing is lost.

The default run tries a few moments; ``-m slow`` all 50 of each signal and command.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from gip_cli.embeddings import open_embeddings
from tests.judge.server import JudgeServer
from tests.toys import GIP, embed, gip, process, store_given, write_rows

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
MOMENTS = [pytest.param(1, id="few"), pytest.param(50, id="fifty", marks=pytest.mark.slow)]
# How a process may end that was sent the signal: done before, by its default, by our handler.
ENDS = {
    signal.SIGKILL: {0, -9},
    signal.SIGTERM: {0, -15, 143},
    signal.SIGINT: {0, -2, 130},
}
ROWS = 1500

Files = dict[str, bytes]


def interrupted(command: Sequence[object], number: signal.Signals, after: float) -> int:
    """Run, send the signal after some seconds, wait for the end; its code."""
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    errors = process.communicate()[1].decode()
    assert "Traceback" not in errors, errors
    return process.returncode


def files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with a number, and vectors for them, in a folder of their own."""
    pool = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, 32)).astype(np.float32)
    lines = [f'{{"text": "row {n}", "up": {rng.integers(100)}}}\n' for n in range(ROWS)]
    pool.write_text("".join(lines))
    store_given(pool, vectors)
    return pool


def score(pool: Path, out: Path, old: bool) -> list[object]:
    return ["score", pool, "-o", out / "scored.jsonl", "--metadata", f"{'ab'[old]}=up"]


def select(pool: Path, out: Path, old: bool) -> list[object]:
    return ["select", pool, "-k", 90 + old, "-o", out / "small.jsonl"]


def embed_given(pool: Path, out: Path, old: bool) -> list[object]:
    dtype = "float16" if old else "float32"
    return ["embed", pool, "-o", out / "new.npy", "--vectors", pool.with_name("vectors.npy"),
            "--dtype", dtype]  # fmt: skip


def visible(files: Files) -> Files:
    """Without the time, which a receipt tells, and files that only gip looks at."""
    return {
        name: data[: data.find(b'"time"')] if name.endswith("receipt.json") else data
        for name, data in files.items()
        if not name.startswith(".")
    }


@pytest.mark.parametrize("moments", MOMENTS)
@pytest.mark.parametrize("command", [score, select, embed_given])
def test_targets_are_old_or_new_and_a_rerun_is_as_if_nothing_had_happened(
    command: Callable[[Path, Path, bool], list[object]], moments: int, pool: Path, tmp_path: Path
) -> None:
    whole: list[Files] = []
    for old in (False, True):
        started = time.monotonic()
        assert process(*command(pool, tmp_path, old)).returncode == 0
        duration = time.monotonic() - started
        whole.append(visible(files_of(tmp_path)))
    assert whole[0] != whole[1]
    rng = random.Random(command.__name__)
    old = False
    for number in SIGNALS * moments:
        after = rng.uniform(0.2, 1) * duration  # before that Python itself is starting
        code = interrupted([GIP, *command(pool, tmp_path, old)], number, after)
        assert code in ENDS[number]
        found = files_of(tmp_path)
        assert visible(found).keys() == whole[0].keys()
        for name, data in visible(found).items():
            assert data in (whole[0][name], whole[1][name]), name
        left = [name for name in found if name.endswith(".tmp")]
        assert not left or number == signal.SIGKILL
        for name in left:
            (tmp_path / name).unlink()
        if command is embed_given:  # a store is old or new as a whole
            open_embeddings(tmp_path / "new.npy")
        assert gip(*command(pool, tmp_path, old)).returncode == 0
        assert visible(files_of(tmp_path)) == whole[old]
        old = not old


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("options", "signals", "kept"),
    [([], 1, 0), (["--keep-partial"], 1, 9), (["--keep-partial"], 2, 0)],
)
def test_picks_that_are_all_made_are_kept_if_asked_unless_interrupted_twice(
    options: list[str], signals: int, kept: int, number: signal.Signals, pool: Path, tmp_path: Path
) -> None:
    """The receipt goes to a pipe that nobody reads yet: the command waits amid its writing."""
    out, receipt = tmp_path / "small.jsonl", tmp_path / "receipt"
    os.mkfifo(receipt)
    command = [GIP, "select", pool, "-k", "9", "-o", out, "--receipt", receipt, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def hear(words: str) -> None:
        while words not in process.stderr.readline():  # type: ignore[union-attr]
            assert process.poll() is None

    while not list(tmp_path.glob("*.tmp")):
        assert process.poll() is None
    process.send_signal(number)
    if options:
        hear("interrupted after 9 picks: keeping what there is")
    if signals == 2:
        process.send_signal(number)
    if kept:
        assert json.loads(receipt.read_bytes())["picked"] == kept
    # A signal just before the pipe is opened would be heard by Python only once it is open.
    errors = process.communicate(timeout=60)[1].splitlines()
    told = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert errors[-1] == f"gip: error: {told}"
    assert process.returncode in ENDS[number] - {0}
    assert (len(out.read_bytes().splitlines()) if out.exists() else 0) == kept
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("options", [[], ["--keep-partial"]])
def test_an_interruption_before_the_first_pick_keeps_nothing_and_says_so_if_asked(
    options: list[str], pool: Path, tmp_path: Path
) -> None:
    """The targets come from a pipe that nobody writes to: the command waits for them."""
    out, target = tmp_path / "small.jsonl", tmp_path / "target"
    os.mkfifo(target)
    command = [GIP, "select", pool, "-k", "9", "-o", out, "--target", target, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with target.open("wb"):  # once the command has opened it
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1].splitlines()
    none = "gip: interrupted before the first pick: nothing is kept"
    assert errors[-2:] == [none, "gip: error: interrupted"] or not options
    assert (none in errors) == bool(options)
    assert process.returncode == 130
    assert not out.exists()


@pytest.mark.parametrize("moments", MOMENTS)
def test_a_judge_run_is_old_or_new_and_asks_again_only_what_was_under_way(
    moments: int, tmp_path: Path
) -> None:
    rows, concurrent = 80, 4
    pool = write_rows(tmp_path / "pool.jsonl", [f"question {n}" for n in range(rows)])
    out, journal = tmp_path / "judged.jsonl", tmp_path / "judged.judge.jsonl"
    with JudgeServer(delay=0.01) as server:

        def command(old: bool) -> list[object]:
            return ["score", pool, "-o", out, "--judge-url", server.url, "--judge-model", "m",
                    "--max-concurrent-requests", concurrent,
                    *["--keep-probabilities"] * old]  # fmt: skip

        whole = []
        for old in (True, False):
            journal.unlink(missing_ok=True)
            started = time.monotonic()
            assert process(*command(old)).returncode == 0
            duration = time.monotonic() - started
            whole.append(out.read_bytes())
        assert whole[0] != whole[1]
        rng, old = random.Random("judge"), True
        for number in SIGNALS * moments:
            journal.unlink()
            server.requests.clear()
            code = interrupted([GIP, *command(old)], number, rng.uniform(0.3, 1) * duration)
            assert code in ENDS[number]
            assert out.read_bytes() in whole
            assert gip(*command(old)).returncode == 0
            assert out.read_bytes() == whole[not old]
            assert rows <= len(server.requests) <= rows + concurrent
            old = not old


DESTRUCTOR = """
import sys, time
from gip_cli.cli.interruption import Interruption
class Slow:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(30)
with Interruption() as interruption:
    try:
        slow = Slow()
        del slow
        time.sleep(30)
    except KeyboardInterrupt:
        print(interruption.number)
print("end", flush=True)
time.sleep(0.5)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_amid_a_destructor_is_not_lost_and_one_at_the_end_is_not_heard(
    number: signal.Signals,
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", DESTRUCTOR], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    told = process.stdout.readline().decode().strip()
    assert told == ("None" if number == signal.SIGINT else str(int(number)))
    assert process.stdout.readline() == b"end\n"
    process.send_signal(number)
    assert process.communicate() == (b"", b"")
    assert process.returncode == 0


IMPORTING = """
import signal, sys, time
from gip_cli.cli import main
from gip_cli.errors import UsageError
made_of_it, number = sys.argv.pop(), int(sys.argv.pop())
class Finder:
    def find_spec(self, name, *_):
        if name == "gip_cli.store":
            try:
                signal.raise_signal(number)
                time.sleep(1)
            except KeyboardInterrupt as interruption:
                try:
                    raise ImportError("initialization failed") from interruption
                except ImportError as error:
                    if made_of_it == "UsageError":  # as the encoder does
                        raise UsageError(f"cannot be loaded ({error})") from None
                    raise
sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize(
    ("number", "code", "made_of_it"),
    [
        (signal.SIGTERM, 143, "ImportError"),
        (signal.SIGINT, 130, "ImportError"),
        (signal.SIGINT, 130, "UsageError"),
    ],
)
def test_a_signal_amid_an_import_that_makes_another_error_of_it(
    number: signal.Signals, code: int, made_of_it: str, tmp_path: Path
) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", ["a"])
    command = [sys.executable, "-c", IMPORTING, "embed", pool, "-o", tmp_path / "pool.npy"]
    run = subprocess.run([*command, str(int(number)), made_of_it], capture_output=True, timeout=60)
    told = {143: "ended by SIGTERM", 130: "interrupted"}[code]
    assert run.returncode == code
    assert run.stderr.decode().splitlines() == [f"gip: error: {told}"]


TWICE = """
import signal, sys
from gip_cli.cli import main
from gip_cli.cli.interruption import Interruption
def interrupting(frame, event, _):
    if event == "call" and frame.f_code is Interruption.__exit__.__code__:
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)
sys.setprofile(interrupting)
main()
"""


def test_a_second_signal_before_they_are_ignored_is_one_line() -> None:
    run = subprocess.run([sys.executable, "-c", TWICE, "--version"], capture_output=True)
    assert (run.returncode, run.stderr) == (130, b"gip: error: interrupted\n")


BUSY = """
import asyncio, sys, time
from contextlib import asynccontextmanager
from gip_cli.cli.interruption import Interruption
from gip_cli.judge import Journal, JudgeItem, Rubric, Usage, Verdict, judge
from gip_cli.judge.answers import Answer
class Busy:
    api = "local"
    async def ask(self, state):
        print("ready", flush=True)
        time.sleep(0.3)
        await asyncio.sleep(0)
        return Answer({}, {name: Verdict(3.0) for name in rubric.ranges}, Usage())
@asynccontextmanager
async def connect():
    yield Busy()
rubric = Rubric.choose()
items = (JudgeItem.of([("user", str(n))]) for n in range(100))
with Interruption() as interruption:
    try:
        with Journal(sys.argv[1], "m", rubric, ["local"]) as journal:
            judge(items, connect, rubric, journal, max_concurrent=1)
    except KeyboardInterrupt:
        print(interruption.number)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_amid_an_answer_is_quiet_where_ctrl_c_is_ignored(
    number: signal.Signals, tmp_path: Path
) -> None:
    """As in the background of a shell script, where asyncio has no handler of its own."""
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    process = subprocess.Popen(
        [*ignoring, sys.executable, "-c", BUSY, tmp_path / "j"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(number)
    said, errors = process.communicate()
    assert (said.split()[-1], errors) == (str(int(number)).encode(), b"")
    lines = (tmp_path / "j").read_bytes().splitlines()
    assert ["key" in json.loads(line) for line in lines] == [False, True]


EMBED = """
import signal, sys
from pathlib import Path
from tests.toys import ToyEncoder, embed
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
pool, target, log, delay = sys.argv[1:]
class Logged(ToyEncoder):
    def encode(self, texts):
        with open(log, "a") as file:
            file.write(f"{len(texts)}\\n")
        return super().encode(texts)
print("ready", flush=True)
try:
    embed(Path(pool), Path(target), Logged(delay=float(delay)), batch_size=4)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("moments", MOMENTS)
@pytest.mark.parametrize("number", SIGNALS)
def test_embedding_loses_at_most_the_batch_under_way(
    number: signal.Signals, moments: int, tmp_path: Path
) -> None:
    moments = max(moments, 3)
    texts = [f"row {n}" for n in range(100 + 20 * moments)]
    pool = write_rows(tmp_path / "pool.jsonl", texts)
    target, log = tmp_path / "pool.npy", tmp_path / "log"
    embed(pool, tmp_path / "clean.npy")
    clean = open_embeddings(tmp_path / "clean.npy")
    command = [sys.executable, "-c", EMBED, str(pool), str(target), str(log)]
    rng = random.Random(int(number))
    for _ in range(moments):
        process = subprocess.Popen([*command, "0.002"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.08))
        process.send_signal(number)
        process.communicate()
        assert process.returncode in ENDS[number]
        if target.exists() or process.returncode == 0:  # the signal came after the last rename
            assert open_embeddings(target).vectors.tobytes() == clean.vectors.tobytes()
    subprocess.run([*command, "0"], check=True, stdout=subprocess.DEVNULL)
    assert files_of_store(target) == files_of_store(tmp_path / "clean.npy")
    encoded = sum(map(int, log.read_text().split()))
    assert len(texts) <= encoded <= len(texts) + moments * 4
    assert not [name for name in files_of(tmp_path) if name.startswith(".pool.npy.")]


def test_two_processes_on_one_target_take_turns(tmp_path: Path) -> None:
    texts = [f"row {n}" for n in range(60)]
    pool = write_rows(tmp_path / "pool.jsonl", texts)
    embed(pool, tmp_path / "clean.npy")
    log = tmp_path / "log"
    command = [sys.executable, "-c", EMBED, str(pool), str(tmp_path / "pool.npy"), str(log), "0.01"]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert sum(map(int, log.read_text().split())) == len(texts)  # no text was encoded twice
    assert (tmp_path / "pool.npy").read_bytes() == (tmp_path / "clean.npy").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_the_real_model_interrupted_at_fifty_moments(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Over and over, until the run is through; then anew."""
    texts = [f"Question {n}: " + f"how much is {n} times {n + 1}? " * (n % 7) for n in range(600)]
    pool = write_rows(tmp_path / "pool.jsonl", texts)
    clean, target = tmp_path / "clean.npy", tmp_path / "pool.npy"
    started = time.monotonic()
    assert gip("embed", pool, "-o", clean).returncode == 0
    duration = time.monotonic() - started
    whole, rng, resumed = files_of_store(clean), random.Random(int(number)), 0
    for _ in range(50):
        command = [GIP, "embed", pool, "-o", target]
        code = interrupted(command, number, rng.uniform(0.6, 1) * duration)
        assert code in ENDS[number]
        begun = any(tmp_path.glob(".pool.npy.*.journal"))
        duration *= 0.9 if code == 0 else 1.0 if begun else 1.1  # other work can slow the machine
        if code == 0 or target.exists():
            assert files_of_store(target) == whole
            for path in tmp_path.glob("pool.*npy"):
                path.unlink()
            (tmp_path / "pool.json").unlink()
        elif rng.random() < 0.3:
            run = gip("embed", pool, "-o", target)
            resumed += b"going on where a run was interrupted" in run.stderr
            assert files_of_store(target) == whole
    assert resumed


def files_of_store(target: Path) -> list[bytes]:
    names = ("npy", "keys.npy", "tokens.npy", "json")
    return [target.with_suffix(f".{name}").read_bytes() for name in names]
