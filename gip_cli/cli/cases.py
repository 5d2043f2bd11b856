"""Selections and their pool opened together: what `report` and `compare` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from gip_cli.cli.console import note, tell_skipped
from gip_cli.cli.files import check_inputs, check_present
from gip_cli.cli.options import TextOptions
from gip_cli.errors import UsageError
from gip_cli.rows import BadRows, RowFile

if TYPE_CHECKING:
    from gip_cli.report.case import Case
    from gip_cli.report.selections import Receipt

GroupFields = Annotated[
    list[str] | None,
    typer.Option(
        "--group-field",
        metavar="A.B",
        help="Show shares of this field, by dots; repeatable; default: as selected by.",
    ),
]


def receipts_of(selections: list[str]) -> list[Receipt | None]:
    """The receipt beside each selection."""
    from gip_cli.report.selections import Receipt

    return [Receipt.beside(path) for path in selections]


def files_read(pool: str, selections: list[str], receipts: list[Receipt | None]) -> list[str]:
    """All that `opened` reads but embeddings: receipts too, and the files that they name."""
    told = [one for one in receipts if one]
    named = [path for one in told for paths in one.files.values() for path in paths]
    return [pool, *selections, *(str(one.path) for one in told), *named]


@contextmanager
def opened(
    pool: str,
    embeddings: str | None,
    selections: list[str],
    receipts: list[Receipt | None],
    group_fields: list[str] | None,
    text: TextOptions,
    *,
    skip_bad: bool,
) -> Iterator[Case]:
    """The case of these selections; whatever its figures depend on is told on stderr.

    Raises
    ------
    UsageError
        A selection is given twice, or one pipe is to be read twice.
    """
    from gip_cli.cli.inputs import embeddings_for, pool_of, tell_unanswered
    from gip_cli.report.case import open_case
    from gip_cli.report.selections import read_selection

    if repeated := [name for name in selections if selections.count(name) > 1]:
        raise UsageError(f"{repeated[0]} is given twice")
    told = [one for one in receipts if one]
    check_present(*selections)
    check_inputs(pool, *selections)
    if told:  # the first is what all are measured by
        named = chain(*told[0].files.values())
        check_inputs(pool, *selections, *named, remedy=f"{told[0].path} names it, too: use files")
    if told and embeddings is None and (store_path := told[0].store_path):
        note(f"using {store_path}, which {told[0].path} names")
        embeddings = store_path
    bad, *of_picks = (BadRows(skip=skip_bad) for _ in (pool, *selections))
    with (
        RowFile(pool, bad, reread=True) as rows,
        embeddings_for(rows, pool, embeddings, text) as (store, _),
    ):
        grouped = group_fields or [
            one.options["group_field"] for one in told if "group_field" in one.options
        ]
        counted = [field for one in told if (field := one.plan.budget.token_field)]
        loaded = pool_of(rows, store, [*grouped, *counted])
        for field in group_fields or ():
            loaded.field(field, "--group-field")
        if nowhere := [field for field in grouped if loaded.fields[field].is_empty]:
            note(f"no row has a value in field {nowhere[0]!r}, by which a receipt groups: left out")
            grouped = [field for field in grouped if field not in nowhere]
        picked = [
            read_selection(path, loaded, receipt, skipped)
            for path, receipt, skipped in zip(selections, receipts, of_picks, strict=True)
        ]
        case = open_case(loaded, store, picked, grouped, skip_bad=skip_bad)
        if case.unit != "tokens":
            tell_unanswered(loaded)
        for skipped in (bad, *case.skipped, *of_picks):
            tell_skipped(skipped)
        for line in case.notes:
            note(line)
        yield case
        store.check_unchanged()
