"""What a run encodes, reuses, resumes and refuses to touch."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import filelock
import numpy as np
import pytest

from gip_cli.embedding_files import Paths
from gip_cli.embeddings import open_embeddings
from gip_cli.encoder import Encoded
from gip_cli.errors import InputError, MismatchError, NoRowsError, StorageError, UsageError
from gip_cli.formats import Part, Renderer
from gip_cli.rows import BadRows, RowFile
from gip_cli.store import Written, lending, write_embeddings
from tests.toys import ToyEncoder, embed, store_given, write_rows

TEXTS = [f"row {number} of some" + " words" * (number % 7) for number in range(300)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def check(target: Path, texts: Sequence[str], encoder: ToyEncoder | None = None) -> None:
    """The store holds, for every text in order, its own vector and token count."""
    store = open_embeddings(target)
    wanted = [(encoder or ToyEncoder()).vector(text) for text in texts]
    np.testing.assert_allclose(store.vectors, wanted, atol=1e-3)
    assert store.tokens.tolist() == [len(text.split()) for text in texts]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_every_row_has_its_own_vector_and_nothing_else_is_left(
    batch_size: int, tmp_path: Path
) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    written = embed(pool, target, batch_size=batch_size)
    assert written == Written(300, 300, 0, 0, 0, 0, 0.0)
    check(target, TEXTS)
    assert sorted(files_of(tmp_path)) == [
        "pool.json", "pool.keys.npy", "pool.npy", "pool.tokens.npy"
    ]  # fmt: skip


def test_a_second_run_encodes_only_what_is_new_and_keeps_the_rows_order(tmp_path: Path) -> None:
    pool, target = tmp_path / "pool.jsonl", tmp_path / "pool.npy"
    embed(write_rows(pool, TEXTS[:200]), target)
    encoder, notes = ToyEncoder(), []
    texts = [*TEXTS[150:][::-1], "new", *TEXTS[:10], "new"]
    written = embed(write_rows(pool, texts), target, encoder, note=notes.append)
    assert notes == [f"{target}: 140 of its 200 rows are not in {pool} and will be gone"]
    assert sorted(encoder.texts) == sorted([*TEXTS[200:], "new"])
    assert (written.rows, written.encoded, written.reused) == (len(texts), 101, 60)
    check(target, texts)
    before = files_of(tmp_path)
    encoder.texts.clear()
    assert embed(pool, target, encoder).encoded == 0
    assert encoder.texts == []
    assert files_of(tmp_path) == before


def test_after_every_batch_it_is_told_how_many_texts_are_encoded(tmp_path: Path) -> None:
    pool, told = write_rows(tmp_path / "pool.jsonl", [*TEXTS[:7], *TEXTS[:3]]), []
    embed(pool, tmp_path / "pool.npy", batch_size=3, on_progress=lambda *at: told.append(at))
    assert told == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize(("count", "told"), [(1000, []), (1001, ["1,001 texts to encode"])])
def test_a_log_says_how_much_work_there_is(count: int, told: list[str], tmp_path: Path) -> None:
    pool, notes = write_rows(tmp_path / "pool.jsonl", map(str, range(count))), []
    embed(pool, tmp_path / "pool.npy", note=notes.append)
    assert notes == told


def test_the_longest_texts_come_first_and_share_their_batches(tmp_path: Path) -> None:
    """A batch is padded to its longest; and what a GPU has no room for is known at once."""
    encoder = ToyEncoder()
    embed(write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy", encoder)
    lengths = [len(text) for text in encoder.texts]
    assert lengths == sorted(lengths, reverse=True)


def test_blocks_of_rows_that_are_copied_leave_none_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gip_cli.store._BLOCK", 4)  # the last of them not full
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS[:10])
    embed(pool, tmp_path / "pool.npy")
    check(tmp_path / "pool.npy", TEXTS[:10])


def test_unread_texts_of_all_batches_are_counted(tmp_path: Path) -> None:
    class Unread(ToyEncoder):
        def encode(self, texts: Sequence[str]) -> Encoded:
            return replace(super().encode(texts), unread=len(texts) - 1)

    written = embed(
        write_rows(tmp_path / "pool.jsonl", TEXTS[:7]),
        tmp_path / "pool.npy",
        Unread(),
        batch_size=3,
    )
    assert written.unread == 2 + 2


@pytest.mark.parametrize(
    ("unread", "told"),
    [(0, ""), (1, "1 of 9 texts encoded is mostly"), (2, "2 of 9 texts encoded are mostly")],
)
def test_how_many_texts_a_model_cannot_read_is_told(unread: int, told: str) -> None:
    said = "".join(Written(9, 9, unread, 0, 0, 0, 0.0).losses(ToyEncoder("toy").card))
    assert said.startswith(told)
    assert bool(said) is bool(told)


def test_texts_that_are_the_same_are_encoded_once(tmp_path: Path) -> None:
    encoder = ToyEncoder()
    texts = ["a", "b", "a", "a", "b"]
    written = embed(write_rows(tmp_path / "pool.jsonl", texts), tmp_path / "pool.npy", encoder)
    assert sorted(encoder.texts) == ["a", "b"]
    assert (written.rows, written.encoded) == (5, 2)
    check(tmp_path / "pool.npy", texts)


def test_tokens_beyond_the_models_length_are_told(tmp_path: Path) -> None:
    texts = ["w " * 14, "w " * 15, "w " * 20]  # 16 tokens, of which 2 are special
    written = embed(write_rows(tmp_path / "pool.jsonl", texts), tmp_path / "pool.npy")
    assert written.truncated == 2
    assert written.tokens_unseen == pytest.approx((1 + 6) / 49, abs=1e-6)
    endless = ToyEncoder("of no known length")
    endless.card = replace(endless.card, max_length=0)
    written = embed(tmp_path / "pool.jsonl", tmp_path / "endless.npy", endless)
    assert (written.truncated, written.tokens_unseen) == (0, 0)


class Cut(ToyEncoder):
    """A model that is interrupted after some texts."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def encode(self, texts: Sequence[str]) -> Encoded:
        if len(self.texts) + len(texts) > self._after:
            raise KeyboardInterrupt
        return super().encode(texts)


