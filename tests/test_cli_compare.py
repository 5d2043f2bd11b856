"""`gip compare` against figures worked out by hand and against the receipts of `gip select`."""

from __future__ import annotations

import csv
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import toys
from tests.selecting import embed, row, write_rows
from tests.test_cli_report import data_of
from tests.toys import error_of, gip


def scored(vector: tuple[float, ...], words: int, quality: float | None, kind: str) -> Any:
    signals = {"signals": {"quality": quality}, "ranges": {"quality": [0, 4]}}
    return row(vector, words, kind=kind, gip=signals)


# Two tokens a vector, and the words.
ROWS = [
    scored((1, 0), 0, 4, "x"),
    scored((0, 1), 2, 2, "x"),
    scored((0.6, 0.8), 4, 1, "y"),
    scored((-1, 0), 8, 3, "z"),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_rows(tmp_path_factory.mktemp("pool") / "pool.jsonl", ROWS)
    embed(path, 2)
    return path


def subset(pool: Path, name: str, *rows: int) -> Path:
    return write_rows(pool.with_name(name), [ROWS[at] for at in rows])


def compared(pool: Path, *arguments: object) -> Any:
    run = gip("compare", *arguments, "--pool", pool, "--json")
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


def test_figures_by_hand(pool: Path) -> None:
    a, b = subset(pool, "a.jsonl", 0, 1), subset(pool, "b.jsonl", 1, 2, 3)
    figures = compared(pool, a, b, "--group-field", "kind")
    ours, theirs = figures["subsets"][str(a)], figures["subsets"][str(b)]
    assert ours["size"] == 2
    # Best cosines of the four rows with the subset: 1, 1, 0.8, 0.
    assert ours["coverage_mean"] == pytest.approx(0.7)
    assert ours["coverage_p10"] == pytest.approx(np.quantile([1, 1, 0.8, 0], 0.1))
    assert ours["nearest_cosine"] == pytest.approx(0)
    assert theirs["nearest_cosine"] == pytest.approx((0.8 + 0.8 + 0) / 3)
    assert ours["length"] == 3
    assert figures["length_unit"] == "tokens"
    assert ours["signals"] == {"quality": 3}
    assert ours["shares"] == {"kind": {"x": 1, "y": 0, "z": 0}}
    assert theirs["shares"] == {"kind": pytest.approx({"x": 1 / 3, "y": 1 / 3, "z": 1 / 3})}
    assert figures["overlap"] == [{"a": str(a), "b": str(b), "jaccard": 0.25}]
    assert figures["references"]["top-k 2"]["signals"] == {"quality": 3.5}
    smallest_first = ["random 2", "top-k 2", "random 3", "top-k 3"]
    assert [*figures["references"]] == [*compared(pool, b, a)["references"]] == smallest_first
    vectors, unit = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]]), np.array([4, 2, 1, 3]) / 4
    query = vectors.T @ np.diag(unit**2) @ vectors
    atoms = (vectors * (unit**2)[:, None])[[0, 1]]
    left = np.linalg.inv(np.eye(2) + atoms.T @ atoms / figures["noise"])
    assert ours["captured"] == pytest.approx(1 - np.trace(query @ left) / np.trace(query), rel=1e-5)


def test_rows_without_an_answer_are_told_where_responses_are_measured(tmp_path: Path) -> None:
    """Lengths are of responses unless tokens are counted: in the store or, as here, in a field."""
    rows = [
        {"messages": [{"role": role, "content": f"say {at}"}], "n": 2}
        for at, role in enumerate(("user", "user", "assistant"))
    ]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    toys.store_given(pool, np.eye(3))
    small, said = tmp_path / "small.jsonl", b"2 of 3 rows have no turn of an assistant"
    for options, measured in (("-k", 2), True), (("--tokens", 4, "--token-field", "n"), False):
        assert said in gip("select", pool, "-o", small, *options).stderr
        run = gip("compare", small, "--pool", pool)
        assert (b"response characters" in run.stdout, said in run.stderr) == (measured, measured)


def test_the_whole_pool_is_its_own_random_and_top_rows(pool: Path) -> None:
    figures = compared(pool, subset(pool, "all.jsonl", 3, 1, 0, 2))
    (ours,) = figures["subsets"].values()
    assert [*figures["references"]] == ["random 4", "top-k 4"]
    for reference in figures["references"].values():
        assert {k: v for k, v in reference.items() if k not in ("signals", "shares")} == (
            pytest.approx({k: v for k, v in ours.items() if k not in ("signals", "shares")})
        )
    assert figures["overlap"] == []


