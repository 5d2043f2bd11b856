"""Draft on a few rows, verify on all: design 2.5.

A block of picks is proposed from the rows that look best now, and one sweep over the whole pool,
but for rows that bounds rule out, confirms it: every pick must be the best of all rows at its turn.
Where one is not, the block ends before it, or with the right one in its place.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from gip_cli.pursuit.deferral import Deferral
from gip_cli.pursuit.draft import Belief, Drafter, Step, gains_nothing, observe
from gip_cli.pursuit.objective import Objective
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.verify import LEAST_MARGIN, Block, Sweep

# Margin from which on states are worked out anew: the drift is known of the picks' own rates
# alone, and the larger it is the more other rows' rates may be further off.
WIDEST = 1e-4
# Several roundings add up: rivals of which few picks leave hardly anything were seen to be off by
# 2.8 times what one makes.
ROUNDINGS = 4
SHORTER = 8  # a block whose rates are too inexact is tried again with so many times fewer picks


@dataclass(slots=True)
class Greedy:
    """The exact greedy, a block at a time.

    Attributes
    ----------
    sweep : callable
        Sweeps the whole pool, wherever it lies.
    host : Sweeper
        Works states out anew, which takes float64.
    waste : float
        What inexact rates have cost since states were last worked out, in units of that work.
    since : int
        Picks since then.
    largest : float or None
        Rate that no row's has been above since its state was last worked out, nor would have been
        if every row gained something: what is subtracted is rounded beside that. None while states
        are as they were worked out in float64.
    spread : float
        Largest |f|^2 / noise of a row, which bounds v / noise.
    deferral : Deferral or None
        Which rows are left out; None if none may be.
    near_ties, refreshes, seconds
        As in `Diagnostics`.
    """

    drafter: Drafter
    sweep: Sweep
    host: Sweeper
    waste: float = 0.0
    since: int = 0
    largest: float | None = None
    spread: float = 0.0
    deferral: Deferral | None = None
    near_ties: int = 0
    refreshes: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def advance(self, pool: RowStates, belief: Belief, left: int) -> Step | None:
        """Make the next picks, at most the `left` ones; None if no row gains anything."""
        drafter, step, most = self.drafter, None, left
        self.look_again(pool, belief)
        while not step:
            if pool.aside is not None:
                most = 1  # after it those rows may gain something
            began = perf_counter()
            rows = self.deferral.contenders(pool) if self.deferral else pool
            proposal = drafter.propose(rows, belief, most)
            proposed = perf_counter()
            is_exact = self.largest is None
            largest, rounding = self.largest_now(rows, belief.objective), 0.0
            if proposal:
                rounding = self.rounding(rows, belief.objective, proposal.block, largest)
            margin = max(drafter.margin, ROUNDINGS * rounding)
            # Of one rounding: a margin of four at WIDEST costs less than working states out anew.
            can_tell = max(drafter.margin, rounding) <= WIDEST or (
                is_exact and pool.dtype is np.float64
            )
            length = len(proposal.block) if proposal else 0
            if proposal and can_tell:
                widest = np.inf if is_exact and length == 1 else WIDEST
                if self.deferral:
                    rows = self.deferral.rivals(
                        pool, rows, belief.objective, proposal.block, is_last=length == left
                    )
                step = drafter.confirm(rows, belief, proposal, margin, self.sweep, widest=widest)
            self.seconds["draft"] += proposed - began
            self.seconds["verify"] += perf_counter() - proposed
            if self.deferral and rows is not pool:
                self.deferral.rejoin(pool, rows, belief, step)
                continue
            if step or (pool.aside is not None and most > 1):
                continue
            # The states have drifted too far to tell, or those within the block, which are
            # differences from its start: those of its first pick never are. Or float32 has no
            # numbers as small as the rates. Or rows gain nothing that by their states are best.
            if not is_exact:
                self.refresh(pool, belief.objective)
            elif pool.dtype is np.float32 and (
                length > 1
                or not can_tell
                or belief.objective.cancels
                or (not length and len(pool.hottest(belief.objective, 1)[0]))
            ):
                self.use_float64(pool)
                self.refresh(pool, belief.objective)
            elif length > 1:
                most = 1 + length // SHORTER
            elif not (step := self.pick_one(pool, belief)):
                return None
        drafter.margin = step.verdict.margin
        rates = pool.rates(step.block.columns.gains, pool.located(step.block.rows))
        self.largest = max(largest, float(rates.max()))
        self.near_ties += step.verdict.settled
        self.since += len(step.block)
        # A pick dropped has cost the products with its columns, a row settled its d x d product
        # and the products with a block's columns, in units of the d x d products of all rows.
        m, d = pool.rows.shape
        self.waste += step.dropped / (2 * d)
        self.waste += step.verdict.settled * (d + drafter.levels[0].longest) / d / m
        if self.waste > 1:
            self.refresh(pool, step.after.objective)
        if self.deferral:
            self.deferral.defer(pool, step)
        return step

    def look_again(self, pool: RowStates, belief: Belief) -> None:
        """Keep aside those rows alone that gain nothing at this turn either."""
        if pool.aside is None:
            return
        rows = np.flatnonzero(pool.aside & np.isfinite(pool.noise))
        pool.aside = None
        for row in rows.tolist():
            if pool.aside is None or not pool.aside[row]:
                block = observe(pool, belief, pool.named(np.array([row]))).block
                if gains_nothing(pool, block)[0]:
                    pool.set_aside(row)

    def pick_one(self, pool: RowStates, belief: Belief) -> Step | None:
        """The next pick, of states worked out in float64; None if no row gains anything.

        Rows that gain nothing by themselves, though by their states they would, are set aside.
        """
        for _ in range(len(pool)):
            hot, _ = pool.hottest(belief.objective, 1)
            if not len(hot):
                break
            proposal = observe(pool, belief, pool.named(hot))
            if gains_nothing(pool, proposal.block)[0]:
                pool.set_aside(int(hot[0]))
            elif step := self.drafter.confirm(
                pool, belief, proposal, self.drafter.margin, self.sweep
            ):
                return step
        return None

    def largest_now(self, pool: RowStates, objective: Objective) -> float:
        """`largest` with the present states: no pick tells of rows that gain nothing as yet."""
        potential = objective.potential(pool.state, pool.noise)
        now = 0.0 if potential is None else float(pool.rates(potential, slice(None)).max())
        return now if self.largest is None else max(now, self.largest)

    def rounding(
        self, pool: RowStates, objective: Objective, block: Block, largest: float
    ) -> float:
        """Relative error that one rounding makes in the rates of a block's rivals.

        What blocks subtract from a state is rounded beside what has been there since it was last
        worked out. That is at most `largest` (noise + v) of n, whose rate now has the lesser
        noise + v below it, and `spread` noise of v. Picks orthogonal to all before them lose
        nothing, so that their own drift can hide what their rivals have lost. And gains that are
        differences of states are as inexact as those.

        Parameters
        ----------
        largest : float
            As the attribute, before the block.
        """
        sound = self.drafter.sound(pool, block)
        if not sound:
            return 0.0
        rates = pool.rates(block.columns.gains, pool.located(block.rows))[:sound]
        largest = self.spread if objective.cancels else max(largest, rates.max())
        fall = largest / rates.min()
        return float(np.finfo(pool.dtype).eps * (fall * (1 + self.spread) + self.spread))

    def refresh(self, pool: RowStates, objective: Objective) -> None:
        """Work all states out anew.

        Done once their drift has cost as much as that does, or has become as large as may be.
        Picks dropped and rows settled are signs of drift, but near-ties have other causes, too
        (many rows of few dimensions): where this is called for sooner than drift explains, or soon
        a second time, float32 will not do, and all work goes on in float64.
        """
        began, d = perf_counter(), pool.rows.shape[1]
        is_early = self.since < 2 * d and (self.waste > 1 or self.refreshes)
        if is_early and pool.dtype is np.float32:
            self.use_float64(pool)
        self.host.recompute(pool, objective)
        self.drafter.margin = LEAST_MARGIN[pool.dtype]
        self.waste, self.since, self.largest = 0.0, 0, None
        self.refreshes += 1
        self.seconds["refresh"] += perf_counter() - began

    def use_float64(self, pool: RowStates) -> None:
        """Do all work on the pool in float64 from now on."""
        pool.dtype = np.float64
        self.host.equip(np.float64)
        self.drafter.margin = LEAST_MARGIN[np.float64]
