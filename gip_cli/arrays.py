"""Arrays by what they hold, and rows of unit norm; shapes are said where arrays are used."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]  # (m, d) in the precision of a store, or the user's
Rows = npt.NDArray[np.int64]  # positions in a pool, a store or another list of rows
Counts = npt.NDArray[np.int64]  # of rows or tokens
Mask = npt.NDArray[np.bool_]


def row_norms(block: Vectors) -> Array:
    """Euclidean norms (n,) of the rows (n, d), summed in float64; not finite where they are."""
    # What is not finite is looked for here, not a surprise.
    with np.errstate(over="ignore", invalid="ignore"):
        norms: Array = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
    return norms


def unit_rows(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows (n, d), overwritten, over their norms; those of zeros stay zero."""
    norms = row_norms(rows)
    rows /= np.where(norms > 0, norms, 1)[:, None]
    return rows
