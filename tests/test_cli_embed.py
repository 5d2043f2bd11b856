"""`gip embed`: the real model once, given vectors for all else."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gip_cli.embeddings import open_embeddings
from tests.toys import GIP, error_of, gip, store_given, write_rows

ROOT = Path(__file__).parent.parent


def test_the_real_model_by_its_command(tmp_path: Path) -> None:
    """Encoded, then reused; messages name what was done; batch sizes do not show."""
    pool = write_rows(tmp_path / "pool.jsonl", ["a text", "another " * 300, "a text"])
    run = gip("embed", pool, "-o", "pool.npy", "--batch-size", 1, cwd=tmp_path)
    assert run.returncode == 0
    assert run.stdout == b""
    assert run.stderr.decode().splitlines() == [
        f"gip: {pool}: text rows",
        "gip: pool.npy: 3 rows x 384; 2 texts encoded, 0 rows reused, 0 resumed",
        "gip: rows longer than 256 tokens: 1; 15.1% of all tokens unseen",
    ]
    before = (tmp_path / "pool.npy").read_bytes()
    write_rows(pool, ["another " * 300, "a text", "new"])
    run = gip("embed", pool, "-o", "pool.npy", "--batch-size", 64, cwd=tmp_path)
    assert b"1 text encoded, 2 rows reused" in run.stderr
    store = open_embeddings(tmp_path / "pool.npy")
    assert store.vectors[1].tobytes() == before[-384 * 4 :]
    description = json.loads((tmp_path / "pool.json").read_text())
    assert description["rows"] == 3
    assert description["truncated_rows"] == 1


def test_select_tells_what_the_model_it_runs_has_cut(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", ["a text", "another " * 300])
    run = gip("select", pool, "-k", 1, "-o", tmp_path / "small.jsonl")
    assert b"rows longer than 256 tokens: 1; " in run.stderr


def test_texts_that_the_model_cannot_read_are_told(tmp_path: Path) -> None:
    """To it they are one text, which --dedup-threshold would take them for."""
    pool = write_rows(tmp_path / "pool.jsonl", ["สวัสดีครับ", "ភាសាខ្មែរ", "plain words"])
    told = "2 of 3 texts encoded are mostly of letters, signs or overlong words"
    by_select = gip("select", pool, "-k", 3, "-o", tmp_path / "small.jsonl")
    assert told in by_select.stderr.decode()
    store = tmp_path / "pool.npy"
    assert told in gip("embed", pool, "-o", store).stderr.decode()
    first, second, third = np.load(store)
    assert first @ second > 0.99 > third @ second
    assert b"mostly of" not in gip("embed", pool, "-o", store).stderr  # told where it is made


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "pool.jsonl", [f"row {n}" for n in range(30)], up=1)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_given_vectors_are_stored_as_unit_rows(kind: str, pool: Path, tmp_path: Path) -> None:
    given = np.random.default_rng(0).standard_normal((30, 6)).astype(kind)
    given[7] = 0
    np.save(tmp_path / "mine.npy", given)
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy")
    assert run.returncode == 0
    assert b"29 vectors brought to unit norm" in run.stderr
    assert b"mine.npy: 1 vector of zeros kept, to be picked last if at all\n" in run.stderr
    store = open_embeddings(tmp_path / "pool.npy")
    assert store.check_rows() == 1
    wanted = (
        given.astype(float) / np.maximum(np.linalg.norm(given.astype(float), axis=1), 1e-9)[:, None]
    )
    np.testing.assert_allclose(store.vectors, wanted, atol=1e-6)
    assert store.settings.card.model == "given vectors"
    assert store.tokens.tolist() == [-1] * 30
    run = gip("select", pool, "-k", 5, "-o", tmp_path / "small.jsonl")
    assert run.returncode == 0
    run = gip("select", pool, "--tokens", 50)
    assert run.returncode == 2
    assert "without token counts" in error_of(run)


def test_given_vectors_select_for_targets_with_vectors_of_their_own(
    pool: Path, tmp_path: Path
) -> None:
    """The target is the direction of row 4, so row 4 is picked."""
    task = write_rows(tmp_path / "task.jsonl", ["a question"])
    vectors = np.eye(30)
    for name, given in (("pool", vectors), ("task", vectors[4:5])):
        np.save(tmp_path / f"{name}.given.npy", given)
    gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "pool.given.npy")
    select = ("select", pool, "-k", 1, "--target", task, "--self-weight", 0)
    run = gip(*select)
    assert run.returncode == 4
    assert error_of(run).startswith(f"{task}: 1 row without a vector, and no model can make any")
    gip("embed", task, "-o", tmp_path / "task.npy", "--vectors", tmp_path / "task.given.npy")
    run = gip(*select)
    assert json.loads(run.stdout)["text"] == "row 4"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (np.ones((29, 4)), "29 vectors for 30 rows"),
        (np.ones((30, 4), dtype=int), "holds int64, not float16 or float32 or float64"),
        (np.ones(30), "has shape (30,); save it with numpy.save as (rows, d) floats"),
        (np.asfortranarray(np.ones((30, 4))), "is in Fortran order; save it with numpy.save"),
        (np.where(np.eye(30), np.nan, 1), "row 1 is not finite"),
    ],
)
def test_vectors_that_do_not_belong_to_the_rows_are_refused(
    given: np.ndarray, why: str, pool: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "mine.npy", given)
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy")
    assert run.returncode == 4
    assert why in error_of(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.npy", "pool.jsonl"]


def test_given_vectors_are_read_twice_and_a_pipe_is_refused(pool: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.npy")
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy")
    assert run.returncode == 2
    assert "mine.npy: not a regular file; save it first" in error_of(run)


def test_given_vectors_of_one_text_must_be_one_vector(tmp_path: Path) -> None:
    """Joined by key, both rows would get the first; what differs by rounding is no other vector."""
    pool = write_rows(tmp_path / "pool.jsonl", ["a", "b", "a"])
    embed = ["embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy"]
    np.save(tmp_path / "mine.npy", [[1, 0], [0.6, 0.8], [2, 1e-6]])
    assert gip(*embed).returncode == 0
    before = (tmp_path / "pool.npy").read_bytes()
    np.save(tmp_path / "mine.npy", [[1, 0], [0.6, 0.8], [1, 0.1]])
    run = gip(*embed)
    assert run.returncode == 4
    assert error_of(run) == (
        f"{tmp_path / 'mine.npy'}: lines 1 and 3 of {pool} have the same text but different "
        "vectors; embed what tells them apart (--text-field, --part), or give them one vector"
    )
    assert (tmp_path / "pool.npy").read_bytes() == before


def test_given_vectors_count_neither_blank_nor_skipped_lines_which_is_told(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text('\n{"text": "a"}\n\n{"q": "no text"}\n{"text": "b"}\n{"text": "a"}\n')
    embed = ["embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy"]
    np.save(tmp_path / "mine.npy", np.eye(4))
    said = error_of(gip(*embed, "--skip-bad"))
    assert f"4 vectors for 3 rows of {pool} (1 bad row skipped; the first: {pool}:4: " in said
    assert said.endswith("give one vector for each row that is not skipped, in their order")
    np.save(tmp_path / "mine.npy", np.eye(3))
    assert f"lines 2 and 6 of {pool} have the same text" in error_of(gip(*embed, "--skip-bad"))
    pool.write_text('{"q": "no text"}\n')
    assert (
        f"{pool}: no row of a known format (1 bad row skipped; the first: {pool}:1: no known "
        "format (keys: q)); pass --text-field"
    ) in error_of(gip(*embed, "--skip-bad"))


def test_given_vectors_may_be_of_any_size(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", ["large", "small", "zero"])
    np.save(tmp_path / "mine.npy", [[3e307, -4e307], [3e-320, 4e-320], [0, 0]])
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy")
    assert run.returncode == 0
    assert b"2 vectors brought to unit norm" in run.stderr
    wanted = [[0.6, -0.8], [0.6, 0.8], [0, 0]]
    np.testing.assert_allclose(np.load(tmp_path / "pool.npy"), wanted, atol=1e-4)


def test_a_model_and_given_vectors_exclude_each_other(pool: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.eye(30))
    command = ("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy")
    options = ("--max-length=9", "--device=cpu", "--batch-size=8", "--trust-remote-code")
    for option in (*options, "--reuse=other.npy"):
        run = gip(*command, option)
        assert run.returncode == 2
        assert "--vectors needs no model; leave out what is said of one, and --reuse" in error_of(
            run
        )


def test_an_input_that_the_description_would_replace_is_kept(tmp_path: Path) -> None:
    """``pool.json`` is a fine name for an Alpaca file, and that of ``pool.npy``'s description."""
    pool = tmp_path / "pool.json"
    pool.write_text('[{"text": "a"}]')
    np.save(tmp_path / "mine.npy", np.eye(1))
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy")
    assert run.returncode == 2
    assert error_of(run) == (
        f"embeddings of {tmp_path}/pool.npy also write {pool}, which is the input; choose another "
        f"NAME.npy, e.g. -o {tmp_path}/pool.emb.npy"
    )
    assert pool.read_text() == '[{"text": "a"}]'
    run = gip("embed", pool, "-o", tmp_path / "pool.emb.npy", "--vectors", tmp_path / "mine.npy")
    assert run.stderr.endswith(b"pool.emb.npy: 1 row x 1, as given\n")
    run = gip("embed", pool, "-o", tmp_path / "mine.npy", "--vectors", tmp_path / "mine.npy")
    assert "which is the input" in error_of(run)
    run = gip("embed", pool, "-o", ".npy", "--vectors", "mine.npy", cwd=tmp_path)
    assert error_of(run) == ".npy: embeddings are named NAME.npy"