def test_an_interrupted_run_goes_on_where_it_stopped_and_says_so(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    with pytest.raises(KeyboardInterrupt):
        embed(pool, target, Cut(after=100), batch_size=10)
    assert not target.exists()
    encoder, notes = ToyEncoder(), []
    written = embed(pool, target, encoder, note=notes.append)
    assert (written.encoded, written.resumed, len(encoder.texts)) == (200, 100, 200)
    assert notes == ["going on where a run was interrupted: 100 rows are done"]
    check(target, TEXTS)


def test_what_an_interrupted_run_encoded_of_other_rows_is_told_before_it_goes(
    tmp_path: Path,
) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    with pytest.raises(KeyboardInterrupt):
        embed(pool, target, Cut(after=100), batch_size=10)
    write_rows(pool, TEXTS[:5])
    notes: list[str] = []
    written = embed(pool, target, note=notes.append)
    encoded = 100 - written.resumed
    assert notes[0] == (
        f"{encoded} texts that an interrupted run encoded are not in {pool} and will be gone"
    )


class Rounding(Cut):
    """Like a real model: a vector depends, by a rounding, on what shares its batch."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        encoded = super().encode(texts)
        return replace(encoded, vectors=encoded.vectors * (1 + 1e-6 * len("".join(texts))))


def test_a_resumed_run_has_the_batches_of_an_uninterrupted_one(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", [text * (n % 5 + 1) for n, text in enumerate(TEXTS)])
    embed(pool, tmp_path / "clean.npy", Rounding(after=1000), batch_size=3)
    for after in (1, 50, 100, 200, 260):
        target = tmp_path / f"{after}.npy"
        with pytest.raises(KeyboardInterrupt):
            embed(pool, target, Rounding(after), batch_size=3)
        embed(pool, target, Rounding(after=1000), batch_size=3)
        assert target.read_bytes() == (tmp_path / "clean.npy").read_bytes()


def test_a_run_with_other_settings_does_not_cost_an_interrupted_ones_work(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    for dtype in ("float32", "float16"):
        with pytest.raises(KeyboardInterrupt):
            embed(pool, target, Cut(after=100), batch_size=10, dtype=dtype)
    assert embed(pool, target).resumed == 100
    assert len(files_of(tmp_path)) == 4  # a finished target has no journals


def test_rows_that_another_store_has_are_reused_and_not_resumed(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, tmp_path / "other.npy")
    with pytest.raises(KeyboardInterrupt):
        embed(pool, target, Cut(after=100), batch_size=10)
    notes: list[str] = []
    written = embed(
        pool, target, reuse=[open_embeddings(tmp_path / "other.npy")], note=notes.append
    )
    assert (written.encoded, written.reused, written.resumed, notes) == (0, 300, 0, [])


@pytest.mark.parametrize(
    ("name", "other"),
    [("model", {"encoder": ToyEncoder("other")}), ("dtype", {"dtype": "float16"})],
)
def test_other_settings_encode_every_row_anew(name: str, other: dict, tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target, **other)
    notes: list[str] = []
    assert embed(pool, target, note=notes.append).encoded == 300
    assert notes == [
        f"{target} was made with other settings ({name}): encoding every row anew, in the place "
        "of its 300 rows"
    ]
    check(target, TEXTS)


def test_a_model_by_another_name_of_its_folder_is_the_same_and_takes_the_name(
    tmp_path: Path,
) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target, encoder=ToyEncoder("./models/toy"))
    vectors, other = target.read_bytes(), tmp_path / "other.npy"
    written = embed(pool, other, encoder=ToyEncoder("/x/toy"), reuse=[open_embeddings(target)])
    assert (written.encoded, written.reused) == (0, 300)
    assert embed(pool, target, encoder=ToyEncoder("toy")).encoded == 0
    assert open_embeddings(target).settings.card.model == "toy"
    assert target.read_bytes() == other.read_bytes() == vectors


def test_a_pool_put_together_takes_what_other_stores_have(tmp_path: Path) -> None:
    parts = {"a": TEXTS[:120], "b": TEXTS[100:200], "target": TEXTS[190:210]}
    for name, texts in parts.items():
        embed(write_rows(tmp_path / f"{name}.jsonl", texts), tmp_path / f"{name}.npy")
    before = (tmp_path / "a.npy").read_bytes(), (tmp_path / "b.npy").read_bytes()
    target, texts, encoder = tmp_path / "target.npy", [*TEXTS[::-1], TEXTS[0]], ToyEncoder()
    written = embed(
        write_rows(tmp_path / "all.jsonl", texts), target, encoder,
        reuse=[open_embeddings(tmp_path / "a.npy"), open_embeddings(tmp_path / "b.npy")],
    )  # fmt: skip
    assert (written.rows, written.encoded, written.reused) == (301, 90, 211)
    assert sorted(encoder.texts) == sorted(TEXTS[210:])
    check(target, texts)
    assert before == ((tmp_path / "a.npy").read_bytes(), (tmp_path / "b.npy").read_bytes())


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"encoder": ToyEncoder("other")}, "model"),
        ({"dtype": "float16"}, "dtype"),
    ],
    ids=["model", "dtype"],
)
def test_a_store_of_other_settings_is_not_reused(other: dict, names: str, tmp_path: Path) -> None:
    pool, mine = write_rows(tmp_path / "pool.jsonl", TEXTS[:9]), tmp_path / "mine.npy"
    embed(pool, tmp_path / "theirs.npy", **other)
    theirs = open_embeddings(tmp_path / "theirs.npy")
    with pytest.raises(MismatchError, match=f"cannot be reused, made with other settings: {names}"):
        embed(pool, mine, reuse=[theirs])
    assert not mine.exists()


def test_vectors_that_were_given_are_not_reused(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS[:9])
    store_given(pool, np.eye(9))
    theirs = open_embeddings(tmp_path / "pool.npy")
    with pytest.raises(MismatchError, match=r"it holds vectors that were given, .*; leave it out$"):
        embed(pool, tmp_path / "mine.npy", reuse=[theirs])


@pytest.mark.parametrize("lent", [True, False], ids=["lent", "replaced"])
def test_single_precision_is_rounded_to_half_as_the_encoders_is(lent: bool, tmp_path: Path) -> None:
    pool, anew = write_rows(tmp_path / "pool.jsonl", TEXTS[:9]), tmp_path / "anew.npy"
    single = tmp_path / "single.npy"
    embed(pool, single)
    embed(pool, anew, dtype="float16")
    check(anew, TEXTS[:9])
    half = tmp_path / "half.npy" if lent else single
    written = embed(pool, half, dtype="float16", reuse=[open_embeddings(single)] if lent else [])
    assert (written.encoded, written.reused) == (0, 9)
    assert half.read_bytes() == anew.read_bytes()


def test_a_row_that_several_stores_have_keeps_the_vector_of_the_first(tmp_path: Path) -> None:
    """The target's own before any other: where nothing is encoded no byte changes."""
    pool, stores = write_rows(tmp_path / "pool.jsonl", "abcdefghi"), []
    for batch_size in (1, 2, 3):
        stores.append(tmp_path / f"{batch_size}.npy")
        embed(pool, stores[-1], Rounding(after=9), batch_size=batch_size)
    target, first, second = stores
    whole = [path.read_bytes() for path in stores]
    assert len({*whole}) == 3
    assert embed(pool, target, reuse=[open_embeddings(first)]).reused == 9
    assert target.read_bytes() == whole[0]
    target.unlink()
    assert embed(pool, target, reuse=[*map(open_embeddings, (first, second))]).reused == 9
    assert target.read_bytes() == whole[1]


def test_texts_are_reused_however_their_rows_were_read(tmp_path: Path) -> None:
    """A pool put together of others is often converted first."""
    embed(write_rows(tmp_path / "theirs.jsonl", TEXTS[:9]), tmp_path / "theirs.npy")
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS[:12]))
    with RowFile(pool, BadRows(), reread=True) as rows:
        renderer, theirs = Renderer.sniff(rows, None, ["body"]), tmp_path / "theirs.npy"
        target, reuse = tmp_path / "mine.npy", [open_embeddings(theirs)]
        written = write_embeddings(rows, target, ToyEncoder(), renderer, reuse=reuse)
    assert (written.encoded, written.reused) == (3, 9)
    check(target, TEXTS[:12])


