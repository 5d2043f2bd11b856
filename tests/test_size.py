"""A million rows, 2 GB: memory holds offsets and keys, not rows; metadata at disk-like speed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest

from tests.toys import GIP

ROWS = 1_000_000
DIMENSION = 64
MOST_MEMORY = 300e6  # bytes, without the embeddings
LEAST_SPEED = 100e6  # bytes a second of one core

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Cost:
    """What a finished process took: bytes at its peak, seconds of processor time."""

    memory: int
    seconds: float


# A process counts what it was a copy of before it became the command: so it is started by one
# that is small.
LAUNCH = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
sys.exit(process.returncode)
"""


def cost_of(*arguments: object) -> Cost:
    """Run the command to its end, as one core with one thread would."""
    run = subprocess.run(
        [sys.executable, "-c", LAUNCH, GIP, *map(str, arguments)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    kilobytes, seconds = run.stdout.split()
    cost = Cost(int(kilobytes) * 1024, float(seconds))
    print(f"{arguments[0]}: {cost.memory / 1e6:,.0f} MB, {cost.seconds:.1f} s")
    return cost


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Rows of 2 kB with a number each, and unit vectors for them."""
    folder = tmp_path_factory.mktemp("million")
    rng = np.random.default_rng(0)
    words = ["".join(map(chr, rng.integers(97, 123, 6))) for _ in range(2000)]
    filler = " ".join(words)
    with (folder / "pool.jsonl").open("wb") as file:
        for number in range(ROWS):
            start = int(rng.integers(len(filler) - 1900))
            row = {
                "instruction": f"Question {number} about {filler[start : start + 200]}",
                "output": filler[start : start + 1650],
                "meta": {"rating": int(rng.integers(1, 6)), "source": "synthetic"},
            }
            file.write(orjson.dumps(row) + b"\n")
    vectors = rng.standard_normal((ROWS, DIMENSION), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / "vectors.npy", vectors)
    yield folder / "pool.jsonl"
    for path in folder.iterdir():
        path.unlink()


def test_a_million_rows(pool: Path) -> None:
    folder, size = pool.parent, pool.stat().st_size
    assert size > 1.9e9
    score = cost_of("score", pool, "-o", folder / "scored.jsonl",
                    "--metadata", "rating=meta.rating", "--range", "rating=1:5")  # fmt: skip
    assert score.memory < MOST_MEMORY
    assert size / score.seconds > LEAST_SPEED
    cost_of("embed", folder / "scored.jsonl", "-o", folder / "pool.npy",
            "--vectors", folder / "vectors.npy")  # fmt: skip
    select = cost_of("select", folder / "scored.jsonl", "-e", folder / "pool.npy", "-k", 200,
                     "-o", folder / "small.jsonl")  # fmt: skip
    assert select.memory - (folder / "pool.npy").stat().st_size < MOST_MEMORY
    assert (folder / "small.jsonl").read_bytes().count(b"\n") == 200
