"""The kernels on narrower vectors than this machine's: Numba compiles them for another CPU."""

import platform

import pytest

PROGRAM = """
import sys
import numpy as np
import fastsoftmax as fs
from csr_rows import CSRRows
from fastsoftmax import reference
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

assert VECTOR_BYTES == int(sys.argv[1]), VECTOR_BYTES
random = np.random.default_rng(0)
for N, D, K in ((130, 37, 7), (65, 5, 33), (3, 1, 1), (70, 301, 2), (70, 130, 8)):
    X, W, b = random.normal(size=(N, D)), random.normal(size=(D, K)), random.normal(size=K)
    y = random.integers(0, K, N)
    want = reference.loss_and_gradient(X, y, W, b)
    for got, expected in zip(fs.loss_and_gradient(X, y, W, b), want):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)
    narrow = [array.astype(np.float32) for array in (X, W, b)]
    for got, expected in zip(fs.loss_and_gradient(narrow[0], y, *narrow[1:]), want):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
    kept = X * (abs(X) > 1)
    want = reference.loss_and_gradient(kept, y, W, b)
    for dtype, tolerance in ((float, 1e-12), (np.float32, 2e-5)):
        arguments = CSRRows.of(kept.astype(dtype)), y, W.astype(dtype), b.astype(dtype)
        for got, expected in zip(fs.loss_and_gradient(*arguments), want):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance / 10)
    want = reference.loss_and_gradient(X, y, W, b)
    # one step on all rows, cut by slabs of features where there are enough
    model = fs.fit_sgd(X, y, classes=range(K), batch_size=N, epochs=1, learning_rate=0.5,
                       standardize=False, l2=0, init=fs.SoftmaxModel(W, b, range(K))).model
    np.testing.assert_allclose(model.W, W - 0.5 * want[1], rtol=1e-12, atol=1e-13)
    Z = X @ W + b
    np.testing.assert_allclose(fs.predict_proba(X, W, b), reference.softmax(Z), atol=1e-13)
    wide = np.tile(Z, 500 // K + 1)[:, :-1]  # beyond what is transposed
    for logits in (Z, wide):
        np.testing.assert_allclose(fs.softmax(logits), reference.softmax(logits), atol=1e-14)

# every narrow number is exact, side by side and not: float16 without an instruction for it, too
for code in ("?", "u1", "i1", "u2", "i2", "f2", ">u2", ">i2", ">f2"):
    dtype = np.dtype(code)
    count = 2 if code == "?" else 256**dtype.itemsize
    rows = np.arange(count).astype(f"u{dtype.itemsize}").view(dtype)
    rows = rows[np.isfinite(rows)]
    for narrow in (rows[:, None], np.repeat(rows, 3)[::3, None], np.repeat(rows[:, None], 3, 1)):
        W = np.zeros((narrow.shape[1], 1), np.float32)
        W[-1] = 1
        Z = fs.decision_function(narrow, W)
        np.testing.assert_array_equal(Z, narrow[:, -1:].astype(np.float32))

if VECTOR_BYTES == 16:  # few lanes share the sums: float32 may err 1.5 times as much as NumPy
    X, W = random.normal(size=(300, 10000)), random.normal(size=(10000, 2))
    rows, weights = X.astype(np.float32), W.astype(np.float32)
    truth = rows.astype(float) @ weights.astype(float)
    ours, plain = fs.decision_function(rows, weights), rows @ weights
    errors = [np.abs(Z - truth).max() / np.abs(truth).max() for Z in (ours, plain)]
    assert errors[0] <= 1.5 * errors[1] + 1e-7, errors
print("right")
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 features are asked")
@pytest.mark.parametrize(("features", "width"), [("+sse2", 16), ("+avx,+avx2,+fma", 32)])
def test_narrow_vectors_give_right_results(run_program, features, width):
    variables = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
    assert run_program(PROGRAM, width, timeout=900, **variables) == "right\n"
