"""The numerics of a row of logits, all of them: every kernel calls these.

z is a `lanes.RowPerLane` (several rows at once) or a `lanes.ClassPerLane` (one row); m, q and
the like are vectors with a value for each lane's row. With m the largest logit and q the sum of
exp(z_k - m) over the other classes, log-sum-exp is m + log1p(q): nothing overflows, and where one
class has nearly all the mass, its log-probability -log1p(q) and its residual keep their relative
accuracy (docs/math.md, "A stable row"). A row whose maximum is not finite is computed with a shift
of 0 and an lse of m, from which the special values of scipy.special follow.
"""

from __future__ import annotations

from typing import Any

from fastsoftmax.kernels.compile.jit import jit, jit_inline
from fastsoftmax.kernels.rows.lanes import (
    class_numbers,
    load_classes,
    max_of_row,
    n_vectors,
    store_classes,
    sum_of_row,
)
from fastsoftmax.kernels.rows.targets import target
from fastsoftmax.kernels.vectors import simd, vmath

# Terms added in one chain before they join the total, whose own rounding errors are carried
# along: bounds the error of long rows.
CHAIN = 16

NEGATIVE_INFINITY = float("-inf")
NAN = float("nan")


@jit
def maximum(z: Any) -> Any:
    """m, the largest logit that is not NaN: a NaN shows in q instead.

    The comparison is one instruction; one that keeps NaN is four, in a chain.
    """
    m = load_classes(z, 0, NEGATIVE_INFINITY)
    for i in range(1, n_vectors(z)):
        v = load_classes(z, i, NEGATIVE_INFINITY)
        m = simd.select(v > m, v, m)
    return max_of_row(z, m)


@jit
def is_finite(v: Any) -> Any:
    """Bits of the lanes that are neither NaN nor infinite."""
    return simd.absolute(v) < float("inf")


@jit
def shift_of(m: Any) -> Any:
    """What is subtracted from the logits: the maximum, or 0 where it is not finite."""
    return simd.select(is_finite(m), m, simd.splat_like(m, 0))


@jit
def log_total_of(m: Any, q: Any) -> Any:
    """lse - shift; NaN where q is."""
    return simd.select(is_finite(m), vmath.log1p(q), simd.select(q == q, m, q))


@jit
def add_carried(total: Any, carry: Any, term: Any) -> tuple[Any, Any]:
    """(total + term, what rounding added to it): Kahan's compensated summation."""
    term = term - carry
    result = total + term
    error = (result - total) - term
    return result, simd.select(is_finite(result), error, simd.splat_like(error, 0))


@jit
def rest_of_exponentials(z: Any, shift: Any) -> Any:
    """q, the sum of exp(z_k - shift) over every class but one that is largest."""
    zero, one = simd.splat_like(shift, 0), simd.splat_like(shift, 1)
    q, carry, ties = zero, zero, zero
    for start in range(0, n_vectors(z), CHAIN):
        part = zero
        for i in range(start, min(start + CHAIN, n_vectors(z))):
            d = load_classes(z, i, NEGATIVE_INFINITY) - shift
            top = d == zero
            part += simd.select(top, zero, vmath.exp_down(d))
            ties += simd.select(top, one, zero)
        q, carry = add_carried(q, carry, part)
    return sum_of_row(z, q) + (sum_of_row(z, ties) - 1)


@jit_inline
def exponentials(z: Any, shift: Any, out: Any) -> Any:
    """out = exp(z - shift); returns q as `rest_of_exponentials` does."""
    zero, one = simd.splat_like(shift, 0), simd.splat_like(shift, 1)
    q, carry, ties = zero, zero, zero
    for start in range(0, n_vectors(z), CHAIN):
        part = zero
        for i in range(start, min(start + CHAIN, n_vectors(z))):
            d = load_classes(z, i, NEGATIVE_INFINITY) - shift
            top = d == zero
            e = vmath.exp_down(d)
            store_classes(out, i, e)
            part += simd.select(top, zero, e)
            ties += simd.select(top, one, zero)
        q, carry = add_carried(q, carry, part)
    return sum_of_row(z, q) + (sum_of_row(z, ties) - 1)


@jit
def log_sum_exp(z: Any) -> Any:
    """log of the sum of exp(z): -inf where z is only -inf, +inf where it has a +inf."""
    m = maximum(z)
    shift = shift_of(m)
    return log_total_of(m, rest_of_exponentials(z, shift)) + shift


