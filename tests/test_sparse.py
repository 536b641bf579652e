"""Sparse X: what comes of its rows is what comes of the dense ones, and bad ones are named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.functional import sparse as functional_sparse

sp = pytest.importorskip("scipy.sparse")

PREDICTIONS = ("decision_function", "predict_proba", "predict_log_proba", "predict")


def rows(N, D, density=0.1, dtype=np.float64, seed=0):
    """A CSR array of N rows, one of them empty, and one row and one column that are full."""
    r = np.random.default_rng(seed)
    X = r.standard_normal((N, D)) * (r.random((N, D)) < density)
    X[1:2] = 0
    X[2:3] = X[:, 3:4] = 1
    return sp.csr_array(X.astype(dtype))


def problem(N, D, K, dtype, seed=0):
    r = np.random.default_rng(seed + 1)
    W, b = r.standard_normal((D, K)).astype(dtype), r.standard_normal(K).astype(dtype)
    return rows(N, D, dtype=dtype, seed=seed), r.integers(0, K, N), W, b


def shuffled(X, seed=0):
    """The same array, the entries of each row in another order."""
    r = np.random.default_rng(seed)
    order = np.concatenate(
        [a + r.permutation(b - a) for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)]
    )
    return sp.csr_array((X.data[order], X.indices[order], X.indptr), shape=X.shape)


def with_indices(X, dtype):
    """The same array with indices of another type, which SciPy's constructor would change."""
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(dtype), X.indptr.astype(dtype)
    return X


def assert_close(sparse, dense, dtype):
    for a, b in zip(sparse, dense, strict=True):
        scale = np.abs(b).max() if np.size(b) else 1.0
        np.testing.assert_allclose(a, b, rtol=0, atol=scale * (2e-15 if dtype == "f8" else 2e-6))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    ("N", "D", "K"),
    [(1, 1, 1), (3, 70, 2), (65, 5, 3), (700, 200, 5), (300, 150, 20), (40, 333, 70), (9, 8, 140)],
)
def test_as_the_dense_rows(N, D, K, dtype):
    X, y, W, b = problem(N, D, K, dtype)
    r = np.random.default_rng(5)
    weight = r.integers(0, 3, N) + np.eye(1, N)[0]
    soft = r.random((N, K)).astype(dtype)
    for targets, options in (
        (y, {"l2": 0.3}),
        (soft, {"sample_weight": weight, "label_smoothing": 0.1, "reduction": "sum"}),
    ):
        sparse = fs.loss_and_gradient(X, targets, W, b, **options)
        assert_close(sparse, fs.loss_and_gradient(X.toarray(), targets, W, b, **options), dtype)
        assert fs.loss(X, targets, W, b, **options) == pytest.approx(sparse[0], rel=1e-6)
    each = fs.loss(X, y, W, b, reduction="none")
    assert_close([each], [fs.loss(X.toarray(), y, W, b, reduction="none")], dtype)
    for name in PREDICTIONS:
        function = getattr(fs, name)
        assert_close([function(X, W, b)], [function(X.toarray(), W, b)], dtype)


