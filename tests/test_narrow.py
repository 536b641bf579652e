"""X of one or two bytes a number: read where it lies, with the bits of its float32 copy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

ml_dtypes = pytest.importorskip("ml_dtypes")

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NATIVE = [np.dtype(code) for code in ("?", "u1", "i1", "u2", "i2", "f2")] + [BFLOAT16]
NARROW = NATIVE + [dtype.newbyteorder() for dtype in NATIVE if dtype.itemsize == 2]
FLOATS = [np.dtype("f2"), np.dtype(">f2"), BFLOAT16]
LANES = VECTOR_BYTES // 4


def name_of(dtype):
    return dtype.name if dtype.isnative else f"swapped {dtype.name}"


def every_value(dtype):
    """All that is finite of the type, and its float64 values, which another library gives."""
    if dtype == np.bool_:
        values = np.array([False, True])
    else:
        values = np.arange(256**dtype.itemsize).astype(f"u{dtype.itemsize}").view(dtype)
    with np.errstate(invalid="ignore"):  # a NaN that signals
        exact = values.astype(dtype.newbyteorder("=")).astype(np.float64)
    return values[np.isfinite(exact)], exact[np.isfinite(exact)]


def narrow_rows(dtype, N=130, D=41):
    """X of some small numbers, with negative ones and fractions where the type has them."""
    random = np.random.default_rng([N, D])
    if dtype == np.bool_:
        return random.random((N, D)) < 0.4
    numbers = random.normal(0, 9, (N, D))
    return (np.abs(numbers) if dtype.kind == "u" else numbers).astype(dtype)


def every_2nd(X):
    wide = np.ones((len(X), 2 * X.shape[1]), X.dtype)
    wide[:, ::2] = X
    return wide[:, ::2]


def unaligned(X):
    raw = np.zeros(X.nbytes + 1, np.uint8)
    view = raw[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    view.flags.writeable = False
    return view


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "every 2nd column": every_2nd,
    "part of a row": lambda X: np.hstack([X, X])[:, : X.shape[1]],
    "rows alike": lambda X: np.broadcast_to(X[:1], X.shape),
    "unaligned, read-only": unaligned,
}


def bits(result):
    if isinstance(result, fs.SGDResult):
        result = (result.model.W, result.model.b, result.history["loss"])
    elif isinstance(result, fs.FitResult):
        result = (result.model.W, result.model.b, result.objective, result.lower_bound)
    results = result if isinstance(result, tuple) else (result,)
    return [(np.asarray(a).dtype, np.shape(a), np.asarray(a).tobytes()) for a in results]


def functions_of_X(D, K=3, N=130, dtype=np.float32):
    """Each function of X and weights in `dtype`."""
    random = np.random.default_rng(0)
    W, b = random.normal(0, 0.1, (D, K)).astype(dtype), np.arange(K).astype(dtype)
    y, weight = random.integers(K, size=N), random.integers(0, 3, N)
    functions = [lambda X, f=f: f(X, y, W, b, sample_weight=weight) for f in (fs.loss,)]
    functions.append(lambda X: fs.loss_and_gradient(X, y, W, b, sample_weight=weight, l2=0.1))
    predictions = fs.decision_function, fs.predict_proba, fs.predict_log_proba, fs.predict
    functions += [lambda X, f=f: f(X, W, b) for f in predictions]
    return [*functions, lambda X: fs.SoftmaxModel(W, b, range(K)).score(X, y)]


@pytest.mark.parametrize("dtype", NARROW, ids=name_of)
def test_every_value_is_exact(dtype):
    values, exact = every_value(dtype)
    two = np.repeat(values[:, None], 2, axis=1)
    # side by side, by vectors; every other one, and fewer in a row than a vector has lanes
    for X in (values[:, None], two[:, :1], two):
        for compute in (np.float32, np.float64):
            W = np.zeros((X.shape[1], 1), compute)
            W[-1] = 1
            Z = fs.decision_function(X, W)
            assert Z.dtype == compute
            np.testing.assert_array_equal(Z[:, 0], exact)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", NARROW, ids=name_of)
def test_the_bits_are_those_of_the_float32_copy(unchanged, dtype, layout):
    for D in (41, LANES, 3):
        X = layout(narrow_rows(dtype, D=D))
        for function in functions_of_X(D):
            with unchanged(X):
                got = function(X)
            assert bits(got) == bits(function(X.astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.dtype("i1"), np.dtype(">u2"), BFLOAT16], ids=name_of)
def test_weights_in_float64_compute_in_float64(dtype):
    X = narrow_rows(dtype)
    for strange in (X, np.asfortranarray(X), X[:, :5]):
        functions = functions_of_X(strange.shape[1], dtype=np.float64)
        for function in (functions[1], functions[3]):  # others compile kernels of their own
            assert bits(function(strange)) == bits(function(strange.astype(np.float32)))


@pytest.mark.parametrize("dtype", NARROW, ids=name_of)
def test_training_computes_in_float32_with_the_bits_of_a_copy(unchanged, dtype):
    X = narrow_rows(dtype)
    y, held_out = np.arange(130) % 3, narrow_rows(dtype, 20)
    for strange in (X, np.asfortranarray(X)):
        for options in (
            {"validation_data": (held_out, y[:20])},
            {"standardize": False, "batch_size": 70},
            {"sample_weight": np.arange(130) % 4},
        ):
            with unchanged(strange):
                got = fs.fit_sgd(strange, y, epochs=2, **options)
            assert got.model.W.dtype == np.float32
            assert bits(got) == bits(fs.fit_sgd(X.astype(np.float32), y, epochs=2, **options))
        got = fs.fit(strange, y)
        assert got.model.W.dtype == np.float32
        assert bits(got) == bits(fs.fit(X.astype(np.float32), y))


@pytest.mark.parametrize(
    "dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.exhaustive)]
)
def test_rows_that_are_centred_as_they_are_loaded(dtype):
    X = narrow_rows(np.dtype("u1")) % 2 + np.uint8(250)  # 500 standard deviations from zero
    y = np.arange(130) % 3
    for rows in (X, X.astype(">u2") * np.uint16(200)):
        copy = rows.astype(np.float32)
        for fit in (fs.fit, lambda X, y, **dtype: fs.fit_sgd(X, y, epochs=2, **dtype)):
            got = fit(rows, y, dtype=dtype)
            assert got.model.W.dtype == dtype
            assert bits(got) == bits(fit(copy, y, dtype=dtype))


def test_wider_integers_compute_in_float64_as_before():
    X = narrow_rows(np.dtype("i1")).astype(np.int32)
    assert fs.fit_sgd(X, np.arange(130) % 3, epochs=1).model.W.dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS, ids=name_of)
def test_what_is_not_finite_is_named(dtype, value):
    X = narrow_rows(dtype)
    y, W = np.arange(130) % 3, np.zeros((41, 3), np.float32)
    X[77, 40] = value
    message = rf"X\[77, 40\] is {value}; X must be finite"
    for function in (
        lambda: fs.loss_and_gradient(X, y, W),
        lambda: fs.predict_proba(X[:, :], W),
        lambda: fs.fit_sgd(X, y, epochs=1),
        lambda: fs.fit_sgd(X, y, epochs=1, standardize=False),
        lambda: fs.fit(X, y),
        lambda: fs.fit_sgd(X[:70], y[:70], epochs=1, validation_data=(X, y)),
    ):
        with pytest.raises(ValueError, match=message):
            function()
    weight = np.ones(130)
    weight[77] = 0
    zeros = X.copy()
    zeros[77] = 0
    for function in (
        lambda X: fs.loss_and_gradient(X, y, W, sample_weight=weight),
        lambda X: fs.fit_sgd(X, y, epochs=1, sample_weight=weight),
        lambda X: fs.fit(X, y, sample_weight=weight),
    ):
        assert bits(function(X)) == bits(function(zeros))


def test_bfloat16_is_for_X_and_never_a_label():
    X = narrow_rows(BFLOAT16)[:, :3]
    with pytest.raises(TypeError, match="targets of shape"):
        fs.loss(X, X[:, 0], np.zeros((3, 2)))
    W = X[:3].astype(np.float32)
    assert bits(fs.predict_proba(X, X[:3])) == bits(fs.predict_proba(X, W))


def test_a_narrow_X_is_not_copied():
    def peak(function):
        function()
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    N, D = 50_000, 100
    W, y = np.zeros((D, 3), np.float32), np.arange(N) % 3
    out = np.empty((N, 3), np.float32)
    for dtype in (np.uint8, BFLOAT16):
        X = narrow_rows(np.dtype(dtype), N, D)  # in float32, 20 MB
        assert peak(lambda X=X: fs.loss_and_gradient(X, y, W)) < 500_000
        assert peak(lambda X=X: fs.predict_proba(X, W, out=out)) < 200_000
        assert peak(lambda X=X: fs.fit_sgd(X, y, epochs=1, batch_size=1000)) < 100 * N
        assert peak(lambda X=X: fs.fit(X, y, tol=0.1)) < 200 * N


def test_X_in_a_file(tmp_path):
    X = narrow_rows(np.dtype(">i2"))
    X.tofile(tmp_path / "X")
    rows = np.memmap(tmp_path / "X", ">i2", "r", shape=X.shape)
    for function in functions_of_X(41):
        assert bits(function(rows)) == bits(function(X))


def test_frames_of_narrow_columns():
    X, y = narrow_rows(np.dtype("u1")), np.arange(130) % 3
    plain = bits(fs.fit_sgd(X, y, epochs=2))
    for library in ("pandas", "polars"):
        frame = pytest.importorskip(library).DataFrame(X)
        assert bits(fs.fit_sgd(frame, y, epochs=2)) == plain


def test_bfloat16_of_torch():
    torch = pytest.importorskip("torch")
    t = torch.linspace(-3, 3, 130 * 41).reshape(130, 41).to(torch.bfloat16)
    X = t.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)  # as docs/training.md has it
    assert X.__array_interface__["data"][0] == t.data_ptr()
    for function in functions_of_X(41):
        assert bits(function(X)) == bits(function(t.to(torch.float32).numpy()))


@pytest.mark.filterwarnings("ignore:the loss was still falling")
@pytest.mark.parametrize("dtype", NARROW, ids=name_of)
def test_scikit_learns_classifiers(dtype):
    pytest.importorskip("sklearn")
    from fastsoftmax.sklearn import SoftmaxClassifier, SoftmaxRegression

    X, y = narrow_rows(dtype), np.arange(130) % 3
    copy = X.astype(np.float32)
    for make in (SoftmaxRegression, lambda: SoftmaxClassifier(max_iter=2, random_state=0)):
        ours, plain = make().fit(X, y), make().fit(copy, y)
        assert np.shares_memory(ours._validated(X, reset=False), X)
        assert ours.coef_.dtype == np.float32
        assert bits(ours.coef_) == bits(plain.coef_)
        assert bits(ours.predict_proba(X)) == bits(plain.predict_proba(copy))
    streams = [SoftmaxClassifier(), SoftmaxClassifier()]
    for stream, rows in zip(streams, (X, copy), strict=True):
        for first in (0, 70):
            part = slice(first, first + 70)
            stream.partial_fit(rows[part], y[part], classes=range(3))
    assert bits(streams[0].coef_) == bits(streams[1].coef_)


def test_scikit_learn_names_what_is_not_finite():
    pytest.importorskip("sklearn")
    from fastsoftmax.sklearn import SoftmaxRegression

    X = narrow_rows(BFLOAT16)
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"X\[3, 2\] is nan"):
        SoftmaxRegression().fit(X, np.arange(130) % 3)