def test_a_damaged_store_is_not_reused(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    embed(pool, tmp_path / "theirs.npy")
    damage_rows(tmp_path / "theirs.npy")
    with pytest.raises(MismatchError, match="row 8 has norm nan, not 1; leave it out of --reuse"):
        embed(pool, tmp_path / "mine.npy", reuse=[open_embeddings(tmp_path / "theirs.npy")])


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("theirs.json", b'{"version": 2}', "upgrade gip"),
        ("theirs.npy", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ],
)
def test_of_a_store_to_reuse_that_only_cannot_be_read_here_it_is_told_what_helps(
    name: str, content: bytes, remedy: str, tmp_path: Path
) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS[:9])
    embed(pool, tmp_path / "theirs.npy")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MismatchError, match=f"{remedy}$"), lending():
        open_embeddings(tmp_path / "theirs.npy")


def test_vectors_that_were_given_are_not_replaced_by_a_models(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    store_given(pool, np.eye(300, 8))
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match="no model makes again; give them anew by --vectors"):
        embed(pool, target)
    assert files_of(tmp_path) == before
    store_given(pool, np.eye(300, 9))


def damage_rows(target: Path) -> None:
    vectors = np.load(target)
    vectors[7] = np.nan
    np.save(target, vectors)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda target: target.write_bytes(target.read_bytes()[:300]), "not a whole .npy file"),
        (lambda target: target.unlink(), "no such embeddings"),
        (lambda target: target.with_name("pool.keys.npy").unlink(), "missing"),
        (damage_rows, "row 8 has norm nan"),
    ],
)
def test_a_damaged_store_is_made_anew_and_that_is_told(damage, why: str, tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target)
    whole = files_of(tmp_path)
    damage(target)
    notes: list[str] = []
    assert embed(pool, target, note=notes.append).encoded == 300
    assert len(notes) == 1
    assert notes[0].startswith("not reusing what is there: ")
    assert why in notes[0]
    assert files_of(tmp_path) == whole


