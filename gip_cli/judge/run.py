"""Asking a judge about many rows: each once, several at a time, nothing lost on the way."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

from gip_cli.errors import JudgeError
from gip_cli.interrupts import cancelling_tasks, put_off
from gip_cli.judge.answers import (
    MODEL_ERROR,
    NO_CONNECTION,
    NO_ENDPOINT,
    TIMED_OUT,
    TOO_SLOW,
    Answer,
    Transport,
    Unanswered,
    Usage,
    Verdict,
)
from gip_cli.judge.item import JudgeItem
from gip_cli.judge.journal import Journal
from gip_cli.judge.rubric import Rubric
from gip_cli.printable import agreeing, counted

_GIVE_UP_AFTER = 20  # failures with no answer between them: the server is gone, not the row odd
_NO_KEY = (401, 402)  # refused, or without credit: no later row will fare better
_OF_THE_ROW = (400, 413, 422)  # too long, or not taken as it is: nor will it be the next time
_CLOSED = (403, *NO_ENDPOINT)  # may be of one row (moderation), but not of many in a row
_SEE_TO = "see to --judge-url (does it end in /v1?), --judge-model, --judge-api and the key"
_BREATH = 256  # rows passed over between two looks at the network and at Ctrl-C
_END = object()

Connect = Callable[[], AbstractAsyncContextManager[Transport]]


@dataclass
class Tally:
    """Counts of distinct rows so far, `causes` of those without all scores among them."""

    rows: int = 0
    asked: int = 0  # with an answer or without
    causes: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)  # of what was asked in this run

    @property
    def failures(self) -> int:
        return self.causes.total()

    @property
    def failure_rate(self) -> float:
        return self.failures / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Outcome:
    """What a run ended with; the answers themselves stay in the journal."""

    tally: Tally
    api: str | None
    _rubric: Rubric
    _journal: Journal
    _failed: dict[bytes, str]

    @property
    def lasting(self) -> int:
        """Rows without all scores that the journal has so: they are not asked about again."""
        return self.tally.failures - len(self._failed)

    def verdicts(self, key: bytes) -> dict[str, Verdict]:
        """An attribute's verdict by name, for the key of a row that was asked about."""
        if key in self._failed:
            return _nothing(self._rubric, self._failed[key])
        return self._journal.get(key)


def judge(
    items: Iterable[JudgeItem],
    connect: Connect,
    rubric: Rubric,
    journal: Journal,
    *,
    max_concurrent: int = 8,
    max_failure_rate: float = 0.01,
    on_progress: Callable[[Tally], None] = lambda tally: None,
) -> Outcome:
    """Ask about every item that the journal lacks, identical ones once.

    Memory is a few hundred bytes an item: texts and answers are not kept. Rows that the server
    refuses as they are go to the journal, too, once a run has ended well: so it is whole, and gives
    the same again without a server.

    Parameters
    ----------
    connect : callable
        Opens the transport; called within the event loop that it is used in, and only if there
        is something to ask.
    max_concurrent : int
        Requests under way at a time.
    max_failure_rate : float
        The share of distinct rows that may end without all scores. At 1 nothing but a refused
        key, or an endpoint that is missing or closed, stops the run.

    Raises
    ------
    JudgeError
        More failures than allowed, or a judge that plainly will not answer. What was answered
        is in the journal.
    """
    run = _Run(rubric, journal, max_concurrent, max_failure_rate, on_progress)
    try:
        with cancelling_tasks(), closing(asyncio.Runner()) as runner:
            with put_off():  # amid its making a signal leaves half a loop, whose end is a traceback
                runner.get_loop()
            runner.run(run.all(items, connect))
    except asyncio.CancelledError:  # from outside, as by Ctrl-C
        raise KeyboardInterrupt from None
    tally = run.tally
    if tally.failure_rate > max_failure_rate:
        raise JudgeError(
            f"{tally.failures:,} of {counted(tally.rows, 'distinct row')} "
            f"({100 * tally.failure_rate:.3g}%) {agreeing(tally.failures, 'lack a score')} "
            f"({told(tally.causes)})" + (f"; the last: {run.last}" if run.last else ""),
            f"above --max-failure-rate {max_failure_rate:g}, so nothing was written; "
            + run.remedy_of_many(),
        )
    run.keep_refused()
    return Outcome(tally, journal.api, rubric, journal, run.failed)


