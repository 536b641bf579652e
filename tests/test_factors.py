"""Sums of products of features, and inverses: the kernels against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax import views
from fastsoftmax.kernels.passes.hessian import products_of_features
from fastsoftmax.kernels.passes.inverse import invert, multiply
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.threads import launch

# D, K and rows that are multiples of nothing; features of one class that fill several panels,
# classes that share one, no features but the intercept, no classes but the one of a Gram matrix
SHAPES = [
    (1, 1, 1, 1),
    (7, 1, 2, 0),
    (65, 7, 9, 1),
    (130, 16, 26, 1),
    (70, 200, 3, 0),
    (64, 130, 0, 1),
    (3, 31, 2, 1),
    (300, 0, 4, 1),
    (9, 33, 17, 1),
]


def products(X, weight, P, intercept, centre, scale):
    """As `products_of_features`, with all of them held."""
    u = (X.astype(np.float64) - centre) * scale
    if intercept:
        u = np.hstack([u, np.ones((len(u), 1))])
    C = np.hstack([P, np.ones((len(P), 1))]).astype(np.float64)
    U = (C[:, :, None] * u[:, None, :]).reshape(len(u), -1)
    return (U * weight[:, None]).T @ U


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F", "backwards"])
def test_products_of_features(dtype, layout):
    random = np.random.default_rng(0)
    for N, D, K, intercept in SHAPES:
        X = random.standard_normal((N, D)).astype(dtype)
        P = random.dirichlet(np.ones(K or 1), N)[:, :K].astype(dtype)
        weight = random.random(N)
        centre, scale = X.mean(axis=0), np.full(D, 2, dtype)
        absent = X.copy()
        if N > 3:
            weight[1::4] = 0
            X[1::4] = 0
            absent[1::4] = np.nan
            P[1::4] = np.inf
        if layout == "F":
            absent = np.asfortranarray(absent)
        elif layout == "backwards":
            absent = np.repeat(absent, 2, axis=1)[::-1, ::2].copy()[::-1]
        M = (K + 1) * (D + intercept)
        H = np.ones((M, M))
        arguments = weight, np.ascontiguousarray(P), intercept, centre, scale, H
        launch(products_of_features, views.as_rows(absent), *arguments)
        P[weight == 0] = 0
        expected = products(X, weight, P, intercept, centre, scale)
        tolerance = 2e-6 if dtype == np.float32 else 1e-14
        error = np.abs(H - 1 - expected).max() / np.abs(expected).max()
        assert error < tolerance, (N, D, K, intercept, error)


def test_products_add_up_over_rows_and_threads():
    random = np.random.default_rng(0)
    X = random.standard_normal((500, 21))
    P = random.dirichlet(np.ones(5), 500)
    centre, scale, weight = X[0] * 0, X[0] * 0 + 1, np.ones(500)

    def run(cut):
        H = np.zeros((6 * 21, 6 * 21))
        for rows in (slice(0, cut), slice(cut, 500)):
            launch(
                products_of_features, views.as_rows(X[rows]), weight[rows], P[rows], 0, centre,
                scale, H,
            )  # fmt: skip
        return H

    whole = run(256)
    np.testing.assert_array_equal(whole, whole.T)
    with fs.num_threads(1):
        assert run(256).tobytes() == whole.tobytes()
    np.testing.assert_allclose(run(99), whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n", [1, 2, 5, 63, 64, 65, 100, 129, 300])
def test_inverse_and_products_with_it(n):
    random = np.random.default_rng(n)
    B = random.standard_normal((n + 5, n))
    A = B.T @ B + 0.1 * np.eye(n)
    S = np.zeros((n, padded(n, 8)))
    S[:, :n] = A
    assert launch(invert, S, n)
    bound = 1e-14 * np.linalg.cond(A) + 1e-14
    np.testing.assert_allclose(S[:, :n] @ A, np.eye(n), atol=bound)
    for k in (1, 3, 17):
        R = random.standard_normal((k, n))
        out = np.full_like(R, np.nan)
        launch(multiply, S, n, R, out)
        np.testing.assert_allclose(out, R @ S[:, :n], rtol=0, atol=1e-13 * np.abs(S).sum())
        with fs.num_threads(1):
            again = np.empty_like(R)
            launch(multiply, S, n, R, again)
        assert again.tobytes() == out.tobytes()


@pytest.mark.parametrize("n", [3, 70])
@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
def test_a_pivot_that_is_not_positive_is_told(n, bad):
    S = np.zeros((n, padded(n, 8)))
    S[:, :n] = np.eye(n)
    S[n - 1, n - 1] = bad
    assert not launch(invert, S, n)
