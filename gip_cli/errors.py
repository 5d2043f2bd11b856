"""Everything that a user can cause, each with its exit code.

    GipError                 1  the base; never raised itself
    ├── CheckFailed          1  a check asked for (--check, --min-captured) did not hold
    ├── UsageError           2  options that make no sense; a path, key, model or package that
    │   │                       they need and that is not there
    │   └── LinkedStoreError 2  (of gip_cli.embedding_commit) a store with links among its files
    ├── InputError           3  a row, or a file of rows, that cannot be read as told
    │   ├── NoRowsError      3  a file without a row that can be used
    │   ├── BeyondRangeError 3  (of gip_cli.metadata) values outside the range that was declared
    │   └── NotOfFormatError 3  (of gip_cli.formats) a row of another format than it is read by
    ├── MismatchError        4  embeddings and rows do not belong together
    │   ├── NewerFormatError 4  (of gip_cli.embedding_files) a store that a newer gip wrote
    │   └── PointerError     4  (of gip_cli.embeddings) a store's file that is still to be fetched
    ├── JudgeError           5  the judge failed: as a whole, or on more rows than allowed
    └── StorageError         6  the system refused to read or write (disk full, permission)

A message is one line: what is wrong, where (``file:line``), and how to mend it. `gip_cli.cli`
prints it on stderr and exits with `exit_code`; nothing below it prints or exits.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class GipError(Exception):
    """Base of the errors a user can cause.

    Parameters
    ----------
    what : str
        What is wrong, in one line.
    remedy : str
        How to mend it, in one clause; empty if `what` already says so.
    path, line : optional
        Where: printed as ``path:line: what; remedy``.

    Attributes
    ----------
    fault : str
        The message without its remedy, where that is out of place.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        remedy: str = "",
        *,
        path: Path | str | None = None,
        line: int | None = None,
    ) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        self.fault = where + what
        super().__init__(self.fault + (f"; {remedy}" if remedy else ""))


class CheckFailed(GipError):  # noqa: N818 - a verdict, not a fault
    """A check that was asked for did not hold."""


class UsageError(GipError):
    exit_code = 2


class InputError(GipError):
    exit_code = 3


class NoRowsError(InputError):
    """A file without a row that can be used."""


class MismatchError(GipError):
    exit_code = 4


class JudgeError(GipError):
    exit_code = 5


class StorageError(GipError):
    exit_code = 6


def install(extra: str) -> str:
    """The remedy where the packages of an extra are missing: gip is installed from its clone."""
    return f"pip install '.[{extra}]' in the clone of gip"
