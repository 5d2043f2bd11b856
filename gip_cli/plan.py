"""What a selection is asked to be, checked for sense before any row is read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Literal

from gip_cli.errors import UsageError
from gip_cli.groups import Grouping
from gip_cli.pursuit.device import torch_device
from gip_cli.signals import MOST_WEIGHT

Pursuit = Literal["projection", "information", "residual"]

# Beyond these, numbers would leave what arithmetic tells apart, and nobody is served.
_MOST_QUALITY_POWER = 10.0  # the worst row's weight is then 0.05^10 of the best one's
_MOST_LENGTH_POWER = 3.0


@dataclass(frozen=True)
class Budget:
    """How much to pick: one of the first four, or none where a grouping says so many of each.

    Attributes
    ----------
    rows : int
    fraction : float
        Share of the pool's rows, in (0, 1]; rounded, halves up, to one row at least.
    tokens : int
        Most tokens that the picks may have in all.
    captured : float
        Share of the query's energy, in (0, 1), at which to stop.
    token_field : str
        Where rows say how many tokens they have; else the store's counts are taken.
    length_power : float
        Gains are compared per ``tokens ** length_power``.
    """

    rows: int | None = None
    fraction: float | None = None
    tokens: int | None = None
    captured: float | None = None
    token_field: str | None = None
    length_power: float = 0.0

    def __post_init__(self) -> None:
        if sum(limit is not None for limit in self._limits) > 1:
            raise UsageError("two budgets", "give one of -k, --fraction, --tokens and --captured")
        for option, count in (("-k", self.rows), ("--tokens", self.tokens)):
            if count is not None and count < 1:
                raise UsageError(f"{option} {count} is not a positive number")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise UsageError(f"--fraction {self.fraction:g} is not in (0, 1]")
        if self.captured is not None and not 0 < self.captured < 1:
            raise UsageError(f"--captured {self.captured:g} is not between 0 and 1")
        _check_upto("--length-power", self.length_power, _MOST_LENGTH_POWER)
        if self.tokens is None and (self.token_field is not None or self.length_power):
            raise UsageError("--token-field and --length-power go with --tokens")

    @property
    def _limits(self) -> tuple[float | None, ...]:
        return self.rows, self.fraction, self.tokens, self.captured

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return any(limit is not None for limit in self._limits)


@dataclass(frozen=True)
class Sources:
    """What the query is mixed from (`gip_cli.query.build_query`).

    `signals` are ``NAME[=WEIGHT]``; None takes all that are attached, alike.
    """

    signals: tuple[str, ...] | None = None
    self_weight: float | None = None
    signal_weight: float | None = None
    target_weight: float = 1.0
    quality_power: float = 2.0

    def __post_init__(self) -> None:
        for option, number, most in (
            ("--self-weight", self.self_weight, MOST_WEIGHT),
            ("--signal-weight", self.signal_weight, MOST_WEIGHT),
            ("--target-weight", self.target_weight, MOST_WEIGHT),
            ("--quality-power", self.quality_power, _MOST_QUALITY_POWER),
        ):
            if number is not None:
                _check_upto(option, number, most)


def _check_upto(option: str, number: float, most: float) -> None:
    if not 0 <= number <= most:
        raise UsageError(f"{option} {number:g} is not a number from 0 to {most:g}")


@dataclass(frozen=True)
class Plan:
    """A selection as it is asked for.

    Attributes
    ----------
    noise : float or "auto"
        Noise variance s2; "auto" is the rule of `gip_cli.limits.noise_for`.
    dedup_threshold : float
        Rows whose cosine with a pick, or with a row given, exceeds this are no longer picked.
    exclude_threshold : float
        Rows whose cosine with a row to keep away from exceeds this are never picked.
    device : str
        Where to solve, a torch device or "cpu"; one that is not there is refused.
    skip_bad : bool
        Leave rows without an embedding or a token count aside instead of refusing them.
    """

    budget: Budget
    sources: Sources = Sources()
    noise: float | Literal["auto"] = "auto"
    pursuit: Pursuit = "projection"
    device: str = "cpu"
    grouping: Grouping | None = None
    dedup_threshold: float | None = None
    exclude_threshold: float = 0.9
    skip_bad: bool = False

    def __post_init__(self) -> None:
        grouping = self.grouping
        if not self.budget.is_set and (grouping is None or grouping.per_group is None):
            raise UsageError(
                "no budget", "give one of -k, --fraction, --tokens, --captured, or --per-group"
            )
        if grouping is not None and grouping.shares and self.budget.captured is not None:
            raise UsageError("--group-share divides -k, --fraction or --tokens, not --captured")
        if self.dedup_threshold is not None and not 0 < self.dedup_threshold < 1:
            raise UsageError(f"--dedup-threshold {self.dedup_threshold:g} is not between 0 and 1")
        if not 0 < self.exclude_threshold <= 1:
            raise UsageError(f"--exclude-threshold {self.exclude_threshold:g} is not in (0, 1]")
        if self.noise != "auto" and not 0 < self.noise < inf:
            raise UsageError(f"--noise {self.noise:g} is neither auto nor a positive number")
        if self.device != "cpu":
            try:
                torch_device(self.device)
            except (RuntimeError, ValueError) as error:
                raise UsageError(f"--device {self.device}: {error}") from None

    def pursues_scores(self, sources: Collection[str]) -> bool:
        """Whether it is the paper's dual form of signals alone, which knows no weights.

        `sources` are those that the query is made of.
        """
        return self.pursuit == "residual" and set(sources) == {"signals"}
