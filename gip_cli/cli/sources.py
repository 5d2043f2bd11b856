"""Where `select` and its kin find embeddings: given, beside the rows, or made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gip_cli.cli.console import note, progress
from gip_cli.embeddings import Embeddings, join_keys, open_embeddings
from gip_cli.encoder import GIVEN
from gip_cli.errors import MismatchError
from gip_cli.formats import Renderer, key_of
from gip_cli.rows import BadRows, RowFile


@contextmanager
def embeddings_for(rows: RowFile, source: str, given: str | None) -> Iterator[Embeddings]:
    """The store named, else the rows' sibling ``.npy``, else a temporary one by the defaults."""
    sibling = _sibling(source)
    if given is None and sibling is not None:
        note(f"using {sibling}")
        given = str(sibling)
    if given is not None:
        yield _checked(open_embeddings(given))
        return
    from gip_cli.encoder import load_encoder
    from gip_cli.store import write_embeddings

    note(f"no embeddings given for {rows.name}: making them for this run (gip embed keeps them)")
    with tempfile.TemporaryDirectory(prefix="gip-") as folder, progress("embedding", "texts") as at:
        target = Path(folder) / "pool.npy"
        write_embeddings(
            rows,
            target,
            load_encoder(),
            Renderer.sniff(rows),
            on_progress=lambda done: at(done.done, done.total, ""),
        )
        yield open_embeddings(target)


def _sibling(source: str) -> Path | None:
    path = Path(source)
    beside = path.with_name(path.name.removesuffix(".gz")).with_suffix(".npy")
    return beside if source != "-" and beside.exists() else None


def _checked(embeddings: Embeddings) -> Embeddings:
    if zero := embeddings.check_rows():
        note(f"{embeddings.paths.npy}: {zero:,} rows are zero and can only be picked last")
    return embeddings


def vectors_of(
    sources: Sequence[str], embeddings: Embeddings, *, part: bool = True
) -> npt.NDArray[np.float32]:
    """Embeddings (t, d) of other files' rows, in the space of `embeddings`.

    A file's own sibling store is used where it was made with the same model; else the model
    that `embeddings` name is loaded and must be the very one.

    Raises
    ------
    MismatchError
        The model cannot be made to give vectors of the same space.
    """
    found = []
    encoder = None
    for source in sources:
        with RowFile(source, BadRows(), reread=True) as rows:
            ours = embeddings.settings.renderer
            renderer = Renderer.sniff(rows, fields=ours.fields, part=ours.part)
            texts = [one.text for one in renderer.read(rows)]
        keys = np.frombuffer(b"".join(map(key_of, texts)), dtype=np.uint8).reshape(-1, 16)
        for known in _stores(source, embeddings):
            at = join_keys(known.keys, keys)
            if (at >= 0).all():
                found.append(known.vectors[at].astype(np.float32))
                break
        else:
            encoder = encoder or _same_encoder(embeddings)
            batches = [texts[start : start + 32] for start in range(0, len(texts), 32)]
            found.extend(encoder.encode(batch).vectors for batch in batches)
    return np.concatenate(found)


def _stores(source: str, embeddings: Embeddings) -> Iterator[Embeddings]:
    """Stores of the same space that may hold the rows of `source`."""
    yield embeddings
    sibling = _sibling(source)
    if sibling is not None:
        store = open_embeddings(sibling)
        if store.settings.card.same_space(embeddings.settings.card):
            yield _checked(store)


def _same_encoder(embeddings: Embeddings) -> Any:
    from gip_cli.encoder import load_encoder

    card = embeddings.settings.card
    if card.model == GIVEN:
        raise MismatchError(
            "made from given vectors, so no model can embed the targets",
            "give theirs too: gip embed TARGET.jsonl -o TARGET.npy --vectors FILE.npy",
            path=embeddings.paths.npy,
        )
    encoder = load_encoder(
        card.model,
        revision=card.revision,
        max_length=card.max_length or None,
        prompt_prefix=card.prompt_prefix,
    )
    if encoder.card != card:
        raise MismatchError(
            f"made by another {card.model} than the one that loads now",
            "embed the pool and the targets with one model",
            path=embeddings.paths.npy,
        )
    return encoder
