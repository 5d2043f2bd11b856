"""The map's plane: what it shows of the rows, and that it says so truly."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.report import Method
from gip_cli.report.layout import layout


def placed(vectors: np.ndarray) -> tuple[np.ndarray, str]:
    found = layout(vectors.astype(np.float32), np.arange(len(vectors)), Method.pca)
    return found.positions, found.description


@pytest.mark.parametrize("middle", [0, 5])
def test_axes_are_those_of_largest_variance(middle: int) -> None:
    vectors = np.diag([3.0, 2.0, 1.0])[[0, 1, 2, 0, 1, 2]] * np.repeat([[1], [-1]], 3, axis=0)
    positions, description = placed(vectors + middle)
    assert positions == pytest.approx(vectors[:, :2], abs=1e-5)
    assert description == "PCA, 93% of the variance"  # 13 of 14


@pytest.mark.parametrize("angle", range(0, 180, 30))
def test_an_axis_points_where_its_largest_entry_is_positive(angle: int) -> None:
    axis = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    positions, _ = placed(np.stack([axis, -axis]))
    towards = 1 if axis[np.argmax(np.abs(axis))] > 0 else -1
    assert positions[:, 0] == pytest.approx([towards, -towards], abs=1e-6)


@pytest.mark.parametrize(("m", "d"), [(1, 8), (20, 8), (5000, 384)])
def test_rows_all_alike_are_one_point(m: int, d: int) -> None:
    vector = np.random.default_rng(0).standard_normal(d)
    positions, description = placed(np.tile(vector / np.linalg.norm(vector), (m, 1)))
    assert positions == pytest.approx(0, abs=1e-9)
    assert description == "PCA, all rows alike"


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_few_rows_are_no_umap(m: int) -> None:
    pytest.importorskip("umap") if m > 3 else None
    vectors = np.random.default_rng(0).standard_normal((m, 8)).astype(np.float32)
    found = layout(vectors, np.arange(m), Method.umap)
    assert found.positions.shape == (m, 2)
    few = f"UMAP, cosine, {m - 1} neighbours"
    assert found.description.startswith("PCA (too few rows for UMAP)" if m < 4 else few)


def test_umap_lays_rows_out_the_same_every_time_and_groups_apart() -> None:
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    middles = np.repeat(np.eye(2, 8), 30, axis=0)
    vectors = (middles + 0.1 * rng.standard_normal((60, 8))).astype(np.float32)
    found, again = (layout(vectors, np.arange(60), Method.umap) for _ in range(2))
    np.testing.assert_array_equal(found.positions, again.positions)
    assert found.description == "UMAP, cosine, 15 neighbours"
    one, other = found.positions[:30], found.positions[30:]
    between = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert between > 3 * np.linalg.norm(one - one.mean(axis=0), axis=1).mean()


def test_one_dimension_is_a_line() -> None:
    positions, description = placed(np.array([[1.0], [-1.0]]))
    assert positions == pytest.approx(np.array([[1, 0], [-1, 0]]))
    assert description == "PCA, 100% of the variance"
