"""What the system may refuse, as one-line errors; files written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, Self

import filelock

from gip_cli.errors import GipError, StorageError, UsageError
from gip_cli.interrupts import put_off
from gip_cli.printable import Tell, agreeing

LFS_POINTER = b"version https://git-lfs"  # how Git's stand-in for a large file begins


@contextmanager
def storage_errors(name: str | Path, remedy: str = "") -> Iterator[None]:
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
        if error.errno == errno.ENAMETOOLONG:
            raise too_long(name) from None
        if error.errno == errno.EBUSY:
            remedy = "if it is mounted by itself, mount its folder"
        raise StorageError((error.strerror or str(error)).lower(), remedy, path=name) from None


def too_long(name: str | Path) -> UsageError:
    """The error for a path that the system does not take for its length."""
    return UsageError("a longer name than there can be", "give a shorter one", path=name)


_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_MOST_LINKS = 40  # that lead to one another, as Linux has it
_RENAMING = 2.0  # seconds at most; no signal is heard while another process is waited for


def descriptor(path: str | Path) -> int | None:
    """The number of the open file that a path stands for, as ``/dev/stdout`` and ``/dev/fd/3`` do.

    So does a link to such a name. What it leads to may be a regular file (``> all.jsonl``), which
    others write to as well.
    """
    name, folders = str(path), rf"/dev/fd|/proc/{os.getpid()}/(?:task/\d+/)?fd"
    with suppress(OSError):
        for _ in range(_MOST_LINKS):
            folder, last = os.path.realpath(Path(name).parent), Path(name).name
            number = _STREAMS.get(f"{folder}/{last}")
            if number is None and re.fullmatch(folders, folder) and last.isdecimal():
                number = int(last)
            if number is not None:
                os.fstat(number)
                return number
            name = str(Path(folder) / Path(name).readlink())
    return None


def writable(path: str | Path) -> Path:
    """Where `path` leads, links followed, if a file may be put there; raises as `replacing`."""
    with storage_errors(path):
        if Path(path).is_dir() or str(path).endswith(os.sep):
            raise IsADirectoryError
        if _written_directly(Path(path)):
            return Path(path)  # the links of /dev/stdout may lead to what has no name
        target = Path(os.path.realpath(path))
        if target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
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
    signal amid it waits, and so does another process that would put files beside the same first
    one, as far as a lock is to be had: no file of one run lies beside one of another.
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
                # Without a lock where there is none to be had: another user's, of a run that was
                # killed, or is stopped, a file system without locks, a name as long as can be.
                if len(self._files) > 1:
                    with suppress(OSError, StorageError, NotImplementedError):
                        target = self._files[0][2]
                        leftovers.enter_context(locked(target, lambda text: None, _RENAMING))
                for done, (path, temporary, target) in enumerate(self._files):
                    try:
                        with storage_errors(path):
                            temporary.replace(target)
                    except GipError as error:
                        if not done:
                            raise
                        names = " and ".join(str(file[0]) for file in self._files[:done])
                        raise StorageError(
                            f"{error}; {names} {agreeing(done, 'are')} new"
                        ) from None


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
            with created(temporary, target) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():  # which may have been changed meanwhile
                temporary.chmod(permissions(target))
            if together is None:
                temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def permissions(path: Path) -> int:
    """Who may read and write a file."""
    return stat.S_IMODE(path.stat().st_mode) & 0o777


def created(path: Path, target: Path, how: Literal["xb", "x+b"] = "xb") -> BinaryIO:
    """A new file that is to take the place of `target`, with its permissions from the start."""
    mode = permissions(target) if target.exists() else None

    def opener(name: str, flags: int) -> int:
        number = os.open(name, flags, 0o666 if mode is None else 0o600)
        if mode is not None:
            os.fchmod(number, mode)
        return number

    return open(path, how, buffering=1 << 20, opener=opener)


def temporary_folder() -> str:
    """Where temporary files go; raises StorageError where there is no such place."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        what, remedy = "no folder takes temporary files", "set TMPDIR to one that does"
        raise StorageError(what, remedy) from None


@contextmanager
def locked(path: Path, note: Tell, longest: float = -1) -> Iterator[None]:
    """One writer of `path` at a time; who has to wait, for so many seconds at the longest, is told.

    The lock dies with its process. Its file, beside `path`, is removed while it is still held,
    which waiters notice (filelock opens the path anew when the file it locked is gone). A wait
    that has been the longest ends in TimeoutError; a negative one has no end.
    """
    place = path.with_name(f".{path.name}.lock")
    lock = filelock.FileLock(place)
    try:
        # filelock would make a folder that is missing, and tries again for ever where no file can
        # be made, as below /proc.
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o666))
        lock.acquire(timeout=0)
    except filelock.Timeout:
        note(f"another gip is writing {path}; waiting for it")
        lock.acquire(timeout=longest)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError("a link, where a lock is to be", "remove it", path=place) from None
        if not (isinstance(error, PermissionError) and place.exists()):
            raise
        remedy = "if no gip is at work there, one that was killed has left it: have it removed"
        raise StorageError("a lock of somebody else's", remedy, path=place) from None
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        lock.release()
