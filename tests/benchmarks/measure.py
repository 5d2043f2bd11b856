"""One method on one pool, alone in this process: `python -m tests.benchmarks.measure ...`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_info

from tests.benchmarks.methods import METHODS

WARM_UP = 300  # rows: compilers, thread pools and lazy imports do their work before the clock runs


def rate(F: np.ndarray, repeats: int = 5) -> float:
    """Most floating-point operations a second of a product (b, d) x (d, m), b from 64 to 256."""
    best, rows = 0.0, F[:100_000].astype(np.float32)
    m, d = rows.shape
    for b in (64, 128, 256):
        vectors = np.random.default_rng(0).standard_normal((b, d), dtype=np.float32)
        products = np.empty((b, m), np.float32)
        for _ in range(repeats):
            began = perf_counter()
            np.matmul(vectors, rows.T, out=products)
            best = max(best, 2 * m * d * b / (perf_counter() - began))
    return best


def peak_rss() -> int:
    """Bytes. Not getrusage's, which starts at what the parent had when it made this process."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main(method: str, path: str, k: int, picks_path: str) -> None:
    is_half = np.load(path, mmap_mode="r").dtype == np.float16
    F = np.load(path, mmap_mode="r" if is_half else None)
    if method == "rate":
        result = {"flops": rate(F), "threads": threadpool_info()}
    else:
        METHODS[method](F[:WARM_UP].astype(F.dtype), 10)
        began = perf_counter()
        picks, notes = METHODS[method](F, k)
        result = {"seconds": perf_counter() - began, "notes": notes}
        np.save(Path(picks_path), np.asarray(picks, np.int64))
    json.dump(result | {"peak_rss": peak_rss(), "embeddings": F.nbytes}, sys.stdout, default=str)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
