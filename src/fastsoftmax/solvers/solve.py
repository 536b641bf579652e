"""From a start to the optimum of an `Objective`: steps, certificates, and what ends them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.model import SoftmaxModel
from fastsoftmax.solvers.certificate import (
    lower_bound,
    noise_of_gradient,
    norm,
    with_best_biases,
)
from fastsoftmax.solvers.lbfgs import LBFGS
from fastsoftmax.solvers.newton import NewtonCG
from fastsoftmax.solvers.objective import Objective, Point
from fastsoftmax.solvers.result import FitProgress, FitResult, relative_gap
from fastsoftmax.training.result import History

Array = npt.NDArray[Any]

# A certificate that falls short is tried again once the gradient promises this share of its gap.
_AGAIN = 0.3
_ALWAYS = 1e-3  # of the tolerance: then the biases are what is short

# Without a penalty: steps up to so long (in logits) are those at an optimum; longer ones that fall
# by less than this share of what any row adds to the loss are those of separable rows. And so many
# steps must L-BFGS have taken before it is trusted for Newton's.
_LONG_STEP = 0.1
_DECIDED = 1e-5
_FEWEST_STEPS = 10

# Gradients of up to so many times what is expected of rounding are taken for it.
_NOISE = 8.0

# So many steps in a row that lower neither the objective, by so many roundings of it, nor to half
# the gap that is promised, are none.
_IDLE_STEPS = 10
_NO_FALL = 4.0


@dataclass
class Limits:
    """When to stop."""

    tol: float
    max_passes: float = math.inf
    time_limit: float = math.inf
    callback: Callable[[FitProgress], Any] | None = None
    progress: Callable[[int, float, float], None] | None = None


class Stall:
    """Notes when steps no longer lead anywhere: rounding lets them wander."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._least_fall = _NO_FALL * float(np.finfo(dtype).eps)
        self._objective, self._promised = math.inf, math.inf
        self._idle = 0

    def with_step(self, objective: float, promised: float) -> bool:
        """Whether that is over with a step, by its objective and the gap promised before it."""
        lower = objective < self._objective - self._least_fall * abs(self._objective)
        if lower or promised < 0.5 * self._promised or math.isinf(self._objective):
            self._idle = 0
        else:
            self._idle += 1
        self._objective = min(self._objective, objective)
        self._promised = min(self._promised, promised)
        return self.over

    @property
    def over(self) -> bool:
        return self._idle >= _IDLE_STEPS