@pytest.mark.parametrize("name", ["pool.npy", "pool.json", "pool.keys.npy", "pool.tokens.npy"])
def test_a_file_that_gip_did_not_write_is_never_replaced(name: str, tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "rows.jsonl", TEXTS)
    (tmp_path / name).write_bytes(b'[{"text": "the only copy"}]')
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match=rf"{name}: .*choose another NAME\.npy$"):
        embed(pool, tmp_path / "pool.npy")
    assert files_of(tmp_path) == before


def test_a_store_of_which_a_cache_kept_the_vectors_alone_is_told_what_it_lacks(
    tmp_path: Path,
) -> None:
    pool, target = write_rows(tmp_path / "rows.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target)
    for other in ("pool.json", "pool.keys.npy", "pool.tokens.npy"):
        (tmp_path / other).unlink()
    with pytest.raises(UsageError, match=r"without a pool\.json .*; .*move the file away"):
        embed(pool, target)
    target.rename(tmp_path / "away.npy")
    assert embed(pool, target).encoded == 300


def test_a_link_alone_leads_to_a_store_and_stays(tmp_path: Path) -> None:
    pool, link, folder = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy", "disk"
    (tmp_path / folder).mkdir()
    link.symlink_to(Path(folder) / "vectors.npy")
    assert embed(pool, link).encoded == 300
    check(link, TEXTS)
    assert embed(pool, link).reused == 300
    assert sorted(tmp_path.iterdir()) == [tmp_path / folder, pool, link]
    assert link.is_symlink()
    assert open_embeddings(tmp_path / folder / "vectors.npy").vectors.shape == (300, 8)


@pytest.mark.parametrize("name", ["pool.npy", "pool.keys.npy", "pool.json"])
def test_a_link_among_the_files_of_a_store_is_not_replaced(name: str, tmp_path: Path) -> None:
    pool, link = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / name
    embed(pool, tmp_path / "pool.npy")
    link.rename(tmp_path / "elsewhere")
    link.symlink_to("elsewhere")
    check(tmp_path / "pool.npy", TEXTS)
    assert embed(pool, tmp_path / "pool.npy").reused == 300  # nothing is to be written
    before = files_of(tmp_path)
    with pytest.raises(UsageError, match=f"{name}: a link, which the new file would replace; name"):
        embed(write_rows(pool, [*TEXTS, "one more"]), tmp_path / "pool.npy")
    assert link.is_symlink()
    assert files_of(tmp_path) == before


def test_a_store_that_may_not_be_replaced_is_up_to_date_by_another_name_of_its_model(
    tmp_path: Path,
) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target, ToyEncoder("./models/toy"))
    (tmp_path / "pool.json").rename(tmp_path / "elsewhere")
    (tmp_path / "pool.json").symlink_to("elsewhere")
    assert embed(pool, target, ToyEncoder("/x/toy")).reused == 300


