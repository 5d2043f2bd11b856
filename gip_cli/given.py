"""A warm start: rows chosen before, which the posterior is conditioned on before the first pick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Array, Counts, Rows
from gip_cli.columns import Signals
from gip_cli.companions import Companion
from gip_cli.embeddings import Keys, join_keys
from gip_cli.errors import MismatchError
from gip_cli.signals import quality_weights, to_unit


@dataclass(frozen=True)
class Given:
    """Rows given, in their files' order, but those that another file has, too.

    `unscored` is the number whose weight is 1 because nothing says how good they are, `repeated`
    that of the rows left out. A text counts as often as the file that repeats it most: a selection
    may hold two rows of one text, which are two observations.
    """

    keys: Keys
    vectors: npt.NDArray[np.float32]  # (g, d)
    weights: Array  # (g,)
    unscored: int
    repeated: int

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def atoms(self) -> Array:
        """``x = w f`` (g, d)."""
        return self.vectors * self.weights[:, None]


def gather_given(
    companions: Sequence[Companion],
    pool_keys: Keys,
    pool_weights: Array,
    signals: Signals,
    shares: Sequence[float],
    power: float,
) -> Given:
    """Weigh rows given as the pool's rows are weighed.

    A row's weight follows from its own signals, mapped by the pool's ranges and cut to [0, 1].
    If it lacks one (`select` takes signals out of what it writes), the pool's best row of the same
    key speaks for it, which is the one that had been picked; if there is none, the weight is 1, as
    without signals. Of a row in several files the first that has its own signals counts, else the
    first.

    Parameters
    ----------
    pool_keys, pool_weights : (m, 16), (m,)
        Weights are NaN where a row of the pool lacks a signal.
    signals : Signals
        The pool's chosen ones; none: all weights are 1.
    shares, power
        As for `quality_weights`.

    Raises
    ------
    MismatchError
        A signal of a given row declares another scale than the pool's.
    """
    keys = np.concatenate([one.keys for one in companions])
    vectors = np.concatenate([one.vectors for one in companions])
    weights = np.ones(len(keys))
    if signals.names:
        values = np.concatenate([_values(one, signals) for one in companions])
        unit = np.clip(to_unit(values, signals.scales, signals.lower), 0, 1)
        weights = quality_weights(unit, shares, power)
    texts = join_keys(keys, keys)
    files = np.split(texts, np.cumsum([len(one) for one in companions])[:-1])
    turns = np.concatenate([_turns(one) for one in files])
    best = np.argsort(np.isnan(weights), kind="stable")
    same = np.stack([texts, turns])[:, best]
    at = np.sort(best[np.unique(same, axis=1, return_index=True)[1]])
    repeated = len(keys) - len(at)
    keys, vectors, weights = keys[at], vectors[at], weights[at]
    in_pool, first = join_keys(keys, pool_keys), join_keys(keys, keys)
    theirs = np.full(len(keys), np.nan)  # the best of a text in the pool, at its first row given
    np.fmax.at(theirs, in_pool[in_pool >= 0], pool_weights[in_pool >= 0])
    weights = np.where(np.isnan(weights), theirs[first], weights)
    unscored = np.isnan(weights)
    return Given(
        keys, vectors, np.where(unscored, 1.0, weights), int(np.count_nonzero(unscored)), repeated
    )


def _turns(texts: Rows) -> Counts:
    """(t,) how many rows of the same text each has before it."""
    order = np.argsort(texts, kind="stable")
    _, starts, counts = np.unique(texts[order], return_index=True, return_counts=True)
    turns = np.empty(len(texts), np.int64)
    turns[order] = np.arange(len(texts)) - np.repeat(starts, counts)
    return turns


def _values(companion: Companion, signals: Signals) -> Array:
    """The companion's values of the pool's signals (t, a), NaN where it has none."""
    values = np.full((len(companion), len(signals.names)), np.nan)
    theirs = companion.signals
    for column, name in enumerate(signals.names):
        if name in theirs.names:
            at = theirs.names.index(name)
            declared = theirs.ranges[at]
            if theirs.lower[at] != signals.lower[column] or (
                declared is not None and declared != signals.scales[column]
            ):
                raise MismatchError(
                    f"signal {name!r} has another scale here than in the pool",
                    "score both by one command",
                    path=companion.path,
                )
            values[:, column] = theirs.values[:, at]
    return values
