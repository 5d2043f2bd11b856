"""The report in a real browser: it draws, it answers, it asks the network for nothing."""

from __future__ import annotations

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import orjson
import pytest
from selenium.webdriver.common.keys import Keys

from gip_cli.report.page import page as html
from tests.browser.conftest import Page, Sample
from tests.test_cli_report import data_of
from tests.toys import embed, gip

OVERFLOW = "const { scrollWidth, clientWidth } = document.documentElement;" + (
    "return scrollWidth - clientWidth"
)


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def shown(row: Any) -> str:
    """A row's text as the page shows it."""
    prompt = f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"]
    return f"{prompt}\n{row['output']}"


def rendered(path: Path, data: Any) -> Path:
    path.write_bytes(html(data))
    return path


@pytest.fixture
def report(page: Page, sample: Sample) -> Page:
    return page.open(sample.report)


@pytest.fixture
def still(page: Page, sample: Sample) -> Page:
    """The report to look at, opened once for tests in a row, which leave it as it is."""
    if page.untouched != sample.report:
        page.open(sample.report)
        page.untouched = sample.report
    return page


def test_no_console_error_and_no_request(still: Page) -> None:
    assert still.errors == []
    assert {url.partition(":")[0] for url in still.requests} - {"data"} == {"file"}


def test_first_screen_answers_with_the_receipts_numbers(still: Page, sample: Sample) -> None:
    captured = sample.receipt["captured"]
    assert still.text("#headline") == "20 of 204 rows"
    figures = still.texts(".answer .figure")
    assert figures[0] == f"{captured:.1%}"
    asked = "energy, which is that of the rows that their signals call good. "
    assert asked in still.texts(".answer p")[0]
    assert still.js("return asked({ self: 0.25, targets: 0.75 })") == (
        "the pool itself (25%) and the target examples (75%)"
    )
    random = still.js("return document.getElementById('curve').data[2].y.at(-1)")
    assert figures[1] == f"+{100 * (captured - random):.1f} points"
    knee = still.js("return document.getElementById('keep').value")
    assert figures[2] == f"{knee} rows"
    seen = still.js("return document.getElementById('answers').getBoundingClientRect().bottom")
    assert seen < 900


def test_curve_is_the_receipts(still: Page, sample: Sample) -> None:
    line = still.js(
        "return document.getElementById('curve').data.find((t) => t.name === arguments[0])",
        "…" + str(sample.selection)[-31:],
    )
    drawn = dict(zip(line["x"], line["y"], strict=True))
    for picks, captured in sample.receipt["captured_curve"]:
        assert drawn[picks] == pytest.approx(captured, abs=1e-5)


def test_a_last_bar_that_takes_a_tail_says_so(still: Page, sample: Sample) -> None:
    (near,) = (one["near"] for one in data_of(sample.report)["selections"])
    title = still.js("return document.getElementById('near').layout.xaxis.title.text")
    assert title == f"cosine with the nearest other pick; last bar: {near['tail']:.3g} and more"


def test_map_has_every_row_once_and_picks_by_rank(still: Page, sample: Sample) -> None:
    pool, picks = (
        still.js("return document.getElementById('map').data[arguments[0]]", trace)
        for trace in (0, 1)
    )
    assert sorted(pool["customdata"] + picks["customdata"]) == list(range(204))
    pool_rows, picked = rows_of(sample.pool), rows_of(sample.selection)
    by_rank = dict(zip(picks["marker"]["color"], picks["customdata"], strict=True))
    assert [shown(pool_rows[by_rank[rank]]) for rank in range(1, 21)] == [*map(shown, picked)]


def test_table_lists_the_picks_with_their_figures(still: Page, sample: Sample) -> None:
    picked, receipt = rows_of(sample.selection), sample.receipt
    assert still.texts("#table td.text span") == [*map(shown, picked)]
    cells = {
        name: [float(text.rstrip("%")) for text in still.texts(f"#table td[data-name='{name}']")]
        for name in ("rank", "gain", "rating")
    }
    assert cells["rank"] == list(range(1, 21))
    assert sum(cells["gain"]) == pytest.approx(100 * receipt["captured"], abs=0.1)
    assert np.mean(cells["rating"]) == pytest.approx(receipt["signals"]["rating"]["picked"])
    assert cells["rating"] == [row["meta"]["rating"] for row in picked]


