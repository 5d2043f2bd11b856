"""The `.npy` store of embeddings: what it holds, how it is checked, how rows find theirs.

Beside ``NAME.npy`` (m, d) lie ``NAME.keys.npy`` (m, 16), the rows' keys, ``NAME.tokens.npy``
(m,), their token counts, and ``NAME.json``, which says how they were made. Rows are joined to
embeddings by key, never by position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from gip_cli.encoder import ModelCard
from gip_cli.errors import MismatchError, UsageError
from gip_cli.formats import KEY_BYTES, Part, Renderer
from gip_cli.rows import storage_errors

FORMAT_VERSION = 1
_BLOCK = 1 << 14  # rows read at a time when a whole file is checked
_UNIT_TOLERANCE = {"float32": 1e-4, "float16": 5e-3}  # of a row's norm

Keys = npt.NDArray[np.uint8]  # (m, 16)


@dataclass(frozen=True)
class Paths:
    """The four files of a store, named by the first."""

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

    @property
    def _stem(self) -> str:
        return self.npy.name.removesuffix(".npy")

    @classmethod
    def of(cls, path: str | Path) -> Paths:
        if not str(path).endswith(".npy"):
            raise UsageError("embeddings are named NAME.npy", path=path)
        return cls(Path(path))


@dataclass(frozen=True)
class Settings:
    """What must be the same for a key to mean the same vector: ``NAME.json``'s core."""

    card: ModelCard
    renderer: Renderer
    dtype: str

    def to_json(self) -> dict[str, Any]:
        renderer = self.renderer
        return {
            **asdict(self.card),
            "format": renderer.format,
            "fields": list(renderer.fields),
            "part": str(renderer.part),
            "dtype": self.dtype,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Settings:
        """The inverse of `to_json`; raises KeyError or ValueError."""
        renderer = Renderer(value["format"], tuple(value["fields"]), Part(value["part"]))
        card = ModelCard(**{name: value[name] for name in ModelCard.__dataclass_fields__})
        return cls(card, renderer, value["dtype"])


@dataclass(frozen=True)
class Embeddings:
    """An opened store: vectors (m, d), memory-mapped; keys (m, 16); tokens (m,)."""

    paths: Paths
    settings: Settings
    vectors: npt.NDArray[np.floating[Any]]
    keys: Keys
    tokens: npt.NDArray[np.int64]

    def digest(self) -> str:
        """BLAKE2b-128 of the keys: which rows these are, in which order."""
        return keys_digest(self.keys)

    def check_rows(self) -> int:
        """Refuse rows that are not finite or not unit; the number of zero rows.

        Raises
        ------
        MismatchError
            Names the first such row.
        """
        zero = 0
        for start, norms in self._norms():
            off = np.abs(norms - 1) > _UNIT_TOLERANCE[self.vectors.dtype.name]
            off &= norms != 0
            off |= ~np.isfinite(norms)
            if off.any():
                row = int(np.argmax(off))
                raise MismatchError(
                    f"row {start + row + 1} has norm {norms[row]:.4g}, not 1",
                    "run gip embed again",
                    path=self.paths.npy,
                )
            zero += int(np.count_nonzero(norms == 0))
        return zero

    def _norms(self) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
        for start in range(0, len(self.vectors), _BLOCK):
            block = self.vectors[start : start + _BLOCK].astype(np.float32)
            # An infinite entry is what is looked for here, not a surprise.
            with np.errstate(over="ignore", invalid="ignore"):
                yield start, np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))


def _sortable(keys: Keys) -> npt.NDArray[np.void]:
    """Keys as (m,) opaque 16-byte values, which numpy sorts and compares as bytes."""
    return np.ascontiguousarray(keys).view(f"V{KEY_BYTES}").ravel()


def join_keys(known: Keys, keys: Keys) -> npt.NDArray[np.int64]:
    """Where each of `keys` (n, 16) stands in `known`: (n,), -1 where it does not."""
    if not len(known):
        return np.full(len(keys), -1)
    ours, wanted = _sortable(known), _sortable(keys)
    order = np.argsort(ours, kind="stable")
    found = np.minimum(np.searchsorted(ours, wanted, sorter=order), len(order) - 1)
    return np.where(ours[order[found]] == wanted, order[found], -1)


def keys_digest(keys: Keys) -> str:
    return blake2b(np.ascontiguousarray(keys).data, digest_size=16).hexdigest()


def open_embeddings(path: str | Path) -> Embeddings:
    """Open a store, its parts checked against each other.

    Raises
    ------
    UsageError
        No such file.
    MismatchError
        The parts do not belong together, or are not what `gip embed` writes.
    """
    paths = Paths.of(path)
    if not paths.current(paths.npy).exists():
        raise UsageError("no such embeddings", "make them with gip embed", path=paths.npy)
    description = read_description(paths.current(paths.json))
    vectors = read_array(paths.current(paths.npy), ("float32", "float16"), 2)
    keys = read_array(paths.current(paths.keys), ("uint8",), 2)
    tokens = read_array(paths.current(paths.tokens), ("int64",), 1)
    try:
        settings = Settings.from_json(description)
        same = (
            vectors.shape == (description["rows"], settings.card.dimension)
            and keys.shape == (description["rows"], KEY_BYTES)
            and tokens.shape == (description["rows"],)
            and vectors.dtype.name == settings.dtype
            and keys_digest(np.asarray(keys)) == description["keys"]
        )
    except (KeyError, TypeError, ValueError):
        raise MismatchError(
            "not a description of embeddings", "run gip embed again", path=paths.json
        ) from None
    if not same:
        raise MismatchError(
            f"{paths.npy.name}, {paths.keys.name}, {paths.tokens.name} and {paths.json.name} do "
            "not belong together",
            "run gip embed again",
            path=paths.npy,
        )
    return Embeddings(paths, settings, vectors, np.asarray(keys), np.asarray(tokens))


def read_description(path: Path) -> dict[str, Any]:
    """What ``NAME.json`` says; raises MismatchError if it is not one of ours."""
    remedy = "embeddings are joined by key: make them with gip embed"
    if not path.exists():
        raise MismatchError("missing", remedy, path=path)
    with storage_errors(path):
        data = path.read_bytes()
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("version"), int):
        raise MismatchError("not a description of embeddings", remedy, path=path)
    if value["version"] > FORMAT_VERSION:
        raise MismatchError(
            f"written by a newer gip (format {value['version']}, this one reads {FORMAT_VERSION})",
            "upgrade gip",
            path=path,
        )
    return value


def read_array(path: Path, dtypes: tuple[str, ...], dimensions: int) -> npt.NDArray[Any]:
    """A `.npy` file memory-mapped, its type checked; never unpickles.

    Raises
    ------
    MismatchError
        Missing, truncated, pickled, or of another type or order.
    """
    remedy = "run gip embed again"
    if not path.exists():
        raise MismatchError("missing", remedy, path=path)
    try:
        with storage_errors(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise MismatchError("not a whole .npy file of numbers", remedy, path=path) from None
    if not isinstance(array, np.ndarray) or array.dtype.name not in dtypes:
        shown = getattr(array, "dtype", "an archive")
        raise MismatchError(f"holds {shown}, not {' or '.join(dtypes)}", remedy, path=path)
    if array.ndim != dimensions or not array.size:
        raise MismatchError(f"has shape {array.shape}", remedy, path=path)
    if not array.flags.c_contiguous:
        raise MismatchError("is in Fortran order", remedy, path=path)
    return array
