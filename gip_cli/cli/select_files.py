"""The files of a selection: written all or none, or compared with what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import orjson

from gip_cli.cli.console import note, progress
from gip_cli.cli.files import writing
from gip_cli.cli.select_options import OutputOptions
from gip_cli.errors import CheckFailed, InputError
from gip_cli.printable import counted
from gip_cli.receipt import Figures, change
from gip_cli.rows import TOLD
from gip_cli.selection import difference, first_difference, picked_lines, rejected_lines
from gip_cli.solution import Solution
from gip_cli.storage import Replacements
from gip_cli.streams import Stream


def compare_files(solution: Solution, figures: Figures, output: OutputOptions, little: str) -> None:
    """Tell whether the files named would change; raises CheckFailed for the first that would.

    `little` is the check that failed before, if any: it is told with that.
    """
    remedy = "run without --check" + (f"; also {little}" if little else "")
    compared: list[tuple[str, Callable[[Stream], str | None]]] = [
        (output.output, lambda old: difference(old.rest(), b"".join(_lines(solution, output))))
    ]
    if output.rejects:  # most of the pool: not held in memory
        rejected = rejected_lines(solution, keep_signals=output.keep_signals)
        compared.append((output.rejects, lambda old: first_difference(old.lines(), rejected)))
    if output.receipt:
        compared.append((output.receipt, lambda old: change(old.rest(), figures)))
    for path, changed in compared:
        if not Path(path).exists():
            raise CheckFailed("missing", remedy, path=path)
        with Stream(path, reread=False) as old:
            try:
                what = changed(old)
            except InputError:
                if not old.packed:  # then it is the pool that cannot be read again
                    raise
                what = "a damaged gzip stream"
        if what:
            raise CheckFailed(f"stale: {what}", remedy, path=path)
    names = " and ".join(path for path, _ in compared)
    note(f"{names}: up to date, {counted(len(solution.selection.indices), 'row')}")
    if little:
        raise CheckFailed(little)


def _lines(solution: Solution, output: OutputOptions) -> Iterator[bytes]:
    return picked_lines(
        solution.problem.candidates.pool,
        solution.selection,
        by_rank=output.order == "rank",
        annotate=output.annotate,
        keep_signals=output.keep_signals,
    )


def write_files(
    solution: Solution, figures: Figures, output: OutputOptions, check: Callable[[], None]
) -> None:
    """Write all files: each is whole, and `check` raises nothing, before OUT takes its place."""
    with Replacements() as together, ExitStack() as stack:
        out = stack.enter_context(writing(output.output, together))
        out.writelines(_lines(solution, output))
        if output.rejects:
            rejects = stack.enter_context(writing(output.rejects, together))
            lines = rejected_lines(solution, keep_signals=output.keep_signals)
            total = figures["input"]["rows"] - figures["picked"]
            # Rows that go to the terminal are not mixed with a bar, which would wipe some out.
            bar = progress("writing", "rows", threaded=False)
            with nullcontext() if rejects.isatty() else bar as update:
                for done, line in enumerate(lines):
                    rejects.write(line)
                    if update and not done % TOLD:
                        update(done, total)
        if output.receipt_path:
            stack.enter_context(writing(output.receipt_path, together)).write(as_json(figures))
        check()


def as_json(figures: Figures) -> bytes:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n"
