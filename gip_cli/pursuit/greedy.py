"""Draft on a few rows, verify on all: design 2.5.

A block of picks is proposed from the rows that look best now, and one sweep over the whole pool
confirms it: every pick must be the best of all rows at its turn. The proposal itself comes from
the same procedure on a few thousand hot rows, whose own proposals come from a few hundred.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from gip_cli.pursuit.draft import draft
from gip_cli.pursuit.objective import Array, Columns, Ids, Objective
from gip_cli.pursuit.pool import Pool
from gip_cli.pursuit.rules import Rules, close
from gip_cli.pursuit.sweep import STRETCH, Buffers, Hits, Plan, recompute, sweep
from gip_cli.pursuit.team import Team
from gip_cli.pursuit.verify import LEAST_MARGIN, Block, Sweep, impose, verify

LONGEST_DRAFT, LEAST_TRUSTED = 64, 4
MOST_MARGIN = 1e-4  # of drafts: with more, settling would cost more than a wrong draft
DEEPEST = (
    1e-2  # a block ends before gains have fallen so far: states are differences from its start
)


@dataclass(frozen=True, slots=True)
class Belief:
    """Everything that picks change apart from the pool's rows."""

    objective: Objective
    rules: Rules | None

    def copy(self) -> Belief:
        return Belief(self.objective.copy(), None if self.rules is None else self.rules.copy())


@dataclass(slots=True)
class Level:
    """One level of drafting: on how many rows, and how far ahead.

    A row left out of the draft overtakes it once the best rate has fallen to that row's own. But
    rows' rates fall along with the best: on pools mixed from real embeddings (52,000 x 384) no
    row whose rate was below the best by the factor x was picked before the best had fallen by
    x^2, x^3 by the median. So a draft on rows down to that factor x is trusted for as long as
    the best takes to fall by x^2, at the rate it fell in the last block.

    Attributes
    ----------
    size : int
        Rows to draft on.
    longest : int
        Longest block to propose.
    fall : float
        How much the logarithm of the best rate fell per pick, in the last block.
    trusted : int
        Longest block to propose at present: twice what was confirmed of the last.
    """

    size: int
    longest: int
    fall: float = math.inf
    trusted: int = STRETCH
    blocks: int = 0
    drafted: int = 0
    accepted: int = 0

    def learn(self, drafted: int, confirmed: int, rates: Array) -> None:
        """Take note of what became of a block, and of the rates of the picks then made."""
        self.blocks += 1
        self.drafted += drafted
        self.accepted += confirmed
        if confirmed < drafted:
            self.trusted = max(LEAST_TRUSTED, 2 * confirmed)
        else:
            self.trusted = min(self.longest, 2 * max(drafted, self.trusted))
        if len(rates) > 1:
            self.fall = math.log(rates[0] / rates[-1]) / (len(rates) - 1)

    def ahead(self, rates: Array) -> int:
        """How many picks to draft on rows of these rates."""
        ahead = self.trusted
        if len(rates) == self.size and self.fall > 0:
            depth = math.log(rates.max() / rates.min())
            ahead = min(ahead, max(STRETCH, int(2 * depth / self.fall)))
        return ahead if ahead < STRETCH else ahead - ahead % STRETCH


