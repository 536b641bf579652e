"""The lower bounds of `fit` against optima found by Newton's method: true, and tight."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax import reference
from fastsoftmax.solvers import certificate


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny calls: where cores are busy, each would wait for a second thread."""
    with fs.num_threads(1):
        yield


def random_problem(seed):
    """(X, y, targets (N, K), sample weights, options) of every kind."""
    random = np.random.default_rng([1, seed])
    N, D, K = (
        int(random.choice(sizes)) for sizes in ([1, 2, 3, 7, 12, 40], [1, 2, 4], [2, 2, 3, 5])
    )
    dtype = random.choice(["float32", "float64", "float64"])
    intercept, kind = bool(random.random() < 0.7), random.choice(["far", "twice", "same", "units"])
    X = random.standard_normal((N, D))
    if kind == "far":
        X += random.choice([1e2, 1e4, 1e6] if intercept and dtype == "float64" else [30.0])
    elif kind == "twice":
        X = X[random.integers(N, size=N)]
    elif kind == "same":
        X[:, 0] = random.choice([0.0, 1.0, 7.0])
    else:
        X *= 10.0 ** random.integers(-2, 3, D)
    X = X.astype(dtype)
    options = {
        "l2": float(10.0 ** random.integers(-5, 2)),
        "standardize": bool(random.random() < 0.5),
        "fit_intercept": intercept,
        "label_smoothing": float(random.choice([0, 0, 0.01, 0.1, 1.0])),
    }
    if random.random() < 0.35:
        y = T = (random.uniform(0, 2, (N, K)) * (random.random((N, K)) < 0.7)).astype(dtype)
        T[3::7] = 0
    else:  # some classes have no row
        y = random.integers(K, size=N)
        T, options["classes"] = np.eye(K)[y], np.arange(K)
    weight = np.ones(N)
    if random.random() < 0.4:
        weight = random.uniform(0.5, 2, N) * random.choice([1e-300, 1e-20, 1.0, 1e20, 1e300])
        weight[1::4] = 0
        X[1::4] = np.nan
        options["sample_weight"] = weight
    return X, y, T, weight, options


def optimum(X, T, weight, l2, standardize, fit_intercept, label_smoothing, **_):
    """By Newton's method; rows of weight zero are left out."""
    dtype = X.dtype
    X, T, weight = (array[weight > 0].astype(np.float64) for array in (X, T, weight))
    weight /= weight.max()
    T = (1 - label_smoothing) * T + label_smoothing * T.mean(axis=1, keepdims=True)
    U = reference.scaled_features(X, weight, standardize, fit_intercept, dtype)
    penalty = np.full(U.shape[1], l2)
    penalty[X.shape[1] :] = 0
    return reference.optimum(U, T, weight, penalty)


def check(seed, tol=1e-8):
    X, y, T, weight, options = random_problem(seed)
    tol = tol if X.dtype == np.float64 else 1e-6
    result = fs.fit(X, y, tol=tol, **options)
    best = optimum(X, T, weight, **options)
    assert 0 <= result.lower_bound <= best * (1 + 1e-13), seed
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (np.abs(X[weight > 0].mean(axis=0)) > 3e5 * X[weight > 0].std(axis=0)).any()
    assert result.stopped in (["gap", "rounding"] if far else ["gap"]), seed
    assert result.gap <= tol * (100 if far else 1), seed
    assert result.objective <= best * (1 + result.gap) + 1e-12, seed
    assert result.n_passes < (300 if far else 150), seed


@pytest.mark.parametrize("first", range(0, 240, 40))
def test_no_bound_is_above_the_optimum_and_the_gap_closes(first):
    for seed in range(first, first + 40):
        check(seed)


@pytest.mark.parametrize("bias_steps", [0, 1, 20])
def test_bounds_are_true_far_from_the_optimum(monkeypatch, bias_steps):
    """After a few passes, and where the gradient of the biases is not zero."""
    monkeypatch.setattr(certificate, "_BIAS_STEPS", bias_steps)
    useful = 0
    for seed in range(60):
        X, y, T, weight, options = random_problem(seed)
        best = optimum(X, T, weight, **options)
        for passes in (0, 3, 6):
            result = fs.fit(X, y, tol=0, max_passes=passes, **options)
            assert result.lower_bound <= best * (1 + 1e-13), (seed, passes)
            useful += result.lower_bound > 0.5 * best
    assert useful > 20  # and not all of them zero


def test_where_rounding_binds_it_says_so():
    for seed in range(40):
        X, y, T, weight, options = random_problem(seed)
        result = fs.fit(X, y, tol=1e-15, **options)
        best = optimum(X, T, weight, **options)
        assert result.stopped in ("gap", "rounding"), seed
        assert result.converged == (result.stopped == "gap") == (result.gap <= 1e-15), seed
        assert result.lower_bound <= best * (1 + 1e-13), seed
        assert result.n_passes < 400, seed


def test_biases_of_classes_that_hardly_count():
    """Their best biases are far away, and one Hessian does not lead there."""
    random = np.random.default_rng(0)
    X, y = random.standard_normal((50, 2)) * 20, np.arange(50) % 3
    weight = np.where(y == 0, 1e3, 1e-4)
    result = fs.fit(X, y, sample_weight=weight, l2=1e-4, standardize=False, tol=1e-6)
    assert result.stopped == "gap"
    options = {"l2": 1e-4, "standardize": False, "fit_intercept": True, "label_smoothing": 0}
    assert result.lower_bound <= optimum(X, np.eye(3)[y], weight, **options) * (1 + 1e-13)


@pytest.mark.exhaustive
def test_no_bound_of_thousands_is_above_the_optimum():
    for seed in range(240, 3000):
        check(seed)
