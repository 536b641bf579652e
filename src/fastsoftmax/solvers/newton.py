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

from fastsoftmax.functional import cross_entropy_and_gradient, softmax
from fastsoftmax.functional.sparse import curve
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

# Newton's steps on the biases, at most, and how far their gradient is to fall, in shares of the
# tolerance and of what each class has in the targets.
_BIAS_STEPS = 8
_LEFT_OVER = 1e-6


class _Fit(NamedTuple):
    """Logits and what they say."""

    Z: Array  # (N, K), float64
    biases: Array  # (K,)
    loss: float
    R: Array  # (N, K), the gradient of the mean loss


class NewtonCG:
    """Steps from one point to the next, for `Solve`, as `LBFGS` is."""

    def __init__(self, objective: Objective, tol: float) -> None:
        self._objective = objective
        self._tol = tol
        self._span: RowSpan | FeatureSpan | None = None
        self._at: tuple[Point, Vector, _Fit] | None = None  # the last point, in the span
        self.count = 0

    def at(self, parameters: Array) -> Point:
        """Where to begin: these weights, with their best biases."""
        objective = self._objective
        n = objective.n_features
        V = parameters[:, :n].T
        wide = n > len(objective.samples.X)
        plain = bool((objective.scaling.scale == 1).all())
        span = self._span = RowSpan(objective, V) if wide and plain else FeatureSpan(objective)
        Z = np.zeros((len(objective.samples.X), objective.n_classes))
        if V.any():
            Z = span.logits(V)
            objective.count_halves(1)
        fit = self._fit(Z, self._biases(parameters))
        parameters = parameters.copy(order="F")
        if objective.intercept:
            parameters[:, -1] = fit.biases
        value = fit.loss + objective.penalty(parameters)
        point = Point(parameters, fit.loss, value, span.gradient(parameters, fit.R))
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
        slope = float(np.einsum("dk,dk->", direction.T, point.gradient.T))
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
            fit = self._fit(fit.Z - fit.biases, biases, polish=False)
            self._at = point, weights, fit
        return weights, fit

    def _biases(self, parameters: Array) -> Array:
        objective = self._objective
        if not objective.intercept:
            return np.zeros(objective.n_classes)
        biases: Array = parameters[:, -1]
        return biases

    def _fit(self, Z: Array, biases: Array, *, polish: bool = True) -> _Fit:
        """Of logits without biases, and biases, the best ones with `polish`."""
        objective = self._objective
        samples, shares = objective.samples, objective.target_shares
        for _ in range(_BIAS_STEPS):
            logits = Z + biases
            loss, R = cross_entropy_and_gradient(
                logits,
                samples.targets,
                sample_weight=samples.weight,
                label_smoothing=objective.label_smoothing,
            )
            g = R.sum(axis=0)
            enough = np.abs(g) <= _LEFT_OVER * self._tol * np.maximum(shares, 0)
            if not (polish and objective.intercept) or enough.all():
                break
            inverse = inverse_of_biases(objective.products_of_biases(softmax(logits)))
            step = np.einsum("k,kl->l", g, inverse)
            biases = biases - (step - step.mean())
        return _Fit(logits, biases, float(loss), R)

    def _solved(
        self, point: Point, weights: Vector, fit: _Fit, forcing: float = _FORCING
    ) -> Vector:
        """About where the objective's second-order model at a point has its minimum."""
        span, objective = self._span, self._objective
        assert span is not None
        dtype = span.dtype
        P = softmax(fit.Z.astype(dtype))
        a = objective.weights_of_rows().astype(dtype)
        l2, unit = dtype.type(objective.l2), dtype.type(span.bias_unit)

        def times(p: Vector) -> Vector:
            Z = p.z.copy()
            curve(P, a, unit * p.b, Z)
            product = span.lifted(Z)
            b = unit * Z.sum(axis=0, dtype=np.float64).astype(dtype)
            objective.count_halves(2)
            return Vector(
                product.x + l2 * p.x, product.z + l2 * p.z, b, float(objective.l2) * p.of_start
            )

        r = span.downhill(point, weights, fit.R)
        objective.count_halves(1)
        p, square = r, span.dot(r, r)
        enough = forcing**2 * square
        x, b, of_start = np.zeros_like(r.x), np.zeros_like(r.b), 0.0
        for _ in range(min(_MOST_PRODUCTS, 2 * point.parameters.size)):
            product = times(p)
            bend = span.dot(p, product)
            if not bend > 0:
                break
            s = square / bend
            x += dtype.type(s) * p.x
            b += dtype.type(s) * p.b
            of_start += s * p.of_start
            r = r.plus(-s, product)
            before, square = square, span.dot(r, r)
            if square <= enough:
                break
            p = r.plus(square / before, p)
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
        a = 1.0
        for _ in range(_HALVINGS):
            parameters = point.parameters + a * direction
            new = self._fit(fit.Z - fit.biases + a * change, fit.biases + a * of_biases)
            value = new.loss + objective.penalty(parameters)
            if value <= point.objective + _DECREASE * a * slope + noise:
                if objective.intercept:
                    parameters[:, -1] = new.biases
                gradient = span.gradient(parameters, new.R)
                after = Point(parameters, new.loss, value, gradient)
                self._at = after, span.sum(weights, a, step), new
                return after
            a /= 2
        return None
