"""`make bench-cuda`: the solver on a GPU beside the processors of the same machine."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.runner import Case, picks_of, run

PURSUITS = ["projection", "information", "residual"]
ON_GPU = [f"gip {pursuit} on a GPU" for pursuit in PURSUITS]


def main() -> None:
    asked = [
        ("projection", 52_000, 5_000, "float32"),
        ("projection", 1_000_000, 1_000, "float32"),
        ("projection", 1_000_000, 10_000, "float32"),
        ("projection", 1_000_000, 1_000, "float16"),
        ("information", 1_000_000, 1_000, "float32"),
        ("residual", 1_000_000, 1_000, "float32"),
    ]
    pairs = [
        [Case(f"gip {pursuit}{where}", *size, limit=600.0) for where in ("", " on a GPU")]
        for pursuit, *size in asked
    ]
    run("cuda", [case for pair in pairs for case in pair])
    for pair in pairs:
        host, gpu = (np.load(picks_of(case)) for case in pair)
        same = int(np.argmin(np.append(host == gpu, False)))
        print(f"{pair[0].method}, {pair[0].m:,} rows: {same:,} of {len(host):,} picks agree")


if __name__ == "__main__":
    main()
