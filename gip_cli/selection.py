"""From picks to lines: rows picked and rows not picked, each with its own bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import zip_longest
from typing import Any

import numpy as np

from gip_cli.candidates import Reason
from gip_cli.pool import Pool
from gip_cli.printable import agreeing, counted
from gip_cli.pursuit import Selection
from gip_cli.rows import Row
from gip_cli.signals import OF_SELECT, attached, splice, strip
from gip_cli.solution import Solution


def picked_lines(
    pool: Pool,
    selection: Selection,
    *,
    by_rank: bool = True,
    annotate: bool = False,
    keep_signals: bool = False,
) -> Iterator[bytes]:
    """The picked rows' lines, in the order picked or in the file's.

    Parameters
    ----------
    annotate : bool
        Add rank (from 1), gain and captured energy so far under ``"gip"``.
    keep_signals : bool
        Leave the signals that `gip score` attached; else every byte is the user's own.
    """
    ranks = np.arange(len(selection.indices))
    if not by_rank:
        ranks = np.argsort(selection.indices)
    for rank in ranks:
        why = {
            "rank": int(rank) + 1,
            "gain": _figure(selection.gains[rank]),
            "captured": _figure(selection.captured[rank]),
        }
        row = pool.row(int(selection.indices[rank]))
        yield _line(row, why if annotate else {}, keep_signals)


def _figure(value: np.float64) -> float:
    """With six digits: the last ones are others on another processor, and lines are compared."""
    return float(f"{value:.6g}")


def rejected_lines(solution: Solution, *, keep_signals: bool = False) -> Iterator[bytes]:
    """The lines of all rows not picked, in the file's order, each told why.

    Under ``"gip"`` stand the reason, and the line number and cosine of the nearest pick; that is
    null for a row without an embedding, and where nothing was picked.
    """
    pool, picks = solution.problem.candidates.pool, solution.selection.indices
    reasons, (which, cosine) = solution.reasons, solution.nearest
    for at in np.flatnonzero(reasons != Reason.OPEN):
        nearest = None
        if len(picks) and reasons[at] != Reason.NO_EMBEDDING:
            line = int(pool.lines[picks[which[at]]])
            nearest = {"line": line, "cosine": round(float(cosine[at]), 6)}
        why = {"reason": Reason(reasons[at]).words, "nearest": nearest}
        yield _line(pool.row(int(at)), why, keep_signals)


def _line(row: Row, why: Mapping[str, Any], keep_signals: bool) -> bytes:
    member = attached(row)
    # What an earlier selection said, a rank or why the row was not picked, is of that one.
    kept = {name: one for name, one in member.items() if keep_signals and name not in OF_SELECT}
    untouched = not why and kept == member
    raw = row.raw if untouched else splice(strip(row.raw, row.value), {**kept, **why})
    return raw + b"\n"


def difference(old: bytes, new: bytes) -> str | None:
    """How one selection's lines differ from another's, in one clause; None if they do not."""
    if old == new:
        return None
    # A line can hold a carriage return, at which `splitlines` would split it.
    ended = BytesIO(old).readlines(), BytesIO(new).readlines()
    before, after = ([line.rstrip(b"\r\n") for line in lines] for lines in ended)
    gone, come = Counter(before), Counter(after)
    out, into = (gone - come).total(), (come - gone).total()
    if before == after:
        what = "other line ends"
        before, after = ended
    elif not out and not into:
        what = "the same rows in another order"
    else:
        what = (
            f"{into:,} of {counted(len(after), 'line')} {agreeing(into, 'are new')}, "
            f"{out:,} of {len(before):,} {agreeing(out, 'are gone')}"
        )
    first = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False), 1) if a != b),
        min(len(before), len(after)) + 1,
    )
    return f"{what}; the first difference is at line {first}"


def first_difference(old: Iterable[bytes], new: Iterable[bytes]) -> str | None:
    """Where lines differ from others, in one clause; None if they do not."""
    for line, (before, after) in enumerate(zip_longest(old, new), 1):
        if before != after:
            return f"the first difference is at line {line}"
    return None