@dataclass(slots=True)
class Greedy:
    """The exact greedy, a block at a time.

    Attributes
    ----------
    sweep : callable
        Sweeps the whole pool; those that drafts are made on are always swept by the team.
    floor : float
        Gains not above it are rounding, not gains.
    margin : float
        Relative error that rates may have at present, see `verify`.
    waste : float
        What inexact rates have cost since states were last worked out, in units of that work.
    since : int
        Picks since then.
    """

    team: Team[Buffers]
    sweep: Sweep
    levels: list[Level]
    floor: float
    max_cosine: float | None
    margin: float = LEAST_MARGIN[np.float32]
    waste: float = 0.0
    since: int = 0
    near_ties: int = 0
    refreshes: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def advance(
        self, pool: Pool, belief: Belief, most: int, depth: int = 0
    ) -> tuple[Block, Belief, int] | None:
        """Make the next picks on `pool`, at most `most` of them and at least one.

        Returns
        -------
        block : Block
        belief : Belief
            After the block; the one given is unchanged.
        duplicates : int
            Rows that `max_cosine` closed.

        None if no row has a gain above the floor.
        """
        level, began = self.levels[depth], perf_counter()
        proposal = self.propose(pool, belief, most, depth)
        if proposal is None:
            return None
        block, after = proposal
        sound = self.sound(pool, block)
        if not sound:  # the states have drifted so far that what seemed the best gains nothing
            recompute(pool, belief.objective, self.team)
            return self.advance(pool, belief, most, depth)
        if sound < len(block):
            after = belief.copy()
            block = observe(pool, after, block.rows[:sound])
        proposed = perf_counter()

        sweep_pool = self.sweep_draft if depth else self.sweep
        verdict = verify(
            pool,
            belief.objective,
            block,
            margin=min(self.margin, MOST_MARGIN) if depth else self.margin,
            is_final=not depth,
            max_cosine=self.max_cosine,
            sweep=sweep_pool,
        )
        closures, dropped = verdict.closures, len(block) - verdict.confirmed
        drafted = len(block)
        if dropped:
            right = pool.named(np.array([verdict.right]))
            after = belief.copy()
            block = observe(pool, after, np.append(block.rows[: verdict.confirmed], right))
            closures = impose(pool, belief.objective, block, self.max_cosine, sweep_pool)
        rates = pool.rates(block.columns.gains, pool.located(block.rows))
        level.learn(drafted, verdict.confirmed, rates)
        pool.accept(closures.rows)
        if not depth:
            self.margin = verdict.margin
            self.near_ties += verdict.settled
            self.seconds["draft"] += proposed - began
            self.seconds["verify"] += perf_counter() - proposed
            self.since += len(block)
            self.refresh(pool, after.objective, verdict.settled, dropped)
        return block, after, closures.duplicates

    def sweep_draft(self, pool: Pool, plan: Plan) -> Hits:
        return sweep(self.team, pool, plan)

    def propose(
        self, pool: Pool, belief: Belief, most: int, depth: int
    ) -> tuple[Block, Belief] | None:
        """Draft picks on the hot rows of a pool: by `advance` on them, or at the last level."""
        level = self.levels[depth]
        hot, rates = pool.hottest(belief.objective, level.size, self.floor)
        if not len(hot):
            return None
        picks = min(most, level.ahead(rates))
        few, after = pool.gather(hot), belief.copy()
        if depth + 1 == len(self.levels):
            rules = None if belief.rules is None else belief.rules.copy()
            rows = draft(few, belief.objective, rules, picks, self.floor, self.max_cosine)
            return (observe(few, after, few.named(rows)), after) if len(rows) else None
        blocks: list[Block] = []
        while picks > 0 and (made := self.advance(few, after, picks, depth + 1)):
            block, after, _ = made
            blocks.append(block)
            picks -= len(block)
        return (Block.join(blocks), after) if blocks else None

    def sound(self, pool: Pool, block: Block) -> int:
        """How many picks of a block gain anything, and not so little that rounding tells.

        States within a block are differences from its start, so rates must not fall too far.
        """
        gains = block.columns.gains
        rates = pool.rates(gains, pool.located(block.rows))
        good = (gains > self.floor) & (rates > DEEPEST * rates[0])
        return int(np.argmin(np.append(good, False)))

    def refresh(self, pool: Pool, objective: Objective, settled: int, dropped: int) -> None:
        """Work all states out anew once their drift has cost as much as that does.

        A pick dropped has cost the products with its columns, a row settled its d x d product and
        the products with a block's columns. Both are signs of drift, but near-ties have other
        causes (many small rows of few dimensions): where states are worked out anew more often
        than their drift explains, float32 will not do, and all work goes on in float64.
        """
        m, d = pool.rows.shape
        self.waste += dropped / (2 * d) + settled * (d + self.levels[0].longest) / d / m
        if self.waste > 1:
            began = perf_counter()
            if self.since < 2 * d and pool.dtype is np.float32:
                pool.dtype = np.float64
                self.team.desks = [Buffers(objective, d, np.float64) for _ in self.team.desks]
            recompute(pool, objective, self.team)
            self.margin, self.waste, self.since = LEAST_MARGIN[pool.dtype], 0.0, 0
            self.refreshes += 1
            self.seconds["refresh"] += perf_counter() - began


def observe(pool: Pool, belief: Belief, rows: Ids) -> Block:
    """Condition a belief, in place, on rows of the whole pool that are in `pool`."""
    at = pool.located(rows)
    X = pool.exact(at)
    columns: Columns = belief.objective.observe(X, pool.noise[at])
    return Block(rows, X, columns, [close(belief.rules, int(row)) for row in rows])
