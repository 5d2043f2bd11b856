"""Rows to text: by the known record formats, or by fields named by dotted paths.

A row is first a list of turns, ``(role, text)``; its text is turns joined by newlines. Which
format a file has is found from its first row and holds for the rest of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple

from gip_cli.errors import InputError, NoRowsError, UsageError
from gip_cli.printable import printable
from gip_cli.rows import Row, RowFile
from gip_cli.turns import FORMATS, NotThisFormat, Turn, Value, format_of

KEY_BYTES = 16

ONE_TEXT = ("fields", "text")  # formats without parts
_SHOWN, _LONGEST = 8, 60  # members named in a message, and characters of each


class NotOfFormatError(InputError):
    """A row of another format than the one that it is read by."""


class Part(StrEnum):
    """Which turns of a row make its text: the assistant's are its response."""

    both = "both"
    prompt = "prompt"
    response = "response"


def lookup(value: Value, field: str) -> Any:
    """The member that `field` names: a key as it stands, or keys and list indices by dots.

    None where there is none, as for a member that is null.
    """
    if field in value:
        return value[field]
    member: Any = value
    for name in field.split("."):
        if isinstance(member, dict):
            member = member.get(name)
        elif isinstance(member, list) and name.isdecimal() and float(name) < len(member):
            member = member[int(name)]
        else:
            return None
    return member


FormatName = StrEnum("FormatName", list(FORMATS))  # type: ignore[misc]


class Rendered(NamedTuple):
    """A row, all its turns, and the text of the part that is embedded."""

    row: Row
    turns: list[Turn]
    text: str

    @property
    def answered(self) -> bool:
        """Whether a turn is the assistant's."""
        return any(role == "assistant" for role, _ in self.turns)

    @property
    def response_length(self) -> int:
        """Characters that the assistant says; of the whole text where it says nothing."""
        spoken = [text for role, text in self.turns if role == "assistant"]
        return sum(map(len, spoken)) if spoken else len(self.text)


