"""Damaged and odd files through every reader: read as the design says, or refused in one line.

`GIP_FUZZ_EXAMPLES` sets how many for each reader (``make fuzz``: 10,000); the seeds are the
numbers from 0, so that whatever fails can be run again alone.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gip_cli.embedding_files import Paths, Settings
from gip_cli.embedding_journal import EmbeddingJournal
from gip_cli.embeddings import open_embeddings
from gip_cli.errors import GipError, InputError, MismatchError
from gip_cli.formats import Renderer, key_of
from gip_cli.metadata import Metadata, MetadataScorer
from gip_cli.pool import load_pool
from gip_cli.rows import BadRows, RowFile
from gip_cli.signals import strip
from tests.toys import ToyEncoder, embed, write_rows

EXAMPLES = int(os.environ.get("GIP_FUZZ_EXAMPLES", "250"))
ROOT = Path(__file__).parent.parent

SAMPLES = [
    b"".join((ROOT / f"sample_data/{name}.jsonl").read_bytes().splitlines(keepends=True)[:4])
    for name in ("alpaca", "messages", "qa", "sharegpt", "text")
]
SCORED = b"".join(
    b'{"text":"t%d","up":%d,"gip":{"signals":{"s":%d,"t":null},"ranges":{"s":[1,5]}}}\n' % (n, n, n)
    for n in (1, 2, 3)
)
ODD = b"""{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "a"}]}
{"messages": [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "q"}]}]}
{"messages": []}
{"messages": [{"role": "wizard", "content": ""}]}
{"messages": [{"role": "user", "content": 12345678901234567890123}], "messages": 1}
"""
SEEDS = [
    *SAMPLES,
    SCORED,
    ODD,
    *(b"[" + b",\n".join(sample.splitlines()) + b"]" for sample in (*SAMPLES, SCORED)),
    *map(gzip.compress, SAMPLES[:2]),
]

# What breaks readers: structure, numbers at their limits, characters that are none, other ends.
PIECES = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\n", b"\r\n", b"\r", b"\x00", b" "),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b"),
    *(b"null", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-0", b"true", b'""', b"{}", b"[]"),
    *(rb"\ud800", rb"\u0000", b'"gip":1', b'"gip":{"signals":{"s":9}},', b'"text":1,', b"[" * 1100),
]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        span = rng.choice((1, 1, 3, 20, 200))
        match rng.randrange(7):
            case 0:
                out[at : at + 1] = rng.randbytes(1)
            case 1:
                del out[at : at + span]
            case 2:
                out[at:at] = rng.choice(PIECES)
            case 3:
                out[at : at + span] = rng.choice(PIECES)
            case 4:
                out[at:at] = out[at : at + span]
            case 5:
                del out[at:]
            case 6:
                lines = bytes(out).split(b"\n")
                rng.shuffle(lines)
                out[:] = b"\n".join(lines)
    return bytes(out)


def check_refusal(error: GipError, path: Path, code: int) -> None:
    """One line that says where and what to do about it."""
    assert error.exit_code == code
    message = str(error)
    assert message.startswith(str(path)), message
    assert message.isprintable(), message
    assert "; " in message, message


def usable(data: bytes, path: Path, read: Callable[[RowFile], list[bytes]]) -> None:
    """Read `data` strictly and skipping; check what is refused, dropped and kept."""
    path.write_bytes(data)
    strict: list[bytes] | None = None
    try:
        with RowFile(path, BadRows(), reread=True) as rows:
            strict = read(rows)
    except InputError as error:
        check_refusal(error, path, 3)
    bad = BadRows(skip=True)
    try:
        with RowFile(path, bad, reread=True) as rows:
            kept = read(rows)
    except InputError as error:  # what no skipping helps: a broken array, gzip, no row at all
        check_refusal(error, path, 3)
        assert strict is None
        return
    assert strict is None or (strict == kept and not bad.count)
    if bad.first:
        check_refusal(bad.first, path, 3)
    plain = data.removeprefix(b"\xef\xbb\xbf")
    if not re.match(rb"\s*\[|\x1f\x8b", plain):
        lines = [line for line in plain.split(b"\n") if line.strip(b" \t\r\n")]
        assert len(kept) + bad.count == len(lines)


def check_rows(rows: RowFile) -> list[bytes]:
    """Every usable row's bytes, which are the file's own, found again by offset."""
    renderer = Renderer.sniff(rows)
    found = []
    for one in renderer.read(rows):
        assert one.text.strip()
        assert len(key_of(one.text)) == 16
        assert orjson.loads(one.row.raw) == one.row.value
        found.append(one.row)
    for row in found:
        assert rows.read(row.offset, len(row.raw)) == rows.one_line(row.raw)
    return [row.raw for row in found]


def check_scores(rows: RowFile) -> list[bytes]:
    """Signals attached and taken out again leave each row's bytes as they were."""
    scorer = MetadataScorer([Metadata.parse("up=up:mean"), Metadata.parse("x=meta.rating")], {})
    found = []
    for row in rows:
        line = scorer.line(row)
        own = strip(row.raw, row.value)
        assert strip(line, orjson.loads(line)) == own
        found.append(row.raw)
    return found


