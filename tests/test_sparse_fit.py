"""`fit` and `fit_path` on sparse rows: the optimum of the dense ones, with its proof."""

from __future__ import annotations

import importlib
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.training.columns import moments
from fastsoftmax.training.samples import Samples

sp = pytest.importorskip("scipy.sparse")


@pytest.fixture(autouse=True)
def small_ones_as_sparse(monkeypatch):
    """The solver of sparse rows gets all of these, small ones too."""
    monkeypatch.setattr(importlib.import_module("fastsoftmax.solvers.fit"), "SMALL", 0)


def problem(N, D, K, dtype=np.float64, seed=0, density=0.2):
    """Rows of positive entries, classes that depend on them, and one column that is full."""
    r = np.random.default_rng(seed)
    X = r.random((N, D)) * (r.random((N, D)) < density)
    X[:, 0] = 1 + r.random(N)
    y = (X @ r.standard_normal((D, K)) + r.gumbel(size=(N, K))).argmax(axis=1)
    y[:K] = np.arange(K)
    return sp.csr_array(X.astype(dtype)), y


def both(X, y, **options):
    """(the result for sparse rows, for the same ones dense); solved for very nearly."""
    options = {"tol": 1e-9, "standardize": False} | options
    return fs.fit(X, y, **options), fs.fit(X.toarray(), y, **options)


r = np.random.default_rng(7)
WEIGHTS, SOFT = r.integers(0, 3, 60) + np.eye(1, 60)[0], r.random((60, 4))


@pytest.mark.parametrize("shape", [(60, 20, 4), (60, 200, 4)])  # and so in either span
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"l2": 1e-4},
        {"standardize": True},
        {"fit_intercept": False},
        {"sample_weight": WEIGHTS, "label_smoothing": 0.1},
        {"class_weight": "balanced", "l2": 0.1},
        {"classes": [0, 1, 2, 3, 9]},
        {"soft": True},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
def test_the_optimum_of_the_dense_rows(shape, options):
    X, y = problem(*shape)
    options = dict(options)
    if options.pop("soft", False):
        y = SOFT
    sparse, dense = both(X, y, **options)
    assert sparse.converged
    assert sparse.stopped == dense.stopped == "gap"
    assert sparse.gap <= 1e-9
    assert sparse.objective == pytest.approx(dense.objective, rel=2e-9)
    assert sparse.lower_bound <= dense.objective * (1 + 1e-12)
    np.testing.assert_allclose(
        sparse.model.predict_proba(X), dense.model.predict_proba(X), atol=2e-4
    )


def test_rows_are_not_standardized_unless_asked():
    X, y = problem(60, 20, 3)
    X = sp.csr_array(X.toarray() * 10.0 ** np.arange(-2, 3).repeat(4))
    auto, plain = fs.fit(X, y), fs.fit(X, y, standardize=False)
    assert np.array_equal(auto.model.W, plain.model.W)
    dense, scaled = fs.fit(X.toarray(), y), fs.fit(X.toarray(), y, standardize=True)
    assert np.array_equal(dense.model.W, scaled.model.W)
    assert abs(dense.objective - auto.objective) > 1e-3 * auto.objective
    with pytest.raises(ValueError, match="standardize must be one of 'auto', got 'yes'"):
        fs.fit(X, y, standardize="yes")


@pytest.mark.parametrize("D", [20, 200])
def test_same_bits_for_any_threads_and_order(D):
    X, y = problem(300, D, 3)
    order = np.concatenate(
        [np.arange(b - 1, a - 1, -1) for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)]
    )
    other = sp.csr_array((X.data[order], X.indices[order].astype(np.int64), X.indptr))
    results = [fs.fit(X, y), fs.fit(other, y)]
    with fs.num_threads(1):
        results.append(fs.fit(X, y))
    assert len({result.model.W.tobytes() for result in results}) == 1
    assert len({result.history["objective"][-1] for result in results}) == 1


@pytest.mark.parametrize("D", [20, 200])
def test_a_path_and_a_start_reach_the_same_optima(D):
    X, y = problem(80, D, 3)
    l2s = [1e-1, 1e-2, 1e-3]
    path = fs.fit_path(X, y, l2s=l2s, tol=1e-8)
    for l2, result in zip(l2s, path.results, strict=True):
        alone = fs.fit(X, y, l2=l2, tol=1e-8)
        assert result.converged
        assert result.objective == pytest.approx(alone.objective, rel=2e-8)
    again = fs.fit(X, y, l2=1e-3, tol=1e-8, init=path.results[-1].model)
    assert again.n_passes < 5
    assert again.converged


