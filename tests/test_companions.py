"""Where the vectors of other files' rows come from: the pool's store, their own, or the model."""

from __future__ import annotations

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gip_cli.companions import Companions, sibling
from gip_cli.embeddings import open_embeddings
from gip_cli.encoder import OWN_VECTORS, load_encoder
from gip_cli.errors import InputError, MismatchError, NoRowsError, UsageError
from gip_cli.formats import Part, Renderer
from gip_cli.rows import BadRows, RowFile
from gip_cli.store import write_embeddings
from tests import toys
from tests.pools import unit
from tests.selecting import VectorEncoder, embed, row, write_rows
from tests.test_encoder import packaged_model
from tests.toys import store_given

D = 4
VECTORS = unit(np.random.default_rng(3).standard_normal((6, D)))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = write_rows(tmp_path / "pool.jsonl", map(row, VECTORS[:3]))
    embed(path, D)
    return path


def test_a_sibling_is_the_store_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    assert sibling(tmp_path / "a.jsonl") == tmp_path / "a.npy"
    assert sibling(tmp_path / "a.jsonl.gz") == tmp_path / "a.npy"
    assert sibling(tmp_path / "b.jsonl") is None
    (tmp_path / "-.npy").touch()
    with chdir(tmp_path):
        assert sibling("-") is None  # a stream
    for name in (".gz", "..gz"):  # names without a stem
        assert sibling(tmp_path / name) is None
    (tmp_path / ".gz.npy").touch()
    assert sibling(tmp_path / ".gz") == tmp_path / ".gz.npy"


def test_what_lies_beside_a_file_is_not_read_where_the_pools_store_has_all_its_rows(
    pool: Path,
) -> None:
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[:2]))
    np.save(other.with_suffix(".npy"), VECTORS)  # no store
    read = Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    np.testing.assert_allclose(read.vectors, VECTORS[:2], atol=1e-6)


def test_each_row_is_looked_up_in_the_pools_store_then_in_its_own(pool: Path) -> None:
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[1:]))
    beside = embed(write_rows(pool.with_name("late.jsonl"), map(row, VECTORS[3:])), D)
    shutil.copy(beside, other.with_suffix(".npy"))  # holds only the rows that the pool has not
    for suffix in (".keys.npy", ".tokens.npy", ".json"):
        shutil.copy(beside.with_name("late" + suffix), other.with_name("other" + suffix))
    read = Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    np.testing.assert_allclose(read.vectors, VECTORS[1:], atol=1e-6)
    assert len(read) == 5


def test_of_two_vectors_of_a_row_the_pools_own_counts(pool: Path) -> None:
    store_given(pool, VECTORS[:3])
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[2:4]))
    store_given(other, VECTORS[4:])
    read = Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    np.testing.assert_allclose(read.vectors, VECTORS[[2, 5]], atol=1e-6)


def test_a_damaged_store_of_their_own_is_refused(pool: Path) -> None:
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[3:]))
    store = embed(other, D)
    np.save(store, np.load(store) * 2)
    with pytest.raises(MismatchError, match=r"other.npy: row 1 has norm 2, not 1; run gip embed"):
        Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))


def test_a_store_of_another_model_is_passed_over(pool: Path) -> None:
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[:2]))
    embed(other, D - 1)
    read = Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    np.testing.assert_allclose(read.vectors, VECTORS[:2], atol=1e-6)  # the pool's own store


def test_a_file_without_vectors_is_named_where_no_model_made_the_pools(pool: Path) -> None:
    store_given(pool, VECTORS[:3])
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[2:]))
    with pytest.raises(MismatchError) as error:
        Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    store = other.with_suffix(".npy")
    assert str(error.value).startswith(
        f"{other}: 3 rows without a vector, and no model can make any: those of "
        f"{pool.with_suffix('.npy')} were given; give theirs too: "
    )
    command = f": gip embed {other} -o {store} --vectors VECTORS.npy"
    assert str(error.value).endswith(command)
    embed(other, D)
    with pytest.raises(MismatchError) as error:
        Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    assert str(error.value).endswith(f"{command} (those of {store} are others, and would be gone)")


