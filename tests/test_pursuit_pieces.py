"""Products in pieces: what a product at once is, whatever is left over of the rows."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gip_cli.pursuit.pieces import SMALL, by_pieces, multiply, piece


@given(
    shape=st.tuples(st.integers(0, 90), st.integers(1, 40), st.integers(1, 70)),
    size=st.integers(0, 100),
    precision=st.sampled_from([np.float32, np.float64]),
    strided=st.booleans(),
)
def test_pieces_of_any_size_make_the_whole_product(shape, size, precision, strided):
    c, d, n = shape
    rng = np.random.default_rng(7)
    X = rng.standard_normal((c, d + 3)).astype(precision)[:, :d]
    M = rng.standard_normal((d, n + 2)).astype(precision)[:, 2:]
    if not strided:
        X, M = X.copy(), M.copy()
    out = np.full((c + 1, n), np.nan, precision)
    by_pieces(X, M, out[:c], size)
    tolerance = 100 * float(np.finfo(precision).eps)
    np.testing.assert_allclose(
        out[:c], X.astype(float) @ M.astype(float), rtol=tolerance, atol=10 * tolerance
    )
    assert np.isnan(out[c:]).all()


@pytest.mark.parametrize("out", [None, np.empty((50, 64), np.float32)], ids=["new", "given"])
def test_a_product_is_where_it_is_asked_for(out):
    X, M = np.ones((50, 384), np.float32), np.full((384, 64), 0.5, np.float32)
    product = multiply(X, M, out)
    assert out is None or product is out
    assert product.dtype == np.float32
    assert product.shape == (50, 64)
    assert (product == 192).all()


@pytest.mark.parametrize(("d", "n", "rows"), [(384, 64, 40), (384, 256, 8), (500, 500, 4)])
def test_a_piece_is_as_large_as_a_small_product_may_be(d, n, rows):
    assert piece(np.empty((d, n))) == rows
    assert d * n * rows <= SMALL < d * n * (rows + 4)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="kernels of x86-64")
def test_kernels_that_pack_every_product_are_given_whole_ones():
    """Those for AVX2 are on every such machine; they would pack all columns for each piece."""
    code = "from gip_cli.pursuit.pieces import has_small_kernels as has; print(has())"
    environment = os.environ | {"OPENBLAS_CORETYPE": "Haswell"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout.decode().strip() == "False", done.stderr.decode()


def test_no_piece_of_a_wide_matrix_is_small():
    assert piece(np.empty((4096, 64))) == 0
