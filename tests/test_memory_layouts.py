"""Arrays of any strides and types give the bits of their contiguous copies, and are not copied."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

import fastsoftmax as fs

PREDICTIONS = [fs.decision_function, fs.predict_proba, fs.predict_log_proba, fs.predict]
LOSSES = [fs.loss, fs.loss_and_gradient]
INTEGERS = [np.dtype(code) for code in "bBhHiIlLqQ"]


def spread(a, *steps):
    """`a` as every so many items of a larger array, which are 88 elsewhere."""
    wide = np.full([n * abs(step) for n, step in zip(a.shape, steps, strict=True)], 88, a.dtype)
    view = wide[tuple(slice(None, None, step) for step in steps)]
    view[...] = a
    assert view.size == a.size
    return view


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    """At an odd address, and read-only, as data from a socket or a file may be."""
    b = np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)
    assert not b.flags.aligned
    return b


def field(a):
    """One field of packed records: an odd stride."""
    records = np.zeros(len(a), [("flag", "u1"), ("a", a.dtype, a.shape[1:]), ("tail", "u1")])
    records["a"] = a
    assert not records["a"].flags.aligned
    return records["a"]


def middle(a):
    cube = np.full((a.shape[0], 3, *a.shape[1:]), 88, a.dtype)
    cube[:, 1] = a
    return cube[:, 1]


ANY = {"read-only": read_only, "unaligned": unaligned, "field": field, "middle": middle}
VECTORS = ANY | {
    "every 2nd": lambda a: spread(a, 2),
    "reversed": lambda a: spread(a, -1),
    "every 3rd, reversed": lambda a: spread(a, -3),
}
MATRICES = ANY | {
    "Fortran": np.asfortranarray,
    "every 2nd row": lambda a: spread(a, 2, 1),
    "every 2nd column": lambda a: spread(a, 1, 2),
    "every 3rd of both": lambda a: spread(a, 3, 3),
    "rows reversed": lambda a: spread(a, -1, 1),
    "columns reversed": lambda a: spread(a, 1, -1),
    "all reversed": lambda a: spread(a, -2, -3),
    "Fortran, every 2nd row": lambda a: spread(a.T, 1, 2).T,
    "Fortran, reversed": lambda a: spread(a.T, -1, -2).T,
    "Fortran, unaligned": lambda a: unaligned(a.T).T,
}
SWAPPED = {"byte-swapped": lambda a: a.astype(a.dtype.newbyteorder())}


def bits(result):
    if isinstance(result, fs.SGDResult):
        result = (result.model.W, result.model.b, result.history["loss"])
    results = result if isinstance(result, tuple) else (result,)
    return [(np.asarray(a).dtype, np.shape(a), np.asarray(a).tobytes()) for a in results]


def assert_same(function, strange, plain, unchanged):
    """Called with an array in a strange layout and with its plain copy."""
    np.testing.assert_array_equal(strange, plain)
    with unchanged(strange):
        assert bits(function(strange)) == bits(function(plain))


def functions_of_X(p):
    """Each public function as one of X alone."""
    weight = {"sample_weight": p.weight}
    functions = [lambda X, f=f: f(X, p.targets, p.W, p.b, **weight) for f in LOSSES]
    functions += [lambda X, f=f: f(X, p.W, p.b) for f in PREDICTIONS]
    model = fs.SoftmaxModel(p.W, p.b, np.arange(p.b.size))
    return [*functions, model.predict, lambda X: model.score(X, p.targets)]


def functions_of_Z(targets):
    return [
        fs.softmax,
        fs.log_softmax,
        fs.logsumexp,
        lambda Z: fs.softmax(Z, axis=0),
        lambda Z: fs.logsumexp(Z, axis=(0, 1)),
        lambda Z: fs.cross_entropy(Z, targets),
        lambda Z: fs.cross_entropy_and_gradient(Z, targets, label_smoothing=0.1),
        fs.softmax_jacobian,
    ]


# X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("N", "D", "K"), [(130, 17, 3), (65, 40, 12)])
@pytest.mark.parametrize("layout", (MATRICES | SWAPPED).values(), ids=MATRICES | SWAPPED)
def test_X(problem, unchanged, layout, N, D, K, dtype):
    p = problem(N, D, K, dtype=dtype)
    for function in functions_of_X(p):
        assert_same(function, layout(p.X), p.X, unchanged)


@pytest.mark.parametrize("learning_rate", [0.1, "auto"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("layout", (MATRICES | SWAPPED).values(), ids=MATRICES | SWAPPED)
def test_X_in_training(problem, unchanged, layout, learning_rate, standardize):
    p = problem(130, 17, 3)
    options = {"batch_size": 70, "epochs": 2, "learning_rate": learning_rate}
    options["standardize"] = standardize
    for X in (p.X, np.broadcast_to(p.X[:1], (130, 17)), np.broadcast_to(p.X[:, :1], (130, 17))):
        assert_same(lambda X: fs.fit_sgd(X, p.targets, **options), layout(X), X.copy(), unchanged)


@pytest.mark.parametrize("layout", (MATRICES | SWAPPED).values(), ids=MATRICES | SWAPPED)
def test_soft_targets_in_training(problem, unchanged, layout):
    p = problem(130, 17, 12, soft=True)
    options = {"batch_size": 70, "epochs": 2}
    assert_same(lambda T: fs.fit_sgd(p.X, T, **options), layout(p.targets), p.targets, unchanged)


@pytest.mark.parametrize("layout", (VECTORS | SWAPPED).values(), ids=VECTORS | SWAPPED)
def test_sample_weight_in_training(problem, unchanged, layout):
    p = problem(130, 17, 3)

    def fit(weight):
        return fs.fit_sgd(p.X, p.targets, sample_weight=weight, batch_size=70, epochs=2)

    assert_same(fit, layout(p.weight), p.weight, unchanged)


@pytest.mark.parametrize("X_dtype", ["i1", "u8", "?", "e", ">i2", ">i4", ">f8", ">f4"])
def test_types_of_X_in_training(problem, unchanged, X_dtype):
    p = problem(130, 17, 3)
    X = np.maximum(8 * p.X, 0).astype(X_dtype)
    dtype = np.float64 if X_dtype in ("u8", ">i4", ">f8") else np.float32
    assert_same(lambda X: fs.fit_sgd(X, p.targets, epochs=1), X, X.astype(dtype), unchanged)


@pytest.mark.parametrize("layout", MATRICES.values(), ids=MATRICES)
def test_X_of_a_large_problem(problem, unchanged, layout):
    p = problem(600, 300, 257)
    assert_same(lambda X: fs.loss_and_gradient(X, p.targets, p.W, p.b), layout(p.X), p.X, unchanged)


@pytest.mark.parametrize(
    "shape", [(130, 1), (1, 17), (1, 1)], ids=["columns alike", "rows alike", "all alike"]
)
def test_X_without_strides(problem, unchanged, shape):
    p = problem(130, 17, 3)
    X = np.broadcast_to(p.X[: shape[0], : shape[1]], (130, 17))
    assert 0 in X.strides
    for function in functions_of_X(p):
        assert_same(function, X, X.copy(), unchanged)


@pytest.mark.parametrize("order", ["C", "F"])
def test_X_in_a_file(problem, tmp_path, order):
    p = problem(130, 17, 3)
    np.asarray(p.X, order=order).ravel(order="K").tofile(tmp_path / "X")
    X = np.memmap(tmp_path / "X", np.float64, "r", shape=(130, 17), order=order)
    np.testing.assert_array_equal(X, p.X)
    for function in functions_of_X(p):
        assert bits(function(X)) == bits(function(p.X))
    del X
    assert (tmp_path / "X").stat().st_size == p.X.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may write the file's holes")
def test_X_whose_rows_lie_gigabytes_apart(problem, tmp_path):
    p = problem(5, 17, 3)
    stride = 2**31 + 24
    with open(tmp_path / "X", "wb") as file:
        for n, row in enumerate(p.X):
            file.seek(n * stride)
            file.write(row.tobytes())
    memory = np.memmap(tmp_path / "X", np.uint8, "r")
    X = np.ndarray((5, 17), np.float64, memory, strides=(stride, 8))
    for rows, labels in ((X, p.targets), (X[::-1], p.targets[::-1])):
        truth = fs.loss_and_gradient(rows.copy(), labels, p.W, p.b)
        assert bits(fs.loss_and_gradient(rows, labels, p.W, p.b)) == bits(truth)
    columns = np.ndarray((3, 5), np.float64, memory, strides=(8, stride))
    assert bits(fs.predict_proba(columns, p.W[:5])) == bits(
        fs.predict_proba(columns.copy(), p.W[:5])
    )


# Types of X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("X_dtype", [*INTEGERS, np.dtype("?"), np.dtype("e"), np.dtype(">i2")])
def test_X_of_other_types(problem, unchanged, X_dtype, dtype):
    p = problem(130, 17, 3, dtype=dtype)
    X = np.maximum(8 * p.X, 0).astype(X_dtype)
    assert len(np.unique(X)) > 1
    for function in functions_of_X(p):
        assert_same(function, X, X.astype(dtype), unchanged)
        assert_same(function, spread(X, 2, -1), X.astype(dtype), unchanged)


@pytest.mark.parametrize(
    ("X_dtype", "dtype"),
    [
        (np.float32, np.float64),
        pytest.param(np.float64, np.float32, marks=pytest.mark.exhaustive),
    ],
)
def test_the_weights_decide_the_type_of_the_result(problem, unchanged, X_dtype, dtype):
    p = problem(130, 17, 3)
    X = (p.X * 1.1).astype(X_dtype)
    p = p.astype(dtype)
    assert (X.astype(np.float32) != X).any() == (X_dtype == np.float64)
    for strange in (X, np.asfortranarray(X), spread(X, -1, 2)):
        with unchanged(strange):
            result = fs.loss_and_gradient(strange, *p[1:4])
            P = fs.predict_proba(strange, p.W, p.b)
        assert all(array.dtype == dtype for array in (*result, P))
        assert bits(result) == bits(fs.loss_and_gradient(X.astype(dtype), *p[1:4]))
        assert bits(P) == bits(fs.predict_proba(X.astype(dtype), p.W, p.b))


def test_float16_weights_compute_in_float32(problem):
    p = problem(130, 17, 3, dtype=np.float16)
    result = fs.loss_and_gradient(*p[:4])
    assert bits(result) == bits(fs.loss_and_gradient(*p.astype(np.float32)[:4]))
    assert all(array.dtype == np.float32 for array in result)


def test_integer_weights_compute_in_float64(problem):
    p = problem(130, 17, 3)
    W = np.round(4 * p.W).astype(np.int16)
    assert bits(fs.predict_proba(p.X, W)) == bits(fs.predict_proba(p.X, W.astype(float)))


# Z


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("N", "K"), [(130, 3), (65, 40)])
@pytest.mark.parametrize("layout", (MATRICES | SWAPPED).values(), ids=MATRICES | SWAPPED)
def test_Z(problem, unchanged, layout, N, K, dtype):
    p = problem(N, K, K, dtype=dtype)
    for function in functions_of_Z(p.targets):
        assert_same(function, layout(p.X), p.X, unchanged)


@pytest.mark.parametrize("shape", [(130, 1), (1, 17), (1, 1)])
def test_Z_without_strides(problem, unchanged, shape):
    p = problem(130, 17, 17)
    Z = np.broadcast_to(p.X[: shape[0], : shape[1]], (130, 17))
    for function in functions_of_Z(p.targets):
        assert_same(function, Z, Z.copy(), unchanged)


@pytest.mark.parametrize("Z_dtype", [*INTEGERS, np.dtype("?"), np.dtype("e"), np.dtype(">i2")])
def test_Z_of_other_types(problem, unchanged, Z_dtype):
    p = problem(130, 17, 17)
    Z = np.maximum(3 * p.X, 0).astype(Z_dtype)
    assert len(np.unique(Z)) > 1
    compute = Z.astype(np.float32 if Z_dtype == np.float16 else np.float64)
    for function in functions_of_Z(p.targets):
        assert_same(function, Z, compute, unchanged)


def test_Z_in_a_file(problem, tmp_path):
    p = problem(130, 17, 17)
    p.X.tofile(tmp_path / "Z")
    Z = np.memmap(tmp_path / "Z", np.float64, "r", shape=(130, 17))
    for function in functions_of_Z(p.targets):
        assert bits(function(Z)) == bits(function(p.X))


# Targets


def functions_of_targets(p, Z):
    weight = {"sample_weight": p.weight}
    functions = [lambda T, f=f: f(p.X, T, p.W, p.b, **weight) for f in LOSSES]
    functions += [
        lambda T, f=f: f(Z, T, **weight) for f in (fs.cross_entropy, fs.cross_entropy_and_gradient)
    ]
    return functions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", (MATRICES | SWAPPED).values(), ids=MATRICES | SWAPPED)
def test_soft_targets(problem, unchanged, layout, dtype):
    p = problem(130, 17, 12, soft=True, dtype=dtype)
    for function in functions_of_targets(p, p.X[:, :12]):
        assert_same(function, layout(p.targets), p.targets, unchanged)


def test_soft_targets_without_strides(problem, unchanged):
    p = problem(130, 17, 12, soft=True)
    for T in (p.targets[:1], p.targets[:, :1], np.full((1, 1), 0.25)):
        T = np.broadcast_to(T, (130, 12))
        for function in functions_of_targets(p, p.X[:, :12]):
            assert_same(function, T, T.copy(), unchanged)


def test_soft_targets_in_a_file(problem, tmp_path):
    p = problem(130, 17, 12, soft=True)
    p.targets.tofile(tmp_path / "T")
    T = np.memmap(tmp_path / "T", np.float64, "r", shape=(130, 12))
    for function in functions_of_targets(p, p.X[:, :12]):
        assert bits(function(T)) == bits(function(p.targets))


@pytest.mark.parametrize("T_dtype", [*INTEGERS, np.dtype("?"), np.dtype("e")])
def test_soft_targets_of_other_types(problem, unchanged, T_dtype):
    p = problem(130, 17, 12, soft=True)
    T = (3 * p.targets).astype(T_dtype)
    for function in functions_of_targets(p, p.X[:, :12]):
        assert_same(function, T, T.astype(np.float64), unchanged)


@pytest.mark.parametrize(("T_dtype", "dtype"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_soft_targets_may_have_another_type_than_the_weights(problem, T_dtype, dtype):
    p = problem(130, 17, 12, soft=True, dtype=dtype)
    loss = fs.loss(p.X, p.targets.astype(T_dtype), p.W, p.b)
    assert loss.dtype == dtype
    np.testing.assert_allclose(loss, fs.loss(*p[:4]), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [*INTEGERS, np.dtype(">i8"), np.dtype(">u2")])
def test_labels_of_every_integer_type(problem, unchanged, dtype):
    p = problem(130, 17, 12)
    y = p.targets.astype(dtype)
    functions = functions_of_targets(p, p.X[:, :12])
    functions.append(lambda y: fs.fit_sgd(p.X, y, epochs=1))
    for function in functions:
        assert_same(function, y, p.targets, unchanged)


def test_labels_may_be_booleans(problem, unchanged):
    p = problem(130, 17, 2)
    for function in functions_of_targets(p, p.X[:, :2]):
        assert_same(function, p.targets.astype(bool), p.targets, unchanged)
    with pytest.raises(ValueError, match=r"targets\[0\] = True is not in \[0, 1\)"):
        fs.cross_entropy([[0.0]], [True])


@pytest.mark.parametrize("layout", (VECTORS | SWAPPED).values(), ids=VECTORS | SWAPPED)
def test_labels_and_weights_of_samples(problem, unchanged, layout):
    p = problem(130, 17, 12)
    functions = functions_of_targets(p, p.X[:, :12])
    functions.append(lambda y: fs.fit_sgd(p.X, y, epochs=1))
    for function in functions:
        assert_same(function, layout(p.targets), p.targets, unchanged)
    for function in (
        lambda weight: fs.loss_and_gradient(*p[:4], sample_weight=weight),
        lambda weight: fs.loss(*p[:4], sample_weight=weight),
        lambda weight: fs.cross_entropy(p.X, p.targets, sample_weight=weight),
    ):
        assert_same(function, layout(p.weight), p.weight, unchanged)
        weight = p.weight.astype(np.float32)
        assert_same(function, layout(weight), weight, unchanged)
        assert bits(function(weight)) == bits(function(weight.astype(float)))


def test_vectors_without_strides(problem, unchanged):
    p = problem(130, 17, 12)
    y = np.broadcast_to(np.int64(7), 130)
    for function in functions_of_targets(p, p.X[:, :12]):
        assert_same(function, y, y.copy(), unchanged)
    weight = np.broadcast_to(np.float64(2), 130)
    for function, reduction in ((fs.loss, "sum"), (fs.loss_and_gradient, "mean")):
        options = {"reduction": reduction}
        assert_same(
            lambda w, f=function, o=options: f(*p[:4], sample_weight=w, **o),
            weight,
            weight.copy(),
            unchanged,
        )


# Weights and out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", (MATRICES | SWAPPED).values(), ids=MATRICES | SWAPPED)
def test_W(problem, unchanged, layout, dtype):
    p = problem(130, 17, 12, dtype=dtype)
    for function in (
        lambda W: fs.loss_and_gradient(p.X, p.targets, W, p.b),
        lambda W: fs.loss(p.X, p.targets, W, p.b),
        lambda W: fs.predict_proba(p.X, W, p.b),
        lambda W: fs.SoftmaxModel(W, p.b, np.arange(12)).predict_proba(p.X),
    ):
        assert_same(function, layout(p.W), p.W, unchanged)


@pytest.mark.parametrize("layout", (VECTORS | SWAPPED).values(), ids=VECTORS | SWAPPED)
def test_b(problem, unchanged, layout):
    p = problem(130, 17, 12)
    for function in (
        lambda b: fs.loss_and_gradient(p.X, p.targets, p.W, b),
        lambda b: fs.predict_proba(p.X, p.W, b),
    ):
        assert_same(function, layout(p.b), p.b, unchanged)


@pytest.mark.parametrize("layout", MATRICES.values(), ids=MATRICES)
def test_out_in_any_layout(problem, layout):
    p = problem(130, 12, 12)
    for function, arguments in (
        (fs.softmax, (p.X,)),
        (fs.log_softmax, (p.X,)),
        (fs.predict_proba, (p.X, p.W, p.b)),
        (fs.decision_function, (p.X, p.W, p.b)),
    ):
        out = layout(np.zeros((130, 12)))
        if not out.flags.writeable:  # what np.frombuffer gives
            with pytest.raises(ValueError, match="out is read-only"):
                function(*arguments, out=out)
            continue
        assert function(*arguments, out=out) is out
        np.testing.assert_array_equal(out, function(*arguments))


# Memory


@pytest.fixture
def peak():
    """The peak of the bytes that NumPy takes while a function runs, the second time."""

    def measure(function, *arguments, **options):
        function(*arguments, **options)
        tracemalloc.start()
        try:
            result = function(*arguments, **options)
            assert result is not None
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


ROWS = 50_000  # times 50 features of 8 bytes: 20 MB
BIG_LAYOUTS = {
    "C": np.asarray,
    "Fortran": np.asfortranarray,
    "every 2nd column": lambda a: spread(a, 1, 2),
    "reversed": lambda a: spread(a, -1, -1),
}


def test_the_peak_sees_a_copy(peak, problem):
    X = problem(ROWS, 50, 3).X
    assert peak(X.copy) >= X.nbytes == 20_000_000


@pytest.mark.parametrize("layout", BIG_LAYOUTS.values(), ids=BIG_LAYOUTS)
def test_X_is_not_copied(peak, problem, layout):
    p = problem(ROWS, 50, 3)
    X = layout(p.X)
    assert peak(fs.loss_and_gradient, X, *p[1:4]) < 500_000
    assert peak(fs.loss, X, *p[1:4]) < 16 * ROWS
    out = np.empty((ROWS, 3))
    assert peak(fs.predict_proba, X, p.W, p.b, out=out) < 200_000  # two threads' scratch
    assert peak(fs.predict, X, p.W, p.b) < 16 * ROWS
    train = {"batch_size": 1000, "epochs": 1}
    assert peak(fs.fit_sgd, X, p.targets, **train) < 100 * ROWS
    assert peak(fs.fit_sgd, X, p.targets, validation_data=(X, p.targets), **train) < 100 * ROWS


def test_float32_weights_do_not_copy_a_float64_X(peak, problem):
    p = problem(ROWS, 50, 3)
    assert peak(fs.loss_and_gradient, p.X, p.targets, np.float32(p.W), np.float32(p.b)) < 500_000


def test_soft_targets_and_logits_are_not_copied(peak, problem):
    p = problem(ROWS, 1, 50, soft=True)
    Z = np.asfortranarray(p.targets)
    # partial gradients, which do not grow with N, take whole vectors of features: 64 x 50 x 16
    assert peak(fs.loss_and_gradient, *p[:4]) < 1_000_000
    assert peak(fs.cross_entropy, Z, p.targets) < 16 * ROWS
    assert peak(fs.cross_entropy_and_gradient, Z, p.targets) < Z.nbytes + 16 * ROWS
    assert peak(fs.softmax, Z, out=Z) < 100_000
    assert peak(fs.logsumexp, Z) < 24 * ROWS


def test_memory_does_not_grow_with_the_rows(peak, problem):
    p = problem(2 * ROWS, 10, 3)
    half = p._replace(X=p.X[:ROWS], targets=p.targets[:ROWS])
    assert abs(peak(fs.loss_and_gradient, *p[:4]) - peak(fs.loss_and_gradient, *half[:4])) < 50_000
    grown = peak(fs.loss, *p[:4]) - peak(fs.loss, *half[:4])
    assert grown < 12 * ROWS
    train = {"batch_size": 1000, "epochs": 2}
    grown = peak(fs.fit_sgd, p.X, p.targets, **train) - peak(
        fs.fit_sgd, half.X, half.targets, **train
    )
    assert grown < 64 * ROWS