def test_a_damaged_store_that_may_not_be_replaced_is_not_called_up_to_date(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target)
    damage_rows(target)
    (tmp_path / "pool.json").rename(tmp_path / "elsewhere")
    (tmp_path / "pool.json").symlink_to("elsewhere")
    with pytest.raises(UsageError, match=r"pool\.json: a link, which the new file would replace"):
        embed(pool, target)


def test_a_link_to_nothing_that_a_store_is_called_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    (tmp_path / "pool.npy").symlink_to("pool.bin")
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    with pytest.raises(UsageError, match=r"loop.npy"):
        embed(pool, tmp_path / "loop.npy")
    with pytest.raises(UsageError, match=r"pool.bin: embeddings are named NAME.npy"):
        embed(pool, tmp_path / "pool.npy")


def test_a_newer_gips_store_is_not_replaced(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target)
    description = json.loads(target.with_suffix(".json").read_text()) | {"version": 2}
    target.with_suffix(".json").write_text(json.dumps(description))
    with pytest.raises(MismatchError, match="written by a newer gip"):
        embed(pool, target)


@pytest.mark.parametrize(
    "meanwhile",
    [[*TEXTS, "one more"], [text.upper() for text in TEXTS]],
    ids=["longer", "as long and as old"],
)
def test_a_file_that_changes_between_the_passes_is_no_pool(
    meanwhile: list[str], tmp_path: Path
) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    written = pool.stat().st_mtime_ns

    class Meddling(ToyEncoder):
        def encode(self, texts: Sequence[str]) -> Encoded:
            write_rows(pool, meanwhile)
            os.utime(pool, ns=(written, written))
            return super().encode(texts)

    with pytest.raises(InputError, match="changed while it was read; run again"):
        embed(pool, tmp_path / "pool.npy", Meddling(), batch_size=2)
    assert not (tmp_path / "pool.npy").exists()


