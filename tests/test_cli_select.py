"""`gip select` as a user runs it: files in, files and an exit code out."""

from __future__ import annotations

import gzip
import os
import pty
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from gip_cli.cli.select_files import compare_files
from gip_cli.cli.select_options import OutputOptions
from gip_cli.errors import InputError
from gip_cli.formats import Part, Renderer
from gip_cli.plan import Budget, Plan
from gip_cli.rows import BadRows, RowFile
from gip_cli.solution import Solution
from gip_cli.store import write_embeddings
from tests import toys
from tests.pools import unit
from tests.selecting import VectorEncoder, embed, in_memory, pose, row, write_rows
from tests.toys import GIP

D = 6
ROOT = Path(__file__).parent.parent


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def receipt_of(out: Path) -> dict[str, Any]:
    return orjson.loads(out.with_suffix(".receipt.json").read_bytes())


def vectors_of(rows: list[dict[str, Any]]) -> np.ndarray:
    return unit(np.array([one["text"].split()[:D] for one in rows], dtype=np.float64))


def make_rows() -> list[dict[str, Any]]:
    """60 rows in three languages; rows 20 to 29 repeat rows 0 to 9, nearly; row 7 has no signal."""
    rng = np.random.default_rng(5)
    vectors = unit(rng.standard_normal((60, D)) + 0.4)
    vectors[20:30] = unit(vectors[:10] + 0.02 * rng.standard_normal((10, D)))
    signal = rng.uniform(1, 5, 60).round(2).tolist()
    signal[7] = None
    return [
        row(
            vector,
            int(rng.integers(0, 30)),
            n=n,
            lang="de" if n % 6 == 0 else "en" if n % 2 else "fr",
            length=int(rng.integers(5, 50)),
            gip={"signals": {"good": good}, "ranges": {"good": [1, 5]}},
        )
        for n, (vector, good) in enumerate(zip(vectors, signal, strict=True))
    ]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", make_rows())
    embed(path, D)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "small.jsonl"


