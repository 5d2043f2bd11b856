"""Rows as arrays: places, keys, signals, and the join with their embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from gip_cli.embeddings import open_embeddings, rows_at
from gip_cli.encoder import DEFAULT_MODEL, OWN_VECTORS
from gip_cli.errors import InputError, MismatchError
from gip_cli.formats import Part, Rendered, Renderer, key_of
from gip_cli.pool import Pool, load_pool
from gip_cli.rows import BadRows, RowFile
from tests.selecting import embed, in_memory, row, write_rows

D = 3


@contextmanager
def opened(path: Path, *fields: str) -> Iterator[Pool]:
    with RowFile(path, BadRows(), reread=True) as rows:
        yield load_pool(rows, Renderer("text"), fields)


def load(path: Path, *fields: str) -> Pool:
    with opened(path, *fields) as pool:
        return pool


def test_a_pool_knows_the_place_of_every_row(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b'{"text":"1 0 0"}\n\n  {"text":"0 1 0", "a":{"b":7}}\n')
    with RowFile(path, BadRows(), reread=True) as rows:
        pool = load_pool(rows, Renderer("text"), ["a.b"])
        assert pool.row(1).raw == b'{"text":"0 1 0", "a":{"b":7}}'
        assert pool.row(1).line == 3
    assert pool.lines.tolist() == [1, 3]
    values = pool.fields["a.b"]
    assert [values.distinct[code] for code in values.codes] == [None, 7]
    assert pool.keys[1].tobytes() == key_of("0 1 0")
    assert pool.lengths.tolist() == [5, 5]


def test_a_field_nested_deeper_than_can_be_told_apart_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pool"
    path.write_bytes(b'{"text":"1 0 0"}\n{"text":"0 1 0","a":%s}\n' % (b"[" * 300 + b"]" * 300))
    with pytest.raises(InputError, match=r"pool:2: field 'a' is nested too deeply; choose"):
        load(path, "a")
    assert len(load(path)) == 2


def test_the_digest_is_of_the_rows_not_of_their_holder(tmp_path: Path) -> None:
    rows = [row([1, 0, 0]), row([0, 1, 0])]
    lines = write_rows(tmp_path / "a", rows)
    (tmp_path / "b").write_bytes(orjson.dumps(rows))
    assert load(lines).digest == load(tmp_path / "b").digest
    assert load(lines).digest != load(write_rows(tmp_path / "c", rows[::-1])).digest


def test_a_row_too_large_to_count_is_refused(tmp_path: Path) -> None:
    class Far(Renderer):
        """A file whose row stands farther than any that a test could write."""

        def read(self, rows: RowFile) -> Iterator[Rendered]:
            for one in super().read(rows):
                yield one._replace(row=replace(one.row, line=2**32))

    path = write_rows(tmp_path / "pool", [row([1, 0, 0])])
    with (
        RowFile(path, BadRows(), reread=True) as rows,
        pytest.raises(InputError, match=r"pool:4294967296: .* split the file"),
    ):
        load_pool(rows, Far("text"))


def test_rows_find_their_embeddings_by_key(tmp_path: Path) -> None:
    rows = [row(v) for v in np.eye(3)] + [row([1, 0, 0])]  # the last repeats the first
    path = write_rows(tmp_path / "pool.jsonl", rows)
    store = open_embeddings(embed(path, D))
    shuffled = load(write_rows(tmp_path / "other.jsonl", [rows[i] for i in (1, 0)]))
    np.testing.assert_array_equal(
        rows_at(store.vectors, shuffled.located(store)), np.eye(3)[[1, 0]]
    )
    assert shuffled.sharing(store) is shuffled


@pytest.mark.parametrize("part", [slice(0, 4), slice(0, 3), slice(1, 4), slice(2, 3)], ids=str)
def test_rows_that_stand_together_are_a_part_of_the_file_not_a_copy(
    part: slice, tmp_path: Path
) -> None:
    rows = [row(v) for v in np.eye(3)] + [row([1, 0, 0])]
    store = open_embeddings(embed(write_rows(tmp_path / "pool.jsonl", rows), D))
    pool = load(write_rows(tmp_path / "part.jsonl", rows[part]))
    vectors = rows_at(store.vectors, pool.located(store))
    assert np.shares_memory(vectors, store.vectors)
    np.testing.assert_array_equal(vectors, store.vectors[part])
    shared = pool.sharing(store)
    assert np.shares_memory(shared.keys, store.keys)
    np.testing.assert_array_equal(shared.keys, pool.keys)


def test_a_repeated_row_that_begins_a_part_is_found_all_the_same(tmp_path: Path) -> None:
    rows = [row(v) for v in np.eye(3)] + [row([1, 0, 0]), row([0, 1, 1])]
    store = open_embeddings(embed(write_rows(tmp_path / "pool.jsonl", rows), D))
    pool = load(write_rows(tmp_path / "part.jsonl", rows[3:]))
    np.testing.assert_array_equal(rows_at(store.vectors, pool.located(store)), store.vectors[3:])


def test_a_row_without_an_embedding_is_named_or_zero(tmp_path: Path) -> None:
    store = in_memory(write_rows(tmp_path / "pool", [row([1, 0, 0])]), D)
    path = write_rows(tmp_path / "more", map(row, np.eye(3)))
    said = r"more:2: no embedding .* \(nor for 1 more row\)"
    with opened(path) as pool, pytest.raises(MismatchError, match=said):
        pool.located(store)
    at = pool.located(store, skip_missing=True)
    assert at.tolist() == [0, -1, -1]
    np.testing.assert_array_equal(rows_at(store.vectors, at), [[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    path = write_rows(tmp_path / "none", [row([0, 1, 0])])
    with opened(path) as none, pytest.raises(MismatchError, match="none:1: no embedding"):
        none.located(store, skip_missing=True)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ({"model": "m"}, r" --model m --prompt-prefix '' --max-length 9 --reuse \S+pool\.npy"),
        (
            {"model": "m", "revision": "r", "prompt_prefix": "q: ", "max_length": 0},
            r" --model m --revision r --prompt-prefix 'q: ' --reuse \S+pool\.npy",
        ),
        ({"model": DEFAULT_MODEL, "max_length": 256}, r" --reuse \S+pool\.npy"),
        ({"model": OWN_VECTORS}, " --vectors VECTORS.npy"),
    ],
)
def test_what_is_missing_is_to_be_embedded_as_the_rest_is(
    model: dict[str, Any], remedy: str, tmp_path: Path
) -> None:
    """Given vectors are to be given: a model's would be of another space."""
    store = in_memory(write_rows(tmp_path / "pool", [row([1, 0, 0])]), D)
    card = replace(store.settings.card, **{"max_length": 9} | model)
    store = replace(store, settings=replace(store.settings, card=card))
    path = write_rows(tmp_path / "more.jsonl", [row([0, 1, 0])])
    said = rf"-o \S+more\.npy{remedy} and take it by -e"
    with opened(path) as pool, pytest.raises(MismatchError, match=said):
        pool.located(store)
    for texts, options in (
        (Renderer("fields", ("a", "b.c")), "--text-field a --text-field b.c"),
        (Renderer("qa", (), Part.prompt), "--part prompt"),
    ):
        settings = replace(store.settings, renderer=texts, dtype="float16")
        said = rf"-o \S+more\.npy {options} --dtype float16{remedy} and take"
        with opened(path) as pool, pytest.raises(MismatchError, match=said):
            pool.located(replace(store, settings=settings))


