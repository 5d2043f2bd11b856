"""Threads for the sweeps: whole chunks side by side, BLAS itself kept to one thread meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Desk = TypeVar("Desk")


class Team(Generic[Desk]):
    """As many workers as BLAS has threads, each at its own desk (its private buffers).

    A sweep is matrix products and elementwise work by turns, and BLAS would share out only the
    former. Both let go of the interpreter's lock, so chunks of rows can run side by side
    instead. OPENBLAS_NUM_THREADS and the like are thereby obeyed.

    Attributes
    ----------
    desks : list
        One for each worker.
    own : Desk
        For work in the calling thread.
    """

    def __init__(self, desk: Callable[[], Desk]) -> None:
        self.blas = ThreadpoolController().select(user_api="blas")
        self.size = max((library["num_threads"] for library in self.blas.info()), default=1)
        self.executor = ThreadPoolExecutor(self.size)
        self.equip(desk)

    def equip(self, desk: Callable[[], Desk]) -> None:
        """Give everyone a new desk."""
        self.own, *self.desks = [desk() for _ in range(1 + self.size)]

    def run(self, work: Callable[[Desk], None], meanwhile: Callable[[], None]) -> None:
        """Call `work(desk)` once for each worker and `meanwhile` here; return when all are done."""
        tasks = [self.executor.submit(work, desk) for desk in self.desks]
        try:
            meanwhile()
        finally:
            for task in tasks:
                task.result()

    def __enter__(self) -> Self:
        # One thread each: OpenBLAS's own wait busily for one another, and for other processes.
        self.limit = self.blas.limit(limits=1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.executor.shutdown(cancel_futures=True)
        self.limit.restore_original_limits()
