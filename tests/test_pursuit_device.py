"""The torch form of a sweep: the same picks as on the host, and a plain word where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from gip_cli.pursuit import select
from tests.pools import POOLS, clustered, random, self_query
from tests.test_pursuit_blocks import FILES, check_real

torch = pytest.importorskip("torch")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
def test_torch_picks_are_the_hosts(pursuit, dtype):
    rng = np.random.default_rng(0)
    F = random(rng, m=7000, d=24).astype(dtype)
    options = {
        "weights": rng.uniform(0.3, 1, len(F)),
        "query": self_query(F[:5]),
        "pursuit": pursuit,
        "noise": 2.0,
    }
    host = select(F, 300, **options)
    on_device = select(F, 300, device="torch-cpu", **options)
    np.testing.assert_array_equal(on_device.indices, host.indices)
    np.testing.assert_allclose(on_device.gains, host.gains, rtol=1e-9)


# Of random rows soon less than half are open, of which the host makes a pool of their own.
@pytest.mark.parametrize(("pool", "max_cosine"), [(clustered, 0.995), (random, 0.6)])
def test_torch_keeps_the_constraints(pool, max_cosine):
    rng = np.random.default_rng(1)
    F = pool(rng, m=900)
    options = {"price": rng.uniform(1, 9, 900), "max_cosine": max_cosine, "noise": 0.1}
    host, on_device = select(F, 200, **options), select(F, 200, device="torch-cpu", **options)
    np.testing.assert_array_equal(on_device.indices, host.indices)
    assert on_device.duplicates == host.duplicates > 0


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_torch_with_scores_and_blocks_smaller_than_the_pool(monkeypatch, dtype):
    monkeypatch.setattr("gip_cli.pursuit.device.BLOCK_BYTES", 1 << 18)
    rng = np.random.default_rng(2)
    F, scores = random(rng, m=1000).astype(dtype), rng.uniform(0, 1, (1000, 3))
    options = {"pursuit": "residual", "scores": scores, "noise": 1.0}
    host, on_device = select(F, 100, **options), select(F, 100, device="torch-cpu", **options)
    np.testing.assert_array_equal(on_device.indices, host.indices)
    # Scores in half precision would give the same picks, each by working all states out anew.
    assert on_device.diagnostics.refreshes == host.diagnostics.refreshes


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(RuntimeError, match="no CUDA GPU; use cpu"):
        select(np.eye(3), 2, device="cuda")


@needs_gpu
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("pursuit", ["projection", "information", "residual"])
@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: pool.__name__)
def test_cuda_picks_are_the_hosts(pool, pursuit, dtype):
    F = pool(np.random.default_rng(3), m=20000, d=64).astype(dtype)
    host = select(F, 700, pursuit=pursuit)
    on_device = select(F, 700, pursuit=pursuit, device="cuda")
    np.testing.assert_array_equal(on_device.indices, host.indices)
    np.testing.assert_allclose(on_device.gains, host.gains, rtol=1e-9)


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("k", [500, 2000])
@pytest.mark.parametrize("query", ["self", "weighted", "targets"])
@pytest.mark.parametrize("name", FILES)
def test_cuda_picks_of_real_embeddings_equal_one_pick_at_a_time(name, query, k):
    check_real(name, query, k, device="cuda")


@needs_gpu
def test_a_gpu_without_room_is_told():
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)  # of 80 GB, 8 MB
    try:
        F = random(np.random.default_rng(4), m=70_000, d=64)
        with pytest.raises(RuntimeError, match=r"^no room for the rows; use cpu"):
            select(F, 50, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match="no device 'gpu'"):
        select(np.eye(3), 2, device="gpu")
    with pytest.raises(RuntimeError, match="no float64"):
        select(np.eye(3), 2, device="mps")