@dataclass(frozen=True)
class Run:
    """What a command did: its exit code and what it wrote to the standard streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        return self.stderr.splitlines()[-1].removeprefix("gip: error: ")


Gip = Callable[..., Run]
Select = Callable[..., str]


@pytest.fixture
def gip() -> Gip:
    """The command line without a process of its own, which takes longer than what it does."""

    def run(*arguments: object) -> Run:
        done = toys.gip(*arguments)
        return Run(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def select(gip: Gip) -> Select:
    """Select to a file, which must go well; what was said."""

    def run(pool: Path, out: Path, *options: object) -> str:
        done = gip("select", pool, "-o", out, *options)
        assert done.code == 0, done.stderr
        return done.stderr

    return run


def stripped(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "gip"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no budget"),
        (("-k", 3, "--tokens", 50), "two budgets"),
        (("-k", 0), "-k 0 is not a positive number"),
        (("--fraction", 1.5), "--fraction 1.5 is not in (0, 1]"),
        (("--tokens", 0), "--tokens 0"),
        (("--tokens", 3), "--tokens 3 is less than the shortest row has (6)"),
        (("--captured", 1), "--captured 1 is not between 0 and 1"),
        (("-k", 3, "--length-power", 1), "go with --tokens"),
        (("-k", 3, "--per-group", 1), "groups need --group-field"),
        (("-k", 3, "--max-per-group", 0), "groups need --group-field"),
        (("-k", 3, "--group-field", "lang"), "--group-field goes with one limit"),
        (
            ("-k", 3, "--group-field", "lan", "--per-group", 2),
            "--group-field: no row has a value in field 'lan'; fields here: text, n, lang",
        ),
        (
            ("--tokens", 30, "--token-field", "len"),
            "--token-field: no row has a value in field 'len'; ",
        ),
        (
            ("--captured", 0.5, "--group-field", "lang", "--group-share", "equal"),
            "--group-share divides -k, --fraction or --tokens",
        ),
        (
            ("-k", 3, "--group-field", "lang", "--group-share", "even"),
            "--group-share even: no such file; give proportional, equal or FILE.json",
        ),
        (("-k", 3, "--dedup-threshold", 1.2), "--dedup-threshold 1.2 is not between 0 and 1"),
        (("-k", 3, "--noise", "low"), "--noise low is neither auto nor a number"),
        (("-k", 3, "--noise", "-1"), "--noise -1 is neither auto nor a positive number"),
        (("-k", 3, "--noise", "1e-9"), "--noise must lie in ["),
        (("-k", 3, "--noise", "1e99"), ", 1e+20], not 1e+99"),
        (("-k", 3, "--quality-power", "-1"), "--quality-power -1 is not a number from 0 to 10"),
        (("-k", 3, "--quality-power", 300), "--quality-power 300 is not a number from 0 to 10"),
        (("--tokens", 9, "--length-power", 4), "--length-power 4 is not a number from 0 to 3"),
        (("-k", 3, "--self-weight", 1e308), "--self-weight 1e+308 is not a number from 0 to 1e+09"),
        (("-k", 3, "--signal", "bad"), "no row has signal 'bad'; signals here: good"),
        (("-k", 3, "--signal", "good=0"), "--signal 'good=0' is not NAME=WEIGHT"),
        (("-k", 3, "--signal", "good", "--no-signals"), "exclude each other"),
        (("-k", 3, "--signal-weight", 1, "--no-signals"), "--signal-weight and --no-signals"),
        (("-k", 3, "--quality-power", 2, "--no-signals"), "--quality-power and --no-signals"),
        (("-k", 3, "--exclude-threshold", 0.8), "--exclude-threshold goes with --exclude"),
        (("-k", 3, "--target-weight", 2), "--target-weight goes with --target"),
        (("-k", 3, "--format", "alpaca"), "made by reading rows as text; leave out --format"),
        (("-k", 3, "--text-field", "lang"), "made by reading rows as text; leave out --format"),
        (("-k", 3, "--min-captured", 2), "--min-captured 2 is not between 0 and 1"),
        (
            ("-k", 3, "--pursuit", "residual", "--given", "none.jsonl"),
            "--given does not go with --pursuit residual",  # and the file is not even looked for
        ),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(
    gip: Gip, options: tuple[object, ...], message: str, pool: Path, out: Path
) -> None:
    run = gip("select", pool, "-o", out, *options)
    assert run.code == 2
    assert message in run.error
    assert not list(out.parent.iterdir())


def test_check_and_json_need_a_file(gip: Gip, pool: Path) -> None:
    for option, message in (("--check", "pass -o FILE"), ("--json", "carries the rows already")):
        run = gip("select", pool, "-k", 3, option)
        assert run.code == 2
        assert message in run.error
        assert not run.stdout


def test_what_is_read_is_never_written(gip: Gip, pool: Path, out: Path) -> None:
    given = shutil.copy(pool, out.parent / "given.jsonl")
    for path, option in ((pool, "-o"), (pool, "--rejects"), (given, "-o"), (given, "--receipt")):
        before = Path(path).read_bytes()
        run = gip("select", pool, "-k", 3, "--given", given, "-o", out, option, path)
        assert run.code == 2
        assert "same file" in run.error
        assert Path(path).read_bytes() == before
    run = gip("select", pool, "-k", 3, "-o", out, "--rejects", out)
    assert "two outputs of one name" in run.error


def test_tokens_are_never_over_budget_and_counted_as_asked(
    select: Select, pool: Path, out: Path
) -> None:
    said = select(pool, out, "--tokens", 200)
    tokens = sum(len(one["text"].split()) for one in read(out))
    assert 150 < tokens <= 200
    assert f"{tokens} of 200 tokens" in said
    receipt = receipt_of(out)
    assert receipt["tokens"]["picked"] == tokens
    assert receipt["stopped"] == "budget"
    select(pool, out, "--tokens", 200, "--token-field", "length")
    assert 150 < sum(one["length"] for one in read(out)) <= 200


def test_picks_of_one_text_are_told_with_what_keeps_them_out(select: Select, out: Path) -> None:
    """Noise large enough that a second look at a strong row is worth more than a weak one."""
    strong, weak = row([1.0, 0.1]), row([0.0, 1.0])
    path = write_rows(out.parent / "pool.jsonl", [strong, {**strong, "n": 1}, strong, weak])
    embed(path, 2)
    said = select(path, out, "-k", 3, "--noise", 10)
    assert [one["text"] for one in read(out)] == [strong["text"]] * 3
    assert "  2 of 3 picks repeat the text of another; --dedup-threshold 0.99 keeps such" in said
    assert receipt_of(out)["repeated_texts"] == 2
    for remedy in (("--dedup-threshold", 0.99), ("--noise", 0.1)):
        said = select(path, out, "-k", 2, *remedy)
        assert {one["text"] for one in read(out)} == {strong["text"], weak["text"]}
        assert "repeat" not in said
        assert receipt_of(out)["repeated_texts"] == 0


def test_length_power_prefers_short_rows(select: Select, pool: Path, out: Path) -> None:
    counts = []
    for power in (0, 1):
        select(pool, out, "--tokens", 200, "--length-power", power)
        counts.append(len(read(out)))
    assert counts[1] > counts[0]


def test_a_row_far_beyond_the_budget_leaves_the_prices_of_others_in_range(
    select: Select, pool: Path, out: Path
) -> None:
    rows = [{**one, "length": 10} for one in make_rows()]
    rows[4]["length"] = 2**31  # to the third power, 1e28 times what 1 costs
    rows[5] |= {"length": 1, "gip": rows[0]["gip"]}
    path = write_rows(out.parent / "long.jsonl", rows)
    options = ("-e", pool.with_suffix(".npy"), "--tokens", 100, "--token-field", "length")
    select(path, out, *options, "--length-power", 3)
    picked = [one["length"] for one in read(out)]
    assert sorted(picked) == [1] + 9 * [10]


def test_a_length_power_beyond_what_prices_may_be_is_told_by_its_name(
    gip: Gip, pool: Path, out: Path
) -> None:
    lengths = (1, 6_000_000)
    rows = [{**one, "length": lengths[at % 2]} for at, one in enumerate(make_rows())]
    path = write_rows(out.parent / "long.jsonl", rows)
    budget = ("--tokens", 10**7, "--token-field", "length", "--length-power", 3)
    run = gip("select", path, "-e", pool.with_suffix(".npy"), "-o", out, *budget)
    told = "--length-power 3 is too large for rows of 1 to 6,000,000 tokens; give a lower one"
    assert (run.code, run.error) == (2, told)


@pytest.mark.parametrize("length", ["many", -1, 2**32])
def test_a_row_without_a_token_count_is_refused_or_told(
    length: object, select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    rows = make_rows()
    rows[4]["length"] = length
    path = write_rows(out.parent / "odd.jsonl", rows)
    options = ("-e", pool.with_suffix(".npy"), "--tokens", 200, "--token-field", "length")
    run = gip("select", path, "-o", out, *options)
    assert run.code == 3
    assert run.error.startswith(f"{path}:5: ")
    what = "the number of tokens in field 'length' is too large; mend the row (the largest is 429"
    assert (what if length == 2**32 else "no number of tokens in field 'length'; mend") in run.error
    said = select(path, out, *options, "--skip-bad", "--rejects", out.parent / "rejects")
    assert "1 of 60 rows has no token count and cannot be picked" in said
    assert [r["gip"]["reason"] for r in read(out.parent / "rejects") if r["n"] == 4] == [
        "no token count"
    ]
    checked = select(path, out, *options, "--skip-bad", "--check")
    assert checked.startswith("gip: 1 of 60 rows has no token count and cannot be picked\n")


def test_fields_that_hold_nothing_are_told(gip: Gip, pool: Path, out: Path) -> None:
    rows = [{**one, "length": 0, "lang": None} for one in make_rows()]
    path = write_rows(out.parent / "odd.jsonl", rows)
    command = ("select", path, "-e", pool.with_suffix(".npy"), "-o", out)
    groups = ("--group-field", "n", "--group-share", "equal")
    for options in ((), groups):
        run = gip(*command, "--tokens", 200, "--token-field", "length", *options)
        assert run.code == 2
        told = "--tokens: every row that can be picked has 0 tokens in field 'length'; say where"
        assert run.error.startswith(told)
    run = gip(*command, "--group-field", "lang", "--per-group", 1)
    assert (run.code, "no row has a value in field 'lang'; fields here: text" in run.error) == (
        2, True,
    )  # fmt: skip


def test_captured_stops_at_the_first_pick_that_reaches_it(
    select: Select, pool: Path, out: Path
) -> None:
    select(pool, out, "--captured", 0.6, "--annotate")
    captured = [one["gip"]["captured"] for one in read(out)]
    assert captured[-1] >= 0.6 > captured[-2]
    assert receipt_of(out)["stopped"] == "captured"
    said = select(pool, out, "--captured", 0.999)
    all_there_is = f"{receipt_of(out)['captured']:.1%} is all there is at noise "
    assert (
        f"--captured 0.999 is not reached: no further row can be picked, and {all_there_is}" in said
    )


def test_groups_have_their_quotas_and_shortfalls_are_told(
    select: Select, pool: Path, out: Path
) -> None:
    said = select(pool, out, "--group-field", "lang", "--per-group", 12)
    langs = [one["lang"] for one in read(out)]
    assert {lang: langs.count(lang) for lang in ("de", "en", "fr")} == {
        "de": 10,
        "en": 12,
        "fr": 12,
    }
    assert "1 group is 2 rows short:" in said
    assert "de: 10 of 12 rows" in said
    table = {entry["group"]: entry for entry in receipt_of(out)["quotas"]["table"]}
    assert table["de"] == {
        "group": "de", "in_pool": 10, "rows": 10, "available": 10, "share": None, "quota": 12,
        "picked": 10, "shortfall": 2,
    }  # fmt: skip

    said = select(pool, out, "--group-field", "lang", "--per-group", 12, "-k", 20)
    picked = {entry["group"]: entry["picked"] for entry in receipt_of(out)["quotas"]["table"]}
    few = [lang for lang in ("en", "fr") if picked[lang] < 12]  # there are 10 rows in German
    groups = f"1 group ({few[0]}) has" if len(few) == 1 else "2 groups (en, fr) have"
    assert f"gip: {groups} fewer than --per-group 12: the budget ended first\n" in said
    assert f"de: {picked['de']} of 12 rows" in said

    shares = out.parent / "shares.json"
    shares.write_text('{"de": 1, "fr": 3}')
    said = select(pool, out, "-k", 12, "--group-field", "lang", "--group-share", shares)
    assert f"29 of 60 rows are in 1 group (en) to which {shares} gives no share" in said
    langs = [one["lang"] for one in read(out)]
    assert (langs.count("de"), langs.count("fr"), langs.count("en")) == (3, 9, 0)

    select(pool, out, "--tokens", 300, "--group-field", "lang", "--group-share", "equal")
    for lang in ("de", "en", "fr"):
        assert sum(len(r["text"].split()) for r in read(out) if r["lang"] == lang) <= 100

    select(pool, out, "-k", 20, "--group-field", "lang", "--max-per-group", 7)
    langs = [one["lang"] for one in read(out)]
    assert len(langs) == 20
    assert max(map(langs.count, ("de", "en", "fr"))) <= 7
    assert set(receipt_of(out)["quotas"]) == {"unit", "groups", "full"}

    more, given = out.with_name("more.jsonl"), ("--given", out)  # by each of which no more may come
    said = select(pool, more, "-k", 9, *given, "--group-field", "lang", "--max-per-group", 3)
    assert "% of it, and count in no group's quota\n" in said
    langs = [one["lang"] for one in read(more)]
    assert {lang: langs.count(lang) for lang in langs} == {"de": 3, "en": 3, "fr": 3}


def test_full_groups_are_no_reason_where_the_rows_left_are_near_duplicates(
    select: Select, out: Path
) -> None:
    rows = [row(np.eye(D)[n % 2], n, lang=("en", "de")[n % 2]) for n in range(8)]
    copies = write_rows(out.parent / "copies.jsonl", rows)
    embed(copies, D)
    options = ("-k", 5, "--group-field", "lang", "--max-per-group", 1)
    full = "picked 2 of the 5 asked for: no row can be picked but from groups that are full"
    assert full in select(copies, out, *options)
    said = select(copies, out, *options, "--dedup-threshold", 0.9)
    assert "picked 2 of the 5 asked for: no further row can be picked\n" in said


def test_what_was_asked_for_and_is_not_there_is_told(select: Select, pool: Path, out: Path) -> None:
    for budget in (("-k", 30), ("--fraction", 0.5)):
        said = select(pool, out, *budget, "--group-field", "lang", "--max-per-group", 3)
        full = "no row can be picked but from groups that are full (--max-per-group 3)"
        assert f"picked 9 of the 30 asked for: {full}" in said
        receipt = receipt_of(out)
        assert (receipt["stopped"], receipt["asked"], receipt["picked"]) == ("exhausted", 30, 9)
    said = select(pool, out, "-k", 60, "--group-field", "lang", "--per-group", 12)
    assert "picked 34 of the 60 asked for: no row can be picked but from groups that are " in said
    said = select(pool, out, "-k", 60, "--group-field", "lang", "--per-group", 40)
    assert "picked 59 of the 60 asked for: no further row can be picked" in said


def test_shares_in_a_file_that_leave_groups_without_rows_are_told(
    select: Select, pool: Path, out: Path
) -> None:
    """Those that it does not name or gives 0, and those whose share is too small."""
    shares = out.parent / "shares.json"
    for given, without in (
        ('{"de": 1}', "49 of 60 rows are in 2 groups (en, fr)"),
        ('{"de": 9, "fr": 1, "en": 0}', "29 of 60 rows are in 1 group (en)"),
    ):
        shares.write_text(given)
        said = select(pool, out, "-k", 3, "--group-field", "lang", "--group-share", shares)
        assert f"gip: {without} to which {shares} gives no share and cannot be picked\n" in said
        assert ("1 of 2 groups gets none of the 3 rows" in said) == ("fr" in given)


def test_a_token_quota_that_no_row_fits_is_told(gip: Gip, pool: Path, out: Path) -> None:
    rows = [{**one, "length": 300 if one["lang"] == "de" else 10} for one in make_rows()]
    path = write_rows(out.parent / "long.jsonl", rows)
    run = gip(
        *("select", path, "-e", pool.with_suffix(".npy"), "-o", out, "--tokens", 300),
        *("--token-field", "length", "--group-field", "lang", "--group-share", "equal"),
    )
    assert "1 group is 100 tokens short:\n" in run.stderr
    assert "de: 0 of 100 tokens" in run.stderr


def test_a_token_quota_is_short_if_rows_run_out_not_by_a_few_tokens(
    select: Select, pool: Path, out: Path
) -> None:
    """Also where they are near-duplicates of picks: the group had tokens enough."""
    options = ("--token-field", "length", "--group-field", "lang", "--group-share", "equal")
    said = select(pool, out, "--tokens", 400, *options)
    assert sum(row["shortfall"] for row in receipt_of(out)["quotas"]["table"]) > 0
    assert "short:" not in said
    rows = [row(np.eye(D)[n % 2], n, lang=("en", "de")[n % 2], length=10) for n in range(20)]
    copies = write_rows(out.parent / "copies.jsonl", rows)
    embed(copies, D)
    said = select(copies, out, "--tokens", 100, "--dedup-threshold", 0.9, *options)
    assert "2 groups are 80 tokens short:" in said
    assert "de: 10 of 50 tokens" in said


def test_groups_that_a_budget_does_not_reach_are_told(
    select: Select, pool: Path, out: Path
) -> None:
    for shares, budget, left in (("equal", 2, 1), ("proportional", 1, 2)):
        options = ("--group-field", "lang", "--group-share", shares)
        said = select(pool, out, "-k", budget, *options)
        assert len({one["lang"] for one in read(out)}) == 3 - left
        assert f"{left} of 3 groups get" in said
        assert f" none of the {budget} row" in said
        assert "none of" not in select(pool, out, "-k", 12, *options)


def test_a_selection_is_extended_by_one_command(select: Select, pool: Path, out: Path) -> None:
    """At the default noise too: given rows count in it as picks do."""
    select(pool, out, "-k", 15, "--keep-signals")
    whole, noise = read(out), receipt_of(out)["noise"]
    given = write_rows(out.parent / "given.jsonl", whole[:5])
    said = select(pool, out, "-k", 10, "--given", given, "--keep-signals")
    assert read(out) == whole[5:]
    receipt = receipt_of(out)
    assert receipt["noise"] == noise
    assert receipt["given"]["rows"] == receipt["given"]["in_pool"] == 5
    assert 0 < receipt["given"]["captured"] < receipt["captured_curve"][0][1]
    assert "5 of 60 rows are given and cannot be picked" in said


@pytest.mark.parametrize("option", ["--quality-power", "--signal-weight"])
def test_what_means_nothing_without_signals_is_refused(option: str, gip: Gip, out: Path) -> None:
    pool = write_rows(out.parent / "pool.jsonl", [stripped(one) for one in make_rows()])
    embed(pool, D)
    run = gip("select", pool, "-o", out, "-k", 3, option, 2)
    what = f"{option} goes with signals, and the rows have none; attach them with gip score"
    assert (run.code, run.error, out.exists()) == (2, f"{pool}: {what}", False)


def test_what_means_nothing_to_the_dual_form_of_signals_is_refused(
    gip: Gip, pool: Path, out: Path
) -> None:
    options = ("--pursuit", "residual", "--quality-power", 1)
    run = gip("select", pool, "-o", out, "-k", 3, *options)
    assert (run.code, out.exists()) == (2, False)
    assert run.error.startswith("--quality-power does nothing for --pursuit residual of signals")
    run = gip("select", pool, "-o", out, "-k", 3, *options, "--self-weight", 1)
    assert (run.code, out.exists()) == (0, True)


@pytest.mark.parametrize(("role", "told"), [("narrator", True), ("GPT", False)])
def test_rows_without_an_answer_are_told(gip: Gip, out: Path, role: str, told: bool) -> None:
    lines = []
    for at, name in enumerate(["assistant", role, role, role]):
        asked = {"role": "user", "content": " ".join("1" * at + "2" * (D - at))}
        lines.append({"messages": [asked, {"role": name, "content": "a"}]})
    pool = write_rows(out.parent / "chat.jsonl", lines)
    with RowFile(pool, BadRows(), reread=True) as rows:
        write_embeddings(rows, pool.with_suffix(".npy"), VectorEncoder(D), Renderer("messages"))
    run = gip("select", pool, "-k", 4, "-o", out)
    said = f"{pool}: 3 of 4 rows have no turn of an assistant: all the text counts as response"
    assert (said in run.stderr) == told
    whole = 2 * D + 1
    assert receipt_of(out)["response_characters"]["pool"] == ((3 * whole + 1) / 4 if told else 1)
    assert "assistant" not in gip("select", pool, "-k", 4, "-o", out, "--check").stderr


def test_rows_of_one_text_want_no_answer(gip: Gip, pool: Path, out: Path) -> None:
    assert "assistant" not in gip("select", pool, "-k", 4, "-o", out).stderr


def test_the_format_of_a_file_beside_the_pool_is_told_where_it_is_another(
    select: Select, pool: Path, out: Path
) -> None:
    same = write_rows(out.parent / "same.jsonl", make_rows()[:2])
    words = [one["text"].split(" ", 1) for one in make_rows()[:2]]
    lines = [{"question": first, "answer": rest} for first, rest in words]
    other = write_rows(out.parent / "other.jsonl", lines)
    with RowFile(other, BadRows(), reread=True) as rows:
        write_embeddings(rows, other.with_suffix(".npy"), VectorEncoder(D), Renderer("qa"))
    said = select(pool, out, "-k", 3, "--given", same, "--target", other)
    assert [line for line in said.splitlines() if line.endswith(" rows")] == [
        f"gip: {other}: qa rows"
    ]


def test_rows_of_two_files_that_overlap_count_once(select: Select, pool: Path, out: Path) -> None:
    given = write_rows(out.parent / "given.jsonl", make_rows()[:5])
    copy = shutil.copy(given, out.parent / "copy.jsonl")
    select(pool, out, "-k", 10, "--given", given)
    once = out.read_bytes(), receipt_of(out)
    said = select(pool, out, "-k", 10, "--given", given, "--given", copy)
    assert "gip: 5 of 10 given rows are in another --given file, too: counted once\n" in said
    assert out.read_bytes() == once[0]
    twice = receipt_of(out)
    assert twice["given"] == once[1]["given"] | {"repeated": 5}
    assert (twice["noise"], twice["captured"]) == (once[1]["noise"], once[1]["captured"])


def test_rows_given_are_known_by_their_text(select: Select, pool: Path, out: Path) -> None:
    """What `select` wrote has no signals any more; the pool's row of the same text has."""
    select(pool, out, "-k", 15)
    whole = read(out)
    other_bytes = [{"text": one["text"], "note": "bought in March"} for one in whole[:5]]
    given = write_rows(out.parent / "given.jsonl", other_bytes)
    select(pool, out, "-k", 10, "--given", given)
    assert read(out) == whole[5:]


