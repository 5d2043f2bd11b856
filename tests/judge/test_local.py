"""What a local judge is known by; what it says is tested with a real model, in test_llm."""

from __future__ import annotations

import os
from pathlib import Path

from gip_cli.judge.local import identity
from tests.toys import error_of, process, write_rows


def test_a_directory_is_known_by_its_files_whatever_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    names = [b"config.json", b"caf\xe9.bin"]  # the second is no UTF-8
    seen = set()
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(b"{}")
        seen.add(identity(str(folder)))
    (folder / os.fsdecode(names[1])).rename(folder / os.fsdecode(b"caf\xe8.bin"))
    seen.add(identity(str(folder)))
    assert len(seen) == 3
    assert all(one.startswith("model@") for one in seen)


def test_a_model_that_cannot_be_had_is_told_at_once_and_in_one_line(tmp_path: Path) -> None:
    """The hub's client tried for half a minute, and said so in eleven lines."""
    pool = write_rows(tmp_path / "pool.jsonl", ["a row"])
    judging = ("score", pool, "-o", tmp_path / "scored.jsonl", "--judge-local", "some-org/no-such")
    run = process(*judging)
    assert run.returncode == 2
    assert error_of(run).startswith("judge model 'some-org/no-such' cannot be loaded (")
    run = process("score", pool, "--judge-local", tmp_path, "-o", tmp_path / "s.jsonl")
    assert run.returncode == 2
    assert error_of(run).startswith(f"{tmp_path}: a directory without a model's config.json; --j")
    assert len(run.stderr.splitlines()) == 2  # what rows they are, and the error
