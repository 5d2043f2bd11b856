"""What became of every row of a problem, and why its picks ended where they did."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gip_cli.arrays import Array, Mask, Rows
from gip_cli.candidates import Reason, Reasons
from gip_cli.constraints import Caps
from gip_cli.measures import closest, nearer
from gip_cli.problem import Problem
from gip_cli.pursuit import Selection, Stopped


@dataclass(frozen=True)
class Solution:
    """A problem and the picks that were made. The solver does not know what was asked for."""

    problem: Problem
    selection: Selection

    @cached_property
    def nearest(self) -> tuple[Rows, Array]:
        """Each row's nearest pick, by its rank from 0 (m,), and their cosine (m,)."""
        vectors = self.problem.candidates.vectors
        return closest(vectors, vectors[self.selection.indices])

    @cached_property
    def reasons(self) -> Reasons:
        """Why each row (m,) is not among the picks; OPEN for those that are."""
        rows, limits = self.problem.candidates, self.problem.limits
        reasons, rest = rows.reasons.copy(), rows.open
        rest[self.selection.indices] = False
        reasons[rest] = Reason.BUDGET
        if self.selection.stopped == "exhausted":
            reasons[rest & self._fit(limits.tokens)] = Reason.NO_GAIN
        if limits.quotas:
            reasons[rest & ~self._fit(limits.quotas.caps)] = Reason.GROUP_FULL
        threshold = self.problem.plan.dedup_threshold
        if threshold is not None:
            picked = rows.vectors[self.selection.indices]
            near = nearer(rows.vectors, picked, self.nearest, threshold)
            reasons[rest & near] = Reason.DUPLICATE
        return reasons

    @property
    def duplicates(self) -> int:
        """How many rows `reasons` calls DUPLICATE."""
        if not self.problem.limits.rules():  # nothing but a pick closes a row: the solver's count
            return self.selection.duplicates
        return int(np.count_nonzero(self.reasons == Reason.DUPLICATE))

    @property
    def stopped(self) -> Stopped:
        """Why no further row was picked."""
        stopped, asked = self.selection.stopped, self.problem.limits.asked
        if stopped != "interrupted" and self._tokens_spent():
            return "budget"
        # A --captured that was not reached, or tokens left, are as much as rows too few.
        picks, budget = len(self.selection.indices), self.problem.plan.budget
        more = budget.is_set if asked is None else picks < asked
        return "exhausted" if stopped == "budget" and more else stopped

    def _tokens_spent(self) -> bool:
        """Whether a row was left that nothing but a budget in tokens had no room for."""
        limits = self.problem.limits
        short = [Reason.BUDGET] if limits.tokens else []
        if limits.quotas and limits.quotas.unit == "tokens":
            short.append(Reason.GROUP_FULL)
        if not short:
            return False
        return bool(np.isin(self.reasons, short).any()) and Reason.NO_GAIN not in self.reasons

    def _fit(self, caps: Caps | None) -> Mask:
        """(m,) rows that a cap has room for after the picks."""
        if caps is None:
            return np.ones(len(self.problem.candidates.pool), dtype=bool)
        return caps.after(self.selection.indices).pickable()