def test_without_a_penalty():
    X, y = problem(300, 6, 3)
    sparse, dense = (fs.fit(rows, y[::-1] > 0, l2=0.0) for rows in (X, X.toarray()))
    assert sparse.stopped == dense.stopped == "flat"
    assert sparse.objective == pytest.approx(dense.objective, rel=1e-3)
    separable = fs.fit(sp.csr_array(np.eye(6)), [0, 0, 1, 1, 2, 2], l2=0.0)
    assert separable.stopped == "separable"


@pytest.mark.parametrize("factor", [1e9, 1e-9])
def test_features_of_sizes_that_float32_is_too_coarse_for(factor):
    X, y = problem(60, 20, 3)
    expected = fs.fit(X, y, l2=1e-3, tol=1e-6)
    result = fs.fit(X * factor, y, l2=1e-3 * factor**2, tol=1e-6)
    assert result.converged
    assert result.objective == pytest.approx(expected.objective, rel=2e-6)


def test_features_far_from_zero():
    X, y = problem(60, 20, 3)
    sparse, dense = both(sp.csr_array(X.toarray() + 1e4 + np.arange(20)), y, l2=1e-3, tol=1e-6)
    assert sparse.converged
    assert sparse.objective == pytest.approx(dense.objective, rel=2e-6)


def test_float32_is_proved_as_well():
    X, y = problem(200, 300, 4, np.float32)
    result = fs.fit(X, y)
    assert result.model.W.dtype == np.float32
    assert result.converged
    exact = fs.fit(X.astype(np.float64), y, tol=1e-8)
    assert result.lower_bound <= exact.objective <= result.objective * (1 + 1e-6)


def test_limits_and_callback():
    X, y = problem(200, 300, 4)
    seen = []
    result = fs.fit(X, y, tol=1e-12, callback=lambda progress: seen.append(progress.objective))
    assert seen == result.history["objective"]
    assert all(np.diff(seen) <= 0)
    assert fs.fit(X, y, max_passes=2).stopped == "max_passes"
    assert fs.fit(X, y, callback=lambda progress: True).stopped == "callback"


def of_one_row(N=70, K=3, dtype=np.float64):
    """Rows with four columns in common and some of their own; those of a row without weight too."""
    r = np.random.default_rng(3)
    own = np.zeros((N, 4 * N + 50))
    for n in range(N - 5):
        own[n, 4 * n : 4 * n + n % 5] = r.standard_normal(n % 5)
    X = np.c_[r.random((N, 4)), own][:, r.permutation(4 * N + 54)]
    weight = r.integers(1, 4, N) * (np.arange(N) != 33)
    return sp.csr_array(X.astype(dtype)), r.integers(0, K, N), weight


@pytest.mark.parametrize("start", [False, True])
def test_columns_of_one_row(start):
    X, y, weight = of_one_row()
    X.data[X.indptr[33] : X.indptr[34]] = np.nan  # in a row that does not count
    zero = np.flatnonzero(np.bincount(X.indices) == 1)[0]
    X.data[X.indices == zero] = 0.0
    init = None
    if start:
        W = np.random.default_rng(0).standard_normal((X.shape[1], 3))
        init = fs.SoftmaxModel(W, np.zeros(3), range(3))
    dense = X.toarray()
    dense[33] = 0
    options = {"sample_weight": weight, "l2": 1e-2, "tol": 1e-10}
    result = fs.fit(X, y, init=init, **options)
    expected = fs.fit(dense, y, standardize=False, **options)
    assert result.converged
    assert result.objective == pytest.approx(expected.objective, rel=1e-9)
    np.testing.assert_allclose(result.model.W, expected.model.W, atol=2e-4)
    assert not result.model.W[zero].any()
    own = np.bincount(X.indices, minlength=X.shape[1]) < 2
    assert np.abs(result.model.W[own]).max() > 0.1
    path = fs.fit_path(X, y, l2s=[1e-1, 1e-2], sample_weight=weight, validation_data=(dense, y))
    assert path.results[1].objective == pytest.approx(expected.objective, rel=2e-4)


