"""`gip report`: the file it writes, and what it says when it cannot."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.image import imread

from gip_cli.report.changes import bars
from gip_cli.report.figures import _bars
from tests.selecting import embed, row, write_rows
from tests.toys import error_of, gip, powerless


def packed(html: bytes) -> bytes:
    found = re.search(rb'id="data">([^<]*)<', html)
    assert found
    return base64.b64decode(found[1])


def data_of(report: Path) -> Any:
    return json.loads(gzip.decompress(packed(report.read_bytes())))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of rows of different length, and a third that is rare."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pool")
    rows = [
        row(v, words=20 * (at % 2), kind="long" if at % 2 else "short", **signal(rng.uniform()))
        for at, v in enumerate(rng.standard_normal((80, 5)))
    ]
    rows += [row(v, kind="rare", **signal(0.1)) for v in rng.standard_normal((10, 5))]
    path = write_rows(folder / "pool.jsonl", rows)
    embed(path, 5)
    return path


def signal(value: float) -> dict[str, Any]:
    return {"gip": {"signals": {"quality": value}}}


def lines(pool: Path) -> list[bytes]:
    return pool.read_bytes().splitlines(keepends=True)


def picks(pool: Path, name: str, *rows: int) -> Path:
    path = pool.with_name(name)
    path.write_bytes(b"".join(lines(pool)[at] for at in rows))
    return path


def test_page_is_whole_strict_and_the_same_every_time(pool: Path, tmp_path: Path) -> None:
    chosen = picks(pool, "chosen.jsonl", 3, 5, 8)
    first, again = tmp_path / "first.html", tmp_path / "again.html"
    for target in (first, again):
        assert gip("report", pool, "-s", chosen, "-o", target).returncode == 0
    html = first.read_bytes()
    assert html == again.read_bytes()
    assert packed(html)[4:8] == bytes(4)  # gzip's place for the time
    assert gip("report", pool, "-s", chosen).stdout == html
    policy = re.search(rb'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert policy[1].startswith(b"default-src 'none'; script-src 'sha256-")
    assert b"unsafe-eval" not in policy[1]
    # Nothing in it points anywhere, and no row stands in it as text.
    assert not re.search(rb"(src|href)\s*=\s*[\"']?(?!#)[a-z/]", html)
    assert lines(pool)[3][10:30] not in html


def test_warns_of_length_and_of_dropped_groups(pool: Path, tmp_path: Path) -> None:
    chosen = picks(pool, "long.jsonl", *range(1, 80, 2))
    run = gip("report", pool, "-s", chosen, "--group-field", "kind", "-o", tmp_path / "r.html")
    assert run.returncode == 0
    told = run.stderr.decode()
    assert "The picks are longer than the pool: 25 tokens on average against 13.9. " in told
    assert "No pick from kind: short, rare. Random picks would have some." in told
    (selection,) = data_of(tmp_path / "r.html")["selections"]
    (group,) = selection["changes"]["groups"]
    assert group["labels"] == ["long", "short", "rare"]
    assert group["picks"] == [1, 0, 0]
    # Cohen's h of a share that falls to nothing.
    assert group["h"][1] == pytest.approx(-2 * np.arcsin(np.sqrt(40 / 90)), abs=1e-4)
    tokens = selection["changes"]["measures"][0]
    pool_tokens = np.array([25] * 40 + [5] * 50)
    assert tokens["shift"] == pytest.approx((25 - pool_tokens.mean()) / pool_tokens.std())


def test_random_rows_ahead_of_the_average_draw_are_told_to_be_no_better_than_the_best(
    pool: Path, tmp_path: Path
) -> None:
    chosen = [picks(pool, f"{at}.jsonl", *range(at, at + 10)) for at in range(0, 90, 10)]
    each = [argument for path in chosen for argument in ("-s", path)]
    assert gip("report", pool, *each, "-o", tmp_path / "r.html").returncode == 0
    between = 0
    for selection in data_of(tmp_path / "r.html")["selections"]:
        random, captured = selection["curve"]["random"], selection["curve"]["captured"][-1]
        said = "no more of the query's energy than the best of 10 random draws."
        assert any(said in one for one in selection["warnings"]) == (captured <= random["high"][-1])
        between += random["mean"][-1] < captured <= random["high"][-1]
    assert between


def test_picks_by_tokens_are_held_against_random_rows_of_no_more_tokens(tmp_path: Path) -> None:
    """As their receipt holds them: as many rows of any length capture more than short ones."""
    rng, axes = np.random.default_rng(0), np.eye(5)
    rows = [row(axes[0] + 0.1 * rng.standard_normal(5), at % 3) for at in range(20)]
    rows += [row(axes[1 + at % 4], 90) for at in range(60)]
    for at, one in enumerate(rows):  # so that there are top-k rows, too
        one["gip"] = {"signals": {"good": at}}
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 5)
    small, page = tmp_path / "small.jsonl", tmp_path / "r.html"
    options = ("--tokens", 60, "--length-power", 3, "--no-signals")
    assert gip("select", pool, *options, "-o", small).returncode == 0
    receipt = json.loads(small.with_suffix(".receipt.json").read_bytes())
    told = gip("report", pool, "-s", small, "-o", page).stderr
    data = data_of(page)
    (selection,) = data["selections"]
    curve, by_random = selection["curve"], receipt["captured_by_random"]["mean"]
    mean, least, most = curve["random"]["same"]
    assert mean == pytest.approx(by_random, rel=1e-4)
    assert least < mean < most
    assert curve["captured"][-1] < curve["random"]["high"][-1]  # as many rows, of more tokens
    assert curve["better"]
    assert b"random draws" not in told
    assert selection["near"]["random"] == pytest.approx(receipt["nearest_cosine"]["random"])
    assert any("along its curve as many as its picks" in note for note in data["notes"])


def test_a_warning_names_no_group_and_no_signal_at_length(tmp_path: Path) -> None:
    long = "x" * 10_000
    rows = [
        row((1, at), **{long: f"{at % 2}{long}"}, gip={"signals": {long: at % 2}})
        for at in range(20)
    ]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    chosen = write_rows(tmp_path / "s.jsonl", rows[::2])
    run = gip("report", pool, "-s", chosen, "--group-field", long, "-o", tmp_path / "r.html")
    told = run.stderr.decode()
    assert f"No pick from {long[:60]}…: 1{long[:59]}…. Random picks would have some." in told
    assert f"{long[:60]}… is worse among the picks" in told


def test_curves_of_several_selections_end_at_their_receipts(pool: Path, tmp_path: Path) -> None:
    small, given = tmp_path / "small.jsonl", picks(pool, "given.jsonl", 0, 1)
    assert gip("select", pool, "-k", 12, "--given", given, "-o", small).returncode == 0
    receipt = json.loads(small.with_suffix(".receipt.json").read_bytes())
    other = picks(pool, "other.jsonl", *range(20, 40))
    report = tmp_path / "r.html"
    assert gip("report", pool, "-s", small, "-s", other, "-o", report).returncode == 0
    data = data_of(report)
    ours, theirs = (selection["curve"] for selection in data["selections"])
    assert ours["before"] == pytest.approx(receipt["given"]["captured"], abs=1e-6)
    assert ours["captured"][-1] == pytest.approx(receipt["captured"], abs=1e-5)
    assert ours["before"] + sum(ours["gains"]) == pytest.approx(receipt["captured"], abs=1e-4)
    assert (ours["n"][-1], theirs["n"][-1]) == (12, 20)
    assert ours["knee"]["n"] in ours["n"]
    assert len(ours["random"]["mean"]) == len(ours["top"]) == len(ours["n"])
    assert (np.array(ours["random"]["low"]) <= ours["random"]["high"]).all()
    assert f"--given {given}" in ours["commands"][1]


def test_commands_for_a_gzipped_selection_work(pool: Path, tmp_path: Path) -> None:
    small, report = tmp_path / "small picks.jsonl.gz", tmp_path / "r.html"
    assert gip("select", pool, "-k", 12, "-o", small).returncode == 0
    assert gip("report", pool, "-s", small, "-o", report).returncode == 0
    first = gzip.decompress(small.read_bytes()).splitlines(keepends=True)[:5]
    smaller = tmp_path / "small picks-5.jsonl.gz"
    (selection,) = data_of(report)["selections"]
    cut, again = (one.replace("@N@", "5") for one in selection["curve"]["commands"])
    subprocess.run(cut, shell=True, check=True)
    assert gzip.decompress(smaller.read_bytes()) == b"".join(first)
    smaller.unlink()
    assert gip(*shlex.split(again)[1:]).returncode == 0
    assert gzip.decompress(smaller.read_bytes()) == b"".join(first)


@pytest.mark.parametrize(
    "options",
    [
        *("", "--no-signals", "--self-weight 1", "--self-weight 1 --signal-weight 0"),
        *("--target T", "--target T --self-weight 0.3", "--target T --signal-weight 0"),
        *("--target T --target-weight 0", "--target T --self-weight 1 --target-weight 0.123456789"),
        *("--target T --no-signals", "--target T --no-signals --self-weight 0"),
        *("--target T --no-signals --target-weight 0", "--signal quality=0.7 --quality-power 1.5"),
        *("--annotate", "--keep-signals", "--order input", "--target T --target U"),
        "--format text --given T --exclude U --exclude-threshold 0.9 --dedup-threshold 0.95",
    ],
)
def test_selecting_again_picks_the_same_by_any_mix_of_sources(
    pool: Path, tmp_path: Path, options: str
) -> None:
    small, report = tmp_path / "small.jsonl", tmp_path / "r.html"
    named = {"T": picks(pool, "task.jsonl", 2, 4), "U": picks(pool, "other.jsonl", 7)}
    words = [str(named.get(word, word)) for word in options.split()]
    assert gip("select", pool, "-k", 30, *words, "-o", small).returncode == 0
    assert gip("report", pool, "-s", small, "-o", report).returncode == 0
    (selection,) = data_of(report)["selections"]
    again = shlex.split(selection["curve"]["commands"][-1].replace("@N@", "30"))
    assert any(word.endswith("-weight") for word in again) == ("-weight" in options)
    assert ("--quality-power" in again) == ("--quality-power" in options)
    nested = {"--annotate", "--keep-signals", "--format", "--exclude-threshold"}
    assert not nested & {*options.split()} - {*again}
    assert gip(*again[1:]).returncode == 0
    assert (tmp_path / "small-30.jsonl").read_bytes() == small.read_bytes()


@pytest.mark.parametrize("limit", ["--max-per-group 8", "--per-group 9", "-k 20 --per-group 9"])
def test_selecting_fewer_keeps_to_the_groups(pool: Path, tmp_path: Path, limit: str) -> None:
    small, report = tmp_path / "small.jsonl", tmp_path / "r.html"
    budget = ["-k", 20] if limit.startswith("--max") else []
    options = (*budget, "--group-field", "kind", *limit.split())
    assert gip("select", pool, *options, "-o", small).returncode == 0
    assert gip("report", pool, "-s", small, "-o", report).returncode == 0
    _, again = commands_of(report)
    picked = small.read_bytes().splitlines(keepends=True)
    for count in (7, len(picked)):
        assert gip(*shlex.split(again.replace("@N@", str(count)))[1:]).returncode == 0
        fewer = tmp_path / f"small-{count}.jsonl"
        assert fewer.read_bytes() == b"".join(picked[:count])


def test_selecting_again_skips_the_rows_that_were_skipped(pool: Path, tmp_path: Path) -> None:
    rows, small, report = tmp_path / "rows.jsonl", tmp_path / "small.jsonl", tmp_path / "r.html"
    rows.write_bytes(pool.read_bytes() + b"{}\n")
    asked = ("-e", pool.with_suffix(".npy"), "--skip-bad")
    assert gip("select", rows, *asked, "-k", 12, "-o", small).returncode == 0
    assert gip("report", rows, *asked, "-s", small, "-o", report).returncode == 0
    again = shlex.split(commands_of(report)[-1].replace("@N@", "5"))
    assert gip(*again[1:]).returncode == 0
    first = small.read_bytes().splitlines(keepends=True)[:5]
    assert (tmp_path / "small-5.jsonl").read_bytes() == b"".join(first)


def test_selecting_again_names_the_embeddings_selected_by_also_where_they_have_gone(
    pool: Path, tmp_path: Path
) -> None:
    """Without them it would pick by others, in silence."""
    mine, moved, small = (tmp_path / name for name in ("mine.npy", "moved.npy", "small.jsonl"))
    embed(pool, 5, mine)
    assert gip("select", pool, "-e", mine, "-k", 4, "-o", small).returncode == 0
    for kind in ("npy", "keys.npy", "tokens.npy", "json"):
        mine.with_suffix(f".{kind}").rename(moved.with_suffix(f".{kind}"))
    assert gip("report", pool, "-e", moved, "-s", small, "-o", tmp_path / "r.html").returncode == 0
    assert f" -e {mine} " in commands_of(tmp_path / "r.html")[-1]


def commands_of(report: Path) -> list[str]:
    (selection,) = data_of(report)["selections"]
    commands: list[str] = selection["curve"]["commands"]
    return commands


@pytest.mark.parametrize(
    ("name", "rewritten", "works"),
    [
        ("plain.jsonl", lambda lines: b"".join(lines), True),
        ("array.json", lambda lines: b"[" + b",".join(lines) + b"]", False),
        ("blank.jsonl", lambda lines: b"\n".join(lines), False),
        ("packed.jsonl", lambda lines: gzip.compress(b"".join(lines)), False),
        ("plain.gz", lambda lines: b"".join(lines), False),
        ("two\nlines.jsonl", lambda lines: b"".join(lines), False),
        (os.fsdecode(b"\xff" * 100), lambda lines: b"".join(lines), False),
        ("for @N@ picks.jsonl", lambda lines: b"".join(lines), False),
    ],
)
def test_no_command_is_offered_that_would_not_cut_the_file(
    pool: Path, tmp_path: Path, name: str, rewritten: Callable[[list[bytes]], bytes], works: bool
) -> None:
    chosen, report = tmp_path / name, tmp_path / "r.html"
    chosen.write_bytes(rewritten(lines(pool)[:4]))
    assert gip("report", pool, "-s", chosen, "-o", report).returncode == 0
    assert bool(commands_of(report)) == works


def test_commands_take_no_name_for_an_option(pool: Path, tmp_path: Path) -> None:
    names = {"-pool.jsonl": pool, "-pool.npy": pool.with_suffix(".npy")}
    for end in ("json", "keys.npy", "tokens.npy"):
        names[f"-pool.{end}"] = pool.with_suffix(f".{end}")
    for name, source in names.items():
        (tmp_path / name).write_bytes(source.read_bytes())
    selecting = ("select", "./-pool.jsonl", "-e", "-pool.npy", "-k", 8, "-o", "-small.jsonl")
    assert gip(*selecting, cwd=tmp_path).returncode == 0
    reporting = ("report", "-e", "-pool.npy", "-s", "-small.jsonl", "-o", "r.html")
    assert gip(*reporting, "--", "-pool.jsonl", cwd=tmp_path).returncode == 0
    first = b"".join((tmp_path / "-small.jsonl").read_bytes().splitlines(keepends=True)[:5])
    cut, again = (one.replace("@N@", "5") for one in commands_of(tmp_path / "r.html"))
    subprocess.run(cut, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "-small-5.jsonl").read_bytes() == first
    (tmp_path / "-small-5.jsonl").unlink()
    assert gip(*shlex.split(again)[1:], cwd=tmp_path).returncode == 0
    assert (tmp_path / "-small-5.jsonl").read_bytes() == first


def test_no_command_reads_a_stream_again(pool: Path, tmp_path: Path) -> None:
    small, report = tmp_path / "small.jsonl", tmp_path / "r.html"
    assert gip("select", pool, "-k", 4, "-o", small).returncode == 0
    reporting = ("report", pool, "-o", report, "-s")
    for stream in ("-", "/dev/stdin"):
        with small.open("rb") as file:
            assert gip(*reporting, stream, stdin=file).returncode == 0
        assert commands_of(report) == []
    store = ("-e", pool.with_suffix(".npy"))
    reporting = ("report", "-", *store, "-o", report, "-s", small)
    assert gip(*reporting, input=pool.read_bytes()).returncode == 0
    (cut,) = commands_of(report)
    assert cut.startswith("head ")


def test_names_of_a_dataset_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    nasty, told = "a\u202eb\x1b", "a\\u202eb\\x1b"
    rows = [
        row((1, at), gip={"signals": {nasty: at // 5}}, **{nasty: nasty if at > 4 else "c"})
        for at in range(20)
    ]
    pool, chosen = tmp_path / "pool.jsonl", tmp_path / f"{nasty}.jsonl"
    embed(write_rows(pool, rows), 2)
    write_rows(chosen, rows[:5])
    small = tmp_path / f"small{nasty}.jsonl"  # of whose receipt all is shown, and a note names it
    grouped = ("--group-field", nasty, "--group-share", "equal")
    assert gip("select", pool, "-k", 4, *grouped, "-o", small).returncode == 0
    reporting = ("report", pool, "-s", chosen, "-s", small, "--group-field", nasty)
    assert gip(*reporting, "-o", tmp_path / "r.html").returncode == 0
    data = data_of(tmp_path / "r.html")
    shown = json.dumps(data, ensure_ascii=False)
    assert "\u202e" not in shown
    assert r"\u001b" not in shown
    selection, selected = data["selections"]
    assert selected["receipt"]["options"]["group_field"] == told
    assert f"No pick from {told}: {told}. Random picks" in selection["warnings"][-1]
    assert f"{told} is worse among the picks" in selection["warnings"][-2]
    assert selection["name"].endswith(f"{told}.jsonl")


def test_closest_pairs_worst_covered_and_nearest(tmp_path: Path) -> None:
    angles = np.radians([0, 10, 45, 90, 180])
    rows = [row((np.cos(angle), np.sin(angle))) for angle in angles]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    chosen = write_rows(tmp_path / "s.jsonl", [rows[2], rows[0], rows[1]])
    assert gip("report", pool, "-s", chosen, "-o", tmp_path / "r.html").returncode == 0
    (selection,) = data_of(tmp_path / "r.html")["selections"]
    assert selection["picks"] == [2, 0, 1]
    cosines = np.cos(np.radians([10, 35, 45]))
    assert [pair["cosine"] for pair in selection["pairs"]] == pytest.approx(cosines, abs=1e-4)
    assert [sorted(pair["ranks"]) for pair in selection["pairs"]] == [[1, 2], [0, 2], [0, 1]]
    assert [(one["row"], one["nearest"]) for one in selection["worst"]] == [(4, 0), (3, 0)]
    # The nearest pick of a pick is another one.
    assert selection["nearest"] == [2, 1, 2, 0, 0]


def test_figures_of_foreign_and_long_labels_come_without_a_warning(tmp_path: Path) -> None:
    kinds = ["日本語" * 30, "हिन्दी", "\x00", "a\u202eb"]
    scores = {"signals": {"評価" * 30: 1.0}}
    rows = [row((1, at), kind=kind, gip=scores) for at, kind in enumerate(kinds)]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    run = gip(
        *("report", pool, "-s", write_rows(tmp_path / "漢字.jsonl", rows[:2]), "--quiet"),
        *("--group-field", "kind", "-o", tmp_path / "r.html", "--figures", tmp_path / "figures"),
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert (tmp_path / "figures/group-1-kind.png").exists()


def test_figures_where_no_home_can_be_written_come_without_a_warning(
    pool: Path, tmp_path: Path
) -> None:
    chosen = picks(pool, "chosen.jsonl", 3, 5, 8)
    homeless = {"PATH": os.environ["PATH"], "HOME": str(chosen), "TMPDIR": str(tmp_path)}
    reporting = ("report", pool, "-s", chosen, "--quiet", "-o", tmp_path / "r.html")
    run = gip(*reporting, "--figures", tmp_path / "figures", env=homeless)
    assert (run.returncode, run.stderr) == (0, b"")


def test_figures_are_the_same_wherever_they_are_drawn(pool: Path, tmp_path: Path) -> None:
    """A notebook's kernel exports its backend, and a matplotlibrc can ask for LaTeX."""
    chosen = picks(pool, "chosen.jsonl", 3, 5, 8)
    (tmp_path / "matplotlibrc").write_text("font.size: 6\ntext.usetex: True\nimage.cmap: nope\n")
    notebook = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    reporting = ("report", pool, "-s", chosen, "-o", tmp_path / "r.html", "--figures")
    assert gip(*reporting, tmp_path / "here").returncode == 0
    run = gip(*reporting, tmp_path / "there", cwd=tmp_path, env=notebook)
    assert (run.returncode, b"Warning" in run.stderr) == (0, False), run.stderr
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    odd = gip(*reporting, tmp_path / "nowhere", cwd=tmp_path, env=notebook)
    assert odd.returncode == 2
    assert error_of(odd).startswith("matplotlib cannot be loaded (")
    for picture in (tmp_path / "here").iterdir():
        assert (tmp_path / "there" / picture.name).read_bytes() == picture.read_bytes()


