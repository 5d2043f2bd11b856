"""What commands write, and what they refuse to write over: told before any work is done."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import subprocess
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from tests.toys import GIP, error_of, gip, process, store_given, write_rows


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    pool = write_rows(tmp_path / "chat.jsonl", [f"row {n}" for n in range(8)], up=3)
    store_given(pool, np.random.default_rng(0).standard_normal((8, 4)))
    return pool


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("select chat.jsonl -k 3 -o", "chat.npy"),
        ("select chat.jsonl -k 3 -o small.jsonl --receipt", "chat.json"),
        ("select chat.jsonl -k 3 -o small.jsonl --rejects", "chat.tokens.npy"),
        ("report chat.jsonl -s chat.jsonl -o", "chat.keys.npy"),
        ("score chat.jsonl --metadata q=up -o", "chat.npy"),
    ],
)
def test_embeddings_are_never_overwritten(command: str, name: str, pool: Path) -> None:
    before = contents(pool.parent)
    run = gip(*command.split(), name, cwd=pool.parent)
    assert run.returncode == 2
    assert error_of(run).startswith(f"{name}: belongs to the embeddings {pool.with_suffix('.npy')}")
    assert contents(pool.parent) == before


def test_a_name_that_the_system_refuses_is_told_as_it_was_given(pool: Path) -> None:
    name = "Small" * 60
    for check in (), ("--check",):
        run = gip("select", pool, "-k", 3, "-o", name, *check, cwd=pool.parent)
        why = f"{name}: a longer name than there can be; give a shorter one"
        assert (run.returncode, error_of(run)) == (2, why)


def test_nothing_else_is_named_like_embeddings(pool: Path) -> None:
    """`select` would take it for those of NAME.jsonl."""
    before = contents(pool.parent)
    commands = (
        ("select", pool, "-k", 3, "-o"),
        ("score", pool, "--metadata", "q=up", "-o"),
        ("report", pool, "-s", pool, "-o"),
    )
    for command in commands:
        run = gip(*command, "new.npy", cwd=pool.parent)
        told = "new.npy: a name for embeddings alone; choose another"
        assert (run.returncode, error_of(run)) == (2, told)
    assert contents(pool.parent) == before


@pytest.mark.parametrize("name", ["new.jsonl.zst", "new.xz", "new.bz2"])
def test_no_plain_text_is_named_like_a_packed_file(name: str, pool: Path) -> None:
    before = contents(pool.parent)
    for command in (("select", pool, "-k", 3, "-o"), ("score", pool, "--metadata", "q=up", "-o")):
        run = gip(*command, name, cwd=pool.parent)
        told = f"{name}: gip packs by gzip alone; name it .gz, or pack what goes to -o -"
        assert (run.returncode, error_of(run)) == (2, told)
    assert contents(pool.parent) == before


def test_output_onto_the_input_is_refused_however_it_is_named(pool: Path, tmp_path: Path) -> None:
    before = pool.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(pool)
    os.link(pool, tmp_path / "hard.jsonl")
    for other in ("chat.jsonl", "./chat.jsonl", "link.jsonl", "hard.jsonl"):
        for command in (["score", "--metadata", "s=up"], ["select", "-k", "2"]):
            run = gip(*command, pool, "-o", other, cwd=tmp_path)
            assert run.returncode == 2
            assert "the same file" in error_of(run)
    with pool.open("ab") as file:  # `>> pool.jsonl` would never end
        run = gip("score", "--metadata", "s=up", pool, stdout=file, stderr=subprocess.PIPE)
    assert run.returncode == 2
    assert pool.read_bytes() == before


def test_a_report_does_not_replace_the_receipt_that_it_reads(pool: Path) -> None:
    small, receipt = pool.with_name("small.jsonl"), pool.with_name("small.receipt.json")
    assert gip("select", pool, "-k", 3, "-o", small).returncode == 0
    before = receipt.read_bytes()
    run = gip("report", pool, "-s", small, "-o", receipt)
    assert (run.returncode, error_of(run)) == (
        2, f"{receipt}: output and input are the same file; choose another",
    )  # fmt: skip
    assert receipt.read_bytes() == before


def test_every_selection_has_a_receipt_of_its_own(pool: Path) -> None:
    names = ["a.jsonl", "a.json", "a.txt", "a.jsonl.gz"]
    for number, name in enumerate(names, 1):
        assert gip("select", pool, "-k", number, "-o", pool.with_name(name)).returncode == 0
    receipts = ["a", "a.json", "a.txt", "a.jsonl.gz"]
    for number, name in enumerate(receipts, 1):
        text = pool.with_name(f"{name}.receipt.json").read_text()
        assert json.loads(text)["picked"] == number
    run = gip("compare", *map(pool.with_name, names), "--pool", pool, "--json")
    assert run.returncode == 0, run.stderr.decode()
    run = gip("select", pool, "-k", 3, "-o", pool.with_name("a.receipt.json"))
    assert run.returncode == 2
    assert error_of(run).endswith("a receipt's name is no selection's; choose another")


def test_a_receipt_is_found_by_a_link_and_by_what_it_leads_to(pool: Path) -> None:
    link, runs = pool.with_name("link.jsonl"), pool.with_name("runs")
    runs.mkdir()
    link.symlink_to(runs / "42.jsonl")
    assert gip("select", pool, "-k", 3, "-o", link).returncode == 0
    assert link.is_symlink()
    assert {one.name for one in runs.iterdir()} == {"42.jsonl", "42.receipt.json"}
    assert not pool.with_name("link.receipt.json").exists()
    for name in (link, runs / "42.jsonl"):
        assert gip("select", pool, "-k", 3, "-o", name, "--check").returncode == 0
        run = gip("compare", name, "--pool", pool)
        assert b"No receipt" not in run.stderr


def test_a_cache_may_keep_selection_and_receipt_as_links_to_elsewhere(pool: Path) -> None:
    out, blobs = pool.with_name("small.jsonl"), pool.with_name("blobs")
    assert gip("select", pool, "-k", 3, "-o", out).returncode == 0
    blobs.mkdir()
    for number, name in enumerate(("small.jsonl", "small.receipt.json")):
        pool.with_name(name).rename(blobs / str(number))
        pool.with_name(name).symlink_to(blobs / str(number))
    assert b"No receipt" not in gip("compare", out, "--pool", pool).stderr


def test_what_is_no_file_may_take_several_outputs(pool: Path) -> None:
    out = pool.with_name("small.jsonl")
    null = ["--rejects", "/dev/null", "--receipt", "/dev/null"]
    assert gip("select", pool, "-k", 3, "-o", out, *null).returncode == 0
    assert out.read_bytes().count(b"\n") == 3


def test_below_a_file_there_is_no_directory_to_make(pool: Path) -> None:
    run = gip("select", pool, "-k", 3, "-o", pool / "small.jsonl")
    assert (run.returncode, error_of(run)) == (
        2, f"{pool / 'small.jsonl'}: not below a directory where a file was expected",
    )  # fmt: skip


def test_nor_through_a_link(pool: Path) -> None:
    link = pool.with_name("link.jsonl")
    link.symlink_to(pool.with_suffix(".npy"))
    run = gip("select", pool, "-k", 3, "-o", link)
    assert run.returncode == 2
    assert "belongs to the embeddings" in error_of(run)


@pytest.mark.parametrize(
    ("command", "name", "is_required"),
    [
        (["select", "chat.jsonl", "-k", "2", "-o", ""], "--output", False),
        (["select", "chat.jsonl", "-k", "2", "--rejects", ""], "--rejects", False),
        (["select", "chat.jsonl", "-k", "2", "--given="], "--given", False),
        (["select", "", "-k", "2"], "INPUT", True),
        (["compare", "chat.jsonl", "", "--pool", "chat.jsonl"], "FILE.jsonl", True),
        (["embed", "chat.jsonl", "-o", ""], "--output", True),
        (["score", "chat.jsonl", "--metadata", ""], "--metadata", False),
    ],
)
def test_an_empty_value_is_refused(
    command: list[str], name: str, is_required: bool, pool: Path
) -> None:
    run = gip(*command, cwd=pool.parent)
    assert run.returncode == 2
    remedy = "give it a value" if is_required else "leave it out or give it one"
    assert error_of(run) == f"{name} is empty; {remedy}"


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("select chat.jsonl -k 3 -o", "."),
        ("select chat.jsonl -k 3 -o", "/"),
        ("score chat.jsonl --metadata q=up -o", "new/"),  # without what lies beside it
        ("select chat.jsonl -k 3 -o small.jsonl --receipt", "none/x.json"),
        ("select chat.jsonl -k 3 -o small.jsonl --rejects", "folder"),
        ("report chat.jsonl -s chat.jsonl -o", "folder/"),
        ("score chat.jsonl --metadata q=up -o", "none/x.jsonl"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    command: str, output: str, pool: Path
) -> None:
    pool.with_name("folder").mkdir()
    run = gip(*command.split(), output, cwd=pool.parent)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "directory" in error_of(run)
    assert not pool.with_name("small.jsonl").exists()


def test_no_receipt_lies_beside_a_stream(pool: Path) -> None:
    command = ["select", pool, "-k", 3, "-o"]
    before = set(Path("/dev").iterdir())
    shown = process(*command, "/dev/stdout").stdout  # a pipe
    assert len(shown.splitlines()) == 3
    assert gip(*command, "/dev/null").returncode == 0
    with pool.with_name("small.jsonl").open("wb") as out:
        assert gip(*command, "/dev/stdout", stdout=out).returncode == 0
    assert pool.with_name("small.jsonl").read_bytes() == shown
    assert set(Path("/dev").iterdir()) == before
    assert not list(pool.parent.glob("*.receipt.json"))


@pytest.mark.parametrize(
    "name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1"]
)
def test_what_stands_in_the_file_of_standard_output_stays(name: str, pool: Path) -> None:
    shown = gip("select", pool, "-k", 3).stdout
    with pool.with_name("all.jsonl").open("ab", buffering=0) as out:
        out.write(b"before\n")
        assert gip("select", pool, "-k", 3, "-o", name, stdout=out).returncode == 0
        out.write(b"after\n")
    for option in ("--json", "--check"):
        assert gip("select", pool, "-k", 3, option, "-o", name).returncode == 2
    assert pool.with_name("all.jsonl").read_bytes() == b"before\n" + shown + b"after\n"
    closed = subprocess.run(["bash", "-c", f"{GIP} select {pool} -k 3 -o {name} >&-"])
    assert closed.returncode == 6


def test_a_file_opened_by_whoever_runs_the_command_is_written_to(pool: Path) -> None:
    with pool.with_name("other.jsonl").open("wb") as out:
        number = out.fileno()
        command = ["select", pool, "-k", 3, "-o", f"/dev/fd/{number}"]
        assert gip(*command, pass_fds=[number]).returncode == 0
    assert pool.with_name("other.jsonl").read_bytes() == gip("select", pool, "-k", 3).stdout


def test_a_file_that_is_called_like_standard_output_changes_nothing(pool: Path) -> None:
    pool.with_name("-").touch()
    before = contents(pool.parent)
    assert gip("select", pool, "-k", 3, cwd=pool.parent).returncode == 0
    assert contents(pool.parent) == before


@pytest.mark.parametrize(
    ("option", "name"), [("--given", "-"), ("--exclude", "/dev/stdin"), ("--target", "-")]
)
def test_a_pipe_is_no_two_inputs(option: str, name: str, pool: Path) -> None:
    command = ["select", "-", "-e", pool.with_suffix(".npy"), "-k", 3, option, name]
    run = process(*command, input=pool.read_bytes())
    why = f"{name}: two inputs from one pipe; save one to a file"
    assert (run.returncode, error_of(run), run.stdout) == (2, why, b"")


def test_a_file_as_standard_input_is_no_pipe(pool: Path) -> None:
    command = ["select", "-", "-e", pool.with_suffix(".npy"), "-k", 3, "--target"]
    with pool.open("rb") as rows:
        assert process(*command, "-", stdin=rows).returncode == 2
        assert process(*command, pool, stdin=rows).returncode == 0


def test_a_file_as_standard_input_is_read_from_where_it_stands(pool: Path) -> None:
    lines = pool.read_bytes().splitlines(keepends=True)
    command = ["select", "-", "-e", pool.with_suffix(".npy"), "-k", 7, "--order", "input"]
    with pool.open("rb", buffering=0) as rows:
        rows.seek(len(lines[0]))  # as after `read -r first` in a shell
        run = process(*command, stdin=rows)
    assert run.stdout == b"".join(lines[1:])


def test_what_other_selections_receipts_name_is_not_read(pool: Path) -> None:
    """A pipe that two of them name is read once: the first receipt's measures all."""
    given, small = write_rows(pool.with_name("given.jsonl"), ["row 4"]), []
    for k in (3, 4):
        small.append(pool.with_name(f"{k}.jsonl"))
        process("select", pool, "-k", k, "--given", "-", "-o", small[-1], input=given.read_bytes())
    done = process("compare", *small, "--pool", pool, input=given.read_bytes())
    assert (done.returncode, len(done.stdout.splitlines()) > 2) == (0, True)
    done = process("compare", *small, "--pool", "-", "-e", pool.with_suffix(".npy"), input=b"")
    told = f"-: two inputs from one pipe; {small[0].with_suffix('.receipt.json')} names it, too"
    assert (done.returncode, error_of(done)) == (2, f"{told}: use files")


