"""A store is joined by key, and one that was damaged is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gip_cli.embedding_files import Paths
from gip_cli.embeddings import join_keys, open_embeddings
from gip_cli.errors import InputError, MismatchError, UsageError
from gip_cli.formats import Renderer, key_of
from gip_cli.own_vectors import write_own_vectors
from gip_cli.rows import BadRows, RowFile
from tests.toys import ToyEncoder, embed, write_rows

TEXTS = [f"row {number}" for number in range(20)]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    embed(write_rows(folder / "pool.jsonl", TEXTS), folder / "pool.npy")
    return folder


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "copy") / "pool.npy"


def test_a_store_is_what_the_readme_says_it_is(store: Path) -> None:
    vectors = np.load(store, mmap_mode="r")
    assert (vectors.shape, vectors.dtype, vectors.flags.c_contiguous) == ((20, 8), "float32", True)
    np.testing.assert_array_equal(vectors, [ToyEncoder().vector(text) for text in TEXTS])
    keys = np.load(store.with_name("pool.keys.npy"))
    assert [key.tobytes() for key in keys] == [key_of(text) for text in TEXTS]
    np.testing.assert_array_equal(np.load(store.with_name("pool.tokens.npy")), [2] * 20)
    description = json.loads(store.with_name("pool.json").read_bytes())
    assert description.items() >= {"version": 1, "rows": 20, "model": "toy", "part": "both"}.items()
    assert open_embeddings(store).check_rows() == 0


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20), st.data())
def test_joining_finds_every_key_and_no_other(known: list[bytes], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from([*known, b"?" * 16, bytes(16)]), max_size=20))

    def as_keys(some: list[bytes]) -> np.ndarray:
        return np.frombuffer(b"".join(some), dtype=np.uint8).reshape(-1, 16)

    at = join_keys(as_keys(known), as_keys(wanted))
    for position, key in zip(at, wanted, strict=True):
        assert known[position] == key if position >= 0 else key not in known


def rewrite(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        path = store.with_name(name)
        np.save(path, change(np.array(np.load(path))), allow_pickle=True)

    return damage


def describe(**members: object) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        path = store.with_suffix(".json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **members}))

    return damage


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda store: store.with_name(name).write_bytes(
        store.with_name(name).read_bytes()[:size]
    )


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (rewrite("pool.npy", lambda a: a.astype("f8")), "holds float64, not float32 or float16"),
    (rewrite("pool.npy", lambda a: a.astype(">f4")), "another byte order"),
    (rewrite("pool.npy", lambda a: a.astype(object)), "not a whole .npy file"),
    (rewrite("pool.npy", np.asfortranarray), "in Fortran order"),
    (rewrite("pool.npy", lambda a: a[0]), r"has shape \(8,\)"),
    (rewrite("pool.npy", lambda a: a[:0]), r"has shape \(0, 8\)"),
    (rewrite("pool.npy", lambda a: a[1:]), "do not belong together"),
    (rewrite("pool.npy", lambda a: a[:, 1:]), "do not belong together"),
    (rewrite("pool.npy", lambda a: a.astype("f2")), "do not belong together"),
    (cut("pool.npy", 500), "not a whole .npy file"),
    (cut("pool.npy", 60), "not a whole .npy file"),
    (cut("pool.npy", 0), "not a .npy file"),
    (lambda store: store.write_bytes(b"\x80\x04K\x01."), "not a .npy file"),
    (lambda store: store.write_bytes(b"PK\x03\x04rubbish"), "not a .npy file"),
    (lambda store: store.with_name("pool.keys.npy").unlink(), r"pool.keys.npy: missing"),
    (rewrite("pool.keys.npy", lambda a: a[1:]), "do not belong together"),
    (rewrite("pool.keys.npy", lambda a: a[::-1]), "do not belong together"),
    (rewrite("pool.keys.npy", lambda a: a.astype("i8")), "holds int64, not uint8"),
    (cut("pool.keys.npy", 140), "not a whole .npy file"),
    (lambda store: store.with_name("pool.tokens.npy").unlink(), r"pool.tokens.npy: missing"),
    (rewrite("pool.tokens.npy", lambda a: a[1:]), "do not belong together"),
    (lambda store: store.with_suffix(".json").unlink(), r"pool.json: missing"),
    (lambda store: store.with_suffix(".json").write_bytes(b"{"), "not a description of embeddings"),
    (lambda store: store.with_suffix(".json").write_bytes(b"[1]"), "not a description"),
    (describe(version=2), "written by a newer gip"),
    (describe(version=None), "not a description"),
    (describe(dimension="8"), "not a description"),
    (describe(dimension=9), "do not belong together"),
    (describe(rows=21), "do not belong together"),
    (describe(keys="x"), "do not belong together"),
    (describe(format="parquet"), "not a description"),
    (describe(format="fields"), "not a description"),
    (describe(part="all"), "not a description"),
    (describe(part="prompt"), "not a description"),  # a text has none
    (describe(fields=[1]), "not a description"),
    (describe(fields=None), "not a description"),
    (describe(max_length=-1), "not a description"),
    (describe(model=None), "not a description"),
]


@pytest.mark.parametrize(("damage", "why"), DAMAGES)
def test_a_damaged_store_is_refused_with_a_remedy(
    damage: Callable[[Path], object], why: str, store: Path
) -> None:
    damage(store)
    with pytest.raises(MismatchError, match=why) as error:
        open_embeddings(store)
    assert error.value.exit_code == 4
    assert str(error.value).startswith(str(store.parent))
    assert "; " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.nan, "row 18 has norm nan, not 1"),
        (np.inf, "row 18 has norm inf, not 1"),
        (3e38, "row 18 has norm 3e"),
        (2, "row 18 has norm"),
    ],
)
def test_rows_that_are_no_unit_vectors_are_named(value: float, why: str, store: Path) -> None:
    vectors = np.load(store)
    vectors[17, 3] = value
    np.save(store, vectors)
    with pytest.raises(MismatchError, match=rf"pool.npy: {why}.*run gip embed again"):
        open_embeddings(store).check_rows()


def test_zero_rows_are_counted(store: Path) -> None:
    vectors = np.load(store)
    vectors[[3, 9]] = 0
    np.save(store, vectors)
    assert open_embeddings(store).check_rows() == 2


def test_float16_rows_are_unit_within_their_precision(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", TEXTS)
    embed(pool, tmp_path / "pool.npy", ToyEncoder(dimension=384), dtype="float16")
    found = open_embeddings(tmp_path / "pool.npy")
    assert found.check_rows() == 0
    assert found.vectors.dtype == np.float16


def test_what_is_not_there_is_a_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such embeddings; make them with gip embed"):
        open_embeddings(tmp_path / "pool.npy")
    with pytest.raises(UsageError, match=r"embeddings are named NAME.npy"):
        Paths.of(tmp_path / "pool.npz")


def test_vectors_written_over_in_place_are_told_and_replaced_ones_are_those_opened(
    tmp_path: Path,
) -> None:
    store = tmp_path / "pool.npy"
    embed(write_rows(tmp_path / "pool.jsonl", ["a", "b"]), store)
    opened = open_embeddings(store)
    opened.check_unchanged()
    data = store.read_bytes()
    store.write_bytes(data[:-4] + bytes(4))
    os.utime(store, ns=(0, 0))
    with pytest.raises(MismatchError, match="was written over while it was read; run again"):
        opened.check_unchanged()
    opened = open_embeddings(store)
    other = store.with_name("new")
    other.write_bytes(data)
    other.replace(store)
    opened.check_unchanged()
    store.unlink()
    opened.check_unchanged()


@pytest.mark.parametrize("name", ["pool.npy", "pool.keys.npy", "pool.tokens.npy"])
def test_what_git_lfs_has_not_fetched_is_not_made_again(name: str, tmp_path: Path) -> None:
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "b"]), tmp_path / "pool.npy"
    embed(pool, store)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (tmp_path / name).write_bytes(pointer)
    np.save(vectors := tmp_path / "vectors.npy", np.eye(2))
    with RowFile(pool, BadRows(), reread=True) as rows:
        for use in (
            lambda: open_embeddings(store),
            lambda: embed(pool, store),
            lambda: write_own_vectors(rows, store, vectors, Renderer("text")),
        ):
            with pytest.raises(MismatchError, match=f"{name}: a Git LFS pointer.*git lfs pull"):
                use()
    assert (tmp_path / name).read_bytes() == pointer
    pool.write_bytes(pointer)
    with pytest.raises(InputError, match="a Git LFS pointer, not the file; fetch that"):
        embed(pool, tmp_path / "other.npy")