def test_random_rows_are_told_by_how_many_there_are(tmp_path: Path) -> None:
    """They are of those that can be picked, which may be fewer than a selection has."""
    rows = [scored((1, at), 0, at or None, "x") for at in range(4)]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    figures = compared(pool, write_rows(tmp_path / "all.jsonl", rows))
    assert [*figures["references"]] == ["random 3"]
    assert figures["references"]["random 3"]["size"] == 3


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        scored(tuple(vector), int(rng.integers(9)), float(rng.uniform(0, 4)), str(at % 3))
        for at, vector in enumerate(rng.standard_normal((60, 4)))
    ]
    for one in rows:
        one["count"] = 2 * len(one["text"])
    folder = tmp_path_factory.mktemp("large")
    path = write_rows(folder / "pool.jsonl", rows)
    write_rows(folder / "before.jsonl", rows[:5])
    write_rows(folder / "not.jsonl", rows[5:8])
    embed(path, 4)
    return path


def test_a_selection_by_other_tokens_than_are_counted_is_held_against_as_many_rows(
    large: Path,
) -> None:
    """What they are is said by the first receipt."""
    ours, theirs = (large.with_name(name) for name in ("ours.jsonl", "theirs.jsonl"))
    assert gip("select", large, "--tokens", 40, "-o", ours).returncode == 0
    by_field = ("--tokens", 2000, "--token-field", "count")
    assert gip("select", large, *by_field, "-o", theirs).returncode == 0
    for first, second in ((ours, theirs), (theirs, ours)):
        names = [name for name in compared(large, first, second)["references"] if "random" in name]
        assert sum(name.endswith(" tokens)") for name in names) == 1
        assert f"random {len(second.read_bytes().splitlines())}" in names


def test_a_selection_of_fewer_tokens_than_any_row_that_can_be_picked_has_no_price(
    tmp_path: Path,
) -> None:
    """As one that was edited since."""
    rows = [scored((1, at), at, at or None, "x") for at in range(5)]
    pool, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    embed(pool, 2)
    assert gip("select", pool, "--tokens", 3, "-o", small).returncode == 0
    assert "random 1 (3 tokens)" in compared(pool, small)["references"]
    write_rows(small, rows[:1])
    assert "random 1" in compared(pool, small)["references"]


@pytest.mark.parametrize(
    "options",
    [
        "-k 12",
        "-k 12 --no-signals --noise 0.1",
        "-k 12 --signal quality=2 --quality-power 1 --self-weight 0.5",
        "--tokens 40 --target before.jsonl --exclude not.jsonl",
        "-k 9 --given before.jsonl --group-field kind --group-share equal",
        "-k 9 --exclude not.jsonl --exclude-threshold 0.3",
        "-k 9 --given before.jsonl --dedup-threshold 0.6",
        "-k 9 --pursuit residual",
        "--tokens 2000 --token-field count",
    ],
)
def test_figures_are_the_receipts(large: Path, options: str) -> None:
    words = [str(large.with_name(w)) if w.endswith("jsonl") else w for w in options.split()]
    small = large.with_name("small.jsonl")
    assert gip("select", large, *words, "-o", small).returncode == 0
    receipt = json.loads(small.with_suffix(".receipt.json").read_bytes())
    figures = compared(large, small)
    (ours,) = figures["subsets"].values()
    assert ours["captured"] == pytest.approx(receipt["captured"], abs=1e-6)
    (name, random) = next(iter(figures["references"].items()))
    by_tokens, picked = "tokens" in receipt["options"], receipt["tokens"]["picked"]
    assert name == f"random {random['size']}" + f" ({picked:,} tokens)" * by_tokens
    assert by_tokens or random["size"] == receipt["picked"]
    assert random["captured"] == pytest.approx(receipt["captured_by_random"]["mean"], abs=1e-6)
    cosine = receipt["nearest_cosine"]["random"]
    assert random["nearest_cosine"] == pytest.approx(cosine, abs=1e-2 if by_tokens else 1e-6)
    assert ours["length"] * ours["size"] == pytest.approx(receipt["tokens"]["picked"])
    assert figures["query"] == pytest.approx(receipt["query"]["sources"])
    assert list(ours["shares"]) == ["kind"] * ("group_field" in receipt["options"])
    assert [note[:31] for note in figures["notes"]] == (
        ["Captured energy counts the 5 row"[:31]] if "--given" in options else []
    )