def test_several_slabs_of_rows_and_many_buckets(monkeypatch):
    X, y, W, b = problem(700, 900, 20, "f8")
    one = fs.loss_and_gradient(X, y, W, b, l2=0.1)
    monkeypatch.setattr(functional_sparse, "_SLAB_ENTRIES", 2**12)
    monkeypatch.setattr(functional_sparse, "_BUCKET_BYTES", 2**14)
    assert_close(fs.loss_and_gradient(X, y, W, b, l2=0.1), one, "f8")
    dense = fs.decision_function(X.toarray(), W, b)
    assert_close([fs.decision_function(X, W, b)], [dense], "f8")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_same_bits_however_the_rows_came_about(dtype, monkeypatch):
    X, y, W, b = problem(700, 900, 20, dtype)

    def bits(X):
        results = [*fs.loss_and_gradient(X, y, W, b, l2=0.1), fs.decision_function(X, W, b)]
        return b"".join(np.asarray(result).tobytes() for result in results)

    with fs.num_threads(1):
        expected = bits(X)
    read_only = X.copy()
    for part in (read_only.data, read_only.indices, read_only.indptr):
        part.flags.writeable = False
    many = {
        "threads": X,
        "int64": with_indices(X, np.int64),
        "uint16": with_indices(X, np.uint16),
        "matrix": sp.csr_matrix(X),
        "another order": shuffled(X),
        "by columns": sp.csc_array(X),
        "read-only": read_only,
        "byte-swapped": sp.csr_array((X.data.astype(X.dtype.newbyteorder()), X.indices, X.indptr)),
    }
    assert [name for name, other in many.items() if bits(other) != expected] == []
    monkeypatch.setattr(functional_sparse, "_BUCKET_BYTES", 2**12)
    assert bits(X) == expected


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_prepared_rows_give_the_same_bits_without_being_sorted_again(dtype, monkeypatch):
    monkeypatch.setattr(functional_sparse, "_SLAB_ENTRIES", 1000)
    X, y, W, b = problem(700, 50, 3, dtype)
    X = shuffled(X)
    prepared = fs.prepared(X)
    assert (prepared.shape, prepared.dtype) == (X.shape, X.dtype)
    assert fs.prepared(prepared) is prepared
    weight = np.arange(700) % 4  # some without weight, which are sorted for themselves
    fs.loss(prepared, y, W, b)
    of_kernels = functional_sparse.sort_entries
    for options in ({}, {"sample_weight": weight}, {"l2": 0.1}):
        expected = fs.loss_and_gradient(X, y, W, b, **options)
        if "sample_weight" not in options:
            monkeypatch.setattr(functional_sparse, "sort_entries", None)
        for a, c in zip(fs.loss_and_gradient(prepared, y, W, b, **options), expected, strict=True):
            assert np.array_equal(a, c)
        monkeypatch.setattr(functional_sparse, "sort_entries", of_kernels)
    for name in PREDICTIONS:
        of_rows, of_prepared = (getattr(fs, name)(rows, W, b) for rows in (X, prepared))
        assert np.array_equal(of_rows, of_prepared)
    assert np.array_equal(fs.predict(prepared, W[:, :2]), fs.predict(X, W[:, :2]))
    for train in (fs.fit, fs.fit_sgd):
        assert np.array_equal(train(prepared, y).model.W, train(X, y).model.W)
    counts = sp.csr_array((X.toarray() != 0).astype(np.int64))
    assert fs.loss(fs.prepared(counts), y, W, b) == fs.loss(counts, y, W, b)


def test_what_cannot_be_prepared():
    with pytest.raises(TypeError, match="X must be sparse, got ndarray: dense rows need no"):
        fs.prepared(np.eye(3))
    with pytest.raises(ValueError, match=r"X.indices\[1\] = 9"):
        fs.prepared(broken(indices=[0, 9, 2]))


def test_entries_that_are_there_twice_add_up():
    X, y, W, b = problem(60, 40, 3, "f8")
    twice = sp.csr_array(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), X.indptr * 2), shape=X.shape
    )
    assert_close(fs.loss_and_gradient(twice, y, W, b), fs.loss_and_gradient(X, y, W, b), "f8")
    zeros = X.copy()
    zeros.data[::3] = 0
    dense = fs.loss_and_gradient(zeros.toarray(), y, W, b)
    assert_close(fs.loss_and_gradient(zeros, y, W, b), dense, "f8")


def test_very_long_rows_out_of_order():
    X = sp.csr_array(np.random.default_rng(0).standard_normal((2, 5000)))
    W = np.random.default_rng(1).standard_normal((5000, 2))
    expected = fs.decision_function(X, W)
    assert np.array_equal(fs.decision_function(shuffled(X), W), expected)


def test_no_rows_and_no_columns():
    loss, grad_W, grad_b = fs.loss_and_gradient(
        sp.csr_array((0, 3)), [], np.ones((3, 2)), np.ones(2), reduction="sum", l2=1.0
    )
    assert loss == 3
    assert np.array_equal(grad_W, np.ones((3, 2)))
    assert not grad_b.any()
    assert fs.predict_proba(sp.csr_array((2, 0)), np.ones((0, 2))).tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.uint8, np.float32])
def test_values_of_other_types(kind):
    X = sp.csr_array(np.array([[0, 1, 0], [1, 0, 1]], kind))
    for dtype in (np.float32, np.float64):
        W = np.arange(6, dtype=dtype).reshape(3, 2)
        Z = fs.decision_function(X, W)
        assert Z.dtype == dtype
        assert Z.tolist() == [[2, 3], [4, 6]]


