"""`make bench-large`: a million rows; how time grows with rows and picks, and what memory takes."""

from __future__ import annotations

from tests.benchmarks.runner import Case, run


def main() -> None:
    cases = [
        Case("gip projection", 100_000, 1_000),
        Case("gip projection", 100_000, 10_000, limit=600.0),
        Case("gip projection", 1_000_000, 1_000, limit=600.0),
        Case("gip projection", 1_000_000, 10_000, limit=1800.0),
        Case("gip projection", 1_000_000, 1_000, dtype="float16", limit=600.0),
        Case("gip projection, rated", 1_000_000, 1_000, limit=600.0),
        Case("gip information", 1_000_000, 1_000, limit=600.0),
        Case("gip residual", 1_000_000, 1_000, limit=600.0),
    ]
    results = run("large", cases)
    seconds = {
        (result["m"], result["k"]): result["seconds"]
        for result in results[:4]
        if "seconds" in result
    }
    for few, many, what in [
        ((100_000, 1_000), (1_000_000, 1_000), "10 times the rows at k = 1,000"),
        ((100_000, 10_000), (1_000_000, 10_000), "10 times the rows at k = 10,000"),
        ((1_000_000, 1_000), (1_000_000, 10_000), "10 times the picks of a million rows"),
    ]:
        if few in seconds and many in seconds:
            print(f"{what}: {seconds[many] / seconds[few]:.1f} times as long")


if __name__ == "__main__":
    main()