def test_without_a_receipt_the_noise_is_that_of_selecting_as_many_as_the_largest(
    large: Path, tmp_path: Path
) -> None:
    pool, small, few = (tmp_path / f"{name}.jsonl" for name in ("pool", "small", "few"))
    unknown = write_rows(few, [scored((9, 9, 9, 9), 0, 4, "x")])  # a good row of no embedding
    pool.write_bytes(large.read_bytes() + unknown.read_bytes())
    asked = ("-e", large.with_suffix(".npy"), "--skip-bad")
    assert gip("select", pool, *asked, "-k", 12, "-o", small).returncode == 0
    receipt = small.with_suffix(".receipt.json")
    noise = json.loads(receipt.read_bytes())["noise"]
    receipt.unlink()
    few.write_bytes(b"".join(small.read_bytes().splitlines(keepends=True)[:5]))
    assert compared(pool, few, small, *asked)["noise"] == pytest.approx(noise, rel=1e-9)


def test_rows_given_before_count_once(large: Path) -> None:
    march, april = large.with_name("march.jsonl"), large.with_name("april.jsonl")
    assert gip("select", large, "-k", 6, "--noise", 0.01, "-o", march).returncode == 0
    added = ("--given", march, "-o", april)
    assert gip("select", large, "-k", 6, "--noise", 0.01, *added).returncode == 0
    alone, given = (
        json.loads(one.with_suffix(".receipt.json").read_bytes()) for one in (march, april)
    )
    figures = compared(large, april, march)
    assert alone["captured"] == pytest.approx(given["given"]["captured"], abs=1e-6)
    for one, receipt in ((march, alone), (april, given)):
        assert figures["subsets"][str(one)]["captured"] == pytest.approx(receipt["captured"])
    settings, note = figures["notes"]
    receipt = april.with_suffix(".receipt.json")
    assert settings == (
        f"All selections are measured by the query, weights and noise of one receipt, {receipt}."
    )
    assert f"the 6 rows given before, which alone capture {alone['captured']:.1%}" in note
    report = large.with_name("given.html")
    assert gip("report", large, "-s", april, "-s", march, "-o", report).returncode == 0
    data = data_of(report)
    assert data["notes"] == figures["notes"]
    added, first = (selection["curve"] for selection in data["selections"])
    assert added["captured"][-1] == pytest.approx(given["captured"], abs=1e-5)
    assert first["captured"][-1] == pytest.approx(alone["captured"], abs=1e-5)
    assert first["before"] == 0
    assert added["random"]["low"][0] >= alone["captured"] - 1e-5


@pytest.mark.parametrize("first", [{"b": 2.0}, {"a": 1.0, "b": 2.0}], ids=["none", "one"])
def test_top_k_is_left_out_where_too_few_rows_have_every_signal(
    tmp_path: Path, first: dict[str, float]
) -> None:
    signals = [first, {"a": 1.0}, {"a": 2.0}]
    rows = [row((1, at), gip={"signals": one}) for at, one in enumerate(signals)]
    path, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    embed(path, 2)
    assert gip("select", path, "--no-signals", "-k", 2, "-o", small).returncode == 0
    run = gip("compare", small, "--pool", path, "--json", "--quiet")
    assert (run.returncode, run.stderr) == (0, b"")
    assert list(json.loads(run.stdout)["references"]) == ["random 2"]


def test_random_draws_of_which_something_is_not_known_do_not_count_for_it(tmp_path: Path) -> None:
    signals = [{"good": 4 if at % 2 else None, "other": 1} for at in range(8)]
    rows = [row((1, at), gip={"signals": one}) for at, one in enumerate(signals)]
    path, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    embed(path, 2)
    assert gip("select", path, "--no-signals", "-k", 1, "-o", small).returncode == 0
    references = compared(path, small)["references"]
    assert references["random 1"]["signals"] == {"good": 4, "other": 1}
    assert references["random 1"]["nearest_cosine"] is None  # of one row, in any draw


