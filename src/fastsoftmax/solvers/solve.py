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
from fastsoftmax.solvers.certificate import lower_bound, with_best_biases
from fastsoftmax.solvers.factors import Factors
from fastsoftmax.solvers.lbfgs import LBFGS
from fastsoftmax.solvers.objective import Objective, Point
from fastsoftmax.solvers.result import FitProgress, FitResult, relative_gap
from fastsoftmax.training.result import History

Array = npt.NDArray[Any]

# A certificate that falls short is tried again once the gradient promises this share of its gap.
_AGAIN = 0.3

# Where a loss without a penalty is flat, steps this long (in logits) mean that it has no optimum.
_LONG_STEP = 0.1


@dataclass
class Limits:
    """When to stop."""

    tol: float
    max_passes: float = math.inf
    time_limit: float = math.inf
    callback: Callable[[FitProgress], Any] | None = None
    progress: Callable[[int, float, float], None] | None = None


@dataclass
class Solve:
    """A solution under way; `run` takes the steps, `result` is right whenever a signal comes."""

    objective: Objective
    factors: Factors
    parameters: Array  # where to start
    dtype: np.dtype[Any]  # of the steps, and of the model
    limits: Limits
    make_model: Callable[[Array, Array], SoftmaxModel]  # from W, b in the units of X
    history: History = field(init=False)
    stopped: str = field(init=False, default="")
    _bound: float = field(init=False, default=-math.inf)
    _value: float = field(init=False, default=math.nan)  # the objective where we are
    _dtype: np.dtype[Any] = field(init=False)  # of the passes: may become float64

    def __post_init__(self) -> None:
        self.history = {"objective": [], "gap": [], "passes": [], "seconds": []}
        self._started = time.perf_counter()

    def run(self) -> FitResult:
        """All steps, until the gap or a limit ends them."""
        steps, point = self._begin()
        aim = self.limits.tol
        while not self.stopped:
            promised = self._promised_gap(point)
            if promised <= aim:
                point = self._certified_at(point, steps)
                aim = _AGAIN * promised
            self.stopped = self.stopped or self._limit()
            if self.stopped:
                break
            new = steps.step(point, self._dtype)
            if new is not None:
                point = self._recorded(new)
            elif self._dtype != np.float64:
                point = self._in_float64(point, steps)
            elif steps.count:
                steps.forget()
            else:
                self.stopped = "rounding"
        return self._finished(point)

    def _begin(self) -> tuple[LBFGS, Point]:
        objective = self.objective
        self._dtype = self.dtype
        if objective.scaling.on_load(self.dtype):
            self._dtype = np.dtype(np.float64)  # far means cost narrower numbers their digits
        point = objective.at(self.parameters, self._dtype)
        if not point.is_finite:
            objective.raise_overflow(self.parameters, self._dtype)
        self._value = point.objective
        return LBFGS(objective, self.factors), point

    def _limit(self) -> str:
        """Which limit is reached, if any."""
        if self.objective.n_passes >= self.limits.max_passes:
            return "max_passes"
        if time.perf_counter() - self._started >= self.limits.time_limit:
            return "time_limit"
        return ""

    def _recorded(self, point: Point) -> Point:
        """The point, which is where we are from now on."""
        self.parameters, self._value = point.parameters, point.objective
        step = len(self.history["seconds"])
        gap = relative_gap(point.objective, self._bound) if self._bound > -math.inf else math.nan
        seconds = time.perf_counter() - self._started
        values = point.objective, gap, self.objective.n_passes, seconds
        for key, value in zip(self.history, values, strict=True):
            self.history[key].append(value)
        if self.limits.progress is not None:
            self.limits.progress(step, point.objective, self._promised_gap(point))
        if self.limits.callback is not None:
            parameters = point.parameters
            if self.limits.callback(FitProgress(step, *values, lambda: self._model(parameters))):
                self.stopped = "callback"
        return point

    def _in_float64(self, point: Point, steps: LBFGS) -> Point:
        """The point computed anew, as those to come will be."""
        self._dtype = np.dtype(np.float64)
        steps.forget()
        return self.objective.at(point.parameters, np.float64)

    @property
    def has_begun(self) -> bool:
        """Whether the objective has been computed anywhere."""
        return not math.isnan(self._value)

    # Proofs

    def _promised_gap(self, point: Point) -> float:
        """The gap at a point if its gradient were exact and its biases the best."""
        objective = self.objective
        if point.objective <= 0:
            return 0.0
        if objective.l2 == 0:
            step = self.factors.now.times(point.gradient[None])[0]
            fall = 0.5 * float(np.einsum("kd,kd->", step, point.gradient))
            return fall / point.objective
        g = point.gradient[:, : objective.n_features]
        return float(np.einsum("kd,kd->", g, g)) / (2 * objective.l2) / point.objective

    def _certified_at(self, point: Point, steps: LBFGS) -> Point:
        """The point in float64, its biases the best; `stopped` says so if that is near enough."""
        objective, tol = self.objective, self.limits.tol
        if self._dtype != np.float64:
            point = self._in_float64(point, steps)
        if objective.l2 == 0:
            self._judge_without_penalty(point)
            return point
        exact = with_best_biases(objective, point, tol)
        if exact is not point:
            steps.forget()
        self.parameters, self._value = exact.parameters, exact.objective
        self._bound = max(self._bound, lower_bound(objective, exact))
        if relative_gap(exact.objective, self._bound) <= tol:
            self.stopped = "gap"
        return exact

    def _judge_without_penalty(self, point: Point) -> None:
        """There is no bound; but what a step of Newton's promises, and how long it is, tell."""
        objective = self.objective
        if point.loss <= 1e-3 * self.limits.tol * self._equal_loss():
            self.stopped = "separable"
        elif self._promised_gap(point) <= self.limits.tol:
            step = self.factors.now.times(point.gradient[None])[0]
            long = objective.change_of_logits(step) > _LONG_STEP
            self.stopped = "separable" if long else "flat"

    def _equal_loss(self) -> float:
        """The mean loss of equal probabilities."""
        share = self.objective.samples.total_target / self.objective.samples.total_weight
        return math.log(self.objective.n_classes) * share

    # Results

    def _finished(self, point: Point) -> FitResult:
        """With a certificate, if the limits left none, of the model as it is rounded."""
        objective, tol = self.objective, self.limits.tol
        if objective.l2 > 0 and self.stopped not in ("gap", "rounding"):
            exact = with_best_biases(objective, objective.at(point.parameters, np.float64), tol)
            self.parameters, self._value = exact.parameters, exact.objective
            self._bound = max(self._bound, lower_bound(objective, exact))
        if self.dtype != np.float64:
            self._value = objective.of_model(*self._rounded(self.parameters))
        gap = relative_gap(self._value, self._bound)
        if self.stopped == "gap" and gap > tol:
            self.stopped = "rounding"
        return self.result()

    def result(self) -> FitResult:
        """What is known now, without another pass."""
        done = min(map(len, self.history.values()))  # a signal may come while one is recorded
        history = {key: values[:done] for key, values in self.history.items()}
        gap = relative_gap(self._value, self._bound)
        return FitResult(
            self._model(self.parameters),
            self._value,
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