def test_a_folder_that_takes_no_figures_is_told_before_the_work(pool: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "figures").mkdir(mode=0o555)
    reporting = ("report", pool, "-s", picks(pool, "chosen.jsonl", 3), "-o", tmp_path / "r.html")
    run = gip(*reporting, "--figures", folder, preexec_fn=powerless)
    assert (run.returncode, error_of(run)) == (6, f"{folder}: permission denied")
    assert not (tmp_path / "r.html").exists()


def test_a_name_that_matplotlib_would_hide_is_in_the_legend(pool: Path, tmp_path: Path) -> None:
    chosen = picks(pool, "_chosen.jsonl", 3, 5, 8)
    reporting = ("report", pool, "-o", tmp_path / "r.html", "--figures", "f", "-s")
    curves = []
    for name in (chosen.name, f"./{chosen.name}", chosen):
        assert gip(*reporting, name, cwd=pool.parent).returncode == 0
        curves.append((pool.parent / "f/curve.png").read_bytes())
    assert curves[0] == curves[1] != curves[2]


def test_an_installed_font_draws_what_matplotlibs_own_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A font of one character, a triangle, by the name of one that has them all."""
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "triangle"])
    builder.setupCharacterMap({ord("数"): "triangle"})
    pen = TTGlyphPen(None)
    for command, *corner in (("moveTo", 0, 0), ("lineTo", 0, 999), ("lineTo", 999, 999)):
        getattr(pen, command)(corner)
    pen.closePath()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "triangle": pen.glyph()})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "triangle"), (1000, 0)))
    builder.setupHorizontalHeader(ascent=999, descent=0)
    builder.setupNameTable({"familyName": "Noto Sans CJK JP", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "font.ttf")
    rows = [row((1, at), kind="数" * 9) for at in range(3)]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    reporting = ("report", pool, "-s", pool, "-o", tmp_path / "r.html", "--group-field", "kind")
    pictures = []
    for folder in ("boxes", "triangles"):
        assert gip(*reporting, "--figures", tmp_path / folder).returncode == 0
        pictures.append((tmp_path / folder / "group-1-kind.png").read_bytes())
        monkeypatch.setattr(fontManager, "ttflist", [*fontManager.ttflist])
        fontManager.addfont(tmp_path / "font.ttf")
    assert pictures[0] != pictures[1]


def test_redundancy_spans_random_rows_too_and_says_what_its_last_bar_holds(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((300, 6))
    rows = [row(tuple(vector), words) for words in (0, 2) for vector in vectors]
    pool = write_rows(tmp_path / "pool.jsonl", rows)  # each row twice, but for its words
    embed(pool, 6)
    chosen = write_rows(tmp_path / "chosen.jsonl", rows[:200])
    assert gip("report", pool, "-s", chosen, "-o", tmp_path / "r.html").returncode == 0
    (near,) = (one["near"] for one in data_of(tmp_path / "r.html")["selections"])
    assert near["at"][-1] + near["width"] / 2 == pytest.approx(1, abs=1e-3)  # copies of random rows
    assert near["shares"]["random"][-1] > 0.2 > near["shares"]["picks"][-1]
    axes = Figure().subplots()
    for tail, told in ((None, ""), (0.7512, "; last bar: 0.751 and more"), (1421.3, "1,421 and")):
        _bars(axes, near | {"tail": tail}, "cosine")
        assert told in axes.get_xlabel()


def test_few_values_have_each_its_tick_in_a_picture() -> None:
    def ticks(*values: float) -> list[float]:
        axes, some = Figure().subplots(), np.array(values, float)
        _bars(axes, bars({"pool": some, "picks": some, "random": some}), "rating")
        return [float(at) for at in axes.get_xticks()]

    assert ticks(0, 1) == [0, 1]
    assert ticks(1, 2, 4, 5) == [1, 2, 4, 5]
    assert len(ticks(0, 1, 30)) > 3  # those of 0 and 1 would touch
    assert len(ticks(*np.linspace(1, 5, 13)[:12])) < 12  # and so would those of thirds


def test_figures_are_pictures(pool: Path, tmp_path: Path) -> None:
    chosen = picks(pool, "chosen.jsonl", 3, 5, 8, 13)
    folder = tmp_path / "new" / "figures"
    reporting = ("report", pool, "-s", chosen, "--group-field", "kind", "-o", tmp_path / "r.html")
    assert gip(*reporting, "--figures", folder).returncode == 0
    pictures = {path.name: path.read_bytes() for path in folder.iterdir()}
    expected = {"curve", "map", "length", "signal-1-quality", "group-1-kind", "redundancy"}
    assert {name.removesuffix(".png") for name in pictures} == expected
    for picture in pictures.values():
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(np.unique(imread(BytesIO(picture)))) > 20  # not blank
        assert b"Software" not in picture  # matplotlib's version, with which it would change
    again = ("report", pool, "-s", chosen, "-o", tmp_path / "r.html", "--figures", folder)
    told = gip(*again).stderr.decode()
    assert f"gip: {folder}: 5 figures; 1 more there is not of this report\n" in told
    copied = picks(pool, "c" * 200 + ".jsonl", 3, 5, 8, 13)  # of the same rows, but by another name
    both = ("report", pool, "-s", chosen, "-s", copied, "-o", tmp_path / "r.html")
    assert gip(*both, "--figures", tmp_path / "both").returncode == 0
    for name in ("map.png", "length.png"):
        one, other = (tmp_path / "both" / f"{number}-{name}" for number in (1, 2))
        assert one.read_bytes() != other.read_bytes()
    alone = ("-s", picks(pool, "alone.jsonl", 3), "-o", tmp_path / "r.html")
    assert gip("report", pool, *alone, "--figures", tmp_path / "alone").returncode == 0
    assert not (tmp_path / "alone/redundancy.png").exists()  # of one row
    full = gip("report", pool, *alone, "-o", "/dev/full", "--figures", tmp_path / "alone")
    assert (full.returncode, b"figures" in full.stderr) == (6, False)
    (loop := tmp_path / "loop").symlink_to(loop)
    for no_folder in (chosen, loop):
        blocked = gip(*reporting, "--figures", no_folder)
        assert (blocked.returncode, "not a directory" in error_of(blocked)) == (2, True)
        assert blocked.stderr.count(b"\n") == 1  # told before any work


@pytest.mark.parametrize(
    ("module", "arguments", "remedy"),
    [
        ("plotly", (), "gip report needs plotly; pip install '.[report]' in the clone of gip"),
        ("matplotlib", ("--figures", "f"), "--figures needs matplotlib; pip install"),
        (
            "umap",
            ("--map", "umap"),
            "needs umap-learn, which cannot be loaded (not here); pip install umap-learn, or leave",
        ),
    ],
)
def test_what_is_not_installed_is_named(
    pool: Path, tmp_path: Path, module: str, arguments: tuple[str, ...], remedy: str
) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError('not here')")
    chosen = picks(pool, "chosen.jsonl", 3, 5, 8)
    run = gip(
        *("report", pool, "-s", chosen, "-o", tmp_path / "r.html", *arguments),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert run.returncode == 2
    assert remedy in error_of(run)
    assert not (tmp_path / "r.html").exists()


def test_refuses_to_write_over_what_it_reads(pool: Path) -> None:
    chosen = picks(pool, "chosen.jsonl", 3, 5, 8)
    before = chosen.read_bytes()
    for target in (pool, chosen):
        run = gip("report", pool, "-s", chosen, "-o", target)
        assert run.returncode == 2
        assert str(target) in error_of(run)
    assert chosen.read_bytes() == before


def test_an_unknown_token_count_is_no_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [row(v, tok=[30, 50, None][at % 3]) for at, v in enumerate(rng.standard_normal((60, 3)))]
    pool, small = write_rows(tmp_path / "pool.jsonl", rows), tmp_path / "small.jsonl"
    embed(pool, 3)
    counted = ("--tokens", 300, "--token-field", "tok", "--skip-bad")
    assert gip("select", pool, *counted, "-o", small).returncode == 0
    assert gip("report", pool, "-s", small, "--skip-bad", "-o", tmp_path / "r.html").returncode == 0
    data = data_of(tmp_path / "r.html")
    tokens = data["selections"][0]["changes"]["measures"][0]
    assert (tokens["mean"]["pool"], tokens["unknown"], tokens["at"]) == (40, 20, [30, 50])
    assert data["rows"]["length"][:4] == [30, 50, None, 30]


def test_one_row_is_told_as_one(tmp_path: Path) -> None:
    pool, small = write_rows(tmp_path / "pool.jsonl", [row((1, 0))]), tmp_path / "small.jsonl"
    embed(pool, 2)
    assert b"picked 1 of 1 row; captured" in gip("select", pool, "-k", 1, "-o", small).stderr
    receipt = small.with_suffix(".receipt.json")
    receipt.write_bytes(receipt.read_bytes().replace(b'"picked": 1', b'"picked": 2'))
    run = gip("report", pool, "-s", small, "-o", tmp_path / "r.html")
    assert b"small.jsonl has 1 row, its receipt tells of 2" in run.stderr


def test_figures_of_the_longest_names_and_of_paths_are_written(tmp_path: Path) -> None:
    names = ["s/s" * 100 + end for end in "ab"]
    rows = [row((1, at), gip={"signals": dict.fromkeys(names, 1.0)}) for at in (1, 2)]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 2)
    reporting = ("report", pool, "-s", pool, "-o", tmp_path / "r.html", "--figures", tmp_path / "f")
    assert gip(*reporting).returncode == 0
    assert len([*(tmp_path / "f").glob("signal-?-s_ss_s*.png")]) == 2


def test_what_a_receipt_names_is_read_and_so_neither_overwritten_nor_missing(
    pool: Path, tmp_path: Path
) -> None:
    before, figures = picks(pool, "before.jsonl", 0, 1), tmp_path / "figures"
    small, report = tmp_path / "small.jsonl", tmp_path / "r.html"
    assert gip("select", pool, "-k", 4, "--given", before, "-o", small).returncode == 0
    whole = before.read_bytes()
    figures.mkdir()
    (figures / "curve.png").symlink_to(before)
    with before.open("ab") as end:
        for run in (
            gip("report", pool, "-s", small, "-o", before),
            gip("report", pool, "-s", small, "-o", report, "--figures", figures),
            gip("compare", small, "--pool", pool, stdout=end, stderr=-1),
        ):
            assert (run.returncode, "are the same file" in error_of(run)) == (2, True)
    assert (before.read_bytes(), report.exists()) == (whole, False)
    before.unlink()
    run = gip("report", pool, "-s", small, "-o", report)
    receipt = small.with_suffix(".receipt.json")
    assert run.returncode == 2
    told = f"the query of {receipt}: {before}: no such file or directory; run where gip select ran"
    assert error_of(run).startswith(told)


def test_ten_thousand_rows_that_do_not_compress_stay_under_8_mb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for vector in rng.standard_normal((10_000, 3)):
        noise = base64.b64encode(rng.bytes(900)).decode()
        rows.append({"text": f"{' '.join(f'{x:.6f}' for x in vector)} {noise}"})
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    embed(pool, 3)
    chosen = write_rows(tmp_path / "s.jsonl", rows[:1000])
    report = tmp_path / "r.html"
    assert gip("report", pool, "-s", chosen, "-o", report).returncode == 0
    assert 4e6 < report.stat().st_size < 8e6


def test_what_a_receipt_names_is_found_beside_it_from_another_folder_too(
    pool: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ci"
    folder.mkdir()
    (folder / "pool.jsonl").write_bytes(pool.read_bytes())
    (folder / "aim.jsonl").write_bytes(b"".join([*lines(pool)[:3], b'{"a": 1}\n']))
    (tmp_path / "aim.jsonl").write_bytes(b"".join(lines(pool)[3:9]))  # another of that name
    other = "has other rows than when"
    embed(folder / "pool.jsonl", 5)
    (folder / "pool.npy").rename(folder / "other.npy")
    for kind in ("keys.npy", "tokens.npy", "json"):
        (folder / f"pool.{kind}").rename(folder / f"other.{kind}")
    embed(folder / "pool.jsonl", 5)  # so that it has to be said which
    named = ("-e", "other.npy", "--target", "aim.jsonl", "-k", 4, "-o", "small.jsonl")
    for part, line in (("given", 9), ("exclude", 11)):
        (folder / f"{part}.jsonl").write_bytes(lines(pool)[line])
        named += (f"--{part}", f"{part}.jsonl")
    named += ("--skip-bad",)
    assert gip("select", "pool.jsonl", *named, cwd=folder).returncode == 0
    reporting = ("report", "ci/pool.jsonl", "-s", "ci/small.jsonl", "-o", "r.html", "--skip-bad")
    run = gip(*reporting, cwd=tmp_path)
    assert run.returncode == 0, run.stderr.decode()
    told = run.stderr.decode()
    assert "gip: 1 bad row skipped; the first: ci/aim.jsonl:4: not readable as text row" in told
    assert "gip: using ci/other.npy, which ci/small.receipt.json names\n" in told
    (_, again) = data_of(tmp_path / "r.html")["selections"][0]["curve"]["commands"]
    assert "-e ci/other.npy" in again
    assert "--target ci/aim.jsonl" in again
    assert "--given ci/given.jsonl --exclude ci/exclude.jsonl" in again
    assert other not in told
    (folder / "aim.jsonl").write_bytes(lines(pool)[0])
    told = gip(*reporting, cwd=tmp_path).stderr.decode()
    assert f"gip: aim.jsonl {other} ci/small.receipt.json was written: figures may differ" in told
