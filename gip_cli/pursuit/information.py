"""`information`: most mutual information between the picks and the query (design 2.3)."""

from __future__ import annotations

from copy import copy

import numpy as np

from gip_cli.pursuit.gram_rows import GramRows
from gip_cli.pursuit.objective import Array, Columns, Floats, Ids, namespace
from gip_cli.pursuit.posterior import Posterior
from gip_cli.pursuit.team import Team


class Information:
    """Gain log((noise + v) / (noise + q)), in nats: twice I(Q^T z; y | picks).

    The information is the entropy of an observation less its entropy once the query is told,
    H(y | picks) - H(y | picks, Q^T z). So v = f^T Sigma f as elsewhere, and q is the same under a
    second posterior that knows Q^T z exactly, Sigma_0 = I - Q (Q^T Q)^-1 Q^T. That is design
    2.3's -log(1 - u^T (Q^T Sigma Q)^-1 u) with both determinants written out. Of the query only
    the span counts; if that is all of R^d, q is 0 and the gain is log(1 + v / noise): greedy
    D-optimal design, the MAP of a determinantal point process.

    Parameters
    ----------
    K : (d, d)
        Query covariance of unit trace.
    team : Team
    """

    def __init__(self, K: Array, team: Team) -> None:
        self.K, self.team = K, team
        # The second knows Q^T z; there is none where Q spans R^d.
        self.posteriors = [Posterior(len(K), team)]
        energy, directions = np.linalg.eigh(K)
        told = directions[:, energy > len(K) * np.finfo(float).eps * energy[-1]]
        if told.shape[1] < len(K):
            self.posteriors.append(Posterior(len(K), team, np.eye(len(K)) - told @ told.T))
        self.groups = self.states = len(self.posteriors)
        self.cancels = self.states == 2
        self.products: tuple[tuple[int, int], ...] = ((0, 0), (1, 1))[: self.states]

    def copy(self) -> Information:
        other = copy(self)
        other.posteriors = [copy(posterior) for posterior in self.posteriors]
        return other

    def observe(self, X: Array, noise: Array) -> Columns:
        vectors, variances = [], []
        for posterior in self.posteriors:
            U, spread = posterior.observe(X, noise)
            vectors.append(U)
            # Not spread - noise: beside a large noise nothing would be left of v.
            variances.append(np.einsum("ij,ij->i", X, U) * np.sqrt(spread))
        energy = np.einsum("ij,ij->i", vectors[0] @ self.K, vectors[0])
        state = np.stack(variances)
        return Columns(np.stack(vectors), excess(state, state, noise), energy)

    def state(self, X: Floats) -> Floats:
        return np.stack([posterior.variances(X) for posterior in self.posteriors])

    def gain(self, state: Floats, noise: Floats) -> Floats:
        return excess(state, state, noise)

    def potential(self, state: Array, noise: Array) -> None:
        """None: what a row would gain it does gain."""

    def repeated(self, state: Array, noise: Array, times: Ids) -> Array:
        return state * (noise / (noise + times * state))

    def peak(self, before: Floats, after: Floats, sums: Floats, noise: Floats) -> Floats:
        """Both v and q only fall."""
        bound: Floats = excess(before, after, noise)
        return bound

    def local(self, X: Floats, state: Array, noise: Array, picks: int) -> LocalInformation:
        def vectors(rows: Floats) -> list[Floats]:
            return [posterior.smoothed(rows) for posterior in self.posteriors]

        gram = GramRows(X, vectors, self.groups, self.team)
        return LocalInformation(gram, state, noise, picks)


def excess(state: Floats, told: Floats, noise: Floats) -> Floats:
    """log((noise + v) / (noise + q)), v from one state and q from another."""
    ratio = state[0] / noise if len(state) == 1 else (state[0] - told[1]) / (noise + told[1])
    gain: Floats = namespace(ratio).log1p(ratio)
    return gain


class LocalInformation:
    """Picks tried on a few rows: a downdated Gram matrix F Sigma F^T for each posterior."""

    def __init__(self, gram: GramRows, state: Array, noise: Array, picks: int) -> None:
        dtype = gram.X.dtype
        self.gram, self.noise, self.state = gram, noise.astype(dtype), state.astype(dtype)
        self.steps = np.empty((len(state), picks, len(noise)), dtype)
        self.done = 0

    def gain(self, out: Floats) -> None:
        out[...] = excess(self.state, self.state, self.noise)

    def pick(self, i: int, rates: Floats) -> None:
        rows = self.gram.row(i, rates)
        for row, variance, steps in zip(rows, self.state, self.steps, strict=True):
            past, step = steps[: self.done], steps[self.done]
            np.subtract(row, past[:, i] @ past, out=step)
            step /= np.sqrt(self.noise[i] + variance[i])
            variance -= step * step
        self.done += 1
