"""The pool in two dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Array, Rows, Vectors
from gip_cli.errors import UsageError
from gip_cli.foreign_models import cause
from gip_cli.pursuit.source import gram
from gip_cli.pursuit.team import Team
from gip_cli.report import Method

_FEWEST = 4  # rows that UMAP can place
_NEIGHBOURS = 15  # of a row, as by UMAP's default, where there are as many


@dataclass(frozen=True)
class Layout:
    """Positions (n, 2) of rows, and how they were found."""

    positions: Array
    description: str


def layout(vectors: Vectors, rows: Rows, method: Method) -> Layout:
    """Lay `rows` (n,) of `vectors` (m, d) out in the plane; the same every time.

    PCA takes its axes from all m rows, by the eigenvectors of their (d, d) covariance; each
    axis's sign is such that its largest entry is positive. UMAP (McInnes et al., 2018) sees only
    `rows`, and fewer than four it cannot place: they are laid out by PCA.

    Raises
    ------
    UsageError
        UMAP is asked for and umap-learn is not installed, or cannot be loaded.
    """
    few = method is Method.umap and len(rows) < _FEWEST
    if method is Method.umap and not few:
        neighbours = min(_NEIGHBOURS, len(rows) - 1)
        positions = _umap(vectors[rows].astype(np.float32), neighbours)
        return Layout(positions, f"UMAP, cosine, {neighbours} neighbours")
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = gram(vectors) / len(vectors) - np.outer(mean, mean)
    with Team():  # whose one BLAS thread is soon done; several wait busily for each other
        axes = np.linalg.eigh(covariance)[1]
        plane = axes[:, -1:-3:-1]
        plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), np.arange(plane.shape[1])])
        centred = vectors[rows].astype(np.float64) - mean
        positions = centred @ plane
        # Not from the eigenvalues: those of rows that are all alike are rounding, of any sign.
        spread = np.linalg.norm(centred)
    if positions.shape[1] == 1:
        positions = np.column_stack([positions, np.zeros(len(rows))])
    name = "PCA (too few rows for UMAP)" if few else "PCA"
    if spread <= np.finfo(np.float32).eps * np.sqrt(len(rows)):
        return Layout(positions, f"{name}, all rows alike")
    seen = (np.linalg.norm(positions) / spread) ** 2
    return Layout(positions, f"{name}, {seen:.0%} of the variance")


def _umap(vectors: npt.NDArray[np.float32], neighbours: int) -> Array:
    try:
        from umap import UMAP
    except Exception as error:  # noqa: BLE001 - numba refuses versions of numpy by several kinds
        what = f"--map umap needs umap-learn, which cannot be loaded ({cause(error)})"
        raise UsageError(what, "pip install umap-learn, or leave out --map") from None
    fitted = UMAP(n_neighbors=neighbours, metric="cosine", random_state=0, n_jobs=1)
    positions: Array = fitted.fit_transform(vectors).astype(np.float64)
    return positions
