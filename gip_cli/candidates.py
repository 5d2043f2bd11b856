"""The rows of a pool as the solver sees them, and which of them may be picked at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Array, Counts, Mask, Rows, Vectors
from gip_cli.columns import Signals
from gip_cli.companions import Companion
from gip_cli.embeddings import Embeddings, join_keys, rows_at
from gip_cli.errors import InputError, UsageError
from gip_cli.given import Given, gather_given
from gip_cli.measures import closest
from gip_cli.plan import Plan, Sources
from gip_cli.pool import Pool
from gip_cli.printable import listed, printable
from gip_cli.query import Query, build_query
from gip_cli.rows import is_number, unquoted

Reasons = npt.NDArray[np.uint8]

_SHOWN = 5  # signals named in a message
# No row has more, since none has as many bytes (`load_pool`); sums of such would overflow.
_MOST_TOKENS = 2**32 - 1


class Reason(IntEnum):
    """Why a row is not picked; of several that hold, the first. OPEN rows may be picked."""

    OPEN = 0
    NO_EMBEDDING = 1
    GIVEN = 2
    EXCLUDED = 3  # before what a row lacks beside its text: of a leak all rows are to be told
    NO_TOKEN_COUNT = 4
    NO_SIGNAL = 5
    DUPLICATE_OF_GIVEN = 6
    DUPLICATE = 7
    GROUP_FULL = 8
    BUDGET = 9
    NO_GAIN = 10  # all that the pursuit can gain is gained

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")


_BESIDE = (Reason.GIVEN, Reason.EXCLUDED, Reason.DUPLICATE_OF_GIVEN)  # of files beside the pool


def count_reasons(reasons: Reasons) -> dict[str, int]:
    """Rows not open, by reason."""
    counts = Counter(reasons[reasons != Reason.OPEN].tolist())
    return {Reason(code).words: counts[code] for code in sorted(counts)}


@dataclass(frozen=True)
class Candidates:
    """A pool joined with its embeddings, its signals and the files beside it.

    Attributes
    ----------
    vectors : (m, d)
        Zero where a row has no embedding.
    signals : Signals
        The chosen ones; `shares` are their weights.
    query : Query
        Its weights (m,) are NaN where a signal is missing.
    scores : (m, a) or None
        For `residual` of signals alone, the paper's dual form (design 2.3): unit signals, each by
        the root of its share. They are the rows' correlations with a query that is never seen;
        any other query is known, and is pursued itself.
    tokens : (m,)
        Each row's token count; 0 where it is not `counted` (m,), and throughout where vectors
        were given without counts.
    reasons : (m,)
        Why a row cannot be picked; OPEN where it can.
    """

    pool: Pool
    vectors: Vectors
    signals: Signals
    shares: list[float]
    query: Query
    scores: Array | None
    given: Given | None
    tokens: Counts
    counted: Mask
    reasons: Reasons

    @property
    def open(self) -> Mask:
        """(m,) rows that may be picked first."""
        mask: Mask = self.reasons == Reason.OPEN
        return mask

    @property
    def weights(self) -> Array:
        """(m,) weights of the open rows, NaN for all others."""
        return np.where(self.open, self.query.weights, np.nan)

    @property
    def signals_used(self) -> dict[str, float]:
        """Each chosen signal's weight among them."""
        return dict(zip(self.signals.names, self.shares, strict=True))


def gather_candidates(
    pool: Pool,
    store: Embeddings,
    plan: Plan,
    *,
    targets: Sequence[Companion] = (),
    given: Sequence[Companion] = (),
    exclude: Sequence[Companion] = (),
) -> Candidates:
    """Join, weigh and close rows as the plan says.

    Raises
    ------
    MismatchError
        A row has no embedding and may not be skipped.
    InputError
        No row can be picked, or a row lacks its token count.
    UsageError
        The plan asks for what the pool has not: a signal, a field, a query without energy.
    """
    at = pool.located(store, skip_missing=plan.skip_bad)
    vectors = rows_at(store.vectors, at)
    sources = plan.sources
    signals, shares = pool.signals.weighted(
        pool.signals.names if sources.signals is None else sources.signals
    )
    unit = signals.unit()
    query = _query(vectors, unit, shares, targets, sources)
    scores = None
    if plan.pursues_scores(query.sources):
        scores = np.nan_to_num(unit) * np.sqrt(np.asarray(shares) / np.sum(shares))
        # The dual form knows no weights: quality is in the scores that it pursues.
        query = replace(query, weights=np.where(np.isnan(query.weights), np.nan, 1.0))
    warm = (
        gather_given(given, pool.keys, query.weights, signals, shares, sources.quality_power)
        if any(map(len, given))
        else None
    )
    tokens = _tokens(pool, store, at, plan)
    uncounted = tokens < 0
    counted = ~uncounted & ((at >= 0) | (plan.budget.token_field is not None))
    if uncounted.any():
        tokens = np.maximum(tokens, 0)
    closed = {
        Reason.NO_EMBEDDING: at < 0,
        Reason.NO_TOKEN_COUNT: uncounted,
        Reason.EXCLUDED: _near(pool, vectors, exclude, plan.exclude_threshold),
        Reason.NO_SIGNAL: np.isnan(query.weights),
    }
    if warm:
        closed[Reason.GIVEN] = join_keys(warm.keys, pool.keys) >= 0
        if plan.dedup_threshold is not None:
            near = closest(vectors, warm.vectors)[1] > plan.dedup_threshold
            closed[Reason.DUPLICATE_OF_GIVEN] = near
    reasons = _first_reasons(closed)
    if np.all(reasons != Reason.OPEN):
        why = ", ".join(f"{count:,} {words}" for words, count in count_reasons(reasons).items())
        remedy = _choice(signals) if closed[Reason.NO_SIGNAL].all() else ""
        if np.isin(reasons, _BESIDE).all():
            remedy = "there is nothing to add: give a pool with other rows"
        raise InputError(f"no row can be picked ({why})", remedy, path=pool.rows.name)
    return Candidates(pool, vectors, signals, shares, query, scores, warm, tokens, counted, reasons)


