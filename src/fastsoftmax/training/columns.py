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
from fastsoftmax import views
from fastsoftmax.csr import CSR
from fastsoftmax.functional import sparse
from fastsoftmax.functional.sparse import Columns
from fastsoftmax.kernels.passes.columns import column_moments
from fastsoftmax.kernels.tiles.sizes import (
    chunk_rows,
    chunks_of_leaf,
    leaf_rows,
    n_chunks,
    pays_to_share,
)
from fastsoftmax.threads import launch
from fastsoftmax.training.samples import Samples, spaced
from fastsoftmax.weights import sum_of

Array = npt.NDArray[Any]

# Rows that tell whether a column without a spread is constant.
_SAMPLE_ROWS = 512

# Columns with a mean beyond so many standard deviations are centred as they are loaded: centring
# in the weights costs gradients and logits as many digits as this number has.
_FAR = 100.0


# A share of the mean square, below which the variance of a sparse column is taken anew: there is
# rounding in the weight of the rows that lack the column, too.
_NEAR = 1e-6


@dataclass(frozen=True)
class Moments:
    """Weighted moments of the columns of the rows seen so far, in float64."""

    weight: float  # the sum of the weights
    mean: Array  # (D,)
    spread: Array  # (D,), the sum of weight * (x - mean)**2

    def merged(self, other: Moments) -> Moments:
        """The moments of both sets of rows (Chan, Golub and LeVeque 1983)."""
        if self.weight == 0:
            return other
        total = self.weight + other.weight
        share = other.weight / total
        difference = other.mean - self.mean
        spread = self.spread + other.spread + difference**2 * (self.weight * share)
        return Moments(total, self.mean + difference * share, spread)


def moments(samples: Samples, columns: Columns | None = None) -> Moments:
    """The weighted moments of the columns of X (N, D).

    `columns` are those of sparse X, if they are at hand.

    A column that is not finite, or whose variance is beyond float64, is a ValueError.
    """
    if samples.is_sparse:
        X, weight = samples.X, samples.weight
        result = _sparse_moments(X, weight, columns or Columns(X, weight, 1, keep=True))
    else:
        sums = MomentSums(samples.n_rows, samples.n_features)
        samples.add_to(sums)
        result = sums.moments()
    bad = ~np.isfinite(result.spread)
    if bad.any():
        samples.raise_if_non_finite()
        column_number = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"column {column_number} of X has a variance beyond float64; scale it down"
        )
    return result


class MomentSums:
    """The moments of each chunk of rows, by its differences to one of its rows."""

    def __init__(self, n_rows: int, n_features: int, leaf: int | None = None) -> None:
        self._n_rows, self._n_features, self._leaf = n_rows, n_features, leaf or 0
        chunks = n_chunks(n_rows) if leaf is None else chunks_of_leaf(n_rows)
        self._weights = np.zeros(chunks)
        self._sums = np.zeros((3, chunks, n_features))

    def add(self, first: int, part: Samples) -> None:
        first -= self._leaf * leaf_rows(self._n_rows)
        arrays = views.as_rows(part.X), views.as_column(part.weight)
        grid = part.n_rows, first, chunk_rows(self._n_rows)
        parallel = pays_to_share(part.n_rows, part.n_features)
        launch(column_moments, *arrays, *grid, self._weights, self._sums, parallel=parallel)

    def of_leaf(self, leaf: int) -> MomentSums:
        return MomentSums(self._n_rows, self._n_features, leaf)

    def take(self, leaf: int, sums: MomentSums) -> None:
        first = leaf * chunks_of_leaf(self._n_rows)
        own = slice(first, first + chunks_of_leaf(self._n_rows))  # the last leaf may have fewer
        count = len(self._weights[own])
        self._weights[own] = sums._weights[:count]
        self._sums[:, own] = sums._sums[:, :count]

    def moments(self) -> Moments:
        """Of all rows."""
        result = Moments(0.0, np.zeros(self._sums.shape[2]), np.zeros(self._sums.shape[2]))
        with np.errstate(over="ignore", invalid="ignore"):
            for total, (origin, first, second) in zip(
                self._weights, self._sums.swapaxes(0, 1), strict=True
            ):
                if total > 0:
                    shift = first / total
                    spread = np.maximum(second - shift * first, 0.0)
                    result = result.merged(Moments(float(total), origin + shift, spread))
        return result


def _sparse_moments(X: CSR, weight: Array, columns: Columns) -> Moments:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = sparse.moments(columns, weight)
        result = Moments(sum_of(weight), mean, spread)
        near = (spread <= _NEAR * result.weight * mean**2) & (mean != 0)
        return _settled(result, near, X, weight) if near.any() else result


