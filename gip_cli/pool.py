"""A pool of rows as arrays: places, keys, signals and lengths, but not the rows themselves."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.embeddings import Embeddings, Keys, join_keys
from gip_cli.errors import MismatchError, UsageError
from gip_cli.formats import KEY_BYTES, Renderer, key_of, lookup
from gip_cli.rows import Row, RowFile
from gip_cli.signals import attached

Range = tuple[float, float]


@dataclass(frozen=True)
class Signals:
    """Signal values (m, a), NaN where missing, with the scale that the rows declare."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    ranges: tuple[Range | None, ...]
    lower: tuple[bool, ...]

    def weighted(self, wanted: Sequence[str]) -> tuple[Signals, list[float]]:
        """The signals that ``NAME[=WEIGHT]`` texts choose, and their weights (1 if not said)."""
        names, shares = [], []
        for text in wanted:
            name, equals, weight = (text, "", "") if text in self.names else text.rpartition("=")
            try:
                share = float(weight) if equals else 1.0
            except ValueError:
                share = -1.0
            if not 0 < share < float("inf"):
                raise UsageError(f"--signal {text!r} is not NAME=WEIGHT with a positive weight")
            names.append(name if equals else text)
            shares.append(share)
        if len(set(names)) < len(names):
            raise UsageError("two --signal of one name", "give its weight once")
        return self.chosen(names), shares

    def spanned(self) -> Signals:
        """The same with every range said: the pool's minimum and maximum where none is declared."""
        known = ~np.isnan(self.values)
        spans = zip(
            np.min(self.values, axis=0, initial=np.inf, where=known).tolist(),
            np.max(self.values, axis=0, initial=-np.inf, where=known).tolist(),
            strict=True,
        )
        ranges = tuple(
            declared or (span if span[0] <= span[1] else (0.0, 0.0))
            for declared, span in zip(self.ranges, spans, strict=True)
        )
        return replace(self, ranges=ranges)

    def chosen(self, names: Sequence[str]) -> Signals:
        """Those of `names`, in that order; raises UsageError for one that no row has."""
        if unknown := [name for name in names if name not in self.names]:
            have = ", ".join(self.names) or "none; attach them with gip score"
            raise UsageError(f"no row has signal {unknown[0]!r}", f"signals here: {have}")
        at = [self.names.index(name) for name in names]
        return Signals(
            tuple(names),
            self.values[:, at],
            tuple(self.ranges[i] for i in at),
            tuple(self.lower[i] for i in at),
        )


@dataclass(frozen=True)
class Pool:
    """Rows of a file, by position 0..m-1 among those that could be read."""

    rows: RowFile
    renderer: Renderer
    lines: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]  # bytes
    keys: Keys
    lengths: npt.NDArray[np.int64]  # characters of the response
    signals: Signals
    digest: str  # BLAKE2b-128 of the rows' bytes, a newline after each
    fields: dict[str, list[Any]] = field(default_factory=dict)  # asked for, one value a row

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int) -> Row:
        """The row's own bytes and value, read from its place in the file."""
        raw = self.rows.read(int(self.offsets[position]), int(self.sizes[position]))
        line, offset = int(self.lines[position]), int(self.offsets[position])
        return Row(raw, orjson.loads(raw), self.rows.name, line, offset)

    def located(
        self, embeddings: Embeddings, *, skip_missing: bool = False
    ) -> npt.NDArray[np.int64]:
        """Where each row stands in the store (m,); -1 where it does not, if that is to be skipped.

        Raises
        ------
        MismatchError
            A row has no embedding; names the first. With `skip_missing`: no row has one.
        """
        if np.array_equal(embeddings.keys, self.keys):  # also where a row is there twice
            return np.arange(len(self))
        at = join_keys(embeddings.keys, self.keys)
        missing = at < 0
        if missing.any() and (missing.all() or not skip_missing):
            first = int(np.argmax(missing))
            more = int(np.count_nonzero(missing)) - 1
            raise MismatchError(
                f"no embedding in {embeddings.paths.npy}"
                + (f" (nor for {more:,} more rows)" * (more > 0)),
                f"run gip embed {self.rows.name} -o {embeddings.paths.npy}"
                + " or pass --skip-bad" * (not skip_missing),
                path=self.rows.name,
                line=int(self.lines[first]),
            )
        return at

    def embedded(
        self, embeddings: Embeddings, at: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.floating[Any]]:
        """The pool's vectors (m, d): the store's own memory map where the order is the same.

        Rows without an embedding, where `at` from `located` allows any, are zero.
        """
        if at is None:
            at = self.located(embeddings)
        if np.array_equal(at, np.arange(len(embeddings.keys))):
            return embeddings.vectors
        vectors = embeddings.vectors[at]
        vectors[at < 0] = 0
        return vectors


def load_pool(rows: RowFile, renderer: Renderer, fields: Iterable[str] = ()) -> Pool:
    """Read every row of a `reread` file once.

    Raises
    ------
    InputError
        A row that cannot be read, or whose signals are not what gip writes, or declare another
        scale than the rows before.
    """
    lines, offsets, sizes, lengths = array("q"), array("q"), array("q"), array("q")
    keys = bytearray()
    digest = blake2b(digest_size=16)
    columns = _Columns()
    members: dict[str, list[Any]] = {name: [] for name in fields}
    for one in renderer.read(rows):
        row = one.row
        columns.add(row)
        digest.update(row.raw)
        digest.update(b"\n")
        lines.append(row.line)
        offsets.append(row.offset)
        sizes.append(len(row.raw))
        lengths.append(one.response_length)
        keys += key_of(one.text)
        for name, values in members.items():
            values.append(lookup(row.value, name))
    return Pool(
        rows,
        renderer,
        _int64(lines),
        _int64(offsets),
        _int64(sizes),
        np.frombuffer(keys, dtype=np.uint8).reshape(-1, KEY_BYTES),
        _int64(lengths),
        columns.signals(),
        digest.hexdigest(),
        members,
    )


def _int64(values: array[int]) -> npt.NDArray[np.int64]:
    return np.frombuffer(values, dtype=np.int64)


class _Columns:
    """Gathers the rows' signals into columns; a name may first appear in any row."""

    def __init__(self) -> None:
        self._count = 0
        self._values: dict[str, array[float]] = {}
        self._scales: dict[str, tuple[Any, bool]] = {}

    def add(self, row: Row) -> None:
        member = attached(row)
        ranges, lower = member.get("ranges", {}), member.get("lower", ())
        for name, value in member.get("signals", {}).items():
            scale = (ranges.get(name), name in lower)
            if self._scales.setdefault(name, scale) != scale:
                raise row.error(
                    f"signal {name!r} has another scale here than in the rows before",
                    "score all rows by one command",
                )
            column = self._values.setdefault(name, array("d"))
            column.extend([np.nan] * (self._count - len(column)))
            if value is not None:
                column.append(value)
        self._count += 1

    def signals(self) -> Signals:
        names = tuple(self._values)
        values = np.full((self._count, len(names)), np.nan)
        for at, column in enumerate(self._values.values()):
            values[: len(column), at] = column
        ranges = [self._scales[name][0] for name in names]
        return Signals(
            names,
            values,
            tuple(None if ends is None else (ends[0], ends[1]) for ends in ranges),
            tuple(self._scales[name][1] for name in names),
        )