def test_groups_and_effects(still: Page, sample: Sample) -> None:
    topics = [row["meta"]["topic"] for row in rows_of(sample.selection)]
    names, shares = still.js(
        "const { data, layout } = document.querySelector('#changes .wide .chart');"
        "return [layout.yaxis.ticktext, data[1].x]"
    )
    assert dict(zip(names, shares, strict=True)) == pytest.approx(
        {name: topics.count(name) / 20 for name in names}
    )
    badges = dict(zip(still.texts("#changes h3"), still.texts("#changes .badge"), strict=False))
    ratings = np.array([row["meta"].get("rating", np.nan) for row in rows_of(sample.pool)])
    shift = (sample.receipt["signals"]["rating"]["picked"] - np.nanmean(ratings)) / np.nanstd(
        ratings
    )
    assert badges["rating"] == f"+{shift:.2f} SD, {'large' if shift >= 0.8 else 'medium'}"


def test_long_names_are_cut_between_characters(still: Page) -> None:
    cut = "return [cut('😀😀😀😀', arguments[0]), end('😀😀😀😀', arguments[0])]"
    assert still.js(cut, 4) == ["😀…", "…😀"]
    assert still.js(cut, 5) == ["😀😀…", "…😀😀"]
    assert still.js(cut, 8) == ["😀😀😀😀"] * 2


def test_large_and_small_numbers_are_short(still: Page) -> None:
    numbers = [None, 0, 3.14159, -1234.5, 98765432, 1e12, -1e100, 5e-324]
    texts = ["\u2013", "0", "3.14", "-1,234", "98,765,432", "1.00e+12", "-1.00e+100", "5e-324"]
    assert still.js("return arguments[0].map(short)", numbers) == texts