def test_a_pipe_that_does_not_wait_is_read_to_its_end(pool: Path) -> None:
    lines = pool.read_bytes().splitlines(keepends=True)
    read, written = os.pipe()
    os.set_blocking(read, False)  # as children of node have it
    command = [GIP, "score", "-", "--metadata", "up=up"]
    with subprocess.Popen(command, stdin=read, stdout=subprocess.PIPE) as run:
        for line in lines:
            os.write(written, line)
            while fcntl.ioctl(read, termios.FIONREAD, bytes(4)) != bytes(4) and run.poll() is None:
                time.sleep(0.01)  # until it is read, and more is waited for
        os.close(written)
        os.close(read)
        assert run.stdout is not None
        assert len(run.stdout.read().splitlines()) == len(lines)
    assert run.returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_does_not_wait_loses_no_row_in_silence(pool: Path, unbuffered: str) -> None:
    many = write_rows(pool.with_name("many.jsonl"), [f"row {n}" for n in range(4000)], up=1)
    read, written = os.pipe()
    os.set_blocking(written, False)
    run = subprocess.run(
        [GIP, "score", many, "--metadata", "q=up"],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=written,
        stderr=subprocess.PIPE,
    )
    os.close(read)
    os.close(written)
    assert (run.returncode, "<stdout>: write could not" in error_of(run)) == (6, True)