def test_rows_given_from_elsewhere_are_embedded_from_their_sibling(
    select: Select, pool: Path, out: Path
) -> None:
    rng = np.random.default_rng(8)
    given = write_rows(out.parent / "old.jsonl", [row(v) for v in rng.standard_normal((4, D))])
    embed(given, D)
    said = select(pool, out, "-k", 10, "--given", given)
    assert "4 given rows without signals, here or in the pool: taken for full quality; " in said
    assert "--keep-signals" in said
    receipt = receipt_of(out)
    assert receipt["given"]["rows"] == receipt["given"]["without_signals"] == 4
    assert receipt["given"]["in_pool"] == 0
    assert receipt["beside"]["given"][0]["rows"] == 4


def test_a_file_given_without_rows_gives_none_and_that_is_told(
    select: Select, pool: Path, out: Path
) -> None:
    """A selection can be empty, as where what was given had captured enough."""
    given = out.parent / "given.jsonl"
    select(pool, given, "-k", 3)
    empty, odd = out.parent / "empty.jsonl", write_rows(out.parent / "odd.jsonl", [{"q": "a"}])
    said = select(pool, empty, "--given", given, "--captured", 0.01)
    assert "picked 0 of 60 rows" in said
    assert empty.read_bytes() == b""
    said = select(pool, out, "-k", 5, "--given", given)
    assert "gip:   the 3 rows given had captured" in said
    assert "quota" not in said
    whole = read(out)
    said = select(pool, out, "-k", 5, "--given", given, "--given", empty)
    assert f"gip: {empty}: no usable rows, so none are given by it\n" in said
    assert read(out) == whole
    assert receipt_of(out)["beside"]["given"][1]["rows"] == 0
    said = select(pool, out, "-k", 5, "--given", odd, "--skip-bad")
    assert f"gip: {odd}: no usable rows, so none are given by it\n" in said
    assert "1 bad row skipped" in said
    assert receipt_of(out)["given"] is None
    select(pool, given, "-k", 5)
    assert read(out) == read(given)


