"""The objective of `fit` in the coordinates it is solved in, and lower bounds on its optimum.

Parameters are one array (K, D + 1): in each row the weights of a class for the centred and scaled
features, its bias last (no such column without intercepts). The penalty is that of the weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.functional.linear import Problem, evaluate, problem, weighted_proba
from fastsoftmax.kernels.passes.hessian import products_of_features
from fastsoftmax.threads import launch
from fastsoftmax.training.columns import Moments, Scaling, spaced
from fastsoftmax.training.data import Samples

Array = npt.NDArray[Any]

_SLAB_LOGITS = 2**22  # of the rows whose probabilities are held at once
_SAMPLE_ROWS = 512  # that tell how far a step goes

# Fewer rows count as so many where costs are weighed, for their passes take no less time, and are
# multiplied in float64: so that weights give the steps of repeated rows.
FEWEST_ROWS = 128


class Point(NamedTuple):
    """Where the objective was computed, in one pass over X."""

    parameters: Array  # (K, D + 1), float64
    loss: float  # the mean cross-entropy
    objective: float  # with the penalty
    gradient: Array  # (K, D + 1) of the objective, float64

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.objective))


class Objective:
    """The mean cross-entropy of rows, plus l2 / 2 times the sum of squared weights.

    `n_passes` counts passes over X: 1 for each value with its gradient, half of one for logits.
    """

    def __init__(
        self,
        samples: Samples,
        n_classes: int,
        scaling: Scaling,
        moments: Moments,
        *,
        l2: float,
        label_smoothing: float,
        intercept: bool,
    ) -> None:
        self.samples, self.scaling, self.moments = samples, scaling, moments
        self.l2, self.intercept, self.n_classes = l2, intercept, n_classes
        self.n_passes = 0.0
        self._label_smoothing = label_smoothing
        self._problems: dict[np.dtype[Any], Problem] = {}

    @property
    def n_features(self) -> int:
        return int(self.samples.X.shape[1])

    @property
    def narrow(self) -> np.dtype[Any]:
        """The type for matrices that need not be exact, since they only scale the steps."""
        far = self.scaling.on_load(np.dtype(np.float32))
        few = len(self.samples.X) <= FEWEST_ROWS
        return np.dtype(np.float64 if far or few else np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the parameters."""
        return self.n_classes, self.n_features + self.intercept

    def to_model(self, parameters: Array) -> tuple[Array, Array]:
        """(W, b) for features as they are, float64."""
        V = parameters[:, : self.n_features].T
        c = parameters[:, -1] if self.intercept else np.zeros(self.n_classes)
        return self.scaling.to_original(V, c)

    def from_model(self, W: Array, b: Array) -> Array:
        """The parameters of a model; those of a constant feature are left out."""
        V, c = self.scaling.to_scaled(W, b)
        V = np.where(self.scaling.scale[:, None] > 0, V, 0.0)
        return np.ascontiguousarray(np.vstack([V, c[None]] if self.intercept else [V]).T)

    def penalty(self, parameters: Array) -> float:
        V = parameters[:, : self.n_features]
        return 0.5 * self.l2 * float(np.einsum("kd,kd->", V, V))

    def at(self, parameters: Array, dtype: Any) -> Point:
        """One pass, computed in `dtype`; not finite where logits or gradient overflow."""
        p = self._problem_at(parameters, dtype)
        grad_W, grad_b = np.empty(p.W.shape, p.W.dtype), np.empty(p.b.shape, p.W.dtype)
        loss = evaluate(p, grad_W, grad_b)
        self.n_passes += 1
        gradient = np.empty(self.shape)
        V = gradient[:, : self.n_features]
        V[:] = grad_W.T
        V -= np.multiply.outer(grad_b.astype(np.float64), self.scaling.centre)
        V *= self.scaling.scale
        V += self.l2 * parameters[:, : self.n_features]
        if self.intercept:
            gradient[:, -1] = grad_b
        return Point(parameters, loss, loss + self.penalty(parameters), gradient)

    def raise_overflow(self, parameters: Array, dtype: Any) -> None:
        """The error that a point that is not finite calls for."""
        self._problem_at(parameters, dtype).overflow_or_name_cell()

    def _problem_at(self, parameters: Array, dtype: Any) -> Problem:
        dtype = np.dtype(dtype)
        W, b = (array.astype(dtype) for array in self.to_model(parameters))
        if dtype not in self._problems:
            samples = self.samples
            self._problems[dtype] = problem(
                samples.X, samples.targets, W, b, samples.weight, self._label_smoothing, 0, "mean"
            )
        return self._problems[dtype]._replace(W=W, b=b)

    def of_model(self, W: Array, b: Array) -> float:
        """The objective of a model as it is rounded, computed in float64."""
        parameters = self.from_model(W, b)
        p = self._problem_at(parameters, np.float64)
        p = p._replace(W=W.astype(np.float64), b=b.astype(np.float64))
        self.n_passes += 1
        loss = evaluate(p, np.empty(W.shape), np.empty(b.shape))
        return loss + self.penalty(parameters)

    def change_of_logits(self, step: Array) -> float:
        """The most by which a step moves a logit of some rows, spread over all."""
        samples, n_rows = self.samples, len(self.samples.X)
        rows = spaced(n_rows, min(n_rows, _SAMPLE_ROWS))
        rows = rows[samples.weight[rows] > 0]
        u = np.empty((len(rows), self.n_features))
        self.scaling.apply(samples.X[rows], u)
        moved = np.einsum("nd,kd->nk", u, step[:, : self.n_features])
        if self.intercept:
            moved += step[:, -1]
        return float(np.abs(moved).max(initial=0))

    def slabs(self) -> list[slice]:
        """The rows, cut so that their probabilities take little memory."""
        rows = max(_SLAB_LOGITS // self.n_classes // 64 * 64, 64)
        n_rows = len(self.samples.X)
        return [slice(first, min(first + rows, n_rows)) for first in range(0, n_rows, rows)]

    def probabilities(self, parameters: Array, rows: slice, dtype: Any) -> Array:
        """P of some rows; those of weight zero hold anything."""
        samples = self.samples
        self.n_passes += 0.5 * (rows.stop - rows.start) / len(samples.X)
        W, b = (array.astype(dtype) for array in self.to_model(parameters))
        X, weight = samples.X[rows], samples.weight[rows]
        return weighted_proba(X, W, b, weight)

    def add_products(self, rows: slice, P: Array, H: Array, n_features: int) -> None:
        """H += the products of the first features of some rows, as `products_of_features` has them.

        The weights are those of the rows in the mean loss, times their target weights.
        """
        samples, scaling = self.samples, self.scaling.like(self.samples.X)
        X, weight = samples.X[rows], samples.weight[rows] / samples.total_weight
        if samples.targets.ndim == 2:
            weight *= samples.targets[rows].sum(axis=1, dtype=np.float64)
        launch(
            products_of_features,
            check.as_rows(X[:, :n_features]),
            weight,
            P,
            int(self.intercept),
            scaling.centre[:n_features],
            scaling.scale[:n_features],
            H,
        )

    def target_shares(self) -> Array:
        """The share of each class in the weighted targets, smoothed, of their sum over the weights.

        (K,): they sum to the mean target weight.
        """
        samples, smoothing = self.samples, self._label_smoothing
        if samples.targets.ndim == 1:
            sums = np.bincount(samples.targets, samples.weight, self.n_classes)
        else:
            sums = np.einsum("n,nk->k", samples.weight, samples.targets, dtype=np.float64)
        sums = (1 - smoothing) * sums + smoothing * sums.sum() / self.n_classes
        return np.asarray(sums / samples.total_weight)
