"""Proposals: picks of a pool, drafted on its hot rows and verified there first.

The draft for a pool is made on the rows that look best now, by the same procedure on fewer of
them; at the last level, of a few hundred rows, one pick at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gip_cli.pursuit.objective import Array, Ids, Objective
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.rules import Rules, close
from gip_cli.pursuit.sweep_plan import STRETCH
from gip_cli.pursuit.trial import try_out
from gip_cli.pursuit.verify import LEAST_MARGIN, Block, Closures, Sweep, Verdict, impose, verify

LEAST_TRUSTED = 4  # picks
DEEPEST = 1e-2  # rates fall no further within a block, whose states are differences from its start
MOST_MARGIN = 1e-4  # of drafts: with more, settling would cost more than a wrong draft


@dataclass(frozen=True, slots=True)
class Belief:
    """Everything that picks change apart from the pool's rows."""

    objective: Objective
    rules: Rules | None

    def copy(self) -> Belief:
        return Belief(self.objective.copy(), None if self.rules is None else self.rules.copy())


@dataclass(frozen=True, slots=True)
class Proposal:
    """A block of picks, and the belief after them."""

    block: Block
    after: Belief


@dataclass(frozen=True, slots=True)
class Step:
    """Picks made: what was proposed, up to the first pick that was wrong, or put right there.

    Attributes
    ----------
    dropped : int
        Proposed picks that were not made as one of them was wrong by no more than rates are off.
    """

    block: Block
    after: Belief
    dropped: int
    closures: Closures
    verdict: Verdict


@dataclass(slots=True)
class Level:
    """One level of drafting: on how many rows, and how far ahead.

    A row left out of the draft overtakes it once the best rate has fallen to that row's own. But
    rows' rates fall along with the best: on pools mixed from real embeddings (52,000 x 384) no
    row whose rate was below the best by the factor x was picked before the best had fallen by
    x^2, x^3 by the median. So a draft on rows down to that factor x is trusted for as long as
    the best takes to fall by x^2, at the rate it fell in the last block. By x^3 where wrong blocks
    are shortened: 1,000 picks of a million rows are 16 blocks then, not 19, of which two are wrong
    either way. By x^4 more are, and it took longer.

    Attributes
    ----------
    size : int
        Rows to draft on.
    longest, step : int
        Longest block to propose, and what its length should be a multiple of.
    may_shorten : bool
        As for `verify`: few rows are swept again in less time than it takes to draft again the
        picks that a shorter block leaves out.
    fall : float
        How much the logarithm of the best rate fell per pick, in the last block.
    trusted : int
        Longest block to propose at present: twice what was confirmed of the last.
    """

    size: int
    longest: int
    step: int
    may_shorten: bool = False
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
            self.trusted = min(self.longest, max(LEAST_TRUSTED, 2 * confirmed))
        else:
            self.trusted = min(self.longest, 2 * max(drafted, self.trusted))
        if len(rates) > 1:
            self.fall = fall(rates[0], rates[-1]) / (len(rates) - 1)

    def ahead(self, rates: Array) -> int:
        """How many picks to draft on rows of these rates."""
        ahead = self.trusted
        if len(rates) == self.size and self.fall > 0:
            depth = fall(rates.max(), rates.min())
            power = 3 if self.may_shorten else 2
            ahead = int(min(ahead, max(STRETCH, power * depth / self.fall)))
        return ahead if ahead < self.step else ahead - ahead % self.step


def fall(high: float, low: float) -> float:
    """How much the logarithm of a rate falls; without end where rounding made one nothing."""
    return math.log(high / low) if high > 0 < low else math.inf


