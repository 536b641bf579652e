"""Newton's steps on sparse rows, each found by conjugate gradients.

A matrix of many features could not be held, and the vectors of L-BFGS would cost more than its
passes. A product with the Hessian is one pass, without exponentials and in float32: a step need not
be exact, only what it leads to is. Where features are more than rows, all vectors lie in the rows'
span and are held by their coordinates there, N x K numbers instead of D x K: see `spans`.
Every point gets the best biases for its weights, which cost no pass once its logits are known.

Nocedal and Wright 2006, section 7.1 (Newton's method with conjugate gradients).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax.functional import softmax
from fastsoftmax.solvers.arrays import combine, dot, residuals
from fastsoftmax.solvers.certificate import inverse_of_biases
from fastsoftmax.solvers.objective import Objective, Point
from fastsoftmax.solvers.spans import FeatureSpan, RowSpan, Vector

Array = npt.NDArray[Any]

# Products for a step, at most, and the share of the gradient's norm that a step may leave.
_MOST_PRODUCTS = 200
_FORCING = 0.1
_EXACT = 1e-2

# A step must lower the objective by this share of what the slope promises, or is halved.
_DECREASE = 1e-4
_HALVINGS = 20

# Newton's steps on the biases, at most, and how far their gradient is to fall, in shares of what
# each class has in the targets: where a proof is not to be expected, and where it is, in shares of
# the tolerance too. That is so once the promised gap is within so many tolerances.
_BIAS_STEPS = 10
_ROUGH = 1e-3
_LEFT_OVER = 1e-6
_NEAR = 1000.0

# The Hessian of the biases is made anew where a step leaves more than this of their gradient, or
# that is more than so much of what each class has: it could lead astray.
_SLOW = 0.02
_FAR = 0.1


class _Fit(NamedTuple):
    """Logits and what they say."""

    Z: Array  # (N, K), float64, but for the biases
    biases: Array  # (K,)
    loss: float
    R: Array  # (N, K), the gradient of the mean loss
    sums: Array  # (K,), of R

    def probabilities(self, dtype: Any) -> Array:
        return _probabilities(self.Z, self.biases, dtype)


class NewtonCG:
    """Steps from one point to the next, for `Solve`, as `LBFGS` is."""

    def __init__(self, objective: Objective, tol: float) -> None:
        self._objective = objective
        self._tol = tol
        self._span: RowSpan | FeatureSpan | None = None
        self._at: tuple[Point, Vector, _Fit] | None = None  # the last point, in the span
        self._inverse: Array | None = None  # of the Hessian of the biases, at some point
        self.count = 0

    def at(self, parameters: Array) -> Point:
        """Where to begin: these weights, with their best biases."""
        objective = self._objective
        n = objective.n_features
        V = parameters[:, :n].T
        wide = n > len(objective.samples.X)
        plain = bool((objective.scaling.scale == 1).all())
        span = self._span = RowSpan(objective, V) if wide and plain else FeatureSpan(objective)
        if V.any():
            Z, biases = span.logits(V), self._biases(parameters)
            objective.count_halves(1)
        else:
            Z = np.zeros((len(objective.samples.X), objective.n_classes))
            biases = self._biases_alone()
        fit = self._fit(Z, biases)
        point = self._point(parameters.copy(order="F"), fit)
        self._at = point, span.start(), fit
        return point

    def forget(self) -> None:
        """Nothing is remembered that could mislead."""
        self.count = 0

    def step(self, point: Point, dtype: Any) -> Point | None:
        """The next point; None where rounding hides any decrease."""
        weights, fit = self._located(point)
        step = self._solved(point, weights, fit)
        direction = self._as_parameters(step)
        slope = dot(direction.T, point.gradient.T)
        if not slope < 0:
            return None
        new = self._search(point, weights, fit, step, direction, slope)
        self.count += new is not None
        return new

    def cheap_direction(self, point: Point) -> Array:
        """Down the gradient, over a bound of how the objective bends."""
        objective = self._objective
        bend = 0.5 * (np.square(objective.spans).sum() + 1) * objective.target_shares.sum()
        return np.asarray(-point.gradient / (bend + objective.l2))

    def direction(self, point: Point) -> Array:
        """Newton's step, more exactly: its length is to tell something."""
        return self._as_parameters(self._solved(point, *self._located(point), forcing=_EXACT))

    def _located(self, point: Point) -> tuple[Vector, _Fit]:
        """A point's weights in the span, and its logits."""
        assert self._at is not None
        known, weights, fit = self._at
        if known is not point:  # its biases may have changed, its weights have not
            biases = self._biases(point.parameters)
            fit = self._fit(fit.Z, biases, steps=1)
            self._at = point, weights, fit
        return weights, fit

    def _biases(self, parameters: Array) -> Array:
        objective = self._objective
        if not objective.intercept:
            return np.zeros(objective.n_classes)
        biases: Array = parameters[:, -1]
        return biases

    def _biases_alone(self) -> Array:
        """The best ones where all weights are zero."""
        objective = self._objective
        if not objective.intercept:
            return np.zeros(objective.n_classes)
        with np.errstate(divide="ignore"):
            b = np.log(objective.target_shares)
        return b - b.mean() if np.isfinite(b).all() else np.zeros(objective.n_classes)

    def _fit(self, Z: Array, biases: Array, *, steps: int = _BIAS_STEPS, near: bool = True) -> _Fit:
        """Of logits without biases, and biases, the best ones after some steps."""
        objective, shares = self._objective, np.maximum(self._objective.target_shares, 0)
        enough = shares * (_LEFT_OVER * self._tol if near else _ROUGH)
        known, before, last = self._inverse, np.inf, biases
        R = np.empty_like(Z)
        for left in reversed(range(steps if objective.intercept else 1)):
            loss, sums = residuals(objective.samples, objective.label_smoothing, Z, biases, R)
            size = np.abs(sums)
            if not left or (size <= enough).all():
                break
            if self._inverse is known and size.max() > before:
                biases, self._inverse = last, None  # which was that of another point
                continue
            slow = size.max() > _SLOW * before or (size > _FAR * shares).any()
            if slow or self._inverse is None:
                P = _probabilities(Z, biases, objective.narrow)
                self._inverse = inverse_of_biases(objective.products_of_biases(P))
            before, last = size.max(), biases
            step = np.einsum("k,kl->l", sums, self._inverse)
            biases = biases - (step - step.mean())
        return _Fit(Z, biases, loss, R, sums)

    def _solved(
        self, point: Point, weights: Vector, fit: _Fit, forcing: float = _FORCING
    ) -> Vector:
        """About where the objective's second-order model at a point has its minimum."""
        span, objective = self._span, self._objective
        assert span is not None
        P = fit.probabilities(span.dtype)
        r = span.downhill(point, weights, fit.R)
        objective.count_halves(1)
        p, square = r.copy(), span.dot(r, r)
        enough = forcing**2 * square
        x, b, of_start = np.zeros_like(r.x), np.zeros_like(r.b), 0.0
        for _ in range(min(_MOST_PRODUCTS, 2 * point.parameters.size)):
            product = span.bent(P, p)
            objective.count_halves(2)
            bend = span.dot(p, product)
            if not bend > 0:
                break
            s = square / bend
            combine(s, p.x, 1.0, x)
            b += b.dtype.type(s) * p.b
            of_start += s * p.of_start
            r = product.combined(-s, 1.0, r)
            before, square = square, span.dot(r, r)
            if square <= enough:
                break
            p = r.combined(1.0, square / before, p)
        return Vector(x, r.z, b, of_start)

    def _as_parameters(self, step: Vector) -> Array:
        """(K, D + 1)."""
        objective, span = self._objective, self._span
        assert span is not None
        objective.count_halves(1)
        direction = np.empty(objective.shape, order="F")
        direction[:, : objective.n_features] = span.weights(step).T
        if objective.intercept:
            direction[:, -1] = span.bias_unit * step.b
        return direction

    def _search(
        self,
        point: Point,
        weights: Vector,
        fit: _Fit,
        step: Vector,
        direction: Array,
        slope: float,
    ) -> Point | None:
        """The first of ever shorter steps that lowers the objective enough."""
        objective, span = self._objective, self._span
        assert span is not None
        n = objective.n_features
        change = span.logits(direction[:, :n].T)
        objective.count_halves(1)
        of_biases = direction[:, -1] if objective.intercept else np.zeros(len(direction))
        noise = 4 * float(np.finfo(np.float64).eps) * abs(point.objective)
        near, a = self._is_near(point), 1.0
        for _ in range(_HALVINGS):
            parameters, Z = a * direction, a * change
            parameters += point.parameters
            Z += fit.Z
            new = self._fit(Z, fit.biases + a * of_biases, near=near)
            value = new.loss + objective.penalty(parameters)
            if value <= point.objective + _DECREASE * a * slope + noise:
                after = self._point(parameters, new)
                if not near and self._is_near(after, 1.0):
                    new = self._fit(Z, new.biases)
                    after = self._point(parameters, new)
                self._at = after, span.sum(weights, a, step), new
                return after
            a /= 2
        return None

    def _point(self, parameters: Array, fit: _Fit) -> Point:
        """The point with a fit's biases, which are written to the parameters."""
        objective, span = self._objective, self._span
        assert span is not None
        if objective.intercept:
            parameters[:, -1] = fit.biases
        value = fit.loss + objective.penalty(parameters)
        return Point(parameters, fit.loss, value, span.gradient(parameters, fit.R, fit.sums))

    def _is_near(self, point: Point, tolerances: float = _NEAR) -> bool:
        """Whether the gap that the gradient promises, if it can, is within some tolerances."""
        l2, g = self._objective.l2, point.gradient[:, : self._objective.n_features].T
        return not l2 or dot(g, g) <= tolerances * self._tol * 2 * l2 * point.objective


def _probabilities(Z: Array, biases: Array, dtype: Any) -> Array:
    logits = np.empty(Z.shape, dtype)
    np.add(Z, biases, out=logits, casting="same_kind")
    return softmax(logits)
