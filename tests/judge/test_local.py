"""What a local judge is known by; what it says is tested with a real model, in test_llm."""

from __future__ import annotations

import os
from pathlib import Path

from gip_cli.judge.local import identity


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