def test_a_signal_that_no_row_has_a_value_of_is_called_so(gip: Gip, pool: Path, out: Path) -> None:
    rows = [{**one, "gip": {"signals": {"good": None}}} for one in make_rows()]
    path = write_rows(out.parent / "null.jsonl", rows)
    run = gip("select", path, "-k", 2, "-e", pool.with_suffix(".npy"))
    assert run.code == 2
    assert run.error.startswith("no row has signal 'good'; signals here: none")


def test_rows_near_an_excluded_one_are_never_picked(select: Select, pool: Path, out: Path) -> None:
    rows = make_rows()
    exclude = write_rows(out.parent / "test.jsonl", rows[:10])
    rejects = out.parent / "rejects.jsonl"
    said = select(pool, out, "-k", 40, "--exclude", exclude, "--rejects", rejects)
    near = (vectors_of(rows) @ vectors_of(rows[:10]).T > 0.9).any(axis=1)
    assert near[:10].all()  # also the row that has no signal
    assert near[20:30].all()
    assert {r["n"] for r in read(rejects) if r["gip"]["reason"] == "excluded"} == set(
        np.flatnonzero(near)
    )
    assert f"{near.sum()} of 60 rows are too close to an excluded one" in said
    write_rows(exclude, [row([-1.0] * D)])
    embed(exclude, D)
    said = select(pool, out, "-k", 40, "--exclude", exclude)
    assert "gip: no row is too close to an excluded one\n" in said


