"""Vector exp, log and log1p, branch-free, for `simd.Vector`s of float32 and float64.

exp: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite's two-part ln 2), a polynomial in r, and
2**n by two exact multiplications, so that results below the normal range are right as well. n is
read from the bits of x / ln 2 plus 1.5 * 2**mantissa, without a conversion that NaN could upset.
log: x = 2**e m with sqrt(1/2) <= m < sqrt(2), f = m - 1, s = f / (2 + f), and the series
log(1 + f) = 2 (s + s**3 / 3 + s**5 / 5 + ...), arranged as in fdlibm's e_log.c so that the
leading term f is exact. tests/test_vmath.py measures both against mpmath.
"""

from __future__ import annotations

from typing import Any

from fastsoftmax.kernels.compile.jit import jit, jit_inline
from fastsoftmax.kernels.vectors import simd

INVERSE_LN2 = 1.4426950408889634
_LN2_HIGH = simd.by_type(float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.62e42fefa3p-1"))
_LN2_LOW = simd.by_type(1.4286068203094172e-6, 2.8235290563031577e-13)

# (exp(r) - 1 - r) / r**2 on |r| <= ln 2 / 2: Chebyshev fits by mpmath.chebyfit, off by 6.5e-8
# and 1.1e-16, which adds a fifth of an ulp to exp.
_EXP_TAIL = simd.polynomial(
    [
        0.0013926213466332444,
        0.008363202971575855,
        0.04166655443768594,
        0.16666576845993977,
        0.5,
    ],
    [
        2.5100424157005067e-08,
        2.7620138719733994e-07,
        2.7557268378684192e-06,
        2.480152119021773e-05,
        0.00019841269863105968,
        0.0013888888917281794,
        0.008333333333330051,
        0.04166666666662399,
        0.16666666666666669,
        0.5000000000000001,
    ],
)
_EXP_MAGIC = simd.by_type(1.5 * 2.0**23, 1.5 * 2.0**52)
_EXP_LOWEST = simd.by_type(-104.0, -746.0)  # exp of these is 0,
_EXP_HIGHEST = simd.by_type(89.0, 710.0)  # and of these infinite
_EXP_DOWN_MAGIC = simd.by_type(1.5 * 2.0**23 + 127 + 64, 1.5 * 2.0**52 + 1023 + 512)
_EXP_DOWN_UNIT = simd.by_type(2.0**-64, 2.0**-512)
_EXPONENT_BIAS = simd.by_type(127, 1023)
_MANTISSA_BITS = simd.by_type(23, 52)

_SQRT_HALF = simd.by_type(0.70710678118654752, 0.70710678118654752)
_SUBNORMAL_SCALE = simd.by_type(2.0**25, 2.0**54)
_SUBNORMAL_SHIFT = simd.by_type(25.0, 54.0)
_SMALLEST_NORMAL = simd.by_type(2.0**-126, 2.0**-1022)
_LOG_TAIL = simd.polynomial(  # z -> sum of 2 z**(i-1) / (2 i + 1), i from 1
    [2 / (2 * i + 1) for i in range(5, 0, -1)], [2 / (2 * i + 1) for i in range(11, 0, -1)]
)


@jit_inline
def _exp_parts(x: Any, highest: Any, magic: Any) -> tuple[Any, Any]:
    """(exp(r), magic + n) of x = n ln 2 + r, with x held between the lowest value and `highest`."""
    lowest = _EXP_LOWEST(x)
    x = simd.select(x < lowest, lowest, x)
    x = simd.select(x > highest, highest, x)
    shifted = simd.fma(x, simd.splat_like(x, INVERSE_LN2), magic)
    n = shifted - magic
    r = simd.fma(n, 0.0 - _LN2_LOW(x), simd.fma(n, 0.0 - _LN2_HIGH(x), x))
    return simd.fma(r * r, _EXP_TAIL(r), r) + 1.0, shifted


@jit
def exp(x: Any) -> Any:
    """e**x of each lane; 0 at -inf, inf at +inf, NaN at NaN."""
    magic = _EXP_MAGIC(x)
    y, shifted = _exp_parts(x, _EXP_HIGHEST(x), magic)
    i = simd.as_int_bits(shifted) - simd.as_int_bits(magic)
    half = i >> 1
    return y * _power_of_two(half) * _power_of_two(i - half)


@jit
def exp_down(x: Any) -> Any:
    """e**x of each lane for x <= 0, with fewer steps than `exp`; 1 above 0, NaN at NaN.

    n, biased and with room below, lands in the exponent of 2**(n + room) by a shift alone.
    """
    y, shifted = _exp_parts(x, simd.splat_like(x, 0), _EXP_DOWN_MAGIC(x))
    bits = simd.as_int_bits(shifted)
    return y * simd.as_float_bits(bits << _MANTISSA_BITS(bits)) * _EXP_DOWN_UNIT(x)


@jit
def _power_of_two(i: Any) -> Any:
    """2**i for integers in the normal range."""
    return simd.as_float_bits((i + _EXPONENT_BIAS(i)) << _MANTISSA_BITS(i))


@jit
def _log_parts(x: Any, low: Any) -> Any:
    """log(x) + low for normal positive x and a small `low`."""
    base = simd.as_int_bits(_SQRT_HALF(x))
    e = (simd.as_int_bits(x) - base) >> _MANTISSA_BITS(base)
    f = simd.as_float_bits(simd.as_int_bits(x) - (e << _MANTISSA_BITS(e))) - 1.0
    n = simd.to_float(e)
    s = f / (f + 2.0)
    z = s * s
    half_square = 0.5 * f * f
    correction = s * (half_square + z * _LOG_TAIL(z)) + simd.fma(n, _LN2_LOW(x), low)
    return simd.fma(n, _LN2_HIGH(x), f - (half_square - correction))


@jit
def log(x: Any) -> Any:
    """The natural logarithm of each lane; -inf at 0, NaN below it and at NaN, inf at inf."""
    small = x < _SMALLEST_NORMAL(x)
    scaled = simd.select(small, x * _SUBNORMAL_SCALE(x), x)
    shift = simd.select(small, _SUBNORMAL_SHIFT(x), simd.splat_like(x, 0.0))
    zero = simd.splat_like(x, 0.0)
    y = _log_parts(scaled, zero - shift * _LN2_LOW(x)) - shift * _LN2_HIGH(x)
    infinity = simd.splat_like(x, float("inf"))
    y = simd.select(x < infinity, y, x)
    y = simd.select(x < zero, simd.splat_like(x, float("nan")), y)
    return simd.select(x == zero, zero - infinity, y)


@jit
def log1p(q: Any) -> Any:
    """log(1 + q) of each lane, for finite q >= 0, to full relative accuracy; NaN at NaN."""
    u = q + 1.0
    return _log_parts(u, (q - (u - 1.0)) / u)
