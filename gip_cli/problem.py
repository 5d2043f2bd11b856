"""One selection as the solver is asked for it: rows and a plan in, picks out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gip_cli.arrays import Array
from gip_cli.candidates import Candidates
from gip_cli.constraints import All
from gip_cli.errors import UsageError
from gip_cli.limits import Limits, limits_of, noise_for
from gip_cli.plan import Plan
from gip_cli.pursuit import MOST_NOISE, Progress, Selection, select


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
            lengths = np.clip(rows.tokens, 1.0, budget.tokens)
            least, most = float(lengths.min()), float(lengths.max())
            if budget.length_power * np.log(most / least) > np.log(MOST_NOISE):
                raise UsageError(
                    f"--length-power {budget.length_power:g} is too large for rows of {least:,.0f} "
                    f"to {most:,.0f} tokens",
                    "give a lower one",
                )
            price = lengths**budget.length_power
        try:
            return select(
                rows.vectors,
                self.limits.most,
                weights=self._weights(),
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
        except ValueError as error:  # what the plan says of the noise, the rows' weights bound
            said = str(error)
            raise UsageError("--" * said.startswith("noise ") + said) from None
        except RuntimeError as error:  # the solver raises it for its device alone
            raise UsageError(f"--device {plan.device}: {error}") from None

    def _weights(self) -> Array:
        """The rows' weights (m,), NaN also for copies that come too late to be picked.

        Rows of one text, weight, length and group are the same to the solver, which picks the
        first of them first: after `most` of them none has its turn. Open, all were tied with every
        pick: of 300,000 rows, a third "Yes" and a third "No", 500 took over seven minutes, now 7 s.
        """
        rows, most = self.candidates, self.limits.most
        weights, at = rows.weights, np.flatnonzero(rows.open)
        # Scores tell copies apart, and near-duplicates of a pick are closed all at once.
        if rows.scores is not None or self.plan.dedup_threshold is not None or len(at) <= most:
            return weights
        texts = np.ascontiguousarray(rows.pool.keys).view(np.uint64)
        heads = np.sort(texts[at, 0])
        many = heads[most:][heads[most:] == heads[:-most]]
        at = at[np.isin(texts[at, 0], many, kind="sort")]  # numpy 2.0 fails at large ones else
        what = [*texts[at].T, weights[at], rows.tokens[at]]
        if self.limits.quotas:
            what.append(self.limits.quotas.groups.codes[at])
        order = np.lexsort(what)
        late = np.all([one[order[most:]] == one[order[:-most]] for one in what], axis=0)
        weights[at[order[most:][late]]] = np.nan
        return weights
