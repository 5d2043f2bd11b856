"""The judge's journal: every answer, appended as it comes, safe from a kill at any byte.

A line of JSON an answer, after one line that says what the file is. A line is written by one
call without a buffer, so that the death of the process costs nothing but a torn last line, and
synced to disk every few seconds and at the end, so that a power cut costs no more than those.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from gip_cli.errors import InputError, UsageError
from gip_cli.judge.answers import Answer, Verdict
from gip_cli.judge.journal_entry import plain, read_entry, same_judge, verdicts_in
from gip_cli.judge.rubric import Rubric
from gip_cli.printable import Tell
from gip_cli.storage import storage_errors, writable

_HEADER = b'{"gip": "judge journal", "version": 1}\n'
_MARK = b'"judge journal"'  # in it, however another tool writes it
_SYNC_SECONDS = 5.0


@dataclass
class Known:
    """The answers of one api in a journal: where each key's begins, and where the whole ends.

    `scored` tells whether one of them holds a score, `unended` whether the last lacks its newline,
    as editors and ``$(...)`` leave it.
    """

    api: str | None
    at: dict[bytes, int]
    end: int
    scored: bool
    unended: bool

    def __contains__(self, key: object) -> bool:
        return key in self.at


def look(path: Path, model: str, rubric: Rubric, apis: Sequence[str]) -> Known:
    """What the journal at `path` knows, without touching it; raises as `Journal` does."""
    by_api: dict[str, dict[bytes, int]] = {}
    api, end, with_scores, unended = None, 0, set(), False
    _refuse_special(path)
    with storage_errors(path), path.open("rb") as file:
        for line_number, line in enumerate(file, 1):
            if line_number == 1 and not _begins(line):
                raise _foreign(path)
            if not (line.endswith(b"\n") or _is_whole(line)):
                break  # torn
            # cat and jq join journals with their first lines.
            if line_number > 1 and not (_MARK in line and _begins(line)):
                entry = read_entry(line, rubric, path, line_number)
                asked = entry["rubric"] == rubric.digest and entry["api"] in apis
                if asked and same_judge(entry["model"], model):
                    api = entry["api"]
                    by_api.setdefault(api, {})[bytes.fromhex(entry["key"])] = end
                    if any(one["score"] is not None for one in entry["scores"].values()):
                        with_scores.add(api)
            end += len(line)
            unended = not line.endswith(b"\n")
    return Known(api, by_api.get(api or "", {}), end, api in with_scores, unended)


def _is_whole(line: bytes) -> bool:
    """Whether a line without its newline is an object all the same; cut anywhere it is none."""
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(line), dict)
    return False


def _begins(line: bytes) -> bool:
    """Whether it is the first line of a journal: torn, or as another tool (jq, git) writes it."""
    with suppress(ValueError, RecursionError):
        return bool(json.loads(line) == json.loads(_HEADER))
    return _HEADER.startswith(line)


def _refuse_special(path: Path) -> None:
    """Raise UsageError for a pipe or a device, whose reading might never end, or a directory."""
    with storage_errors(path):
        if path.is_dir():
            raise IsADirectoryError
        if path.exists() and not path.is_file():
            raise _foreign(path)


def _foreign(path: Path) -> UsageError:
    return UsageError("exists and is not a judge's journal", "choose another", path=path)


class Journal:
    """Answers by key, of one model, rubric and api; those of others are kept and not used.

    Parameters
    ----------
    path : Path
    model : str
        The judge that is asked.
    rubric : Rubric
        What it is asked.
    apis : sequence of str
        The kinds of answers that will do. If the file has several, the last one's are used:
        see `api`.
    notice : callable
        Told where another run has to be waited for.
    hold : bool
        Whether to `hold` it at once. Else it is only read: none can be appended before.

    Raises
    ------
    UsageError
        `path` is something else than a journal.
    InputError
        A line in the middle is damaged.
    StorageError
        The system refuses to read it, or to write it where it is held.
    """

    def __init__(
        self,
        path: str | Path,
        model: str,
        rubric: Rubric,
        apis: Sequence[str],
        notice: Tell = lambda text: None,
        *,
        hold: bool = True,
    ) -> None:
        self.path = Path(path)
        self._model = model
        self._rubric = rubric
        self._apis = apis
        self._notice = notice
        self._synced = time.monotonic()
        self._known = Known(None, {}, -1, False, False)
        with ExitStack() as self._opened:
            with storage_errors(self.path):
                there = self.path.exists()
            if there:
                self._read()
            if hold:
                self.hold()
            self._opened = self._opened.pop_all()

    def _read(self) -> None:
        self._known = look(self.path, self._model, self._rubric, self._apis)
        with storage_errors(self.path):
            self._reader = self._opened.enter_context(self.path.open("rb"))

    def hold(self) -> bool:
        """Keep other writers from it until `close`; make it if it is not there.

        Returns whether it knows other answers than before: those of a run that was waited for.
        Raises as the class does, and StorageError where it cannot be written.
        """
        writable(self.path)
        _refuse_special(self.path)
        before = self._known.at
        with storage_errors(self.path):
            self._file = self._opened.enter_context(self.path.open("a+b", buffering=0))
            # The file itself is locked, not a name: links to it may have any number.
            if not lock_descriptor(self._file.fileno(), blocking=False):
                self._notice(f"another gip is writing {self.path}; waiting for it")
                lock_descriptor(self._file.fileno())
            number = self._file.fileno()
            as_read = os.fstat(number).st_size == self._known.end
            if not (as_read and os.path.sameopenfile(number, self._reader.fileno())):
                self._read()  # another run has written to it, or another file is in its place
            self._file.truncate(self._known.end)
        self._opened.callback(self._sync)
        if not self._known.end:
            self._write(_HEADER)
        elif self._known.unended:
            self._write(b"\n")
            self._known.unended = False
        return self._known.at != before

    @property
    def api(self) -> str | None:
        """The kind of answers that it holds, None before the first."""
        return self._known.api

    @property
    def scored(self) -> bool:
        """Whether it held a score when it was opened."""
        return self._known.scored

    def __contains__(self, key: object) -> bool:
        return key in self._known.at

    def get(self, key: bytes) -> dict[str, Verdict]:
        """An attribute's verdict by name, of the answer under `key`; raises KeyError.

        InputError if the file was changed meanwhile, as by an editor.
        """
        with storage_errors(self.path):
            self._reader.seek(self._known.at[key])
            line = self._reader.readline()
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            entry = json.loads(line)
            asked = bytes.fromhex(entry["key"]) == key and entry["rubric"] == self._rubric.digest
            if asked and same_judge(entry["model"], self._model):
                return verdicts_in(entry, self._rubric)
        raise InputError("was changed while it was in use", "run again", path=self.path)

    def append(self, key: bytes, api: str, answer: Answer, seconds: float) -> None:
        """Keep an answer; it is on its way to the disk when this returns."""
        entry = {
            "key": key.hex(),
            "model": self._model,
            "rubric": self._rubric.digest,
            "api": api,
            "scores": {name: plain(verdict) for name, verdict in answer.verdicts.items()},
            "usage": {
                "input_tokens": answer.usage.input_tokens,
                "output_tokens": answer.usage.output_tokens,
            },
            "seconds": round(seconds, 3),
            "raw": answer.raw,
        }
        # The standard library's encoder: a model can answer half a surrogate pair or an integer
        # of fifty digits, and what it said has to be kept all the same.
        self._known.at[key] = self._write(json.dumps(entry).encode() + b"\n")
        self._known.api = api

    def _write(self, line: bytes) -> int:
        """Append `line` whole or not at all; where it begins."""
        start = self._known.end
        try:
            with storage_errors(self.path):
                rest = memoryview(line)
                while rest:
                    rest = rest[self._file.write(rest) :]
        except BaseException:
            self._file.truncate(start)
            raise
        self._known.end += len(line)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()
        return start

    def _sync(self) -> None:
        with storage_errors(self.path):
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
