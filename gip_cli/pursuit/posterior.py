"""The Gaussian belief about the latent z, conditioned on picks a block at a time."""

from __future__ import annotations

import numpy as np

from gip_cli.pursuit.objective import Array, Floats
from gip_cli.pursuit.team import Team


class Posterior:
    """z ~ N(0, Sigma) given the picks so far: design 2, "Gaussian model".

    A row of weight w is the atom x = w f observed with noise s2, which is the same observation
    as f with noise s2 / w^2. Everywhere below `X` therefore holds plain embeddings and `noise`
    the variance s2 / w^2 of each row: weights never touch the pool.

    Attributes
    ----------
    Sigma : (d, d)
        Posterior covariance, (I + F_S^T diag(1 / noise) F_S)^-1. Never written to.
    team : Team
    is_prior : bool
        Whether nothing has been observed yet, so that Sigma is I.
    """

    def __init__(self, Sigma: Array, team: Team, is_prior: bool = False) -> None:
        self.Sigma, self.team, self.is_prior = Sigma, team, is_prior

    @classmethod
    def prior(cls, d: int, team: Team) -> Posterior:
        return cls(np.eye(d), team, is_prior=True)

    def smoothed(self, X: Floats) -> Floats:
        """(c, d) X Sigma, in X's precision."""
        return X if self.is_prior else X @ self.Sigma.astype(X.dtype, copy=False)

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
        XS = self.team.product(X, self.Sigma)
        L = np.linalg.cholesky(XS @ X.T + np.diag(noise))
        U: Array = np.linalg.inv(L) @ XS
        before, after = self.Sigma, np.empty_like(self.Sigma)

        def work(half: slice) -> None:
            np.matmul(U.T[half], U, out=after[half])
            np.subtract(before[half], after[half], out=after[half])

        self.team.halve(work, len(after), len(U) * after.nbytes)
        self.Sigma, self.is_prior = after, False
        return U, np.square(np.diagonal(L))