@pytest.mark.parametrize("part", Part)
def test_prompts_alone_to_be_excluded_from_whole_rows_are_told(
    gip: Gip, out: Path, part: Part
) -> None:
    """Whole rows' embeddings do not find copies of a prompt that have long answers."""
    axes = [" ".join(map(str, axis)) for axis in np.eye(D)]
    whole = [{"question": one, "answer": one} for one in axes]
    files = {
        "pool": whole,
        "whole": whole[:1],
        "bare": [whole[0], whole[1] | {"answer": ""}],
        "texts": [{"text": axes[0]}, {"text": axes[1]}],
    }
    for name, rows in files.items():
        if part is Part.response and name == "bare":
            rows = rows[:1]
        path = write_rows(out.parent / f"{name}.jsonl", rows)
        with RowFile(path, BadRows(), reread=True) as file:
            renderer = Renderer("text") if name == "texts" else Renderer("qa", part=part)
            write_embeddings(file, path.with_suffix(".npy"), VectorEncoder(D), renderer)
    exclude = [out.parent / f"{name}.jsonl" for name in files if name != "pool"]
    options = [one for path in exclude for one in ("--exclude", path)]
    said = gip("select", out.parent / "pool.jsonl", "-k", 1, "-o", out, *options).stderr
    told = {exclude[1]: "1 of 2 rows has", exclude[2]: "2 of 2 rows have"}
    lines = [f"gip: {path}: {these} no response apart" for path, these in told.items()]
    assert [line for line in lines if line in said] == (lines if part is Part.both else [])
    assert said.count("no response apart from a prompt") == 2 * (part is Part.both)
    aimed = gip("select", out.parent / "pool.jsonl", "-k", 1, "-o", out, "--target", exclude[2])
    assert "no response apart" not in aimed.stderr


def test_near_duplicates_keep_the_best(select: Select, pool: Path, out: Path) -> None:
    """Of each near-duplicate pair one row is picked, never none: both copies are not dropped."""
    said = select(pool, out, "-k", 60, "--dedup-threshold", 0.99)
    picked = {one["n"] for one in read(out)}
    for n in set(range(10)) - {7}:
        assert len({n, n + 20} & picked) == 1
    assert 27 in picked
    assert receipt_of(out)["duplicates_avoided"] == 9
    assert "9 near-duplicates of picks avoided" in said
    assert "picked 50 of the 60 asked for" in said


@pytest.mark.parametrize(
    "budget",
    [
        ("-k", 12),
        ("--tokens", 300),
        ("-k", 12, "--group-field", "lang", "--max-per-group", 5),
    ],
)
def test_near_duplicates_are_as_many_as_rows_rejected_for_it(
    budget: tuple[object, ...], select: Select, pool: Path, out: Path
) -> None:
    """Also where the budget or a group's limit had closed a row before a pick came near."""
    rejects = out.parent / "rejects.jsonl"
    said = select(pool, out, *budget, "--dedup-threshold", 0.6, "--rejects", rejects)
    count = sum(one["gip"]["reason"] == "duplicate" for one in read(rejects))
    rows = make_rows()
    near = (vectors_of(rows) @ vectors_of(read(out)).T > 0.6).any(axis=1)
    near[[7, *(one["n"] for one in read(out))]] = False  # one without a signal, and the picks
    assert count == near.sum() == receipt_of(out)["duplicates_avoided"]
    assert f"{count} near-duplicates of picks avoided" in said


def test_rejects_say_why_and_what_is_nearest(select: Select, pool: Path, out: Path) -> None:
    rejects = out.parent / "rejects.jsonl"
    rows = make_rows()
    given = write_rows(out.parent / "given.jsonl", rows[:2])
    exclude = write_rows(out.parent / "exclude.jsonl", rows[2:4])
    options = ("--given", given, "--exclude", exclude, "--dedup-threshold", 0.99)
    limits = ("-k", 12, "--group-field", "lang", "--max-per-group", 5, "--exclude-threshold", 0.999)
    said = select(pool, out, *options, *limits, "--rejects", rejects)
    assert "2 of 60 rows are too close to a row given and cannot be picked" in said
    picked, rejected = read(out), read(rejects)
    assert sorted(one["n"] for one in picked + rejected) == list(range(60))
    assert [one["n"] for one in rejected] == sorted(one["n"] for one in rejected)
    reasons = {one["n"]: one["gip"]["reason"] for one in rejected}
    expected = {0: "given", 1: "given", 2: "excluded", 3: "excluded", 7: "no signal"}
    expected |= {20: "duplicate of given", 21: "duplicate of given"}
    F = vectors_of(rows)
    expected |= {n: "excluded" for n in (22, 23) if F[n] @ F[n - 20] > 0.999}
    assert {n: reasons[n] for n in expected} == expected
    langs = [one["lang"] for one in picked]
    at = [one["n"] for one in picked]
    for one in rejected:
        cosines = F[at] @ F[one["n"]]
        nearest = one["gip"]["nearest"]
        assert nearest["cosine"] == pytest.approx(cosines.max(), abs=1e-5)
        assert nearest["line"] == at[int(cosines.argmax())] + 1
        if one["n"] not in expected:
            full = langs.count(one["lang"]) == 5
            near = cosines.max() > 0.99
            reason = "duplicate" if near else "group full" if full else "budget"
            assert one["gip"]["reason"] == reason
    assert {"duplicate", "group full", "budget"} <= set(reasons.values())


