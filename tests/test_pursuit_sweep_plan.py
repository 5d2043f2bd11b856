"""What a sweep is told of a block of picks, and which of its hits decide the block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gip_cli.pursuit.objective import Columns
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.sweep_plan import (
    LEAST_KEPT,
    LONGEST,
    MANY,
    STRETCH,
    Contest,
    SweepPlan,
    stretch_of,
)
from gip_cli.pursuit.team import Team

RIVAL = 2  # of the second pick, which it beats by far


@pytest.mark.parametrize(
    ("closed", "near", "proves"),
    [
        ([], [], True),
        ([2], [], True),
        ([1], [], False),
        ([], [1], True),  # to the very pick that it may have beaten
        ([], [0], False),
    ],
)
def test_a_row_proves_nothing_from_the_pick_on_that_it_can_no_longer_be(
    closed: list[int], near: list[int], proves: bool
) -> None:
    """Since a pick of the block it is closed, or too near to one: others may have beaten it yet."""
    contest = Contest(
        rates=np.ones(2),
        margin=1e-6,
        picks=np.array([0, 1]),
        closed=np.array([0, 1, *[RIVAL] * len(closed)]),
        since=np.array([1, 2, *closed]),
    )
    rows = np.arange(1, MANY + 1)  # the second pick, its rival, and rows as good as the pick
    hits = rows, np.ones(MANY, np.int64), np.where(rows == RIVAL, 2.0, 1.0)
    found = np.array([RIVAL] * len(near), np.int64), np.array(near, np.int64), np.ones(len(near))
    kept, _, _ = contest.thinned(hits, found)
    assert kept.tolist() == ([1, RIVAL] if proves else rows.tolist())


@pytest.mark.parametrize("b", [1, 4, 5, 20, 31, 32, 33, 40, 65, 256])
def test_rates_that_fall_steeply_within_one_stretch_are_bounded_by_halves(b: int) -> None:
    flat, steep = np.ones(b), np.linspace(1, 0.5, b)
    stretches = -(-b // stretch_of(flat))
    assert stretches == -(-b // STRETCH)
    assert -(-b // stretch_of(steep)) == (2 if 4 < b <= STRETCH else stretches)
    assert stretch_of(flat) % 4 == 0 == stretch_of(steep) % 4


@given(b=st.integers(1, LONGEST * STRETCH), last=st.integers(0, LONGEST * STRETCH), data=st.data())
def test_a_shortened_plan_is_the_beginning_of_the_whole(b: int, last: int, data: st.DataObject):
    """By the same stretches, as those that are swept with the whole plan stay as they are."""
    rng = np.random.default_rng(b)
    rates = np.sort(rng.uniform(data.draw(st.sampled_from([0.5, 0.99])), 1, b))[::-1]
    fixed = data.draw(st.sampled_from([None, rng.standard_normal(b)]))
    block = Columns(rng.standard_normal((2, b, 3)), rates, rates, fixed)
    nothing = np.empty(0, np.int64)
    contest = Contest(rates, 1e-5, np.arange(b), nothing, nothing, may_shorten=True)
    with Team() as team:
        objective = Projection(np.eye(3), team)
    whole = SweepPlan(objective, block, rates, np.float32, contest, rng.standard_normal((b, 3)))
    assert whole.shortened() is whole
    contest.last = last
    plan = whole.shortened()
    picks = len(plan)
    assert 1 <= picks <= max(LEAST_KEPT, last)
    kept = max(LEAST_KEPT, last)
    if kept >= b:
        assert plan is whole
    elif kept >= whole.stretch:
        assert picks == kept - kept % whole.stretch
        assert (plan.stretch, plan.stretches) == (whole.stretch, kept // whole.stretch)
    else:
        assert (picks, plan.stretches) == (kept, 1)
    for part, of in ((plan.limits, whole.limits), (plan.fixed, whole.fixed)):
        np.testing.assert_array_equal(part.ravel()[:picks], of.ravel()[:picks])
    assert np.isinf(plan.limits.ravel()[picks:]).all()
    vectors = plan.matrix.reshape(3, 2, -1)
    np.testing.assert_array_equal(vectors[..., :picks], whole.matrix.reshape(3, 2, -1)[..., :picks])
    assert not vectors[..., picks:].any()
    np.testing.assert_array_equal(plan.picks, whole.picks[:, :picks])
    assert plan.shortened() is plan
    contest.may_shorten = False
    assert whole.shortened() is whole