def _query(
    vectors: Vectors,
    unit_signals: Array,
    shares: Sequence[float],
    targets: Sequence[Companion],
    sources: Sources,
) -> Query:
    """The sources' query; raises UsageError where there is none, or none with energy."""
    try:
        return build_query(
            vectors,
            sources,
            unit_signals=unit_signals if shares else None,
            signal_shares=shares,
            targets=np.concatenate([one.vectors for one in targets]) if targets else None,
        )
    except ValueError as error:
        raise UsageError(str(error), "see --signal, --target and the weights") from None


def _first_reasons(closed: Mapping[Reason, Mask]) -> Reasons:
    """The first reason that closes each row (m,)."""
    reasons = np.full(len(closed[Reason.NO_SIGNAL]), Reason.OPEN, dtype=np.uint8)
    for reason in sorted(closed, reverse=True):
        reasons[closed[reason]] = reason
    return reasons


def _choice(signals: Signals) -> str:
    """What to choose by, where no row has all signals."""
    counts = np.count_nonzero(~np.isnan(signals.values), axis=0)
    most = np.argsort(-counts, kind="stable")
    rows = listed([f"{printable(signals.names[at])} in {counts[at]:,}" for at in most], _SHOWN)
    return f"none has all signals ({rows}): gip select --signal NAME chooses"


def _near(
    pool: Pool,
    vectors: Vectors,
    exclude: Sequence[Companion],
    threshold: float,
) -> Mask:
    """(m,) rows with the text of a row in `exclude`, or closer to one than the threshold."""
    if not exclude:
        return np.zeros(len(pool), dtype=bool)
    near = closest(vectors, np.concatenate([one.vectors for one in exclude]))[1] > threshold
    near |= join_keys(np.concatenate([one.keys for one in exclude]), pool.keys) >= 0
    return near


def _tokens(pool: Pool, store: Embeddings, at: Rows, plan: Plan) -> Counts:
    """Token counts (m,): the store's, or those of a field; -1 where a field holds none.

    Raises
    ------
    InputError
        The field of a row holds no count, and such rows may not be skipped.
    UsageError
        Tokens are to be counted, and the store does not know them.
    """
    field = plan.budget.token_field
    if field is None:
        counts = rows_at(store.tokens, at)
        if counts.min() >= 0:
            return counts
        if plan.budget.tokens is not None:
            raise UsageError(
                "--tokens: these embeddings were given without token counts",
                "say where the rows have theirs: --token-field FIELD",
                path=store.paths.npy,
            )
        return np.broadcast_to(np.int64(0), len(pool))
    values = pool.field(field, "--token-field")
    tokens = np.array([_count(value) for value in values.distinct], dtype=np.int64)[values.codes]
    if not plan.skip_bad and tokens.min() < 0:
        first = int(np.argmax(tokens < 0))
        value = unquoted(values.distinct[values.codes[first]])
        what, mend = f"no number of tokens in field {field!r}", "mend the row"
        if is_number(value) and value > _MOST_TOKENS:
            what = f"the number of tokens in field {field!r} is too large"
            mend += f" (the largest is {_MOST_TOKENS})"
        raise InputError(
            what,
            f"{mend} or pass --skip-bad",
            path=pool.rows.name,
            line=int(pool.lines[first]),
        )
    return tokens


def _count(value: Any) -> int:
    """A number of tokens, -1 if it is none; a budget is never overspent by rounding down."""
    value = unquoted(value)
    return -int(-value // 1) if is_number(value) and 0 <= value <= _MOST_TOKENS else -1
