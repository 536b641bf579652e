"""Every operation of the SIMD layer against NumPy, at several widths: LLVM lowers them all."""

import operator
import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest

from fastsoftmax.kernels.vectors import simd, vector_ir

# (dtype, lanes): 16, 32 and 64 bytes, and one lane
WIDTHS = [
    pytest.param(dtype, n, marks=[pytest.mark.exhaustive] if 1 < n < lanes[-1] else [])
    for dtype, lanes in ((np.float32, (1, 4, 8, 16)), (np.float64, (1, 2, 4, 8)))
    for n in lanes
]
ARM = platform.machine() in ("aarch64", "arm64")
INTEGER = {np.float32: np.int32, np.float64: np.int64}


def inputs(dtype, lanes):
    rng = np.random.default_rng(lanes)
    a, b, c = (rng.normal(size=(3, lanes)) * 10).astype(dtype)
    a[0] = b[0]
    return a, b, c


def run_binary(operation, a, b, lanes, out_dtype=None):
    @numba.njit
    def kernel(a, b, out):
        x = simd.load_lanes(lanes, a, simd.address_of(a))
        y = simd.load_lanes(lanes, b, simd.address_of(b))
        simd.store(operation(x, y), simd.address_of(out))

    out = np.empty(lanes, out_dtype or a.dtype)
    kernel(a, b, out)
    return out


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
def test_arithmetic(dtype, lanes, name):
    symbol = getattr(operator, name)
    a, b, _ = inputs(dtype, lanes)
    compiled = numba.njit(lambda x, y: symbol(x, y))
    np.testing.assert_array_equal(run_binary(compiled, a, b, lanes), symbol(a, b))


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
@pytest.mark.parametrize("name", ["lt", "le", "gt", "eq"])
def test_comparisons_are_false_at_nan(dtype, lanes, name):
    symbol = getattr(operator, name)
    a, b, _ = inputs(dtype, lanes)
    a[-1] = np.nan

    @numba.njit
    def chosen(x, y):
        return simd.select(symbol(x, y), x, simd.splat_like(y, 7))

    got = run_binary(chosen, a, b, lanes)
    np.testing.assert_array_equal(got, np.where(symbol(a, b), a, dtype(7)))


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
def test_minimum_and_maximum_keep_nan(dtype, lanes):
    a, b, _ = inputs(dtype, lanes)
    a[-1] = np.nan
    largest = numba.njit(lambda x, y: simd.maximum(x, y))
    smallest = numba.njit(lambda x, y: simd.minimum(x, y))
    np.testing.assert_array_equal(run_binary(largest, a, b, lanes), np.maximum(a, b))
    np.testing.assert_array_equal(run_binary(smallest, a, b, lanes), np.minimum(a, b))


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
def test_fma_rounds_once(dtype, lanes):
    eps = np.finfo(dtype).eps
    a = np.full(lanes, 1 + eps, dtype)

    @numba.njit
    def fused(x, y):
        return simd.fma(x, y, simd.splat_like(x, -1) - 2 * eps)

    # (1 + eps)^2 - 1 - 2 eps = eps^2, which two roundings would lose
    once = eps**2 if ARM or "+fma" in vector_ir.features() else 0
    np.testing.assert_array_equal(run_binary(fused, a, a, lanes), np.full(lanes, once, dtype))


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
def test_rounding_and_conversion(dtype, lanes):
    a = np.resize(np.array([0.5, 1.5, -2.5, 3.2, -7.9], dtype), lanes)
    b = np.abs(a)
    rounded = numba.njit(lambda x, y: simd.round_even(x))
    np.testing.assert_array_equal(run_binary(rounded, a, b, lanes), np.round(a))
    absolute = numba.njit(lambda x, y: simd.absolute(x))
    np.testing.assert_array_equal(run_binary(absolute, a, b, lanes), b)
    whole = numba.njit(lambda x, y: simd.to_int(simd.round_even(x)))
    got = run_binary(whole, a, b, lanes, INTEGER[dtype])
    np.testing.assert_array_equal(got, np.round(a).astype(INTEGER[dtype]))
    there_and_back = numba.njit(lambda x, y: simd.to_float(simd.to_int(simd.round_even(x))))
    np.testing.assert_array_equal(run_binary(there_and_back, a, b, lanes), np.round(a))


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
def test_bits_and_shifts(dtype, lanes):
    a, b, _ = inputs(dtype, lanes)
    integer = INTEGER[dtype]
    bits = numba.njit(lambda x, y: simd.as_int_bits(x))
    np.testing.assert_array_equal(run_binary(bits, a, b, lanes, integer), a.view(integer))
    same = numba.njit(lambda x, y: simd.as_float_bits(simd.as_int_bits(x)))
    np.testing.assert_array_equal(run_binary(same, a, b, lanes), a)
    shifted = numba.njit(lambda x, y: ((simd.as_int_bits(x) >> 5) << 2) + 1)
    want = ((a.view(integer) >> 5) << 2) + 1
    np.testing.assert_array_equal(run_binary(shifted, a, b, lanes, integer), want)


