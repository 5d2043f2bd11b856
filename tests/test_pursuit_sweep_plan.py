"""Which hits of a sweep decide a block of picks, where there are too many to keep."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit.sweep_plan import MANY, Contest

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