def _nothing(rubric: Rubric, cause: str) -> dict[str, Verdict]:
    return {one.name: Verdict(None, cause) for one in rubric.attributes}


def told(causes: Counter[str]) -> str:
    """Causes and their counts, most frequent first."""
    return ", ".join(f"{count:,} {cause}" for cause, count in causes.most_common())


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's exception handler, which is silent about a second Ctrl-C: `judge` deals with it.

    That is a KeyboardInterrupt amid the work, or an InvalidStateError where the loop winds up
    before a thread has set its result.
    """
    heard = (KeyboardInterrupt, asyncio.InvalidStateError)
    if not isinstance(context.get("exception"), heard):
        loop.default_exception_handler(context)


class _Run:
    def __init__(
        self,
        rubric: Rubric,
        journal: Journal,
        max_concurrent: int,
        max_failure_rate: float,
        on_progress: Callable[[Tally], None],
    ) -> None:
        self.tally = Tally()
        self.failed: dict[bytes, str] = {}
        self._refused: dict[bytes, str] = {}  # of these, what the server said of the row
        self.last = ""  # what the server said to the last failure that it said something to
        self._last: Unanswered | None = None  # failure
        self._rubric = rubric
        self._journal = journal
        self._max_concurrent = max_concurrent
        self._patient = max_failure_rate >= 1
        self._on_progress = on_progress
        self._many = max(_GIVE_UP_AFTER, 2 * max_concurrent)
        self._in_a_row = 0  # failures
        self._closed_in_a_row = 0
        self._answers = 0
        self._unscored: Counter[str] = Counter()  # causes in this run's answers
        self._scored = journal.scored  # a row of this run or of an earlier one

    async def all(self, items: Iterable[JudgeItem], connect: Connect) -> None:
        """Workers that share one iterator: no more than their number is ever in memory."""
        asyncio.get_running_loop().set_exception_handler(_tell)
        pending = self._pending(items)
        while (first := next(pending, _END)) is None:
            await asyncio.sleep(0)
        if first is _END:
            return
        pending = chain([cast("JudgeItem", first)], pending)
        async with connect() as transport:
            workers = [
                asyncio.create_task(self._work(pending, transport))
                for _ in range(self._max_concurrent)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    def _pending(self, items: Iterable[JudgeItem]) -> Iterator[JudgeItem | None]:
        """Items to ask; None now and then, so that passing over many does not block."""
        seen: set[bytes] = set()
        for number, item in enumerate(items, 1):
            if item.key not in seen:
                seen.add(item.key)
                self.tally.rows += 1
                if item.key in self._journal:
                    self._count(self._journal.get(item.key))
                else:
                    yield item
            if number % _BREATH == 0:
                yield None

    async def _work(self, pending: Iterator[JudgeItem | None], transport: Transport) -> None:
        for item in pending:
            if item is None:
                await asyncio.sleep(0)
            else:
                try:
                    await self._ask(item, transport)
                except JudgeError:  # what ends the run is counted, too
                    self.tally.asked += 1
                    raise
                self.tally.asked += 1
                self._on_progress(self.tally)

    async def _ask(self, item: JudgeItem, transport: Transport) -> None:
        started = time.monotonic()
        try:
            answer = await transport.ask(item.state)
        except Unanswered as failure:
            self._fail(item.key, failure)
            return
        self._journal.append(item.key, transport.api, answer, time.monotonic() - started)
        self._answers += 1
        self._in_a_row = self._closed_in_a_row = 0
        self.tally.usage += answer.usage
        self._unscored += self._count(answer.verdicts)
        if self._answers >= self._many and not (self._scored or self._patient):
            raise JudgeError(
                f"none of the first {self._answers} answers holds a score ({told(self._unscored)})",
                f"see to --judge-model and --judge-api; the answers are in {self._journal.path}: "
                'delete its lines with "score": null to have them asked again',
            )

    def _count(self, verdicts: dict[str, Verdict]) -> Counter[str]:
        """Count an answer, and return what it adds to the causes."""
        added: Counter[str] = Counter()
        self._scored |= any(one.score is not None for one in verdicts.values())
        lacking: dict[str, list[str]] = {}
        for name, one in verdicts.items():
            if one.cause:
                lacking.setdefault(one.cause, []).append(name)
        if lacking:
            # Where a row has its other scores, which it lacks is news.
            if sum(map(len, lacking.values())) == len(verdicts):
                told_of = next(iter(lacking))
            else:
                each = (f"{' and '.join(names)} {cause}" for cause, names in lacking.items())
                told_of = ", ".join(each)
            added[told_of] = 1
            self.tally.causes += added
        return added

    def _fail(self, key: bytes, failure: Unanswered) -> None:
        self.failed[key], self._last = failure.cause, failure
        if failure.status in _OF_THE_ROW:
            self._refused[key] = failure.detail
        self.tally.causes[failure.cause] += 1
        self.last = failure.detail or self.last
        self._in_a_row += 1
        closed = failure.status in _CLOSED
        self._closed_in_a_row = self._closed_in_a_row + 1 if closed else 0
        said = f" ({failure.detail})" if failure.detail else ""
        if failure.status in _NO_KEY or (failure.status in NO_ENDPOINT and not self._answers):
            raise JudgeError(
                f"the judge's server answers {failure.cause}{said}", self._remedy(failure)
            )
        unanswered = self._closed_in_a_row if self._patient else self._in_a_row
        if unanswered >= self._many:
            raise JudgeError(
                f"{unanswered} requests in a row had no answer, the last: {failure.cause}{said}",
                self._remedy(failure),
            )

    def keep_refused(self) -> None:
        """Put rows that the server refused into the journal, if it has scored others.

        Not where it ended with as many failures in a row as elsewhere mean that it is at fault.
        """
        api = self._journal.api
        if api is not None and self._scored and self._in_a_row < self._many:
            for key, said in self._refused.items():
                nothing = _nothing(self._rubric, self.failed.pop(key))
                self._journal.append(key, api, Answer({"error": said}, nothing, Usage()), 0.0)

    def remedy_of_many(self) -> str:
        """What to do where more rows failed than may, though none of them ended the run."""
        last, advice = self._last, ""
        if last and self._journal.api is None:  # no answer, of an earlier run either
            return self._remedy(last)
        # Of refusals beside answers there is no more to say than that they are of those rows.
        if last and last.status not in _OF_THE_ROW + _CLOSED * bool(self._answers):
            advice = self._advice(last)
        # A verdict without a score is an answer all the same: the journal would give it again.
        unread = self.tally.failures > len(self.failed)
        return (
            f"{advice}; " * bool(advice)
            + f"answers are kept in {self._journal.path}: "
            + 'delete its lines with "score": null, else they stay as they are, and ' * unread
            + "allow for rows that are refused as they are, or cut them by --max-judge-chars, and "
            * bool(self._refused)
            + "run again to ask for what is missing"
        )

    def _remedy(self, failure: Unanswered) -> str:
        kept = f"answers are kept in {self._journal.path}: run again to go on"
        advice = self._advice(failure)
        if not advice:
            return kept
        return f"{advice}; {kept}" if self._answers else advice

    def _advice(self, failure: Unanswered) -> str:
        """What would help against it; empty where that is to run again."""
        if failure.cause == MODEL_ERROR:
            return "see to the model's chat template, and to memory"
        if failure.status in _OF_THE_ROW and self._scored:
            return "cut rows by --max-judge-chars, or allow for them by --max-failure-rate 1"
        if failure.wait:
            return "the server is busy: run again later, or set --requests-per-minute"
        if failure.cause == TIMED_OUT:
            return TOO_SLOW
        if failure.cause == NO_CONNECTION and not self._answers:
            return "is the server running, and --judge-url right?"
        kind = self._journal.api
        if failure.status in NO_ENDPOINT and not self._answers and kind not in (None, "chat"):
            return (  # as where the server behind the address is another than before
                f"answers in {self._journal.path} came by {kind}: if the server has that no more, "
                f"--judge-api chat asks about all rows anew; else {_SEE_TO}"
            )
        if failure.status in (*_NO_KEY, *_CLOSED) or not self._answers:
            return _SEE_TO
        return ""
