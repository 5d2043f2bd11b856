"""Ctrl-C amid an event loop: its tasks are cancelled, and the loop itself is let be."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
