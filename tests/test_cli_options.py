"""Options that all commands share, and what is said of those that make no sense."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tests.toys import GIP, error_of, gip, write_rows

COMMANDS = ("embed", "score", "select", "report", "compare")


@cache
def help_at_80_columns(*command: str) -> str:
    return gip(*command, "--help", env={**os.environ, "COLUMNS": "80"}).stdout.decode()


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_the_help_is_whole_at_80_columns(command: list[str]) -> None:
    shown = help_at_80_columns(*command)
    assert max(map(len, shown.splitlines())) == 80
    assert "…" not in shown
    assert "<bool>" not in shown
    assert ("--quiet" if command else "--version") in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_and_remarks_in_the_help_keep_their_lines_at_80_columns(command: str) -> None:
    shown = help_at_80_columns(command)
    text = inspect.getdoc(getattr(import_module(f"gip_cli.cli.{command}"), command)) or ""
    lines = [line.strip() for line in text.splitlines()[1:]]
    assert not {line for line in lines if line not in {*map(str.strip, shown.splitlines()), "\b"}}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_all_commands_take_comes_last_in_one_order(command: str) -> None:
    shown = gip(command, "--help").stdout.decode()
    panel = shown.partition("─ Options ─")[2].partition("╰")[0]
    last = ["--format", "--text-field", "--part", "--skip-bad", "--quiet", "--help"]
    if command != "embed":
        last.remove("--part")
    assert re.findall(r"^│ [* ]*(--[a-z-]+)", panel, flags=re.M)[-len(last) :] == last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("x --dedup 1", "No such option: --dedup (Possible options: --dedup-threshold)"),
        (
            "x --exclud y",
            "No such option: --exclud (Possible options: --exclude, --exclude-threshold)",
        ),
        ("x --dedup-treshold 1", "--dedup-treshold (Possible options: --dedup-threshold, "),
        ("x --help=3", "Option '--help' does not take a value."),
        ("x -k", "Option '-k' requires an argument."),
        (
            "a b -k 1",
            "(b); an option takes one value, the output goes to -o; rows of several files: "
            "cat FILES | gip select -",
        ),
        ("-k 1", "Missing argument 'INPUT'. Rows: JSONL, gzipped JSONL or a JSON array; - is "),
    ],
)
def test_what_is_missing_or_begun_is_said(arguments: str, message: str) -> None:
    run = gip("select", *arguments.split())
    assert run.returncode == 2
    assert message in error_of(run)


def test_an_option_before_its_command_is_told_where_it_goes() -> None:
    for option in ("-q", "--quiet", "--json"):  # the last of which is somewhat like --version
        run = gip(option, "select", "x")
        place = f"No such option: {option}; it goes after the command: gip select {option}"
        assert (run.returncode, error_of(run)) == (2, place)
    assert error_of(gip("--no-such", "select", "x")) == "No such option: --no-such"


def test_a_file_that_looks_like_an_option_is_named_as_it_must_be_given(tmp_path: Path) -> None:
    write_rows(tmp_path / "-dash.jsonl", [{"text": "a"}])
    run = gip("select", "-dash.jsonl", "-k", 1, cwd=tmp_path)
    assert run.returncode == 2
    assert error_of(run) == ("No such option: -d (for the file of such a name, give ./-dash.jsonl)")


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    command = f"mkdir {gone}; cd {gone}; rmdir {gone}; {GIP} select a.jsonl -k 1"
    run = subprocess.run(["sh", "-c", command], capture_output=True)
    assert run.returncode == 6
    assert error_of(run) == "working directory: no such file or directory"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("select x -k 2.5", "Invalid value for '--num' / '-k': should be a valid integer"),
        (
            "select x -k 2 --pursuit foo",
            "Invalid value for '--pursuit': 'foo' is not one of 'projection', 'information', "
            "'residual'.",
        ),
        (
            "score x --max-retries -1",
            "Invalid value for '--max-retries': should be greater than or equal to 0",
        ),
        *(
            (
                f"select x {option} {2**40 + 1}",
                f"{option.split()[-1]} {2**40 + 1} is too large; the largest is {2**40}",
            )
            for option in (
                "--num",
                "--tokens",
                "--group-field g --per-group",
                "-k 1 --group-field g --max-per-group",
            )
        ),
        (
            "embed x -o o.npy --batch-size 99999999999999999999",
            "Invalid value for '--batch-size': should be less than or equal to 65536",
        ),
        (
            "score x --max-concurrent-requests 1001",  # more than the client's pool connects
            "Invalid value for '--max-concurrent-requests': should be less than or equal to 1000",
        ),
        (
            "score POOL --judge-local /nope",
            "/nope: no such directory; --judge-local takes a directory with a causal model, its "
            "tokeniser and chat template",
        ),
    ],
)
def test_a_wrong_value_is_told_in_our_own_words(arguments: str, message: str) -> None:
    pool = Path(__file__).parent.parent / "sample_data/text.jsonl"
    run = gip(*arguments.replace("POOL", str(pool)).split())
    assert run.returncode == 2
    assert error_of(run) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("score POOL --metadata n=n --timeout 3", "no judge is named"),
        ("score POOL --metadata n=n --keep-probabilities", "no judge is named"),
        ("score POOL --judge-model m --price-per-mtok 1", "--price-per-mtok goes with --dry-run"),
        ("score POOL --judge-model m --require", "--require goes with --metadata"),
        ("select POOL -k 2 --no-signals --signal-weight 2", "exclude each other"),
        ("select POOL -k 2 -o o --check --rejects -", "--check compares files, - is none"),
        ("select POOL -k 2 --target-weight 2", "--target-weight goes with --target"),
    ],
)
def test_options_that_would_do_nothing_are_refused(arguments: str, message: str) -> None:
    pool = Path(__file__).parent.parent / "sample_data/text.jsonl"
    run = gip(*arguments.replace("POOL", str(pool)).split())
    assert run.returncode == 2
    assert message in error_of(run)


def of_sample(arguments: str) -> list[str]:
    pool = Path(__file__).parent.parent / "sample_data/text.jsonl"
    return arguments.replace("POOL", str(pool)).split()


@pytest.mark.parametrize(
    "arguments",
    [
        "embed POOL -o o.npy --text-field",
        "embed POOL -o o.npy --model",
        "score POOL --metadata",
        "score POOL --judge-url",
        "select POOL -k 2 --group-field",
        "select POOL -k 2 --signal",
        "compare POOL --pool POOL --text-field",
    ],
)
def test_text_that_is_not_utf_8_is_refused(arguments: str, tmp_path: Path) -> None:
    run = gip(*of_sample(arguments), os.fsdecode(b"a=\xff"), cwd=tmp_path)
    assert run.returncode == 2
    assert error_of(run) == f"{arguments.split()[-1]} is not UTF-8; write it in UTF-8"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        "embed POOL -o o.npy --reuse",
        "embed POOL -o o.npy --vectors",
        "select POOL -k 2 -e",
        "select POOL -k 2 -e POOL --given",
        "compare POOL --pool POOL -e",
        "report POOL -o o.html -s",
    ],
)
def test_a_file_may_be_of_any_name(arguments: str, tmp_path: Path) -> None:
    run = gip(*of_sample(arguments), os.fsdecode(b"not \xff.npy"), cwd=tmp_path)
    assert run.returncode in (2, 6)
    assert error_of(run).startswith(r"not \xff.npy: no such ")


def test_quiet_says_nothing_but_errors(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", [f"row {n}" for n in range(6)], up=3)
    np.save(tmp_path / "mine.npy", np.eye(6))
    out, scored = tmp_path / "small.jsonl", tmp_path / "scored.jsonl"
    for command in (
        ["embed", pool, "-o", tmp_path / "pool.npy", "--vectors", tmp_path / "mine.npy"],
        ["score", pool, "-o", scored, "--metadata", "up=up"],
        ["select", scored, "-e", tmp_path / "pool.npy", "-k", 2, "-o", out],
        ["compare", out, "--pool", scored, "-e", tmp_path / "pool.npy"],
        ["report", scored, "-e", tmp_path / "pool.npy", "-s", out, "-o", tmp_path / "o.html"],
    ):
        run = gip(*command, "-q")
        assert run.returncode == 0
        assert run.stderr == b""
    run = gip("select", pool, "-k", 0, "--quiet")
    assert error_of(run) == "-k 0 is not a positive number"
