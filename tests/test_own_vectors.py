"""Vectors made elsewhere, block by block; `test_cli_embed.py` has them by the command."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gip_cli import own_vectors
from gip_cli.errors import MismatchError
from gip_cli.formats import Part, Renderer
from gip_cli.own_vectors import write_own_vectors
from gip_cli.rows import BadRows, RowFile
from tests.pools import unit
from tests.toys import embed, gip, write_rows

TEXTS = [f"row {n}" for n in range(10)]
VECTORS = np.random.default_rng(0).standard_normal((10, 3))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks even here, the last of them not full."""
    monkeypatch.setattr(own_vectors, "_BLOCK", 4)


def give(
    tmp_path: Path,
    texts: list[str],
    vectors: npt.NDArray[np.float64],
    renderer: Renderer = Renderer("text"),  # noqa: B008 - frozen
) -> list[str]:
    """Make ``pool.npy`` of vectors in ``mine.npy``; what was told."""
    notes: list[str] = []
    np.save(tmp_path / "mine.npy", vectors)
    with RowFile(write_rows(tmp_path / "pool.jsonl", texts), BadRows(), reread=True) as rows:
        shape = write_own_vectors(
            rows, tmp_path / "pool.npy", tmp_path / "mine.npy", renderer, note=notes.append
        )
    assert shape == vectors.shape
    return notes


def test_unit_vectors_are_taken_as_they_are_and_without_a_word(tmp_path: Path) -> None:
    assert give(tmp_path, TEXTS, unit(VECTORS)) == []
    np.testing.assert_allclose(np.load(tmp_path / "pool.npy"), unit(VECTORS), atol=1e-6)


def test_what_a_store_will_be_without_is_told(tmp_path: Path) -> None:
    store = tmp_path / "pool.npy"
    assert give(tmp_path, TEXTS[:4], unit(VECTORS[:4])) == []
    gone = f"{store}: 3 of its 4 rows are not in {tmp_path / 'pool.jsonl'} and will be gone"
    assert give(tmp_path, TEXTS[3:], unit(VECTORS[3:])) == [gone]
    for damaged in (store.with_suffix(".keys.npy"), store):
        damaged.unlink()
        assert give(tmp_path, TEXTS[:1], unit(VECTORS[:1])) == []
        assert np.load(store).shape == (1, 3)


def test_a_models_store_is_replaced_and_that_is_told(tmp_path: Path) -> None:
    embed(write_rows(tmp_path / "pool.jsonl", TEXTS), store := tmp_path / "pool.npy")
    assert give(tmp_path, TEXTS, unit(VECTORS)) == [f"{store} was made by toy, and is replaced"]


def test_rows_read_otherwise_are_not_told_as_gone(tmp_path: Path) -> None:
    store, by_field = tmp_path / "pool.npy", Renderer("fields", ("text",))
    assert give(tmp_path, TEXTS[:2], unit(VECTORS[:2])) == []
    assert give(tmp_path, TEXTS[:2], unit(VECTORS[:2]), by_field) == [
        f"{store} was made with other settings (format, fields), and its 2 rows are replaced"
    ]


def test_all_that_are_not_of_unit_norm_are_counted(tmp_path: Path) -> None:
    vectors = unit(VECTORS)
    vectors[[1, 5, 9]] *= 1.002
    vectors[[0, 6]] = 0
    mine = tmp_path / "mine.npy"
    assert give(tmp_path, TEXTS, vectors) == [
        f"{mine}: 3 vectors brought to unit norm",
        f"{mine}: 2 vectors of zeros kept, to be picked last if at all",
    ]
    np.testing.assert_allclose(np.load(tmp_path / "pool.npy"), unit(vectors), atol=1e-6)


