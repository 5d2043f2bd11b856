"""`make bench-cuda`: the solver on a GPU beside the same machine's processor, and the same picks."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.runner import Case, picks_of, run

PURSUITS = ["projection", "information", "residual"]
ON_GPU = [f"gip {pursuit} on a GPU" for pursuit in PURSUITS]


def main() -> None:
    pairs = [
        ("projection", 52_000, 5_000, "float32"),
        ("projection", 1_000_000, 1_000, "float32"),
        ("projection", 1_000_000, 10_000, "float32"),
        ("projection", 1_000_000, 1_000, "float16"),
        ("information", 1_000_000, 1_000, "float32"),
        ("residual", 1_000_000, 1_000, "float32"),
    ]
    cases = []
    for pursuit, m, k, dtype in pairs:
        for method in (f"gip {pursuit}", f"gip {pursuit} on a GPU"):
            cases.append(Case(method, m, k, dtype, limit=600.0))
    run("cuda", cases)
    for host, gpu in zip(cases[::2], cases[1::2], strict=True):
        theirs, ours = np.load(picks_of(host)), np.load(picks_of(gpu))
        same = int(np.argmin(np.append(ours == theirs, False)))
        print(f"{host.method}, {host.m:,} rows, {host.dtype}: the first {same:,} picks agree")


if __name__ == "__main__":
    main()
