"""Run methods one after the other, each in its own process; table and JSON of what they took."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gip_cli.measures import captured_energy, nearest_cosines
from gip_cli.pursuit import default_noise
from tests.benchmarks.methods import PRODUCTS
from tests.benchmarks.pools import BUILD, pool, real_embeddings, self_query

THREADS = os.cpu_count() or 1
# Other processes only ever make a method slower. So the fastest run of each counts, of so many by
# turns with all others, or of as many as began before they had taken so many seconds together.
ROUNDS, ENOUGH = 3, 40.0
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Case:
    """A method on a pool. `limit` is in seconds; a method that needs longer is stopped."""

    method: str
    m: int
    k: int
    dtype: str = "float32"
    limit: float = 120.0


def environment() -> dict[str, str]:
    """This process's, with as many threads for everyone and OpenBLAS left to find its kernels."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    }
    return kept | dict.fromkeys(VARIABLES, str(THREADS))


def picks_of(case: Case) -> Path:
    """Where the picks of a case are left."""
    return BUILD / f"picks-{case.method.replace(' ', '-')}-{case.m}-{case.k}-{case.dtype}.npy"


def measure(case: Case) -> dict[str, Any]:
    """What `tests.benchmarks.measure` says of a case; `failed` says why it could not."""
    picks = picks_of(case)
    command = [sys.executable, "-m", "tests.benchmarks.measure", case.method]
    command += [str(pool(case.m, case.dtype)), str(case.k), str(picks)]
    result: dict[str, Any] = asdict(case) | {"load": os.getloadavg()[0]}
    try:
        done = subprocess.run(
            command, env=environment(), capture_output=True, timeout=case.limit, check=True
        )
    except subprocess.TimeoutExpired:
        return result | {"failed": f"more than {case.limit:.0f} s"}
    except subprocess.CalledProcessError as error:
        return result | {"failed": error.stderr.decode().strip().splitlines()[-1]}
    result |= json.loads(done.stdout)
    if picks.exists() and case.method != "rate":
        result |= worth(case, np.load(picks))
    return result


def worth(case: Case, picks: np.ndarray) -> dict[str, float]:
    """Captured energy of the self query at the default noise, and mean nearest cosine."""
    F = np.load(pool(case.m, case.dtype), mmap_mode="r")
    K = self_query(F)
    s2 = default_noise(case.k, None, K)
    return {
        "captured": captured_energy(F, np.ones(len(F)), picks, K, s2),
        "nearest_cosine": float(nearest_cosines(F, picks).mean()),
    }


def fastest(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The fastest run of a case, how long each took, most memory; one that failed if any did."""
    if failed := [run for run in runs if "failed" in run]:
        return failed[0]
    took = [run["seconds"] for run in runs]
    most = max(run["peak_rss"] for run in runs)
    return runs[int(np.argmin(took))] | {"runs": took, "peak_rss": most}


def run(name: str, cases: list[Case]) -> list[dict[str, Any]]:
    """Measure all cases, print them as a table and write `build/bench/NAME.json`."""
    console = Console(width=max(110, Console().width))
    largest = max(cases, key=lambda case: case.m)
    runs: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    rates = [measure(Case("rate", largest.m, 0))]
    for turn in range(ROUNDS):
        for case, before in runs.items():
            if sum(run.get("seconds", np.inf) for run in before) <= ENOUGH:
                about = f"{case.method}: {case.m:,} rows, k = {case.k:,}, {case.dtype}"
                console.print(f"{turn + 1}: {about}", style="dim")
                before.append(measure(case))
        rates.append(measure(Case("rate", largest.m, 0)))
    results = [fastest(before) for before in runs.values()]
    flops = max(rate["flops"] for rate in rates)
    d = np.load(pool(largest.m, largest.dtype), mmap_mode="r").shape[1]
    for result in results:
        if "seconds" in result and result["method"] in PRODUCTS:
            work = PRODUCTS[result["method"]] * result["m"] * d * result["k"]
            result["bare"] = work / flops
            result["factor"] = result["seconds"] / result["bare"]
    about = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": THREADS,
        "blas": rates[0]["threads"],
        "bare_gflops": flops / 1e9,
        "pools": f"mixed and jittered from {real_embeddings()[1]}",
    }
    path = BUILD / f"{name}.json"
    path.write_text(json.dumps(about | {"results": results}, indent=1, default=str))
    console.print(table(results))
    console.print(
        f"{about['machine']}; {THREADS} threads; products reach {flops / 1e9:.0f} GFLOP/s. {path}"
    )
    return results


def table(results: list[dict[str, Any]]) -> Table:
    shown = Table("method", "rows", "k", box=None)
    columns = (
        "seconds",
        "slowest",
        "of bare",
        "of gip",
        "peak MB",
        "over rows",
        "captured",
        "nearest",
    )
    for column in columns:
        shown.add_column(column, justify="right")
    ours = {
        (result["m"], result["k"]): result.get("seconds")
        for result in results
        if result["method"] == "gip projection" and result["dtype"] == "float32"
    }
    for result in results:
        head = [result["method"], f"{result['m']:,}", f"{result['k']:,}"]
        if result["dtype"] != "float32":
            head[0] += f" ({result['dtype']})"
        if "failed" in result:
            shown.add_row(*head, result["failed"])
            continue
        gip = ours.get((result["m"], result["k"]))
        shown.add_row(
            *head,
            f"{result['seconds']:.2f}",
            f"{max(result['runs']):.2f}",
            f"{result['factor']:.2f}" if "factor" in result else "",
            f"{result['seconds'] / gip:.1f}" if gip else "",
            f"{result['peak_rss'] / 1e6:,.0f}",
            f"{(result['peak_rss'] - result['embeddings']) / 1e6:,.0f}",
            f"{result['captured']:.4f}",
            f"{result['nearest_cosine']:.3f}",
        )
    return shown


def machine() -> str:
    """Processor, cores, memory, and the GPU if there is one."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    about = f"{names[0] if names else platform.machine()}, {THREADS} cores, {memory:.0f} GiB"
    if torch.cuda.is_available():
        about += f", {torch.cuda.get_device_name()}"
    return about
