"""What the system refuses is one line and exit 6, what cannot be is exit 2; nothing is left."""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from gip_cli.embedding_files import Paths
from gip_cli.embedding_journal import EmbeddingJournal
from gip_cli.embeddings import open_embeddings
from gip_cli.errors import GipError, StorageError, UsageError
from gip_cli.formats import key_of
from gip_cli.storage import Replacements, descriptor, locked, replacing, storage_errors
from tests.toys import embed, error_of, gip, powerless, store_given, write_rows

ROWS = 1200
Command = Callable[[Path, Path], list[object]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    pool = write_rows(folder / "pool.jsonl", [f"row {n}" for n in range(ROWS)], up=1)
    store_given(pool, np.random.default_rng(0).standard_normal((ROWS, 16)))
    return folder


@pytest.fixture
def pool(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True) / "pool.jsonl"


def score(pool: Path, out: Path) -> list[object]:
    return ["score", pool, "--metadata", "s=up", "-o", out / "scored.jsonl"]


def select(pool: Path, out: Path) -> list[object]:
    return ["select", pool, "-k", 1000, "-o", out / "small.jsonl"]


def embed_given(pool: Path, out: Path) -> list[object]:
    return ["embed", pool, "-o", out / "new.npy", "--vectors", pool.with_name("vectors.npy")]


def embed_half(pool: Path, out: Path) -> list[object]:
    return [*embed_given(pool, out), "--dtype", "float16"]


COMMANDS = [score, select, embed_given]
TARGETS = {score: "scored.jsonl", select: "small.jsonl", embed_given: "new.npy"}


def refused(command: Command, pool: Path, out: Path, code: int, why: str, **options: Any) -> str:
    """The error of a command that leaves everything as it was."""
    before = names(out)
    run = gip(*command(pool, out), **options)
    assert run.returncode == code, run.stderr.decode()
    assert why in error_of(run)
    assert names(out) == before
    return error_of(run)


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir()) if out.is_dir() else []