def test_rows_of_weight_zero_may_hold_anything():
    X, y, W, b = problem(70, 30, 3, "f8")
    weight = np.ones(70)
    weight[[2, 40]] = 0
    expected = fs.loss_and_gradient(X, y, W, b, sample_weight=weight)
    X.data[X.indptr[2]], X.data[X.indptr[40]] = np.nan, np.inf
    got = fs.loss_and_gradient(X, y, W, b, sample_weight=weight)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", ["loss", "loss_and_gradient", *PREDICTIONS])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(name, value):
    X, y, W, b = problem(70, 30, 3, "f8")
    X.data[X.indptr[40]] = value
    column = X.indices[X.indptr[40]]
    arguments = (X, W, b) if name in PREDICTIONS else (X, y, W, b)
    with pytest.raises(ValueError, match=rf"^X\[40, {column}\] is {value}; X must be finite"):
        getattr(fs, name)(*arguments)


def test_logits_that_overflow():
    X = sp.csr_array(np.full((2, 2), 1e200))
    with pytest.raises(ValueError, match="the logits overflow float64"):
        fs.predict(X, np.full((2, 2), 1e200))


def broken(**parts):
    """A CSR array with parts that SciPy would refuse."""
    X = sp.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    for name, value in parts.items():
        setattr(X, name, np.asarray(value))
    return X


@pytest.mark.parametrize(
    ("X", "exception", "message"),
    [
        (broken(indices=[0, 3, 1]), ValueError, r"X.indices\[1\] = 3, in row 0, is not in \[0, 3"),
        (broken(indices=[0, 2, -1]), ValueError, r"X.indices\[2\] = -1, in row 1, is not in"),
        (broken(indices=[0, 2**40, 1]), ValueError, r"X.indices\[1\] = 1099511627776, in row 0"),
        (broken(indptr=[0, 2, 1]), ValueError, "X.indptr falls from 2 to 1 at row 1"),
        (broken(indptr=[0, 2, 9]), ValueError, "X.indptr must begin at 0 and end within the 3"),
        (broken(indptr=[1, 2, 3]), ValueError, "X.indptr must begin at 0"),
        (broken(indptr=[0, 3]), ValueError, "X.indptr must have 3 entries, one more than rows"),
        (broken(data=[1.0, 2.0]), ValueError, "X.data and X.indices must be as long, got 2 and 3"),
        (broken(data=[1j, 2, 3]), TypeError, "X.data must hold real numbers"),
        (broken(data=["a", "b", "c"]), TypeError, "X.data must hold real numbers"),
        (broken(indices=[0.0, 2.0, 1.0]), TypeError, "X.indices must hold integers"),
        (sp.coo_array((2, 3)), TypeError, r"X is sparse, in the format coo: give X.tocsr\(\)"),
        (sp.lil_array((2, 3)), TypeError, "X is sparse, in the format lil"),
        (sp.csr_array((2, 4)), ValueError, "X has 4 features, 3 were expected"),
        (sp.csr_array((3, 2**31)), ValueError, "X has 2147483648 columns; at most 2147483647"),
    ],
)
def test_bad_rows_are_named(X, exception, message):
    for call in (
        lambda: fs.predict(X, np.ones((3, 2))),
        lambda: fs.loss_and_gradient(X, [0, 1], np.ones((3, 2))),
    ):
        with pytest.raises(exception, match=message):
            call()


def test_examples_in_the_notes_run_as_written(capsys):
    notes = (Path(__file__).parents[1] / "docs" / "sparse.md").read_text(encoding="utf-8")
    names = {}
    for example in re.findall(r"```python\n(.*?)```", notes, re.DOTALL):
        exec(example, names)
    assert capsys.readouterr().out == "gap True\nTrue\n"


def test_float32_is_as_accurate_as_scipy():
    X, y, W, b = problem(3000, 400, 20, "f8", seed=3)
    _, exact, _ = fs.loss_and_gradient(X, y, W, b)
    X, W, b = X.astype("f4"), W.astype("f4"), b.astype("f4")
    P = fs.softmax(X @ W + b)
    P[np.arange(3000), y] -= 1
    plain = X.T @ (P / np.float32(3000))
    _, ours, _ = fs.loss_and_gradient(X, y, W, b)
    largest = np.abs(exact).max()
    error, theirs = (np.abs(G - exact).max() / largest for G in (ours, plain))
    assert error <= 1.5 * theirs + 1e-7
