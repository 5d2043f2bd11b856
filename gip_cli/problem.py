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
        rules, budget = self.limits.rules(), plan.budget
        price = None
        if budget.tokens and budget.length_power:
            # Longer rows than the budget cannot be picked; what they cost could be out of range.
            price = np.clip(rows.tokens, 1.0, budget.tokens) ** budget.length_power
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
                price=price,
                max_cosine=plan.dedup_threshold,
                stop_at=budget.captured,
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

    def ended(self, selection: Selection) -> tuple[Stopped, int]:
        """Why no further row was picked, and how many rows `reasons` calls DUPLICATE.

        The solver does not know what was asked for.
        """
        picks, asked = selection.indices, self.limits.asked
        duplicates, spent = selection.duplicates, False
        if self.limits.rules():  # else nothing but a pick closes a row: the solver has counted
            vectors, cosine = self.candidates.vectors, np.full(len(self.candidates.pool), -1.0)
            if self.plan.dedup_threshold is not None:
                cosine = closest(vectors, vectors[picks])[1]
            reasons = self.reasons(selection, cosine)
            duplicates = int(np.count_nonzero(reasons == Reason.DUPLICATE))
            spent = selection.stopped != "interrupted" and self._spent(reasons)
        # A --captured that was not reached, or tokens left, are as much as rows too few.
        more = self.plan.budget.given if asked is None else len(picks) < asked
        if spent:
            return "budget", duplicates
        if selection.stopped == "budget" and more:
            return "exhausted", duplicates
        return selection.stopped, duplicates

    def _spent(self, reasons: Reasons) -> bool:
        """Whether a row was left that nothing but a budget in tokens had no room for."""
        short = [Reason.BUDGET] if self.limits.tokens else []
        if self.limits.quotas and self.limits.quotas.unit == "tokens":
            short.append(Reason.GROUP_FULL)
        return bool(np.isin(reasons, short).any()) and Reason.NO_GAIN not in reasons

    def _rest(self, picks: Rows) -> Mask:
        rest = self.candidates.open
        rest[picks] = False
        return rest

    def _fit(self, caps: Caps | None, picks: Rows) -> Mask:
        """(m,) rows that a cap has room for after `picks`."""
        if caps is None:
            return np.ones(len(self.candidates.pool), dtype=bool)
        return caps.after(picks).pickable()
