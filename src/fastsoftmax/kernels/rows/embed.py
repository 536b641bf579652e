"""Row functions for your own `@njit` code: no allocation, nothing checked, outputs last.

Each takes C-contiguous float32 or float64 arrays (anything else is a TypeError when your function
compiles): a row z (K,), or a block of rows Z (R, K). `out` may be z itself. The numerics
are those of the public functions, docs/math.md, "A stable row".
"""

from __future__ import annotations

from typing import Any

from numba import types

from fastsoftmax.kernels.compile.jit import jit_callable, overload
from fastsoftmax.kernels.rows import row
from fastsoftmax.kernels.rows.lanes import ClassPerLane
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array
from fastsoftmax.kernels.vectors.simd import address_of


def as_row(z: Array) -> ClassPerLane:
    """A contiguous array (K,) as the numerics of a row take it."""
    raise NotImplementedError("compiled code only")


def as_targets(target: Any, z: Array) -> Any:
    """A label, or weights (K,), as the numerics of the row z take them."""
    raise NotImplementedError("compiled code only")


@overload(as_row)
def _as_row(z):  # type: ignore[no-untyped-def]
    if not (
        isinstance(z, types.Array)
        and z.ndim == 1
        and z.layout == "C"
        and z.dtype in (types.float32, types.float64)
    ):
        # Numba hands on a TypeError as it is; its own TypingError it wraps in pages
        raise TypeError(
            "fastsoftmax.kernels work on C-contiguous rows (K,) of float32 or float64, "
            f"np.ascontiguousarray makes such; got {z}"
        )
    return lambda z: ClassPerLane(z, address_of(z), z.size)


@overload(as_targets)
def _as_targets(target, z):  # type: ignore[no-untyped-def]
    if isinstance(target, types.Integer):
        return lambda target, z: simd.splat_like(simd.lane_numbers(simd.splat(z, 0)), target)
    if not isinstance(target, types.Array) or target.dtype != z.dtype:
        raise TypeError(f"a target is an integer label or a row of {z.dtype}, got {target}")
    return lambda target, z: as_row(target)


@jit_callable
def softmax_row(z: Array, out: Array) -> None:
    """out (K,) = softmax of z (K,)."""
    row.softmax(as_row(z), as_row(out))


@jit_callable
def log_softmax_row(z: Array, out: Array) -> None:
    """out (K,) = log-softmax of z (K,)."""
    row.log_softmax(as_row(z), as_row(out))


@jit_callable
def log_sum_exp_row(z: Array) -> float:
    """log(sum(exp(z))) of z (K,)."""
    return simd.extract(row.log_sum_exp(as_row(z)), 0)


@jit_callable
def cross_entropy_row(z: Array, target: Any) -> float:
    """The cross-entropy of z (K,) and a label in [0, K), or weights (K,) of z's dtype."""
    return simd.extract(row.cross_entropy(as_row(z), as_targets(target, z), 0.0), 0)


@jit_callable
def cross_entropy_gradient_row(z: Array, target: Any, out: Array) -> float:
    """As `cross_entropy_row`, with out (K,) = s softmax(z) - t, its gradient."""
    one = simd.splat(z, 1)
    J = row.cross_entropy_gradient(as_row(z), as_targets(target, z), one, 0.0, as_row(out))
    return simd.extract(J, 0)


@jit_callable
def softmax_rows(Z: Array, out: Array) -> None:
    """out (R, K) = softmax of each row of Z (R, K)."""
    for r in range(Z.shape[0]):
        softmax_row(Z[r], out[r])


@jit_callable
def log_softmax_rows(Z: Array, out: Array) -> None:
    """out (R, K) = log-softmax of each row of Z (R, K)."""
    for r in range(Z.shape[0]):
        log_softmax_row(Z[r], out[r])


@jit_callable
def log_sum_exp_rows(Z: Array, out: Array) -> None:
    """out (R,) = log(sum(exp(z))) of each row of Z (R, K)."""
    for r in range(Z.shape[0]):
        out[r] = log_sum_exp_row(Z[r])


@jit_callable
def cross_entropy_rows(Z: Array, targets: Array, out: Array) -> None:
    """out (R,) = the cross-entropies of Z (R, K) and labels (R,) or weights (R, K)."""
    for r in range(Z.shape[0]):
        out[r] = cross_entropy_row(Z[r], targets[r])


@jit_callable
def cross_entropy_gradient_rows(Z: Array, targets: Array, losses: Array, out: Array) -> None:
    """losses (R,) as `cross_entropy_rows` has them, and out (R, K) = s softmax(z) - t."""
    for r in range(Z.shape[0]):
        losses[r] = cross_entropy_gradient_row(Z[r], targets[r], out[r])
