"""What a local judge is known by; what it says is tested with a real model, in test_llm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import orjson

from gip_cli.judge.local import identity
from tests.test_encoder import packaged_model
from tests.toys import error_of, gip, process, write_rows


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
    (folder / ".cache").mkdir()
    (folder / ".cache/notes").touch()
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
    run = gip("score", pool, "--judge-local", tmp_path, "-o", tmp_path / "s.jsonl")
    assert run.returncode == 2
    assert error_of(run).startswith(f"{tmp_path}: a directory without a model's config.json; --j")
    assert len(run.stderr.splitlines()) == 2  # what rows they are, and the error


def test_what_a_models_chat_template_raises_is_one_line(tmp_path: Path) -> None:
    """As where there is none, in a dry run and in a run."""
    pool = write_rows(tmp_path / "pool.jsonl", ["a row"])
    judging = ("score", pool, "-o", tmp_path / "s.jsonl", "--judge-local", packaged_model())
    run = gip(*judging, "--dry-run")
    assert run.returncode == 2
    assert error_of(run).startswith(
        f"judge model '{packaged_model()}' cannot be loaded (Cannot use"
    )
    run = gip(*judging)
    assert run.returncode == 5
    assert "(1 model error); the last: Cannot use" in error_of(run)
    assert error_of(run).endswith("; see to the model's chat template, and to memory")


TWICE = """
import sys
from gip_cli.cli import run
print(*(run([*sys.argv[1:], *extra]) for extra in (["--dry-run"], [])))
"""


def test_nobody_is_asked_whether_a_models_code_may_run(tmp_path: Path) -> None:
    """transformers would ask on the terminal, or a pipe, and take `y` for trust."""
    model, ran = tmp_path / "m", tmp_path / "ran"
    shutil.copytree(packaged_model(), model)
    auto = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (model / "config.json").write_bytes(orjson.dumps({"model_type": "x", "auto_map": auto}))
    (model / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\n")
    pool = write_rows(tmp_path / "pool.jsonl", ["a row"])
    judging = ("score", pool, "-o", tmp_path / "s.jsonl", "--judge-local", model)
    command = [sys.executable, "-c", TWICE, *map(str, judging)]
    run = subprocess.run(command, input=b"y\n" * 9, capture_output=True)
    assert run.stdout == b"2 2\n"
    assert run.stderr.count(b"\ngip: error: judge model ") == 2
    assert not ran.exists()
