"""How long the solver takes, what memory, and what others need for what result.

`python -m tests.benchmarks.small`, `...large` and `...cuda` (`make bench`, `make bench-large`,
`make bench-cuda`) print a table and write it to `build/bench/` as JSON. Each method runs in a
process of its own, so that peak memory is its own; threads are the same for all and stated.
"""
