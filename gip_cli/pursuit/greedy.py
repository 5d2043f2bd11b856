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
from gip_cli.pursuit.objective import Columns, Ids, Objective
from gip_cli.pursuit.pool import Pool
from gip_cli.pursuit.rules import Rules, close
from gip_cli.pursuit.sweep import STRETCH, Buffers, recompute
from gip_cli.pursuit.team import Team
from gip_cli.pursuit.verify import LEAST_MARGIN, Block, impose, verify

LONGEST_DRAFT = 64
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
    """

    size: int
    longest: int
    fall: float = math.inf
    blocks: int = 0
    drafted: int = 0
    accepted: int = 0

    def ahead(self, rates: np.ndarray) -> int:
        """How many picks to draft on rows of these rates."""
        if len(rates) < self.size or self.fall <= 0:
            return self.longest
        depth = math.log(rates.max() / rates.min())
        ahead = min(self.longest, int(2 * depth / self.fall))
        return max(STRETCH, ahead - ahead % STRETCH)


@dataclass(slots=True)
class Greedy:
    """The exact greedy, a block at a time.

    Attributes
    ----------
    floor : float
        Gains not above it are rounding, not gains.
    margin : float
        Relative error that rates may have at present, see `verify`.
    """

    team: Team[Buffers]
    levels: list[Level]
    floor: float
    max_cosine: float | None
    margin: float = LEAST_MARGIN
    near_ties: int = 0
    refreshes: int = 0
    waste: float = 0.0
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
        hot, rates = pool.hottest(belief.objective, level.size, self.floor)
        if not len(hot):
            return None
        proposal = self.propose(pool, belief, hot, min(most, level.ahead(rates)), depth)
        if proposal is None:
            return None
        block, after = proposal
        gains = block.columns.gains
        sound = int(np.argmin(np.append(gains > max(self.floor, DEEPEST * gains[0]), False)))
        if not sound:  # the states have drifted so far that the first pick is none
            recompute(pool, belief.objective, self.team)
            return self.advance(pool, belief, most, depth)
        if sound < len(block):
            after = belief.copy()
            block = observe(pool, after, block.rows[:sound])
        if not depth:
            self.seconds["draft"] += perf_counter() - began
            began = perf_counter()

        verdict = verify(
            pool,
            belief.objective,
            block,
            margin=min(self.margin, MOST_MARGIN) if depth else self.margin,
            is_final=not depth,
            max_cosine=self.max_cosine,
            team=self.team,
        )
        closures = verdict.closures
        level.blocks += 1
        level.drafted += len(block)
        level.accepted += verdict.confirmed
        dropped = len(block) - verdict.confirmed
        if verdict.right >= 0:
            right = pool.named(np.array([verdict.right]))
            after = belief.copy()
            block = observe(pool, after, np.append(block.rows[: verdict.confirmed], right))
            closures = impose(pool, belief.objective, block, self.max_cosine, self.team)
        pool.accept(closures.rows)
        if len(block) > 1:
            gains = block.columns.gains
            level.fall = math.log(gains[0] / gains[-1]) / (len(block) - 1)
        if not depth:
            self.margin = verdict.margin
            self.near_ties += verdict.settled
            self.seconds["verify"] += perf_counter() - began
            self.refresh(pool, after.objective, verdict.settled, dropped)
        return block, after, closures.duplicates

    def refresh(self, pool: Pool, objective: Objective, settled: int, dropped: int) -> None:
        """Work the states out anew once their drift has cost as much as that does.

        In units of a row's d x d product in float64: a row settled costs one, a pick dropped one
        column of every row. Drift shows in both, so the waste is at most doubled.
        """
        self.waste += settled / len(pool) + dropped / (2 * pool.rows.shape[1])
        if self.waste > 1:
            self.waste, began = 0.0, perf_counter()
            recompute(pool, objective, self.team)
            self.margin = LEAST_MARGIN
            self.refreshes += 1
            self.seconds["refresh"] += perf_counter() - began

    def propose(
        self, pool: Pool, belief: Belief, hot: Ids, picks: int, depth: int
    ) -> tuple[Block, Belief] | None:
        """Draft picks on the hot rows of a pool: by `advance` on them, or at the last level."""
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


def observe(pool: Pool, belief: Belief, rows: Ids) -> Block:
    """Condition a belief, in place, on rows of the whole pool that are in `pool`."""
    at = pool.located(rows)
    X = pool.exact(at)
    columns: Columns = belief.objective.observe(X, pool.noise[at])
    return Block(rows, X, columns, [close(belief.rules, int(row)) for row in rows])
