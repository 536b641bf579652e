"""Features centred and scaled without a copy of X: what that takes, and the way back.

Scaled features are u = (x - centre) * scale; logits u V + c are those of W = scale * V and
b = c - centre W in the original units (docs/math.md, "Scaled features").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.kernels.passes.columns import column_moments
from fastsoftmax.kernels.tiles.sizes import n_chunks
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]

# Rows, and at most numbers, of the sample that the curvature is read off.
_SAMPLE_ROWS = 512
_SAMPLE_SIZE = 2_000_000
_POWER_ITERATIONS = 12


@dataclass(frozen=True)
class Moments:
    """Weighted moments of the columns of the rows seen so far, in float64."""

    weight: float  # the sum of the weights
    mean: Array  # (D,)
    spread: Array  # (D,), the sum of weight * (x - mean)**2

    def merged(self, other: Moments) -> Moments:
        """The moments of both sets of rows (Chan, Golub and LeVeque 1983)."""
        total = self.weight + other.weight
        if total == 0:
            return self
        share = other.weight / total
        difference = other.mean - self.mean
        spread = self.spread + other.spread + difference**2 * (self.weight * share)
        return Moments(total, self.mean + difference * share, spread)


def moments(X: Array, weight: Array) -> Moments:
    """The moments of the columns of X (N, D) under weights (N,); one pass.

    A column that is not finite, or whose variance is beyond float64, is a ValueError.
    """
    chunks, n_features = n_chunks(len(X)), X.shape[1]
    weights = np.zeros(chunks)
    means, spreads = np.zeros((2, chunks, n_features))
    arrays = check.as_rows(X), check.as_column(weight)
    launch(column_moments, *arrays, len(X), weights, means, spreads)
    result = Moments(0.0, np.zeros(n_features), np.zeros(n_features))
    with np.errstate(over="ignore", invalid="ignore"):
        for part in zip(weights, means, spreads, strict=True):
            result = result.merged(Moments(float(part[0]), *part[1:]))
        bad = ~np.isfinite(result.spread)
    if bad.any():
        check.raise_if_non_finite(weight, X=X)
        column_number = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"column {column_number} of X has a variance beyond float64; scale it down"
        )
    return result


class Scaling(NamedTuple):
    """u = (x - centre) * scale; both arrays are empty for features as they are."""

    centre: Array  # (D,) or (0,), float64
    scale: Array

    def like(self, X: Array) -> Scaling:
        """In the dtype of X, for a kernel."""
        return Scaling(self.centre.astype(X.dtype), self.scale.astype(X.dtype))

    def apply(self, X: Array) -> Array:
        """The scaled features of a few rows, in float64."""
        X = X.astype(np.float64)
        return (X - self.centre) * self.scale if self.centre.size else X

    def to_original(self, V: Array, c: Array) -> tuple[Array, Array]:
        """(W, b) of weights and biases for the scaled features, in float64."""
        if not self.centre.size:
            return V.astype(np.float64), c.astype(np.float64)
        W = self.scale[:, None] * V
        return W, c - np.einsum("d,dk->k", self.centre, W)

    def to_scaled(self, W: Array, b: Array) -> tuple[Array, Array]:
        """(V, c), the inverse of `to_original`."""
        if not self.centre.size:
            return W.astype(np.float64), b.astype(np.float64)
        return W / self.scale[:, None], b + np.einsum("d,dk->k", self.centre, W.astype(np.float64))


def no_scaling() -> Scaling:
    """Features as they are."""
    return Scaling(np.empty(0), np.empty(0))


def standard_scaling(moments: Moments, dtype: np.dtype[Any]) -> Scaling:
    """To mean 0 and variance 1; a constant column is centred only.

    The values are rounded to `dtype`, that of X, so that kernels and `to_original` use the same.
    """
    with np.errstate(divide="ignore", over="ignore"):
        scale = 1 / np.sqrt(moments.spread / max(moments.weight, np.finfo(np.float64).tiny))
        scale, centre = (array.astype(dtype).astype(np.float64) for array in (scale, moments.mean))
    usable = np.isfinite(scale) & (scale > 0)
    return Scaling(centre, np.where(usable, scale, 1.0))


def raise_if_out_of_scale(moments: Moments, X: Array, weight: Array, dtype: np.dtype[Any]) -> None:
    """No column of X varies so little or so much that weights in `dtype` cannot make up for it.

    A weight in the units of X is one of the scaled feature, of 1e-6 to 1e6, over the column's
    standard deviation. One that is too small for its square in float64 looks like a constant: up to
    512 rows tell.
    """
    limits, wide = np.finfo(dtype), np.finfo(np.float64)
    low = max(2.0**20 / float(limits.max), float(wide.tiny) ** 0.5)
    high = 2.0**-20 / float(limits.tiny)
    with np.errstate(over="ignore"):
        deviation = np.sqrt(moments.spread / moments.weight)
    same = np.flatnonzero(deviation == 0)
    rows = np.linspace(0, len(X) - 1, min(len(X), _SAMPLE_ROWS)).astype(np.int64)
    rows = rows[weight[rows] > 0]
    tiny = same[(X[np.ix_(rows, same)] != moments.mean[same]).any(axis=0)]
    varies = deviation > 0
    bad = [*tiny, *np.flatnonzero(varies & ((deviation < low) | (deviation > high)))]
    if bad:
        d = int(min(bad))
        what, way = ("small", "up") if deviation[d] < low else ("large", "down")
        size = f" of {deviation[d]:.1e}" if varies[d] else ""
        raise ValueError(
            f"column {d} of X has a standard deviation{size} that is too {what} for weights in "
            f"{dtype}; scale it {way}"
        )


class Curvature(NamedTuple):
    """How strongly the mean loss bends, by a sample of rows: see `docs/math.md`."""

    whole: float  # half the largest eigenvalue of the mean of (u, 1)(u, 1)'
    single: float  # half the mean of |u|**2 + 1

    def of_batches(self, batch_size: int) -> float:
        """What a step on the mean of `batch_size` rows has to reckon with."""
        return self.whole + self.single / batch_size


def curvature(X: Array, weight: Array, scaling: Scaling) -> Curvature:
    """The curvature of the mean loss, from evenly spaced rows and a power iteration.

    The rows are taken from those of weights above zero.
    """
    rows = None if weight.all() else np.flatnonzero(weight)
    n_rows = len(X) if rows is None else len(rows)
    n_read = min(n_rows, _SAMPLE_ROWS, max(_SAMPLE_SIZE // (X.shape[1] + 1), 16))
    sample = np.linspace(0, n_rows - 1, n_read).astype(np.int64)
    if rows is not None:
        sample = rows[sample]
    U = scaling.apply(X[sample])
    a = weight[sample].astype(np.float64)
    a /= a.sum()
    squares = np.einsum("nd,nd->n", U, U) + 1
    single = 0.5 * float((a * squares).sum())
    if not single < 1e150:  # its square, below, would overflow
        return Curvature(single, single)
    v, v_1 = np.ones(U.shape[1]), 1.0  # einsum's own loops: no library whose threads change bits
    largest = 0.0
    for _ in range(_POWER_ITERATIONS):
        norm = float(np.sqrt(np.einsum("d,d->", v, v) + v_1**2))
        if norm == 0:
            break
        v, v_1 = v / norm, v_1 / norm
        along = a * (np.einsum("nd,d->n", U, v) + v_1)
        v, v_1 = np.einsum("n,nd->d", along, U), float(along.sum())
        largest = float(np.sqrt(np.einsum("d,d->", v, v) + v_1**2))
    return Curvature(0.5 * min(largest, 2 * single), single)
