"""`make bench`: 52,000 x 384, k = 5,000, and 5,000 rows for methods that need much longer."""

from __future__ import annotations

from tests.benchmarks.cuda import ON_GPU
from tests.benchmarks.methods import METHODS
from tests.benchmarks.runner import Case, run

LARGE = [
    "gip projection",
    "gip projection, rated",
    "gip information",
    "gip residual",
    "plain projection",
    "pyversity MMR",
    "pyversity MSD",
    "pyversity DPP",
    "scikit-matter FPS",
    "random",
]


def main() -> None:
    cases = [Case(method, 52_000, 5_000, limit=300.0) for method in LARGE]
    cases += [Case(method, 5_000, 500) for method in METHODS if method not in ON_GPU]
    run("small", cases)


if __name__ == "__main__":
    main()
