"""Text for people: a dataset's made safe to show, files' names, numbers with what they count."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

Tell = Callable[[str], None]  # what a person is to know, a line at a time


def printable(text: str, width: int = 60) -> str:
    """`text` for people: escapes for controls, cut to `width` characters."""
    return escaped(text[:width]) + "…" * (len(text) > width)


def escaped(text: str) -> str:
    """All of `text`, with escapes for controls: also for those that turn what follows around.

    And for what Python makes of bytes that are not UTF-8 in files' names, as in `file_name`.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def file_name(path: str | Path) -> str:
    """What a file is called in all that is written; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def no_option(file: str | Path) -> str:
    """A file's name in a command, which takes it for no option."""
    return f"./{file}" if str(file).startswith("-") else str(file)


def listed(names: Sequence[str], most: int) -> str:
    """``a, b and 3 more``: the first `most` of the names, and how many others there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def exact(number: float) -> str:
    """``4``, ``0.5`` or all the digits that it takes: never another number's text."""
    number += 0.0  # of -0 it makes 0
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``: what a person reads."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rounded(number: float) -> str:
    """Three digits, or from 1,000 on all before the point: much as the report's page."""
    return f"{number:{',.0f' if 999.5 <= abs(number) < 1e12 else '.3g'}}"


def agreeing(number: int, predicate: str) -> str:
    """What is said of many, said of `number`: ``lacks a score`` of 1, ``lack a score`` else."""
    verb, space, rest = predicate.partition(" ")
    if number == 1:
        verb = {"are": "is", "have": "has"}.get(verb, f"{verb}s")
    return verb + space + rest
