"""Writing a store of embeddings: only new keys are encoded, and no finished batch is lost.

Every batch goes to a journal beside the target as soon as it is encoded; a run that was cut off
goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.arrays import Counts, Mask, Rows
from gip_cli.embedding_commit import (
    LinkedStoreError,
    check_target,
    commit,
    unseen,
    writing_store,
)
from gip_cli.embedding_files import NewerFormatError, Paths, Settings
from gip_cli.embedding_journal import EmbeddingJournal
from gip_cli.embeddings import (
    Embeddings,
    Keys,
    PointerError,
    as_keys,
    join_keys,
    open_embeddings,
    sortable,
)
from gip_cli.encoder import OWN_VECTORS, Encoder, ModelCard
from gip_cli.errors import MismatchError, StorageError, UsageError
from gip_cli.formats import Renderer, key_of
from gip_cli.printable import Tell, agreeing, counted
from gip_cli.rows import RowFile

_WINDOW = 64  # batches sorted by length together, so that little padding is computed
_BLOCK = 1 << 13  # rows copied at a time
_QUICK = 1000  # texts of a minute at most: of more, a log says how much work there is


@dataclass(frozen=True)
class Written:
    """What a run did: rows stored; texts encoded; rows reused, resumed from a journal, cut.

    `unread` counts those texts of which the model knows less than half.
    """

    rows: int
    encoded: int
    unread: int
    reused: int
    resumed: int
    truncated: int
    tokens_unseen: float  # share of all tokens beyond the model's length

    def losses(self, card: ModelCard) -> Iterator[str]:
        """What a person should know of the `unread` texts and of the `truncated` rows."""
        if self.unread:
            yield (
                f"{self.unread:,} of {counted(self.encoded, 'text')} encoded "
                f"{agreeing(self.unread, 'are')} mostly of letters, signs or overlong words that "
                f"{card.model} does not know: its vectors hardly tell such apart, and their tokens "
                "may be too few; another --model may read them"
            )
        if self.truncated:
            yield (
                f"rows longer than {card.max_length} tokens: {self.truncated:,}; "
                f"{min(self.tokens_unseen, 0.999):.1%} of all tokens unseen"
            )


def write_embeddings(
    rows: RowFile,
    target: str | Path,
    encoder: Encoder,
    renderer: Renderer,
    *,
    dtype: str = "float32",
    batch_size: int = 32,
    reuse: Sequence[Embeddings] = (),
    note: Tell = lambda text: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Embed every row of `rows` into the store `target`, one embedding a row, in their order.

    Parameters
    ----------
    rows : RowFile
        Opened with ``reread=True``: keys first, then the texts whose key is new.
    reuse : sequence of Embeddings
        Other stores, whose vectors are taken, too, before any text is encoded.
    note : callable
        Told what a person should know: waiting for another run, resuming, starting anew.
    on_progress : callable
        Told after every batch how many texts are encoded in this run, and of how many.

    Raises
    ------
    InputError
        A row that cannot be read or has no text.
    MismatchError
        A store to reuse is of another model or in half precision only, or damaged.
    UsageError
        `target` is a file that gip did not write, or holds vectors that were given.
    StorageError
        The disk is full, or the place not writable.
    """
    settings = Settings(encoder.card, renderer, dtype)
    for store in reuse:
        _check_means_the_same(store, settings)
    if there := unwritable_but_current(rows, target, settings, note):
        count = len(there.keys)
        return _written(there.tokens, settings, encoded=0, unread=0, reused=count, resumed=0)
    with writing_store(target, note) as paths:
        old = _reusable(paths, settings, note)
        keys = row_keys(rows, renderer)
        if old:
            tell_gone(old, keys, rows.name, note)
        known = np.zeros(len(keys), dtype=bool)
        found = []
        for store in [old, *reuse] if old else reuse:
            at = np.where(known, -1, join_keys(store.keys, keys))
            known |= at >= 0
            found.append((at, store))
        with EmbeddingJournal(paths, settings) as journal:
            resumed = (join_keys(journal.keys, keys) >= 0) & ~known
            if gone := int(np.count_nonzero(join_keys(keys, journal.keys) < 0)):
                texts = f"{counted(gone, 'text')} that an interrupted run encoded"
                note(f"{texts} {agreeing(gone, 'are not')} in {rows.name} and will be gone")
            if count := int(np.count_nonzero(resumed)):
                these = f"{counted(count, 'row')} {agreeing(count, 'are done')}"
                note(f"going on where a run was interrupted: {these}")
            wanted = _first_of_each(keys, ~known)
            ahead = int(np.count_nonzero(wanted & ~resumed))
            if ahead > _QUICK:
                note(f"{ahead:,} texts to encode")
            unread = 0
            if ahead:
                unread = _encode(
                    rows, renderer, encoder, journal, wanted, resumed, batch_size,
                    lambda done: on_progress(done, ahead),
                )  # fmt: skip
            rows.check_unchanged()
            fresh = np.where(known, -1, join_keys(journal.keys, keys))
            if (~known & (fresh < 0)).any():
                raise rows.changed()
            records = journal.records
            tokens = _merged(
                slice(None),
                [(at, store.tokens) for at, store in found] + [(fresh, records["tokens"])],
            )
            vectors = [(at, store.vectors) for at, store in found] + [(fresh, records["vector"])]
            blocks = (
                _merged(slice(start, start + _BLOCK), vectors)
                for start in range(0, len(keys), _BLOCK)
            )
            commit(paths, settings, keys, tokens, blocks)
        journal.remove()
    reused, done = (int(np.count_nonzero(rows)) for rows in (known, resumed))
    return _written(tokens, settings, encoded=ahead, unread=unread, reused=reused, resumed=done)


