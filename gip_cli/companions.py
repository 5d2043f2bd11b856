"""Other files whose rows matter to a selection: targets, rows given, rows to keep away from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Mask
from gip_cli.columns import SignalColumns, Signals
from gip_cli.embedding_files import embed_command, store_beside
from gip_cli.embeddings import Embeddings, Keys, join_keys, open_embeddings
from gip_cli.encoder import OWN_VECTORS, Encoder, find_encoder
from gip_cli.errors import InputError, MismatchError, NoRowsError, UsageError
from gip_cli.formats import KEY_BYTES, ONE_TEXT, NotOfFormatError, Renderer
from gip_cli.pool import NO_ROWS, load_pool
from gip_cli.printable import counted
from gip_cli.rows import BadRows, RowFile

_BATCH = 32  # texts encoded at once


@dataclass(frozen=True)
class Companion:
    """A file's rows in the space of the pool: keys (t, 16), signals (t, a), vectors (t, d).

    `unanswered` of them have no response that can be told from a prompt.
    """

    path: str
    format: str  # as `Renderer.format`; the pool's for a file without rows
    digest: str  # as `Pool.digest`
    keys: Keys
    signals: Signals
    vectors: npt.NDArray[np.float32]
    skipped: BadRows
    unanswered: int = 0

    def __len__(self) -> int:
        return len(self.keys)


def sibling(source: str | Path) -> Path | None:
    """The store beside a file of rows, by its name, if it is there."""
    beside = store_beside(Path(source))
    return beside if str(source) != "-" and beside.exists() else None


class Companions:
    """Reads companions of a pool whose `embeddings` are at hand.

    A row's vector comes, by key, from the pool's own store; else from the file's sibling store,
    where that was made with the same model; else from the model that `embeddings` name.
    """

    def __init__(self, embeddings: Embeddings, *, skip_bad: bool = False) -> None:
        self._embeddings = embeddings
        self._skip_bad = skip_bad

    def read_parts(self, parts: Mapping[str, Iterable[str]]) -> dict[str, list[Companion]]:
        """The files of each part, targets, given and exclude; raises as `read`.

        Rows given may be none: a selection of an earlier run can be empty.
        """
        return {
            part: [self.read(path, may_be_empty=part == "given") for path in paths]
            for part, paths in parts.items()
        }

    def read(self, path: str, *, may_be_empty: bool = False) -> Companion:
        """Read a file whose rows are rendered as the pool's are, whatever their format.

        Raises
        ------
        InputError
            A row that cannot be read, or no row at all unless there `may_be` none.
        MismatchError
            A row without a vector of the pool's space, and its model cannot be made to give one.
        """
        bad = BadRows(skip=self._skip_bad)
        with RowFile(path, bad, reread=True) as rows:
            ours = self._embeddings.settings.renderer
            width = self._embeddings.vectors.shape[1]
            try:
                renderer = ours.sniff_beside(rows)
                pool = load_pool(rows, renderer)
            except NoRowsError:
                if not may_be_empty:
                    raise
                keys = np.empty((0, KEY_BYTES), dtype=np.uint8)
                vectors = np.empty((0, width), dtype=np.float32)
                signals = SignalColumns().signals()
                return Companion(rows.name, ours.format, NO_ROWS, keys, signals, vectors, bad)
            except NotOfFormatError as error:
                remedy = (
                    "give rows of one format that gip embed knows, "
                    'prompts alone as {"text": ...}, or pass --skip-bad'
                )
                if ours.fields:
                    remedy = "give rows with the fields that the pool was embedded by"
                raise InputError(error.fault, remedy) from None
            vectors = np.empty((len(pool), width), dtype=np.float32)
            missing = np.ones(len(pool), dtype=bool)
            for store in self._stores(path):
                at = join_keys(store.keys, pool.keys)
                found = missing & (at >= 0)
                vectors[found] = store.vectors[at[found]]
                missing &= ~found
                if not missing.any():
                    break  # a store that is not needed may be damaged, or no store at all
            if missing.any():
                vectors[missing] = self._encoded(rows, renderer, missing)
        unanswered = pool.unanswered + int(np.count_nonzero(pool.lengths == 0))
        if renderer.format in ONE_TEXT:
            unanswered = len(pool)
        return Companion(
            rows.name,
            renderer.format,
            pool.digest,
            pool.keys,
            pool.signals,
            vectors,
            bad,
            unanswered,
        )

    def _stores(self, path: str) -> Iterator[Embeddings]:
        yield self._embeddings
        beside = sibling(path)
        if beside is not None:
            store = open_embeddings(beside)
            if store.settings.card.same_space(self._embeddings.settings.card):
                store.check_rows()
                yield store

    def _encoded(self, rows: RowFile, renderer: Renderer, missing: Mask) -> npt.NDArray[np.float32]:
        """Vectors by the model, of the rows that are `missing` (t,) from every store."""
        pool = self._embeddings.paths.npy
        settings = replace(self._embeddings.settings, renderer=renderer)
        if settings.card.model == OWN_VECTORS:
            beside = sibling(rows.name)
            others = f" (those of {beside} are others, and would be gone)" if beside else ""
            raise MismatchError(
                f"{counted(int(np.count_nonzero(missing)), 'row')} without a vector, and no model "
                f"can make any: those of {pool} were given",
                f"give theirs too: {embed_command(rows.name, settings, pool)}{others}",
                path=rows.name,
            )
        texts = [one.text for one, m in zip(renderer.read(rows), missing, strict=True) if m]
        starts = range(0, len(texts), _BATCH)
        return np.concatenate(
            [self._encoder.encode(texts[start : start + _BATCH]).vectors for start in starts]
        )

    @cached_property
    def _encoder(self) -> Encoder:
        card, made = self._embeddings.settings.card, self._embeddings.paths.npy
        try:
            encoder = find_encoder(
                card.model,
                revision=card.revision,
                max_length=card.max_length or None,
                prompt_prefix=card.prompt_prefix,
            )
        except UsageError as error:
            if error.fault != str(error):  # it has a remedy
                raise
            remedy = f"{made} was made by it: run gip where it is found by that name"
            raise UsageError(error.fault, remedy) from None
        if encoder.card != card:
            raise MismatchError(
                f"made by another {card.model} than the one that loads now",
                "embed the pool and the other files with one model",
                path=made,
            )
        return encoder
