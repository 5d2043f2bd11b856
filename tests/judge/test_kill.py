"""SIGKILL at random moments: run again, and the result has the bytes of an uninterrupted run."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.judge.server import JudgeServer

ROWS, KILLS, CONCURRENT = 120, 8, 4

PROGRAM = f"""
import json, sys
from gip_cli.judge import Api, Journal, JudgeItem, Rubric, Server, judge
url, path, out = sys.argv[1:]
rubric, server = Rubric.choose(), Server("m", Api.auto, url)
items = [JudgeItem.of([("user", f"question {{n}}")]) for n in range({ROWS})]
with Journal(path, "m", rubric, server.apis) as journal:
    outcome = judge(items, lambda: server.connect(rubric, print, journal.api), rubric, journal,
                    max_concurrent={CONCURRENT})
    rows = [outcome.verdicts(item.key) for item in items]
with open(out, "w") as file:
    for row in rows:
        shown = {{name: (one.score, one.probabilities) for name, one in row.items()}}
        file.write(json.dumps(shown) + "\\n")
"""


def start(server: JudgeServer, journal: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, server.url, str(journal), str(out)])


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, out, journal = tmp_path / "whole", tmp_path / "out", tmp_path / "j"
    with JudgeServer() as server:
        assert start(server, tmp_path / "clean", whole).wait(60) == 0
    with JudgeServer(delay=0.01) as server:
        for _ in range(KILLS):
            until = len(server.requests) + random.randrange(1, ROWS // KILLS)
            process = start(server, journal, out)
            while process.poll() is None and len(server.requests) < until:
                time.sleep(0.001)
            time.sleep(random.random() * 0.02)
            process.kill()
            process.wait()
            assert not out.exists()
        assert start(server, journal, out).wait(60) == 0
        # Only what was under way when the process died can have been asked for again.
        assert len(server.requests) <= ROWS + KILLS * CONCURRENT
    assert out.read_bytes() == whole.read_bytes()
    assert journal.read_bytes().count(b"\n") == 1 + ROWS
