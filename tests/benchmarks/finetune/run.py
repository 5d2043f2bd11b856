"""`make bench-finetune`: run what has not run yet, and show all in a table."""

from __future__ import annotations

import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import torch
import typer
from rich.console import Console
from rich.table import Table

from tests.benchmarks.finetune import pools
from tests.benchmarks.finetune.train import EPOCHS, Trainer
from tests.benchmarks.runner import THREADS, machine
from tests.judge.smollm2 import cached

RESULTS = pools.FOLDER / "runs.jsonl"  # beside the subsets that they are of, and gone with them
trainer: Trainer  # a worker's own


@dataclass(frozen=True)
class Run:
    """A model fine-tuned on `METHOD.K.DRAW.jsonl` of a task, its rows shuffled by `seed`."""

    task: str
    method: str
    k: int
    draw: int
    seed: int

    @property
    def rows(self) -> Path:
        return pools.FOLDER / self.task / f"{self.method}.{self.k}.{self.draw}.jsonl"


def runs() -> list[Run]:
    """All runs, so ordered that whoever stops early has every case once."""
    found = []
    for path in pools.FOLDER.glob("*/*.*.*.jsonl"):
        method, k, draw, _ = path.name.split(".")
        seeds = [int(draw)] if method == "random" else range(2 if method == "all" else pools.DRAWS)
        found += [Run(path.parent.name, method, int(k), int(draw), seed) for seed in seeds]
    return sorted(found, key=lambda run: (run.seed, -run.k, run.task, run.method))


def work(run: Run) -> dict[str, Any]:
    rows, held_out = (
        trainer.examples(path) for path in (run.rows, run.rows.with_name("held_out.jsonl"))
    )
    return vars(run) | trainer.run(rows, held_out, run.seed) | {"machine": machine()}


def begin(model: Path, device: str, threads: int) -> None:
    global trainer
    torch.set_num_threads(threads)
    trainer = Trainer(model, device)


def main(
    device: str = "cuda",
    workers: Annotated[int, typer.Option(help="Models trained side by side.")] = 1,
) -> None:
    """Fine-tune on every subset that has no line in build/bench/finetune/runs.jsonl yet."""
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU; --device cpu takes days")
    pools.make()
    done = lines()
    left = [run for run in runs() if not any(vars(run).items() <= line.items() for line in done)]
    setting = cached(), device, max(1, THREADS // workers)
    console = Console(width=110)
    with (
        ProcessPoolExecutor(workers, get_context("spawn"), begin, setting) as pool,
        RESULTS.open("ab") as file,
    ):
        tasks = [pool.submit(work, run) for run in left]
        try:
            for task in as_completed(tasks):
                file.write(orjson.dumps(task.result()) + b"\n")
                file.flush()
                console.print(str(task.result()), style="dim", highlight=False)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    console.print(table(lines()))
    console.print(f"{EPOCHS} epochs at most. One line a run, with its machine: {RESULTS}")


def lines() -> list[dict[str, Any]]:
    """What has run."""
    return [*map(orjson.loads, RESULTS.read_bytes().splitlines())] if RESULTS.exists() else []


def table(results: list[dict[str, Any]]) -> Table:
    """One line a task, method and size: means over its runs, and the deviation of losses."""
    shown = Table("task", "method", "rows", box=None)
    columns = ("runs", "before", "loss", "sd", "of all rows' tokens", "response tokens", "epoch")
    for column in columns:
        shown.add_column(column, justify="right")
    cases: dict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        cases[result["task"], result["k"], result["method"]].append(result)
    for (task, k, method), found in sorted(cases.items()):
        mean = {
            name: float(np.mean([result[name] for result in found]))
            for name in ("before", "loss", "tokens", "response_tokens", "epoch")
        }
        whole = [r["tokens"] for r in results if r["task"] == task and r["method"] == "all"]
        losses = [result["loss"] for result in found]
        shown.add_row(
            task,
            method,
            f"{k:,}",
            str(len(found)),
            f"{mean['before']:.4f}",
            f"{mean['loss']:.4f}",
            f"{np.std(losses, ddof=1):.4f}" if len(losses) > 1 else "",
            f"{mean['tokens'] / whole[0]:.1%}" if whole else "",
            f"{mean['response_tokens']:.0f}",
            f"{mean['epoch']:.1f}",
        )
    return shown


if __name__ == "__main__":
    typer.run(main)
