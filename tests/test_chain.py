"""embed, score and select in a chain, with the real model, on rows whose worth is known."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests import toys

ROOT = Path(__file__).parent.parent
POOL = ROOT / "sample_data/alpaca.jsonl"
SHARED = ROOT.parent / "shared/data"

# Lines of POOL, known from its writing: answers that are plainly bad, and rows that say again
# what another row says.
BAD = {
    *(1, 4, 22, 28, 38, 41, 43, 54, 63, 74, 84, 95, 100),
    *(112, 122, 128, 133, 139, 145, 149, 154, 176, 182, 199, 200),
}
# fmt: off
REPEATS = {
    5: 90, 9: 201, 14: 146, 18: 151, 19: 3, 23: 103, 35: 55, 49: 96, 64: 108, 69: 2, 73: 195,
    75: 48, 78: 143, 87: 163, 89: 11, 111: 62, 121: 45, 127: 179, 132: 119, 152: 191,
    168: 16, 180: 39, 181: 77, 188: 140, 197: 167,
}
# fmt: on


def gip(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    done = toys.gip(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done


def lines_of(selection: Path) -> list[int]:
    """Which lines of the pool a selection holds, in its order; of equal lines the first."""
    pool = POOL.read_bytes().splitlines()
    return [pool.index(line) + 1 for line in selection.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scored") / "scored.jsonl"
    gip("score", POOL, "-o", out, "--metadata", "rating=meta.rating", "--range", "rating=1:5")
    return out


@pytest.mark.parametrize("k", [20, 60])
def test_a_scored_selection_has_no_bad_row_and_no_row_twice(
    k: int, scored: Path, sample_store: Path, tmp_path: Path
) -> None:
    gip("select", scored, "-e", sample_store, "-k", k, "-o", tmp_path / "small.jsonl")
    picked = lines_of(tmp_path / "small.jsonl")
    assert len(set(picked)) == k
    assert not BAD & set(picked)
    assert not [line for line in picked if REPEATS.get(line) in picked]


def test_without_signals_repeats_are_still_left_out(sample_store: Path, tmp_path: Path) -> None:
    gip("select", POOL, "-e", sample_store, "-k", 60, "-o", tmp_path / "small.jsonl")
    picked = lines_of(tmp_path / "small.jsonl")
    assert not [line for line in picked if REPEATS.get(line) in picked]


def test_targets_draw_the_selection_to_their_task(sample_store: Path, tmp_path: Path) -> None:
    target = ROOT / "sample_data/target.jsonl"  # arithmetic word problems
    shares = []
    for name, options in (("without", ()), ("with", ("--target", target, "--self-weight", 0))):
        out = tmp_path / f"{name}.jsonl"
        gip("select", POOL, "-e", sample_store, "-k", 12, "-o", out, *options)
        topics = [orjson.loads(line)["meta"]["topic"] for line in out.read_bytes().splitlines()]
        shares.append(topics.count("arithmetic"))
    assert shares[1] >= 2 * shares[0]


def test_one_step_on_conversations_makes_its_own_embeddings(tmp_path: Path) -> None:
    pool = ROOT / "sample_data/messages.jsonl"
    done = gip("select", pool, "-k", 5, "-o", tmp_path / "small.jsonl")
    picked = (tmp_path / "small.jsonl").read_bytes().splitlines()
    assert len(set(picked)) == 5
    assert set(picked) <= set(pool.read_bytes().splitlines())
    assert b"no embeddings given" in done.stderr


def test_the_pool_may_be_shuffled_after_it_was_embedded(sample_store: Path, tmp_path: Path) -> None:
    def texts(lines: bytes) -> list[tuple[str, str]]:
        # Of word-for-word repeats either may be picked: they differ in metadata alone.
        rows = map(orjson.loads, lines.splitlines())
        return sorted((row["instruction"], row["output"]) for row in rows)

    gip("select", POOL, "-e", sample_store, "-k", 30, "-o", tmp_path / "small.jsonl")
    backwards = b"".join(reversed(POOL.read_bytes().splitlines(keepends=True)))
    done = gip("select", "-", "-e", sample_store, "-k", 30, input=backwards)
    assert texts(done.stdout) == texts((tmp_path / "small.jsonl").read_bytes())


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
def test_real_rows_scored_and_piped_keep_their_bytes(tmp_path: Path) -> None:
    """Two published labels on real rows: scored and stripped again, a line is the line it was."""
    head = (SHARED / "alpaca_9k.jsonl").read_bytes().splitlines(keepends=True)[:100]
    (tmp_path / "pool.jsonl").write_bytes(b"".join(head))
    np.save(tmp_path / "minilm.npy", np.load(SHARED / "alpaca_9k.minilm.npy", mmap_mode="r")[:100])
    vectors = ("--vectors", tmp_path / "minilm.npy")
    gip("embed", tmp_path / "pool.jsonl", "-o", tmp_path / "pool.npy", *vectors)
    labels = ("acc=judge.accuracy_ge_4_5", "ifd=ifd_top5pct")
    options = [part for label in labels for part in ("--metadata", label)]
    scored = gip("score", tmp_path / "pool.jsonl", *options).stdout
    done = gip("select", "-", "-e", tmp_path / "pool.npy", "-k", 30, input=scored)
    picked = done.stdout.splitlines(keepends=True)
    assert len(picked) == 30
    assert set(picked) <= set(head)
