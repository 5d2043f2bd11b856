"""Every command that the README shows is run, and prints what the README says.

In a ``console`` block, lines after ``$`` are commands and the others their output, of which
numbers may be a hundredth off (vectors differ from machine to machine) and ``...`` stands for
anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def examples() -> Iterator[tuple[str, list[str]]]:
    """Commands with the lines that they are said to print, in the README's order."""
    for block in blocks("console"):
        lines = block.replace("\\\n", "").splitlines()
        for at, line in enumerate(lines):
            if line.startswith("$ "):
                shown = takewhile(lambda text: not text.startswith("$ "), lines[at + 1 :])
                yield line[2:], list(shown)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh clone's root, in which the commands run one after the other."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    (folder / "build").mkdir()
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-uo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


NUMBER = r"\d+(?:[.,]\d+)*"


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(NUMBER, text)]


def unsized(lines: Iterable[str]) -> str:
    """Without the size of a page, most of which is plotly's."""
    return re.sub(rf"{NUMBER} MB", "# MB", "\n".join(line.rstrip() for line in lines))


@pytest.mark.parametrize(("command", "shown"), list(examples()))
def test_a_shown_command_prints_what_is_shown(
    command: str, shown: list[str], workplace: Path
) -> None:
    done = run(command, workplace)
    assert done.returncode == 0, done.stdout
    texts = unsized(shown).split("...")
    words = (map(re.escape, re.split(NUMBER, text)) for text in texts)
    pattern = ".*".join(f"({NUMBER})".join(between) for between in words)
    same = re.fullmatch(pattern, unsized(done.stdout.splitlines()), flags=re.S)
    assert same, f"the command printed:\n{done.stdout}"
    figures = [figure for text in texts for figure in numbers(text)]
    assert numbers(" ".join(same.groups())) == pytest.approx(figures, rel=0.01), done.stdout


def test_the_first_screen_names_the_two_commands_and_they_are_targets() -> None:
    commands = [line.split("#")[0].split() for line in blocks("sh")[0].splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text()
    for _, target in commands:
        assert re.search(rf"^{target}:", makefile, flags=re.M)
    assert README[: README.index("## Install")].count("\n") < 45


def test_the_demo_runs_the_commands_of_the_first_chain() -> None:
    made = subprocess.run(
        ["make", "--dry-run", "--always-make", "INSTALLED=", "demo"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    commands = re.findall(r"^\.venv/bin/(gip .*)$", made.stdout, flags=re.M)
    chain = re.findall(r"^\$ (gip .*)$", blocks("console")[0], flags=re.M)
    assert sorted(commands) == sorted(chain)  # make may score before it embeds


def test_the_python_example_runs(workplace: Path) -> None:
    (code,) = blocks("python")
    done = run(f"python - <<'END'\n{code}\nEND", workplace)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("[")


def test_the_make_example_makes_a_selection_once(workplace: Path, tmp_path: Path) -> None:
    (rules,) = blocks("make")
    (tmp_path / "Makefile").write_text(rules.replace("-k 1000", "-k 10"))
    (tmp_path / "pool.jsonl").write_bytes((ROOT / "sample_data/alpaca.jsonl").read_bytes())
    for made in (workplace / "build").glob("alpaca.*"):  # by the commands before: spares the model
        (tmp_path / made.name.replace("alpaca", "pool")).write_bytes(made.read_bytes())
    done = run("make && make", tmp_path)
    assert done.returncode == 0, done.stdout
    assert len((tmp_path / "small.jsonl").read_bytes().splitlines()) == 10
    assert "is up to date" in done.stdout


@pytest.mark.skipif(not shutil.which("jq"), reason="no jq")
@pytest.mark.parametrize(
    ("better", "worse", "passes"),
    [
        ("new", "old", True),
        ("old", "new", False),
        ("new", "gone", False),
        ("newer", "older", False),
    ],
)
def test_the_check_for_ci_fails_for_less_and_for_what_is_not_there(
    better: str, worse: str, passes: bool, workplace: Path, tmp_path: Path
) -> None:
    (check,) = (block for block in blocks("sh") if "jq -e" in block)
    rows = (ROOT / "sample_data/alpaca.jsonl").read_bytes().splitlines(keepends=True)
    for name, count in ((better, 20), (worse, 10)):
        if name != "gone":
            (tmp_path / f"{name}.jsonl").write_bytes(b"".join(rows[:count]))
    command = check.replace("scored.jsonl", f"{ROOT}/sample_data/alpaca.jsonl")
    command = command.replace("pool.npy", f"{workplace}/build/alpaca.npy")
    if better == "newer":  # given so, and asked for by other names
        command = command.replace("old.jsonl new.jsonl", "older.jsonl newer.jsonl")
    done = run(f"set +o pipefail; {command}", tmp_path)
    assert (done.returncode == 0) == passes, done.stdout


def test_every_command_is_documented() -> None:
    from gip_cli.cli import app

    for command in app.registered_commands:
        assert command.callback is not None
        assert f"`gip {command.callback.__name__}`" in README
