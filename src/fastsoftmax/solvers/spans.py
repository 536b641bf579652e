"""Weights of sparse rows by coordinates: of the features, or in the span of the rows.

The gradient of the loss is U' R for the centred and scaled rows U (N, D), and that of the penalty a
multiple of the weights. So if a solution starts at V0, all its weights are U' A + a V0: the numbers
A (N, K) and a say them, and scalar products need only their logits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax.functional import sparse
from fastsoftmax.solvers.certificate import norm
from fastsoftmax.solvers.objective import Objective, Point

Array = npt.NDArray[Any]

# Steps are found in float32, unless features have sizes whose products it cannot hold, or means far
# larger than their spread: centring would cost most of its digits.
_SIZES = 1e-6, 1e6
_FAR = 10.0


class Vector(NamedTuple):
    """Weights, or a change of theirs, with biases."""

    x: Array  # coordinates, (D, K) or (N, K)
    z: Array  # the weights' logits (N, K)
    b: Array  # (K,), in units of `bias_unit`
    of_start: float  # a

    def plus(self, a: float, other: Vector) -> Vector:
        """This + a * other."""
        f = self.x.dtype.type(a)
        return Vector(
            self.x + f * other.x,
            self.z + f * other.z,
            self.b + f * other.b,
            self.of_start + a * other.of_start,
        )


class _Span:
    """What both have in common: products with the rows U."""

    def __init__(self, objective: Objective) -> None:
        assert objective.columns is not None
        self._objective, self._columns = objective, objective.columns
        self._centre, self._scale = objective.scaling
        self._is_plain = bool((self._scale == 1).all())
        # Biases bend as all weights do together, which the direction of most of it comes near to:
        # in these units they bend like weights along it.
        size = max(min(objective.samples.X.shape), 1)
        spread = float(np.square(objective.spans).sum()) / np.sqrt(size)
        self.bias_unit = np.sqrt(spread) or 1.0
        if not objective.intercept:
            self.bias_unit = 0.0
        size = norm(objective.spans)
        far = norm(self._centre * self._scale) > _FAR * size
        narrow = _SIZES[0] < size < _SIZES[1] and not far
        self.dtype = np.dtype(np.float32 if narrow else np.float64)

    def logits(self, V: Array) -> Array:
        """U V (N, K), in V's type."""
        W = V if self._is_plain else V * self._scale.astype(V.dtype)[:, None]
        b = -np.einsum("d,dk->k", self._centre.astype(V.dtype), W)
        return sparse.logits(self._columns, self._objective.samples.weight, W, b)

    def to_features(self, R: Array) -> Array:
        """U' R (D, K), in R's type."""
        G = sparse.product(self._columns, R, centre=self._centre)
        if not self._is_plain:
            G *= self._scale.astype(R.dtype)[:, None]
        return G

    def gradient(self, parameters: Array, R: Array) -> Array:
        """That of the objective (K, D + 1), of the residuals at the parameters."""
        objective = self._objective
        n = objective.n_features
        objective.count_halves(1)
        gradient = np.empty(objective.shape, order="F")
        V, G = parameters[:, :n].T, gradient[:, :n].T
        if self._is_plain:
            sparse.product(self._columns, R, centre=self._centre, l2=objective.l2, W=V, out=G)
        else:
            G[:] = self.to_features(R)
            G += objective.l2 * V
        if objective.intercept:
            gradient[:, n] = R.sum(axis=0)
        return gradient

    def _weights_down(self, point: Point) -> Array:
        """The negative gradient of the weights (D, K) at a point."""
        down = point.gradient[:, : self._objective.n_features].T.astype(self.dtype)
        return np.negative(down, out=down)

    def _biases_down(self, R: Array) -> Array:
        return np.asarray(-self.bias_unit * R.sum(axis=0)).astype(self.dtype)


class FeatureSpan(_Span):
    """Coordinates are the weights."""

    def start(self) -> Vector:
        """Where a solution begins."""
        return _nothing(self._objective)

    def sum(self, weights: Vector, a: float, step: Vector) -> Vector:
        """weights + a * step, of which nothing need be known here."""
        return weights

    def downhill(self, point: Point, weights: Vector, R: Array) -> Vector:
        """The negative gradient at a point with residuals R."""
        x = self._weights_down(point)
        return Vector(x, self.logits(x), self._biases_down(R), 0.0)

    def lifted(self, U: Array) -> Vector:
        """U' U for rows (N, K): as weights, with their logits."""
        x = self.to_features(U)
        return Vector(x, self.logits(x), np.zeros(U.shape[1], U.dtype), 0.0)

    def dot(self, u: Vector, v: Vector) -> float:
        return _sum(u.x, v.x) + _sum(u.b, v.b)

    def weights(self, vector: Vector) -> Array:
        """(D, K)."""
        return vector.x


class RowSpan(_Span):
    """Coordinates are those of the rows; for features that are not scaled."""

    def __init__(self, objective: Objective, start: Array) -> None:
        super().__init__(objective)
        self._start = start.copy()
        nothing = not start.any()
        n_rows, n_classes = len(objective.samples.X), objective.n_classes
        self._z = np.zeros((n_rows, n_classes), self.dtype)
        if not nothing:
            self._z = self.logits(self._start).astype(self.dtype)
        self._square = float(np.einsum("dk,dk->", start, start))
        m = self._centre.astype(self.dtype)
        weight = objective.samples.weight
        self._h = sparse.logits(self._columns, weight, m[:, None], np.zeros(1, self.dtype))  # X m
        self._mm = m.dtype.type(_sum(m, m))

    def start(self) -> Vector:
        return _nothing(self._objective)._replace(of_start=1.0)

    def sum(self, weights: Vector, a: float, step: Vector) -> Vector:
        total = weights.of_start + a * step.of_start
        return weights._replace(x=weights.x + a * step.x, of_start=total)

    def downhill(self, point: Point, weights: Vector, R: Array) -> Vector:
        l2 = self._objective.l2
        x = -(R + l2 * weights.x).astype(self.dtype)
        return Vector(
            x, self.logits(self._weights_down(point)), self._biases_down(R), -l2 * weights.of_start
        )

    def lifted(self, U: Array) -> Vector:
        n_classes = U.shape[1]
        weight, no_biases = self._objective.samples.weight, np.zeros(n_classes, U.dtype)
        Z = sparse.logits(self._columns, weight, sparse.product(self._columns, U), no_biases)
        sums = U.sum(axis=0, dtype=np.float64).astype(self.dtype)
        Z -= self._h * sums
        Z -= np.einsum("n,nk->k", self._h[:, 0], U) - self._mm * sums
        return Vector(U, Z, no_biases, 0.0)

    def dot(self, u: Vector, v: Vector) -> float:
        along = _sum(self._z, v.x) + v.of_start * self._square if u.of_start else 0.0
        return _sum(u.x, v.z) + u.of_start * along + _sum(u.b, v.b)

    def weights(self, vector: Vector) -> Array:
        V = self.to_features(np.ascontiguousarray(vector.x))
        return V + vector.of_start * self._start if vector.of_start else V


def _nothing(objective: Objective) -> Vector:
    shape = len(objective.samples.X), objective.n_classes
    return Vector(np.zeros(shape), np.empty(0), np.zeros(objective.n_classes), 0.0)


def _sum(u: Array, v: Array) -> float:
    """The sum of products; not NumPy's `@`, whose BLAS may hang in a forked child."""
    return float(np.einsum("i,i->", u.ravel(), v.ravel(), dtype=np.float64))
