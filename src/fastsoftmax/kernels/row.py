"""The numerics of one row of logits, all of them: every kernel calls these.

Each function works in place on a contiguous row z (K,). With j the class of the largest logit,
m = z_j, and q = sum of exp(z_k - m) over every class but j, log-sum-exp is m + log1p(q): nothing
overflows, and where one class has nearly all the mass, its log-probability -log1p(q) and its
residual keep their relative accuracy (docs/math.md, "A stable row"). Sums run in float64.
"""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.kernels._jit import jit, jit_reassociate
from fastsoftmax.kernels.memory import Array, Rows
from fastsoftmax.kernels.targets import target


@jit_reassociate
def all_finite(Z: Array) -> bool:
    """Whether no logit of the block (R, K) is NaN or infinite."""
    zero = 0.0
    for r in range(Z.shape[0]):
        for k in range(Z.shape[1]):
            zero += Z[r, k] * 0
    return zero == 0


@jit
def argmax(z: Array) -> int:
    """The first class with the largest logit, or the first NaN where there is one."""
    best = 0
    for k in range(z.size):
        if z[k] > z[best] or (z[k] != z[k] and z[best] == z[best]):
            best = k
    return best


@jit
def rest_of_exponentials(z: Array, j: int) -> float:
    """q, the sum of exp(z_k - z_j) over k != j."""
    q = 0.0
    for k in range(z.size):
        if k != j:
            q += math.exp(z[k] - z[j])
    return q


@jit
def exponentials(z: Array, j: int) -> float:
    """z becomes exp(z - z_j); returns q as `rest_of_exponentials` does."""
    q = 0.0
    m = z[j]
    for k in range(z.size):
        z[k] = math.exp(z[k] - m)
        if k != j:
            q += z[k]
    return q


@jit
def log_sum_exp(z: Array) -> float:
    """log of the sum of exp(z): -inf where z is only -inf, +inf where it has a +inf."""
    j = argmax(z)
    if not math.isfinite(z[j]):
        return np.float64(z[j])
    return z[j] + math.log1p(rest_of_exponentials(z, j))


@jit
def softmax(z: Array) -> None:
    """z becomes its softmax; NaN where it has a NaN or +inf, or only -inf."""
    j = argmax(z)
    if not math.isfinite(z[j]):
        z[:] = np.nan
        return
    q = exponentials(z, j)
    for k in range(z.size):
        z[k] = z[k] / (1 + q)


@jit
def log_softmax(z: Array) -> None:
    """z becomes its log-softmax; special values as scipy.special.log_softmax has them."""
    j = argmax(z)
    m = z[j]
    if not math.isfinite(m):
        for k in range(z.size):  # beside +inf, a smaller logit has no probability at all
            z[k] = -np.inf if z[k] < m else np.nan
        return
    log_total = math.log1p(rest_of_exponentials(z, j))
    for k in range(z.size):
        z[k] = (z[k] - m) - log_total


@jit
def _cross_entropy(
    z: Array, j: int, q: float, targets: Rows, n: int, smoothing: float
) -> tuple[float, float]:
    """(J, s) of row n, given its largest logit's class and the rest of its exponentials."""
    shift = z[j] if math.isfinite(z[j]) else z.dtype.type(0)
    log_total = math.log1p(q) if math.isfinite(z[j]) else np.float64(z[j])
    s = 0.0
    dot = 0.0  # sum of t_k (z_k - shift), where a class without weight counts nothing
    uniform = 0.0
    for k in range(z.size):
        t = target(targets, n, k)
        s += t
        uniform += np.float64(z[k] - shift)
        if t > 0:
            dot += t * np.float64(z[k] - shift)
    if smoothing > 0 and s > 0:
        uniform *= s / z.size
        dot = smoothing * uniform + ((1 - smoothing) * dot if smoothing < 1 else 0.0)
    return s * log_total - dot, s


@jit
def cross_entropy(z: Array, targets: Rows, n: int, smoothing: float) -> float:
    """J = s lse(z) - sum of t_k z_k for row n of the targets."""
    j = argmax(z)
    J, _ = _cross_entropy(z, j, rest_of_exponentials(z, j), targets, n, smoothing)
    return J


@jit
def cross_entropy_gradient(
    z: Array, targets: Rows, n: int, weight: float, smoothing: float
) -> float:
    """z becomes weight * (s softmax(z) - t); returns J, without the weight."""
    j = argmax(z)
    q = rest_of_exponentials(z, j)
    J, s = _cross_entropy(z, j, q, targets, n, smoothing)
    if not math.isfinite(z[j]):
        z[:] = np.nan
        return J
    exponentials(z, j)
    share = smoothing * s / z.size
    scale = s / (1 + q)
    for k in range(z.size):
        t = (1 - smoothing) * target(targets, n, k) + share
        if k == j:  # p_j = 1 - q / (1 + q): no cancellation where p_j rounds to 1
            z[k] = weight * ((s - t) - q * scale)
        else:
            z[k] = weight * (z[k] * scale - t)
    return J