def test_random_rows_of_a_selection_by_tokens_are_of_no_more(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    (selection,) = data["selections"]
    selection["tokens"] = 2000
    selection["curve"]["random"]["same"] = [0.1, 0.05, 0.2]
    page.open(rendered(sample.report.with_name("tokens.html"), data))
    assert page.errors == []
    ahead = 100 * (selection["curve"]["captured"][-1] - 0.1)
    assert page.texts(".answer .figure")[1] == f"+{ahead:.1f} points"
    said = "Random rows of no more than 2,000 tokens capture 10.0% (5.0% to 20.0%, 10 seeds)."
    assert said in [text.strip() for text in page.texts(".answer p")]


def test_values_that_lie_close_have_no_tick_each(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    (selection,) = data["selections"]
    for close, ticks in (
        (0.1, ["0", "0.1", "0.2"]),
        (0.001234, ["0", "0.05", "0.1", "0.15", "0.2"]),
    ):
        figure = {"at": [0, close, 0.2], "width": min(close, 0.1), "distinct": True, "tail": None}
        shares = {"picks": [0.2, 0.3, 0.5], "random": [0.5, 0.3, 0.2]}
        selection["near"] |= figure | {"shares": shares}
        page.open(rendered(sample.report.with_name("close.html"), data))
        assert page.texts("#near .xtick text") == ticks


def test_commands_select_what_the_slider_says(report: Page, sample: Sample) -> None:
    knee = int(report.js("return document.getElementById('keep').value"))
    head, again = report.texts("#commands code")
    assert head.startswith(f"head -n {knee} {sample.selection} > ")
    smaller = sample.selection.with_name(f"small-{knee}.jsonl")
    run = gip(*again.split()[1:])
    assert run.returncode == 0, run.stderr
    assert smaller.read_bytes() == b"".join(
        sample.selection.read_bytes().splitlines(keepends=True)[:knee]
    )
    report.js("document.getElementById('keep').focus()")
    report.keys(Keys.END)
    assert report.text("#kept").startswith(f"captures {sample.receipt['captured']:.1%} ")
    assert report.texts("#commands code")[0].startswith("head -n 20 ")


def test_slider_counts_what_rows_given_before_had_captured(
    page: Page, sample: Sample, sample_store: Path, tmp_path: Path
) -> None:
    store, added, report = ("-e", sample_store), tmp_path / "added.jsonl", tmp_path / "r.html"
    given = ("--given", sample.selection)
    assert gip("select", sample.pool, *store, *given, "-k", 5, "-o", added).returncode == 0
    assert gip("report", sample.pool, *store, "-s", added, "-o", report).returncode == 0
    page.open(report)
    page.js("document.getElementById('keep').focus()")
    page.keys(Keys.END)
    captured = json.loads(added.with_suffix(".receipt.json").read_bytes())["captured"]
    assert page.text("#kept").startswith(f"captures {captured:.1%} ")
    assert page.text("#answers .figure") == f"{captured:.1%}"
    (curve,) = (one["curve"] for one in data_of(report)["selections"])
    share = f"(the rows given before alone {curve['before'] / captured:.0%}): "
    assert share in page.text(".answer:last-child p")


def test_random_between_two_sampled_points_is_interpolated(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    curve = data["selections"][0]["curve"]
    curve |= {"n": [0, 1, 5, 20], "random": curve["random"] | {"mean": [0, 0.01, 0.05, 0.8]}}
    curve["knee"]["n"] = 5
    page.open(rendered(sample.report.with_name("sparse.html"), data))
    for picks, random in ((1, "1.0%"), (3, "3.0%"), (5, "5.0%"), (8, "20.0%"), (20, "80.0%")):
        page.js(
            "const number = document.getElementById('keep-number'); number.value = arguments[0];"
            "number.dispatchEvent(new Event('change'))",
            picks,
        )
        assert page.text("#kept").endswith(f"(random {random})")


def test_picks_that_are_not_shown_are_no_links(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    (selection,) = data["selections"]
    selection["picks"][:] = [row if rank < 3 else -1 for rank, row in enumerate(selection["picks"])]
    data["pool"]["rows"] += 1
    page.open(rendered(sample.report.with_name("many.html"), data))
    assert "Shown are the worst covered rows and the first picks" in page.text("#map-about")
    data["selections"].append({**selection, "picks": [-1] * 20})
    page.open(rendered(sample.report.with_name("many.html"), data))
    page.js(
        "const scope = document.getElementById('scope'); scope.value = 'all';"
        "scope.dispatchEvent(new Event('change'))"
    )
    for number in range(1, 26):
        page.js(f"document.querySelectorAll('#table tr.row button')[{number - 1}].click()")
        page.js("document.querySelectorAll('#pinned .facts button').forEach((b) => b.click())")
    page.js(
        "const other = document.getElementById('selection'); other.value = 1;"
        "other.dispatchEvent(new Event('change'))"
    )
    page.wait(lambda: page.text("#found") == "204 rows")
    assert page.listen().errors == []


def test_a_theme_leaves_slider_table_and_search_as_they_are(report: Page) -> None:
    report.js("document.getElementById('keep').focus()")
    report.keys(Keys.END)
    report.js("document.querySelector('#table th:nth-child(4) button').click()")
    before = report.text("#kept"), report.texts("#table td:first-child")
    colour = "return document.getElementById('curve').data.at(-1).marker.color"
    blue = report.js(colour)
    report.js("document.getElementById('theme').click()")
    assert (report.text("#kept"), report.texts("#table td:first-child")) == before
    assert report.js(colour) != blue


def test_there_is_no_copy_button_where_it_cannot_work(page: Page, sample: Sample) -> None:
    """Over plain http, but not to the machine itself by its loopback address."""
    assert len(page.open(sample.report).texts("#commands button")) == 2
    serve = partial(SimpleHTTPRequestHandler, directory=sample.report.parent)
    with ThreadingHTTPServer(("0.0.0.0", 0), serve) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page.driver.get(f"http://0.0.0.0:{server.server_port}/{sample.report.name}")
        page.wait(lambda: page.js("return document.getElementById('loading').hidden"))
        assert len(page.texts("#commands code")) == 2
        assert page.texts("#commands button") == []
        server.shutdown()


def test_table_sorts_by_keyboard(report: Page) -> None:
    report.js("document.querySelector('#table th:nth-child(4) button').focus()")
    for order, descending in (("descending", True), ("ascending", False)):
        report.keys(Keys.ENTER)
        ratings = [float(text) for text in report.texts("#table td[data-name='rating']")]
        assert ratings == sorted(ratings, reverse=descending)
        assert (
            report.js("return document.activeElement.closest('th').getAttribute('aria-sort')")
            == order
        )


def test_signals_named_as_own_columns_are_sorted_and_shown(page: Page, tmp_path: Path) -> None:
    pool, store, report = tmp_path / "p.jsonl", tmp_path / "p.npy", tmp_path / "r.html"
    signals = [{"gain": gain, "rank": 7.0} for gain in (3.0, 1.0, 2.0)]
    pool.write_bytes(
        b"\n".join(orjson.dumps({"text": "x", "gip": {"signals": one}}) for one in signals)
    )
    embed(pool, store)
    assert gip("report", pool, "-s", pool, "-o", report).returncode == 0
    page.open(report)
    head = page.texts("#table th")
    assert head == ["rank", "text", "gain", "gain", "rank", "tokens"]
    for ranks, sort in (([1, 3, 2], "descending"), ([2, 3, 1], "ascending")):
        page.js("document.querySelector('#table th:nth-child(4) button').click()")
        assert page.texts("#table td:first-child button") == [*map(str, ranks)]
        marks = page.js(
            "return [...document.querySelectorAll('#table th')].map((th) => th.ariaSort)"
        )
        assert marks == ["none", "none", "none", sort, "none", "none"]
    assert page.texts("#table td:nth-child(5)") == ["7"] * 3
    assert page.texts("#table td:nth-child(5) button") == []
    assert page.texts("#pinned dt").count("rank") == 1


def test_a_row_opens_by_keyboard_and_is_pinned(report: Page, sample: Sample) -> None:
    report.js("document.querySelector('#table tbody tr:nth-child(3) button').focus()")
    report.keys(Keys.ENTER)
    row = rows_of(sample.selection)[2]
    assert row["output"] in report.text("#table tr.open")
    assert report.text("#pinned h3") == "Pick 3 of 20"
    ring, at = report.js(
        "const { data } = document.getElementById('map');"
        "return [data[2], data[1].x[data[1].marker.color.indexOf(3)]]"
    )
    assert ring["x"] == [at]
    report.keys(Keys.ENTER)
    assert report.texts("#table tr.open") == []


def test_hover_shows_the_row_and_click_pins_it(report: Page, sample: Sample) -> None:
    alone = report.js(
        """
        const [pool, picks] = document.getElementById("map").data;
        const [x, y] = ["x", "y"].map((axis) => [...pool[axis], ...picks[axis]]);
        const away = (i) => (j) => (i === j ? 9 : Math.hypot(x[i] - x[j], y[i] - y[j]));
        const near = (i) => Math.min(...[...x.keys()].map(away(i)));
        return pool.x.map((_, i) => i).reduce((best, i) => (near(i) > near(best) ? i : best), 0);
        """
    )
    row = rows_of(sample.pool)[
        report.js(f"return document.getElementById('map').data[0].customdata[{alone}]")
    ]
    at = report.point(0, alone)
    report.move((at[0] - 30, at[1] - 30), at)
    report.wait(lambda: shown(row)[:200] in report.text("#tip p"))
    assert not report.js("return document.getElementById('tip').hidden")
    assert f"rating {row['meta']['rating']:g}" in report.text("#tip span")
    report.move(at, at, pressed=True)
    report.wait(lambda: report.text("#pinned h3") == "Not picked")
    assert row["output"] in report.text("#pinned")


def test_lasso_narrows_the_table_to_what_is_inside(report: Page) -> None:
    report.js("document.querySelector('[data-drag=lasso]').click()")
    x, y = report.point(1, 0)
    corners = [(x - 40, y - 40), (x + 40, y - 40), (x + 40, y + 40), (x - 40, y + 40)]
    report.move(*corners, corners[0], pressed=True)
    report.wait(lambda: "inside the lasso" in report.text("#found"))
    inside = report.js(
        """
        const map = document.getElementById("map");
        const { xaxis, yaxis } = map._fullLayout;
        const { x, y, marker } = map.data[1];
        const at = [xaxis.c2p(x[0]), yaxis.c2p(y[0])];
        const away = (i) => [xaxis.c2p(x[i]) - at[0], yaxis.c2p(y[i]) - at[1]].map(Math.abs);
        return marker.color.filter((_, i) => Math.max(...away(i)) < 40).sort((a, b) => a - b);
        """
    )
    assert [int(text) for text in report.texts("#table td[data-name='rank']")] == inside
    assert 20 in inside  # the first point drawn is the last pick
    report.js("document.getElementById('clear').click()")
    assert report.text("#found") == "20 picks"


def test_a_lasso_may_hold_the_pinned_row_and_is_no_click_where_it_closes(report: Page) -> None:
    report.js("document.querySelector('[data-drag=lasso]').click()")
    last = report.js("return document.getElementById('map').data[1].x.length") - 1
    x, y = report.point(1, last)  # the first pick, which is pinned and drawn last
    around = [(x - 60, y - 60), (x + 60, y - 60), (x + 60, y + 60), (x - 60, y + 60)]
    report.move(*around, pressed=True)
    report.wait(lambda: "inside the lasso" in report.text("#found"))
    assert "1" in report.texts("#table td[data-name='rank']")
    report.js("document.getElementById('search').focus()")
    report.keys("a")  # searched within the lasso
    x, y = report.point(1, 0)
    around = [(x - 2, y - 2), (x + 60, y), (x + 60, y + 60), (x, y + 60), (x - 3, y - 1)]
    report.move(*around, pressed=True)
    report.wait(lambda: "20" in report.texts("#table td[data-name='rank']"))
    assert report.text("#pinned h3") == "Pick 1 of 20"
    assert report.listen().errors == []


def test_search_finds_texts_in_picks_and_in_the_pool(report: Page, sample: Sample) -> None:
    report.js("document.getElementById('search').focus()")
    report.keys("BRIDGE")
    hits = [row for row in rows_of(sample.selection) if "bridge" in shown(row).lower()]
    assert hits
    assert report.texts("#table td.text span") == [*map(shown, hits)]
    assert report.text("#found") == f"{len(hits)} of 20 picks"
    lit = report.js("return document.getElementById('map').data[1].selectedpoints.length")
    assert lit == len(hits)
    report.js(
        "const scope = document.getElementById('scope'); scope.value = 'all';"
        "scope.dispatchEvent(new Event('change'))"
    )
    everywhere = [row for row in rows_of(sample.pool) if "bridge" in shown(row).lower()]
    assert len(report.texts("#table tr.row")) == len(everywhere) > len(hits)


@pytest.mark.parametrize("width", [1280, 390])
def test_themes_follow_the_system_and_the_button(page: Page, sample: Sample, width: int) -> None:
    def ground() -> str:
        colour: str = page.js("return getComputedStyle(document.body).backgroundColor")
        return colour

    page.open(sample.report, width, dark=True)
    dark = ground()
    page.js("document.getElementById('theme').click()")
    assert ground() != dark
    assert page.open(sample.report, width).listen().errors == []
    assert ground() != dark
    assert page.js(OVERFLOW) == 0


def test_many_columns_and_long_names_leave_room(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    data["signals"] = [f"helpfulness {at}" for at in range(5)]
    data["rows"]["signals"] *= 5
    data["selections"][0]["name"] = "a-selection-of-a-long-name-2026.jsonl"
    data["selections"] *= 2
    report = rendered(sample.report.with_name("wide.html"), data)
    for width in (1024, 375):
        page.open(report, width)
        text = "return document.querySelector('#table td.text').offsetWidth"
        assert (page.js(OVERFLOW), page.js(text) > 240) == (0, True)


def test_each_selection_has_a_line_of_its_own(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    data["selections"] *= 4
    page.open(rendered(sample.report.with_name("four.html"), data))
    dashes = "return document.getElementById('curve').data.map((line) => line.line?.dash)"
    drawn = [dash for dash in page.js(dashes) if dash]
    assert len(drawn) == len(set(drawn)) == 6  # with random rows and the top ones
    names = page.texts("#curve .legendtext")
    assert [name.split(",")[0] for name in names[:2]] == ["random", "top-k by signal"]


def test_printed_it_is_dark_on_light_and_as_wide_as_a_page(page: Page, sample: Sample) -> None:
    def look() -> list[Any]:
        found: list[Any] = page.js(
            "return [document.documentElement.dataset.theme, getComputedStyle(document.body).color,"
            " ...[...document.querySelectorAll('.chart')].map((one) => one._fullLayout.width)]"
        )
        return found

    page.open(sample.report, dark=True)
    before = look()
    page.js("dispatchEvent(new Event('beforeprint'))")
    page.wait(lambda: set(look()[2:]) == {690})
    assert look()[0] == "light"
    heights = "return ['curve', 'map'].map((id) => document.getElementById(id)._fullLayout.height)"
    assert page.js(heights) == [330, 400]  # as the narrow page has them, which paper is
    assert page.js("return document.querySelector('main').scrollWidth") == 690
    page.js("dispatchEvent(new Event('afterprint'))")
    page.wait(lambda: look() == before)
    assert page.listen().errors == []


def test_a_quoted_row_has_a_direction_of_its_own(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    data["rows"]["turns"] = [["user", "17 مرحبا بالعالم"]] * len(data["rows"]["turns"])
    page.open(rendered(sample.report.with_name("arabic.html"), data))
    quoted = "#pairs p :last-child, #worst p :last-child, #table .text span"
    style = f"[...document.querySelectorAll('{quoted}')].map((e) => getComputedStyle(e).direction)"
    assert set(page.js(f"return {style}")) == {"rtl"}


def test_embeddings_that_were_kept_nowhere_are_called_so(page: Page, sample: Sample) -> None:
    data = data_of(sample.report)
    (selection,) = data["selections"]
    assert any(
        text.startswith(f"{selection['receipt']['embeddings']['path']}: ")
        for text in (page.open(sample.report).texts("#run dd"))
    )
    selection["receipt"]["embeddings"]["path"] = None
    page.open(rendered(sample.report.with_name("kept-nowhere.html"), data))
    assert any(text.startswith("made for the run: all-MiniLM") for text in page.texts("#run dd"))


HOSTILE = [
    "<script>window.owned = 1</script>",
    "</script><script>window.owned = 2</script>",
    "<!-- <script> --><img src=x onerror='window.owned = 3'>",
    '"><svg onload=window.owned=4> &lt;b&gt; &amp;',
    "<a href='javascript:window.owned=5'>link</a><b>bold</b>",
    "line\u2028separator\u2029paragraph \x00 \x1b[31mred",
    "W" + "o" * 3000 + "rd",
    "\u202eright to left\u202c مرحبا بالعالم שלום",
    "🧑🏽‍🚀 emoji 👩‍👩‍👧‍👦 ​zero width",
    "$$\\alpha$$ %DATA% %SCRIPT% ${owned}",
]


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    pool, store = folder / "<img src=x onerror=owned>.jsonl", folder / "pool.npy"
    signal = "<i>quality</i>"
    rows = [
        {"text": text, "kind": text[:200], "gip": {"signals": {signal: number % 4 + 0.5}}}
        for number, text in enumerate([*HOSTILE, *(f"harmless {n}" for n in range(20))])
    ]
    pool.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    embed(pool, store)
    picks = folder / "<script><b>picks.jsonl"
    picks.write_bytes(b"\n".join(map(orjson.dumps, rows[: len(HOSTILE)])))
    report = folder / "report.html"
    run = gip("report", pool, "-e", store, "-s", picks, "--group-field", "kind", "-o", report)
    assert run.returncode == 0, run.stderr.decode()
    return report


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_text_is_shown_as_text(page: Page, hostile: Path, width: int) -> None:
    page.open(hostile, width)
    assert page.texts("#table td.text span") == HOSTILE
    for number, text in enumerate(HOSTILE, 1):
        page.js(f"document.querySelector('#table tr.row:nth-of-type({number}) button').click()")
        assert page.texts("#pinned .turn div") == [text]
        page.js("document.querySelector('#table [aria-expanded=true]').click()")
    at = page.point(1, 0)
    page.move((at[0] - 30, at[1]), at)
    page.wait(lambda: not page.js("return document.getElementById('tip').hidden"))
    assert page.js("return window.owned") is None
    # Script of the page and of Plotly; data; no element that a text brought.
    assert page.js("return document.querySelectorAll('script').length") == 4
    assert (
        page.js("return document.querySelectorAll('main img, main i, main a:not(.skip)').length")
        == 0
    )
    assert page.js(OVERFLOW) == 0
    ticks = page.texts("#changes .wide .ytick")
    assert HOSTILE[0][:23] + "…" in ticks
    assert page.listen().errors == []
    assert {url.partition(":")[0] for url in page.requests} - {"data"} == {"file"}


@pytest.mark.parametrize(
    ("rows", "picks"),
    [([1.0], [0]), ([1.0, None, 3.0], [1]), ([2.0, 2.0], [1, 0]), ([None, 1.0], [0, 1])],
    ids=["one row", "one pick, unscored", "all rows, alike", "all rows, one unscored"],
)
def test_smallest_cases_open(
    page: Page, tmp_path: Path, rows: list[float | None], picks: list[int]
) -> None:
    pool, store, chosen = tmp_path / "p.jsonl", tmp_path / "p.npy", tmp_path / "s.jsonl"
    lines = [
        orjson.dumps({"text": f"row {at}", "gip": {"signals": {"q": value}}}) + b"\n"
        for at, value in enumerate(rows)
    ]
    pool.write_bytes(b"".join(lines))
    chosen.write_bytes(b"".join(lines[at] for at in picks))
    embed(pool, store)
    run = gip("report", pool, "-s", chosen, "-o", tmp_path / "r.html")
    assert run.returncode == 0, run.stderr.decode()
    assert b"Warning" not in run.stderr
    page.open(tmp_path / "r.html")
    assert page.errors == []
    told = (page.text(".answer:nth-child(2) .figure"), "no more of" in page.text("#warnings"))
    assert told == (("No", True) if len(picks) < len(rows) else ("No choice", False))
    shown = "return document.getElementById(arguments[0]).checkVisibility()"
    for part in ("pairs", "near-legend"):
        assert page.js(shown, part) == (len(picks) > 1)
    for axis in "xy":  # no "0 0 0 1 1 1", nor "1% 1% 2% 2%"
        ticks = page.texts(f"#curve .{axis}tick text")
        assert len(ticks) == len(set(ticks)) > 1
    lines = page.js("return document.getElementById('curve').data.slice(0, -1).map((one) => one.x)")
    assert all(at[0] == 0 and len(at) > 1 for at in lines)  # a single point would be no line
    many = "row" if len(rows) == 1 else "rows"
    assert page.text("#headline") == f"{len(picks)} of {len(rows)} {many}"
    if len(picks) == 1:
        assert page.text(".answer:last-child .figure") == "1 row"
        told = page.text(".answer:last-child p")
        assert told.startswith("keeps ")
        assert told.endswith(" of that: the curve does not bend before its end.")
    assert "1 rows" not in page.js("return document.querySelector('main').innerText")
    assert "NaN" not in page.js("return document.querySelector('main').innerText")


def test_many_rows_are_drawn_by_webgl(page: Page, tmp_path: Path) -> None:
    pool, store, picks = tmp_path / "pool.jsonl", tmp_path / "pool.npy", tmp_path / "picks.jsonl"
    lines = [orjson.dumps({"text": f"row {n}"}) + b"\n" for n in range(3000)]
    pool.write_bytes(b"".join(lines))
    picks.write_bytes(b"".join(lines[:1200]))
    embed(pool, store)
    assert gip("report", pool, "-e", store, "-s", picks, "-o", tmp_path / "r.html").returncode == 0
    page.open(tmp_path / "r.html")
    assert page.js("return document.getElementById('map').data[0].type") == "scattergl"
    drawn = page.js(
        """
        const canvas = document.querySelector("#map .gl-canvas-context");
        const gl = canvas.getContext("webgl");
        const at = new Uint8Array(4 * canvas.width * canvas.height);
        gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, at);
        return at.filter((_, i) => i % 4 === 3).filter(Boolean).length;
        """
    )
    assert drawn > 3000
    scale = page.js(
        "return [...document.querySelectorAll('#map .cbaxis text')]"
        ".filter((label) => label.checkVisibility()).map((label) => label.textContent)"
    )
    assert scale == ["1", "1,200"]
    at = page.point(1, 7)
    page.move((at[0] - 30, at[1]), at)
    page.wait(lambda: not page.js("return document.getElementById('tip').hidden"))
    assert page.text("#tip p").startswith("row ")
    assert page.listen().errors == []
