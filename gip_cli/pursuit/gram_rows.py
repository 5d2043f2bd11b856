"""Gram matrices of a few hundred rows, of which likely picks' rows alone are worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gip_cli.pursuit.objective import Floats
from gip_cli.pursuit.pieces import multiply
from gip_cli.pursuit.team import Team

# Rows worked out at first, and each time that a pick's is missing. A draft of 43 picks among 384
# rows takes some 120 in all: more at a time are more that are not needed, fewer cost more each.
FIRST, NEXT = 64, 32


class GramRows:
    """Rows of F A F^T for several symmetric A.

    Parameters
    ----------
    X : (p, D)
        The rows F.
    vectors : callable
        For rows x (e, D) of F, A x (e, D) for every A.
    groups : int
        How many A there are.
    team : Team
    """

    def __init__(
        self, X: Floats, vectors: Callable[[Floats], Sequence[Floats]], groups: int, team: Team
    ) -> None:
        self.X, self.vectors, self.team = X, vectors, team
        self.rows = np.empty((len(X), groups, len(X)), X.dtype)  # in the order they were asked for
        self.place = np.full(len(X), -1)
        self.known = 0

    def row(self, i: int, rates: Floats) -> Floats:
        """(groups, p) row `i` of each; if it is missing, worked out with those of high `rates`."""
        if self.place[i] < 0:
            self._work_out(i, rates)
        row: Floats = self.rows[self.place[i]]
        return row

    def _work_out(self, i: int, rates: Floats) -> None:
        more = (NEXT if self.known else FIRST) - 1
        missing = self.place < 0
        missing[i] = False
        others = np.flatnonzero(missing)
        if len(others) > more:
            others = others[np.argpartition(rates[others], -more)[-more:]]
        ids = np.append(others, i)
        rows = self.rows[self.known :][: len(ids)]

        def work(half: slice) -> None:
            vectors = np.concatenate(self.vectors(self.X[ids[half]]))
            products = multiply(self.X, np.ascontiguousarray(vectors.T))
            out = rows[half]
            out[...] = products.reshape(len(self.X), *out.shape[1::-1]).T

        self.team.halve(work, len(ids), rows.nbytes * self.X.shape[1])
        self.place[ids] = self.known + np.arange(len(ids))
        self.known += len(ids)
