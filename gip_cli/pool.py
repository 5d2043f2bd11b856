"""A pool of rows as arrays: places, keys, signals and lengths, but not the rows themselves."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.arrays import Rows
from gip_cli.columns import SignalColumns, Signals, Values
from gip_cli.embedding_files import embed_command
from gip_cli.embeddings import Embeddings, Keys, as_keys, find_run, join_keys
from gip_cli.errors import MismatchError, UsageError
from gip_cli.formats import Renderer, key_of, lookup, members_shown
from gip_cli.printable import counted
from gip_cli.rows import Row, RowFile

NO_ROWS = blake2b(digest_size=16).hexdigest()  # the `Pool.digest` of a file without any


@dataclass(frozen=True)
class Pool:
    """Rows of a file, by position 0..m-1 among those that could be read."""

    rows: RowFile
    renderer: Renderer
    lines: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.uint32]  # bytes
    keys: Keys
    lengths: npt.NDArray[np.uint32]  # characters of the response
    unanswered: int  # rows without one, whose length is that of all their text
    signals: Signals
    digest: str  # BLAKE2b-128 of the rows' bytes, a newline after each
    fields: dict[str, Values]  # those asked for

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, position: int) -> Row:
        """The row's own bytes and value, read from its place in the file."""
        raw = self.rows.read(int(self.offsets[position]), int(self.sizes[position]))
        line, offset = int(self.lines[position]), int(self.offsets[position])
        return Row(raw, orjson.loads(raw), self.rows.name, line, offset)

    def field(self, name: str, option: str) -> Values:
        """The values of a field that `option` asked for; raises UsageError where no row has it."""
        values = self.fields[name]
        if values.is_empty:
            shown = members_shown(self.row(0).value)
            raise UsageError(
                f"{option}: no row has a value in field {name!r}", f"fields here: {shown}"
            )
        return values

    def sharing(self, embeddings: Embeddings) -> Pool:
        """The same pool without keys of its own, where the store has them in one piece."""
        start = find_run(embeddings.keys, self.keys)
        if start is None:
            return self
        return replace(self, keys=embeddings.keys[start : start + len(self)])

    def located(self, embeddings: Embeddings, *, skip_missing: bool = False) -> Rows:
        """Where each row stands in the store (m,); -1 where it does not, if that is to be skipped.

        Raises
        ------
        MismatchError
            A row has no embedding; names the first. With `skip_missing`: no row has one.
        """
        start = find_run(embeddings.keys, self.keys)
        if start is not None:
            return np.arange(start, start + len(self))
        at = join_keys(embeddings.keys, self.keys)
        missing = at < 0
        if missing.any() and (missing.all() or not skip_missing):
            first = int(np.argmax(missing))
            more = int(np.count_nonzero(missing)) - 1
            store = embeddings.paths.npy
            ours = self.renderer
            format = None if ours.found(self.rows) == ours.format else ours.format
            command = embed_command(self.rows.name, embeddings.settings, store, format)
            raise MismatchError(
                f"no embedding in {store}"
                + (f" (nor for {counted(more, 'more row')})" * (more > 0)),
                f"run {command} and take it by -e" + ", or pass --skip-bad" * (not skip_missing),
                path=self.rows.name,
                line=int(self.lines[first]),
            )
        return at


def load_pool(
    rows: RowFile,
    renderer: Renderer,
    fields: Iterable[str] = (),
) -> Pool:
    """Read every row of a `reread` file once.

    Parameters
    ----------
    fields : iterable of str
        Names of the fields whose values are wanted.

    Raises
    ------
    InputError
        A row that cannot be read, or whose signals are not what gip writes, or declare another
        scale than the rows before; a row of 4 GiB; a field nested deeper than 250 levels or so.
    NoRowsError
        No row, or none left where bad ones are skipped.
    """
    lines, offsets, sizes, lengths = array("I"), array("q"), array("I"), array("I")
    unanswered = 0
    keys = bytearray()
    digest = blake2b(digest_size=16)
    signals = SignalColumns()
    members = {name: Values() for name in fields}
    for one in renderer.read(rows):
        row = one.row
        signals.add(row)
        digest.update(row.raw)
        digest.update(b"\n")
        try:
            lines.append(row.line)
            sizes.append(len(row.raw))
            lengths.append(one.response_length)
        except OverflowError:
            what = "a row of 4 GiB, or as many lines before it"
            raise row.error(what, "split the file") from None
        unanswered += not one.answered
        offsets.append(row.offset)
        keys += key_of(one.text)
        for name, values in members.items():
            try:
                values.append(lookup(row.value, name))
            except orjson.JSONEncodeError:  # it reads deeper than it writes
                what = f"field {name!r} is nested too deeply"
                raise row.error(what, "choose a field of plain values") from None
    return Pool(
        rows=rows,
        renderer=renderer,
        lines=np.frombuffer(lines, dtype=np.uint32),
        offsets=np.frombuffer(offsets, dtype=np.int64),
        sizes=np.frombuffer(sizes, dtype=np.uint32),
        keys=as_keys(keys),
        lengths=np.frombuffer(lengths, dtype=np.uint32),
        unanswered=unanswered,
        signals=signals.signals(),
        digest=digest.hexdigest(),
        fields=members,
    )