@pytest.mark.parametrize(("dtype", "lanes"), WIDTHS)
def test_across_lanes(dtype, lanes):
    a, b, _ = inputs(dtype, lanes)

    @numba.njit
    def reduced(x, y):
        total = simd.splat_like(x, simd.reduce_add(x))
        return simd.select(simd.lane_numbers(x) == 0, total, simd.splat_like(x, simd.reduce_max(x)))

    got = run_binary(reduced, a, b, lanes)
    np.testing.assert_allclose(got[0], a.sum(dtype=np.float64), rtol=0, atol=1e-5 * lanes)
    np.testing.assert_array_equal(got[1:], np.full(lanes - 1, a.max()))
    a[-1] = np.nan
    if lanes > 1:
        assert np.isnan(run_binary(reduced, a, b, lanes)[1])

    @numba.njit
    def last(x, y):
        return simd.splat_like(x, simd.extract(y, lanes - 1))

    np.testing.assert_array_equal(run_binary(last, a, b, lanes), np.full(lanes, b[-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_partial_loads_and_stores_touch_nothing_else(dtype):
    lanes = vector_ir.VECTOR_BYTES // np.dtype(dtype).itemsize
    a = np.arange(1, lanes + 1).astype(dtype)

    @numba.njit
    def kernel(a, count, other, whole, part):
        v = simd.load_first(a, simd.address_of(a), count, other)
        simd.store(v, simd.address_of(whole))
        simd.store_first(v + 1, simd.address_of(part), count)

    for count in range(lanes + 1):
        whole, part = np.zeros(lanes, dtype), np.zeros(lanes, dtype)
        kernel(a, count, dtype(-3), whole, part)
        np.testing.assert_array_equal(whole, np.where(np.arange(lanes) < count, a, dtype(-3)))
        np.testing.assert_array_equal(part, np.where(np.arange(lanes) < count, a + 1, 0))


CHOICE = """
import sys
from llvmlite import binding
from numba.core.registry import cpu_target

cpu_target.target_context.codegen()  # is for this machine, whatever comes next
binding.get_process_triple = lambda: sys.argv[1]
from fastsoftmax.kernels.tiles import dots, tile
from fastsoftmax.kernels.vectors import vector_ir

print(vector_ir.VECTOR_BYTES, vector_ir.VECTOR_REGISTERS, tile.MAX_ROWS, dots.MAX_CLASSES)
"""


@pytest.mark.skipif(ARM, reason="x86 features are asked for")
@pytest.mark.parametrize(
    ("triple", "features", "choice"),
    [
        ("x86_64-unknown-linux-gnu", "+sse2", "16 16 6 2"),
        ("x86_64-unknown-linux-gnu", "+avx,+avx2,+fma", "32 16 6 2"),
        ("x86_64-unknown-linux-gnu", "+avx512f", "64 32 14 6"),
        ("aarch64-unknown-linux-gnu", "", "16 32 12 6"),
        ("arm64-apple-darwin23.1.0", "", "16 32 12 6"),
    ],
)
def test_tiles_are_as_large_as_the_registers_hold(tmp_path, triple, features, choice):
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHOICE, triple], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == choice, done.stderr
