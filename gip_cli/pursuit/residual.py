"""`residual`: the paper's dual pursuit of a residual score (design 2.3)."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from gip_cli.pursuit.gram_rows import GramRows
from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, namespace, rise
from gip_cli.pursuit.posterior import Posterior
from gip_cli.pursuit.projection import LocalProjection
from gip_cli.pursuit.team import Team

DOUBT = 1e-3  # a residual's sum that is this share of the most it could be may be of either sign


class Residual:
    """Gain |c|^2 / (noise + |f|^2), of rows whose residual c sums to more than 0 unless `signed`.

    The residuals of all rows are c_j = R^T x_j with one matrix R (D, q), whether they start as
    F K^(1/2), R = K^(1/2), or as given scores, which are then further coordinates of the rows,
    x = [f, scores] and R = [0; I]. A pick subtracts f_i c_i^T / (noise_i + |f_i|^2) from R, so
    n_j = |c_j|^2 changes as in `projection`, with f_i itself in the place of Sigma f_i.

    Everywhere here `noise` is the whole denominator, noise + |f|^2, which picks do not change.

    Parameters
    ----------
    K : (d, d)
        Query covariance of unit trace.
    q : int
        How many scores follow each row's embedding, to start from; without any it is F K^(1/2).
    signed : bool
        The paper's form: rows of any residual may be picked. It overshoots: next to a strong
        pick a bad row gets a large negative residual, and is picked for it.
    team : Team
    """

    groups, cancels = 2, False

    def __init__(self, K: Array, q: int, signed: bool, team: Team) -> None:
        self.K, self.posterior = K, Posterior(len(K), team)
        if q:
            self.R = np.vstack([np.zeros((len(K), q)), np.eye(q)])
        else:
            energy, directions = np.linalg.eigh(K)
            self.R = (directions * np.sqrt(np.maximum(energy, 0.0))) @ directions.T
        q = self.R.shape[1]
        self.signed, self.doubt = signed, DOUBT * np.sqrt(q)
        self.rounding = q * np.sqrt(q) * np.finfo(float).eps  # a sum's, beside what is summed
        self.subtracted = 0.0  # most that picks may have taken of a unit row's residual
        self.states = 1 if signed else 2
        self.products: tuple[tuple[int, int], ...] = (
            ((0, 1), (0, 0), (1, 1)) if signed else ((0, 1), (0, 2), (0, 0), (1, 1), (2, 2))
        )

    def copy(self) -> Residual:
        other = copy(self)
        other.posterior, other.R = copy(self.posterior), self.R.copy()
        return other

    def observe(self, X: Array, noise: Array) -> Columns:
        """A block in closed form: A = F F^T, D = diag(noise), C the residuals at their turns.

        (I + tril(A, -1) D^-1) C = X R, and h_t = R_t c_t are the rows of
        C R^T - tril(C C^T, -1) D^-1 F.
        """
        d = len(self.K)
        F = X.copy()
        F[:, d:] = 0.0
        A = F @ F.T
        U, _ = self.posterior.observe(F[:, :d], noise - np.diagonal(A))
        C = np.linalg.inv(np.eye(len(X)) + np.tril(A, -1) / noise) @ (X @ self.R)
        CC = C @ C.T
        H = C @ self.R.T - (np.tril(CC, -1) / noise) @ F
        self.R -= F.T @ (C / noise[:, None])
        self.subtracted = max(self.subtracted, float(np.linalg.norm(self.R[:d])))
        n, total, root = np.diagonal(CC), C.sum(axis=1), np.sqrt(noise)
        theta = n / noise
        left = F / root[:, None]
        return Columns(
            vectors=np.stack([left, 2 * H / root[:, None] - theta[:, None] * left]),
            gains=theta if self.signed else theta * self.is_positive(total, n),
            energy=np.einsum("ij,ij->i", U @ self.K, U),
            fixed=total / root,
        )

    def state(self, X: Floats) -> Floats:
        C = X @ self.R.astype(X.dtype, copy=False)
        n = np.einsum("ij,ij->i", C, C)
        return n[None] if self.signed else np.stack([n, C.sum(axis=1)])

    def gain(self, state: Floats, noise: Floats) -> Floats:
        """In float32 a residual's sum may be of either sign: the gain is negative then."""
        gain: Floats = state[0] / noise
        if not self.signed:
            n, total = state
            if gain.dtype.itemsize == 8:
                gain *= self.is_positive(total, n)
                return gain
            slack = self.slack(n, self.doubt)
            gain *= total > -slack
            gain = namespace(gain).where(total > slack, gain, -gain)
        return gain

    def is_positive(self, total: Floats, n: Floats) -> Any:
        """Whether residuals of squared norm n sum to more than rounding leaves of a sum of 0.

        What picks subtract is a product of d terms, whose rounding is beside the largest of them,
        whatever is left.
        """
        rounded = self.rounding * np.sqrt(len(self.K)) * self.subtracted
        return total > self.slack(n, self.rounding) + rounded

    def slack(self, n: Floats, doubt: float) -> Floats:
        """How far the sum of a residual of squared norm n may be off."""
        slack: Floats = doubt * namespace(n).sqrt(n.clip(0.0))
        return slack

    def potential(self, state: Array, noise: Array) -> Array | None:
        """Of rows of any sum: picks can make it positive, and leave little of a large residual."""
        return None if self.signed else state[0] / noise

    def repeated(self, state: Array, noise: Array, times: Ids) -> Array:
        """As of rows of unit norm."""
        left = np.maximum(1 - 1 / noise, 0.0) ** times
        return state * (left**2 if self.signed else np.stack([left**2, left]))

    def peak(self, before: Floats, after: Floats, sums: Floats, noise: Floats) -> Floats:
        """n and the residual's sum both rise no higher than `rise` says."""
        ab, aa, bb = sums[0], sums[self.states], sums[self.states + 1]
        n: Floats = before[0] + rise(aa, bb, ab)
        if not self.signed:
            total = before[1] + rise(aa, sums[4], sums[1])
            n *= total > -self.slack(n, self.doubt)
        n /= noise
        return n

    def local(self, X: Floats, state: Array, noise: Array, picks: int) -> LocalProjection:
        d, R = len(self.K), self.R.astype(X.dtype, copy=False)

        def vectors(rows: Floats) -> tuple[Floats, Floats]:
            F = rows.copy()
            F[:, d:] = 0.0
            return F, 2 * (rows @ R) @ R.T

        gram = GramRows(X, vectors, self.groups, self.posterior.team)
        if self.signed:
            return LocalProjection(gram, noise, state[0], picks, deflate=False)
        return LocalResidual(gram, noise, state, picks)


class LocalResidual(LocalProjection):
    """`LocalProjection` with the sum of each row's residual, which must be more than 0."""

    def __init__(self, gram: GramRows, noise: Array, state: Array, picks: int) -> None:
        super().__init__(gram, noise, state[0], picks, deflate=False)
        self.total = state[1].astype(gram.X.dtype)

    def gain(self, out: Floats) -> None:
        super().gain(out)
        out *= self.total > 0

    def pick(self, i: int, rates: Floats) -> Floats:
        share = self.total[i] / np.sqrt(self.spread[i])
        a = super().pick(i, rates)
        self.total -= a * share
        return a