def little(limit: int = 20_000) -> None:
    """In the child, as `ulimit -f`: a write beyond it fails as one on a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command: Command, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    refused(command, pool, tmp_path / "out", 6, "file too large", preexec_fn=little)


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "/dev/full"),
        ("-o", "small.jsonl", "--rejects", "/dev/full"),
        ("-o", "small.jsonl", "--receipt", "/dev/full"),
    ],
)
def test_no_picks_are_told_that_no_disk_has_taken(
    options: tuple[str, ...], made: Path, tmp_path: Path
) -> None:
    run = gip("select", made / "pool.jsonl", "-k", 3, *options, cwd=tmp_path)
    assert run.returncode == 6
    assert error_of(run) == "/dev/full: no space left on device"
    assert b"picked" not in run.stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_the_old_file(command: Command, pool: Path, tmp_path: Path) -> None:
    assert gip(*command(pool, tmp_path)).returncode == 0
    target = tmp_path / TARGETS[command]
    before = target.read_bytes()
    if command is embed_given:  # what is there must not be what would be written
        np.save(pool.with_name("vectors.npy"), np.ones((ROWS, 16)))
    refused(command, pool, tmp_path, 6, "file too large", preexec_fn=little)
    assert target.read_bytes() == before


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system, where the machine lets us."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        if not shutil.which("mount"):
            pytest.skip("no mount")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
        )
        if done.returncode:
            pytest.skip("may not mount")
        return place

    yield mount
    subprocess.run(["umount", place], capture_output=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_file_system(command: Command, pool: Path, tmpfs: Callable[[str], Path]) -> None:
    refused(command, pool, tmpfs("size=16k"), 6, "no space left on device")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_file_system(
    command: Command, pool: Path, tmpfs: Callable[[str], Path]
) -> None:
    refused(command, pool, tmpfs("ro"), 6, "read-only file system")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_directory(command: Command, pool: Path, tmp_path: Path) -> None:
    refused(command, pool, tmp_path / "missing", 2, "missing: no such directory; make it first")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_target_that_is_a_directory(command: Command, pool: Path, tmp_path: Path) -> None:
    (tmp_path / TARGETS[command]).mkdir()
    refused(command, pool, tmp_path, 2, "a directory where a file was expected")
    assert list((tmp_path / TARGETS[command]).iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_that_is_a_file(command: Command, pool: Path) -> None:
    refused(command, pool, pool, 2, "not below a directory where a file was expected")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_directory_without_permission(command: Command, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    refused(command, pool, tmp_path / "out", 6, "permission denied", preexec_fn=powerless)


@pytest.mark.parametrize("mode", [0o555, 0o666], ids=["no files", "no way in"])
def test_a_directory_without_permission_is_told_before_the_work(
    mode: int, pool: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir(mode)
    run = gip(*select(pool, tmp_path / "out"), preexec_fn=powerless)
    assert run.returncode == 6
    assert run.stderr.decode() == f"gip: error: {tmp_path}/out/small.jsonl: permission denied\n"


def test_a_journal_is_written_where_its_directory_is_not(pool: Path, tmp_path: Path) -> None:
    journal = tmp_path / "kept" / "judge.jsonl"
    journal.parent.mkdir()
    journal.touch()
    journal.parent.chmod(0o555)
    nobody = ("--judge-url", "http://127.0.0.1:1/v1", "--judge-model", "m", "--max-retries", 0)
    run = gip("score", pool, "-o", tmp_path / "scored.jsonl", "--journal", journal, *nobody,
              preexec_fn=powerless)  # fmt: skip
    assert run.returncode == 5, run.stderr  # that nobody answers
    assert journal.stat().st_size


@pytest.mark.parametrize("command", COMMANDS)
def test_a_write_protected_target(command: Command, pool: Path, tmp_path: Path) -> None:
    assert gip(*command(pool, tmp_path)).returncode == 0
    target = tmp_path / TARGETS[command]
    before = target.read_bytes()
    if command is embed_given:
        np.save(pool.with_name("vectors.npy"), np.ones((ROWS, 16)))
    target.chmod(0o444)
    refused(command, pool, tmp_path, 6, "write-protected", preexec_fn=powerless)
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (OSError(28, "No space left on device"), StorageError, "no space left on device"),
        (OSError("An odd one"), StorageError, "an odd one"),  # of a library, without a number
        (FileNotFoundError(), UsageError, "no such file or directory"),
        (IsADirectoryError(), UsageError, "a directory where a file was expected"),
        (NotADirectoryError(), UsageError, "not below a directory where a file was expected"),
        (OSError(40, "Too many levels"), UsageError, "too many levels of symbolic links, .*"),
    ],
    ids=repr,
)
def test_what_the_system_says_is_one_line(error: OSError, kind: type[GipError], told: str) -> None:
    with pytest.raises(kind, match=f"^x: {told}$"), storage_errors("x"):
        raise error


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "🙂" * 63], ids=["x", "é", "🙂"])
def test_a_target_may_have_the_longest_name_there_is(name: str, tmp_path: Path) -> None:
    with replacing(tmp_path / name) as file:
        file.write(b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"whole")]


def test_files_of_two_writers_at_once_are_not_mixed(tmp_path: Path) -> None:
    """Of two threads, which have no more in common here than two processes."""
    meeting = Barrier(2, timeout=60)
    pairs = []

    def put_pairs(mark: bytes) -> None:
        for _ in range(20):
            with Replacements() as together:
                for name in ("small.jsonl", "small.receipt.json"):
                    with replacing(tmp_path / name, together) as file:
                        file.write(mark)
                meeting.wait()
            if not meeting.wait():
                pairs.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
            meeting.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(put_pairs, (b"one", b"two")))
    assert len(pairs) == 20
    for pair in pairs:
        assert sorted(pair) == ["small.jsonl", "small.receipt.json"]
        assert len({*pair.values()}) == 1


def test_files_take_their_places_where_no_lock_is_to_be_had(tmp_path: Path) -> None:
    (tmp_path / ".small.jsonl.lock").mkdir()
    with Replacements() as together:
        for name in ("small.jsonl", "small.receipt.json"):
            with replacing(tmp_path / name, together) as file:
                file.write(b"whole")
    assert {path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == {b"whole"}


def test_nobody_is_waited_for_who_keeps_a_lock_for_good(pool: Path) -> None:
    """As a process that was stopped, or a server's of one that is gone: signals are not heard."""
    out = pool.with_name("small.jsonl")
    before = names(pool.parent)
    with locked(out, print):
        run = gip("select", pool, "-k", 2, "-o", out)
        assert run.returncode == 0, run.stderr.decode()
    assert names(pool.parent) == sorted([*before, "small.jsonl", "small.receipt.json"])


