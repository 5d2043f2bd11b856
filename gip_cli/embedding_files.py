"""The four files of a store of embeddings: their names, and what ``NAME.json`` says."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson

from gip_cli.encoder import DEFAULT_LENGTH, DEFAULT_MODEL, OWN_VECTORS, ModelCard
from gip_cli.errors import GipError, MismatchError, UsageError
from gip_cli.formats import Part, Renderer
from gip_cli.printable import no_option
from gip_cli.storage import storage_errors

FORMAT_VERSION = 1


class NewerFormatError(MismatchError):
    """The store is gip's own, but a newer gip's."""


@dataclass(frozen=True)
class Paths:
    """The files of a store, named by the first."""

    npy: Path

    @property
    def keys(self) -> Path:
        return self.npy.with_name(self._stem + ".keys.npy")

    @property
    def tokens(self) -> Path:
        return self.npy.with_name(self._stem + ".tokens.npy")

    @property
    def json(self) -> Path:
        return self.npy.with_name(self._stem + ".json")

    @property
    def all(self) -> tuple[Path, ...]:
        return self.npy, self.keys, self.tokens, self.json

    def hidden(self, suffix: str) -> Path:
        """A file or folder of the writer's own, beside the store."""
        return self.npy.with_name(f".{self.npy.name}.{suffix}")

    def current(self, path: Path) -> Path:
        """`path`, or its successor where a commit was cut off before the last rename."""
        successor = self.hidden("commit") / path.name
        return successor if successor.exists() else path

    def state(self) -> list[tuple[Path, int, int] | None]:
        """What differs once a writer has replaced or moved one of the current files."""
        return [_identity(self.current(path)) for path in self.all]

    @property
    def _stem(self) -> str:
        return self.npy.name.removesuffix(".npy")

    @classmethod
    def of(cls, path: str | Path) -> Paths:
        """The store named `path`; of a link alone, the store beside what it leads to."""
        paths = cls(Path(path))
        if paths.npy.is_symlink() and not paths.json.exists():
            paths = cls(Path(os.path.realpath(path)))
        if not paths.npy.stem or paths.npy.suffix != ".npy":
            raise UsageError("embeddings are named NAME.npy", path=paths.npy)
        return paths


def _identity(path: Path) -> tuple[Path, int, int] | None:
    with suppress(OSError):
        status = path.stat()
        return path, status.st_ino, status.st_mtime_ns
    return None


def store_beside(rows: Path) -> Path:
    """Where a file of rows has its own store; ``.gz`` alone is a name, not an ending."""
    name = rows.name.removesuffix(".gz")
    return rows.with_name(name if name.strip(".") else rows.name).with_suffix(".npy")


def store_with(path: Path) -> Path | None:
    """The first file of the store that `path` is a file of, by their names; None if of none."""
    for suffix in (".keys.npy", ".tokens.npy", ".npy", ".json"):
        if path.name.endswith(suffix) and path.name != suffix:
            paths = Paths.of(path.with_name(path.name.removesuffix(suffix) + ".npy"))
            with suppress(GipError):
                read_description(paths.json)
                return paths.npy
    return None


@dataclass(frozen=True)
class Settings:
    """What must be the same for a key to mean the same vector: ``NAME.json``'s core."""

    card: ModelCard
    renderer: Renderer
    dtype: str

    def named_as(self, other: Settings) -> Settings:
        """These settings, with the other's name of the model where both names mean one."""
        return replace(self, card=self.card.named_as(other.card))

    def copied_to(self, other: Settings) -> Settings:
        """What its vectors are in another store: single precision can be rounded to half."""
        named = self.named_as(other)
        return replace(named, dtype=other.dtype) if self.dtype == "float32" else named

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.card), **self.renderer.to_json(), "dtype": self.dtype}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Settings:
        """The inverse of `to_json`; raises KeyError, TypeError, ValueError or UsageError."""
        renderer = Renderer(value["format"], tuple(value["fields"]), Part(value["part"]))
        card = ModelCard(**{field.name: value[field.name] for field in fields(ModelCard)})
        numbers = (card.dimension, card.max_length, card.overhead)
        texts = (card.model, card.weights, card.prompt_prefix, *renderer.fields)
        if not all(type(one) is int and one >= 0 for one in numbers):
            raise ValueError("a number is not one")
        if not all(isinstance(one, str) for one in texts):
            raise TypeError("a text is not one")
        return cls(card, renderer, value["dtype"])


def embed_command(name: str, settings: Settings, store: Path, format: str | None = None) -> str:
    """What embeds the rows of the file `name` as those of a store; a pipe's are to be a file's.

    Their `format` is said where it would not be found.
    """
    own = name if Path(name).is_file() else "FILE.jsonl"
    target, card, renderer = store_beside(Path(own)), settings.card, settings.renderer
    words = ["gip", "embed", no_option(own), "-o", no_option(target)]
    words += ["--format", format] if format else []
    for field in renderer.fields:
        words += ["--text-field", field]
    words += [] if renderer.part is Part.both else ["--part", renderer.part]
    words += [] if settings.dtype == "float32" else ["--dtype", settings.dtype]
    if card.model == OWN_VECTORS:
        return shlex.join([*words, "--vectors", "VECTORS.npy"])
    words += [] if card.model == DEFAULT_MODEL else ["--model", card.model]
    words += ["--revision", card.revision] if card.revision else []
    if card.prompt_prefix or card.model != DEFAULT_MODEL:  # which may have a prompt of its own
        words += ["--prompt-prefix", card.prompt_prefix]
    if card.max_length and (card.model, card.max_length) != (DEFAULT_MODEL, DEFAULT_LENGTH):
        words += ["--max-length", str(card.max_length)]
    words += [] if target == store else ["--reuse", no_option(store)]
    return shlex.join(words)


@dataclass(frozen=True)
class Description:
    """What ``NAME.json`` says: the settings, how many rows, and the digest of their keys."""

    settings: Settings
    rows: int
    keys: str


def read_description(path: Path) -> Description:
    """Read ``NAME.json``.

    Raises
    ------
    MismatchError
        Missing, not what `gip embed` writes, or written by a newer one.
    """
    remedy = (
        "embeddings are joined by key: make them with gip embed, which takes yours by --vectors"
    )
    with storage_errors(path):
        data = path.read_bytes() if path.exists() else None
    if data is None:
        raise MismatchError("missing", remedy, path=path)
    try:
        value = orjson.loads(data)
        version = value["version"]
        if version > FORMAT_VERSION:
            raise NewerFormatError(
                f"written by a newer gip (format {version}, this one reads {FORMAT_VERSION})",
                "upgrade gip",
                path=path,
            )
        return Description(Settings.from_json(value), value["rows"], value["keys"])
    except NewerFormatError:
        raise
    except (KeyError, TypeError, ValueError, GipError):
        raise MismatchError("not a description of embeddings", remedy, path=path) from None
