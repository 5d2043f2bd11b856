"""The options of `gip select` together: the plan that they add up to, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

from gip_cli.cli.options import TextOptions
from gip_cli.cli.select_options import (
    BudgetOptions,
    GroupOptions,
    OutputOptions,
    Pursuit,
    QueryOptions,
    RowOptions,
)
from gip_cli.errors import UsageError
from gip_cli.plan import Plan
from gip_cli.plan import Pursuit as PursuitName
from gip_cli.printable import file_name


@dataclass(frozen=True)
class SelectOptions:
    """All options of a run but where the embeddings are."""

    rows: RowOptions
    text: TextOptions
    budget: BudgetOptions
    query: QueryOptions
    groups: GroupOptions
    output: OutputOptions
    skip_bad: bool

    @property
    def beside(self) -> dict[str, list[str]]:
        """Files of rows beside the pool, by the part that they have in the selection."""
        return {
            "targets": self.query.target or [],
            "given": self.rows.given or [],
            "exclude": self.rows.exclude or [],
        }

    def plan(self) -> Plan:
        """The options as the library takes them; raises UsageError where they make no sense."""
        rows, query = self.rows, self.query
        if rows.exclude_threshold is not None and not rows.exclude:
            raise UsageError("--exclude-threshold goes with --exclude")
        if rows.given and query.pursuit is Pursuit.residual:
            raise UsageError(
                "--given does not go with --pursuit residual", "choose another pursuit"
            )
        return Plan(
            self.budget.budget(),
            query.sources(),
            noise=query.variance(),
            pursuit=cast(PursuitName, str(query.pursuit)),
            device=str(rows.device),
            grouping=self.groups.grouping(),
            dedup_threshold=rows.dedup_threshold,
            exclude_threshold=Plan.exclude_threshold
            if rows.exclude_threshold is None
            else rows.exclude_threshold,
            skip_bad=self.skip_bad,
        )

    def said(self, signals: dict[str, float]) -> dict[str, Any]:
        """What the receipt keeps: options that every selection has, others if not the default.

        `signals` are the chosen ones and their weights; the sources' weights stand under its query.
        """
        query, output = self.query, self.output
        said = {
            "num": self.budget.num,
            "fraction": self.budget.fraction,
            "signals": signals,
            "targets": query.target or [],
            "quality_power": query.sources().quality_power,
            "noise": query.noise,
            "order": str(output.order),
        }
        weights = {"self_weight", "signal_weight", "target_weight"}
        elsewhere = {"signal", "no_signals", "target", *weights}
        for options in (self.budget, query, self.groups, self.text, self.rows):
            for one in fields(options):
                value = getattr(options, one.name)
                if one.name not in said.keys() | elsewhere and value != one.default:
                    said[one.name] = value
        said |= {name: True for name in ("annotate", "keep_signals") if getattr(output, name)}
        return {name: _told(value) for name, value in said.items()}


def _told(value: Any) -> Any:
    """A value as JSON can hold it: the names of files may be of any bytes."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    return file_name(value) if isinstance(value, str) else value