def test_no_file_that_is_to_be_embedded_is_taken_for_an_option(tmp_path: Path) -> None:
    store = in_memory(write_rows(tmp_path / "pool", [row([1, 0, 0])]), D)
    write_rows(tmp_path / "-more.jsonl", [row([0, 1, 0])])
    said = r"run gip embed \./-more\.jsonl -o \./-more\.npy --model"
    with (
        chdir(tmp_path),
        opened(Path("-more.jsonl")) as pool,
        pytest.raises(MismatchError, match=said),
    ):
        pool.located(store)


def test_a_format_that_would_not_be_found_is_to_be_said(tmp_path: Path) -> None:
    store = in_memory(write_rows(tmp_path / "pool", [row([1, 0, 0])]), D)
    members = {"instruction": "i", "output": "o"}  # by which it is found to be of another format
    for others, option in (({}, ""), (members, " --format text"), ({"a": 1}, "")):
        path = write_rows(tmp_path / "more.jsonl", [row([0, 1, 0], **others), row([1, 0, 0])])
        said = rf"run gip embed {path} -o \S+{option} --model words --prompt-prefix '' --reuse"
        with opened(path) as pool, pytest.raises(MismatchError, match=said):
            pool.located(store)


def test_a_pool_of_which_every_row_is_skipped_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pool").write_text('{"question": "q"}\n{"question": "r"}\n')
    bad = BadRows(skip=True)
    with (
        RowFile(tmp_path / "pool", bad, reread=True) as rows,
        pytest.raises(InputError, match="no usable rows: none is of format text"),
    ):
        load_pool(rows, Renderer("text"))
    assert bad.count == 2