def test_rows_without_an_embedding_are_an_error_or_told(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    more = write_rows(out.parent / "more.jsonl", [*make_rows(), row(np.ones(D), n=60)])
    store = ("-e", pool.with_suffix(".npy"))
    run = gip("select", more, "-k", 5, "-o", out, *store)
    assert run.code == 4
    assert f"{more}:61: no embedding in {store[1]}; run gip embed {more} -o" in run.error
    words = "--model words --prompt-prefix ''"
    own = more.with_suffix(".npy")  # not the pool's
    assert f"-o {own} {words} --reuse {store[1]} and take it by -e" in run.error
    spaced = shutil.copy(more, out.parent / "more rows.jsonl")
    run = gip("select", spaced, "-k", 5, "-o", out, *store)
    assert f"run gip embed '{spaced}' -o '{out.parent / 'more rows.npy'}' --model" in run.error
    pipe = out.parent / "pipe"  # what it held is gone: its name in a command would not help
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(pipe.write_bytes, more.read_bytes())
        run = gip("select", pipe, "-k", 5, "-o", out, *store)
    assert (
        "run gip embed FILE.jsonl -o FILE.npy --model words --prompt-prefix '' --reuse "
        in run.error
    )
    rejects = out.parent / "rejects.jsonl"
    said = select(more, out, "-k", 5, *store, "--no-signals", "--skip-bad", "--rejects", rejects)
    assert "1 of 61 rows has no embedding and cannot be picked" in said
    assert read(rejects)[-1]["gip"] == {"reason": "no embedding", "nearest": None}
    said = select(more, out, "-k", 5, *store, "--no-signals", "--skip-bad", "--check")
    assert said == (
        f"gip: 1 of 61 rows has no embedding and cannot be picked\ngip: {out}: up to date, 5 rows\n"
    )
    without = out.read_bytes()
    select(pool, out, "-k", 5, "--no-signals")
    assert out.read_bytes() == without  # such a row has no part in the query


def test_the_store_that_has_all_rows_is_used_and_of_several_none(gip: Gip, out: Path) -> None:
    rows = make_rows()
    embed(write_rows(out.parent / "a.jsonl", rows[:9]), D)  # the first by name
    scored = write_rows(out.parent / "scored.jsonl", rows[8:])
    wrong = ("--format", "text", "--text-field", "x")  # ends before a model is loaded
    run = gip("select", scored, "-k", 1, *wrong)
    assert run.code == 2
    assert f"no embeddings given for {scored}" in run.stderr
    store = embed(write_rows(out.parent / "pool.jsonl", rows), D)
    run = gip("select", scored, "-k", 1, "-o", out)
    assert run.code == 0
    assert f"gip: using {store}" in run.stderr.splitlines()
    assert receipt_of(out)["embeddings"]["path"] == str(store)
    other = embed(write_rows(out.parent / "whole.jsonl", rows), D)
    run = gip("select", scored, "-k", 1, "-o", out)
    assert run.code == 2
    assert run.error == f"{scored}: all rows are in {store} and {other}; say by -e which"


@pytest.mark.parametrize(
    ("suffix", "why"),
    [
        (".npy", "not a whole .npy file of numbers; run"),
        (".keys.npy", "missing; run gip embed again"),
        (".tokens.npy", "missing; run gip embed again"),
        (".json", "missing; embeddings are joined by key: make them with gip embed"),
    ],
)
def test_a_store_that_cannot_be_looked_through_is_told_before_rows_are_embedded(
    suffix: str, why: str, gip: Gip, out: Path
) -> None:
    rows = make_rows()
    scored = write_rows(out.parent / "scored.jsonl", rows)
    store = embed(write_rows(out.parent / "pool.jsonl", rows), D)
    part = store.with_suffix(suffix)
    if part == store:
        store.write_bytes(store.read_bytes()[:999])
    else:
        part.unlink()
    ends = ("--format", "text", "--text-field", "x")  # before a model is loaded
    run = gip("select", scored, "-k", 1, *ends)
    assert run.stderr.startswith(f"gip: not looked through for the rows: {part}: {why}")
    assert run.stderr.count("looked") == 1
    embed(write_rows(out.parent / "whole.jsonl", rows), D)
    assert "looked" not in gip("select", scored, "-k", 1, "-o", out).stderr


def test_picks_that_add_next_to_nothing_are_told(gip: Gip, out: Path) -> None:
    rows = [
        row(np.eye(D)[n % D], gip={"signals": {"a": int(n < D)}, "ranges": {"a": [0, 1]}})
        for n in range(40)
    ]
    pool = write_rows(out.parent / "pool.jsonl", rows)
    embed(pool, D)
    run = gip("select", pool, "-k", 30, "-o", out, "--noise", 0.1, "--quality-power", 6)
    assert (
        "less than a thousandth of that comes from the last 24 picks: fewer would do" in run.stderr
    )
    assert receipt_of(out)["idle_picks"] == 24
    run = gip("select", pool, "-k", 6, "-o", out, "--noise", 0.1, "--quality-power", 6)
    assert "thousandth" not in run.stderr


def test_rows_of_another_format_than_the_stores_ask_whether_it_is_theirs(
    gip: Gip, pool: Path, out: Path
) -> None:
    """`--format` and `--text-field` cannot help: the rows are read as the store's were."""
    store = pool.with_suffix(".npy")
    other = write_rows(out.parent / "other.jsonl", [{"question": "a", "answer": "b"}])
    fault = f"{other}:1: not readable as text row: no 'text'; is {store} (60 rows of format text)"
    for command in (("select", other, "-k", 1), ("compare", other, "--pool", other)):
        run = gip(*command, "-e", store)
        assert run.code == 4
        assert run.error.startswith(f"{fault} of this pool? ")
        assert "--format" not in run.error
    mixed = write_rows(out.parent / "mixed.jsonl", [*make_rows()[:2], {"question": "a"}])
    run = gip("select", mixed, "-k", 1, "-e", store)
    assert run.code == 3  # a row, not the pool
    assert run.error.startswith(f"{mixed}:3: not readable as text row")
    run = gip("select", other, "-k", 1, "-e", store, "--skip-bad")
    assert run.code == 3
    assert run.error.endswith("none is of format text; check --format, --text-field and -e")
    run = gip("compare", other, "--pool", pool)
    assert run.code == 3
    assert run.error.endswith(f"no 'text'; give a selection of {pool}, or pass --skip-bad")


def test_check_says_whether_the_file_is_what_would_be_written(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    select(pool, out, "-k", 8, "--annotate")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.parent.iterdir()}
    said = select(pool, out, "-k", 8, "--annotate", "--check")
    assert said == f"gip: {out}: up to date, 8 rows\n"
    run = gip("select", pool, "-o", out, "-k", 8, "--order", "input", "--annotate", "--check")
    assert run.code == 1
    assert "stale: the same rows in another order; the first difference is at line" in run.error
    run = gip("select", pool, "-o", out, "-k", 9, "--noise", receipt_of(out)["noise"], "--check")
    assert run.code == 1
    assert run.error.startswith(f"{out}: stale: 9 of 9 lines are new, 8 of 8 are gone")
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.parent.iterdir()
    }
    run = gip("select", pool, "-o", out.with_name("none.jsonl"), "-k", 8, "--check")
    assert run.code == 1
    assert "missing" in run.error
    options = ("-k", 8, "--annotate", "--check", "--min-captured", 0.99)
    run = gip("select", pool, "-o", out, *options)
    assert (run.code, f"{out}: up to date" in run.stderr) == (1, True)
    little = run.error
    assert little.startswith("captured 0.")
    run = gip("select", pool, "-o", out, *options, "--order", "input")
    assert run.code == 1
    assert f"{out}: stale: the same rows in another order; " in run.error
    assert run.error.endswith(f"; run without --check; also {little}")