def test_a_link_to_no_directory_names_the_one_that_is_missing(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "scored.jsonl").symlink_to(tmp_path / "none" / "y.jsonl")
    refused(score, pool, tmp_path, 2, f"{tmp_path}/none: no such directory; make it first")
    run = gip(*score(pool, Path("none")), cwd=tmp_path)  # which is named as it was given
    assert error_of(run) == "none: no such directory; make it first"


def test_where_no_file_can_be_made(pool: Path) -> None:
    run = gip(*embed_given(pool, Path("/proc/self/fd")))
    assert run.returncode == 2
    assert error_of(run) == "/proc/self/fd/new.npy: no such file or directory"
    run = gip("select", pool, "-k", 5, "-o", "/dev/fd/9999")  # which nobody has opened
    assert run.returncode == 2
    assert error_of(run) == "/dev/fd/9999: no such file or directory"


# Of every command, each file that it reads or writes.
OF_A_PATH = [
    "embed loop.npy -o new.npy",
    "score pool.jsonl --metadata s=up -o loop",
    "select pool.jsonl -k 1 -o loop",
    "embed pool.jsonl -o new.npy --vectors loop.npy",
    "embed pool.jsonl -o new.npy --reuse loop.npy",
    "score loop.npy --metadata s=up",
    "score pool.jsonl -o new.jsonl --judge-model m --rubric loop.npy",
    "score pool.jsonl -o new.jsonl --judge-model m --judge-url http://[::1] --journal loop.npy",
    "select loop.npy -k 3",
    "select pool.jsonl -k 3 -e loop.npy",
    "select pool.jsonl -k 3 --given loop.npy",
    "select pool.jsonl -k 3 --target loop.npy",
    "select pool.jsonl -k 3 --exclude loop.npy",
    "report loop.npy -s pool.jsonl -o new.html",
    "report pool.jsonl -s loop.npy -o new.html",
    "compare loop.npy --pool pool.jsonl",
    "compare pool.jsonl --pool pool.jsonl -e loop.npy",
]


@pytest.mark.parametrize("command", OF_A_PATH)
def test_links_that_lead_to_each_other_are_no_path_that_can_be_used(
    command: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "pool.jsonl", ["a row"], up=1)
    (tmp_path / "loop.npy").symlink_to("back.npy")
    (tmp_path / "back.npy").symlink_to("loop.npy")
    (tmp_path / "loop").symlink_to("loop")
    before = names(tmp_path)
    run = gip(*command.split(), cwd=tmp_path)
    assert run.returncode == 2, run.stderr.decode()
    assert re.search(r"loop(\.npy)?: too many levels of symbolic links", error_of(run))
    assert names(tmp_path) == before


@pytest.mark.parametrize("long", ["x" * 300, "x/" * 3000 + "x"], ids=["name", "path"])
@pytest.mark.parametrize("command", OF_A_PATH)
def test_a_name_too_long_is_no_path_that_can_be_used(
    command: str, long: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "pool.jsonl", ["a row"], up=1)
    run = gip(*command.replace("loop", long).split(), cwd=tmp_path)
    assert run.returncode == 2, run.stderr.decode()
    assert re.match(
        r"[x/]+(\.npy)?: a longer name than there can be; give a shorter", error_of(run)
    )
    assert names(tmp_path) == ["pool.jsonl"]


def test_rows_without_permission(pool: Path, tmp_path: Path) -> None:
    pool.chmod(0o000)
    for command in COMMANDS:
        refused(command, pool, tmp_path, 6, "pool.jsonl: permission denied", preexec_fn=powerless)


