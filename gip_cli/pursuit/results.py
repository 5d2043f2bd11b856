"""What a pursuit returns, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Stopped = Literal["budget", "captured", "exhausted", "interrupted"]


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """How the work went; nothing here changes what was picked.

    Attributes
    ----------
    blocks : int
        Verifications over the whole pool.
    drafted, accepted : int
        Picks proposed by the drafts, and those that the pool confirmed.
    near_ties : int
        Rows whose gain came within rounding of the best and was settled in float64.
    refreshes : int
        Times that all rows' states were worked out anew.
    deferred : int
        Rows that were left out of a sweep for their gain's bound, at most.
    seconds : mapping of str to float
        Wall-clock time by stage.
    """

    blocks: int
    drafted: int
    accepted: int
    near_ties: int
    refreshes: int
    deferred: int
    seconds: Mapping[str, float]

    @property
    def acceptance(self) -> float:
        """Share of the drafted picks that were confirmed, in [0, 1]."""
        return self.accepted / self.drafted if self.drafted else 1.0


@dataclass(frozen=True, slots=True, eq=False)  # of arrays == is no yes or no
class Selection:
    """Rows in the order they were picked.

    Attributes
    ----------
    indices : (n,) int64
        Row of each pick. The first j of them are the selection for a budget of j at this noise.
    gains : (n,) float64
        What the pursuit maximised, as it was at each pick: for `projection` the share of the
        query's energy that the pick captured, for `information` the log-determinant ratio in
        nats, for `residual` the squared residual score over noise and norm.
    captured : (n,) float64
        Share of the query's energy captured by the picks so far, 1 - tr(K Sigma) / tr(K), in
        [0, 1). For `projection` it is `captured_given` plus the cumulative sum of the gains.
    captured_given : float
        What the rows given beforehand had captured before the first pick.
    noise : float
        The noise variance used; given again, it makes smaller budgets a prefix of this one.
    stopped : str
        "budget" (k picks made), "captured" (`stop_at` reached), "exhausted" (no row may be
        picked any more) or "interrupted" (a partial selection, see
        `gip_cli.pursuit.Progress`).
    duplicates : int
        Rows that could no longer be picked because a pick was closer than `max_cosine`.
    diagnostics : gip_cli.pursuit.Diagnostics
        How the work went: blocks, drafts, near-ties, time by stage.
    """

    indices: NDArray[np.int64]
    gains: NDArray[np.float64]
    captured: NDArray[np.float64]
    captured_given: float
    noise: float
    stopped: Stopped
    duplicates: int
    diagnostics: Diagnostics

    @property
    def captured_in_all(self) -> float:
        """Share of the query's energy captured by the picks and the rows given, in [0, 1)."""
        return float(self.captured[-1]) if len(self.captured) else self.captured_given


class Record:
    """The picks as they are made: the mutable side of `Selection`.

    Parameters
    ----------
    most : int
        Picks that there is room for.
    """

    def __init__(self, most: int, captured_given: float, noise: float) -> None:
        self.indices = np.empty(most, np.int64)
        self.duplicates = np.empty(most, np.int64)  # that each pick closed
        self.gains, self.captured = np.empty((2, most))
        self.captured_given, self.noise = captured_given, noise
        self.picks = 0

    @property
    def total(self) -> float:
        """Share of the query's energy captured so far."""
        return float(self.captured[self.picks - 1]) if self.picks else self.captured_given

    def add(
        self,
        rows: NDArray[np.int64],
        gains: NDArray[np.float64],
        energy: NDArray[np.float64],
        duplicates: NDArray[np.int64],
    ) -> None:
        """Append a block of picks; what rounding made negative counts as nothing."""
        end = self.picks + len(rows)
        self.indices[self.picks : end] = rows
        self.duplicates[self.picks : end] = duplicates
        self.gains[self.picks : end] = np.maximum(gains, 0.0)
        self.captured[self.picks : end] = self.total + np.cumsum(np.maximum(energy, 0.0))
        self.picks = end

    def cut(self, captured: float) -> None:
        """Drop the picks after the first with which `captured` was reached."""
        reached = np.searchsorted(self.captured[: self.picks], captured)
        self.picks = min(self.picks, int(reached) + 1)

    def selection(self, stopped: Stopped, diagnostics: Diagnostics) -> Selection:
        """What has been picked so far, as read-only views that later picks leave alone."""
        indices = self.indices[: self.picks]
        gains, captured = self.gains[: self.picks], self.captured[: self.picks]
        for view in (indices, gains, captured):
            view.flags.writeable = False
        return Selection(
            indices,
            gains,
            captured,
            self.captured_given,
            self.noise,
            stopped,
            int(self.duplicates[: self.picks].sum()),
            diagnostics,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pursuit stands between two blocks of picks.

    Attributes
    ----------
    budget : int
        Most picks that the pursuit will make.
    selection : Selection
        Everything picked so far, `stopped="interrupted"`. Its arrays are read-only views that
        stay valid, so a callback that raises can leave it behind as a partial selection.
    """

    budget: int
    selection: Selection

    @property
    def picks(self) -> int:
        """Picks made so far."""
        return len(self.selection.indices)

    @property
    def captured(self) -> float:
        """Share of the query's energy captured so far, in [0, 1)."""
        return self.selection.captured_in_all
