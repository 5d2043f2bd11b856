"""Heavy libraries are loaded where they are used: not for help, nor for cached embeddings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "sentence_transformers", "transformers", "openai", "plotly", "umap"}

PROGRAM = """
import sys
from gip_cli.__main__ import main
try:
    main()
except SystemExit as end:
    code = end.code
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


def modules_of(*arguments: object) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, check=True
    )
    return set(run.stderr.decode().splitlines()[-1].split())


@pytest.mark.parametrize("command", [[], ["embed"], ["score"], ["select"], ["report"], ["compare"]])
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    assert not (HEAVY | {"numpy"}) & modules_of(*command, "--help")


def test_select_on_cached_embeddings_loads_nothing_heavy(
    sample_store: Path, tmp_path: Path
) -> None:
    pool = ROOT / "sample_data/alpaca.jsonl"
    loaded = modules_of("select", pool, "-e", sample_store, "-k", 5, "-o", tmp_path / "o.jsonl")
    assert "numpy" in loaded
    assert not HEAVY & loaded


def test_score_by_metadata_loads_nothing_heavy(tmp_path: Path) -> None:
    pool = ROOT / "sample_data/alpaca.jsonl"
    assert not HEAVY & modules_of(
        "score", pool, "--metadata", "up=upvotes", "-o", tmp_path / "o.jsonl"
    )


def test_the_package_itself_loads_not_even_numpy() -> None:
    # Nor anything, until `gip` no longer answers Ctrl-C with a traceback.
    program = "import sys; before = {*sys.modules}; import gip_cli; new = {*sys.modules} - before"
    program += "; assert new == {'gip_cli', '__future__'}, new"
    subprocess.run([sys.executable, "-S", "-c", program], check=True, cwd=ROOT)
    program = "import sys, gip_cli; assert dir(gip_cli) == ['Rules', 'Selection', 'select']"
    program += "; assert 'numpy' not in sys.modules; gip_cli.select"
    subprocess.run([sys.executable, "-c", program], check=True)
    program = "import gip_cli; gip_cli.nosuch"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert b"AttributeError: module 'gip_cli' has no attribute 'nosuch'" in run.stderr
