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
from fastsoftmax.once import once
from fastsoftmax.solvers.arrays import combine, curve, dot
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

    def copy(self) -> Vector:
        return Vector(self.x.copy(), self.z.copy(), self.b.copy(), self.of_start)

    def combined(self, a: float, c: float, other: Vector) -> Vector:
        """a * this + c * other, whose arrays it takes."""
        combine(a, self.x, c, other.x)
        combine(a, self.z, c, other.z)
        b = self.b.dtype.type(a) * self.b + other.b.dtype.type(c) * other.b
        return Vector(other.x, other.z, b, a * self.of_start + c * other.of_start)


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
        m = self._centre.astype(self.dtype)
        self._mm = m.dtype.type(dot(m, m))
        self._weight = objective.weights_of_rows().astype(self.dtype)
        self._h = np.zeros(len(objective.samples.X), self.dtype)  # X m
        if self._is_plain:
            b, weight = np.zeros(1, self.dtype), objective.samples.weight
            self._h = sparse.logits(self._columns, weight, m[:, None], b)[:, 0]

    def _coordinates(self, of_rows: Array, of_features: Array) -> Array:
        """Those of U' R, of the rows R (N, K) or of itself (D, K)."""
        raise NotImplementedError

    def logits(self, V: Array, out: Array | None = None) -> Array:
        """U V (N, K), in V's type."""
        W = V if self._is_plain else V * self._scale.astype(V.dtype)[:, None]
        b = -np.einsum("d,dk->k", self._centre.astype(V.dtype), W)
        return sparse.logits(self._columns, self._objective.samples.weight, W, b, out)

    def to_features(self, R: Array) -> Array:
        """U' R (D, K), in R's type."""
        G = sparse.product(self._columns, R, centre=self._centre)
        if not self._is_plain:
            G *= self._scale.astype(R.dtype)[:, None]
        return G

    def bent(self, P: Array, p: Vector) -> Vector:
        """The Hessian of the objective at probabilities P (N, K) times p, until the next call."""
        objective, unit = self._objective, self.dtype.type(self.bias_unit)
        U, Z, G = self._scratch
        sums, of_h = curve(P, self._weight, self._h, unit * p.b, p.z, U)
        shift = sums.astype(self.dtype)
        sparse.product(self._columns, U, centre=self._centre, shift=shift, out=G)
        if self._is_plain:
            b = (self._mm * sums - of_h).astype(self.dtype)
            sparse.logits(self._columns, objective.samples.weight, G, b, out=Z)
        else:
            G *= self._scale.astype(self.dtype)[:, None]
            self.logits(G, out=Z)
        product = Vector(self._coordinates(U, G), Z, unit * shift, 0.0)
        return p.combined(objective.l2, 1.0, product)._replace(b=product.b)

    @once
    def _scratch(self) -> tuple[Array, Array, Array]:
        """Room for N x K, N x K and D x K numbers."""
        n_classes = self._objective.n_classes
        n_rows, n_features = self._objective.samples.X.shape
        U, Z = np.empty((2, n_rows, n_classes), self.dtype)
        return U, Z, np.empty((n_features, n_classes), self.dtype)

    def gradient(self, parameters: Array, R: Array, sums: Array) -> Array:
        """That of the objective (K, D + 1), of the residuals and their sums at the parameters."""
        objective = self._objective
        n = objective.n_features
        objective.count_halves(1)
        gradient = np.empty(objective.shape, order="F")
        V, G = parameters[:, :n].T, gradient[:, :n].T
        if self._is_plain:
            centre = {"centre": self._centre, "shift": sums}
            sparse.product(self._columns, R, **centre, l2=objective.l2, W=V, out=G)
        else:
            G[:] = self.to_features(R)
            G += objective.l2 * V
        if objective.intercept:
            gradient[:, n] = sums
        return gradient

    def _down(self, point: Point) -> tuple[Array, Array]:
        """The negative gradient at a point: of the weights (D, K), and of the biases."""
        n = self._objective.n_features
        weights = point.gradient[:, :n].T.astype(self.dtype)
        biases = np.zeros(weights.shape[1], self.dtype)
        if self._objective.intercept:
            biases -= self.bias_unit * point.gradient[:, n]
        return np.negative(weights, out=weights), biases


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
        x, b = self._down(point)
        return Vector(x, self.logits(x), b, 0.0)

    def _coordinates(self, of_rows: Array, of_features: Array) -> Array:
        return of_features

    def dot(self, u: Vector, v: Vector) -> float:
        return dot(u.x, v.x) + dot(u.b, v.b)

    def weights(self, vector: Vector) -> Array:
        """(D, K)."""
        return vector.x


class RowSpan(_Span):
    """Coordinates are those of the rows; for features that are not scaled."""

    def __init__(self, objective: Objective, start: Array) -> None:
        super().__init__(objective)
        self._start, self._z = start, np.empty(0)
        self._has_start = bool(start.any())
        if self._has_start:
            self._z = self.logits(start).astype(self.dtype)
            self._square = dot(start, start)

    def start(self) -> Vector:
        return _nothing(self._objective)._replace(of_start=float(self._has_start))

    def sum(self, weights: Vector, a: float, step: Vector) -> Vector:
        """weights + a * step, in the arrays of the weights."""
        weights.x[:] += step.x.dtype.type(a) * step.x
        return weights._replace(of_start=weights.of_start + a * step.of_start)

    def downhill(self, point: Point, weights: Vector, R: Array) -> Vector:
        l2 = self._objective.l2
        x = -l2 * weights.x
        x -= R
        down, b = self._down(point)
        return Vector(x.astype(self.dtype), self.logits(down), b, -l2 * weights.of_start)

    def _coordinates(self, of_rows: Array, of_features: Array) -> Array:
        return of_rows

    def dot(self, u: Vector, v: Vector) -> float:
        along = dot(self._z, v.x) + v.of_start * self._square if u.of_start else 0.0
        return dot(u.x, v.z) + u.of_start * along + dot(u.b, v.b)

    def weights(self, vector: Vector) -> Array:
        V = self.to_features(vector.x)
        return V + vector.of_start * self._start if vector.of_start else V


def _nothing(objective: Objective) -> Vector:
    shape = len(objective.samples.X), objective.n_classes
    return Vector(np.zeros(shape), np.empty(0), np.zeros(objective.n_classes), 0.0)
