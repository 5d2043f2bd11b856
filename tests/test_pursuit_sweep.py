"""Blocks with a wrong pick: where they end, and that states are what its picks leave."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gip_cli.pursuit import select
from gip_cli.pursuit.draft import Belief, Drafter, Level, observe
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.row_states import RowStates
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.sweep import Sweeper
from gip_cli.pursuit.team import Team
from tests.pools import random, self_query

M, D, K = 9000, 24, 101
DRIFTED = 0.3  # margin that leaves every rival in doubt


@cache
def pool_and_picks(max_cosine: float | None):
    F = random(np.random.default_rng(31), m=M, d=D).astype(np.float32)
    return F, select(F, K, max_cosine=max_cosine, noise=30.0).indices


class Missed:
    """The greedy's picks of a pool, and what becomes of a draft that has missed one of them."""

    def __init__(self, team: Team, missed: int, *, is_last: bool, max_cosine: float | None) -> None:
        """`is_last`: whether the missed row is the last that a sweep comes to, or the first."""
        F, picks = pool_and_picks(max_cosine)
        place = M - 1 if is_last else 0
        order = np.arange(M)
        order[[place, picks[missed]]] = order[[picks[missed], place]]
        self.F, self.picks = F[order], order[picks]  # swapping is its own inverse
        assert self.picks[missed] == place
        self.missed, self.max_cosine = missed, max_cosine
        self.belief = Projection(self_query(self.F), team)
        state = self.belief.state(self.F.astype(float))
        self.pool = RowStates(Source(self.F), np.full(M, 30.0), None, state)
        self.sweeper = Sweeper(team, self.belief, D)

    def confirm(self, margin: float, *, may_shorten: bool = True):
        level = Level(M, 256, 1, may_shorten)
        drafter = Drafter([level], self.sweeper.sweep, self.max_cosine)
        drafted = np.delete(self.picks, self.missed)
        proposal = observe(self.pool, Belief(self.belief, None), drafted)
        step = drafter.confirm(
            self.pool, Belief(self.belief, None), proposal, margin, self.sweeper.sweep
        )
        made = len(step.block)
        np.testing.assert_array_equal(step.block.rows, self.picks[:made])
        after = self.belief.copy()
        columns = after.observe(self.F[self.picks[:made]].astype(float), np.full(made, 30.0))
        np.testing.assert_allclose(step.block.columns.gains, columns.gains, rtol=1e-9)
        left = step.after.objective.smoothed_query()
        np.testing.assert_allclose(left, after.smoothed_query(), atol=1e-12)
        exact = after.state(self.F.astype(float))
        np.testing.assert_allclose(self.pool.state, exact, rtol=1e-4, atol=1e-7)
        self.check_closures(step)
        return step

    def check_closures(self, step):
        """Those of the picks made alone, whatever more was swept for."""
        made = self.picks[: len(step.block)]
        since = np.full(M, len(made) + 1)
        duplicates = np.zeros(len(made), int)
        for t, pick in enumerate(made):
            since[pick] = min(since[pick], t)
            if self.max_cosine is not None:
                near = (self.F @ self.F[pick] > self.max_cosine) & (since > t + 1)
                duplicates[t] = np.count_nonzero(near)
                since[near] = t + 1
        np.testing.assert_array_equal(step.closures.rows, np.flatnonzero(since <= len(made)))
        np.testing.assert_array_equal(step.closures.duplicates, duplicates)
        np.testing.assert_array_equal(np.isinf(self.pool.noise), since <= len(made))


@pytest.fixture(params=[1, 2, 7])
def team(request):
    with Team() as team:
        team.size = request.param
        yield team


@pytest.mark.parametrize("max_cosine", [None, 0.6])
@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("missed", [0, 7, 8, 20, 28, 60, 99])
def test_a_block_ends_before_a_pick_that_is_beaten_beyond_doubt(missed, is_last, max_cosine, team):
    """There, or where its stretch of 28 picks begins; put right are the first few alone."""
    step = Missed(team, missed, is_last=is_last, max_cosine=max_cosine).confirm(1e-5)
    assert len(step.block) == (missed + (missed < 8) if missed < 28 else missed - missed % 28)
    assert step.dropped == 0  # no sign of drift


@pytest.mark.parametrize("max_cosine", [None, 0.6])
@pytest.mark.parametrize("missed", [0, 20, 28, 60])
def test_a_block_of_which_float64_tells_that_it_is_wrong(missed, max_cosine, team):
    """Within the first stretch it is put right; after that it ends where a stretch does."""
    step = Missed(team, missed, is_last=False, max_cosine=max_cosine).confirm(DRIFTED)
    assert len(step.block) == (missed + 1 if missed < 28 else missed - missed % 28)
    assert step.dropped == 100 - missed + missed % 28 * (missed >= 28)


@pytest.mark.parametrize("margin", [1e-5, DRIFTED])
def test_a_block_of_few_rows_is_put_right(margin, team):
    """A sweep of them takes less than to draft again what a shorter block would leave out."""
    draft = Missed(team, 60, is_last=True, max_cosine=None)
    assert len(draft.confirm(margin, may_shorten=False).block) == 61
