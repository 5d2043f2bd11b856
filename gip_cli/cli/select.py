"""`gip select`: the rows that carry the information."""

from __future__ import annotations

from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import Embeddings, Input, Quiet, SkipBad, TextOptions
from gip_cli.cli.select_options import (
    BudgetOptions,
    GroupOptions,
    OutputOptions,
    QueryOptions,
    RowOptions,
)


@grouped
def select(
    input: Input,
    embeddings: Embeddings = None,
    rows: RowOptions = RowOptions(),  # noqa: B008 - frozen
    text: TextOptions = TextOptions(),  # noqa: B008
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
    budget: BudgetOptions = BudgetOptions(),  # noqa: B008
    query: QueryOptions = QueryOptions(),  # noqa: B008
    groups: GroupOptions = GroupOptions(),  # noqa: B008
    output: OutputOptions = OutputOptions(),  # noqa: B008
) -> None:
    """Pick the rows of INPUT that carry most of the information.

    \b
            gip select pool.jsonl -k 1000 > small.jsonl
    Extend  gip select new.jsonl -k 500 --given old.jsonl --exclude test.jsonl
    Budget  gip select pool.jsonl --tokens 500000 --length-power 0.5 -o o.jsonl
    Query   gip select scored.jsonl -k 1000 --signal acc=2 --target task.jsonl
    Groups  gip select pool.jsonl -k 1000 --group-field lang --group-share equal
    Output  gip select pool.jsonl -k 1000 -o o.jsonl --check --min-captured 0.6
    """
    from gip_cli.cli.select_plan import SelectOptions  # imports numpy
    from gip_cli.cli.select_run import run  # and the solver

    run(input, embeddings, SelectOptions(rows, text, budget, query, groups, output, skip_bad))
