"""Ctrl-C, and signals like it, amid what must not be cut short: an event loop, or any block."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)  # they end a command as Ctrl-C does


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler: cancel all tasks, or raise where there is no loop.

    A second signal is raised amid the work of a task, which may take long. asyncio's own handler
    raises it amid the loop, too, which then forgets the task that it was about to wake: the run
    would never end.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise KeyboardInterrupt from None
    working = asyncio.current_task(loop)
    if working is not None and working.cancelling():
        raise KeyboardInterrupt
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon_threadsafe(lambda: None)  # wakes it


@contextmanager
def cancelling_tasks() -> Iterator[None]:
    """Ctrl-C is heard by `interrupt`, unless it is ignored or has another handler."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def put_off(tell: Callable[[], None] | None = None) -> Iterator[None]:
    """Signals are held back until the block ends.

    With `tell` only the first is: it calls that, and a second one acts at once. A mask would not
    do: the threads of numpy's BLAS, which are there before, would take the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal's handler runs here
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    late: list[int] = []

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def wait(number: int, _: FrameType | None) -> None:
        late.append(number)
        if tell is not None:
            restore()
            with suppress(RuntimeError):  # it came amid another message
                tell()

    for number in handlers:
        signal.signal(number, wait)
    try:
        yield
    finally:
        restore()
    for came in late:
        signal.raise_signal(came)
