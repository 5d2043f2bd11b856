"""The report's figures as PNG, for papers and READMEs.

Drawn by matplotlib, which needs no browser: Plotly's own export starts a Chrome.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gip_cli.errors import UsageError, install
from gip_cli.foreign_models import cause
from gip_cli.printable import printable, rounded
from gip_cli.report.content import Data
from gip_cli.storage import replacing, storage_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe and Ito's colours, as on the page.
_POOL, _PICKS, _RANDOM, _TOP = "#c3c8ce", "#0072b2", "#d98a00", "#00875f"
_GROUPS = 20
_NAME = 100  # characters of a file's name: systems take 255 bytes
_TICKS, _WIDTHS = 50, 12  # characters, and widths of a bar, that a value under each has room for
_TITLE = 48  # characters of a selection's name
_LABEL = 24  # characters of a group's name; 40 wide ones leave no room for the bars
# With the scripts that matplotlib's own font lacks, in the order tried: those of Debian, macOS
# and Windows.
_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Droid Sans Fallback"),
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Yu Gothic", "Microsoft YaHei", "Malgun Gothic"),
)
_UNDRAWN = r"Glyph \d+ |Matplotlib currently does not support"  # begins both warnings

Drawing = tuple[str, tuple[float, float], "Callable[[Axes], None]"]


def canvas_type() -> type[Canvas]:
    """Matplotlib's figure; raises UsageError where the extra is not installed."""
    # Without a home it can write to it warns of its cache, where only errors may be told.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    backend = os.environ.pop("MPLBACKEND", None)  # a notebook's own is of its kernel's environment
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("--figures needs matplotlib", install("report")) from None
    except Exception as error:  # noqa: BLE001 - whatever a matplotlibrc makes of it
        what = f"matplotlib cannot be loaded ({cause(error)})"
        raise UsageError(what, "see to its matplotlibrc, or leave out --figures") from None
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return Figure


def figure_folder(path: str | Path) -> Path:
    """A folder for figures, made if it is missing; raises UsageError where it is a file."""
    folder = Path(path)
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError("not a directory", "choose another for --figures", path=folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "permission denied")
    return folder


def write_figures(data: Data, folder: Path) -> list[Path]:
    """Write each figure of every selection into `folder`, by `canvas_type`.

    A character that neither matplotlib's font nor one of `_FONTS` has is drawn as a box.
    """
    create = canvas_type()
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.font_manager import get_font_names

    installed = {*get_font_names()}
    written = []
    with rc_context(), warnings.catch_warnings():
        rcdefaults()  # whoever draws: a matplotlibrc may ask for LaTeX
        others = [font for font in _FONTS if font in installed]
        rcParams["font.family"] = [*rcParams["font.family"], *others]
        warnings.filterwarnings("ignore", _UNDRAWN)
        for number, selection in enumerate(data["selections"], 1):
            prefix = f"{number}-" if len(data["selections"]) > 1 else ""
            for name, size, draw in _figures(data, selection):
                canvas = create(figsize=size, dpi=160, layout="constrained")
                if prefix:
                    canvas.suptitle(_shown(selection["name"]), fontsize="medium")
                draw(canvas.subplots())
                plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:_NAME]
                path = folder / f"{prefix}{plain}.png"
                with replacing(path) as file:
                    canvas.savefig(file, format="png", metadata={"Software": None})
                written.append(path)
    return written


def _figures(data: Data, selection: Data) -> list[Drawing]:
    figures: list[Drawing] = [
        ("curve", (7, 4), partial(_curve, selection=selection)),
        ("map", (7, 6), partial(_map, data=data, selection=selection)),
    ]
    for number, one in enumerate(selection["changes"]["measures"]):
        name = "length" if not number else f"signal-{number}-{one['name']}"
        about = printable(one["name"], _TITLE)  # beside which a tail is told
        figures.append((name, (5, 3), partial(_bars, one=one, about=about)))
    for number, group in enumerate(selection["changes"]["groups"], 1):
        tall = 1 + 0.3 * min(_GROUPS, len(group["labels"]))
        name = f"group-{number}-{group['field']}"
        figures.append((name, (6, tall), partial(_groups, group=group)))
    near = selection["near"]
    if near["picks"] is not None:
        about = "cosine with the nearest other pick"
        figures.append(("redundancy", (5, 3), partial(_bars, one=near, about=about)))
    return figures