@pytest.mark.parametrize(
    ("options", "best"), [("--no-signals", 4), ("--no-signals --exclude best.jsonl", 3)]
)
def test_top_k_is_the_best_that_could_be_picked_also_where_signals_had_no_say(
    pool: Path, tmp_path: Path, options: str, best: float
) -> None:
    subset(pool, "best.jsonl", 0)
    small = tmp_path / "small.jsonl"
    words = [str(pool.with_name(w)) if w.endswith("jsonl") else w for w in options.split()]
    assert gip("select", pool, *words, "-k", 1, "-o", small).returncode == 0
    assert compared(pool, small)["references"]["top-k 1"]["signals"] == {"quality": best}


def test_the_first_receipt_there_is_measures_all(large: Path, tmp_path: Path) -> None:
    small, plain = tmp_path / "small.jsonl", tmp_path / "plain.jsonl"
    assert gip("select", large, "-k", 3, "--noise", 0.125, "-o", small).returncode == 0
    plain.write_bytes(b"".join(large.read_bytes().splitlines(keepends=True)[:2]))
    figures = compared(large, plain, small)
    assert (figures["noise"], len(figures["notes"])) == (0.125, 1)


def test_rows_without_a_signal_of_the_query_are_told(tmp_path: Path) -> None:
    rows = [row((1, at), gip={"signals": {"good": at if at < 6 else None}}) for at in range(9)]
    path, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    embed(path, 2)
    write_rows(small, rows[4:8])
    assert compared(path, small)["notes"][1:] == [
        f"Without a signal of the query, and so capturing nothing here: 2 of 4 rows of {small}."
    ]


AT = (1, 0), (0, 1), (1, 1)


def test_rows_that_could_not_be_picked_have_no_say_in_the_least_noise(tmp_path: Path) -> None:
    rows = [
        row(at, gip={"signals": {"good": one}}) for at, one in zip(AT, (5, 1, None), strict=True)
    ]
    path, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    best = write_rows(tmp_path / "best.jsonl", rows[:1])
    unknown = write_rows(tmp_path / "unknown.jsonl", rows[2:])
    embed(path, 2)
    run = gip("select", path, "-k", 1, "--noise", 5e-6, "--exclude", best, "-o", small)
    assert run.returncode == 0, run.stderr
    assert compared(path, small, unknown)["noise"] == 5e-6
    run = gip("compare", small, best, "--pool", path)  # the best is among what is measured now
    assert run.returncode == 2
    assert error_of(run) == (
        f"the noise of {small.with_suffix('.receipt.json')} is too small for rows of {best}, which "
        f"weigh more than any that could be picked; leave {best} out, or move the receipt away"
    )