@dataclass(frozen=True)
class Renderer:
    """Turns rows of one format into text.

    Parameters
    ----------
    format : str
        A name of `FormatName`, or ``"fields"`` when `fields` are given.
    fields : tuple of str
        Dotted paths whose texts make the row, instead of a format.
    part : Part
        Which turns are rendered by `text`.
    """

    format: str
    fields: tuple[str, ...] = ()
    part: Part = Part.both

    def __post_init__(self) -> None:
        known = self.format == "fields" if self.fields else self.format in FORMATS
        if not known:
            raise ValueError(f"no format {self.format!r} with fields {self.fields}")
        if self.part is not Part.both and self.format in ONE_TEXT:
            raise UsageError(
                f"--part {self.part} needs rows with a prompt and a response",
                f"rows of format '{self.format}' have one text; leave --part out",
            )

    def to_json(self) -> dict[str, Any]:
        """What must be the same for a row to have the same key."""
        return {"format": self.format, "fields": list(self.fields), "part": str(self.part)}

    @classmethod
    def sniff(
        cls,
        rows: RowFile,
        format: str | None = None,
        fields: Sequence[str] = (),
        part: Part = Part.both,
    ) -> Renderer:
        """The renderer for a file: what `format` or `fields` say, else found from its first row.

        Raises
        ------
        InputError
            The first row has no known format (`NoRowsError` with bad rows skipped: no row has one).
        UsageError
            Both `format` and `fields` are given.
        """
        if fields and format is not None:
            raise UsageError("--format and --text-field exclude each other", "pass one of them")
        if fields:
            return cls("fields", tuple(fields), part)
        if format is not None:
            return cls(format, (), part)
        for row in rows:
            if name := format_of(row.value):
                return cls(name, (), part)
            what = f"no known format (keys: {members_shown(row.value)})"
            remedy = "pass --text-field"
            if key := _holder(row.value):
                remedy = f"the rows are in {key!r}: jq -c '.{key}[]' takes them out"
            rows.bad.refuse(NotOfFormatError(what, remedy, path=row.source, line=row.line))
        what = rows.bad.beside("no row of a known format")
        raise NoRowsError(what, "pass --text-field", path=rows.name)

    def found(self, rows: RowFile) -> str | None:
        """The format that rows would be taken for were it not said; None if none is known."""
        with suppress(InputError):
            return Renderer.sniff(rows, fields=self.fields).format
        return None

    def sniff_beside(self, rows: RowFile) -> Renderer:
        """The renderer for another file, whose texts are to be compared with these.

        A row that has one text gives that as the part, as a prompt alone, say. Raises as `sniff`.
        """
        found = Renderer.sniff(rows, fields=self.fields)
        return found if found.format in ONE_TEXT else replace(found, part=self.part)

    def read(self, rows: RowFile) -> Iterator[Rendered]:
        """Every row with its text; rows without one are refused through ``rows.bad``.

        Raises
        ------
        NoRowsError
            None is left.
        """
        found = False
        for row in rows:
            try:
                turns = self.turns(row)
                text = self._text(row, turns)
            except NotOfFormatError as error:
                if found:  # then no other format is the remedy
                    remedy = "the rows before it are: mend it or pass --skip-bad"
                    other = None if self.fields else format_of(row.value)
                    if other not in (None, self.format):
                        remedy = (
                            f"it looks like {other}, and a file has one format: convert its rows, "
                            "embed them apart, or pass --skip-bad, which leaves them out"
                        )
                    error = NotOfFormatError(error.fault, remedy)
                rows.bad.refuse(error)
            except InputError as error:
                rows.bad.refuse(error)
            else:
                found = True
                yield Rendered(row, turns, text)
        if not found:
            raise NoRowsError(
                f"no usable rows: none is of format {self.format}",
                "check --format, --text-field and -e",
                path=rows.name,
            )

    def turns(self, row: Row) -> list[Turn]:
        """The row's turns, roles as system, user, assistant or the row's own word.

        Raises
        ------
        NotOfFormatError
            The row is not of this format.
        InputError
            It has no text at all.
        """
        try:
            turns = (
                self._fields(row.value) if self.fields else FORMATS[self.format].turns(row.value)
            )
        except NotThisFormat as error:
            what = "fields" if self.fields else f"{self.format} row"
            raise NotOfFormatError(
                f"not readable as {what}: {error}",
                "mend it, name what holds its text by --text-field, or pass --skip-bad",
                path=row.source,
                line=row.line,
            ) from None
        if not any(text.strip() for _, text in turns):
            raise row.error("a row without text", "remove it or pass --skip-bad")
        return turns

    def _text(self, row: Row, turns: list[Turn]) -> str:
        if self.part is not Part.both:
            response = self.part is Part.response
            turns = [turn for turn in turns if (turn[0] == "assistant") is response]
            if not any(text.strip() for _, text in turns):
                raise row.error(f"a row without a {self.part}", "pass --part both or --skip-bad")
        return "\n".join(text for _, text in turns)

    def _fields(self, value: Value) -> list[Turn]:
        texts = []
        for field in self.fields:
            member = lookup(value, field)
            if isinstance(member, list):
                raise NotThisFormat(f"field {field!r} is a list, whose items are {field}.0 and on")
            if not isinstance(member, str):
                what = "missing or null" if member is None else "not a string"
                raise NotThisFormat(f"field {field!r} is {what}")
            texts.append(("text", member))
        return texts


def _holder(value: Value) -> str | None:
    """The member that is a list of rows of a known format, with a name that jq takes as it is."""
    for key, member in value.items():
        first = member[0] if isinstance(member, list) and member else None
        if isinstance(first, dict) and format_of(first) and key.isascii() and key.isidentifier():
            return key
    return None


def key_of(text: str) -> bytes:
    """BLAKE2b-128 of a row's text: what embeddings and judgments are joined by."""
    return blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def members_shown(value: Value) -> str:
    """The first members of a row, nested ones by dots, for a message."""
    shown: list[str] = []
    left = list(value.items())[::-1]
    while left and len(shown) < _SHOWN:
        name, member = left.pop()
        if isinstance(member, dict) and member and len(name) < _LONGEST:
            left += [(f"{name}.{key}", one) for key, one in member.items()][::-1]
        else:
            shown.append(printable(name, _LONGEST))
    return ", ".join([*shown, "…"] if left else shown) or "none"
