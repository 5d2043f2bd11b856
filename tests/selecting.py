"""Pools for tests of selections: rows whose text is their vector, so that geometry is explicit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gip_cli.candidates import gather_candidates
from gip_cli.companions import Companions
from gip_cli.embeddings import Embeddings, Paths, Settings, keys_digest
from gip_cli.encoder import Encoded, ModelCard
from gip_cli.formats import Renderer
from gip_cli.plan import Plan
from gip_cli.pool import load_pool
from gip_cli.problem import Problem
from gip_cli.report.case import Case, open_case
from gip_cli.report.selections import Picked
from gip_cli.rows import BadRows, RowFile
from tests import toys
from tests.pools import unit


class VectorEncoder:
    """Reads the first `d` words of a text as its vector; every word is a token."""

    def __init__(self, d: int) -> None:
        self.card = ModelCard("words", None, "blake2b:0", d, 0, 0, "")

    def encode(self, texts: Sequence[str]) -> Encoded:
        words = [text.split() for text in texts]
        vectors = np.array([one[: self.card.dimension] for one in words], dtype=np.float32)
        return Encoded(unit(vectors), np.array([len(one) for one in words]))


def row(vector: Iterable[float], words: int = 0, **members: Any) -> dict[str, Any]:
    """A row of format text that embeds to `vector` and has `words` more tokens than that."""
    return {"text": " ".join([*(f"{x:.6f}" for x in vector), *["and"] * words]), **members}


def random_rows(m: int, d: int) -> list[dict[str, Any]]:
    """Rows of up to eight more words, with two signals from 0 to 1."""
    rng = np.random.default_rng(6)
    ranges = {"a": [0, 1], "b": [0, 1]}
    return [
        row(
            vector,
            int(rng.integers(0, 9)),
            gip={"signals": {"a": rng.uniform(0, 1), "b": rng.uniform(0, 1)}, "ranges": ranges},
        )
        for vector in unit(rng.standard_normal((m, d)) + 0.3)
    ]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in rows))
    return path


def embed(path: Path, d: int, target: Path | None = None) -> Path:
    """A store of the rows of `path`, beside it unless said."""
    target = target or path.with_suffix(".npy")
    toys.embed(path, target, VectorEncoder(d))
    return target


def in_memory(path: Path, d: int) -> Embeddings:
    """The same store without files of its own."""
    with RowFile(path, BadRows(), reread=True) as rows:
        pool = load_pool(rows, Renderer("text"))
        texts = [one.text for one in Renderer("text").read(rows)]
    encoded = VectorEncoder(d).encode(texts)
    settings = Settings(VectorEncoder(d).card, Renderer("text"), "float32")
    return Embeddings(
        Paths.of(path.with_suffix(".npy")),
        settings,
        encoded.vectors,
        pool.keys,
        encoded.tokens,
        keys_digest(pool.keys),
        path.stat(),
    )


@contextmanager
def opened_case(
    path: Path, d: int, picks: Sequence[int], fields: Sequence[str] = ()
) -> Iterator[Case]:
    """What a selection without a receipt is judged by; the rows' texts can be read."""
    with RowFile(path, BadRows(), reread=True) as rows:
        pool = load_pool(rows, Renderer("text"), fields)
        picked = [Picked("small.jsonl", np.array(picks), None, True)]
        yield open_case(pool, in_memory(path, d), picked, fields, skip_bad=False)


def case_of(path: Path, d: int, picks: Sequence[int], fields: Sequence[str] = ()) -> Case:
    """The same where no text is read any more."""
    with opened_case(path, d, picks, fields) as case:
        return case


def problem_of(path: Path, d: int, plan: Plan, **beside: Sequence[Path]) -> Problem:
    """The problem that `gip select` would solve; its rows' own bytes cannot be read any more."""
    with RowFile(path, BadRows(), reread=True) as rows:
        return pose(rows, in_memory(path, d), plan, **beside)


def pose(rows: RowFile, store: Embeddings, plan: Plan, **beside: Sequence[Path]) -> Problem:
    """The same where rows are open; files beside the pool are in its store."""
    fields = [plan.budget.token_field, plan.grouping and plan.grouping.field]
    pool = load_pool(rows, store.settings.renderer, [field for field in fields if field])
    read = Companions(store).read
    return Problem.pose(
        plan,
        gather_candidates(
            pool, store, plan, **{part: [read(str(p)) for p in ps] for part, ps in beside.items()}
        ),
    )
