"""SIGTERM and SIGHUP end a command as Ctrl-C does: files removed, event loops wound up."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Self

from gip_cli.interrupts import ENDING, interrupt

_AGAIN = 0.01  # seconds


class Interruption:
    """As a context: signals raise KeyboardInterrupt within it, and are ignored from its end on.

    Attributes
    ----------
    number : int or None
        The signal that asked for the end, if it was not Ctrl-C's.
    """

    number: int | None = None

    def __enter__(self) -> Self:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._end)
        signal.signal(signal.SIGALRM, _interrupt)
        sys.unraisablehook = _raise_later
        return self

    def __exit__(self, *_: object) -> None:
        # The work is done or given up; what Python does at its end must not be cut short aloud.
        for number in (signal.SIGINT, signal.SIGALRM, *ENDING):
            signal.signal(number, signal.SIG_IGN)

    @property
    def told(self) -> tuple[str, int]:
        """What is said of it, and the exit code."""
        if self.number is None:
            return "interrupted", 130
        return f"ended by {signal.Signals(self.number).name}", 128 + self.number

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        _interrupt(number, frame)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Do what Ctrl-C would do: an event loop has a handler of its own.

    Not where Ctrl-C is ignored, in the background of a shell script.
    """
    handler = signal.getsignal(signal.SIGINT)
    (handler if callable(handler) else interrupt)(signal.SIGINT, frame)


def _raise_later(unraisable: sys.UnraisableHookArgs) -> None:
    """An interruption that met a callback or destructor, which cannot raise, comes once more."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    else:
        sys.__unraisablehook__(unraisable)
