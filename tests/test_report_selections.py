"""Selections read back: every line finds its own row of the pool, or says why not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gip_cli.embeddings import open_embeddings
from gip_cli.errors import InputError
from gip_cli.formats import Renderer
from gip_cli.plan import Budget, Plan, Sources
from gip_cli.pool import Pool, load_pool
from gip_cli.report.selections import Receipt, read_selection
from gip_cli.rows import BadRows, RowFile
from tests import toys
from tests.selecting import write_rows

# Rows 1, 3 and 4 have one text but differ in what is not rendered.
POOL = [
    {"text": "a", "id": 0},
    {"text": "b", "id": 1},
    {"text": "c", "id": 2},
    {"text": "b", "id": 3},
    {"text": "b", "id": 4},
]

RECEIPT: dict[str, Any] = {
    "gip": "0.1.0",
    "numpy": "2.0.0",
    "noise": 1,
    "query": {"sources": {"self": 1}},
    "input": {"blake2b": "0"},
    "embeddings": {"path": None, "model": "m"},
    "options": {"signals": {}, "quality_power": 2},
}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    path = write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", POOL)
    with RowFile(path, BadRows(), reread=True) as rows:
        yield load_pool(rows, Renderer("text"))


@settings(max_examples=50)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_each_line_finds_the_row_with_its_own_bytes(
    pool: Pool, tmp_path_factory: pytest.TempPathFactory, order: list[int], count: int
) -> None:
    path = write_rows(tmp_path_factory.mktemp("s") / "s.jsonl", [POOL[at] for at in order[:count]])
    assert read_selection(str(path), pool, None, BadRows()).rows.tolist() == order[:count]


def test_annotated_and_signals_do_not_matter(pool: Pool, tmp_path: Path) -> None:
    rows = [POOL[4] | {"gip": {"rank": 1}}, POOL[3] | {"gip": {"signals": {"q": 1.0}}}]
    path = write_rows(tmp_path / "s.jsonl", rows)
    assert read_selection(str(path), pool, None, BadRows()).rows.tolist() == [4, 3]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([{"text": "b"}, {"text": "c"}, {"text": "b"}], [1, 2, 3]),
        ([POOL[1], {"text": "b"}, POOL[3]], [1, 3, 4]),  # whose own row an earlier line has taken
    ],
)
def test_rewritten_lines_take_the_first_free_row_of_their_text(
    pool: Pool, tmp_path: Path, lines: list[dict[str, Any]], found: list[int]
) -> None:
    path = write_rows(tmp_path / "s.jsonl", lines)
    assert read_selection(str(path), pool, None, BadRows()).rows.tolist() == found


def test_many_rows_of_one_text_are_read_once_each(tmp_path: Path) -> None:
    class Counted(RowFile):
        reads = 0

        def read(self, offset: int, length: int) -> bytes:
            self.reads += 1
            return super().read(offset, length)

    rows: list[dict[str, object]] = [{"text": "a", "id": at} for at in range(60)]
    order = [*range(59, 19, -1), *range(20)]
    chosen = write_rows(tmp_path / "s.jsonl", [rows[at] for at in order])
    with Counted(write_rows(tmp_path / "pool", rows), BadRows(), reread=True) as file:
        pool = load_pool(file, Renderer("text"))
        assert read_selection(str(chosen), pool, None, BadRows()).rows.tolist() == order
        assert file.reads == 60


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", "x"], ":2: not a row of .*pool.jsonl; give the pool that it was selected from"),
        (
            ["a", "x", "b", "y", "z"],
            r":2: not a row of \S+pool.jsonl \(nor are 2 more rows\); give",
        ),
        (["a", "c", "a"], ":3: repeats a row more often than .*pool.jsonl has it"),
    ],
)
def test_a_line_without_a_row_is_named(
    pool: Pool, tmp_path: Path, texts: list[str], message: str
) -> None:
    path = write_rows(tmp_path / "s.jsonl", [{"text": text} for text in texts])
    with pytest.raises(InputError, match=message):
        read_selection(str(path), pool, None, BadRows())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", ""),
        ("[]", ""),
        ('{"q": 1}\n', r" \(.*s.jsonl:1: not readable as text row: no 'text'\)"),
    ],
)
def test_of_no_row_there_is_nothing_to_measure(
    pool: Pool, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=f"s.jsonl: no row to measure{why}; leave it out"):
        read_selection(str(path), pool, None, BadRows(skip=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s.receipt.json", "s.receipt.json: a receipt, not a selection; leave it out"),
        ("s.jsonl", "s.jsonl:1: an object over several lines"),
    ],
)
def test_a_receipt_that_a_pattern_named_is_told_as_one(
    name: str, message: str, pool: Pool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text('{\n  "gip": "1"\n}\n')
    with pytest.raises(InputError, match=message):
        read_selection(str(path), pool, None, BadRows())


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"noise": 1, "query": {}, "options": []}', "\xff"),
        *(
            json.dumps(RECEIPT | {"options": RECEIPT["options"] | option})
            for option in (
                *({"dedup_threshold": 2}, {"dedup_threshold": "a"}),
                *({"group_field": 5}, {"token_field": ""}, {"token_field": 5}),
                *({"targets": ["two.jsonl\0"]}, {"given": [""]}),
            )
        ),
        *(f'{json.dumps(RECEIPT)[:-1]}, "x": {"[" * n}{"]" * n}}}' for n in (250, 990)),
        *(
            json.dumps(RECEIPT | part)
            for part in (
                *({"input": None}, {"input": {}}, {"embeddings": []}, {"noise": 1e-300}),
                *({"noise": 1e300}, {"query": {"sources": {}}}),
                *({"gip": None}, {"numpy": 1}, {"embeddings": {"path": 1, "model": "m"}}),
                *({"numpy": ["2"]}, {"gip": {"0": 1}}, {"input": {"blake2b": ["0"]}}),
                *({"beside": 5}, {"beside": {"x": 5}}, {"beside": {"targets": [{}]}}),
            )
        ),
    ],
)
def test_what_is_no_receipt_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.receipt.json").write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"s\.receipt\.json: not a receipt of gip select"):
        Receipt.beside(str(tmp_path / "s.jsonl"))
    assert Receipt.beside(str(tmp_path / "other.jsonl")) is None


def test_a_receipt_is_a_plan_without_how_much_to_pick(tmp_path: Path) -> None:
    options = {
        "signals": {"good": 3}, "quality_power": 1.5, "pursuit": "residual",
        "dedup_threshold": 0.8, "exclude_threshold": 0.7, "token_field": "n", "num": 7,
    }  # fmt: skip
    said = {"query": {"sources": {"signals": 0.25, "targets": 0.75}}, "options": options}
    (tmp_path / "s.receipt.json").write_text(json.dumps(RECEIPT | said))
    receipt = Receipt.beside(str(tmp_path / "s.jsonl"))
    assert receipt is not None
    assert receipt.plan == Plan(
        Budget(tokens=1, token_field="n"),
        Sources(("good=3.0",), 0.0, 0.25, 0.75, quality_power=1.5),
        pursuit="residual",
        dedup_threshold=0.8,
        exclude_threshold=0.7,
    )


def test_the_embeddings_of_a_receipt_are_of_the_same_rows_by_the_same_model(tmp_path: Path) -> None:
    pool, store = write_rows(tmp_path / "pool.jsonl", POOL), tmp_path / "aside" / "pool.npy"
    store.parent.mkdir()
    toys.embed(pool, store)
    opened = open_embeddings(store)
    made = {"path": "aside/pool.npy", "keys": opened.digest, **asdict(opened.settings.card)}
    path = tmp_path / "s.receipt.json"
    path.write_text(json.dumps(RECEIPT | {"embeddings": made}))

    def found() -> str | None:
        return Receipt.read(path).store_path

    assert found() == str(store)
    toys.embed(pool, store, toys.ToyEncoder("other"))
    assert found() is None
    toys.embed(write_rows(pool, POOL[:3]), store)
    assert found() is None
    for name in ("toy", "./models/toy"):
        toys.embed(write_rows(pool, POOL), store, toys.ToyEncoder(name))
        assert found() == str(store)


@pytest.mark.parametrize(
    ("name", "text", "by_line"),
    [
        ("s.jsonl", '{"text": "a"}\n{"text": "c"}\n', True),
        ("s.jsonl", '\n{"text": "a"}\n{"text": "c"}\n', False),
        ("s.jsonl", '{"text": "a"}\n\n{"text": "c"}\n', False),
        ("s.json", '[{"text": "a"},\n{"text": "c"}]', False),
        ("s.jsonl.gz", '{"text": "a"}\n{"text": "c"}\n', False),  # gzip would not unpack it
    ],
)
def test_head_takes_rows_where_every_line_is_one(
    pool: Pool, tmp_path: Path, name: str, text: str, by_line: bool
) -> None:
    (tmp_path / name).write_text(text)
    picked = read_selection(str(tmp_path / name), pool, None, BadRows())
    assert (picked.rows.tolist(), picked.by_line) == ([0, 2], by_line)


def test_rows_of_another_format_are_no_selection_of_the_pool(pool: Pool, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "s.jsonl", [{"q": 1}])
    why = (
        r"s\.jsonl:1: not readable as text row: .*; give a selection of .*pool\.jsonl, or pass --sk"
    )
    with pytest.raises(InputError, match=why):
        read_selection(str(path), pool, None, BadRows())


@pytest.mark.parametrize("pipe", ["pipe", "/dev/zero"])
def test_a_receipt_that_names_what_never_ends_is_refused(pipe: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    named = RECEIPT | {"options": RECEIPT["options"] | {"targets": [pipe]}}
    (tmp_path / "s.receipt.json").write_text(json.dumps(named))
    why = f"names {pipe}, which is no file that can be read again; move the receipt away"
    with pytest.raises(InputError, match=why):
        Receipt.beside(str(tmp_path / "s.jsonl"))


def test_a_file_of_a_name_too_long_is_one_that_is_not_there(tmp_path: Path) -> None:
    named = RECEIPT | {"options": RECEIPT["options"] | {"targets": ["x" * 300]}}
    (tmp_path / "s.receipt.json").write_text(json.dumps(named))
    receipt = Receipt.beside(str(tmp_path / "s.jsonl"))
    assert receipt is not None
    assert receipt.files["targets"] == ["x" * 300]


def test_a_receipt_of_the_least_that_is_needed_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.receipt.json").write_text(json.dumps(RECEIPT))
    assert Receipt.beside(str(tmp_path / "s.jsonl")) is not None


def test_a_name_too_long_for_a_receipt_beside_it_has_none(tmp_path: Path) -> None:
    long = tmp_path / ("b" * 250)
    long.touch()
    (tmp_path / "link.jsonl").symlink_to(long)
    assert Receipt.beside(str(tmp_path / "link.jsonl")) is None
    assert Receipt.beside(str(long)) is None
