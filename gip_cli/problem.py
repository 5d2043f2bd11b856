"""One selection as the solver is asked for it: rows and a plan in, picks out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gip_cli.candidates import Candidates
from gip_cli.constraints import All
from gip_cli.errors import UsageError
from gip_cli.limits import Limits, limits_of, noise_for
from gip_cli.plan import Plan
from gip_cli.pursuit import Progress, Selection, select


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
