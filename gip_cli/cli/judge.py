"""The judge's part of `gip score`: from rows to what attaches its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from gip_cli.cli.console import note, progress
from gip_cli.cli.files import writing
from gip_cli.cli.judge_options import JudgeOptions
from gip_cli.errors import JudgeError, UsageError
from gip_cli.judge import (
    Estimate,
    Journal,
    JudgeItem,
    Outcome,
    Rubric,
    Server,
    Tally,
    estimate,
    judge,
)
from gip_cli.judge.answers import Transport, Usage
from gip_cli.judge.run import Connect, told
from gip_cli.judge.scorer import JudgeScorer
from gip_cli.printable import agreeing, counted
from gip_cli.rows import Row, RowFile


@dataclass(frozen=True)
class _Asked:
    """Who is asked: what identifies it, how it is shown, which kinds of answers it gives."""

    identity: str
    place: str
    apis: tuple[str, ...]
    server: Server | None  # None: a model in this process


def _who(options: JudgeOptions) -> _Asked:
    if options.local is not None:
        from gip_cli.judge.local import LocalModel, identity

        here = f"{options.local} in this process"
        return _Asked(identity(options.local), here, (LocalModel.api,), None)
    server = Server(
        options.model or "",
        options.api,
        options.url,
        key_variable=options.key_variable,
        requests_per_minute=options.requests_per_minute,
        timeout=options.timeout,
        max_retries=options.max_retries,
    )
    return _Asked(server.model, f"{server.model} at {server.place}", server.apis, server)


def _connector(
    server: Server | None, options: JudgeOptions, rubric: Rubric, settled: str | None
) -> Connect:
    """What opens the transport; a model is loaded now, before there is an event loop."""
    if server is not None:
        return lambda: server.connect(rubric, note, settled)
    from gip_cli.judge.local import LocalModel

    local = LocalModel(options.local or "", rubric)
    return lambda: nullcontext(local)


@contextmanager
def judged(
    rows: RowFile, scorer: JudgeScorer, options: JudgeOptions, journal_path: Path | None
) -> Iterator[Callable[[Row], bytes] | None]:
    """Ask about every row, then give what attaches the answers; None after a dry run.

    Only a dry run may do without a journal.

    Raises
    ------
    JudgeError
        More rows without a score than allowed.
    """
    asked, rubric = _who(options), scorer.rubric
    with (
        nullcontext()
        if journal_path is None
        else Journal(journal_path, asked.identity, rubric, asked.apis, note, hold=False)
    ) as journal:

        def planned(count_tokens: Callable[[str], int] | None = None) -> Estimate:
            api = (journal and journal.api) or asked.apis[0]
            return estimate(scorer.items(rows), rubric, journal or (), api, count_tokens)

        if options.dry_run or journal is None:
            _show_plan(planned(_token_counter(options, rubric)), options)
            yield None
            return
        plan = planned()
        if plan.requests:  # else a journal in a read-only place will do, and no key is needed
            _check(asked.server, plan, journal)
            if journal.hold():
                plan = planned()
        note(f"judge: {asked.place}; {plan.requests:,} to ask, {plan.reused:,} in {journal.path}")
        if plan.cut:
            chars = counted(options.max_chars, "character")
            note(f"judge: {counted(plan.cut, 'row')} cut to {chars}")

        def nobody() -> AbstractAsyncContextManager[Transport]:
            raise rows.changed()  # all answers were known

        connect: Connect = nobody
        if plan.requests:
            connect = _connector(asked.server, options, rubric, journal.api)
        outcome = _ask(scorer.items(rows), connect, rubric, journal, options, plan.requests)
        _tell(outcome, journal.path)
        yield lambda row: scorer.line(row, outcome)
        if without := scorer.without.total():
            these = f"{counted(without, 'score')} {agreeing(without, 'have')} no probabilities"
            note(f"judge: {these} to keep: {outcome.api} gave none")


def _check(server: Server | None, plan: Estimate, journal: Journal) -> None:
    """Raise UsageError for what would keep a server from being asked, and say for how many rows."""
    try:
        if server is not None:
            server.check()
    except UsageError as error:
        known = f"{counted(plan.requests, 'row')} to ask about, {plan.reused:,} in {journal.path}"
        raise UsageError(f"{known}: {error}") from None


def _token_counter(options: JudgeOptions, rubric: Rubric) -> Callable[[str], int] | None:
    """What counts the tokens that a local model reads; None for a server's."""
    if options.local is None:
        return None
    from gip_cli.judge.local import token_counter

    return token_counter(options.local, rubric)


def _ask(
    items: Iterable[JudgeItem],
    connect: Connect,
    rubric: Rubric,
    journal: Journal,
    options: JudgeOptions,
    total: int,
) -> Outcome:
    last: Tally | None = None
    with progress("judging", "rows") as update:

        def show(tally: Tally) -> None:
            nonlocal last
            last = tally
            tokens = tally.usage.input_tokens + tally.usage.output_tokens
            spent = f", {tokens:,} tokens" if tokens else ""
            update(tally.asked, total, f"{tally.failures:,} failed{spent}")

        try:
            return judge(
                items,
                connect,
                rubric,
                journal,
                max_concurrent=1 if options.local else options.max_concurrent,
                max_failure_rate=options.max_failure_rate,
                on_progress=show,
            )
        except (JudgeError, KeyboardInterrupt) as error:
            if last and last.usage != Usage():
                _tell_spent(last, journal.api)
            if isinstance(error, KeyboardInterrupt) and journal.api is not None:  # of an answer
                note(f"judge: the answers so far are kept in {journal.path}")
            raise


def _show_plan(plan: Estimate, options: JudgeOptions) -> None:
    """What was asked for by a dry run, and so goes to standard output, quiet or not."""
    rows = f"{counted(plan.rows, 'row')}, {plan.distinct:,} distinct"
    how = "by the model's tokeniser" if plan.measured else "reckoned"
    lines = [
        f"{rows}, {plan.reused:,} in the journal",
        f"{counted(plan.requests, 'request')}, about {plan.input_tokens:,} input tokens "
        f"({plan.chars_per_token:.2g} characters a token, {how})",
    ]
    if plan.cut:
        chars = counted(options.max_chars, "character")
        lines.append(f"{counted(plan.cut, 'row')} to be cut to {chars}")
    if options.price is not None:
        lines.append(
            f"about ${plan.dollars(options.price):,.2f} at ${options.price:g} for a "
            "million input tokens; output tokens and retries come on top"
        )
    with writing("-") as out:
        out.writelines(f"dry run: {line}\n".encode() for line in lines)


def _tell(outcome: Outcome, journal: Path) -> None:
    tally = outcome.tally
    if tally.asked:
        _tell_spent(tally, outcome.api)
    if tally.failures:
        note(
            f"judge: {tally.failures:,} of {counted(tally.rows, 'distinct row')} "
            f"{agreeing(tally.failures, 'lack a score')} ({told(tally.causes)}); null is attached"
        )
    if outcome.lasting:
        note(
            f"judge: {outcome.lasting:,} of these will not be asked about again, unless you delete "
            f'the lines with "score": null from {journal}'
        )


def _tell_spent(tally: Tally, api: str | None) -> None:
    usage, by = tally.usage, f" by {api}" if api else ""
    spent = f"{usage.input_tokens:,} input and {usage.output_tokens:,} output tokens"
    tokens = "of tokens nothing is told" if usage == Usage() else spent
    note(f"judge: {tally.asked:,} asked{by}, {tokens}")