def _curve(axes: Axes, selection: Data) -> None:
    curve = selection["curve"]
    random, bend, n = curve["random"], curve["knee"], curve["n"]
    axes.fill_between(n, random["low"], random["high"], color=_RANDOM, alpha=0.25, lw=0)
    axes.plot(n, random["mean"], "--", color=_RANDOM, label=f"random, {random['seeds']} seeds")
    if curve["top"]:
        axes.plot(n, curve["top"], ":", color=_TOP, label="top-k by signal")
    name = _shown(selection["name"])
    name = f"./{name}" if name.startswith("_") else name  # matplotlib hides what begins so
    axes.plot(n, curve["captured"], color=_PICKS, lw=2.5, label=name)
    axes.plot(bend["n"], bend["captured"], "D", color=_PICKS, ms=7, label=f"knee: {bend['n']:,}")
    axes.set(xlabel="picks", ylabel="captured energy", ylim=(0, None))
    axes.locator_params(axis="x", integer=True)
    axes.yaxis.set_major_formatter(_percent)
    axes.legend(frameon=False)
    _plain(axes)


def _map(axes: Axes, data: Data, selection: Data) -> None:
    x, y = np.array(data["map"]["x"]), np.array(data["map"]["y"])
    picks = np.array(selection["picks"])
    ranks = np.flatnonzero(picks >= 0)[::-1]  # the first picks are drawn last, on top
    dot = 4 if len(x) > 10_000 else 10
    axes.scatter(x, y, s=dot, color=_POOL, lw=0)
    at = picks[ranks]
    drawn = axes.scatter(
        x[at], y[at], c=ranks + 1, s=4 * dot, cmap="viridis", edgecolors="white", lw=0.4
    )
    assert axes.figure is not None
    bar = axes.figure.colorbar(drawn, ax=axes, label="rank", shrink=0.6)
    bar.ax.locator_params(axis="y", integer=True, min_n_ticks=1)
    axes.set(xticks=[], yticks=[], title=data["map"]["about"])
    _plain(axes)


def _bars(axes: Axes, one: Data, about: str) -> None:
    at, width, shares = one["at"], one["width"], one["shares"]
    if "pool" in shares:
        axes.bar(at, shares["pool"], width * 0.92, color=_POOL, label="pool")
    axes.bar(at, shares["picks"], width * 0.42, color=_PICKS, label="picks")
    axes.plot(at, shares["random"], "_", color=_RANDOM, ms=9, mew=2.5, label="random")
    axes.yaxis.set_major_formatter(_percent)
    ticks = [f"{value:g}" for value in at]
    if one["distinct"] and len("  ".join(ticks)) < _TICKS and at[-1] - at[0] <= _WIDTHS * width:
        axes.set_xticks(at, ticks)
    if (tail := one["tail"]) is not None:
        about += f"; last bar: {rounded(tail)} and more"
    axes.set(xlabel=_literal(about))
    _legend_above(axes)
    _plain(axes)


def _groups(axes: Axes, group: Data) -> None:
    every = group["labels"]
    labels = [_literal(printable(label, _LABEL)) for label in every[:_GROUPS]]
    at = -np.arange(len(labels))
    axes.barh(at, group["pool"][:_GROUPS], 0.82, color=_POOL, label="pool")
    axes.barh(at, group["picks"][:_GROUPS], 0.36, color=_PICKS, label="picks")
    axes.plot(group["random"][:_GROUPS], at, "|", color=_RANDOM, ms=9, mew=2.5, label="random")
    axes.set_yticks(at, labels)
    axes.xaxis.set_major_formatter(_percent)
    shown = "" if len(every) <= _GROUPS else f"\nthe largest {_GROUPS} of {len(every):,}"
    axes.set(xlabel=f"share, by {_literal(printable(group['field'], _TITLE))}{shown}")
    _legend_above(axes)
    _plain(axes)


def _legend_above(axes: Axes) -> None:
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _percent(share: float, _: float) -> str:
    return f"{100 * share:.4g}%"


def _shown(name: str) -> str:
    """A selection's name, or its end where it is longer than there is room for."""
    return _literal(name if len(name) <= _TITLE else f"…{name[-_TITLE:]}")


def _literal(text: str) -> str:
    """A dataset's text as it stands: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