def _settled(moments: Moments, near: Array, X: CSR, weight: Array) -> Moments:
    """The moments, those of the columns `near` (D,) anew, as far as they are full.

    They are taken about an entry of the column, so that one that is constant has no variance.
    """
    rows = np.flatnonzero(weight)
    X, weight = X[rows].canonical(), weight[rows]
    entries = near[X.indices]
    columns, x = X.indices[entries], X.data[entries].astype(np.float64)
    a, size = weight[X.row_numbers()[entries]], X.n_features
    full = near & (np.bincount(columns, minlength=size) == len(X))
    origin = np.full(size, np.inf)
    np.minimum.at(origin, columns, x)
    x -= origin[columns]
    shift = np.bincount(columns, a * x, size) / moments.weight
    spread = np.bincount(columns, a * (x - shift[columns]) ** 2, size)
    mean = np.where(full, origin + shift, moments.mean)
    return Moments(moments.weight, mean, np.where(full, spread, moments.spread))


class Scaling(NamedTuple):
    """u = (x - centre) * scale; both arrays are empty for features as they are.

    The scale of a constant feature is 0: its weight takes no steps, and is the same in both units.
    """

    centre: Array  # (D,) or (0,), float64
    scale: Array

    def like(self, X: Any) -> Scaling:
        """In the precision of X, for a kernel."""
        dtype = check.precision_of(X)
        return Scaling(self.centre.astype(dtype), self.scale.astype(dtype))

    def apply(self, X: Array, out: Array) -> None:
        """out = the scaled features of a few rows, in float64."""
        if self.centre.size:
            np.subtract(X, self.centre, out=out)
            out *= self.scale
        else:
            out[:] = X

    def on_load(self, dtype: np.dtype[Any]) -> bool:
        """Whether rows are centred and scaled as they are loaded, not in the weights."""
        if not self.centre.size:
            return False
        limits = np.finfo(dtype)
        low, high = float(limits.tiny) ** 0.25, float(limits.max) ** 0.25
        far = (np.abs(self.centre) * self.scale).max() > _FAR
        units = self.units
        return bool(far or units.min() < low or units.max() > high)

    @property
    def units(self) -> Array:
        """What a weight of a scaled feature is multiplied by."""
        return np.where(self.scale > 0, self.scale, 1.0)

    def to_original(self, V: Array, c: Array) -> tuple[Array, Array]:
        """(W, b) of weights and biases for the scaled features, in float64."""
        if not self.centre.size:
            return V.astype(np.float64), c.astype(np.float64)
        W = V.astype(np.float64) if (self.scale == 1).all() else self.units[:, None] * V
        return W, c - np.einsum("d,dk->k", self.centre, W)

    def to_scaled(self, W: Array, b: Array) -> tuple[Array, Array]:
        """(V, c), the inverse of `to_original`."""
        if not self.centre.size:
            return W.astype(np.float64), b.astype(np.float64)
        return W / self.units[:, None], b + np.einsum("d,dk->k", self.centre, W.astype(np.float64))


def no_scaling() -> Scaling:
    """Features as they are."""
    return Scaling(np.empty(0), np.empty(0))


def standardizes(standardize: Any, *, sparse: bool) -> bool:
    """Whether features are scaled to a variance of 1, checked; "auto": all but sparse ones.

    Scaled up, the rare words of a text would count as much as the others.
    """
    if isinstance(standardize, str):
        check.choice(standardize, "standardize", ("auto",))
        return not sparse
    return check.flag(standardize, "standardize")


def standard_scaling(moments: Moments, dtype: np.dtype[Any]) -> Scaling:
    """To mean 0 and variance 1; a constant column to 0.

    The values are rounded to `dtype`, X's precision, so that kernels and `to_original` agree.
    """
    with np.errstate(divide="ignore", over="ignore"):
        scale = 1 / np.sqrt(moments.spread / max(moments.weight, np.finfo(np.float64).tiny))
        scale, centre = (array.astype(dtype).astype(np.float64) for array in (scale, moments.mean))
    usable = np.isfinite(scale) & (scale > 0)
    return Scaling(centre, np.where(usable, scale, 0.0))


def raise_if_out_of_scale(moments: Moments, samples: Samples, dtype: np.dtype[Any]) -> None:
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
    if ((deviation >= low) & (deviation <= high)).all():
        return
    same = np.flatnonzero(deviation == 0)
    part = samples.take(spaced(samples.n_rows, _SAMPLE_ROWS))
    X = part.X[np.flatnonzero(part.weight)]
    if isinstance(X, CSR):
        tiny = np.intersect1d(X.indices[X.data != moments.mean[X.indices]], same)
    else:
        tiny = same[(X[:, same] != moments.mean[same]).any(axis=0)]
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
