"""What tests of the store and of the command line share: a model of arithmetic, small pools."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from hashlib import blake2b
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.cli import run
from gip_cli.encoder import Encoded, Encoder, ModelCard
from gip_cli.formats import Renderer
from gip_cli.rows import BadRows, RowFile
from gip_cli.store import Written, write_embeddings

GIP = Path(sys.executable).with_name("gip")


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the installed command; whatever it is given, it must not show a traceback."""
    done = subprocess.run(
        [GIP, *map(str, arguments)], capture_output="stdout" not in options, timeout=100, **options
    )
    assert b"Traceback" not in (done.stderr or b""), done.stderr.decode()
    return done


def gip(
    *arguments: object, cwd: str | Path = ".", **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command within this process, whose start takes longer than what most commands do.

    With options of `subprocess.run`, which need one, it is a `process` of its own.
    """
    if options:
        return process(*arguments, cwd=cwd, **options)
    command = [*map(str, arguments)]
    out, err = (TextIOWrapper(BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), chdir(cwd):
        code = run(command)
    written = (stream.detach().getvalue() for stream in (out, err))
    return subprocess.CompletedProcess(command, code, *written)


def error_of(run: subprocess.CompletedProcess[bytes]) -> str:
    """The one line of an error, which is the last that a failed run says."""
    lines = run.stderr.decode().splitlines()
    assert [line for line in lines if line.startswith("gip: error: ")] == lines[-1:], lines
    return lines[-1].removeprefix("gip: error: ")


def powerless() -> None:
    """In the child: root loses what lets it pass by permissions (CAP_DAC_*)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


class ToyEncoder:
    """Unit vectors that follow from the text's digest alone, after `delay` seconds a text."""

    def __init__(self, name: str = "toy", dimension: int = 8, delay: float = 0) -> None:
        self.card = ModelCard(name, None, "none", dimension, 16, 2, "")
        self.texts: list[str] = []  # encoded so far, in order
        self._delay = delay

    def encode(self, texts: Sequence[str]) -> Encoded:
        time.sleep(self._delay * len(texts))
        self.texts += texts
        return Encoded(
            np.stack([self.vector(text) for text in texts]),
            np.array([len(text.split()) for text in texts]),
        )

    def vector(self, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        seed = int.from_bytes(blake2b(f"{self.card.model} {text}".encode()).digest()[:8])
        vector = np.random.default_rng(seed).standard_normal(self.card.dimension)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def write_rows(path: Path, texts: Sequence[str], **members: Any) -> Path:
    """A pool in the text format; `members` are added to every row."""
    lines = [orjson.dumps({"text": text, **members}) for text in texts]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def store_given(pool: Path, vectors: npt.ArrayLike) -> None:
    """Make a pool's sibling store by the command, of `vectors`, which are kept beside it."""
    given = pool.with_name("vectors.npy")
    np.save(given, vectors)
    stored = gip("embed", pool, "-o", pool.with_suffix(".npy"), "--vectors", given)
    assert stored.returncode == 0


def embed(pool: Path, target: Path, encoder: Encoder | None = None, **options: Any) -> Written:
    """The store `target` of a pool in the text format, by a toy model."""
    with RowFile(pool, BadRows(), reread=True) as rows:
        return write_embeddings(rows, target, encoder or ToyEncoder(), Renderer("text"), **options)
