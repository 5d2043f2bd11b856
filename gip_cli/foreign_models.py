"""What loading a model with somebody else's library takes, whoever does it."""

from __future__ import annotations

import signal
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals wait: one amid the first import of torch aborts the process (SIGABRT).

    A mask would not do: the threads of numpy's BLAS, which are there before, would take them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal's handler runs here
        return
    late: list[int] = []
    heard = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    for number in heard:
        signal.signal(number, lambda came, _: late.append(came))
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
    for came in late:
        signal.raise_signal(came)


def silence_transformers() -> None:
    """No bars and notes of its own: they would go to a terminal or a log that belongs to gip."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def cause(error: Exception) -> str:
    """Why a loader failed, in the first line of what it said."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return textwrap.shorten(line, 200, placeholder=" …")
