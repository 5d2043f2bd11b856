"""`gip score`: attach quality signals to rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from gip_cli.cli.console import note, reading, tell_skipped
from gip_cli.cli.files import check_inputs, check_outputs, writing
from gip_cli.cli.judge_options import JudgeOptions
from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import Input, Quiet, SkipBad, TextOptions
from gip_cli.errors import UsageError
from gip_cli.judge import Rubric
from gip_cli.printable import agreeing, counted
from gip_cli.rows import BadRows, Row, RowFile

if TYPE_CHECKING:
    from gip_cli.metadata import MetadataScorer


@dataclass(frozen=True)
class SignalOptions:
    """Signals from the rows' own fields, and what becomes of those there already."""

    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=[-]FIELD[:HOW]",
            help="A signal from a field, by dots; - before it: less is better; HOW joins a list: "
            "mean, max, min or last. Repeatable.",
        ),
    ] = None
    range: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LO:HI",
            help="The signal's scale, beyond which values are refused; default: the rows' span. "
            "Repeatable.",
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace signals of the same name.")
    ] = False
    require: Annotated[
        bool, typer.Option("--require", help="A missing value is an error, not null.")
    ] = False

    def scorer(self, beside: Collection[str]) -> MetadataScorer:
        """What attaches the fields' signals; `beside` are the judge's. Raises UsageError."""
        from gip_cli.metadata import Metadata, MetadataScorer, parse_ranges

        scorer = MetadataScorer(
            [Metadata.parse(text) for text in self.metadata or ()],
            parse_ranges(self.range or ()),
            overwrite=self.overwrite,
            beside=beside,
            require=self.require,
        )
        if twice := scorer.names.intersection(beside):
            raise UsageError(
                f"{min(twice)} is a signal of --metadata and the judge's",
                "give the former another name",
            )
        return scorer


@grouped
def score(
    input: Input,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="OUT", help="Where to write; - is standard output."),
    ] = "-",
    signals: SignalOptions = SignalOptions(),
    text: TextOptions = TextOptions(),  # noqa: B008 - frozen
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
    judge: JudgeOptions = JudgeOptions(),  # noqa: B008 - frozen
) -> None:
    """Attach quality signals to every row of INPUT; the rest of each line keeps its bytes.

    \b
    gip score pool.jsonl -o scored.jsonl --metadata q=meta.rating --range q=1:5
    gip score pool.jsonl --metadata ppl=-loss | gip select - -e pool.npy -k 500
    gip score pool.jsonl -o s.jsonl --judge-url http://HOST/v1 --judge-model M
    """
    judging = judge.check()
    if not signals.metadata and not judging:
        raise UsageError(
            "nothing to score by", "pass --metadata NAME=FIELD, --judge-model or --judge-local"
        )
    if signals.require and not signals.metadata:
        raise UsageError("--require goes with --metadata")
    rubric = Rubric.choose(judge.attributes or (), judge.rubric)
    beside = rubric.ranges.keys() if judging else ()
    scorer = signals.scorer(beside)
    inputs = [input, *([judge.rubric] if judge.rubric else [])]
    check_inputs(*inputs)
    check_outputs(output, read=inputs)
    bad = BadRows(skip=skip_bad)
    lines: list[Callable[[Row], bytes]] = [scorer.line] if signals.metadata else []
    with RowFile(input, bad, reread=judging) as rows, ExitStack() as stack:
        usable: Iterable[Row] = rows
        if judging or text.said:  # else a number is all that is read of a row
            renderer = text.renderer(rows)
            usable = (one.row for one in renderer.read(rows))
        if judging:
            from gip_cli.cli.judge import judged
            from gip_cli.judge.scorer import JudgeScorer

            path = judge.journal_path(input, output)
            note(f"{rows.name}: {renderer.format} rows")
            if signals.metadata:  # now: later it would be found when the judge has been paid
                trial, every = signals.scorer(beside), (one.row for one in renderer.read(rows))
                with trial.counting_beyond(every):
                    for row in every:
                        trial.line(row)
                trial.check()
            judge_scorer = JudgeScorer(
                rubric,
                renderer,
                max_chars=judge.max_chars,
                overwrite=signals.overwrite,
                beside=scorer.names,
                keep_probabilities=judge.keep_probabilities,
            )
            line = stack.enter_context(judged(rows, judge_scorer, judge, path))
            if line is None:
                tell_skipped(bad)
                return
            lines.append(line)
        count, rest = 0, iter(usable)
        # Rows that go to the terminal are not mixed with a bar, which would wipe some out.
        with (
            writing(output) as out,
            nullcontext() if out.isatty() else reading(rows),
            scorer.counting_beyond(rest),
        ):
            for count, row in enumerate(rest, 1):  # noqa: B007 - told below
                out.write(rows.one_line(_scored(row, lines)) + b"\n")
            scorer.check()
    for scale in scorer.scales():
        note(scale)
    for name, missing in scorer.missing.items():
        without = f"{missing:,} of {counted(count, 'row')} {agreeing(missing, 'have no number')}"
        note(f"{name}: {without} and cannot be picked by it")
    note(f"{counted(count, 'row')} scored")
    tell_skipped(bad)


def _scored(row: Row, lines: Sequence[Callable[[Row], bytes]]) -> bytes:
    """The row's bytes after each source of signals has attached its own."""
    first, *others = lines
    raw = first(row)
    for line in others:
        raw = line(replace(row, raw=raw, value=orjson.loads(raw)))
    return raw
