"""What the system may refuse, as one-line errors; files written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

import filelock

from gip_cli.errors import StorageError, UsageError
from gip_cli.interrupts import put_off
from gip_cli.printable import Tell

LFS_POINTER = b"version https://git-lfs"  # how Git's stand-in for a large file begins


@contextmanager
def storage_errors(name: str | Path) -> Iterator[None]:
    """Turn what the system refuses into the one-line errors of `gip_cli.errors`."""
    try:
        yield
    except FileNotFoundError:
        raise UsageError("no such file or directory", path=name) from None
    except (IsADirectoryError, NotADirectoryError) as error:
        what = "a directory" if isinstance(error, IsADirectoryError) else "not below a directory"
        raise UsageError(f"{what} where a file was expected", path=name) from None
    except BrokenPipeError:
        raise  # the reader of our output has gone: the command line ends quietly
    except OSError as error:
        if error.errno == errno.ELOOP:
            what = "too many levels of symbolic links, as a loop has"
            raise UsageError(what, "name the file itself", path=name) from None
        remedy = "if it is mounted by itself, mount its folder" * (error.errno == errno.EBUSY)
        raise StorageError((error.strerror or str(error)).lower(), remedy, path=name) from None


_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def descriptor(path: str | Path) -> int | None:
    """The number of the open file that a path stands for, as ``/dev/stdout`` and ``/dev/fd/3`` do.

    What it leads to may be a regular file (``> all.jsonl``), which others write to as well.
    """
    named = re.fullmatch(r"(?:/dev|/proc/self)/fd/(\d{1,9})", str(path))
    number = int(named[1]) if named else _STREAMS.get(str(path))
    with suppress(OSError):
        if number is not None:
            os.fstat(number)
            return number
    return None


def writable(path: str | Path) -> Path:
    """Where `path` leads, links followed, if a file may be put there; raises as `replacing`."""
    with storage_errors(path):
        if Path(path).is_dir() or str(path).endswith(os.sep):
            raise IsADirectoryError
        if _written_directly(Path(path)):
            return Path(path)  # the links of /dev/stdout may lead to what has no name
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            if target.parent.exists():
                raise NotADirectoryError
            missing = target if Path(path).is_symlink() else Path(path)
            raise UsageError("no such directory", "make it first", path=missing.parent)
        if target.is_file() and not os.access(target, os.W_OK):
            raise PermissionError(0, "write-protected")
    return target


def replaceable(path: str | Path) -> Path:
    """As `writable`, for what is written beside its place first: its folder has to be, too."""
    target = writable(path)
    with storage_errors(path):
        beside = os.access(target.parent, os.W_OK | os.X_OK)
        if not (beside or _written_directly(target)):
            fixed = os.statvfs(target.parent).f_flag & os.ST_RDONLY
            raise PermissionError(0, "read-only file system" if fixed else "permission denied")
    return target


def _written_directly(path: Path) -> bool:
    return descriptor(path) is not None or (path.exists() and not path.is_file())


class Replacements:
    """Files that take their places when the block ends well: all are whole before the first does.

    The file opened first is renamed first: where that fails, no old file has been replaced. A
    signal amid it waits.
    """

    def __init__(self) -> None:
        self._files: list[tuple[str | Path, Path, Path]] = []

    def add(self, path: str | Path, temporary: Path, target: Path) -> None:
        """Let `temporary` take the place of `target`, which was named `path`."""
        self._files.append((path, temporary, target))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with put_off(), ExitStack() as leftovers:
            for file in self._files:
                leftovers.callback(file[1].unlink, missing_ok=True)
            if kind is None:
                for path, temporary, target in self._files:
                    with storage_errors(path):
                        temporary.replace(target)


@contextmanager
def replacing(path: str | Path, together: Replacements | None = None) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends well, or `together`.

    It is written beside `path`, flushed to disk and renamed: a reader sees the old file or
    the whole new one. On an error nothing is left. What is not a regular file (a pipe), or is
    open already (``/dev/stdout``), is written to directly.

    Raises
    ------
    UsageError
        `path` is a directory or its directory is missing.
    StorageError
        The system refuses (disk full, permission), or the old file is write-protected.
    """
    target = replaceable(path)
    with storage_errors(path):
        if _written_directly(target):
            number = descriptor(target)
            opened = target.open("wb") if number is None else os.fdopen(os.dup(number), "wb")
            with opened as stream:
                yield stream
            return
        # Not the target's name in full, which may be as long as names can be. It is known before
        # the file is there, so that no signal comes between making it and knowing what to remove.
        temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.tmp")
        if together is not None:
            together.add(path, temporary, target)
        try:
            with temporary.open("xb", buffering=1 << 20) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            if together is None:
                temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def locked(path: Path, note: Tell) -> Iterator[None]:
    """One writer of `path` at a time; who has to wait is told.

    The lock dies with its process. Its file, beside `path`, is removed while it is still held,
    which waiters notice (filelock opens the path anew when the file it locked is gone).
    """
    place = path.with_name(f".{path.name}.lock")
    # filelock would make a folder that is missing, and tries again for ever where no file can be
    # made, as below /proc.
    place.touch()
    lock = filelock.FileLock(place)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        note(f"another gip is writing {path}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        lock.release()
