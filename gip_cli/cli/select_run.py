"""What `gip select` does with its options: one library call, messages and files out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import chain

from gip_cli.candidates import Reason, gather_candidates
from gip_cli.cli.console import note, progress, tell_skipped
from gip_cli.cli.files import check_inputs, check_outputs, check_present, writing
from gip_cli.cli.inputs import embeddings_for, pool_of, tell_unanswered
from gip_cli.cli.select_files import as_json, compare_files, write_files
from gip_cli.cli.select_plan import SelectOptions
from gip_cli.cli.select_summary import progress_of, summarise, tell_closed
from gip_cli.companions import Companion, Companions
from gip_cli.errors import CheckFailed, UsageError
from gip_cli.formats import ONE_TEXT, Part
from gip_cli.interrupts import put_off
from gip_cli.printable import Tell, agreeing, counted, file_name
from gip_cli.problem import Problem
from gip_cli.pursuit import Progress, Selection
from gip_cli.receipt import Figures
from gip_cli.receipt import receipt as make_receipt
from gip_cli.rows import BadRows, RowFile
from gip_cli.solution import Solution


def run(input: str, embeddings: str | None, options: SelectOptions) -> None:
    """Select, tell and write; raises the errors that the command ends with."""
    started = time.monotonic()
    plan, output = options.plan(), options.output
    _check_files(input, options)
    tell = (lambda text: None) if output.check else note
    bad = BadRows(skip=plan.skip_bad)
    grouping = plan.grouping
    fields = [field for field in (plan.budget.token_field, grouping and grouping.field) if field]
    before_picks = ExitStack()  # emptied once there is something to keep
    if output.keep_partial:
        before_picks.push(_tell_none_kept)
    with (
        before_picks,
        RowFile(input, bad, reread=True) as file,
        embeddings_for(file, input, embeddings, options.text, tell) as (
            store,
            store_path,
        ),
    ):
        pool = pool_of(file, store, fields).sharing(store)
        tell_unanswered(pool, tell)
        beside = Companions(store, skip_bad=plan.skip_bad).read_parts(options.beside)
        companions = [one for part in beside.values() for one in part]
        for one in companions:
            if one.format != pool.renderer.format:
                tell(f"{one.path}: {one.format} rows")
        if pool.renderer.part is Part.both and pool.renderer.format not in ONE_TEXT:
            _tell_prompts_alone(beside["exclude"], tell)
        candidates = gather_candidates(pool, store, plan, **beside)
        if (option := options.query.for_signals) and not candidates.signals_used:
            raise UsageError(
                f"{option} goes with signals, and the rows have none",
                "attach them with gip score",
                path=file.name,
            )
        if candidates.scores is not None and options.query.quality_power is not None:
            raise UsageError(
                "--quality-power does nothing for --pursuit residual of signals alone, "
                "which pursues their scores and weighs no row",
                "leave it out, or choose another pursuit",
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
                options=options.said(candidates.signals_used),
            )
            store.check_unchanged()
            for skipped in (bad, *(one.skipped for one in companions)):
                tell_skipped(skipped)
            little = _too_little(figures, output.min_captured)
            if output.check:  # what --skip-bad passed over is told there, too
                passed_over = Reason.NO_EMBEDDING.words, Reason.NO_TOKEN_COUNT.words
                tell_closed(figures, note, passed_over)
                compare_files(solution, figures, output, little)
            elif little:
                summarise(figures, tell)
                raise CheckFailed(little)
            else:
                figures["time"] = {
                    "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "seconds": round(time.monotonic() - started, 3),
                }
                write_files(solution, figures, output, store.check_unchanged)
            if output.json:
                with writing("-") as stdout:
                    stdout.write(as_json(figures))
            summarise(figures, tell)  # last: what is picked may find no room


def _check_files(input: str, options: SelectOptions) -> None:
    """Refuse, before any work, files that cannot be read or must not be written."""
    beside = [*chain(*options.beside.values())]
    shares = options.groups.group_share
    inputs = [input, *beside, *([shares] if shares else [])]
    check_present(*beside)
    check_inputs(*inputs)
    check_outputs(*options.output.written, read=inputs)


def _tell_prompts_alone(exclude: list[Companion], tell: Tell) -> None:
    """Say which rows to be kept away from whole rows may be prompts: long answers hide those."""
    for one in exclude:
        if one.unanswered:
            these = f"{one.unanswered:,} of {counted(len(one), 'row')}"
            tell(
                f"{one.path}: {these} {agreeing(one.unanswered, 'have')} no response apart from a "
                "prompt: if they are prompts alone, embeddings of prompts find copies of them more "
                "surely than of whole rows (gip embed --part prompt)"
            )


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