@dataclass
class Solve:
    """A solution under way; `run` takes the steps, `result` is right whenever a signal comes."""

    objective: Objective
    steps: LBFGS | NewtonCG
    start: Array  # parameters
    dtype: np.dtype[Any]  # of the steps, and of the model
    limits: Limits
    make_model: Callable[[Array, Array], SoftmaxModel]  # from W, b in the units of X
    guess: Array | None = None  # where to start from instead, if its objective is below
    at_start: float = math.nan  # that of the start
    history: History = field(init=False)
    stopped: str = field(init=False, default="")
    _point: Point | None = field(init=False, default=None)  # where we are
    _value: float = field(init=False, default=math.nan)  # the objective of the finished model
    _bound: float = field(init=False, default=-math.inf)
    _proved: Point | None = field(init=False, default=None)  # whose bound is known
    _dtype: np.dtype[Any] = field(init=False)  # of the passes: may become float64

    def __post_init__(self) -> None:
        self.history = {"objective": [], "gap": [], "passes": [], "seconds": []}
        self._started = time.perf_counter()

    def run(self) -> FitResult:
        """All steps, until the gap or a limit ends them."""
        steps, point = self.steps, self._begin()
        aim, stall = self.limits.tol, Stall(self._dtype)
        while not self.stopped:
            promised = self._promised_gap(point, steps)
            if promised <= aim:
                before = self._dtype
                point = self._judged(point, steps)
                if self._dtype != before:
                    stall = Stall(self._dtype)
                aim = max(_AGAIN * promised, _ALWAYS * self.limits.tol)
            self.stopped = self.stopped or self._limit()
            if self.stopped:
                break
            if self._is_noise(point):
                steps.forget()
                point, stall = self._in_float64(point), Stall(np.dtype(np.float64))
            new = steps.step(point, self._dtype)
            if new is not None and not stall.with_step(new.objective, promised):
                point = self._recorded(new)
            elif self._dtype != np.float64:
                steps.forget()
                point, stall = self._in_float64(point), Stall(np.dtype(np.float64))
            elif steps.count and not stall.over:
                steps.forget()
            else:
                self.stopped = "rounding"
        return self._finished(point)

    def _begin(self) -> Point:
        objective = self.objective
        self._dtype = self.dtype
        if objective.columns is not None or objective.scaling.on_load(self.dtype):
            # far means cost narrower numbers their digits; of few passes each should be exact
            self._dtype = np.dtype(np.float64)
        if self.guess is not None:
            point = self._at(self.guess)
            if point.objective < self.at_start:
                self._point = point
                return point
        point = self._at(self.start)
        if not point.is_finite:
            objective.raise_overflow(self.start, self._dtype)
        self._point = point
        return point

    def _at(self, parameters: Array) -> Point:
        """Where steps may begin."""
        if isinstance(self.steps, NewtonCG):
            return self.steps.at(parameters)
        return self.objective.at(parameters, self._dtype)

    def _limit(self) -> str:
        """Which limit is reached, if any."""
        if self.objective.n_passes >= self.limits.max_passes:
            return "max_passes"
        if time.perf_counter() - self._started >= self.limits.time_limit:
            return "time_limit"
        return ""

    def _recorded(self, point: Point) -> Point:
        """The point, which is where we are from now on."""
        self._point = point
        step = len(self.history["seconds"])
        gap = relative_gap(point.objective, self._bound) if self._bound > -math.inf else math.nan
        seconds = time.perf_counter() - self._started
        values = point.objective, gap, self.objective.n_passes, seconds
        for key, value in zip(self.history, values, strict=True):
            self.history[key].append(value)
        if self.limits.progress is not None:
            self.limits.progress(step, point.objective, self._promised_gap(point, None))
        if self.limits.callback is not None:
            parameters = point.parameters
            if self.limits.callback(FitProgress(step, *values, lambda: self._model(parameters))):
                self.stopped = "callback"
        return point

    def _is_noise(self, point: Point) -> bool:
        """Whether rounding to less than float64 is most of the gradient."""
        if self._dtype == np.float64:
            return False
        noise = noise_of_gradient(self.objective, point, self._dtype)
        return norm(point.gradient) <= _NOISE * noise

    def _in_float64(self, point: Point) -> Point:
        """The point computed anew, as those to come will be."""
        if self._dtype == np.float64:
            return point
        self._dtype = np.dtype(np.float64)
        self._point = self.objective.at(point.parameters, np.float64)
        return self._point

    @property
    def has_begun(self) -> bool:
        """Whether the objective has been computed anywhere."""
        return self._point is not None

    @property
    def parameters(self) -> Array:
        """Where we are."""
        return self.start if self._point is None else self._point.parameters

    @property
    def loss(self) -> float:
        """The mean cross-entropy where we are."""
        return math.nan if self._point is None else self._point.loss

    # Proofs

    def _promised_gap(self, point: Point, steps: LBFGS | NewtonCG | None) -> float:
        """The gap at a point if its gradient were exact and its biases the best.

        Without a penalty, what the next step promises.
        """
        objective = self.objective
        if point.objective <= (0 if objective.l2 > 0 else self._next_to_nothing()):
            return 0.0
        if objective.l2 > 0:
            g = point.gradient[:, : objective.n_features]
            return float(np.einsum("kd,kd->", g, g)) / (2 * objective.l2) / point.objective
        if steps is None:
            direction = self.steps.cheap_direction(point)
        else:
            direction = steps.direction(point)
        fall = -0.5 * float(np.einsum("kd,kd->", direction, point.gradient))
        return fall / point.objective

    def _judged(self, point: Point, steps: LBFGS | NewtonCG) -> Point:
        """The point in float64, its biases the best; `stopped` says so if that is near enough."""
        objective, tol = self.objective, self.limits.tol
        point = self._in_float64(point)
        if objective.l2 == 0:
            self.stopped = self._without_penalty(point, steps)
            return point
        point, rounding = self._proved_at(point)
        if relative_gap(point.objective, self._bound) <= tol:
            self.stopped = "gap"
        elif rounding >= 0.5 * (point.objective - self._bound):
            self.stopped = "rounding"  # it hides whatever steps would gain
        return point

    def _proved_at(self, point: Point) -> tuple[Point, float]:
        """The point with the best biases, where we are now, and what rounding takes off its bound.

        `point` was computed in float64.
        """
        point = with_best_biases(self.objective, point, self.limits.tol)
        value, rounding = lower_bound(self.objective, point)
        self._point = self._proved = point
        self._bound = max(self._bound, value)
        return point, rounding

    def _without_penalty(self, point: Point, steps: LBFGS | NewtonCG) -> str:
        """There is no bound; what Newton's step promises, and how long it is, tell.

        A step that moves a row by a tenth of a logit, but the loss by far less than that row's
        share, is one of rows that are decided already.
        """
        objective, tol = self.objective, self.limits.tol
        if self._loss_of_equal() == 0:
            return "flat"
        if point.loss <= self._next_to_nothing():
            return "separable"
        if isinstance(steps, LBFGS):
            if steps.factors.newton(point.parameters):
                steps.forget()
            elif steps.count < _FEWEST_STEPS:
                return ""
        direction = steps.direction(point)
        promised = -0.5 * float(np.einsum("kd,kd->", direction, point.gradient))
        if promised > tol * point.objective:
            return ""
        if objective.change_of_logits(direction) <= _LONG_STEP:
            return "flat"
        return "separable" if promised <= _DECIDED * self._least_share() else ""

    def _next_to_nothing(self) -> float:
        """A loss that only separable rows have, and near its infimum, which is zero.

        Where every row's is below log 2, each is classified right; other targets prove nothing.
        """
        near = self.limits.tol * self._loss_of_equal()
        if self.objective.has_labels:
            return min(near, self._least_share() * math.log(2))
        return 1e-3 * near

    def _loss_of_equal(self) -> float:
        """Of equal probabilities: zero where one class is all there is."""
        return math.log(self.objective.n_classes) * float(self.objective.target_shares.sum())

    def _least_share(self) -> float:
        """The least that any row counts in the mean."""
        return float(self.objective.targets.least_weight / self.objective.samples.total_weight)

    # Results

    def _finished(self, point: Point) -> FitResult:
        """With a certificate, if the limits left none, of the model as it is rounded."""
        objective, tol = self.objective, self.limits.tol
        if objective.l2 > 0 and point is not self._proved:
            point, _ = self._proved_at(objective.at(point.parameters, np.float64))
        self._value = point.objective
        if self.dtype != np.float64:
            self._value = objective.of_model(*self._rounded(point.parameters))
        gap = relative_gap(self._value, self._bound)
        if self.stopped in ("gap", "rounding") and objective.l2 > 0:
            self.stopped = "gap" if gap <= tol else "rounding"
        return self.result()

    def result(self) -> FitResult:
        """What is known now, without another pass."""
        point = self._point
        assert point is not None
        done = min(map(len, self.history.values()))  # a signal may come while one is recorded
        history = {key: values[:done] for key, values in self.history.items()}
        value = point.objective if math.isnan(self._value) else self._value
        gap = relative_gap(value, self._bound)
        return FitResult(
            self._model(point.parameters),
            value,
            self._bound,
            bool(gap <= self.limits.tol or self.stopped == "flat"),
            self.stopped or "interrupt",
            self.objective.n_passes,
            history,
        )

    def _model(self, parameters: Array) -> SoftmaxModel:
        return self.make_model(*self._rounded(parameters))

    def _rounded(self, parameters: Array) -> tuple[Array, Array]:
        """(W, b) in the units of X, as a model has them."""
        W, b = self.objective.to_model(parameters)
        return W.astype(self.dtype), b.astype(self.dtype)
