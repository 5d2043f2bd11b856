"""The weights of rows given: on the pool's scale, from what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gip_cli.columns import Signals
from gip_cli.companions import Companion, Companions
from gip_cli.errors import MismatchError
from gip_cli.given import Given, gather_given
from tests.selecting import in_memory, row, write_rows

D = 3


def read(path: Path, rows: list[dict[str, Any]]) -> Companion:
    write_rows(path, rows)
    return Companions(in_memory(path, D)).read(str(path))


def scored(vector: list[float], ends: list[float] | None = None, **signals: Any) -> dict[str, Any]:
    member: dict[str, Any] = {"signals": signals}
    if ends:
        member["ranges"] = dict.fromkeys(signals, ends)
    return row(vector, gip=member)


POOL_ROWS = [scored([1, 0, 0], up=2), scored([0, 1, 0], up=6), scored([0, 0, 1], up=10)]


def weigh(tmp_path: Path, *files: list[dict[str, Any]], power: float = 1.0) -> Given:
    """Files of rows given to a pool whose signal `up` spans 2 to 10."""
    pool = read(tmp_path / "pool", POOL_ROWS)
    signals = Signals(("up",), pool.signals.values, (None,), (False,))
    assert signals.scales == ((2.0, 10.0),)
    weights = np.array([0.05, 0.5, np.nan])
    given = [read(tmp_path / f"given-{n}", rows) for n, rows in enumerate(files)]
    return gather_given(given, pool.keys, weights, signals, [1.0], power)


def test_own_signals_are_mapped_by_the_pools_range_and_cut(tmp_path: Path) -> None:
    given = weigh(
        tmp_path, [scored([1, x, 0], up=v) for v, x in ((4, 1), (10, 2), (99, 3), (-5, 4))]
    )
    np.testing.assert_allclose(given.weights, [0.25, 1, 1, 0.05])  # the floor
    assert given.unscored == 0
    squared = weigh(tmp_path, [scored([1, 1, 0], up=4)], power=2)
    np.testing.assert_allclose(squared.weights, [0.0625])
    np.testing.assert_allclose(squared.atoms[0], 0.0625 * np.array([1, 1, 0]) / 2**0.5, rtol=1e-6)


def test_each_of_several_signals_is_cut_by_itself(tmp_path: Path) -> None:
    """One beyond the pool's span does not make up for another."""
    rows = [scored([1, 0, 0], up=0, more=0), scored([0, 1, 0], up=10, more=10)]
    pool = read(tmp_path / "pool", rows)
    signals = Signals(("more", "up"), pool.signals.values, (None, None), (False, False))
    given = [read(tmp_path / "given", [scored([1, 1, 0], up=50, more=2)])]
    found = gather_given(given, pool.keys, np.ones(2), signals, [1.0, 1.0], 1.0)
    np.testing.assert_allclose(found.weights, [(1 + 0.2) / 2])


def test_own_signals_come_before_the_pools_and_those_before_none(tmp_path: Path) -> None:
    given = weigh(
        tmp_path,
        [
            scored([1, 0, 0], up=10),  # in the pool too, at 0.05
            row([0, 1, 0]),  # no signal here: the pool's
            row([0, 0, 1]),  # no signal here, and the pool's row has none either
            row([1, 1, 1]),  # not in the pool
        ],
    )
    np.testing.assert_allclose(given.weights, [1, 0.5, 1, 1])
    assert given.unscored == 2
    null = weigh(tmp_path, [scored([0, 1, 0], up=None)])
    np.testing.assert_allclose(null.weights, [0.5])


def test_of_a_text_that_the_pool_repeats_the_best_row_speaks_for_the_one_given(
    tmp_path: Path,
) -> None:
    """It is the one that had been picked; that another lacks its signal says nothing."""
    pool = read(tmp_path / "pool", [row([0, 1, 0])] * 4 + [row([0, 0, 1])])
    given = read(tmp_path / "given", [row([1, 0, 0]), row([0, 1, 0]), row([0, 1, 0])])
    signals = Signals(("up",), np.full((5, 1), np.nan), ((0.0, 1.0),), (False,))
    weights = np.array([np.nan, 0.3, 0.7, 0.5, np.nan])
    got = gather_given([given], pool.keys, weights, signals, [1.0], 2.0)
    assert (got.weights.tolist(), got.unscored) == ([1, 0.7, 0.7], 1)


def test_a_row_of_several_files_counts_once_by_its_own_signals_if_it_has_any(
    tmp_path: Path,
) -> None:
    first = [row([0, 1, 0]), row([1, 1, 1])]
    again = [scored([0, 1, 0], up=4), scored([0, 1, 0], up=10), row([1, 1, 1])]
    given = weigh(tmp_path, first, again)
    # A file that holds a text twice has two rows of it; those that count stay in their order.
    np.testing.assert_allclose(given.weights, [1, 0.25, 1])
    assert (len(given), given.unscored, given.repeated) == (3, 1, 2)


def test_of_many_rows_the_first_files_count_and_what_a_later_one_has_more_is_its_last(
    tmp_path: Path,
) -> None:
    texts = [[1, n, 0] for n in range(20)]
    given = weigh(tmp_path, *([scored(text, up=up) for text in texts] for up in (4, 10)))
    assert (given.weights.tolist(), given.repeated) == ([0.25] * 20, 20)
    first = [scored([1, n % 2, 0], up=2) for n in range(20)]
    again = [scored([1, n % 2, 0], up=2 + n / 4) for n in range(30)]
    given = weigh(tmp_path, first, again)
    np.testing.assert_allclose(given.weights, [0.05] * 20 + [n / 32 for n in range(20, 30)])


def test_a_signal_of_another_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="'up' has another scale here than in the pool"):
        weigh(tmp_path, [scored([1, 1, 0], ends=[0, 5], up=4)])


def test_without_signals_all_weigh_the_same(tmp_path: Path) -> None:
    companion = read(tmp_path / "given", POOL_ROWS)
    none = Signals((), np.empty((3, 0)), (), ())
    given = gather_given([companion, companion], companion.keys, np.ones(3), none, [], 2.0)
    assert given.weights.tolist() == [1.0] * 3
    assert (given.unscored, given.repeated) == (0, 3)