def test_texts_are_encoded_as_the_pools_were_more_of_them_than_fit_a_batch(tmp_path: Path) -> None:
    """By the same length, prefix and revision, and not by another model that has its name."""
    encoder = load_encoder(
        str(packaged_model()), revision="main", max_length=16, prompt_prefix="query: "
    )
    pool = toys.write_rows(tmp_path / "pool.jsonl", ["a row"])
    toys.embed(pool, tmp_path / "pool.npy", encoder)
    texts = [f"row {number}" + " and more words" * number for number in range(33)]
    other = toys.write_rows(tmp_path / "other.jsonl", texts)
    store = open_embeddings(tmp_path / "pool.npy")
    read = Companions(store).read(str(other))
    np.testing.assert_allclose(read.vectors, encoder.encode(texts).vectors, atol=1e-5)
    settings = replace(store.settings, card=replace(encoder.card, weights="blake2b:0"))
    with pytest.raises(
        MismatchError, match=r"pool.npy: made by another .*/model than the one that"
    ):
        Companions(replace(store, settings=settings)).read(str(other))


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (False, "no such directory of a model; {} was made by it: run gip where it is found by "),
        (True, "cannot be loaded ("),
    ],
    ids=["in another folder", "damaged"],
)
def test_a_model_that_made_the_pools_vectors_and_cannot_be_had_is_told_with_what_helps(
    there: bool, told: str, tmp_path: Path
) -> None:
    pool = toys.write_rows(tmp_path / "pool.jsonl", ["a row"])
    other = toys.write_rows(tmp_path / "other.jsonl", ["another row"])
    store = tmp_path / "pool.npy"
    toys.embed(pool, store, toys.ToyEncoder("./model"))
    if there:
        (tmp_path / "model").mkdir()
    with chdir(tmp_path), pytest.raises(UsageError) as error:
        Companions(open_embeddings(store)).read(str(other))
    assert told.format(store) in str(error.value)
    assert ("was made by it" in str(error.value)) is not there


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (b'{"foo": 1}\n', "other.jsonl:1: no known format (keys: foo)"),
        (b'{"text": 1}\n', ":1: not"),
    ],
)
def test_the_options_for_the_pools_format_are_no_remedy_for_another_file(
    pool: Path, lines: bytes, what: str
) -> None:
    other = pool.with_name("other.jsonl")
    other.write_bytes(lines)
    with pytest.raises(InputError) as error:
        Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))
    assert what in str(error.value)
    assert 'knows, prompts alone as {"text": ...}, or pass' in str(error.value)
    assert "--format" not in str(error.value)
    assert "--text-field" not in str(error.value)


def test_beside_rows_that_were_read_by_fields_others_need_them_too(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", [{"body": "1 0 0 0"}])
    with RowFile(pool, BadRows(), reread=True) as rows:
        renderer = Renderer("fields", ("body",))
        write_embeddings(rows, pool.with_suffix(".npy"), VectorEncoder(D), renderer)
    other = write_rows(tmp_path / "other.jsonl", [{"text": "1 0 0 0"}])
    remedy = "other.jsonl:1: .*; give rows with the fields that the pool was embedded by$"
    with pytest.raises(InputError, match=remedy):
        Companions(open_embeddings(pool.with_suffix(".npy"))).read(str(other))


@pytest.mark.parametrize("part", ["prompt", "response"])
def test_beside_a_part_of_the_pools_rows_a_text_is_that_part(part: str, tmp_path: Path) -> None:
    texts = [row(vector)["text"] for vector in VECTORS]
    pairs = [{"question": a, "answer": b} for a, b in zip(texts[:3], texts[3:], strict=True)]
    pool = write_rows(tmp_path / "pool.jsonl", pairs)
    store = pool.with_suffix(".npy")
    with RowFile(pool, BadRows(), reread=True) as rows:
        write_embeddings(rows, store, VectorEncoder(D), Renderer("qa", (), Part(part)))
    wanted = texts[:3] if part == "prompt" else texts[3:]
    other = write_rows(tmp_path / "other.jsonl", [{"text": text} for text in wanted])
    companions = Companions(open_embeddings(store))
    read = companions.read(str(other))
    assert (read.format, read.keys.tolist()) == ("text", open_embeddings(store).keys.tolist())
    assert companions.read(str(pool)).keys.tolist() == read.keys.tolist()
    model = replace(companions._embeddings.settings.card, model=OWN_VECTORS)
    settings = replace(companions._embeddings.settings, card=model)
    given = Companions(replace(companions._embeddings, settings=settings))
    late = write_rows(tmp_path / "late.jsonl", [{"text": "no vector"}])
    with pytest.raises(MismatchError, match=r"late.npy --vectors VECTORS.npy"):
        given.read(str(late))


def test_bad_rows_are_refused_or_counted(pool: Path) -> None:
    other = write_rows(pool.with_name("other.jsonl"), map(row, VECTORS[:2]))
    other.write_bytes(other.read_bytes() + b"{not json\n")
    store = open_embeddings(pool.with_suffix(".npy"))
    with pytest.raises(InputError, match=r"other\.jsonl:3: not JSON"):
        Companions(store).read(str(other))
    read = Companions(store, skip_bad=True).read(str(other))
    assert (len(read), read.skipped.count) == (2, 1)


def test_of_all_files_only_one_of_rows_given_may_be_empty(pool: Path) -> None:
    empty = pool.with_name("empty.jsonl")
    empty.touch()
    companions = Companions(open_embeddings(pool.with_suffix(".npy")))
    assert len(companions.read_parts({"given": [str(empty)]})["given"][0]) == 0
    for part in ("targets", "exclude"):
        with pytest.raises(NoRowsError, match=r"empty.jsonl: no "):
            companions.read_parts({part: [str(empty)]})
