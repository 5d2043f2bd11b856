"""Whatever byte a run is killed at, its journal holds every batch that was whole, and no other."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gip_cli import embedding_journal
from gip_cli.embedding_files import Paths, Settings
from gip_cli.embedding_journal import EmbeddingJournal
from gip_cli.formats import Renderer, key_of
from tests.toys import ToyEncoder, embed, write_rows

TEXTS = ["a", "b c", "d", "e f g", "h"]
SETTINGS = Settings(ToyEncoder().card, Renderer("text"), "float32")


def append(journal: EmbeddingJournal, texts: Sequence[str]) -> None:
    encoded = ToyEncoder().encode(texts)
    journal.append([key_of(text) for text in texts], encoded.tokens, encoded.vectors)


def holds(journal: EmbeddingJournal, texts: Sequence[str]) -> None:
    assert [key.tobytes() for key in journal.keys] == [key_of(text) for text in texts]
    assert journal.records["tokens"].tolist() == [len(text.split()) for text in texts]
    for record, text in zip(journal.records, texts, strict=True):
        np.testing.assert_array_equal(record["vector"], ToyEncoder().vector(text))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.of(tmp_path / "pool.npy")


def test_records_come_back_in_the_order_they_went_in(paths: Paths) -> None:
    with EmbeddingJournal(paths, SETTINGS) as journal:
        append(journal, TEXTS[:2])
        holds(journal, TEXTS[:2])
        append(journal, TEXTS[2:])
        holds(journal, TEXTS)
    with EmbeddingJournal(paths, SETTINGS) as journal:
        holds(journal, TEXTS)
    journal.remove()
    assert list(paths.npy.parent.iterdir()) == []


BATCHES = [TEXTS[:2], TEXTS[2:3], TEXTS[3:]]


def written(paths: Paths) -> tuple[bytes, list[int]]:
    """A journal of all batches, and its length before the first and after each."""
    lengths = []
    with EmbeddingJournal(paths, SETTINGS) as journal:
        lengths.append(journal.path.stat().st_size)
        for batch in BATCHES:
            append(journal, batch)
            lengths.append(journal.path.stat().st_size)
    return journal.path.read_bytes(), lengths


def test_cut_at_every_byte_it_keeps_the_whole_batches_and_goes_on(paths: Paths) -> None:
    data, lengths = written(paths)
    (path,) = paths.npy.parent.iterdir()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in lengths[1:])
        with EmbeddingJournal(paths, SETTINGS) as again:
            holds(again, [text for batch in BATCHES[:whole] for text in batch])
            for batch in BATCHES[whole:]:
                append(again, batch)
        assert path.read_bytes() == data


def test_from_a_damaged_record_on_nothing_is_believed(paths: Paths) -> None:
    data, lengths = written(paths)
    (path,) = paths.npy.parent.iterdir()
    for at in range(lengths[1], lengths[2]):
        damaged = bytearray(data)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with EmbeddingJournal(paths, SETTINGS) as again:
            holds(again, BATCHES[0])
    path.write_bytes(data[: lengths[1]] + bytes(lengths[3] - lengths[1]))  # after a power cut
    with EmbeddingJournal(paths, SETTINGS) as again:
        holds(again, BATCHES[0])


def test_other_settings_have_a_journal_of_their_own(paths: Paths) -> None:
    other = Settings(ToyEncoder("other").card, Renderer("text"), "float32")
    with EmbeddingJournal(paths, SETTINGS) as journal:
        append(journal, TEXTS)
    with EmbeddingJournal(paths, other) as second:
        holds(second, [])
        append(second, TEXTS[:1])
    with EmbeddingJournal(paths, SETTINGS) as journal:
        holds(journal, TEXTS)
    journal.remove()
    assert not second.path.exists()


def test_a_store_whose_name_goes_on_keeps_its_journal(paths: Paths) -> None:
    with EmbeddingJournal(Paths.of(paths.npy.with_name("pool.npy.new.npy")), SETTINGS) as other:
        append(other, TEXTS)
    with EmbeddingJournal(paths, SETTINGS) as journal:
        append(journal, TEXTS)
    journal.remove()
    assert other.path.exists()
    assert not journal.path.exists()


def test_where_a_run_is_cut_off_every_batch_is_on_the_disk(
    paths: Paths, synced: dict[int, int]
) -> None:
    with pytest.raises(KeyboardInterrupt), EmbeddingJournal(paths, SETTINGS) as journal:
        append(journal, TEXTS[:2])
        assert not synced
        append(journal, TEXTS[2:])
        raise KeyboardInterrupt
    status = journal.path.stat()
    assert synced == {status.st_ino: status.st_size}


def test_a_batch_that_comes_late_is_on_the_disk_at_once(
    paths: Paths, synced: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_journal, "_SYNC_SECONDS", 0.0)
    with EmbeddingJournal(paths, SETTINGS) as journal:
        for batch in BATCHES:
            append(journal, batch)
            status = journal.path.stat()
            assert synced == {status.st_ino: status.st_size}


@pytest.mark.parametrize("name", ["pool[1].npy", "pool*.npy"])
def test_of_a_store_whose_name_looks_like_a_pattern_the_own_journals_are_removed(
    name: str, tmp_path: Path
) -> None:
    journals = []
    for named in (name, "pool1.npy"):
        with EmbeddingJournal(Paths.of(tmp_path / named), SETTINGS) as journal:
            append(journal, TEXTS)
        journals.append(journal)
    journals[0].remove()
    assert [journal.path.exists() for journal in journals] == [False, True]


def test_a_journal_for_which_there_is_no_room_is_not_left_behind(paths: Paths) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            EmbeddingJournal(paths, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(paths.npy.parent.iterdir()) == []


def test_an_empty_journal_is_not_left_behind(paths: Paths) -> None:
    with EmbeddingJournal(paths, SETTINGS) as journal:
        assert journal.path.exists()
    assert not journal.path.exists()


def test_a_journal_that_was_cut_anywhere_gives_the_store_of_a_clean_run(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    embed(pool, tmp_path / "clean.npy")
    paths = Paths.of(tmp_path / "pool.npy")
    with EmbeddingJournal(paths, SETTINGS) as journal:
        append(journal, TEXTS)
    data = journal.path.read_bytes()
    for length in range(0, len(data), 7):
        journal.path.write_bytes(data[:length])
        embed(pool, paths.npy)
        assert paths.npy.read_bytes() == (tmp_path / "clean.npy").read_bytes()
        for path in paths.all:
            path.unlink()
