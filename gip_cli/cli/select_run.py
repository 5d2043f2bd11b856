"""What `gip select` does with its options: one library call, messages and files out."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path

import orjson

from gip_cli.candidates import gather_candidates
from gip_cli.cli.console import note, progress, tell_skipped
from gip_cli.cli.files import check_inputs, check_outputs, check_present, writing
from gip_cli.cli.select_options import (
    BudgetOptions,
    GroupOptions,
    OutputOptions,
    QueryOptions,
    RowOptions,
)
from gip_cli.cli.select_plan import options_said, plan_of
from gip_cli.cli.select_summary import progress_of, summarise
from gip_cli.cli.sources import embeddings_for, pool_of
from gip_cli.companions import Companions
from gip_cli.errors import CheckFailed, UsageError
from gip_cli.interrupts import put_off
from gip_cli.pool import TOLD
from gip_cli.printable import counted, file_name
from gip_cli.problem import Problem
from gip_cli.pursuit import Progress, Selection
from gip_cli.receipt import Figures
from gip_cli.receipt import receipt as make_receipt
from gip_cli.rows import BadRows, RowFile
from gip_cli.selection import difference, picked_lines, rejected_lines
from gip_cli.solution import Solution
from gip_cli.storage import storage_errors


def run(
    input: str,
    embeddings: str | None,
    rows: RowOptions,
    budget: BudgetOptions,
    query: QueryOptions,
    groups: GroupOptions,
    output: OutputOptions,
    *,
    skip_bad: bool,
) -> None:
    """Select, tell and write; raises the errors that the command ends with."""
    started = time.monotonic()
    plan = plan_of(budget, query, groups, rows, skip_bad)
    read = {
        "targets": query.target or [],
        "given": rows.given or [],
        "exclude": rows.exclude or [],
    }
    shares = [groups.group_share] if groups.group_share else []
    inputs = [input, *chain(*read.values()), *shares]
    check_present(*chain(*read.values()))
    check_inputs(*inputs)
    check_outputs(*output.written, read=inputs)
    tell = (lambda text: None) if output.check else note
    bad = BadRows(skip=skip_bad)
    grouping = plan.grouping
    fields = [field for field in (plan.budget.token_field, grouping and grouping.field) if field]
    before_picks = ExitStack()  # emptied once there is something to keep
    if output.keep_partial:
        before_picks.push(_tell_none_kept)
    with (
        before_picks,
        RowFile(input, bad, reread=True) as file,
        embeddings_for(file, input, embeddings, rows.format, rows.text_field or (), tell) as (
            store,
            store_path,
        ),
    ):
        pool = pool_of(file, store, fields).sharing(store)
        beside = Companions(store, skip_bad=skip_bad).read_parts(read)
        companions = [one for part in beside.values() for one in part]
        for one in companions:
            if one.format != pool.renderer.format:
                tell(f"{one.path}: {one.format} rows")
        candidates = gather_candidates(pool, store, plan, **beside)
        if query.for_signals and not candidates.signals_used:
            raise UsageError(
                f"{query.for_signals} goes with signals, and the rows have none",
                "attach them with gip score",
                path=file.name,
            )
        problem = Problem.pose(plan, candidates)
        solution = Solution(problem, _solve(problem, keep_partial=output.keep_partial))
        before_picks.pop_all()
        with _kept(solution.selection) if output.keep_partial else nullcontext():
            figures = make_receipt(
                solution,
                store=store,
                store_path=file_name(store_path) if store_path else None,
                beside=beside,
                options=options_said(budget, query, groups, rows, output, candidates.signals_used),
            )
            for skipped in (bad, *(one.skipped for one in companions)):
                tell_skipped(skipped)
            little = _too_little(figures, output.min_captured)
            if output.check:
                _check(solution, output, little)
            elif little:
                summarise(figures, tell)
                raise CheckFailed(little)
            else:
                figures["time"] = {
                    "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "seconds": round(time.monotonic() - started, 3),
                }
                _write(solution, figures, output)
            if output.json:
                with writing("-") as stdout:
                    stdout.write(_json(figures))
            summarise(figures, tell)  # last: what is picked may find no room


def _solve(problem: Problem, *, keep_partial: bool) -> Selection:
    """Pick, with a bar on a terminal; after Ctrl-C what there is, if that is to be kept."""
    last: Selection | None = None
    try:
        with progress("picking", "rows") as update:

            def on_progress(at: Progress) -> None:
                nonlocal last
                last = at.selection
                update(*progress_of(problem, at))

            return problem.solve(on_progress)
    except KeyboardInterrupt:
        if not (keep_partial and last and len(last.indices)):
            raise
        _tell_kept(last)
        return last


@contextmanager
def _kept(selection: Selection) -> Iterator[None]:
    """Within it picks are written whatever comes: an interruption, also one before, is its end."""
    if selection.stopped == "interrupted":
        yield  # a second one means it
        raise KeyboardInterrupt
    with put_off(lambda: _tell_kept(selection)):
        yield


def _tell_none_kept(kind: type[BaseException] | None, *_: object) -> None:
    if kind is KeyboardInterrupt:
        note("interrupted before the first pick: nothing is kept")


def _tell_kept(selection: Selection) -> None:
    picks = counted(len(selection.indices), "pick")
    note(f"interrupted after {picks}: keeping what there is")


def _too_little(figures: Figures, least: float | None) -> str:
    """What --min-captured has against the selection, if anything."""
    if least is not None and figures["captured"] < least:
        options, remedy = figures["options"], "raise the budget"
        if figures["stopped"] == "exhausted" or figures["picked"] == figures["pickable"]:
            rule = "let more rows be picked or " * (figures["picked"] < figures["input"]["rows"])
            remedy = (
                f"no further row can be picked: {rule}lower --noise, {figures['noise']:.4g} here"
            )
        elif options["noise"] == "auto" and "captured" not in options:
            remedy += (
                f" at a fixed --noise, {figures['noise']:.4g} here: "
                "the automatic one grows with the budget, and less may be captured"
            )
        return f"captured {figures['captured']:.4f}, less than --min-captured {least:g}; {remedy}"
    return ""


def _check(solution: Solution, output: OutputOptions, little: str) -> None:
    """Tell whether OUT would change; with `little`, the check that failed before, if any."""
    also = f"; also {little}" if little else ""
    with storage_errors(output.output):
        if not Path(output.output).exists():
            raise CheckFailed("missing", f"run without --check{also}", path=output.output)
        old = Path(output.output).read_bytes()
    with suppress(gzip.BadGzipFile, EOFError, zlib.error):  # damaged, or not gzipped: as it is
        old = gzip.decompress(old)
    new = b"".join(_lines(solution, output))
    if what := difference(old, new):
        raise CheckFailed(f"stale: {what}", f"run without --check{also}", path=output.output)
    note(f"{output.output}: up to date, {counted(len(solution.selection.indices), 'row')}")
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


def _write(solution: Solution, figures: Figures, output: OutputOptions) -> None:
    """Write all files or none: each is whole before the first takes its place, OUT the last."""
    with ExitStack() as stack:
        out = stack.enter_context(writing(output.output))
        out.writelines(_lines(solution, output))
        out.flush()  # a full disk is met while the old files are all in place
        if output.rejects:
            rejects = stack.enter_context(writing(output.rejects))
            lines = rejected_lines(solution, keep_signals=output.keep_signals)
            total = figures["input"]["rows"] - figures["picked"]
            # Rows that go to the terminal are not mixed with a bar, which would wipe some out.
            bar = progress("writing", "rows", threaded=False)
            with nullcontext() if rejects.isatty() else bar as update:
                for done, line in enumerate(lines):
                    rejects.write(line)
                    if update and not done % TOLD:
                        update(done, total)
            rejects.flush()
        if output.receipt_path:
            stack.enter_context(writing(output.receipt_path)).write(_json(figures))


def _json(figures: Figures) -> bytes:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n"
