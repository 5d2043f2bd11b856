"""What people see, all of it on stderr: notes, progress on a terminal, one-line errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Protocol

from gip_cli.printable import escaped
from gip_cli.rows import BadRows, RowFile


class Update(Protocol):
    """Show how much is done, of how much if that is known."""

    def __call__(self, done: float, total: float | None, detail: str = "") -> None: ...


_REDRAWN = 0.25  # seconds after which a bar without a thread is drawn again
_quiet = False


def be_quiet(wanted: bool) -> None:
    """Say nothing but errors from here on, or everything again."""
    global _quiet
    _quiet = wanted


def note(text: str) -> None:
    """One line for a person, whatever a dataset's own words in it contain."""
    if not _quiet:
        _say(text)


def tell_skipped(bad: BadRows) -> None:
    """Say how many rows were skipped, and the first reason."""
    if bad.told:
        note(bad.told)


def _say(text: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError):  # nobody hears it, which is no reason to stop the work
            print(f"gip: {escaped(text)}", file=sys.stderr, flush=True)


def fail(error: Exception | str, code: int) -> int:
    """The one line of an error; its exit code."""
    _say(f"error: {error}")
    return code


@contextmanager
def progress(what: str, unit: str, *, threaded: bool = True) -> Iterator[Update]:
    """A bar with rate and time left: call it with (done, total, detail).

    On a terminal only, and not under NO_COLOR or on one that cannot move its cursor. With
    `threaded` false it is drawn when it is called: beside a second thread, even an idle one, Python
    takes 4 % longer to read rows.
    """
    plain = _quiet or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total, detail="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    console, drawn = Console(stderr=True), 0.0
    with Progress(*columns, console=console, transient=True, auto_refresh=threaded) as bar:
        task = bar.add_task(what, total=None, rate="", detail="")

        def update(done: float, total: float | None, detail: str = "") -> None:
            nonlocal drawn
            now = bar.tasks[0]
            now.total = total  # through `update`, a total that is put right begins the rate anew
            rate = f"{now.speed:,.0f} {unit}/s" if now.speed else ""
            bar.update(task, completed=done, rate=rate, detail=detail)
            if not threaded and monotonic() - drawn > _REDRAWN:
                bar.refresh()
                drawn = monotonic()

        yield update


@contextmanager
def reading(rows: RowFile) -> Iterator[None]:
    """A bar for whatever reads the rows within."""
    with progress("reading", "rows", threaded=False) as update:
        rows.on_progress = update
        try:
            yield
        finally:
            del rows.on_progress