def _written(tokens: Counts, settings: Settings, **done: int) -> Written:
    cut = unseen(tokens, settings)
    return Written(
        rows=len(tokens),
        truncated=cut["truncated_rows"],
        tokens_unseen=cut["tokens_unseen"],
        **done,
    )


def unwritable_but_current(
    rows: RowFile, target: str | Path, settings: Settings, note: Tell
) -> Embeddings | None:
    """The store that is there, if it cannot be written and is just what would be: told.

    None where it can be written; else raises as `check_target`.
    """
    try:
        check_target(target)
    except (StorageError, LinkedStoreError) as error:
        lends = False
        with suppress(MismatchError, UsageError):
            store = open_embeddings(target)
            store.check_rows()
            lends = store.settings.named_as(settings) == settings
            if lends and np.array_equal(store.keys, row_keys(rows, settings.renderer)):
                note(f"{store.paths.npy}: up to date; it cannot be written, and need not be")
                return store
        if isinstance(error, StorageError) and lends and settings.card.model != OWN_VECTORS:
            remedy = f"choose another -o, and --reuse {store.paths.npy} beside it"
            raise StorageError(error.fault, remedy) from None
        raise
    return None


def _reusable(paths: Paths, settings: Settings, note: Tell) -> Embeddings | None:
    """The store that is there, if it is sound and its vectors mean the same."""
    if not paths.json.exists():
        return None
    try:
        old = open_embeddings(paths.npy)
        if old.settings.copied_to(settings) == settings:
            old.check_rows()
            return old
    except (MismatchError, UsageError) as error:
        note(f"not reusing what is there: {error.fault}")
        return None
    if old.settings.card.model == OWN_VECTORS:
        raise UsageError(
            "holds vectors that were given, which no model makes again",
            "give them anew by --vectors, or choose another NAME.npy",
            path=paths.npy,
        )
    differing = differing_settings(old.settings.copied_to(settings).to_json(), settings.to_json())
    note(
        f"{paths.npy} was made with other settings ({', '.join(differing)}): encoding every row "
        f"anew, in the place of its {counted(len(old.keys), 'row')}"
    )
    return None


