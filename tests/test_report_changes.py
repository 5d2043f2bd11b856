"""Distributions, effects and warnings on columns small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.report.changes import bars


def test_few_values_have_a_bar_each() -> None:
    pool = np.array([1.0, 1.0, 2.0, 4.0, np.nan])
    drawn = bars({"pool": pool, "picks": np.array([4.0]), "random": np.array([2.0, np.nan])})
    assert drawn["distinct"]
    assert drawn["tail"] is None
    assert drawn["at"] == [1.0, 2.0, 4.0]
    assert drawn["width"] == 1.0
    assert drawn["shares"] == {"pool": [0.5, 0.25, 0.25], "picks": [0, 0, 1], "random": [0, 1, 0]}


def test_many_values_share_bins_and_the_tail_is_in_the_last() -> None:
    pool = np.append(np.arange(1000.0), 1e9)
    drawn = bars({"pool": pool, "picks": np.array([-5.0, 2e9]), "random": pool})
    assert not drawn["distinct"]
    assert drawn["tail"] == pytest.approx(np.quantile(pool, 0.995))
    assert len(drawn["at"]) == 8
    assert drawn["shares"]["picks"] == [0.5, *[0] * 6, 0.5]
    assert sum(drawn["shares"]["pool"]) == pytest.approx(1, abs=1e-4)
    middle = np.diff(drawn["at"])
    assert middle == pytest.approx(drawn["width"])


def test_a_long_tail_over_one_value_has_bars_up_to_its_end() -> None:
    pool = np.append(np.zeros(5000), np.arange(1.0, 21.0))  # 99.5 % are 0
    drawn = bars({"pool": pool, "picks": np.array([20.0]), "random": pool})
    assert drawn["tail"] is None
    assert drawn["width"] == pytest.approx(20 / 8)
    assert drawn["shares"]["picks"] == [*[0] * 7, 1]
    assert drawn["shares"]["pool"][0] == pytest.approx(5002 / 5020, abs=1e-5)


def test_a_column_without_any_value_is_empty_bars() -> None:
    nothing = np.full(3, np.nan)
    drawn = bars({"pool": nothing, "picks": nothing, "random": nothing})
    assert drawn["shares"] == {"pool": [0], "picks": [0], "random": [0]}
