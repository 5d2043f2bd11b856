"""Selections read back: a file's rows as positions in their pool, and the receipt beside it."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gip_cli.arrays import Rows
from gip_cli.embeddings import Embeddings, as_keys, join_keys, open_embeddings
from gip_cli.encoder import ModelCard
from gip_cli.errors import GipError, InputError, NoRowsError, UsageError
from gip_cli.formats import NotOfFormatError, Part, Rendered, Renderer, key_of
from gip_cli.plan import Budget, Plan, Sources
from gip_cli.pool import NO_ROWS, Pool, load_pool
from gip_cli.printable import agreeing, counted, file_name, printable
from gip_cli.pursuit import MOST_NOISE
from gip_cli.rows import BadRows, Row, RowFile
from gip_cli.signals import strip
from gip_cli.storage import storage_errors
from gip_cli.streams import receipt_places


@dataclass(frozen=True)
class Receipt:
    """What `gip select` says it did, as far as a selection is measured by it.

    `plan` is what it was asked, but for how much to pick.
    """

    path: Path
    value: dict[str, Any]
    noise: float
    sources: dict[str, float]  # shares of the query
    signals: dict[str, float]  # and their weights
    plan: Plan
    files: dict[str, list[str]]  # targets, given, exclude
    digests: set[str]  # of these files, as `Pool.digest`; none where an old receipt lacks them

    @classmethod
    def read(cls, path: Path) -> Receipt:
        """Raises InputError for a file that `gip select` did not write."""
        with storage_errors(path):
            data = path.read_bytes()
        try:
            value = orjson.loads(data)
            options, store = value["options"], value["embeddings"]
            sources = {str(name): float(w) for name, w in value["query"]["sources"].items()}
            digests = {
                str(part): [str(file["blake2b"]) for file in files]
                for part, files in value.get("beside", {}).items()
            }
            signals = {str(name): float(w) for name, w in options["signals"].items()}
            receipt = cls(
                path,
                value,
                float(value["noise"]),
                sources,
                signals,
                _plan(options, sources, signals),
                {
                    part: [
                        _found(str(one), path, digests.get(part, []), store)
                        for one in options.get(part) or []
                    ]
                    for part in ("targets", "given", "exclude")
                },
                {digest for of_part in digests.values() for digest in of_part},
            )
            texts = [value["gip"], value["numpy"], value["input"]["blake2b"], store["model"]]
            texts += [options[one] for one in ("group_field", "token_field") if one in options]
            texts += [] if store["path"] is None else [store["path"]]
            texts += [path for paths in receipt.files.values() for path in paths]
            if not all(isinstance(one, str) and one and "\0" not in one for one in texts):
                raise TypeError
            orjson.dumps([[[[value]]]])  # it reads deeper than it writes; the page has it inside
            if not (1 / MOST_NOISE <= receipt.noise <= MOST_NOISE and receipt.sources):
                raise ValueError
        except (KeyError, TypeError, AttributeError, ValueError, UsageError):
            raise InputError(
                "not a receipt of gip select", "move it away, or select again", path=path
            ) from None
        return receipt

    @classmethod
    def beside(cls, selection: str) -> Receipt | None:
        """The receipt beside a selection, if it is there."""
        path = next(filter(os.path.exists, receipt_places(selection)), None)
        return cls.read(path) if path else None

    def was_by(self, store: Embeddings) -> bool:
        """Whether these are embeddings of the kind that the selection was made by."""
        named: dict[str, Any] = self.value["embeddings"]
        values: dict[str, Any] = {one.name: named.get(one.name) for one in fields(ModelCard)}
        theirs = ModelCard(**values)
        return store.settings.card.named_as(theirs) == theirs

    def was_of_texts_by(self, renderer: Renderer) -> bool:
        """Whether rows have the keys by which they were selected: those of other texts differ."""
        named: dict[str, Any] = self.value["embeddings"]
        return {**named, **renderer.to_json()} == named

    @cached_property
    def store_path(self) -> str | None:
        """Where the embeddings are that the selection was made by, if they are those still."""
        named = self.value["embeddings"]
        if named["path"] is None:
            return None
        for place in _places(named["path"], self.path):
            with suppress(GipError, OSError):
                store = open_embeddings(place)
                if store.digest == named.get("keys") and self.was_by(store):
                    return place
        return None

    @property
    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = self.value["options"]
        return options


def _places(named: str, receipt: Path) -> list[str]:
    """Where a file may be that a receipt names: as it was named, and from the receipt's folder."""
    return [named, str(receipt.parent / named)]