def test_check_compares_rejects_and_receipt_too_where_they_are_named(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    rejects, receipt = out.with_name("rejects.jsonl.gz"), out.with_name("receipt.json")
    options = ("-k", 8, "--rejects", rejects, "--receipt", receipt)
    select(pool, out, *options)
    whole = {path: path.read_bytes() for path in (rejects, receipt)}
    said = select(pool, out, *options, "--check")
    assert said == f"gip: {out} and {rejects} and {receipt}: up to date, 8 rows\n"
    value = orjson.loads(whole[receipt])
    other = value | {"numpy": "1", "time": None, "captured": value["captured"] * (1 + 1e-9)}
    receipt.write_bytes(orjson.dumps(other))
    select(pool, out, *options, "--check")
    for place in ("input", "embeddings"):  # named from another folder, as digests tell
        elsewhere = value | {place: value[place] | {"path": "../elsewhere"}}
        receipt.write_bytes(orjson.dumps(elsewhere))
        select(pool, out, *options, "--check")
    lines = gzip.decompress(whole[rejects]).splitlines(keepends=True)
    for path, there, why in [
        (rejects, gzip.compress(b"".join(lines[:-1])), "the first difference is at line 52"),
        (rejects, gzip.compress(b"".join([*lines, b"\n"])), "the first difference is at line 53"),
        (rejects, whole[rejects][:-9], "a damaged gzip stream"),
        (receipt, orjson.dumps(value | {"captured": 0.9}), "captured differs"),
        (receipt, orjson.dumps(value | {"given": {}}), "given differs"),
        (receipt, orjson.dumps(value | {"more": []}), "more differs"),
        (receipt, b"[" * 999 + b"]" * 999, "not a receipt"),
        (receipt, whole[receipt][:-9], "not a receipt"),
        (receipt, b"8", "not a receipt"),
    ]:
        path.write_bytes(there)
        run = gip("select", pool, "-o", out, *options, "--check")
        assert (run.code, run.error) == (1, f"{path}: stale: {why}; run without --check")
        path.write_bytes(whole[path])
    receipt.unlink()
    run = gip("select", pool, "-o", out, *options, "--check")
    assert (run.code, run.error) == (1, f"{receipt}: missing; run without --check")
    select(pool, out, "-k", 8, "--check")  # it is not asked for


def test_groups_that_lack_most_are_named_first_and_means_are_the_pools(
    select: Select, out: Path
) -> None:
    vectors = iter(np.random.default_rng(2).standard_normal((36, D)))
    rows = [
        row(next(vectors), n=size, lang=f"of {size}", gip={"signals": {"q": size}})
        for size in range(1, 9)
        for _ in range(size)
    ]
    pool = write_rows(out.parent / "groups.jsonl", rows)
    embed(pool, D)
    options = ("--group-field", "lang", "--dedup-threshold", 0.9999)
    said = select(pool, out, *options, "--per-group", 9).splitlines()
    at = said.index("gip: 8 groups are 36 rows short:")
    named = [f"gip:   of {size}: {size} of 9 rows" for size in range(1, 6)]
    assert said[at + 1 : at + 7] == [*named, "gip:   and 3 more (see the receipt)"]
    assert "gip:   0 near-duplicates of picks avoided" in said
    said = select(pool, out, *options, "-k", 8, "--max-per-group", 1).splitlines()
    pool_mean = sum(size * size for size in range(1, 9)) / 36
    told = f"gip:   q: mean 4.5 (pool {pool_mean:.3g}), on the scale that these rows span, 1 to 8"
    assert told in said


@pytest.mark.parametrize("option", ["--target", "--exclude", "--given"])
def test_files_of_a_part_are_one_together_and_may_have_any_names(
    option: str, select: Select, pool: Path, out: Path
) -> None:
    rows, folder = make_rows(), out.parent
    whole = write_rows(folder / "whole.jsonl", rows[:10])
    halves = [write_rows(folder / f"{n}.jsonl", rows[n : n + 5]) for n in (0, 5)]
    receipt = ("--receipt", folder / "receipt.json")
    select(pool, out, "-k", 9, option, whole, *receipt)
    picked, captured = read(out), orjson.loads(receipt[1].read_bytes())["captured"]
    select(pool, out, "-k", 9, *(part for half in halves for part in (option, half)), *receipt)
    assert read(out) == picked
    assert orjson.loads(receipt[1].read_bytes())["captured"] == pytest.approx(captured)
    moved = [shutil.copy(half, folder / f"moved{n}.jsonl") for n, half in enumerate(halves)]
    parts = [part for half in moved for part in (option, half)]
    said = select(pool, out, "-k", 9, *parts, *receipt, "--check")
    assert f"gip: {out} and {receipt[1]}: up to date, 9 rows\n" in said


def test_a_pool_that_is_written_to_amid_a_check_is_told_as_that(tmp_path: Path, out: Path) -> None:
    """It was `OUT: stale: a damaged gzip stream`, of a file that is not even packed."""
    path = write_rows(tmp_path / "pool.jsonl", make_rows())
    out.touch()
    with RowFile(path, BadRows(), reread=True) as file:
        problem = pose(file, in_memory(path, D), Plan(Budget(rows=3)))
        solution = Solution(problem, problem.solve())
        path.write_bytes(path.read_bytes() * 2)
        with pytest.raises(InputError, match=r"pool\.jsonl: changed while it was read; run again"):
            compare_files(solution, {}, OutputOptions(str(out), check=True), "")


def test_a_result_below_the_least_is_not_written(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    out.write_text("old\n")
    run = gip("select", pool, "-o", out, "-k", 2, "--min-captured", 0.9)
    assert run.code == 1
    assert "less than --min-captured 0.9; raise the budget at a fixed --noise, " in run.error
    assert [path.read_text() for path in out.parent.iterdir()] == ["old\n"]
    select(pool, out, "-k", 2, "--min-captured", 0.01)
    assert len(read(out)) == 2


def test_where_no_row_is_left_the_budget_is_not_to_be_raised(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    least = ("--noise", 5, "--min-captured", 0.9)
    for limits in (("-k", 59), ("-k", 30, "--group-field", "lang", "--max-per-group", 3)):
        run = gip("select", pool, "-o", out, *limits, *least)
        assert run.code == 1
        no_more = "no further row can be picked: let more rows be picked or lower --noise, 5 here"
        assert run.error.endswith(f"less than --min-captured 0.9; {no_more}")
    run = gip("select", pool, "-o", out, "-k", 60, "--no-signals", *least)
    assert run.error.endswith("0.9; no further row can be picked: lower --noise, 5 here")


def test_what_is_said_to_capture_enough_does(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    """At the automatic noise twice the budget captures less; at the noise that is named, more."""
    few = gip("select", pool, "-o", out, "-k", 20, "--min-captured", 0.9)
    many = gip("select", pool, "-o", out, "-k", 40, "--min-captured", 0.9)
    captured = [float(run.error.split("captured ")[1].split(",")[0]) for run in (few, many)]
    assert captured[1] < captured[0]
    noise = few.error.split("--noise, ")[1].split()[0]
    said = select(pool, out, "-k", 40, "--noise", noise, "--min-captured", captured[0] + 0.01)
    assert f"noise {noise}" in said
    for budget in (("-k", 20, "--noise", noise), ("--captured", 0.5)):
        run = gip("select", pool, "-o", out, *budget, "--min-captured", 0.99)
        assert run.error.endswith("less than --min-captured 0.99; raise the budget")


def test_the_receipt_is_the_same_but_for_its_time(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    options = ("-k", 12, "--group-field", "lang", "--group-share", "proportional")
    run = gip("select", pool, "-o", out, *options, "--json")
    first = receipt_of(out)
    assert orjson.loads(run.stdout) == first
    select(pool, out, *options)
    second = receipt_of(out)
    assert first.pop("time").keys() == second.pop("time").keys() == {"finished", "seconds"}
    assert first == second
    assert len(first["captured_curve"]) == 12
    assert first["captured_by_random"]["seeds"] == 10
    assert first["captured"] > first["captured_by_random"]["mean"]
    assert first["options"]["group_share"] == "proportional"


def test_the_help_fits_a_screen_and_a_half() -> None:
    run = subprocess.run(
        [GIP, "select", "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        check=True,
    )
    lines = run.stdout.decode().splitlines()
    assert len(lines) <= 75
    for panel in ("Budget", "Query", "Groups", "Output"):
        assert any(line.startswith(f"╭─ {panel} ─") for line in lines)
        assert any(line.startswith(f" {panel} ") and " gip select " in line for line in lines)


def test_rows_of_other_files_are_embedded_by_the_model_of_the_pool(
    select: Select, sample_store: Path, out: Path
) -> None:
    """The real model, loaded for rows that no store has: another format than the pool's."""
    pool, given = ROOT / "sample_data/alpaca.jsonl", ROOT / "sample_data/qa.jsonl"
    select(pool, out, "-k", 5, "-e", sample_store, "--given", given, "--no-signals")
    receipt = receipt_of(out)
    assert receipt["given"]["rows"] == 20
    assert 0 < receipt["given"]["captured"] < receipt["captured"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool that takes seconds to pick from."""
    folder = tmp_path_factory.mktemp("large")
    m = 30_000
    path = write_rows(folder / "pool.jsonl", ({"text": f"row {n}"} for n in range(m)))
    vectors = np.random.default_rng(0).standard_normal((m, 128)).astype(np.float32)
    np.save(folder / "vectors.npy", unit(vectors))
    command = [GIP, "embed", path, "-o", folder / "pool.npy", "--vectors", folder / "vectors.npy"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize("keep", [False, True])
def test_an_interrupted_run_keeps_its_picks_only_if_asked(
    keep: bool, large: Path, out: Path
) -> None:
    terminal, stderr = pty.openpty()
    options = ["--keep-partial"] if keep else []
    run = subprocess.Popen(
        [GIP, "select", large, "-k", "25000", "-o", out, *options],
        stderr=stderr,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(stderr)
    seen = b""
    while b"captured" not in seen:  # the bar shows that some rows are picked
        seen += os.read(terminal, 1 << 16)
    run.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(terminal, 1 << 16):
            seen += chunk
    except OSError:  # Linux's end of a terminal
        pass
    os.close(terminal)
    assert run.wait(30) == 130
    if keep:
        assert 0 < len(read(out)) < 25_000
        assert receipt_of(out)["stopped"] == "interrupted"
        assert len(read(out)) == receipt_of(out)["picked"]
    else:
        assert not list(out.parent.iterdir())


def test_rows_that_were_skipped_are_counted_in_the_receipt(
    select: Select, pool: Path, out: Path
) -> None:
    odd = out.with_name("odd.jsonl")
    odd.write_bytes(pool.read_bytes() + b"{\nnothing\n")
    given = out.with_name("given.jsonl")
    given.write_bytes(pool.read_bytes().splitlines(keepends=True)[0] + b"no row\n")
    options = ("-e", pool.with_suffix(".npy"), "-k", 4, "--given", given, "--skip-bad")
    select(odd, out, *options)
    figures = receipt_of(out)
    assert (figures["input"]["rows"], figures["input"]["skipped"]) == (60, 2)
    assert [one["skipped"] for one in figures["beside"]["given"]] == [1]


def test_the_ending_of_a_packed_output_may_be_in_capitals(
    select: Select, gip: Gip, pool: Path, out: Path
) -> None:
    select(pool, out, "-k", 4)
    packed = out.with_name("out.jsonl.GZ")
    select(pool, packed, "-k", 4)
    assert gzip.decompress(packed.read_bytes()) == out.read_bytes()
    run = gip("select", pool, "-k", 4, "-o", out.with_name("out.ZIP"))
    assert (run.code, "gip packs by gzip alone" in run.error) == (2, True)
