"""Pools of real rows, and subsets of them: by the `gip` command, at random, by a plain ranking.

Three tasks, each a folder with `pool.jsonl`, `held_out.jsonl` and `METHOD.K.DRAW.jsonl`:

- `scored`: Alpaca, of which 30 % have another row's response, with a rating that knows it: 4 or
  2, and noise of one, from 1 to 5. Of rows rated 5, an eighth of all, next to none are such.
- `targeted`: Alpaca with 1,000 rows of GSM8K among it; wanted is GSM8K, of which 100 rows are the
  examples.
- `unscored`: Alpaca as it is, and nothing else to go by.

`python -m tests.benchmarks.finetune.pools` makes them alone, which takes no GPU.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tests.benchmarks.pools import BUILD, SHARED

FOLDER = BUILD / "finetune"
PARTIAL = BUILD / "finetune.partial"
HELD_OUT = 400  # rows, half to choose the epoch by, half to measure
DRAWS = 3
CORRUPTED = 0.3
Row = dict[str, Any]


def make() -> None:
    """Write all tasks, unless they are there."""
    if FOLDER.exists():
        return
    alpaca, gsm8k = read("alpaca_9k.jsonl"), read("gsm8k_train.jsonl")
    rng = np.random.default_rng(0)
    alpaca = [alpaca[j] for j in rng.permutation(len(alpaca))]
    gsm8k = [gsm8k[j] for j in rng.permutation(len(gsm8k))]
    pool, held_out = alpaca[HELD_OUT:], alpaca[:HELD_OUT]
    sizes = [round(len(pool) * share) for share in (0.05, 0.1, 0.25)]

    scored = corrupt(pool, rng)
    folder = write_task("scored", scored, held_out)
    scale = ("--metadata", "rating=rating", "--range", "rating=1:5")
    gip("score", folder / "pool.jsonl", folder / "scored.jsonl", *scale)
    for k in sizes:
        gip("select", folder / "scored.jsonl", folder / f"gip.{k}.0.jsonl", "-k", str(k))
        # Ties are many, as ratings have one decimal: broken at random.
        top = np.lexsort((rng.random(len(scored)), [-row["rating"] for row in scored]))[:k]
        write(folder / f"top-k.{k}.0.jsonl", [scored[j] for j in top])
        write_random(folder, scored, k, rng)

    mixed = [*pool, *gsm8k[:1000]]
    mixed = [mixed[j] for j in rng.permutation(len(mixed))]
    examples, wanted = gsm8k[1000:1100], read("gsm8k_test.jsonl")[:HELD_OUT]
    folder = write_task("targeted", mixed, wanted)
    write(folder / "examples.jsonl", examples)
    gip("embed", folder / "examples.jsonl", folder / "examples.npy")
    task = ("--target", str(folder / "examples.jsonl"), "--self-weight", "0")
    for k in (500, 1000):
        gip("select", folder / "pool.jsonl", folder / f"gip.{k}.0.jsonl", "-k", str(k), *task)
        near = np.load(folder / "pool.npy") @ np.load(folder / "examples.npy").mean(axis=0)
        write(folder / f"nearest.{k}.0.jsonl", [mixed[j] for j in np.argsort(-near)[:k]])
        write_random(folder, mixed, k, rng)

    folder = write_task("unscored", pool, held_out)
    for k in sizes:
        gip("select", folder / "pool.jsonl", folder / f"gip.{k}.0.jsonl", "-k", str(k))
        write_random(folder, pool, k, rng)
    PARTIAL.rename(FOLDER)


def read(name: str) -> list[Row]:
    """The rows of a shared file, all with Alpaca's keys."""
    path = SHARED / name
    if not path.exists():
        sys.exit(f"{path} is missing: rows of Alpaca and of GSM8K, as JSONL, are needed there")
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [
        {
            "instruction": row.get("instruction", row.get("question")),
            "input": row.get("input", ""),
            "output": row.get("output", row.get("answer")),
        }
        for row in rows
    ]


def corrupt(rows: list[Row], rng: np.random.Generator) -> list[Row]:
    """The rows, some with another's response, and ratings from 1 to 5, which know it roughly.

    Responses go to the next longer, so that length does not tell them; the longest goes to the
    shortest. Of 2,649 three are the same as the row's own.
    """
    bad = rng.choice(len(rows), round(CORRUPTED * len(rows)), replace=False)
    bad = bad[np.argsort([len(rows[j]["output"]) for j in bad], kind="stable")]
    outputs = [row["output"] for row in rows]
    for here, there in zip(bad, np.roll(bad, 1), strict=True):
        outputs[here] = rows[there]["output"]
    quality = np.full(len(rows), 4.0)
    quality[bad] = 2.0
    ratings = np.clip(quality + rng.standard_normal(len(rows)), 1, 5).round(1)
    return [
        row | {"output": output, "rating": float(rating), "corrupted": bool(q < 3)}
        for row, output, rating, q in zip(rows, outputs, ratings, quality, strict=True)
    ]


def write_task(name: str, pool: list[Row], held_out: list[Row]) -> Path:
    """The task's folder, with its pool, embedded, and the rows to measure on."""
    folder = PARTIAL / name
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "pool.jsonl", pool)
    write(folder / "held_out.jsonl", held_out)
    others = [path for path in PARTIAL.glob("*/pool.npy") if path.parent != folder]
    reuse = [word for path in others for word in ("--reuse", str(path))]
    gip("embed", folder / "pool.jsonl", folder / "pool.npy", *reuse)
    write(folder / f"all.{len(pool)}.0.jsonl", pool)
    return folder


def write_random(folder: Path, rows: list[Row], k: int, rng: np.random.Generator) -> None:
    for draw in range(DRAWS):
        drawn = rng.choice(len(rows), k, replace=False)
        write(folder / f"random.{k}.{draw}.jsonl", [rows[j] for j in drawn])


def write(path: Path, rows: list[Row]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def gip(command: str, rows: Path, out: Path, *options: str) -> None:
    """Run `gip COMMAND ROWS -o OUT`, `select` with the embeddings of the task's pool."""
    line = [str(Path(sys.executable).with_name("gip")), command, str(rows), "-o", str(out)]
    if command == "select":
        line += ["-e", str(rows.with_name("pool.npy"))]
    subprocess.run([*line, *options], check=True)


if __name__ == "__main__":
    make()
