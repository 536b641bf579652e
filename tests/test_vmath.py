import mpmath
import numba
import numpy as np
import pytest

from fastsoftmax.kernels.vectors import simd, vector_ir, vmath

DTYPES = (np.float32, np.float64)
LARGEST_ERROR = 1.5  # ulp


@numba.njit
def apply_exp(x, out):
    for address in range(0, x.size * x.itemsize, vector_ir.VECTOR_BYTES):
        v = simd.load(x, simd.address_of(x) + address)
        simd.store(vmath.exp(v), simd.address_of(out) + address)


@numba.njit
def apply_exp_down(x, out):
    for address in range(0, x.size * x.itemsize, vector_ir.VECTOR_BYTES):
        v = simd.load(x, simd.address_of(x) + address)
        simd.store(vmath.exp_down(v), simd.address_of(out) + address)


@numba.njit
def apply_log(x, out):
    for address in range(0, x.size * x.itemsize, vector_ir.VECTOR_BYTES):
        v = simd.load(x, simd.address_of(x) + address)
        simd.store(vmath.log(v), simd.address_of(out) + address)


@numba.njit
def apply_log1p(x, out):
    for address in range(0, x.size * x.itemsize, vector_ir.VECTOR_BYTES):
        v = simd.load(x, simd.address_of(x) + address)
        simd.store(vmath.log1p(v), simd.address_of(out) + address)


def evaluate(kernel, x):
    padded = np.resize(x, -(-x.size // 64) * 64)
    out = np.empty_like(padded)
    kernel(padded, out)
    return out[: x.size]


def errors_in_ulp(x, y, function):
    """|y - f(x)| over the spacing of the dtype at f(x), subnormals included."""
    worst = np.empty(x.size)
    with mpmath.workprec(140):
        for i, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            truth = function(mpmath.mpf(a))
            ulp = float(np.spacing(np.abs(x.dtype.type(truth))))
            worst[i] = abs(float((mpmath.mpf(b) - truth) / ulp))
    return worst


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_over_the_range_of_a_softmax(dtype):
    rng = np.random.default_rng(0)
    lowest = np.log(float(np.finfo(dtype).smallest_subnormal))
    x = np.concatenate(
        [
            rng.uniform(lowest, 0, 3000),
            rng.uniform(-1, 1, 2000),
            -np.exp(rng.uniform(-40, 2, 1000)),
            np.arange(-60, 60) * np.log(2) / 2,  # where n changes
        ]
    ).astype(dtype)
    y = evaluate(apply_exp, x)
    assert errors_in_ulp(x, y, mpmath.exp).max() <= LARGEST_ERROR


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_special_values(dtype):
    info = np.finfo(dtype)
    below = np.log(float(info.smallest_subnormal)) - 1
    above = np.log(float(info.max)) + 0.01
    x = np.array([0, -0.0, -np.inf, np.inf, np.nan, below, -1e30, above, 1e30], dtype)
    np.testing.assert_array_equal(
        evaluate(apply_exp, x), np.array([1, 1, 0, np.inf, np.nan, 0, 0, np.inf, np.inf], dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_down(dtype):
    rng = np.random.default_rng(2)
    lowest = np.log(float(np.finfo(dtype).smallest_subnormal))
    x = np.concatenate(
        [
            rng.uniform(lowest, 0, 3000),
            -np.exp(rng.uniform(-40, 2, 1000)),
            np.arange(-60, 0) * np.log(2) / 2,  # where n changes
        ]
    ).astype(dtype)
    assert errors_in_ulp(x, evaluate(apply_exp_down, x), mpmath.exp).max() <= LARGEST_ERROR
    x = np.array([0, -0.0, -np.inf, np.inf, np.nan, lowest - 1, -1e30, 1e30], dtype)
    x[4:5].view(f"u{x.itemsize}")[:] |= 0x1FF  # a NaN with a payload where an exponent is made
    np.testing.assert_array_equal(
        evaluate(apply_exp_down, x), np.array([1, 1, 0, 1, np.nan, 0, 0, 1], dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_and_log1p(dtype):
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    low, high = np.log(float(info.smallest_normal)), np.log(float(info.max))
    x = np.concatenate(
        [
            np.exp(rng.uniform(low, high, 2000)),
            rng.uniform(0.5, 2, 2000),
            float(info.smallest_subnormal) * rng.integers(1, 1000, 100).astype(np.float64),
        ]
    ).astype(dtype)
    assert errors_in_ulp(x, evaluate(apply_log, x), mpmath.log).max() <= LARGEST_ERROR
    q = np.concatenate([np.exp(rng.uniform(-80, 12, 3000)), [0, 1, 9999]]).astype(dtype)
    assert errors_in_ulp(q, evaluate(apply_log1p, q), mpmath.log1p).max() <= LARGEST_ERROR
    special = np.array([0, -0.0, 1, np.inf, -1, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(
        evaluate(apply_log, special),
        np.array([-np.inf, -np.inf, 0, np.inf, np.nan, np.nan, np.nan], dtype),
    )
    assert np.isnan(evaluate(apply_log1p, np.array([np.nan], dtype))[0])
