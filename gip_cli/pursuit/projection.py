"""`projection`: most of the query's energy in the span of the picks (design section 2)."""

from __future__ import annotations

from copy import copy

import numpy as np

from gip_cli.pursuit.gram_rows import GramRows
from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, rise
from gip_cli.pursuit.pieces import multiply
from gip_cli.pursuit.posterior import Posterior
from gip_cli.pursuit.team import Team

FOLD = 64  # columns of a matrix at a time, at least


class Projection:
    """Gain n / (noise + v), with v = f^T Sigma f and n = f^T Sigma K Sigma f.

    Parameters
    ----------
    K : (d, d)
        Query covariance of unit trace.
    team : Team
    """

    states, groups, cancels = 2, 2, False
    products = ((0, 0), (0, 1), (1, 1))

    def __init__(self, K: Array, team: Team) -> None:
        self.K, self.folded, self.team = K, folded(K), team
        self.K32 = K.astype(np.float32)
        self.posterior = Posterior(len(K), team)

    def copy(self) -> Projection:
        other = copy(self)
        other.posterior = copy(self.posterior)
        return other

    def observe(self, X: Array, noise: Array) -> Columns:
        """Closed form of the greedy step's `v` and `n` updates for a block of picks.

        With u_t as in `Posterior.observe` and h_t = Sigma_t K u_t, pick t gains
        theta_t = u_t^T K u_t and changes n by -(f.u)(2 f.h - theta f.u). After the block
        Sigma_t = Sigma_b + sum_{s>=t} u_s u_s^T, so all h_t are two products:
        H = U K Sigma_b + triu(U K U^T) U.
        """
        U, _ = self.posterior.observe(X, noise)
        UK = self.team.product(U, self.K)
        S = UK @ U.T
        theta = np.diagonal(S).copy()
        right = self.posterior.smoothed(2 * UK, self.team.product)
        right += (2 * np.triu(S) - np.diag(theta)) @ U
        return Columns(np.stack([U, right]), theta, theta)

    def smoothed_query(self) -> Array:
        """(d, d) Sigma K Sigma, of which n is the quadratic form."""
        product = self.team.product
        return self.posterior.smoothed(self.posterior.smoothed(self.K, product).T, product)

    def state(self, X: Floats) -> Floats:
        Z = self.posterior.smoothed(X)
        v = np.einsum("ij,ij->i", Z, X)
        return np.stack([v, quadratic(Z, self.folded)])

    def gain(self, state: Floats, noise: Floats) -> Floats:
        v, n = state
        gain: Floats = n / (noise + v)
        return gain

    def potential(self, state: Array, noise: Array) -> None:
        """None: what a row would gain it does gain."""

    def repeated(self, state: Array, noise: Array, times: Ids) -> Array:
        v, n = state
        left = noise / (noise + times * v)
        return np.stack([v * left, n * left**2])

    def peak(self, before: Floats, after: Floats, sums: Floats, noise: Floats) -> Floats:
        """v only falls, and n rises no higher than `rise` says."""
        aa, ab, bb = sums
        bound: Floats = before[1] + rise(aa, bb, ab)
        bound /= noise + after[0]
        return bound

    def local(self, X: Floats, state: Array, noise: Array, picks: int) -> LocalProjection:
        K = self.K32 if X.dtype == np.float32 else self.K

        def vectors(rows: Floats) -> tuple[Floats, Floats]:
            Z = self.posterior.smoothed(rows)
            return Z, self.posterior.smoothed(multiply(2 * Z, K))

        gram = GramRows(X, vectors, self.groups, self.team)
        return LocalProjection(gram, noise + state[0], state[1], picks)


def fold(d: int) -> int:
    """Columns of a (d, d) matrix at a time: fewer spare more of the product, but slow it down.

    Of 4,096 by 96 it took 1.4 times as long as by eighths.
    """
    return max(FOLD, d // 8)


def folded(A: Array) -> Array:
    """A symmetric matrix whose blocks left of the diagonal are added to those above it."""
    folded, step = A.copy(), fold(len(A))
    for start in range(step, len(A), step):
        folded[:start, start : start + step] *= 2
    return folded


def quadratic(X: Floats, folded: Floats) -> Floats:
    """(c,) x^T A x of rows X (c, d), in X's precision, by little more than half of X A."""
    A = folded.astype(X.dtype, copy=False)
    total, step = np.zeros(len(X), X.dtype), fold(len(A))
    for start in range(0, len(A), step):
        end = start + step
        total += np.einsum("ij,ij->i", multiply(X[:, :end], A[:end, start:end]), X[:, start:end])
    return total


class LocalProjection:
    """The greedy step in the coordinates of a few rows: no vector of length d is needed.

    For a pick i, a = f.u and b = f.(2 h - theta u) of all rows, of which n loses a b, come from
    row i of the Gram matrices F Sigma F^T and 2 F Sigma K Sigma F^T, corrected for the earlier
    picks s:

        a = (gram0_i - sum_s a_s(i) a_s) / sqrt(spread)
        b = (gram1_i - sum_s b_s(i) a_s + a_s(i) b_s) / sqrt(spread) - theta a

    Parameters
    ----------
    gram : GramRows
        Both matrices.
    spread, n : (p,)
        noise + v and n of each row.
    picks : int
        Most picks to be made.
    deflate : bool
        Whether picks change F Sigma F^T (`residual` keeps it).
    """

    def __init__(
        self, gram: GramRows, spread: Array, n: Array, picks: int, *, deflate: bool = True
    ) -> None:
        p, dtype = len(gram.X), gram.X.dtype
        self.gram, self.deflate = gram, deflate
        self.spread, self.n = spread.astype(dtype), n.astype(dtype)
        self.steps = np.empty((2 * picks, p), dtype)  # a_0, b_0, a_1, b_1, ...
        self.mix = np.zeros((2, 2 * picks), dtype)  # what to subtract of each of them
        self.done = 0
        self.work = np.empty((2, p), dtype)

    def gain(self, out: Floats) -> None:
        np.divide(self.n, self.spread, out=out)

    def pick(self, i: int, rates: Floats) -> Floats:
        """Update all rows for the pick of row `i`; the column a (p,) of that pick."""
        rows = 2 * self.done
        self.done += 1
        spread, theta = self.spread[i], self.n[i] / self.spread[i]
        past, mix, work = self.steps[:rows], self.mix[:, :rows], self.work
        step = self.steps[rows : rows + 2]
        if self.deflate:
            mix[0, 0::2] = past[0::2, i]
        mix[1, 0::2] = past[1::2, i]
        mix[1, 1::2] = past[0::2, i]
        np.matmul(mix, past, out=work)
        np.subtract(self.gram.row(i, rates), work, out=step)
        step *= 1 / np.sqrt(spread)
        a: Floats
        a, b = step
        b -= np.multiply(a, theta, out=work[0])
        if self.deflate:
            self.spread -= np.multiply(a, a, out=work[0])
        self.n -= np.multiply(a, b, out=work[0])
        return a