def check_pool(rows: RowFile) -> list[bytes]:
    """A pool's rows are those that are read again from their places."""
    pool = load_pool(rows, Renderer.sniff(rows))
    assert pool.signals.values.shape == (len(pool), len(pool.signals.names))
    return [pool.row(position).raw for position in range(len(pool))]


READERS = {"text": check_rows, "score": check_scores, "pool": check_pool}


@pytest.mark.parametrize("reader", READERS)
def test_mutated_files_are_read_or_refused(reader: str, tmp_path: Path) -> None:
    for seed in range(EXAMPLES):
        rng = random.Random(seed)
        data = mutated(rng.choice(SEEDS), rng)
        try:
            usable(data, tmp_path / "pool", READERS[reader])
        except BaseException as error:
            error.add_note(f"seed {seed}: {data!r}")
            raise


def mutated_gzip(rng: random.Random) -> bytes:
    return gzip.compress(mutated(rng.choice(SEEDS), rng), rng.randrange(10))


def test_mutated_files_inside_gzip_are_read_or_refused(tmp_path: Path) -> None:
    for seed in range(EXAMPLES):
        usable(mutated_gzip(random.Random(seed)), tmp_path / "pool", check_rows)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
words = st.sampled_from(
    ["text", "instruction", "input", "output", "messages", "role", "content", "conversations",
     "from", "value", "question", "answer", "prompt", "response", "gip", "signals", "ranges", "up",
     "system", "tool_calls", "function_call", "function", "name", "arguments"]
)  # fmt: skip
turns = st.lists(st.dictionaries(words, json_values, max_size=3), max_size=3)
odd_rows = st.dictionaries(words, json_values | turns, max_size=4)


@pytest.mark.parametrize("reader", READERS)
def test_rows_of_any_shape_are_read_or_refused(reader: str, tmp_path: Path) -> None:
    @settings(
        max_examples=max(EXAMPLES // 5, 50), deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(odd_rows, min_size=1, max_size=4), st.booleans())
    def run(values: list[dict[str, object]], array: bool) -> None:
        lines = [json.dumps(value).encode() for value in values]
        data = b"[" + b",".join(lines) + b"]" if array else b"\n".join(lines)
        usable(data, tmp_path / "pool", READERS[reader])

    run()


@pytest.mark.parametrize("name", ["pool.npy", "pool.keys.npy", "pool.tokens.npy", "pool.json"])
def test_mutated_stores_are_opened_or_refused(name: str, tmp_path: Path) -> None:
    embed(write_rows(tmp_path / "rows.jsonl", ["a", "b", "c"]), tmp_path / "pool.npy")
    whole = (tmp_path / name).read_bytes()
    opened = 0
    for seed in range(EXAMPLES):
        rng = random.Random(seed)
        (tmp_path / name).write_bytes(mutated(whole, rng))
        try:
            store = open_embeddings(tmp_path / "pool.npy")
            store.check_rows()
            opened += 1
            assert store.vectors.shape == (3, 8)
        except MismatchError as error:
            check_refusal(error, tmp_path, 4)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert opened < EXAMPLES / 2


def test_mutated_journals_give_the_store_of_a_clean_run(tmp_path: Path) -> None:
    texts = ["a", "b c", "d", "e f"]
    pool = write_rows(tmp_path / "pool.jsonl", texts)
    embed(pool, tmp_path / "clean.npy")
    clean = (tmp_path / "clean.npy").read_bytes()
    paths = Paths.of(tmp_path / "pool.npy")
    settings = Settings(ToyEncoder().card, Renderer("text"), "float32")
    with EmbeddingJournal(paths, settings) as journal:
        encoded = ToyEncoder().encode(texts)
        journal.append([key_of(text) for text in texts], encoded.tokens, encoded.vectors)
    whole = journal.path.read_bytes()
    for seed in range(EXAMPLES // 5):
        journal.path.write_bytes(mutated(whole, random.Random(seed)))
        embed(pool, paths.npy)
        assert paths.npy.read_bytes() == clean
        for path in paths.all:
            path.unlink()


def test_a_line_of_fifty_megabytes_is_a_row_like_any_other(tmp_path: Path) -> None:
    raw = b'{"text": "' + b"0123456789" * 5_000_000 + b'"}'
    (tmp_path / "pool").write_bytes(b'{"text": "a"}\n' + raw + b'\n{"text": "b"}')
    with RowFile(tmp_path / "pool", BadRows(), reread=True) as rows:
        pool = load_pool(rows, Renderer.sniff(rows))
        assert pool.row(1).raw == raw
        assert [int(line) for line in pool.lines] == [1, 2, 3]


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_the_seeds_themselves_are_read(number: int, tmp_path: Path) -> None:
    """Else the mutator would show nothing but refusals."""
    (tmp_path / "pool").write_bytes(SEEDS[number])
    with RowFile(tmp_path / "pool", BadRows(skip=SEEDS[number] is ODD), reread=True) as rows:
        assert len(check_rows(rows)) >= (2 if SEEDS[number] is ODD else 3)
