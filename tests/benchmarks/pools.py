"""Pools of any size with the spectra of real embeddings: mixed and jittered, seeded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from gip_cli.pursuit.source import Source
from gip_cli.pursuit.team import Team

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "bench"
SHARED = ROOT.parent / "shared" / "data"
JITTER = 0.3  # norm of the noise added to a row, whose own norm is at most 1
BLOCK = 16384


def real_embeddings() -> tuple[np.ndarray, str]:
    """(n, d) float32 unit rows, and where they are from.

    The two files of real data beside the repository, else sample_data embedded by the default
    model, so that anyone can run it.
    """
    files = [SHARED / "alpaca_9k.minilm.npy", SHARED / "gsm8k_train.minilm.npy"]
    if not all(file.exists() for file in files):
        BUILD.mkdir(parents=True, exist_ok=True)
        files = [BUILD / "sample.npy"]
        gip = Path(sys.executable).with_name("gip")
        rows = ROOT / "sample_data" / "alpaca.jsonl"
        subprocess.run([gip, "embed", rows, "-o", files[0]], check=True)
    rows = np.concatenate([np.load(file).astype(np.float32) for file in files])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), ", ".join(f.name for f in files)


def pool(m: int, dtype: str = "float32", seed: int = 0) -> Path:
    """The .npy file of a pool of m rows, made if it is not there.

    Each row is a mixture of two real ones, the first weighing at least half, plus a jitter in
    all directions, normalised. A smaller pool is the beginning of a larger one.
    """
    path = BUILD / f"pool-{m}-{dtype}.npy"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    real, _ = real_embeddings()
    rng = np.random.default_rng(seed)
    d = real.shape[1]
    partial = path.with_suffix(".partial")
    rows = np.lib.format.open_memmap(partial, "w+", np.dtype(dtype), (m, d))
    for start in range(0, m, BLOCK):
        share = rng.uniform(0.5, 1.0, (BLOCK, 1)).astype(np.float32)
        block = share * real[rng.integers(len(real), size=BLOCK)]
        block += (1 - share) * real[rng.integers(len(real), size=BLOCK)]
        block += JITTER / np.sqrt(d) * rng.standard_normal((BLOCK, d), dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        rows[start : start + BLOCK] = block[: m - start]
    rows.flush()
    partial.rename(path)
    return path


def self_query(F: np.ndarray) -> np.ndarray:
    """(d, d) F^T F of unit trace, block by block."""
    with Team() as team:
        K = Source(F).gram(team)
    return K / np.trace(K)
