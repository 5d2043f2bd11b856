"""Products of many rows with few columns, in pieces so small that OpenBLAS does not pack them.

Before it multiplies, OpenBLAS copies both factors into the order in which its kernels read them.
Its kernels for AVX-512 multiply small matrices as they are: with 64 (128, 256) columns of 384
numbers two cores made 195 (195, 208) GFLOP/s in such pieces, 156 (181, 196) at once. Other kernels
pack them all the same, a piece at a time.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from gip_cli.pursuit.objective import Floats

SMALL = 1_000_000  # multiplications in a product that is not packed, at most
UNROLLED = 4  # rows that such a product takes at a time
KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # those for AVX-512


def multiply(X: Floats, M: Floats, out: Floats | None = None) -> Floats:
    """(c, n) product of rows X (c, d) and M (d, n), in `out` if it is given."""
    if out is None:
        out = np.empty((len(X), M.shape[1]), X.dtype)
    # By columns, small products took up to three times as long as one.
    is_by_rows = M.strides[1] == M.itemsize
    by_pieces(X, M, out, piece(M) if is_by_rows and has_small_kernels() else 0)
    return out


def by_pieces(X: Floats, M: Floats, out: Floats, size: int) -> None:
    """`out[...] = X @ M`, `size` rows at a time; all at once if that is 0."""
    whole = len(X) - len(X) % size if size else 0
    if whole:
        rows, products = (A[:whole].reshape(-1, size, A.shape[1]) for A in (X, out))
        np.matmul(rows, M, out=products)
    if whole < len(X):
        np.matmul(X[whole:], M, out=out[whole:])


def piece(M: Floats) -> int:
    """Rows of a product with M (d, n) that is small enough; 0 if even the fewest are too many."""
    return SMALL // (UNROLLED * M.size) * UNROLLED


@cache
def has_small_kernels() -> bool:
    """Whether numpy's BLAS, as far as it is known, multiplies small matrices without packing."""
    libraries = ThreadpoolController().select(internal_api="openblas").info()
    return any(library.get("architecture") in KERNELS for library in libraries)
