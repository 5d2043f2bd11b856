"""`gip score`: attach quality signals to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated

import orjson
import typer

from gip_cli.cli.console import note, tell_skipped
from gip_cli.cli.files import check_inputs, check_outputs, writing
from gip_cli.cli.judge_options import JudgeOptions
from gip_cli.cli.option_groups import grouped
from gip_cli.cli.options import Format, Input, Output, Quiet, SkipBad, TextFields
from gip_cli.errors import UsageError
from gip_cli.formats import Renderer
from gip_cli.judge import Rubric
from gip_cli.printable import agreeing, counted
from gip_cli.rows import BadRows, Row, RowFile, one_line


@grouped
def score(
    input: Input,
    output: Output = "-",
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=[-]FIELD[:HOW]",
            help="A signal from a field, by dots; - before it: less is better; HOW joins a list: "
            "mean, max, min or last. Repeatable.",
        ),
    ] = None,
    range: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LO:HI",
            help="The signal's scale, beyond which values are refused; default: the rows' span. "
            "Repeatable.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace signals of the same name.")
    ] = False,
    require: Annotated[
        bool, typer.Option("--require", help="A missing value is an error, not null.")
    ] = False,
    format: Format = None,
    text_field: TextFields = None,
    skip_bad: SkipBad = False,
    quiet: Quiet = False,
    asked: JudgeOptions = JudgeOptions(),  # noqa: B008 - frozen
) -> None:
    """Attach quality signals to every row of INPUT; the rest of each line keeps its bytes.

    \b
    gip score pool.jsonl -o scored.jsonl --metadata q=meta.rating --range q=1:5
    gip score pool.jsonl --metadata ppl=-loss | gip select - -e pool.npy -k 500
    gip score pool.jsonl -o s.jsonl --judge-url http://HOST/v1 --judge-model M
    """
    from gip_cli.metadata import Metadata, MetadataScorer, parse_ranges

    judging = asked.wanted
    if not metadata and not judging:
        raise UsageError(
            "nothing to score by", "pass --metadata NAME=FIELD, --judge-model or --judge-local"
        )
    if require and not metadata:
        raise UsageError("--require goes with --metadata")
    rubric = Rubric.choose(asked.attributes or (), asked.rubric)
    scorer = MetadataScorer(
        [Metadata.parse(text) for text in metadata or ()],
        parse_ranges(range or ()),
        overwrite=overwrite,
        beside=rubric.ranges.keys() if judging else (),
        require=require,
    )
    if judging and (twice := scorer.names & rubric.ranges.keys()):
        raise UsageError(
            f"{min(twice)} is a signal of --metadata and the judge's",
            "give the former another name",
        )
    inputs = [input, *([asked.rubric] if asked.rubric else [])]
    check_inputs(*inputs)
    check_outputs(output, read=inputs)
    bad = BadRows(skip=skip_bad)
    lines: list[Callable[[Row], bytes]] = [scorer.line] if metadata else []
    with ExitStack() as stack:
        rows = stack.enter_context(RowFile(input, bad, reread=judging))
        usable: Iterable[Row] = rows
        if judging or format or text_field:  # else a number is all that is read of a row
            renderer = Renderer.sniff(rows, format, text_field or ())
            usable = (one.row for one in renderer.read(rows))
        if judging:
            from gip_cli.cli.judge import judged

            place = asked.journal_path(input, output)
            note(f"{rows.name}: {renderer.format} rows")
            if metadata:  # now: later it would be found when the judge has been paid
                scorer.examine(one.row for one in renderer.read(rows))
            line = stack.enter_context(
                judged(
                    rows,
                    renderer,
                    asked,
                    rubric,
                    place,
                    overwrite=overwrite,
                    beside=scorer.names,
                )
            )
            if line is None:
                return
            lines.append(line)
        out = stack.enter_context(writing(output))
        count = 0
        for count, row in enumerate(usable, 1):  # noqa: B007 - told below
            out.write(one_line(_scored(row, lines)) + b"\n")
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
