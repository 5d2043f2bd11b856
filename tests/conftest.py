"""What several modules' tests share: the sample pool, embedded once by the real model."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import filelock
import pytest
from hypothesis import settings

# Threads sleep while they wait, the model's and OpenBLAS's: other workers of `pytest -n` want the
# processor. A command takes a fifth less of it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

# Also where a shell's script has started the tests in its background, and they ignore Ctrl-C: what
# they start would, too, and never end. So would under nohup what a hang-up is to end.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The same examples in every run, and no deadline: a run that fails must not depend on luck.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: tests that wait, for a server or a signal, leave a quarter of them idle.

    On two cores all take 320 s with three workers, 380 s with two.
    """
    return 1 + (os.cpu_count() or 1)


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``alpaca.npy`` of the sample pool by the default model; read it, do not change it.

    It takes seconds of both cores, so all workers of `pytest -n` have the one of the first.
    """
    from gip_cli.encoder import load_encoder
    from gip_cli.formats import Renderer
    from gip_cli.rows import BadRows, RowFile
    from gip_cli.store import write_embeddings

    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "store"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            target = tmp_path_factory.mktemp("store") / "alpaca.npy"
            with RowFile(ROOT / "sample_data/alpaca.jsonl", BadRows(), reread=True) as rows:
                write_embeddings(rows, target, load_encoder(), Renderer.sniff(rows))
            target.parent.rename(folder)
    return folder / "alpaca.npy"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """``m``, a copy of the packaged model, to be changed; its weights are a link."""
    from tests.test_encoder import packaged_model

    folder = tmp_path / "m"
    ignored = shutil.ignore_patterns("model.safetensors")
    shutil.copytree(packaged_model(), folder, ignore=ignored)
    (folder / "model.safetensors").symlink_to(packaged_model() / "model.safetensors")
    return folder


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """How long each file, by its inode, was when it was last synced to disk; it still is."""
    lengths: dict[int, int] = {}
    sync = os.fsync

    def noted(number: int) -> None:
        sync(number)
        status = os.fstat(number)
        lengths[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", noted)
    return lengths
