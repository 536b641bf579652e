"""Sums over rows: the same bits for rows at once, in windows, and leaf by leaf."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.kernels.tiles.sizes import leaf_rows, n_leaves, window_step
from fastsoftmax.solvers.sums import ChangeOfLogits, LossSums, ProductSums, TargetSums
from fastsoftmax.training.columns import MomentSums, Scaling
from fastsoftmax.training.samples import Samples

N = 40_000  # three leaves


def samples(D, K, dtype=np.float32, soft=False, seed=0):
    r = np.random.default_rng(seed)
    X = r.standard_normal((N, D)).astype(dtype)
    weight = r.random(N) * (r.random(N) < 0.9)
    targets = r.random((N, K)) if soft else r.integers(0, K, N)
    return Samples(X, targets, weight, float(weight.sum()))


def model(D, K, dtype=np.float32):
    r = np.random.default_rng(1)
    return r.standard_normal((D, K)).astype(dtype), r.standard_normal(K).astype(dtype)


def part(rows, first, stop):
    return rows.take(slice(first, stop))


def in_windows(sums, rows, step):
    """Of one step, of two, of one, and so on, but none in two leaves."""
    first, turn = 0, 0
    while first < N:
        end = (first // leaf_rows(N) + 1) * leaf_rows(N)
        stop = min(first + (1 + turn % 2) * step, end, N)
        sums.add(first, part(rows, first, stop))
        first, turn = stop, turn + 1
    return sums


def leaf_by_leaf(sums, rows, step):
    """By tasks that know nothing of each other, and of each leaf in two windows."""
    twins = []
    for leaf in reversed(range(n_leaves(N))):
        twin = pickle.loads(pickle.dumps(sums.of_leaf(leaf)))
        first, stop = leaf * leaf_rows(N), min((leaf + 1) * leaf_rows(N), N)
        middle = min(first + step, stop)
        twin.add(first, part(rows, first, middle))
        twin.add(middle, part(rows, middle, stop))
        twins.append((leaf, pickle.loads(pickle.dumps(twin))))
    for leaf, twin in reversed(twins):
        sums.take(leaf, twin)
    return sums


def same_in_all_ways(new, rows, result, step=512):
    whole = new()
    rows.add_to(whole)
    expected = result(whole)
    for sums in (in_windows(new(), rows, step), leaf_by_leaf(new(), rows, step)):
        for one, other in zip(result(sums), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    return expected


@pytest.mark.parametrize(
    ("D", "K", "soft"),
    [(20, 4, False), (20, 4, True), (400, 800, False)],
    ids=["by chunk", "soft", "by slab"],
)
def test_losses_and_gradients(D, K, soft):
    rows, (W, b) = samples(D, K, soft=soft), model(D, K)

    def result(sums):
        grad_W, grad_b = np.empty_like(W), np.empty_like(b)
        return sums.loss(grad_W, grad_b), grad_W, grad_b

    found = same_in_all_ways(lambda: LossSums(rows, W, b, 0.1), rows, result)
    expected = fs.loss_and_gradient(
        rows.X, rows.targets, W, b, sample_weight=rows.weight, label_smoothing=0.1
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_moments():
    rows = samples(7, 2)

    def result(sums):
        found = sums.moments()
        return found.weight, found.mean, found.spread

    _, mean, _ = same_in_all_ways(lambda: MomentSums(N, 7), rows, result)
    np.testing.assert_allclose(mean, np.average(rows.X, axis=0, weights=rows.weight), atol=1e-6)


@pytest.mark.parametrize("with_model", [False, True])
def test_products_of_features(with_model):
    D, K = 9, 3
    rows = samples(D, K)
    options = {"n_features": D, "intercept": True, "dtype": np.dtype(np.float32)}
    if with_model:
        options |= {"model": model(D, K), "n_coefficients": K - 1}
    scaling = Scaling(np.zeros(D), np.ones(D))

    def new():
        return ProductSums(rows, scaling, **options)

    step = window_step(D, K if with_model else 0)
    (H,) = same_in_all_ways(new, rows, lambda sums: (sums.products(),), step)
    X = np.c_[rows.X, np.ones(N)].astype(np.float64)
    gram = np.einsum("n,nd,ne->de", rows.weight / rows.total_weight, X, X, optimize=True)
    np.testing.assert_allclose(H[-D - 1 :, -D - 1 :], gram, atol=1e-4)


@pytest.mark.parametrize("soft", [False, True])
def test_targets(soft):
    rows = samples(2, 3, soft=soft)

    def result(sums):
        return sums.of_class, sums.squares, sums.largest, sums.least_weight

    of_class, *_, least = same_in_all_ways(lambda: TargetSums(rows, 3), rows, result)
    targets = rows.targets if soft else np.eye(3)[rows.targets]
    np.testing.assert_allclose(of_class, rows.weight @ targets, rtol=1e-12)
    assert least == rows.weight[rows.weight > 0].min()


def test_the_change_of_logits():
    rows, (W, b) = samples(5, 3), model(5, 3, np.float64)
    (most,) = same_in_all_ways(lambda: ChangeOfLogits(rows, W, b), rows, lambda s: (s.most,))
    np.testing.assert_allclose(most, np.ptp(rows.X[rows.weight > 0] @ W + b, axis=1).max())