@pytest.mark.parametrize("far", [0, 4, 5])
def test_every_repeat_of_a_text_is_compared_with_its_first_row(far: int, tmp_path: Path) -> None:
    texts = TEXTS[:2] + [TEXTS[0]] * 6
    vectors = np.array([VECTORS[0], VECTORS[1], *[VECTORS[0]] * 6])
    give(tmp_path, texts, vectors)
    vectors[2 + far] += [0, 0, 0.1]
    with pytest.raises(MismatchError, match=rf"mine\.npy: lines 1 and {far + 3} of .*pool\.jsonl"):
        give(tmp_path, texts, vectors)


@pytest.mark.parametrize(
    ("apart", "told"),
    [
        (5e-7, []),
        (5e-6, ["1 row repeats a text with a slightly other vector, and has the first one's"]),
        (9e-3, ["1 row repeats a text with a slightly other vector, and has the first one's"]),
    ],
)
def test_what_differs_by_rounding_is_one_vector(
    apart: float, told: list[str], tmp_path: Path
) -> None:
    vectors = np.array([[1, 0, 0], [1, apart, 0]])
    vectors[1] /= np.linalg.norm(vectors[1])
    assert give(tmp_path, ["a", "a"], vectors) == [
        f"{tmp_path / 'mine.npy'}: {one}" for one in told
    ]


def test_what_differs_by_more_than_rounding_is_another(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="have the same text but different vectors"):
        give(tmp_path, ["a", "a"], np.array([[1, 0, 0], [1, 1.1e-2, 0]]))


def test_where_a_part_is_embedded_it_is_told_that_it_is_repeated(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text('{"question": "a", "answer": "b"}\n{"question": "a", "answer": "c"}\n')
    np.save(tmp_path / "mine.npy", np.eye(2))
    renderer = Renderer("qa", part=Part.prompt)
    with (
        RowFile(pool, BadRows(), reread=True) as rows,
        pytest.raises(MismatchError, match=r"lines 1 and 2 of .* have the same prompt but"),
    ):
        write_own_vectors(rows, tmp_path / "pool.npy", tmp_path / "mine.npy", renderer)


def test_rows_of_one_text_have_one_vector(tmp_path: Path) -> None:
    vectors = unit(VECTORS)[[0, 1, 2, 0, 1, 2, 0, 1, 2]]
    vectors[[3, 7, 8], 0] += 1e-3
    mine = tmp_path / "mine.npy"
    assert give(tmp_path, TEXTS[:3] * 3, vectors) == [
        f"{mine}: 3 rows repeat a text with a slightly other vector, and have the first one's",
    ]
    store = np.load(tmp_path / "pool.npy")
    np.testing.assert_array_equal(store, store[[0, 1, 2] * 3])
    np.testing.assert_allclose(store[:3], unit(VECTORS)[:3], atol=1e-6)


def test_fewer_picks_of_such_rows_are_the_first_of_more(tmp_path: Path) -> None:
    which = np.random.default_rng(0).integers(0, 3, 40)
    vectors = unit(VECTORS)[which] + np.random.default_rng(1).normal(0, 5e-4, (40, 3))
    give(tmp_path, [TEXTS[at] for at in which], vectors)
    pool, out = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    pool.write_text(
        "".join(f'{{"text": "{TEXTS[at]}", "id": {number}}}\n' for number, at in enumerate(which))
    )
    picks = []
    for k in (2, 4, 8, 20):
        run = gip("select", pool, "-k", k, "--noise", "1", "-o", out)
        assert run.returncode == 0, run.stderr
        picks.append(out.read_text().splitlines())
    assert all(more[: len(fewer)] == fewer for fewer, more in pairwise(picks))


@pytest.mark.parametrize("row", [0, 3, 4, 9])
def test_a_vector_that_is_not_finite_is_named_by_its_row(row: int, tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[row, 1] = np.inf
    with pytest.raises(MismatchError, match=rf"mine\.npy: row {row + 1} is not finite; mend it"):
        give(tmp_path, TEXTS, vectors)
    assert not (tmp_path / "pool.npy").exists()


def test_a_vector_a_row_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"mine\.npy: 10 vectors for 9 rows of .*pool\.jsonl"):
        give(tmp_path, TEXTS[:9], VECTORS)
