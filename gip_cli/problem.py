"""One selection, from the rows and the plan to the picks and what became of the other rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gip_cli.candidates import Array, Candidates, Mask, Reason, Reasons, Rows
from gip_cli.constraints import All, Caps
from gip_cli.errors import UsageError
from gip_cli.limits import Limits, limits_of, noise_for
from gip_cli.measures import closest
from gip_cli.plan import Plan
from gip_cli.pursuit import Progress, Selection, Stopped, select


@dataclass(frozen=True)
class Problem:
    """Rows, limits and noise: all that decides what is picked."""

    plan: Plan
    candidates: Candidates
    limits: Limits
    noise: float

    @classmethod
    def pose(cls, plan: Plan, candidates: Candidates) -> Problem:
        """What `plan` means for these rows; raises as `limits_of` does."""
        limits = limits_of(candidates, plan)
        return cls(plan, candidates, limits, noise_for(candidates, plan, limits))

    def solve(self, on_progress: Callable[[Progress], None] | None = None) -> Selection:
        """Pick. `on_progress` may raise to stop: `Progress.selection` is what there is then.

        Raises
        ------
        UsageError
            The solver cannot do what it is asked: too small a noise, a device without room.
        """
        plan, rows = self.plan, self.candidates
        rules, power = self.limits.rules(), plan.budget.length_power
        try:
            return select(
                rows.vectors,
                self.limits.most,
                weights=rows.weights,
                query=rows.query.covariance,
                noise=self.noise,
                pursuit=plan.pursuit,
                scores=rows.scores,
                given=rows.given.vectors if rows.given else None,
                given_weights=rows.given.weights if rows.given else None,
                rules=All(rules) if rules else None,
                price=np.maximum(rows.tokens, 1.0) ** power if power else None,
                max_cosine=plan.dedup_threshold,
                stop_at=plan.budget.captured,
                device=plan.device,
                on_progress=on_progress,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        except RuntimeError as error:  # the solver raises it for its device alone
            raise UsageError(f"--device {plan.device}: {error}") from None

    def reasons(self, selection: Selection, nearest_cosine: Array) -> Reasons:
        """Why each row (m,) is not among the picks; OPEN for those that are.

        Parameters
        ----------
        nearest_cosine : (m,)
            Each row's cosine with its nearest pick.
        """
        reasons, picks = self.candidates.reasons.copy(), selection.indices
        rest = self._rest(picks)
        reasons[rest] = Reason.BUDGET
        if selection.stopped == "exhausted":
            reasons[rest & self._fit(self.limits.tokens, picks)] = Reason.NO_GAIN
        if self.limits.quotas:
            reasons[rest & ~self._fit(self.limits.quotas.caps, picks)] = Reason.GROUP_FULL
        if self.plan.dedup_threshold is not None:
            reasons[rest & (nearest_cosine > self.plan.dedup_threshold)] = Reason.DUPLICATE
        return reasons

    def duplicates(self, selection: Selection) -> int:
        """How many rows `reasons` calls DUPLICATE."""
        if not self.limits.rules():  # nothing but a pick closes a row: the solver has counted
            return selection.duplicates
        cosine = closest(self.candidates.vectors, self.candidates.vectors[selection.indices])[1]
        return int(np.count_nonzero(self.reasons(selection, cosine) == Reason.DUPLICATE))

    def stopped(self, selection: Selection) -> Stopped:
        """Why no further row was picked: the solver does not know what was asked for."""
        picks, asked = selection.indices, self.limits.asked
        if self._spent(picks):
            return "budget"
        # A --captured that was not reached, or tokens left, are as much as rows too few.
        more = self.plan.budget.given if asked is None else len(picks) < asked
        if selection.stopped == "budget" and more:
            return "exhausted"
        return selection.stopped

    def _spent(self, picks: Rows) -> bool:
        """Whether a token budget, not a lack of rows, is why no further row was picked."""
        rest, quotas = self._rest(picks), self.limits.quotas
        fit = rest & self._fit(self.limits.tokens, picks)
        if quotas and quotas.unit == "tokens":
            fit &= self._fit(quotas.caps, picks)
        return bool(rest.any()) and not fit.any()

    def _rest(self, picks: Rows) -> Mask:
        rest = self.candidates.open
        rest[picks] = False
        return rest

    def _fit(self, caps: Caps | None, picks: Rows) -> Mask:
        """(m,) rows that a cap has room for after `picks`."""
        if caps is None:
            return np.ones(len(self.candidates.pool), dtype=bool)
        return caps.after(picks).pickable()
