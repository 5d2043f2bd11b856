"""How far a selection may go: its budget and quotas as rules, the most picks, and the noise."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property

import numpy as np

from gip_cli.arrays import Array, Counts, Rows
from gip_cli.candidates import Candidates, Reason
from gip_cli.constraints import Caps
from gip_cli.errors import UsageError
from gip_cli.groups import Groups, largest_remainder, weigh
from gip_cli.plan import Plan
from gip_cli.pursuit import default_noise, effective_rank, least_noise


@dataclass(frozen=True)
class Quotas:
    """Most that each group's picks may cost (G,), in rows or, dividing a token budget, in tokens.

    `rows` (G,) counts those that could be picked, `available` (G,) is what they cost together,
    `costs` (m,) what each does; the limits are in proportion to `shares` (G,), if there are any.
    `wanted` says whether less than the limit is a shortfall.
    """

    groups: Groups
    rows: Counts
    available: Counts
    shares: Array | None
    limits: Counts
    costs: Counts
    unit: str
    wanted: bool

    @cached_property
    def caps(self) -> Caps:
        """The rule before the first pick; who picks works on a copy."""
        limits = self.limits
        if self.shares is not None:  # rows of 0 tokens fit into nothing, too
            limits = np.where(self.shares > 0, limits, -1)
        return Caps(limits, self.groups.codes, self.costs)

    def spent(self, picks: Rows) -> Counts:
        """(G,) what the picks of each group cost."""
        return self.groups.total(self.costs, picks)


@dataclass(frozen=True)
class Limits:
    """Rules for the solver, and the budget in rows.

    Attributes
    ----------
    asked : int or None
        Rows asked for, where rows are what the budget says.
    most : int
        No more rows than this can be picked.
    expected : int
        Picks that the noise is made for; 0 if they cannot be foretold (`Budget.captured`).
    """

    tokens: Caps | None
    quotas: Quotas | None
    asked: int | None
    most: int
    expected: int

    def rules(self) -> list[Caps]:
        """Those that hold, before the first pick."""
        both = self.tokens, self.quotas.caps if self.quotas else None
        return [caps for caps in both if caps is not None]


def limits_of(candidates: Candidates, plan: Plan) -> Limits:
    """Turn the plan's budget and grouping into limits on these rows.

    Raises
    ------
    UsageError
        No row fits the token budget or its group's quota, or none has tokens; no row has the group
        field, or the shares are of groups that no row is in.
    """
    budget, open_ = plan.budget, candidates.open
    rows = int(np.count_nonzero(open_))
    if budget.tokens is not None and not candidates.tokens[open_].any():
        field = budget.token_field
        raise UsageError(
            "--tokens: every row that can be picked has 0 tokens"
            + (f" in field {field!r}" if field else ""),
            "say where rows have theirs: --token-field",
        )
    asked = budget.rows
    if budget.fraction is not None:
        # As the share is written: 0.145 of 100 rows is 14.5, of which binary fractions fall short.
        exact = Decimal(str(budget.fraction)) * len(candidates.pool)
        asked = max(1, int(exact.to_integral_value(ROUND_HALF_UP)))
    most = expected = rows if asked is None else min(asked, rows)
    divided = _quotas(candidates, plan, most if asked is None else asked)
    if divided is not None and divided.unit == "rows":
        most = expected = min(most, int(np.minimum(divided.limits, divided.available).sum()))
    caps = None
    if budget.tokens is not None:
        costs = np.sort(candidates.tokens[open_])
        fitting = int(np.searchsorted(np.cumsum(costs), budget.tokens, side="right"))
        if not fitting:
            raise UsageError(
                f"--tokens {budget.tokens} is less than the shortest row has ({costs[0]})"
            )
        most = min(most, fitting)
        expected = min(most, max(1, round(budget.tokens / max(costs.mean(), 1.0))))
        one = np.broadcast_to(0, len(candidates.pool))
        caps = Caps(np.array([budget.tokens]), one, candidates.tokens)
    limits = Limits(caps, divided, asked, most, 0 if budget.captured is not None else expected)
    fit = np.logical_and.reduce([open_, *(rule.pickable() for rule in limits.rules())])
    if not most or not fit.any():
        raise UsageError("no row fits in any group's quota", "raise the budget")
    return limits


def _quotas(candidates: Candidates, plan: Plan, asked: int) -> Quotas | None:
    grouping, pool = plan.grouping, candidates.pool
    if grouping is None:
        return None
    groups = Groups.by(
        pool.field(grouping.field, "--group-field"), grouping.shares.of if grouping.shares else ()
    )
    costs = np.broadcast_to(1, len(pool))
    unit, total = "rows", asked
    if grouping.shares and plan.budget.tokens is not None:
        costs, unit, total = candidates.tokens, "tokens", plan.budget.tokens
    open_ = np.flatnonzero(candidates.open)
    available, shares = groups.total(costs, open_), None
    if grouping.shares:
        shares = weigh(grouping.shares, groups, available)
        limits = largest_remainder(shares, total)
    else:
        limits = np.full(len(groups.names), grouping.per_group or grouping.at_most)
    wanted = grouping.at_most is None
    return Quotas(groups, groups.count(open_), available, shares, limits, costs, unit, wanted)


def noise_for(candidates: Candidates, plan: Plan, limits: Limits) -> float:
    """The plan's noise, or the default of design 2.4 for as many picks as are to be expected.

    ``s2 = 0.5 n mean(w²) / r`` needs the number n of rows that share the work:

    - rows given count, since they have their share of the query already: n is their number plus
      the budget, and extending a selection goes on as one run of the sum would;
    - for a budget in tokens n is the budget over the mean tokens of the rows that can be picked;
    - for a share of the energy n is not known, and a noise that grows with n would hold the share
      that can be reached at a constant: n = r, one row for each effective direction, is taken.
    """
    if plan.noise != "auto":
        return plan.noise
    # Of rows that are closed because of those given, the weights count as they did before.
    free = (Reason.OPEN, Reason.GIVEN, Reason.DUPLICATE_OF_GIVEN)
    weights = np.where(np.isin(candidates.reasons, free), candidates.query.weights, np.nan)
    covariance = candidates.query.covariance
    count: float = limits.expected + (len(candidates.given) if candidates.given else 0)
    if not limits.expected:
        count = effective_rank(covariance)
    noise = default_noise(count, weights, covariance)
    if candidates.given:  # whose weights can be far above those of all that can be picked
        noise = max(noise, least_noise(np.append(weights, candidates.given.weights)))
    return noise