def test_a_noise_that_no_selection_of_these_rows_had_is_refused(
    large: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.jsonl"
    assert gip("select", large, "-k", 4, "-o", small).returncode == 0
    receipt = small.with_suffix(".receipt.json")
    receipt.write_text(json.dumps(json.loads(receipt.read_bytes()) | {"noise": 1e-12}))
    run = gip("compare", small, "--pool", large)
    assert run.returncode == 2
    assert error_of(run).startswith(f"the noise of {receipt} is too small for these rows; give")


def test_a_query_without_energy_is_refused_where_no_receipt_asks_for_it(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", ROWS)
    small = subset(pool, "small.jsonl", 0)
    toys.store_given(pool, np.zeros((len(ROWS), 2)))
    run = gip("compare", small, "--pool", pool)
    assert run.returncode == 2
    assert error_of(run) == (
        "the signals of the query have no energy: all, or the vectors of their rows, are zero; "
        "give other embeddings: -e"
    )


def test_coverage_of_a_sample_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gip_cli.report.case.COVERED", 20)
    texts = [f"1 {at}" for at in range(21)]
    pool, store = toys.write_rows(tmp_path / "pool.jsonl", texts), tmp_path / "pool.npy"
    embed(pool, 2)
    small = toys.write_rows(tmp_path / "small.jsonl", texts[:3])
    told = "Coverage is that of 20 of the pool's 21 rows, a seeded sample."
    run = gip("compare", small, "--pool", pool, "-e", store, "--json")
    assert told in json.loads(run.stdout)["notes"]
    assert f"gip: {told}\n".encode() in run.stderr
    report = tmp_path / "r.html"
    assert gip("report", pool, "-s", small, "-o", report).returncode == 0
    assert told in data_of(report)["notes"]


def test_what_the_figures_rest_on_is_told(large: Path) -> None:
    small, scores = large.with_name("told.jsonl"), large.with_name("rescored.jsonl")
    assert gip("select", large, "-k", 4, "--order", "input", "-o", small).returncode == 0
    small.write_bytes(small.read_bytes().partition(b"\n")[2])
    scores.write_bytes(large.read_bytes().replace(b'"quality":', b'"quality":null,"old":', 1))
    run = gip("compare", small, "--pool", scores, "-e", large.with_suffix(".npy"))
    assert run.returncode == 0
    for told in ("not byte for byte", "in input order", "3 rows, its receipt tells of 4"):
        assert told in run.stderr.decode()
    small.with_suffix(".receipt.json").unlink()
    run = gip("compare", small, "--pool", large)
    assert b"measured by gip's defaults (all signals alike)" in run.stderr


def test_a_selection_changed_since_its_receipt_is_told(large: Path) -> None:
    def told() -> bool:
        run = gip("compare", small, "--pool", large)
        assert run.returncode == 0
        return b"has other rows than its receipt tells of, or another order" in run.stderr

    small = large.with_name("changed.jsonl")
    for order in "rank", "input":
        assert gip("select", large, "-k", 4, "--order", order, "-o", small).returncode == 0
        assert not told()
        first, *lines = small.read_bytes().splitlines(keepends=True)
        small.write_bytes(b"".join([json.dumps(json.loads(first)).encode(), b"\n", *lines]))
        assert not told(), "the same texts, written otherwise"
        small.write_bytes(b"".join([*lines, first]))
        assert told()
        others = {*large.read_bytes().splitlines(keepends=True)} - {first, *lines}
        small.write_bytes(b"".join([min(others), *lines]))
        assert told()


def test_a_selection_measured_by_other_texts_is_told_and_not_as_changed(tmp_path: Path) -> None:
    """Its rows have other keys and other vectors then, and nobody touched it."""
    pool = tmp_path / "pool.jsonl"
    rows = [{"instruction": f"do {n}", "output": f"done {n}"} for n in range(9)]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    toys.store_given(pool, np.random.default_rng(0).standard_normal((9, 4)))
    small, other = tmp_path / "small.jsonl", tmp_path / "other.npy"
    assert gip("select", pool, "-k", 4, "-o", small).returncode == 0
    vectors = ("--vectors", tmp_path / "vectors.npy")
    assert gip("embed", pool, "-o", other, "--part", "prompt", *vectors).returncode == 0
    run = gip("compare", small, "--pool", pool, "-e", other)
    assert (run.returncode, run.stderr.decode()) == (
        0,
        f"gip: {small} was selected by embeddings of other texts of its rows (see --part and "
        "--text-field of gip embed) than these: its figures are not its receipt's.\n",
    )


def test_the_embeddings_of_a_receipt_are_used_where_they_are_those_still(tmp_path: Path) -> None:
    """Measured by others the picks would look like random rows, or worse."""
    pool = write_rows(tmp_path / "pool.jsonl", ROWS)
    small, aside = tmp_path / "small.jsonl", tmp_path / "aside.npy"
    np.save(tmp_path / "first", np.eye(4))
    np.save(tmp_path / "second", np.eye(4)[::-1])

    def embed_by(name: str, target: Path) -> None:
        vectors = tmp_path / f"{name}.npy"
        assert gip("embed", pool, "-o", target, "--vectors", vectors).returncode == 0

    def told() -> list[str]:
        run = gip("compare", small, "--pool", pool)
        assert run.returncode == 0
        return [line for line in run.stderr.decode().splitlines() if "other embeddings" in line]

    embed_by("first", aside)
    embed_by("second", pool.with_suffix(".npy"))
    assert gip("select", pool, "-e", aside, "-k", 2, "-o", small).returncode == 0
    receipt = small.with_suffix(".receipt.json")
    run = gip("compare", small, "--pool", pool, "--json")
    assert f"gip: using {aside}, which {receipt} names" in run.stderr.decode()
    captured = json.loads(run.stdout)["subsets"][str(small)]["captured"]
    assert captured == pytest.approx(json.loads(receipt.read_bytes())["captured"])
    embed_by("second", aside)
    (warned,) = told()
    assert warned == (
        f"gip: {small} was selected by other embeddings (given vectors) than these "
        "(given vectors): its figures are not its receipt's."
    )
    for path in tmp_path.glob("aside.*"):
        path.unlink()
    assert told() == [warned]
    long = json.dumps("x" * 300)  # as where it was made names may be longer
    receipt.write_text(receipt.read_text().replace(json.dumps(str(aside)), long))
    assert told() == [warned]


def test_means_of_a_thousand_and_more_are_no_powers_of_ten(tmp_path: Path) -> None:
    """Upvotes, say: the page writes them out as well."""
    rows = [row((1, at), gip={"signals": {"up": 1200 - at}}) for at in range(6)]
    pool, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    embed(pool, 2)
    run = gip("select", pool, "-k", 1, "-o", small)
    assert (
        "gip:   up: mean 1,199 (pool 1,198), on the scale that these rows span, 1195 to 1200\n"
        in run.stderr.decode()
    )
    (shown,) = re.findall(
        r"^up, mean\t(.*?)\t", gip("compare", small, "--pool", pool).stdout.decode(), re.M
    )
    assert shown == "1,199"


def test_not_a_terminal_gets_tabs(pool: Path) -> None:
    a, b = subset(pool, "a.jsonl", 0, 1), subset(pool, "b.jsonl", 1, 2, 3)
    run = gip("compare", a, b, "--pool", pool, "--group-field", "kind")
    lines = list(csv.reader(run.stdout.decode().splitlines(), delimiter="\t"))
    assert lines[0] == ["", str(a), str(b), "random 2", "top-k 2", "random 3", "top-k 3"]
    table = {line[0]: line[1:] for line in lines[1:]}
    assert table["rows"] == ["2", "3", "2", "2", "3", "3"]
    assert table["coverage, mean cosine"][:2] == ["0.700", "0.900"]
    assert table["coverage, 10th percentile"][:2] == ["0.240", "0.720"]
    assert table["nearest-neighbour cosine"][:2] == ["0.000", "0.533"]
    assert table["tokens, mean"][:2] == ["3.0", "6.7"]
    assert table["quality, mean"][:2] == ["3", "2"]
    assert table["kind = x"][:2] == ["100.0%", "33.3%"]
    # Largest first, over all columns: of the first file's rows none is of y or z.
    assert [name for name in table if name.startswith("kind")] == [
        "kind = x",
        "kind = z",
        "kind = y",
    ]
    assert table[f"overlap (Jaccard) of {a} and {b}"] == ["0.250"]


def test_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    """One row has no other to be near to, nor a mean of grades that nobody gave."""
    rows = [row((1, 0), gip={"signals": {"a": None}}), row((0, 1), gip={"signals": {"a": 2}})]
    pool, one = write_rows(tmp_path / "pool", rows), write_rows(tmp_path / "one", rows[:1])
    embed(pool, 2)
    run = gip("compare", one, "--pool", pool, "-e", tmp_path / "pool.npy", "--quiet")
    table = dict(line.split("\t")[:2] for line in run.stdout.decode().splitlines())
    assert (table["nearest-neighbour cosine"], table["a, mean"]) == ("-", "-")


@pytest.mark.parametrize("groups", [12, 13])
def test_the_largest_groups_are_shown_and_the_rest_counted(groups: int, tmp_path: Path) -> None:
    rows = [row((1, at), lang=f"l{min(at, groups - 1)}") for at in range(groups + 1)]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    shown = gip("compare", pool, "--pool", pool, "--group-field", "lang").stdout.decode()
    names = re.findall(r"^lang = (\w+)\t", shown, re.MULTILINE)
    assert names[0] == f"l{groups - 1}"  # the one of two rows
    assert len(names) == 12
    rest = [line for line in shown.splitlines() if "smaller" in line]
    assert rest == ["1 smaller group: see --json"] * (groups - 12)


def test_an_output_that_is_the_pool_is_refused(pool: Path) -> None:
    a, before = subset(pool, "a.jsonl", 0, 1), pool.read_bytes()
    with pool.open("ab") as out:
        run = gip("compare", a, "--pool", pool, stdout=out, stderr=-1)
    assert run.returncode == 2
    assert error_of(run) == "-: output and input are the same file; choose another"
    assert pool.read_bytes() == before


def test_a_terminal_gets_a_table(pool: Path) -> None:
    a = subset(pool, "a.jsonl", 0, 1)
    shown = on_terminal(200, "compare", a, "--pool", pool)
    assert "─" in shown
    assert "\t" not in shown
    assert "coverage, mean cosine" in shown
    figures = json.loads(on_terminal(200, "compare", a, "--pool", pool, "--json"))
    assert list(figures["subsets"]) == [str(a)]


def on_terminal(width: int, *arguments: object) -> str:
    """What a command shows on a terminal of so many columns, without its colours."""
    ours, theirs = os.openpty()
    terminal = {**os.environ, "COLUMNS": str(width), "TERM": "xterm"}
    run = gip(*arguments, stdout=theirs, stderr=-1, env=terminal)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    assert run.returncode == 0, run.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_narrow_terminal_cuts_no_figure(large: Path, width: int) -> None:
    rows = large.read_bytes().splitlines(keepends=True)
    sizes = (50, 20, 40)
    subsets = [large.with_name(f"of-the-same-long-beginning-{size}.jsonl") for size in sizes]
    for path, size in zip(subsets, sizes, strict=True):
        path.write_bytes(b"".join(rows[:size]))
    whole = gip("compare", *subsets, "--pool", large).stdout.decode().splitlines()
    table = on_terminal(width, "compare", *subsets, "--pool", large).splitlines()
    assert max(map(len, table[: -len(sizes)])) <= width
    for line in whole[1:8]:
        name, *figures = line.split("\t")
        begin = name[:26]
        parts = [one.split() for one in table if one.strip().startswith(begin)]
        assert [one for part in parts for one in part[-len(figures) :] if one in figures] == figures
    overlaps = next(at for at, line in enumerate(table) if "overlap" in line)
    heads, ends = ("".join("".join(part).split()) for part in (table[:overlaps], table[overlaps:]))
    for size in sizes:  # by their ends; in between, the parts of a head stand side by side
        assert f"{size}.jsonl" in ends
        assert f"{size}.jsonl" in heads or width in (60, 80)


def test_a_terminal_too_narrow_for_a_label_beside_its_figure_folds_the_label(large: Path) -> None:
    subset = large.with_name("subset.jsonl")
    subset.write_bytes(b"".join(large.read_bytes().splitlines(keepends=True)[:20]))
    comparing = ("compare", subset, "--pool", large)
    _, *whole = gip(*comparing).stdout.decode().splitlines()
    columns = [*zip(*(line.split("\t")[1:] for line in whole), strict=True)]
    heads_off = re.split("─+", on_terminal(20, *comparing))[1:]
    figures = [re.findall(r"(?<= )\d[\d.,]*%?(?= )", part) for part in heads_off]
    assert [tuple(part[: len(whole)]) for part in figures] == columns


def test_a_name_is_shown_in_any_encoding(pool: Path) -> None:
    a = subset(pool, "ünï.jsonl", 0, 1)
    ours, theirs = os.openpty()
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    run = gip("compare", a, "--pool", pool, stdout=theirs, stderr=-1, env=plain)
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert (run.returncode, b"captured energy" in shown, b"xfcn" in shown) == (0, True, True)
    tabs = gip("compare", a, "--pool", pool, env=plain).stdout.decode()  # bytes stay UTF-8
    assert str(a) in tabs.splitlines()[0]


def test_errors_are_one_line_and_name_the_place(pool: Path, tmp_path: Path) -> None:
    stranger = write_rows(tmp_path / "s.jsonl", [ROWS[0], row((0.5, 0.5))])
    a = subset(pool, "a.jsonl", 0, 1)
    other = write_rows(tmp_path / "other.jsonl", [*ROWS, row((9, 9))])
    store = pool.with_suffix(".npy")
    cases = [
        (3, f"{stranger}:2: not a row of {pool}", (stranger, "--pool", pool)),
        (2, "is given twice", (a, a, "--pool", pool)),
        (2, "no such file", (tmp_path / "none.jsonl", "--pool", pool)),
        (4, f"{other}:5: no embedding", (a, "--pool", other, "-e", store)),
        (2, "Missing option '--pool'", (a,)),
    ]
    for code, message, arguments in cases:
        run = gip("compare", *arguments)
        assert (run.returncode, run.stdout) == (code, b"")
        assert message in error_of(run)


def test_what_a_receipt_asks_for_in_vain_is_told_with_its_name(large: Path) -> None:
    small, plain = large.with_name("stale.jsonl"), large.with_name("plain.jsonl")
    assert gip("select", large, "-k", 4, "-o", small).returncode == 0
    plain.write_bytes(large.read_bytes().replace(b'"gip":', b'"was":'))
    run = gip("compare", small, "--pool", plain, "-e", large.with_suffix(".npy"))
    assert run.returncode == 2
    receipt = small.with_suffix(".receipt.json")
    assert error_of(run).startswith(f"the query of {receipt}: no row has signal 'quality'")


def test_a_group_field_that_no_row_has_is_refused(pool: Path) -> None:
    a = subset(pool, "a.jsonl", 0, 1)
    run = gip("compare", a, "--pool", pool, "--group-field", "nope")
    assert run.returncode == 2
    assert error_of(run).startswith("--group-field: no row has a value in field 'nope'; fields")
    run = gip("report", pool, "-s", a, "--group-field", "nope")
    assert error_of(run).startswith("--group-field: no row has a value in field 'nope'; fields")


def test_a_folder_is_no_selection(pool: Path) -> None:
    run = gip("compare", ".", "--pool", pool)
    assert run.returncode == 2
    assert error_of(run) == ".: a directory where a file was expected"


def test_bad_lines_of_a_subset_are_refused_or_skipped_and_told(pool: Path) -> None:
    a = subset(pool, "bad.jsonl", 0, 1)
    a.write_bytes(b"x\n" + a.read_bytes())
    run = gip("compare", a, "--pool", pool)
    assert run.returncode == 3
    assert error_of(run).startswith(f"{a}:1: not JSON")
    run = gip("compare", a, "--pool", pool, "--skip-bad")
    assert run.returncode == 0
    assert f"1 bad row skipped; the first: {a}:1: not JSON".encode() in run.stderr
    assert b"rows\t2\t" in run.stdout


def test_rows_of_no_known_format_are_selected_and_compared_by_their_fields(tmp_path: Path) -> None:
    """With no embeddings at hand, by the real model."""
    texts = ("how are you", "what is two and two", "name a colour", "where is Rome")
    path = write_rows(tmp_path / "odd.jsonl", [{"q": text, "a": "so"} for text in texts])
    run = gip("select", path, "-k", 2)
    assert run.returncode == 3
    assert "pass --text-field" in error_of(run)
    fields, small = ("--text-field", "q", "--text-field", "a"), tmp_path / "small.jsonl"
    run = gip("select", path, "-k", 2, *fields, "-o", small)
    assert run.returncode == 0
    assert f"gip: {path}: fields rows\n".encode() in run.stderr
    options = json.loads(small.with_suffix(".receipt.json").read_bytes())["options"]
    assert options["text_field"] == ["q", "a"]
    figures = json.loads(gip("compare", small, "--pool", path, *fields, "--json").stdout)
    assert figures["subsets"][str(small)]["size"] == 2


def test_a_file_named_as_a_reference_is_has_a_column_of_its_own(pool: Path) -> None:
    named = subset(pool, "random 2", 0, 1)
    figures = compared(pool, named)
    run = gip(
        "compare", named.name, "--pool", pool, "-e", pool.with_suffix(".npy"), cwd=pool.parent
    )
    head, *lines = [line.split("\t") for line in run.stdout.decode().splitlines()]
    assert head == ["", "random 2", "random 2", "top-k 2"]
    (line,) = [line for line in lines if line[0] == "captured energy"]
    columns = [figures["subsets"][str(named)], *figures["references"].values()]
    assert line[1:] == [f"{one['captured']:.1%}" for one in columns]


def test_groups_are_those_of_all_receipts(tmp_path: Path) -> None:
    rows = [one | {"lang": "de"} for one in ROWS]
    pool, small = write_rows(tmp_path / "pool.jsonl", rows), []
    embed(pool, 2)
    for field in ("kind", "lang"):
        small.append(tmp_path / f"{field}.jsonl")
        grouped = ("--group-field", field, "--max-per-group", 2, "-k", 2)
        assert gip("select", pool, *grouped, "-o", small[-1]).returncode == 0
    for one in compared(pool, *small)["subsets"].values():
        assert [*one["shares"]] == ["kind", "lang"]


def test_a_receipts_groups_that_this_pool_has_not_are_left_out_and_told(
    pool: Path, tmp_path: Path
) -> None:
    other = write_rows(tmp_path / "pool.jsonl", ROWS)
    embed(other, 2)
    small = tmp_path / "small.jsonl"
    grouped = ("--group-field", "kind", "--max-per-group", 1, "-k", 2)
    assert gip("select", other, *grouped, "-o", small).returncode == 0
    without = [{name: one[name] for name in one if name != "kind"} for one in ROWS]
    write_rows(other, without)
    run = gip("compare", small, "--pool", other)
    assert "no row has a value in field 'kind', by which a receipt groups" in run.stderr.decode()
    assert "kind" not in run.stdout.decode()
