"""From picks to lines: the rows written, in order, each with its own bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gip_cli.pool import Pool
from gip_cli.pursuit import Selection
from gip_cli.rows import one_line
from gip_cli.signals import MEMBER, attached, splice, strip


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
        row = pool.row(int(selection.indices[rank]))
        member = attached(row) if keep_signals else {}
        if annotate:
            member["rank"] = int(rank) + 1
            member["gain"] = float(selection.gains[rank])
            member["captured"] = float(selection.captured[rank])
        if annotate or (MEMBER in row.value and not keep_signals):
            yield one_line(splice(strip(row.raw, row.value), member)) + b"\n"
        else:
            yield one_line(row.raw) + b"\n"
