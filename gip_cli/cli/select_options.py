"""The options of `gip select`, panel by panel.

Modules that need numpy are imported where they are used: ``gip --help`` shows these options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gip_cli.errors import UsageError
from gip_cli.streams import is_stdout, is_stream, receipt_places

if TYPE_CHECKING:
    from gip_cli.groups import Grouping
    from gip_cli.plan import Budget, Sources

Order = StrEnum("Order", ["rank", "input"])
Pursuit = StrEnum("Pursuit", ["projection", "information", "residual"])
Device = StrEnum("Device", ["cpu", "cuda"])


def _panel(title: str) -> Callable[..., Any]:
    return partial(typer.Option, rich_help_panel=title, show_default=False)


_budget, _query, _group, _output = map(_panel, ("Budget", "Query", "Groups", "Output"))
_rows = partial(typer.Option, show_default=False)


@dataclass(frozen=True)
class BudgetOptions:
    num: Annotated[
        int | None,
        _budget("--num", "-k", metavar="N", help="Rows to pick; or one of the next three:"),
    ] = None
    fraction: Annotated[
        float | None,
        _budget(metavar="F", help="Share of the rows, up to 1; rounded half up."),
    ] = None
    tokens: Annotated[
        int | None, _budget(metavar="N", help="Tokens of all picks together, never more.")
    ] = None
    captured: Annotated[
        float | None, _budget(metavar="F", help="Stop at this share, 0 to 1, of query energy.")
    ] = None
    token_field: Annotated[
        str | None, _budget(metavar="A.B", help="Where rows say their tokens; default: counted.")
    ] = None
    length_power: Annotated[
        float, _budget(metavar="P", help="Compare gains per tokens^P, 0 to 3; default: 0.")
    ] = 0.0

    def budget(self) -> Budget:
        from gip_cli.plan import Budget

        return Budget(
            rows=self.num,
            fraction=self.fraction,
            tokens=self.tokens,
            captured=self.captured,
            token_field=self.token_field,
            length_power=self.length_power,
        )


@dataclass(frozen=True)
class QueryOptions:
    signal: Annotated[
        list[str] | None,
        _query(metavar="NAME[=W]", help="Use this; default: all, alike; repeatable."),
    ] = None
    no_signals: Annotated[bool, _query("--no-signals", help="Use none.")] = False
    target: Annotated[
        list[str] | None, _query(metavar="FILE", help="Examples of the task; repeatable.")
    ] = None
    self_weight: Annotated[
        float | None, _query(metavar="W", help="Of the pool; default: 1, with signals 0.")
    ] = None
    signal_weight: Annotated[
        float | None, _query(metavar="W", help="Of the signals; default: 1.")
    ] = None
    target_weight: Annotated[
        float | None, _query(metavar="W", help="Of the targets; default: 1.")
    ] = None
    quality_power: Annotated[
        float | None, _query(metavar="P", help="0 to 10; more leans to quality; default: 2.")
    ] = None
    noise: Annotated[str, _query(metavar="S2", help="auto (default); large leans to typical.")] = (
        "auto"
    )
    pursuit: Annotated[
        Pursuit, _query(metavar="NAME", help="projection (default), information, residual.")
    ] = Pursuit.projection

    def sources(self) -> Sources:
        from gip_cli.plan import Sources

        if self.no_signals and self.signal:
            raise UsageError("--signal and --no-signals exclude each other")
        if self.no_signals and self.for_signals:
            raise UsageError(f"{self.for_signals} and --no-signals exclude each other")
        if self.target_weight is not None and not self.target:
            raise UsageError("--target-weight goes with --target")
        said = {
            "self_weight": self.self_weight,
            "signal_weight": self.signal_weight,
            "target_weight": self.target_weight,
            "quality_power": self.quality_power,
        }
        return Sources(
            () if self.no_signals else tuple(self.signal) if self.signal else None,
            **{name: number for name, number in said.items() if number is not None},
        )

    @property
    def for_signals(self) -> str:
        """The option said that means nothing without signals; empty if none is."""
        if self.signal_weight is not None:
            return "--signal-weight"
        return "--quality-power" if self.quality_power is not None else ""

    def variance(self) -> float | Literal["auto"]:
        if self.noise == "auto":
            return "auto"
        try:
            return float(self.noise)
        except ValueError:
            raise UsageError(f"--noise {self.noise} is neither auto nor a number") from None


@dataclass(frozen=True)
class GroupOptions:
    group_field: Annotated[
        str | None, _group(metavar="A.B", help="Field whose values are groups; with one of:")
    ] = None
    per_group: Annotated[
        int | None, _group(metavar="N", help="Rows of each; needs no other budget.")
    ] = None
    group_share: Annotated[
        str | None, _group(metavar="SHARES", help="proportional, equal or FILE.json.")
    ] = None
    max_per_group: Annotated[
        int | None, _group(metavar="N", help="No more rows than this of each.")
    ] = None

    def grouping(self) -> Grouping | None:
        from gip_cli.groups import Grouping, Shares

        if self.group_field is not None:
            return Grouping(
                self.group_field,
                per_group=self.per_group,
                shares=None if self.group_share is None else Shares.parse(self.group_share),
                at_most=self.max_per_group,
            )
        limits = self.per_group, self.group_share, self.max_per_group
        if any(limit is not None for limit in limits):
            raise UsageError("groups need --group-field FIELD")
        return None


@dataclass(frozen=True)
class RowOptions:
    """Other rows, what those rule out, and where to solve; in no panel."""

    given: Annotated[
        list[str] | None, _rows(metavar="FILE", help="Extend these rows; repeatable.")
    ] = None
    dedup_threshold: Annotated[
        float | None, _rows(metavar="COS", help="No row closer than this to a pick.")
    ] = None
    exclude: Annotated[
        list[str] | None, _rows(metavar="FILE", help="No row close to one of these; repeatable.")
    ] = None
    exclude_threshold: Annotated[
        float | None, _rows(metavar="COS", help="How close that is; default: 0.9.")
    ] = None
    device: Annotated[Device, _rows(metavar="NAME", help="Solve on cpu (default) or cuda.")] = (
        Device.cpu
    )


@dataclass(frozen=True)
class OutputOptions:
    output: Annotated[
        str, _output("--output", "-o", metavar="OUT", help="Where to write; default: -, stdout.")
    ] = "-"
    order: Annotated[Order, _output(metavar="NAME", help="rank (default, as picked) or input.")] = (
        Order.rank
    )
    annotate: Annotated[
        bool, _output("--annotate", help="Add rank, gain and captured energy to rows.")
    ] = False
    keep_signals: Annotated[
        bool, _output("--keep-signals", help="Leave attached signals in rows.")
    ] = False
    rejects: Annotated[
        str | None, _output(metavar="FILE", help="Write rows not picked, each with why.")
    ] = None
    receipt: Annotated[
        str | None, _output(metavar="FILE", help="What was done; default: OUT.receipt.json.")
    ] = None
    json: Annotated[bool, _output("--json", help="Print the receipt to stdout.")] = False
    check: Annotated[
        bool, _output("--check", help="Write nothing; exit 1 if files would change.")
    ] = False
    min_captured: Annotated[
        float | None, _output(metavar="F", help="Exit 1, write nothing, if less is captured.")
    ] = None
    keep_partial: Annotated[
        bool, _output("--keep-partial", help="After Ctrl-C write what was picked.")
    ] = False

    def __post_init__(self) -> None:
        to_stdout = is_stdout(self.output)
        if to_stdout and self.check:
            raise UsageError("--check needs a file to compare with", "pass -o FILE")
        for option, path in (("--rejects", self.rejects), ("--receipt", self.receipt)):
            if self.check and path and is_stream(path):
                raise UsageError(f"--check compares files, {path} is none", f"leave out {option}")
        if self.output.endswith(".receipt.json"):
            raise UsageError(
                "a receipt's name is no selection's", "choose another", path=self.output
            )
        if to_stdout and self.json:
            raise UsageError("stdout carries the rows already", "pass -o FILE with --json")
        if self.min_captured is not None and not 0 < self.min_captured < 1:
            raise UsageError(f"--min-captured {self.min_captured:g} is not between 0 and 1")

    @property
    def receipt_path(self) -> str | None:
        """Where the receipt goes: beside OUT unless said; nowhere for a stream."""
        return self.receipt or next(map(str, receipt_places(self.output)), None)

    @property
    def written(self) -> list[str]:
        """All that this run writes; nothing with --check."""
        if self.check:
            return []
        every = (self.output, self.rejects, self.receipt_path, "-" if self.json else None)
        return [path for path in every if path is not None]
