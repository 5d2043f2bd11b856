"""The figures as pictures show them: every bar, line and dot is a figure of the report's data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gip_cli.report.figures import _bars, _curve, _groups, _map


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def sizes(axes: Axes, of: Callable[[Rectangle], float]) -> dict[str, list[float]]:
    """What a measure says of each bar, by the legend's words, in the order drawn."""
    return {str(bars.get_label()): [of(bar) for bar in bars.patches] for bars in axes.containers}


def lines(axes: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in axes.lines}


CURVE: dict[str, Any] = {
    "n": [0, 1, 2],
    "captured": [0, 0.5, 0.75],
    "random": {"low": [0, 0.1, 0.2], "mean": [0, 0.2, 0.4], "high": [0, 0.3, 0.6], "seeds": 10},
    "knee": {"n": 1, "captured": 0.5},
    "top": [0, 0.4, 0.5],
}


def test_a_curve_is_drawn_with_its_knee_over_random_and_top_k(axes: Axes) -> None:
    _curve(axes, {"name": "a$b$.jsonl", "curve": CURVE})
    drawn = {label: line.get_ydata().tolist() for label, line in lines(axes).items()}
    assert drawn == {
        "random, 10 seeds": CURVE["random"]["mean"],
        "top-k by signal": CURVE["top"],
        r"a\$b\$.jsonl": CURVE["captured"],  # no formula
        "knee: 1": [0.5],
    }
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(0, 0), (1, 0.1), (2, 0.2), (1, 0.3), (2, 0.6)}
    assert axes.yaxis.get_major_formatter()(0.125) == "12.5%"


def test_a_curve_without_signals_has_no_top_k(axes: Axes) -> None:
    _curve(axes, {"name": "a.jsonl", "curve": CURVE | {"top": None}})
    assert [*lines(axes)] == ["random, 10 seeds", "a.jsonl", "knee: 1"]


def test_picks_lie_on_the_map_by_rank_the_first_on_top(axes: Axes) -> None:
    places = {"x": [1, 2, 3, 4], "y": [5, 6, 7, 8], "about": "PCA"}
    _map(axes, {"map": places}, {"picks": [3, 0, -1]})  # of which the third is not shown
    rows, picks = axes.collections
    assert rows.get_offsets().tolist() == [[1, 5], [2, 6], [3, 7], [4, 8]]
    assert picks.get_offsets().tolist() == [[1, 5], [4, 8]]
    assert np.asarray(picks.get_array()).tolist() == [2, 1]
    assert axes.figure is not None
    _, ranks = axes.figure.axes
    assert [*filter(None, (tick.get_text() for tick in ranks.get_yticklabels()))] == ["1", "2"]


def test_shares_of_values_are_bars_and_random_ones_lines(axes: Axes) -> None:
    shares = {"pool": [0.5, 0.5], "picks": [0.25, 0.75], "random": [0.375, 0.625]}
    one = {"at": [1, 2], "width": 1.0, "shares": shares, "distinct": True, "tail": None}
    _bars(axes, one, "rating")
    assert sizes(axes, Rectangle.get_height) == {"pool": [0.5, 0.5], "picks": [0.25, 0.75]}
    assert lines(axes)["random"].get_ydata().tolist() == [0.375, 0.625]


def test_the_twenty_largest_groups_are_drawn_from_the_top(axes: Axes) -> None:
    shares = np.arange(25, 0, -1) / 325
    group = {
        "field": "kind", "labels": [f"${at}" for at in range(25)],
        "pool": shares.tolist(), "picks": shares[::-1].tolist(), "random": [0.04] * 25,
    }  # fmt: skip
    _groups(axes, group)
    widths = sizes(axes, Rectangle.get_width)
    assert widths["pool"] == pytest.approx(shares[:20])
    assert widths["picks"] == pytest.approx(shares[::-1][:20])
    middles = sizes(axes, lambda bar: bar.get_y() + bar.get_height() / 2)
    assert middles["picks"] == pytest.approx(-np.arange(20.0))
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert axes.get_yticks().tolist() == [-at for at in range(20)]
    assert labels == [rf"\${at}" for at in range(20)]
    assert axes.get_xlabel() == "share, by kind\nthe largest 20 of 25"


def test_a_group_whose_name_is_cut_is_marked(axes: Axes) -> None:
    names, shares = ["a" * 24, "b" * 25], [0.5, 0.5]
    group = {"field": "kind", "labels": names, "pool": shares, "picks": shares, "random": shares}
    _groups(axes, group)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["a" * 24, "b" * 24 + "…"]
    assert axes.get_xlabel() == "share, by kind"
