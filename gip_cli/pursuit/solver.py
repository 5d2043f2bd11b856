"""`select`: checks what it is given, then lets the pursuit run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from gip_cli.pursuit import check
from gip_cli.pursuit.information import Information
from gip_cli.pursuit.noise import default_noise
from gip_cli.pursuit.objective import Array, Floats, Objective
from gip_cli.pursuit.projection import Projection
from gip_cli.pursuit.residual import Residual
from gip_cli.pursuit.results import Progress, Selection
from gip_cli.pursuit.rules import Checked, Rules
from gip_cli.pursuit.run import Instance, run
from gip_cli.pursuit.source import Source
from gip_cli.pursuit.team import Team


def select(
    embeddings: Floats,
    k: int,
    *,
    weights: ArrayLike | None = None,
    query: ArrayLike | None = None,
    noise: float | Literal["auto"] = "auto",
    pursuit: Literal["projection", "information", "residual"] = "projection",
    scores: ArrayLike | None = None,
    signed: bool = False,
    given: ArrayLike | None = None,
    given_weights: ArrayLike | None = None,
    rules: Rules | None = None,
    price: ArrayLike | None = None,
    max_cosine: float | None = None,
    stop_at: float | None = None,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] | None = None,
) -> Selection:
    """Pick up to `k` rows greedily, each time the one of largest gain.

    The gain of row f with noise s2 / w^2 is f^T Sigma K Sigma f / (s2 / w^2 + f^T Sigma f), the
    query's energy that it captures beyond the picks S: Sigma = (I + F_S^T diag(w_S^2 / s2) F_S)^-1
    (arXiv 2603.13790, its projection onto the picks' span in Gaussian form). The picks are those of
    the exact greedy: every one is the best of all rows in float64, and rows whose gains agree to
    1e-9 are tied, which the lowest row wins (in `information` also those that float64 cannot tell
    apart: there a gain is a difference of two variances).

    Time is 0.4 to 2.8 times that of a matrix product of 4 m d k operations (`information`, which
    needs half of them, up to 6.3 times); where m is not far more than d, longer, as picks ask for
    d x d products, too (of 20,000 rows of 4,096 dimensions, 12 times). Memory beyond the embeddings
    is a few (m,) vectors and (d, d) matrices, and buffers of fixed size. Meanwhile BLAS has one
    thread in the whole process, so that no two calls may overlap.

    Parameters
    ----------
    embeddings : (m, d) float16, float32 or float64
        Rows of unit norm: assumed, not forced. May be a read-only memory map; it is read block
        by block and never copied as a whole. Rows of zeros are picked last.
    k : int
        Most picks.
    weights : (m,), optional
        Quality of each row in (0, 1]: a row of weight w is observed with noise `noise / w^2`,
        of at most 1e20. NaN: the row cannot be picked. Default 1.
    query : (d, d), optional
        Covariance K of what to capture, symmetric and positive semidefinite, of any trace > 0;
        of examples T it is T^T T, worked out in float32 or float64. Default F^T F, the pool
        itself.
    noise : float or "auto"
        Noise variance s2 of an observation, from 1e-5 max(w)^2 (`given_weights` among them) to
        1e20. Larger leans to typical rows, smaller to diversity; "auto" is
        `gip_cli.pursuit.default_noise` for the picks: `k`, or as many rows as can be picked if
        they are fewer.
    pursuit : str
        "projection": the share of the query's energy in the span of the picks. "information":
        their mutual information with the query. "residual": the paper's dual form.
    scores : (m, q), optional
        For `residual`: scores to pursue, instead of the query's K^(1/2); of 1e100 at most in size.
    signed : bool
        For `residual` of scores: also pick rows whose residual sums to 0 or less, as the paper
        does. Without, the pursuit ends when no others are left. The query's K^(1/2) has no sign
        of its own, and is always pursued in the paper's form.
    given, given_weights : (g, d), (g,), optional
        Rows picked before, and their weights: the picks add to them. They count for the
        least noise, but not for the automatic. Not for `residual`.
    rules : Rules, optional
        Further constraints. The object is left as it is; `select` works on copies.
    price : (m,), optional
        Positive; the pick is then the row of largest gain over price. Reported gains are not
        divided.
    max_cosine : float, optional
        In (-1, 1): after a pick, rows whose cosine with it is above this can no longer be
        picked.
    stop_at : float, optional
        In (0, 1): stop with the first pick at which `captured` reaches it; without any where
        `given` do.
    device : str
        "cpu", or a torch device such as "cuda".
    on_progress : callable, optional
        Called after every block of picks. What it raises ends the pursuit and is passed on; the
        `gip_cli.pursuit.Progress` that it was given holds the picks made.

    Raises
    ------
    ValueError
        If an argument has the wrong shape, type or range, or a row is not finite.
    RuntimeError
        If the device is not there, fails, or has no room for the rows.
    """
    rows = check.rows(embeddings)
    m, d = rows.shape
    check.helpers(device, rules, on_progress)
    w = check.weights(weights, m)
    if rules is not None:
        rules = Checked(rules.copy(), np.ones(m, np.bool_))
        w[~rules.pickable()] = np.nan
    check.pursuit(pursuit, for_residual=scores is not None or signed, given=given is not None)
    signed = signed or scores is None
    k = check.budget(k)
    G, given_w = check.given(given, given_weights, d)
    price = check.price(price, m)
    max_cosine = check.share("max_cosine", max_cosine, -1.0, 1.0)
    stop_at = check.share("stop_at", stop_at, 0.0, 1.0)
    with Team() as team:
        source = Source(rows)
        if query is None:
            query = source.gram(team)
            if not np.isfinite(query).all():
                check.finite(source.squares())
        K = check.query(query, d)
        least_noise = check.least_noise(np.append(w, given_w))
        if isinstance(noise, str) and noise == "auto":
            pickable = int(np.count_nonzero(~np.isnan(w)))
            noise = max(default_noise(min(k, pickable), w, K), least_noise) if pickable else 1.0
        s2 = check.noise(noise, least_noise)
        least = np.sqrt(s2 / check.MOST_NOISE)
        np.maximum(w, least, out=w)
        unit = 1.0
        objective: Objective
        match pursuit:
            case "projection":
                objective = Projection(K, team)
            case "information":
                objective = Information(K, team)
            case "residual":
                squares = source.squares()
                if scores is not None:
                    source, unit = beside_scores(rows, check.scores(scores, m), w, squares)
                objective = Residual(K, source.shape[1] - d, signed, team)
        variance = np.divide(s2, np.square(w, out=w), out=w)
        if pursuit == "residual":
            check.spread(squares, variance)
            variance += squares
        variance[np.isnan(variance)] = np.inf
        return run(
            Instance(
                source=source,
                objective=objective,
                noise=variance,
                s2=s2,
                least_noise=least_noise,
                unit=unit,
                k=k,
                given=G,
                given_noise=s2 / np.square(np.maximum(given_w, least)),
                rules=rules,
                price=price,
                max_cosine=max_cosine,
                fill=pursuit != "residual" or signed,
                stop_at=stop_at,
            ),
            team,
            device,
            on_progress,
        )


def beside_scores(
    rows: Floats, scores: Array, weights: Array, squares: Array
) -> tuple[Source, float]:
    """Rows (m, d) beside their scores (m, q) in units of about the largest, and that unit squared.

    The unit is a power of two, by which nothing is rounded: scores that sum to 0 still do. A score
    is the atom's, w f; the embedding's own is 1 / w of it, here in units of about the largest
    weight's. Rows of zeros have none. The scores are overwritten.
    """
    largest = float(np.ldexp(1.0, np.frexp(np.abs(scores).max())[1] - 1))
    most = float(np.max(weights, initial=0.0, where=~np.isnan(weights))) or 1.0
    most = float(np.ldexp(1.0, 1 - np.frexp(1 / most)[1]))  # the next power of two
    if largest / most > check.MOST_RATIO:
        raise ValueError(
            f"scores may be {check.MOST_RATIO:g} times the largest weight at most, whose squares "
            "gains are measured in"
        )
    scores /= largest
    scores *= most / np.nan_to_num(weights, nan=most)[:, None]
    return Source(rows, np.where(squares[:, None] > 0, scores, 0.0)), (largest / most) ** 2