def test_columns_of_one_row_in_any_order():
    X, y, weight = of_one_row(400, dtype=np.float32)
    order = np.concatenate([np.arange(b - 1, a - 1, -1) for a, b in pairwise(X.indptr)])
    other = sp.csr_array((X.data[order], X.indices[order].astype(np.int64), X.indptr), X.shape)
    results = [fs.fit(rows, y, sample_weight=weight) for rows in (X, other)]
    with fs.num_threads(1):
        results.append(fs.fit(X, y, sample_weight=weight))
    assert len({result.model.W.tobytes() for result in results}) == 1
    assert results[0].model.W.dtype == np.float32


def test_columns_of_one_row_beside_values_that_are_not_finite():
    X, y, _ = of_one_row()
    column = X.indices[X.indptr[5] + 1]
    X.data[X.indptr[5] + 1] = np.inf
    with pytest.raises(ValueError, match=rf"X\[5, {column}\] is inf"):
        fs.fit(X, y)


def test_no_entries_at_all():
    result = fs.fit(sp.csr_array((6, 3)), [0, 0, 0, 1, 1, 2])
    assert result.converged
    P = result.model.predict_proba(np.zeros((1, 3)))
    np.testing.assert_allclose(P, [[3 / 6, 2 / 6, 1 / 6]], rtol=1e-5)


def test_memory_does_not_follow_the_columns_times_the_rows():
    """A million columns, of which few are used."""
    N, K, D = 200, 3, 2**20
    r = np.random.default_rng(0)
    indices = np.sort(r.integers(0, D, (N, 10)), axis=1).ravel()
    X = sp.csr_array((np.ones(N * 10), indices, np.arange(0, N * 10 + 1, 10)), shape=(N, D))
    result = fs.fit(X, r.integers(0, K, N), l2=1e-3)
    assert result.converged
    assert np.count_nonzero(result.model.W.any(axis=1)) <= len(np.unique(indices))


def test_the_memory_is_that_of_the_entries_and_some_arrays_of_residuals():
    """What docs/sparse.md says, where rows are more than columns."""
    N, D, K = 20000, 100, 10
    X, y = problem(N, D, K, np.float32, density=0.05)
    fs.fit(X[:500], y[:500])  # compiled
    tracemalloc.start()
    fs.fit(X, y, tol=1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 28 * X.nnz + 18 * 4 * N * K


def test_a_value_that_is_not_finite_is_named():
    X, y = problem(60, 20, 3)
    X.data[X.indptr[5] + 1] = np.nan
    column = X.indices[X.indptr[5] + 1]
    with pytest.raises(ValueError, match=rf"X\[5, {column}\] is nan"):
        fs.fit(X, y)


def test_constant_columns_have_no_variance_that_rounding_makes():
    r = np.random.default_rng(0)
    weight, y = r.random(200), np.zeros(200, np.int64)
    weight[5] = 0
    X = np.c_[np.full(200, 0.1), 1e6 + np.arange(200) * 1e-3, np.zeros(200), r.random(200)]
    dense = moments(Samples(X, y, weight, weight.sum()))
    X[5, 0] = 7  # which does not count
    rows = fs.validation.rows_of(sp.csr_array(X))
    sparse = moments(Samples(rows, y, weight, weight.sum()))
    assert sparse.spread[[0, 2]].tolist() == [0, 0]
    assert sparse.mean[0] == 0.1
    np.testing.assert_allclose(sparse.spread[[1, 3]], dense.spread[[1, 3]], rtol=1e-4)


def test_small_ones_are_solved_as_dense_ones(monkeypatch):
    """And so weights take the steps of repeated rows."""
    X, y = problem(60, 20, 3)
    dense = fs.fit(X.toarray(), y, standardize=False)
    assert fs.fit(X, y).objective != dense.objective
    monkeypatch.undo()
    assert np.array_equal(fs.fit(X, y).model.W, dense.model.W)
    often = np.arange(60) % 3
    weighted = fs.fit(X, y, sample_weight=often, classes=range(3))
    rows = np.repeat(np.arange(60), often)
    repeated = fs.fit(X[rows], y[rows], classes=range(3))
    np.testing.assert_allclose(weighted.model.W, repeated.model.W, rtol=1e-7, atol=1e-9)