@dataclass(slots=True)
class Drafter:
    """Makes proposals, and makes sure of them.

    Attributes
    ----------
    levels : list of Level
        The first drafts for the whole pool, each other one for the rows that the one before it
        drafts on.
    sweep : callable
        Sweeps the rows that drafts are made on.
    margin : float
        Relative error that rates may have at present, see `verify`.
    """

    levels: list[Level]
    sweep: Sweep
    max_cosine: float | None
    margin: float = LEAST_MARGIN[np.float32]

    def propose(
        self, pool: RowStates, belief: Belief, most: int, depth: int = 0
    ) -> Proposal | None:
        """The next picks of a pool, as far as its hot rows tell; None if no row gains anything."""
        level = self.levels[depth]
        hot, rates = pool.hottest(belief.objective, level.size)
        if not len(hot):
            return None
        return self.draft(pool.gather(hot), belief, min(most, level.ahead(rates)), depth)

    def draft(self, few: RowStates, belief: Belief, picks: int, depth: int) -> Proposal | None:
        """Up to `picks` of the next picks among a few rows."""
        if depth + 1 == len(self.levels):
            rules = None if belief.rules is None else belief.rules.copy()
            rows = try_out(few, belief.objective, rules, picks, self.max_cosine)
            return observe(few, belief, few.named(rows)) if len(rows) else None
        blocks: list[Block] = []
        while picks > 0:
            proposal = self.propose(few, belief, picks, depth + 1)
            margin = min(self.margin, MOST_MARGIN)
            step = proposal and self.confirm(few, belief, proposal, margin, self.sweep, depth + 1)
            if not step:
                break
            blocks.append(step.block)
            belief = step.after
            picks -= len(step.block)
        return Proposal(Block.join(blocks), belief) if blocks else None

    def confirm(
        self,
        pool: RowStates,
        belief: Belief,
        proposal: Proposal,
        margin: float,
        sweep: Sweep,
        depth: int = 0,
        widest: float = np.inf,
    ) -> Step | None:
        """Verify a proposal, put right what is wrong with it, and make its picks.

        None if already its first pick gains nothing, or the right one in its place, which is set
        aside; or if rates are so inexact that telling takes a margin above `widest`.
        """
        # Again of what is left: in blocks of another length gains are rounded otherwise.
        while (sound := self.sound(pool, proposal.block)) < len(proposal.block):
            if not sound:
                return None
            proposal = observe(pool, belief, proposal.block.rows[:sound])
        verdict = verify(
            pool,
            belief.objective,
            proposal.block,
            margin=margin,
            widest=widest,
            is_final=not depth,
            may_shorten=self.levels[depth].may_shorten,
            max_cosine=self.max_cosine,
            sweep=sweep,
        )
        if verdict is None:
            return None
        drafted, closures = len(proposal.block), verdict.closures
        picks = proposal.block.rows[: verdict.confirmed]
        if verdict.right >= 0:
            right = pool.named(np.array([verdict.right]))
            proposal = observe(pool, belief, np.append(picks, right))
            if gains_nothing(pool, proposal.block)[-1]:
                pool.set_aside(verdict.right)
                if not len(picks):
                    return None
                proposal = observe(pool, belief, picks)
            closures = impose(pool, belief.objective, proposal.block, self.max_cosine, sweep)
        elif len(picks) < drafted:
            proposal = observe(pool, belief, picks)
        block = proposal.block
        rates = pool.rates(block.columns.gains, pool.located(block.rows))
        self.levels[depth].learn(drafted, verdict.confirmed, rates)
        pool.accept(closures.rows)
        dropped = drafted - verdict.confirmed if verdict.in_doubt else 0
        return Step(block, proposal.after, dropped, closures, verdict)

    def sound(self, pool: RowStates, block: Block) -> int:
        """How many picks of a block gain anything, and not so little that rounding tells."""
        rates = pool.rates(block.columns.gains, pool.located(block.rows))
        good = ~gains_nothing(pool, block) & (rates > DEEPEST * rates[0])
        return int(np.argmin(np.append(good, False)))


def observe(pool: RowStates, belief: Belief, rows: Ids) -> Proposal:
    """The block of picks `rows` of the whole pool, all of them in `pool`, and the belief after."""
    after, at = belief.copy(), pool.located(rows)
    X = pool.exact(at)
    columns = after.objective.observe(X, pool.noise[at])
    closed = [close(after.rules, int(row)) for row in rows]
    return Proposal(Block(rows, X, columns, closed), after)


def gains_nothing(pool: RowStates, block: Block) -> NDArray[np.bool_]:
    """(b,) picks of a block that gain no more than rounding, whatever their states say."""
    nothing: NDArray[np.bool_] = block.columns.gains <= pool.floor(pool.located(block.rows))
    return nothing