@jit
def softmax(z: Any, out: Any) -> None:
    """out = softmax of z; NaN where z has a NaN or +inf, or only -inf."""
    m = maximum(z)
    q = exponentials(z, shift_of(m), out)
    scale = simd.select(is_finite(m), 1.0 / (q + 1), simd.splat_like(m, NAN))
    for i in range(n_vectors(z)):
        store_classes(out, i, load_classes(out, i, 0) * scale)


@jit
def log_softmax(z: Any, out: Any) -> None:
    """out = log-softmax of z; special values as scipy.special.log_softmax has them."""
    m = maximum(z)
    shift = shift_of(m)
    log_total = log_total_of(m, rest_of_exponentials(z, shift))
    for i in range(n_vectors(z)):
        store_classes(out, i, (load_classes(z, i, 0) - shift) - log_total)


@jit_inline
def target_sums(z: Any, targets: Any, shift: Any, smoothing: float) -> tuple[Any, Any]:
    """(s, sum of t_k (z_k - shift)); a class without weight counts nothing."""
    zero = simd.splat_like(shift, 0)
    s, s_carry, dot, dot_carry, uniform = zero, zero, zero, zero, zero
    for start in range(0, n_vectors(z), CHAIN):
        part, part_s = zero, zero
        for i in range(start, min(start + CHAIN, n_vectors(z))):
            t = target(z, targets, i)
            d = load_classes(z, i, 0) - shift
            part += simd.select(t > 0, t * d, zero)
            part_s += t
        dot, dot_carry = add_carried(dot, dot_carry, part)
        s, s_carry = add_carried(s, s_carry, part_s)
    s, dot = sum_of_row(z, s), sum_of_row(z, dot)
    if smoothing > 0:
        for i in range(n_vectors(z)):
            d = load_classes(z, i, 0) - shift
            uniform += simd.select(class_numbers(z, i) < z.n_classes, d, zero)
        uniform = sum_of_row(z, uniform) * (s / z.n_classes)
        uniform = simd.select(s > 0, uniform, zero) * smoothing
        dot = uniform + dot * (1 - smoothing) if smoothing < 1 else uniform
    return s, dot


@jit
def cross_entropy(z: Any, targets: Any, smoothing: float) -> Any:
    """J = s lse(z) - sum of t_k z_k; 0 for a row without target weight, whatever z holds."""
    m = maximum(z)
    shift = shift_of(m)
    s, dot = target_sums(z, targets, shift, smoothing)
    J = s * log_total_of(m, rest_of_exponentials(z, shift)) - dot
    return simd.select(s == 0, s, J)


@jit
def cross_entropy_gradient(z: Any, targets: Any, weight: Any, smoothing: float, out: Any) -> Any:
    """out = weight * (s softmax(z) - t); returns J, without the weight.

    Zeros, whatever z holds, where there is no weight or no target weight.
    """
    m = maximum(z)
    shift = shift_of(m)
    s, dot = target_sums(z, targets, shift, smoothing)
    zero = simd.splat_like(shift, 0)
    weight = simd.select(s == 0, zero, weight)
    left_out = weight == 0
    q = exponentials(z, shift, out)
    scale = simd.select(is_finite(m), s / (q + 1), simd.splat_like(m, NAN))
    uniform = s / z.n_classes
    # s (1 - p) of a class with more than half of the mass: no cancellation where p rounds to 1
    others = q * scale
    half = simd.splat_like(q, 1)
    for i in range(n_vectors(z)):
        t = target(z, targets, i)
        t = simd.fma(uniform - t, simd.splat_like(t, smoothing), t)
        e = load_classes(out, i, 0)
        residual = e * scale - t
        residual = simd.select(e == 1, simd.select(q < half, (s - t) - others, residual), residual)
        store_classes(out, i, simd.select(left_out, zero, residual * weight))
    return simd.select(s == 0, s, s * log_total_of(m, q) - dot)


@jit
def argmax(z: Any) -> Any:
    """The first class with the largest logit, as integers of the lanes' width (one row a lane)."""
    best = load_classes(z, 0, NEGATIVE_INFINITY)
    number = class_numbers(z, 0)
    for i in range(1, n_vectors(z)):
        v = load_classes(z, i, NEGATIVE_INFINITY)
        better = v > best
        best = simd.select(better, v, best)
        number = simd.select(better, class_numbers(z, i), number)
    return number