def test_a_hyphen_is_standard_output_for_every_file(pool: Path) -> None:
    out = pool.with_name("small.jsonl")
    run = gip("select", pool, "-k", 3, "-o", out, "--receipt", "-", cwd=pool.parent)
    assert json.loads(run.stdout)["picked"] == 3
    assert not out.with_suffix(".receipt.json").exists()
    run = gip("select", pool, "-k", 3, "-o", out, "--rejects", "-", cwd=pool.parent)
    assert len(run.stdout.splitlines()) == 5
    assert not pool.with_name("-").exists()
    run = gip("select", pool, "-k", 3, "-o", out, "--receipt", "-", "--json")
    assert run.returncode == 2
    assert error_of(run).startswith("two outputs of one name")


def test_a_name_that_ends_in_gz_is_gzipped_and_the_same_each_time(pool: Path) -> None:
    plain, packed = pool.with_name("small.jsonl"), pool.with_name("small.jsonl.gz")
    assert gip("select", pool, "-k", 3, "-o", plain).returncode == 0
    assert gip("select", pool, "-k", 3, "-o", packed).returncode == 0
    first = packed.read_bytes()
    assert gzip.decompress(first) == plain.read_bytes()
    assert gip("select", pool, "-k", 3, "-o", packed).returncode == 0
    assert packed.read_bytes() == first
    assert gip("select", pool, "-k", 3, "-o", packed, "--check").returncode == 0
    assert gip("select", pool, "-k", 2, "-o", packed, "--check").returncode == 1
    packed.write_bytes(first[:-9])
    run = gip("select", pool, "-k", 3, "-o", packed, "--check")
    assert run.returncode == 1
    assert "stale" in error_of(run)
    scored = pool.with_name("scored.jsonl.gz")
    assert gip("score", pool, "--metadata", "q=up", "-o", scored).returncode == 0
    assert len(gzip.decompress(scored.read_bytes()).splitlines()) == 8
    comparing = ("compare", plain, "--pool", scored, "-e", pool.with_suffix(".npy"))
    assert gip(*comparing).returncode == 0


