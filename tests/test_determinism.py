"""The same rows give the same bytes, whatever threads, order or batches they came through.

Picks cannot flip with the number of BLAS threads although sums are then made in another order:
rows whose gains differ by less than rounding are compared once more in float64 (design 2.5), and
of those that are still equal the lowest row wins.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from gip_cli.encoder import load_encoder
from gip_cli.formats import Renderer
from gip_cli.rows import BadRows, RowFile
from gip_cli.store import write_embeddings
from tests.toys import ToyEncoder, embed, gip, store_given, write_rows

ROOT = Path(__file__).parent.parent
POOL = ROOT / "sample_data/alpaca.jsonl"


def threaded(threads: int) -> dict[str, str]:
    number = str(threads)
    return os.environ | {"OPENBLAS_NUM_THREADS": number, "OMP_NUM_THREADS": number}


def select(pool: Path, store: Path, out: Path, *options: object, threads: int = 2) -> bytes:
    run = gip("select", pool, "-e", store, "-o", out, *options, env=threaded(threads))
    assert run.returncode == 0, run.stderr
    return out.read_bytes()


def receipt(out: Path) -> dict[str, object]:
    figures = json.loads(out.with_suffix(".receipt.json").read_text())
    figures.pop("time")
    return figures


def test_two_runs_give_the_same_bytes(sample_store: Path, tmp_path: Path) -> None:
    runs = []
    for _ in range(2):
        picked = select(POOL, sample_store, tmp_path / "o.jsonl", "-k", 50, "--annotate")
        runs.append((picked, receipt(tmp_path / "o.jsonl")))
    assert runs[0] == runs[1]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows enough that BLAS divides them, and every tenth row again, so that there are ties."""
    folder = tmp_path_factory.mktemp("large")
    texts = [f"row {n}" for n in range(5000)]
    vectors = np.random.default_rng(0).standard_normal((5000, 96)).astype(np.float32)
    vectors[1::10] = vectors[::10]
    pool = write_rows(folder / "pool.jsonl", texts)
    store_given(pool, vectors)
    return pool


def test_one_thread_and_two_pick_the_same_rows(large: Path, tmp_path: Path) -> None:
    store = large.with_name("pool.npy")
    one = select(large, store, tmp_path / "one.jsonl", "-k", 600, threads=1)
    two = select(large, store, tmp_path / "two.jsonl", "-k", 600, threads=2)
    assert one == two
    first, second = (receipt(tmp_path / name) for name in ("one.jsonl", "two.jsonl"))
    assert first["captured"] == pytest.approx(second["captured"], rel=1e-9)


def test_one_thread_and_two_measure_a_selection_alike(large: Path, tmp_path: Path) -> None:
    """To the last bit: no product is divided among threads, nor waits for any."""
    select(large, large.with_name("pool.npy"), tmp_path / "s.jsonl", "-k", 600)
    for command in (("report", large, "-s"), ("compare", "--json", "--pool", large)):
        found = {gip(*command, tmp_path / "s.jsonl", env=threaded(n)).stdout for n in (1, 2)}
        assert len(found) == 1
        assert len(found.pop()) > 500


def test_shuffled_rows_give_the_same_selection(large: Path, tmp_path: Path) -> None:
    """Of rows without ties: where there are, the first in the file is picked, as it must be."""
    lines = [line for n, line in enumerate(large.read_bytes().splitlines(True)) if n % 10 != 1]
    orders = []
    for seed in (None, 1):
        if seed is not None:
            random.Random(seed).shuffle(lines)
        shuffled = tmp_path / f"{seed}.jsonl"
        shuffled.write_bytes(b"".join(lines))
        store = large.with_name("pool.npy")  # joined by key
        picked = select(shuffled, store, tmp_path / "o.jsonl", "-k", 300)
        orders.append(picked.splitlines())
    assert orders[0] == orders[1]  # even in the order picked, so also after sorting


def test_batches_do_not_show_in_a_store(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", [f"row {n}" + " w" * (n % 9) for n in range(300)])
    for batch_size in (1, 64):
        embed(pool, tmp_path / f"{batch_size}.npy", ToyEncoder(), batch_size=batch_size)
    for part in ("npy", "keys.npy", "tokens.npy", "json"):
        one, many = (tmp_path / f"{batch_size}.{part}" for batch_size in (1, 64))
        assert one.read_bytes() == many.read_bytes()


def test_the_selection_does_not_depend_on_the_batches_of_the_real_model(tmp_path: Path) -> None:
    """A model's vectors differ in their last bits from batch to batch; a store keeps its own."""
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(b"".join(POOL.read_bytes().splitlines(True)[:40]))
    encoder = load_encoder()
    picks = []
    for batch_size in (1, 64):
        store = tmp_path / f"{batch_size}.npy"
        with RowFile(pool, BadRows(), reread=True) as rows:
            write_embeddings(rows, store, encoder, Renderer.sniff(rows), batch_size=batch_size)
        picks.append(select(pool, store, tmp_path / f"{batch_size}.jsonl", "-k", 15))
    np.testing.assert_allclose(np.load(tmp_path / "1.npy"), np.load(tmp_path / "64.npy"), atol=1e-5)
    assert picks[0] == picks[1]


def test_score_gives_the_same_bytes_from_file_pipe_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "pool.gz").write_bytes(gzip.compress(POOL.read_bytes()))
    options = ("--metadata", "up=upvotes")
    wanted = gip("score", POOL, *options).stdout
    assert gip("score", "-", *options, input=POOL.read_bytes()).stdout == wanted
    assert gip("score", tmp_path / "pool.gz", *options).stdout == wanted
