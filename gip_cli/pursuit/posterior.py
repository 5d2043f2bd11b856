"""The Gaussian belief about the latent z, conditioned on picks a block at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gip_cli.pursuit.objective import Array, Floats
from gip_cli.pursuit.pieces import multiply
from gip_cli.pursuit.team import Team

LOW_RANK = 2  # dimensions a pick, at least: with fewer, products with U cost more than with Sigma


class Posterior:
    """z ~ N(0, Sigma) given the picks so far: design 2, "Gaussian model".

    A row of weight w is the atom x = w f observed with noise s2, which is the same observation
    as f with noise s2 / w^2. Everywhere below `X` therefore holds plain embeddings and `noise`
    the variance s2 / w^2 of each row: weights never touch the pool.

    While picks are few beside the dimensions, Sigma is kept as I less what they subtract: of
    thousands of dimensions a (d, d) matrix takes longer to read than what a block needs of it.

    Attributes
    ----------
    Sigma : (d, d) or None
        Posterior covariance, (I + F_S^T diag(1 / noise) F_S)^-1; None while it is I - U^T U. Never
        written to.
    U : (r, d)
        What the picks have subtracted of I, a vector each; none beside Sigma. Never written to.
    team : Team
    """

    def __init__(self, d: int, team: Team, Sigma: Array | None = None) -> None:
        self.Sigma, self.U, self.team = Sigma, np.empty((0, d)), team
        self._single: Floats | None = None  # Sigma or U in float32, once asked for

    def smoothed(self, X: Floats, product: Callable[..., Floats] = multiply) -> Floats:
        """(c, d) X Sigma, in X's precision; `product` multiplies two matrices."""
        A: Floats = self.U if self.Sigma is None else self.Sigma
        if not len(A):
            return X
        if X.dtype == np.float32:
            if self._single is None:
                self._single = A.astype(np.float32)
            A = self._single
        if self.Sigma is not None:
            return product(X, A)
        smoothed: Floats = X - product(product(X, A.T), A)
        return smoothed

    def variances(self, X: Floats) -> Floats:
        """(c,) v = f^T Sigma f of rows X (c, d), in X's precision."""
        variances: Floats = np.einsum("ij,ij->i", self.smoothed(X), X)
        return variances

    def observe(self, X: Array, noise: Array) -> tuple[Array, Array]:
        """Condition on a block of picks, one after the other, in closed form.

        The t-th pick subtracts u_t u_t^T from Sigma, u_t = Sigma_t x_t / sqrt(noise_t + v_t).
        With L the Cholesky factor of X Sigma X^T + diag(noise), all of them are the rows of
        L^-1 X Sigma, and L's diagonal is sqrt(noise_t + v_t): three matrix products instead of a
        loop of rank-one updates.

        Parameters
        ----------
        X : (b, d)
            Embeddings of the picks, in order.
        noise : (b,)
            Noise variance of each.

        Returns
        -------
        U : (b, d)
            The vectors u_t.
        spread : (b,)
            Predictive variances noise_t + v_t, each as it was just before its pick.
        """
        XS = self.smoothed(X, self.team.product)
        L = np.linalg.cholesky(XS @ X.T + np.diag(noise))
        U: Array = np.linalg.inv(L) @ XS
        d = X.shape[1]
        if self.Sigma is None and len(self.U) + len(U) <= d // LOW_RANK:
            self.U = np.concatenate([self.U, U])
        else:
            self.Sigma, self.U = self.reduced(U), np.empty((0, d))
        self._single = None
        return U, np.square(np.diagonal(L))

    def reduced(self, U: Array) -> Array:
        """(d, d) Sigma less U^T U."""
        if self.Sigma is None:
            before, U = np.eye(U.shape[1]), np.concatenate([self.U, U])
        else:
            before = self.Sigma
        after = np.empty_like(before)

        def work(half: slice) -> None:
            np.matmul(U.T[half], U, out=after[half])
            np.subtract(before[half], after[half], out=after[half])

        self.team.halve(work, len(after), len(U) * after.nbytes)
        return after
