"""Threads that share the work on all rows, BLAS itself kept to one thread meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

LEAST_WORK = 1e7  # bytes of terms in a product: with fewer, waking a worker spares nothing


class Team:
    """As many workers as BLAS has threads: OPENBLAS_NUM_THREADS and the like are obeyed.

    A sweep is matrix products and elementwise work by turns, of which BLAS would share out only
    the former. Both let go of the interpreter's lock, so that chunks of rows can go side by side
    instead. And the threads of OpenBLAS wait busily for each other: where cores are shared with
    other processes a small product can take a hundred times as long as in one thread.

    Attributes
    ----------
    size : int
        Number of workers.
    """

    def __init__(self) -> None:
        self.blas = ThreadpoolController().select(user_api="blas")
        self.size = max((library["num_threads"] for library in self.blas.info()), default=1)
        self.helpers = ThreadPoolExecutor(max(1, self.size - 1))

    def run(self, work: Callable[[int], None], workers: int | None = None) -> None:
        """Call `work(worker)` for each worker, side by side; return when all are done.

        The last worker is the calling thread. Waking another takes some 50 microseconds: small
        work is for fewer `workers` than there are.
        """
        last = (workers or self.size) - 1
        tasks = [self.helpers.submit(work, worker) for worker in range(last)]
        try:
            work(last)
        finally:
            for task in tasks:
                task.result()

    def each(self, work: Callable[[int], None], items: Iterable[int]) -> None:
        """Call `work(item)` for each item, the workers taking them by turns.

        What one raises, an interruption too, ends the others' turns.
        """
        left = iter(items)

        def take(worker: int) -> None:
            try:
                for item in left:
                    work(item)
            except BaseException:
                deque(left, maxlen=0)
                raise

        self.run(take)

    def product(self, A: NDArray[Any], B: NDArray[Any]) -> NDArray[Any]:
        """(n, p) A B, by halves of A's rows."""
        out = np.empty((len(A), B.shape[1]), A.dtype)

        def work(half: slice) -> None:
            np.matmul(A[half], B, out=out[half])

        self.halve(work, len(A), A.shape[1] * out.nbytes)
        return out

    def halve(self, work: Callable[[slice], None], n: int, terms: float) -> None:
        """Call `work(rows)` for both halves of n rows, side by side, or for all if there is little.

        How rows are parted does not depend on how many workers there are, and so neither does
        the result, bit for bit.

        Parameters
        ----------
        terms : float
            Bytes of terms in a product with all rows.
        """
        halves = slice(n // 2), slice(n // 2, n)
        if n < 2 or terms < LEAST_WORK:
            work(slice(n))
        elif self.size == 1:
            work(halves[0])
            work(halves[1])
        else:
            self.run(lambda worker: work(halves[worker]), 2)

    def __enter__(self) -> Self:
        self.limit = self.blas.limit(limits=1)
        return self

    def __exit__(self, *_: object) -> None:
        self.helpers.shutdown(cancel_futures=True)
        self.limit.restore_original_limits()