def test_skipped_rows_are_counted_once_whatever_is_read_twice(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"text": "a"}\n{"text": 1}\nnot json\n{"text": "b"}\n')
    bad = BadRows(skip=True)
    for _ in range(2):  # the second run has nothing to encode
        with RowFile(pool, bad, reread=True) as rows:
            written = write_embeddings(rows, tmp_path / "p.npy", ToyEncoder(), Renderer("text"))
        assert (written.rows, bad.count) == (2, 2)


def test_a_store_is_not_replaced_by_one_of_no_rows(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target)
    before = files_of(tmp_path)
    with RowFile(pool, BadRows(skip=True), reread=True) as rows:
        why = "no usable rows: none is of format alpaca; check --format"
        with pytest.raises(NoRowsError, match=why):
            write_embeddings(rows, target, ToyEncoder(), Renderer("alpaca"))
    assert files_of(tmp_path) == before


def test_the_settings_are_in_the_store(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"question": "q", "answer": "a"}')
    renderer = Renderer("qa", part=Part.response)
    with RowFile(pool, BadRows(), reread=True) as rows:
        write_embeddings(rows, tmp_path / "p.npy", ToyEncoder(), renderer)
    store = open_embeddings(tmp_path / "p.npy")
    assert store.settings.renderer == renderer
    assert store.settings.card == ToyEncoder().card
    assert json.loads((tmp_path / "p.json").read_text())["gip"] == version("gip-cli")
    np.testing.assert_array_equal(store.vectors, [ToyEncoder().vector("a")])


