"""Arrays by what they hold; their shapes are said where they are used."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.floating[Any]]  # (m, d) in the precision of a store, or the user's
Rows = npt.NDArray[np.int64]  # positions in a pool, a store or another list of rows
Counts = npt.NDArray[np.int64]  # of rows or tokens
Mask = npt.NDArray[np.bool_]
