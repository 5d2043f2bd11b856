"""The Gaussian belief: its covariance is the textbook's, however it is kept."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest

from gip_cli.pursuit.posterior import LOW_RANK, Posterior
from gip_cli.pursuit.team import Team

D = 12


@pytest.mark.parametrize("block", [1, 2, 5, 12])
def test_covariance_is_that_of_all_picks_before_and_after_it_is_made_a_matrix(block: int) -> None:
    rng = np.random.default_rng(block)
    X, noise = rng.standard_normal((24, D)), rng.uniform(0.1, 2, 24)
    with Team() as team:
        posterior = Posterior(D, team)
        assert posterior.smoothed(X) is X
        for done in range(block, len(X) + 1, block):
            before = copy(posterior)
            was = before.smoothed(X)
            U, spread = posterior.observe(X[done - block : done], noise[done - block : done])
            wanted = np.linalg.inv(np.eye(D) + X[:done].T / noise[:done] @ X[:done])
            np.testing.assert_allclose(posterior.smoothed(np.eye(D)), wanted, atol=1e-12)
            np.testing.assert_allclose(posterior.smoothed(X, team.product), X @ wanted, atol=1e-12)
            assert (posterior.Sigma is None) == (done <= D // LOW_RANK)
            assert U.shape == (block, D)
            assert spread[0] == pytest.approx(
                noise[done - block] + was[done - block] @ X[done - block]
            )
            np.testing.assert_array_equal(before.smoothed(X), was)  # the copy's own


def test_a_covariance_given_is_conditioned_as_one() -> None:
    rng = np.random.default_rng(0)
    A, X, noise = rng.standard_normal((D, D)), rng.standard_normal((3, D)), np.ones(3)
    prior = A @ A.T
    with Team() as team:
        posterior = Posterior(D, team, prior)
        posterior.observe(X, noise)
    gain = prior @ X.T @ np.linalg.inv(X @ prior @ X.T + np.eye(3))
    assert posterior.Sigma == pytest.approx(prior - gain @ X @ prior)