def test_a_full_standard_output(pool: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        run = gip("select", pool, "-k", 5, stdout=full, stderr=subprocess.PIPE)
    assert run.returncode == 6
    assert error_of(run) == "<stdout>: no space left on device"
    assert b"picked" not in run.stderr


@pytest.mark.parametrize("limit", [1_000, 20_000])  # less than is written at once, and more
def test_no_room_for_temporary_files_names_their_place(
    limit: int, pool: Path, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    env = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    run = gip("select", "-", "-e", tmp_path / "pool.npy", "-k", 5, input=pool.read_bytes(),
              preexec_fn=partial(little, limit), env=env)  # fmt: skip
    assert run.returncode == 6
    assert error_of(run) == (
        f"{tmp_path / 'tmp'}: file too large; pipes and gzip are kept there while they are read: "
        "TMPDIR names another folder"
    )
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("protected", "code", "why"),
    [
        ("folder", 6, "permission denied"),
        ("files", 6, "write-protected"),
        ("links", 2, "a link, which the new file would replace"),
    ],
)
def test_a_store_that_is_up_to_date_need_not_be_written(
    protected: str, code: int, why: str, pool: Path, tmp_path: Path
) -> None:
    """As a cache has it that is only read, or keeps files as links to elsewhere."""
    out = tmp_path / "out"
    out.mkdir()
    assert gip(*embed_given(pool, out)).returncode == 0
    if protected == "links":
        out.rename(tmp_path / "blobs")
        out.mkdir()
        for blob in (tmp_path / "blobs").iterdir():
            (out / blob.name).symlink_to(blob)
    before = {path: path.lstat().st_mtime_ns for path in out.iterdir()}
    for path in {"folder": [out], "files": out.glob("new.*.npy"), "links": []}[protected]:
        path.chmod(0o555)
    run = gip(*embed_given(pool, out), preexec_fn=powerless)
    assert run.returncode == 0
    said = f"{out}/new.npy: up to date; it cannot be written, and need not be\n".encode()
    assert said in run.stderr
    assert {path: path.lstat().st_mtime_ns for path in out.iterdir()} == before
    refused(embed_half, pool, out, code, why, preexec_fn=powerless)
    write_rows(pool, [f"row {n}" for n in range(ROWS)][::-1])
    told = refused(embed_given, pool, out, code, why, preexec_fn=powerless)
    assert "--reuse" not in told  # that is of models


def test_nor_need_one_whose_first_commit_was_cut_off(pool: Path, tmp_path: Path) -> None:
    """Readers take it as it lies there."""
    out = tmp_path / "out"
    out.mkdir()
    gip(*embed_given(pool, out))
    (out / ".new.npy.commit").mkdir()
    for path in out.glob("new.*"):
        path.rename(out / ".new.npy.commit" / path.name)
    out.chmod(0o555)
    run = gip(*embed_given(pool, out), preexec_fn=powerless)
    assert run.returncode == 0
    assert b"up to date; it cannot be written" in run.stderr


STORE = """
import resource, sys
from pathlib import Path
from gip_cli.errors import GipError
from tests.toys import embed
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    embed(Path(sys.argv[1]), Path(sys.argv[2]), batch_size=16)
except GipError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("limit", [10, 5_000, 50_000])
def test_what_was_encoded_before_the_disk_was_full_is_not_encoded_again(
    limit: int, pool: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new.npy"
    run = subprocess.run(
        [sys.executable, "-c", STORE, str(pool), str(target), str(limit)], capture_output=True
    )
    assert (run.returncode, run.stdout.decode()) == (6, f"{target}: file too large\n"), run.stderr
    left = [path for path in tmp_path.iterdir() if path.name.startswith((".new", "new"))]
    assert all(path.suffix == ".journal" for path in left)
    written = embed(pool, target)
    assert written.resumed > 0 if limit > 1000 else written.resumed == 0
    assert written.encoded + written.resumed == ROWS


def test_a_models_store_that_is_up_to_date_need_not_be_written(pool: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "new.npy"
    target.parent.mkdir()
    command = [sys.executable, "-c", STORE, pool, target, "-1"]
    refusal = f"{target}: permission denied; choose another -o, and --reuse {target} beside it\n"
    for texts, told in ((ROWS, b""), (ROWS, b""), (9, refusal.encode())):
        write_rows(pool, [f"row {n}" for n in range(texts)])
        run = subprocess.run(command, capture_output=True, preexec_fn=powerless)
        assert (run.returncode, run.stdout) == (6 if told else 0, told), run.stderr
        target.parent.chmod(0o555)
    assert len(names(target.parent)) == 4


def test_a_replaced_file_keeps_its_permissions_and_a_link_its_place(
    pool: Path, tmp_path: Path
) -> None:
    target = tmp_path / "real.jsonl"
    target.touch()
    target.chmod(0o640)
    (tmp_path / "scored.jsonl").symlink_to(target)
    assert gip(*score(pool, tmp_path)).returncode == 0
    assert (tmp_path / "scored.jsonl").is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.read_bytes().count(b"\n") == ROWS


@pytest.mark.parametrize("command", [score, select])
def test_what_takes_its_place_is_whole_on_the_disk(
    command: Command, pool: Path, tmp_path: Path, synced: dict[int, int]
) -> None:
    (tmp_path / "out").mkdir()
    assert gip(*command(pool, tmp_path / "out")).returncode == 0
    written = [path.stat() for path in (tmp_path / "out").iterdir()]
    assert synced == {one.st_ino: one.st_size for one in written}


def test_files_that_belong_together_take_their_places_together_or_not_at_all(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "out.jsonl", tmp_path / "receipt.json"
    second.write_bytes(b"old")
    with Replacements() as together:
        for path in (first, second):
            with replacing(path, together) as file:
                file.write(path.name.encode())
        assert (first.exists(), second.read_bytes()) == (False, b"old")
    assert (first.read_bytes(), second.read_bytes()) == (b"out.jsonl", b"receipt.json")
    second.write_bytes(b"old")
    with (
        pytest.raises(UsageError, match=re.escape(f"{first}: a directory")),
        Replacements() as them,
    ):
        for path in (first, second):
            with replacing(path, them) as file:
                file.write(b"new")
        first.unlink()
        first.mkdir()
    assert second.read_bytes() == b"old"
    assert sorted(names(tmp_path)) == ["out.jsonl", "receipt.json"]


def test_what_is_new_beside_what_may_not_be_replaced_is_told(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("out.jsonl", "rejects", "receipt.json"))
    with (
        pytest.raises(StorageError) as error,
        Replacements() as together,
    ):
        for path in (first, second, third):
            with replacing(path, together) as file:
                file.write(b"new")
        second.mkdir()
    said = f"{second}: a directory where a file was expected; {first} is new"
    assert str(error.value) == said
    assert (first.read_bytes(), third.exists()) == (b"new", False)


def test_nobody_reads_a_file_that_is_being_made_who_may_not_read_the_old_one(
    tmp_path: Path,
) -> None:
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "b"]), tmp_path / "pool.npy"
    store_given(pool, np.eye(2))
    secret = tmp_path / "secret"
    for path in (secret, store):
        path.touch()
        path.chmod(0o4600)  # and a program of its owner's, whoever that will be
    with replacing(secret) as file:
        file.write(b"x")
        (temporary,) = tmp_path.glob(".secret.*.tmp")
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    np.save(tmp_path / "vectors.npy", np.eye(2)[::-1])
    again = gip("embed", pool, "-o", store, "--vectors", tmp_path / "vectors.npy")
    assert again.returncode == 0
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.with_name("pool.keys.npy").stat().st_mode) == 0o644
    with replacing(secret) as file:
        secret.chmod(0o640)  # meanwhile
    assert stat.S_IMODE(secret.stat().st_mode) == 0o640
    with EmbeddingJournal(Paths.of(store), open_embeddings(store).settings) as journal:
        assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["link", "//dev/stdout", "/dev/../dev/fd/1", "chain"])
def test_standard_output_by_a_longer_way_is_written_to_its_end(
    name: str, pool: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "there/below").mkdir(parents=True)
    (tmp_path / "below").symlink_to("there/below")
    assert descriptor(tmp_path / "below/../link") is None  # which is there/link, if anything
    assert descriptor(tmp_path / "below/../../link") == 1
    all_picks = tmp_path / "all.jsonl"
    all_picks.write_bytes(b"before\n")
    tmp_path.chmod(0o555)  # nothing is made beside the link, as users may not in /dev
    with all_picks.open("ab") as file:
        run = gip("select", pool, "-k", 2, "-o", name, cwd=tmp_path, stdout=file,
                  stderr=subprocess.PIPE, preexec_fn=powerless)  # fmt: skip
    assert run.returncode == 0, run.stderr
    first, *rest = all_picks.read_bytes().splitlines()
    assert (first, len(rest)) == (b"before", 2)
    assert not list(tmp_path.glob("*.receipt.json"))


def test_two_outputs_into_one_file_by_standard_output_are_refused(
    pool: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    for options in (("--json",), ("--rejects", "-"), ("--receipt", "/dev/stdout")):
        out.write_bytes(b"before\n")
        with out.open("ab") as file:
            run = gip("select", pool, "-k", 2, "-o", out, *options, stdout=file,
                      stderr=subprocess.PIPE)  # fmt: skip
        assert (run.returncode, out.read_bytes()) == (2, b"before\n")
        assert error_of(run).startswith("two outputs of one name")


def test_no_folder_for_temporary_files_is_told_as_such(pool: Path, tmp_path: Path) -> None:
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/none']"
    (tmp_path / "sitecustomize.py").write_text(nowhere)
    run = gip("select", "-", "-e", pool.with_suffix(".npy"), "-k", 1, input=pool.read_bytes(),
              env=os.environ | {"PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert run.returncode == 6
    none = "no folder takes temporary files; set TMPDIR to one that does"
    assert error_of(run) == none
    for command in (("embed", pool, "-o", tmp_path / "x.npy"), ("select", pool, "-k", 1)):
        pool.with_suffix(".npy").unlink(missing_ok=True)
        run = gip(*command, env=os.environ | {"PYTHONPATH": str(tmp_path)})
        assert (run.returncode, error_of(run)) == (6, none)


def test_a_lock_that_another_user_left_is_named(pool: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    lock = folder / ".new.npy.lock"
    lock.touch(mode=0o644)
    if os.geteuid():
        pytest.skip("may not give a file away")
    os.chown(lock, 65534, 65534)
    run = gip(*embed_given(pool, folder), preexec_fn=powerless)
    assert run.returncode == 6
    assert error_of(run).startswith(f"{lock}: a lock of somebody else's; if no gip is at work")


def test_a_lock_is_not_made_where_a_link_leads(pool: Path, tmp_path: Path) -> None:
    lock = tmp_path / ".new.npy.lock"
    lock.symlink_to(tmp_path / "elsewhere")
    run = gip(*embed_given(pool, tmp_path))
    assert run.returncode == 6
    assert error_of(run) == f"{lock}: a link, where a lock is to be; remove it"
    assert not (tmp_path / "elsewhere").exists()


@contextmanager
def mounted_by_itself(path: Path) -> Iterator[None]:
    """A file that cannot be replaced."""
    held = path.with_name("held")
    held.write_bytes(path.read_bytes())
    if (
        not shutil.which("mount")
        or subprocess.run(["mount", "--bind", held, path], capture_output=True).returncode
    ):
        pytest.skip("may not mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # also where a failure maps it


def test_a_store_whose_files_may_not_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "b"]), tmp_path / "pool.npy"
    store_given(pool, np.eye(2))
    with mounted_by_itself(store):
        np.save(tmp_path / "vectors.npy", np.eye(2)[::-1])
        run = gip("embed", pool, "-o", store, "--vectors", tmp_path / "vectors.npy")
        assert run.returncode == 6
        remedy = "device or resource busy; if it is mounted by itself, mount its folder"
        assert error_of(run) == f"{store}: {remedy}"
        np.testing.assert_array_equal(open_embeddings(store).vectors, np.eye(2))
        assert {name for name in names(tmp_path) if name.startswith(".")} == set()


def test_a_store_of_which_some_files_could_be_replaced_is_the_new_one(tmp_path: Path) -> None:
    pool, store = write_rows(tmp_path / "pool.jsonl", ["a", "b"]), tmp_path / "pool.npy"
    store_given(pool, np.eye(2))
    np.save(tmp_path / "vectors.npy", np.eye(2)[::-1])
    again = ("embed", pool, "-o", store, "--vectors", tmp_path / "vectors.npy")

    def is_new() -> None:
        opened = open_embeddings(store)
        np.testing.assert_array_equal(opened.vectors, np.eye(2)[::-1])
        assert [key.tobytes() for key in opened.keys] == [key_of("b"), key_of("c")]

    write_rows(pool, ["b", "c"])
    with mounted_by_itself(tmp_path / "pool.keys.npy"):
        assert gip(*again).returncode == 6
        is_new()
    assert gip(*again).returncode == 0
    is_new()
    assert {name for name in names(tmp_path) if name.startswith(".")} == set()


def test_vectors_written_over_while_rows_are_written_leave_no_selection(tmp_path: Path) -> None:
    texts = [letter * 200_000 for letter in "abc"]  # more than a pipe takes unread
    pool, out = write_rows(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    store_given(pool, np.eye(3))
    pipe = tmp_path / "rejects"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as threads:
        selecting = threads.submit(
            gip, "select", pool, "-k", 1, "-o", out, "--rejects", pipe, env=dict(os.environ)
        )
        with pipe.open("rb") as rejects:  # which is opened once the rows are picked
            os.utime(pool.with_suffix(".npy"), ns=(0, 0))
            rejects.read()
        run = selecting.result()
    assert run.returncode == 4
    assert error_of(run) == (
        f"{pool.with_suffix('.npy')}: was written over while it was read; run again"
    )
    assert not out.exists()