def _found(named: str, receipt: Path, digests: list[str], store: dict[str, Any]) -> str:
    """The one of the `_places` that is there; of two the one whose rows have one of the digests.

    Rows are those that the `store` of the receipt reads, as a selection did.
    """
    there = []
    for place in _places(named, receipt):
        with suppress(OSError):  # a name can be too long here
            there += [place] * Path(place).exists()
    # A pipe or a device, whose reading might never end.
    if not all(place.is_file() or place.is_dir() for place in map(Path, there)):
        what = f"names {printable(named)}, which is no file that can be read again"
        raise InputError(what, "move the receipt away, or select again", path=receipt)
    if len(there) < 2 or Path(there[0]).samefile(there[1]):
        return (there or [named])[0]
    of_pool = Renderer(store["format"], tuple(store["fields"]), Part(store["part"]))
    for place in there:
        digest = None
        with suppress(GipError), RowFile(place, BadRows(skip=True), reread=True) as rows:
            try:
                digest = load_pool(rows, of_pool.sniff_beside(rows)).digest
            except NoRowsError:
                digest = NO_ROWS
        if digest in digests:
            return place
    return there[0]


def _plan(options: dict[str, Any], sources: dict[str, float], signals: dict[str, float]) -> Plan:
    field = options.get("token_field")
    said = {"pursuit", "dedup_threshold", "exclude_threshold"} & options.keys()
    return Plan(
        Budget(rows=1) if field is None else Budget(tokens=1, token_field=str(field)),
        Sources(
            tuple(f"{name}={weight!r}" for name, weight in signals.items()),
            self_weight=sources.get("self", 0.0),
            signal_weight=sources.get("signals", 0.0),
            target_weight=sources.get("targets", 0.0),
            quality_power=float(options["quality_power"]),
        ),
        **{name: options[name] for name in said},
    )


@dataclass(frozen=True)
class Picked:
    """A selection: positions in the pool (n,) in the order of its file, which is its rank.

    `by_line` tells that every line of the file is a row, so that `head` takes the first ones.
    """

    name: str
    rows: Rows
    receipt: Receipt | None
    by_line: bool


def read_selection(path: str, pool: Pool, receipt: Receipt | None, bad: BadRows) -> Picked:
    """Read a selection and find each of its rows in `pool`, by key.

    Raises
    ------
    InputError
        Names the line of a row that is not in the pool, or is there less often; no row at all,
        of which there is nothing to tell.
    """
    picks: list[Rendered] = []
    try:
        with RowFile(path, bad) as file, suppress(NoRowsError):
            picks = list(pool.renderer.read(file))
    except NotOfFormatError as error:
        remedy = f"give a selection of {pool.rows.name}, or pass --skip-bad"
        raise InputError(error.fault, remedy) from None
    except InputError:
        if path.endswith(".receipt.json"):  # `small*` names it, too
            what, remedy = "a receipt, not a selection", "leave it out: its selection's is found"
            raise InputError(what, remedy, path=file_name(path)) from None
        raise
    if not picks:
        why = f" ({bad.first.fault})" if bad.first else ""
        raise InputError(f"no row to measure{why}", "leave it out, or select again", path=file.name)
    named = file.packed == path.endswith(".gz")  # else gzip does not know what to do
    in_place = all(pick.row.line == line for line, pick in enumerate(picks, 1))
    by_line = named and in_place and not file.is_array
    return Picked(file_name(path), _positions(picks, pool), receipt, by_line)


def _positions(picks: list[Rendered], pool: Pool) -> Rows:
    keys = as_keys(b"".join(key_of(pick.text) for pick in picks))
    distinct = join_keys(keys, keys)  # each pick's first pick of the same key
    of_key: dict[int, list[int]] = defaultdict(list)
    of_pool = join_keys(keys, pool.keys)
    for position in np.flatnonzero(of_pool >= 0):
        of_key[int(of_pool[position])].append(int(position))
    if absent := [at for at, key in enumerate(distinct.tolist()) if key not in of_key]:
        more = len(absent) - 1
        others = f" (nor {agreeing(more, 'are')} {counted(more, 'more row')})" * (more > 0)
        raise picks[absent[0]].row.error(
            f"not a row of {pool.rows.name}{others}",
            "give the pool that it was selected from, or one that has its rows, too",
        )
    free: dict[int, _Free] = {}
    found = np.empty(len(picks), dtype=np.int64)
    for number, (pick, key) in enumerate(zip(picks, distinct.tolist(), strict=True)):
        if key not in free:
            free[key] = _Free(of_key[key], pool)
        taken = free[key].take(pick)
        if taken is None:
            raise pick.row.error(
                f"repeats a row more often than {pool.rows.name} has it",
                "remove the repeated line",
            )
        found[number] = taken
    return found


class _Free:
    """The pool's rows of one text, those that no pick has taken.

    Such rows can differ in what is not embedded, their signals and groups: each is read once.
    """

    def __init__(self, positions: list[int], pool: Pool) -> None:
        self._all = positions[::-1]
        self._same: dict[bytes, list[int]] = defaultdict(list)  # by their own bytes
        self._taken: set[int] = set()
        if len(positions) > 1:
            for position in self._all:
                self._same[_own(pool.row(position))].append(position)

    def take(self, pick: Rendered) -> int | None:
        """The first that has the pick's own bytes; if there is none the first, if there is any."""
        for left in (self._same.get(_own(pick.row), []), self._all):
            while left and left[-1] in self._taken:
                left.pop()
            if left:
                self._taken.add(left[-1])
                return left.pop()
        return None


def _own(row: Row) -> bytes:
    return strip(row.raw, row.value)