def test_the_files_of_a_store_are_whole_on_the_disk(tmp_path: Path, synced: dict[int, int]) -> None:
    embed(write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy")
    status = [path.stat() for path in Paths.of(tmp_path / "pool.npy").all]
    assert synced.items() >= {(one.st_ino, one.st_size) for one in status}


@pytest.mark.parametrize("moved", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("old", [True, False], ids=["over an old one", "the first"])
def test_a_commit_cut_off_between_its_renames_is_whole_to_all_that_follow(
    old: bool, moved: int, tmp_path: Path
) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    embed(pool, target)
    new = files_of(tmp_path)
    names = ["pool.npy", "pool.keys.npy", "pool.tokens.npy", "pool.json"]
    embed(write_rows(pool, TEXTS[:40]), target)
    if not old:
        for name in names:
            (tmp_path / name).unlink()
    commit = tmp_path / ".pool.npy.commit"
    commit.mkdir()
    for at, name in enumerate(names):
        (tmp_path / name if at < moved else commit / name).write_bytes(new[name])
    check(target, TEXTS)  # a reader finds the new one
    write_rows(pool, TEXTS)
    assert embed(pool, target).encoded == 0  # so does a writer, and tidies up
    assert files_of(tmp_path) == new


def test_what_a_killed_run_had_begun_to_commit_is_made_anew(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    staging = tmp_path / ".pool.npy.staging"
    staging.mkdir()
    (staging / "pool.npy").write_bytes(b"half")
    assert embed(pool, target).encoded == 300
    check(target, TEXTS)
    assert len(files_of(tmp_path)) == 4


def test_a_second_run_waits_for_the_first_and_then_finds_its_work_done(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    waiting = threading.Event()
    second: list[Written] = []

    def wait_and_run() -> None:
        second.append(embed(pool, target, note=lambda text: waiting.set()))

    class Started(ToyEncoder):
        def encode(self, texts: Sequence[str]) -> Encoded:
            if not self.texts:
                thread.start()
                assert waiting.wait(20)  # told that another run is writing
            return super().encode(texts)

    thread = threading.Thread(target=wait_and_run)
    assert embed(pool, target, Started()).encoded == 300
    thread.join()
    assert (second[0].encoded, second[0].reused) == (0, 300)
    check(target, TEXTS)
    assert len(files_of(tmp_path)) == 4


@pytest.mark.parametrize("texts", [TEXTS[40:100], TEXTS[:40]], ids=["other rows", "other model"])
def test_whoever_reads_a_store_that_is_being_replaced_finds_the_old_or_the_new(
    texts: list[str], tmp_path: Path
) -> None:
    stores = {"toy": TEXTS[:40], "other": texts}
    target = tmp_path / "pool.npy"
    pools = {name: write_rows(tmp_path / f"{name}.jsonl", texts) for name, texts in stores.items()}
    embed(pools["toy"], target)

    def replace_it() -> None:
        for name in ["other", "toy"] * 20:
            embed(pools[name], target, ToyEncoder(name))

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(replace_it)
        while not writing.done():
            store = open_embeddings(target)
            model = ToyEncoder(store.settings.card.model)
            first = model.vector(stores[model.card.model][0])
            np.testing.assert_array_equal(store.vectors[0], first)
        writing.result()


def test_a_file_that_was_put_there_while_a_run_waited_is_not_replaced(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "rows.jsonl", TEXTS), tmp_path / "pool.npy"
    lock = filelock.FileLock(tmp_path / ".pool.npy.lock", thread_local=False)
    lock.acquire()

    def meanwhile(text: str) -> None:
        target.write_bytes(b"the only copy")
        lock.release()

    with pytest.raises(UsageError, match=r"pool\.npy: may be anybody's"):
        embed(pool, target, note=meanwhile)
    assert target.read_bytes() == b"the only copy"


def test_a_lock_left_by_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    pool, target = write_rows(tmp_path / "pool.jsonl", TEXTS), tmp_path / "pool.npy"
    (tmp_path / ".pool.npy.lock").touch()
    notes: list[str] = []
    embed(pool, target, note=notes.append)
    assert notes == []
    with filelock.FileLock(tmp_path / ".pool.npy.lock", timeout=0):
        pass


@pytest.mark.parametrize("place", ["missing/pool.npy", "folder.npy", "pool.jsonl/x.npy"])
def test_a_place_that_cannot_be_written_is_known_before_any_work(
    place: str, tmp_path: Path
) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    (tmp_path / "folder.npy").mkdir()
    encoder = ToyEncoder()
    with pytest.raises((UsageError, StorageError)):
        embed(pool, tmp_path / place, encoder)
    assert encoder.texts == []
