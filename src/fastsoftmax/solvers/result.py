"""What solving tells and returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastsoftmax.model import SoftmaxModel
from fastsoftmax.once import once
from fastsoftmax.training.result import History


@dataclass(frozen=True)
class FitResult:
    """The optimum, or what was found on the way to it.

    Attributes
    ----------
    model : SoftmaxModel
        In the units of X, whatever the scaling.
    objective : float
        The mean cross-entropy of the model with the penalty, computed in float64.
    lower_bound : float
        No weights and biases have an objective below it; minus infinity where nothing was proved.
    converged : bool
        Whether `gap` is at most the tolerance; without a penalty, whether `stopped` is "flat".
    stopped : str
        Why it ended. "gap": proved to be within the tolerance. "flat": there is no penalty, so no
        proof, but by the curvature no more than the tolerance is left to gain. "separable": there
        is no penalty and no optimum, since growing weights lower the loss for ever. "rounding": the
        numbers hold no better. "max_passes", "time_limit", "callback".
    n_passes : float
        Passes over X: 1 for a value with its gradient, half of one for logits alone.
    history : dict of str to list of float
        An entry per step. "objective": as the steps saw it, in the dtype computed in. "gap": what
        was proved by then, NaN before anything was. "passes" and "seconds": since the start.
    """

    model: SoftmaxModel
    objective: float
    lower_bound: float
    converged: bool
    stopped: str
    n_passes: float
    history: History = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"FitResult({self.model}, {self.how_far}, objective {self.objective:.4g}, "
            f"gap {self.gap:.1e}, stopped: {self.stopped})"
        )

    @property
    def gap(self) -> float:
        """How far the objective may be above the optimum, as a share of it: at most this."""
        return relative_gap(self.objective, self.lower_bound)

    @property
    def how_far(self) -> str:
        """How long solving went on, in words."""
        return f"{self.n_passes:g} passes"

    def plot(self, ax: Any = None) -> Any:
        """Draw the objective's distance from its last lower bound by passes over X.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed (the extra ``fastsoftmax[plot]``).
        """
        from fastsoftmax.solvers.plot import plot_gap

        return plot_gap(self.history, self.lower_bound, ax)


@dataclass(frozen=True)
class FitProgress:
    """What a callback is told after each step.

    Attributes
    ----------
    step : int
        From 0.
    objective, gap, passes, seconds : float
        The step's entries in the history; see `FitResult`.
    model : SoftmaxModel
        As it is after this step; made when first asked for.
    """

    step: int
    objective: float
    gap: float
    passes: float
    seconds: float
    _make_model: Callable[[], SoftmaxModel] = field(repr=False, compare=False)

    @once
    def model(self) -> SoftmaxModel:
        return self._make_model()

    def __getstate__(self) -> dict[str, Any]:
        # the model itself goes along, for what makes it holds the solver
        return {**self.__dict__, "model": self.model, "_make_model": None}


def relative_gap(objective: float, lower_bound: float) -> float:
    """(objective - lower bound) / objective; 0 for 0 over 0."""
    difference = max(objective - lower_bound, 0.0)
    if difference == 0 or objective == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / objective


@dataclass(frozen=True)
class PathResult:
    """The optima for several penalties.

    Attributes
    ----------
    l2s : tuple of float
        The penalties, strongest first.
    results : tuple of FitResult
        One each.
    validation_loss, validation_accuracy : tuple of float
        Of each model on the held-out rows, the loss without the penalty; empty without such.
    """

    l2s: tuple[float, ...]
    results: tuple[FitResult, ...]
    validation_loss: tuple[float, ...] = ()
    validation_accuracy: tuple[float, ...] = ()

    def __repr__(self) -> str:
        parts = [self.how_far]
        if self.results:
            parts += [f"l2 from {self.l2s[0]:.4g} to {self.l2s[-1]:.4g}"]
            parts += [f"gaps up to {max(result.gap for result in self.results):.1e}"]
        if self.validation_loss:
            lowest = min(self.validation_loss)
            best = self.l2s[self.validation_loss.index(lowest)]
            parts += [f"least validation loss {lowest:.4g} for l2 = {best:.4g}"]
        return f"PathResult({', '.join(parts)})"

    @property
    def how_far(self) -> str:
        """How long solving went on, in words."""
        done = len(self.results)
        return "1 penalty" if done == 1 else f"{done} penalties"

    def best(self) -> FitResult:
        """The result with the lowest validation loss, the strongest penalty of equals.

        Raises
        ------
        ValueError
            If there were no held-out rows.
        """
        if not self.validation_loss:
            raise ValueError("best() needs validation_data to judge the penalties by")
        lowest = min(range(len(self.validation_loss)), key=self.validation_loss.__getitem__)
        return self.results[lowest]

    def plot(self, ax: Any = None) -> Any:
        """Draw the objectives, and the validation losses if there are any, by penalty.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed (the extra ``fastsoftmax[plot]``).
        """
        from fastsoftmax.solvers.plot import plot_path

        series: dict[str, Sequence[float]] = {"objective": [r.objective for r in self.results]}
        if self.validation_loss:
            series["validation loss"] = list(self.validation_loss)
        return plot_path(self.l2s[: len(self.results)], series, ax)
