"""Limited-memory BFGS with a first matrix of one's own, and its line search.

Nocedal and Wright 2006, sections 7.2 (the two loops) and 3.5 (interpolation).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.solvers.factors import Factors
from fastsoftmax.solvers.objective import Objective, Point

Array = npt.NDArray[Any]

# Pairs of steps and changes of the gradient that are remembered, and numbers they may take.
_PAIRS = 20
_FEWEST_PAIRS = 5
_MOST_NUMBERS = 2**26

# A step must lower the objective by this share of what the slope promises, and the slope to this.
_DECREASE = 1e-4
_SLOPE = 0.9
_MAX_TRIALS = 20


class LBFGS:
    """Steps of L-BFGS from one point to the next."""

    def __init__(self, objective: Objective, factors: Factors) -> None:
        self._objective, self.factors = objective, factors
        n = int(np.prod(objective.shape))
        pairs = min(max(_MOST_NUMBERS // (2 * n), _FEWEST_PAIRS), _PAIRS)
        self._S, self._Y = np.zeros((2, pairs, n))
        self._curvature = np.zeros(pairs)  # s'y
        self.count = 0

    def go_on_from(self, last: LBFGS) -> None:
        """Take over the pairs of another penalty's steps, as this penalty would have had them."""
        self._S, self._Y, self.count = last._S, last._Y, last.count
        change = self._objective.l2 - last._objective.l2
        shape = -1, *self._objective.shape
        weights = slice(self._objective.n_features)
        S, Y = self._S.reshape(shape), self._Y.reshape(shape)
        Y[:, :, weights] += change * S[:, :, weights]
        self._curvature = np.einsum("in,in->i", self._S, self._Y)
        if not (self._curvature[: self.count] > 0).all():
            self.forget()  # rounding: a weaker penalty left nothing of one

    def forget(self) -> None:
        """Drop the pairs: they were measured otherwise."""
        self.count = 0

    def step(self, point: Point, dtype: Any) -> Point | None:
        """The next point; None where rounding hides any decrease."""
        if self.factors.renewed(point.parameters, dtype):
            self.forget()
        direction = self.direction(point)
        slope = _dot(direction, point.gradient)
        if not slope < 0:
            return None
        new = search(self._objective, point, direction, slope, dtype)
        if new is not None:
            self._remember(new.parameters - point.parameters, new.gradient - point.gradient)
        return new

    def cheap_direction(self, point: Point) -> Array:
        """The step by the first matrix alone."""
        return np.asarray(-self.factors.now.times(point.gradient[None])[0])

    def direction(self, point: Point) -> Array:
        """The quasi-Newton step."""
        gradient = point.gradient
        q = gradient.ravel().copy()
        newest = [(self.count - 1 - i) % len(self._S) for i in range(min(self.count, len(self._S)))]
        shares = np.empty(len(newest))
        for at, i in enumerate(newest):
            shares[at] = _dot(self._S[i], q) / self._curvature[i]
            q -= shares[at] * self._Y[i]
        scale = 1.0
        if newest:
            last = newest[0]
            both = np.stack([q, self._Y[last]]).reshape(2, *gradient.shape)
            d, y = self.factors.now.times(both)
            scale = self._curvature[last] / _dot(self._Y[last], y.ravel())
        else:
            d = self.factors.now.times(q.reshape(1, *gradient.shape))[0]
        d = scale * d.ravel()
        for at, i in reversed(list(enumerate(newest))):
            d += (shares[at] - _dot(self._Y[i], d) / self._curvature[i]) * self._S[i]
        direction: Array = -d.reshape(gradient.shape)
        direction -= direction.mean(axis=0)  # no step has a part that all classes share
        return direction

    def _remember(self, s: Array, y: Array) -> None:
        curvature = _dot(s, y)
        if curvature > 1e-14 * abs(_dot(y, y)) ** 0.5 * abs(_dot(s, s)) ** 0.5:
            i = self.count % len(self._S)
            self._S[i], self._Y[i], self._curvature[i] = s.ravel(), y.ravel(), curvature
            self.count += 1


def search(
    objective: Objective, point: Point, direction: Array, slope: float, dtype: Any
) -> Point | None:
    """A point along the direction that lowers objective and slope enough."""
    noise = 4 * float(np.finfo(dtype).eps) * abs(point.objective)
    low, high, a = 0.0, np.inf, 1.0
    best = None
    for _ in range(_MAX_TRIALS):
        new = objective.at(point.parameters + a * direction, dtype)
        end = _dot(direction, new.gradient) if new.is_finite else np.inf
        falls = new.is_finite and new.objective <= point.objective + _DECREASE * a * slope
        level = new.is_finite and new.objective <= point.objective + noise
        if falls and end >= _SLOPE * slope:
            return new
        if level and abs(end) <= _SLOPE * abs(slope):
            return new  # rounding hides the decrease, but not the slope
        if falls:
            best, low = new, a
        else:
            high = a
        guess = a * slope / (slope - end) if end > slope else 2 * a
        if not np.isfinite(high):
            a = min(max(guess, 1.5 * a), 4 * a)
        else:
            a = min(max(guess, low + 0.1 * (high - low)), low + 0.7 * (high - low))
    return best


def _dot(a: Array, b: Array) -> float:
    return float(np.einsum("i,i->", a.ravel(), b.ravel()))