def test_compare_and_a_stdout_that_will_not_take_it(pool: Path) -> None:
    command = f"{GIP} compare {pool} --pool {pool}"

    def run(redirected: str) -> tuple[int, str]:
        done = subprocess.run(["bash", "-c", redirected], capture_output=True, text=True)
        return done.returncode, done.stderr.splitlines()[-1]

    for option in ("", " --json"):
        assert run(f"{command}{option} > /dev/full") == (
            6,
            "gip: error: <stdout>: no space left on device",
        )
        code, said = run(f"{command}{option} >&-")
        assert code == 6
        assert "standard output is closed" in said
        assert run(f"{command}{option} | true; exit ${{PIPESTATUS[0]}}")[0] == 141


def test_compare_gives_other_programs_whole_names(pool: Path) -> None:
    folder = pool.with_name("a" * 70)
    folder.mkdir()
    names = [str(folder / name) for name in ("one.jsonl", "two\tthree.jsonl")]
    for name in names:
        Path(name).write_bytes(pool.read_bytes())
    shown = [name.replace("\t", "\\t") for name in names]
    for one, other in (names, names[::-1]):
        lines = gip("compare", one, other, "--pool", pool).stdout.decode().splitlines()
        assert sorted(lines[0].split("\t")[1:3]) == shown
        overlap = f"overlap (Jaccard) of {one} and {other}".replace("\t", "\\t")
        assert lines[-1] == f"{overlap}\t1.000"


@pytest.mark.parametrize(
    ("name", "why"),
    [("none.jsonl", "no such file or directory"), (".", "a directory where a file")],
)
@pytest.mark.parametrize(
    "command",
    [
        "select chat.jsonl -k 3 --given",
        "select chat.jsonl -k 3 --target",
        "select chat.jsonl -k 3 --exclude",
        "compare --pool chat.jsonl",
        "report chat.jsonl -s",
    ],
)
def test_a_file_that_cannot_be_read_is_told_before_rows_are_embedded(
    command: str, name: str, why: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "chat.jsonl", ["a row"])
    run = gip(*command.split(), name, cwd=tmp_path)
    assert run.returncode == 2
    assert error_of(run).startswith(f"{name}: {why}")
    assert len(run.stderr.splitlines()) == 1