def test_skipped_rows_are_told(pool: Path, tmp_path: Path) -> None:
    pool.write_bytes(b'{"text": 1}\n' + pool.read_bytes() + b"{\n")
    np.save(tmp_path / "mine.npy", np.eye(30))
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy",
              "--skip-bad")  # fmt: skip
    assert run.returncode == 0
    assert b"2 bad rows skipped; the first: " in run.stderr
    assert b"--skip-bad" not in run.stderr  # it is on already


def test_a_store_that_is_not_reused_is_told_without_the_advice_to_run_what_runs(
    pool: Path, tmp_path: Path
) -> None:
    command = ("embed", pool, "-o", tmp_path / "pool.npy")
    assert gip(*command).returncode == 0
    (tmp_path / "pool.npy").unlink()
    said = gip(*command).stderr.decode()
    assert f"not reusing what is there: {tmp_path}/pool.npy: no such embeddings\n" in said


@pytest.mark.parametrize(
    ("name", "damage", "code", "fault"),
    [
        ("pool.npy", lambda path: path.unlink(), 2, "no such embeddings"),
        ("pool.keys.npy", lambda path: path.unlink(), 4, "missing"),
        ("pool.keys.npy", lambda path: path.write_bytes(b""), 4, "not a .npy file"),
    ],
)
def test_a_damaged_store_that_is_to_be_reused_is_told_with_what_helps(
    name: str, damage: Callable[[Path], object], code: int, fault: str, pool: Path, tmp_path: Path
) -> None:
    """To embed again, as readers of a store are told, ended the same way where -o names it, too."""
    store_given(pool, np.eye(30))
    damage(tmp_path / name)
    run = gip("embed", pool, "-o", tmp_path / "pool.npy", "--reuse", tmp_path / "pool.npy")
    assert (run.returncode, error_of(run)) == (
        code,
        f"{tmp_path / name}: {fault}; leave it out of --reuse, or make it anew "
        "(of vectors that you have by --vectors)",
    )
    store_given(pool, np.eye(30))


def test_an_interrupted_run_says_that_it_can_be_continued(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", [f"row {n}" for n in range(20_000)])
    command = [GIP, "embed", pool, "-o", tmp_path / "pool.npy"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as run:
        while not any(one.stat().st_size > 20_000 for one in tmp_path.glob(".*.journal")):
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        said = run.communicate()[1].decode().splitlines()
    assert run.returncode == 130
    assert re.fullmatch(r"gip: [\d,]+ texts encoded and kept: run again to go on", said[-2])