def differing_settings(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Which settings do, by their names in ``NAME.json``."""
    return [name for name in ours if theirs[name] != ours[name]]


def tell_gone(old: Embeddings, keys: Keys, name: str, note: Tell) -> None:
    """Say how many rows of the store that is there are not among those of the file `name`."""
    if gone := int(np.count_nonzero(join_keys(keys, old.keys) < 0)):
        of_all = f"{gone:,} of its {counted(len(old.keys), 'row')}"
        note(f"{old.paths.npy}: {of_all} {agreeing(gone, 'are not')} in {name} and will be gone")


@contextmanager
def lending() -> Iterator[None]:
    """Give the faults of another store a remedy that helps: to run again what named it does not.

    Left out, it is made anew where it is the target itself, too.
    """
    try:
        yield
    except (NewerFormatError, PointerError):
        raise
    except (MismatchError, UsageError) as error:
        remedy = "leave it out of --reuse, or make it anew (of vectors that you have by --vectors)"
        raise type(error)(error.fault, remedy) from None


def _check_means_the_same(store: Embeddings, settings: Settings) -> None:
    """Refuse another store whose vectors are not what the encoder would make, or are damaged.

    How its rows were read does not matter: a text's key and vector are its own.
    """
    if store.settings.card.model == OWN_VECTORS:
        raise MismatchError(
            "cannot be reused: it holds vectors that were given, which no model makes",
            "leave it out",
            path=store.paths.npy,
        )
    both = store.settings.copied_to(settings), settings
    theirs, ours = ({**asdict(one.card), "dtype": one.dtype} for one in both)
    if differing := differing_settings(theirs, ours):
        raise MismatchError(
            f"cannot be reused, made with other settings: {', '.join(differing)}",
            "leave it out, or ask for the same",
            path=store.paths.npy,
        )
    with lending():
        store.check_rows()


def row_keys(rows: RowFile, renderer: Renderer) -> Keys:
    """The key of every row's text, in their order (m, 16)."""
    keys = bytearray()
    for one in renderer.read(rows):
        keys += key_of(one.text)
    return as_keys(keys)


def _first_of_each(keys: Keys, wanted: Mask) -> Mask:
    """Of the `wanted` rows (m,), the first of every key."""
    first = np.zeros(len(keys), dtype=bool)
    positions = np.flatnonzero(wanted)
    if positions.size:
        distinct = np.unique(sortable(keys[positions]), return_index=True)[1]
        first[positions[distinct]] = True
    return first


def _encode(
    rows: RowFile,
    renderer: Renderer,
    encoder: Encoder,
    journal: EmbeddingJournal,
    wanted: Mask,
    resumed: Mask,
    batch_size: int,
    on_batch: Callable[[int], None],
) -> int:
    """Encode the `wanted` rows (m,) that are not `resumed` (m,); how many of them are unread.

    Batches are made of both, so that a resumed run has those of an uninterrupted one.
    """
    done = unread = 0
    both = compress(zip(renderer.read(rows), resumed, strict=False), wanted)
    texts = ((one.text, is_done) for one, is_done in both)
    while window := list(islice(texts, _WINDOW * batch_size)):
        window.sort(key=lambda pair: len(pair[0]), reverse=True)
        for start in range(0, len(window), batch_size):
            batch = [text for text, is_done in window[start : start + batch_size] if not is_done]
            if not batch:
                continue
            encoded = encoder.encode(batch)
            journal.append([key_of(text) for text in batch], encoded.tokens, encoded.vectors)
            done += len(batch)
            unread += encoded.unread
            on_batch(done)
    return unread


def _merged(block: slice, parts: list[tuple[Rows, npt.NDArray[Any]]]) -> npt.NDArray[Any]:
    """A block of rows, each from the part where it stands: at a place of 0 or more."""
    values = parts[-1][1]
    merged = np.empty((len(parts[-1][0][block]), *values.shape[1:]), values.dtype)
    for places, values in parts:
        at = places[block]
        merged[at >= 0] = values[at[at >= 0]]
    return merged
