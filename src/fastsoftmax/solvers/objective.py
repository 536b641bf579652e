"""The objective of `fit` in the coordinates it is solved in, and lower bounds on its optimum.

Parameters are one array (K, D + 1): in each row the weights of a class for the centred and scaled
features, its bias last (no such column without intercepts). The penalty is that of the weights.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.csr import CSR
from fastsoftmax.functional.linear import Problem, evaluate, problem
from fastsoftmax.functional.predictions import weighted_logits, weighted_proba
from fastsoftmax.functional.sparse import Columns
from fastsoftmax.kernels.passes.hessian import products_of_features
from fastsoftmax.once import once
from fastsoftmax.threads import launch
from fastsoftmax.training.columns import Moments, Scaling
from fastsoftmax.training.data import Samples

Array = npt.NDArray[Any]

_SLAB_LOGITS = 2**19  # of the rows whose probabilities are held at once

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
        columns: Columns | None,
    ) -> None:
        self.samples, self.scaling, self.moments = samples, scaling, moments
        self.l2, self.intercept, self.n_classes = l2, intercept, n_classes
        self._rows_read = 0  # twice for a value with its gradient
        self.label_smoothing = label_smoothing
        self._problems: dict[np.dtype[Any], Problem] = {}
        self.columns = columns  # of sparse rows

    @property
    def n_passes(self) -> float:
        return self._rows_read / (2 * len(self.samples.X))

    def count_halves(self, n: int) -> None:
        """Of passes over X that were taken elsewhere."""
        self._rows_read += n * len(self.samples.X)

    def weights_of_rows(self, rows: slice = slice(None)) -> Array:
        """Those of some rows in the mean loss, times their target weights."""
        samples = self.samples
        weight = samples.weight[rows] / samples.total_weight
        if samples.targets.ndim == 2:
            weight *= samples.targets[rows].sum(axis=1, dtype=np.float64)
        return weight

    @property
    def n_features(self) -> int:
        return int(self.samples.X.shape[1])

    @property
    def narrow(self) -> np.dtype[Any]:
        """The type for matrices that need not be exact, since they only scale the steps.

        They must be more so where columns are not centred, or rows separable without a penalty.
        """
        far = self.scaling.on_load(np.dtype(np.float32))
        few = len(self.samples.X) <= FEWEST_ROWS
        return np.dtype(
            np.float64 if far or few or not (self.l2 and self.intercept) else np.float32
        )

    @property
    def order(self) -> Literal["C", "F"]:
        """How parameters lie: by feature for sparse rows, else by class."""
        return "C" if self.columns is None else "F"

    @property
    def has_labels(self) -> bool:
        """Whether each row's target is one class."""
        return self.samples.targets.ndim == 1 and self.label_smoothing == 0

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
        parameters = np.vstack([V, c[None]] if self.intercept else [V]).T
        return np.array(parameters, order=self.order)

    def split(self, point: Point) -> tuple[Array, Array, Array]:
        """(weights (K, D), gradient of the biases (K,), biases (K,)); zeros without biases."""
        V = point.parameters[:, : self.n_features]
        if self.intercept:
            return V, point.gradient[:, -1], point.parameters[:, -1]
        return V, np.zeros(self.n_classes), np.zeros(self.n_classes)

    def penalty(self, parameters: Array) -> float:
        V = parameters[:, : self.n_features]
        if self.columns is not None:
            V = V.T  # sums run as memory does
        return 0.5 * self.l2 * float(np.einsum("ij,ij->", V, V))

    def at(self, parameters: Array, dtype: Any) -> Point:
        """One pass, computed in `dtype`; not finite where logits or gradient overflow."""
        p = self._problem_at(parameters, dtype)
        gradient = np.empty(self.shape, order=self.order)
        V = gradient[:, : self.n_features]
        grad_W, grad_b = np.empty(p.W.shape, p.W.dtype), np.empty(p.b.shape, p.W.dtype)
        loss = evaluate(p, grad_W, grad_b)
        self._rows_read += 2 * len(self.samples.X)
        V[:] = grad_W.T
        V -= np.multiply.outer(grad_b.astype(np.float64), self.scaling.centre)
        V *= self.scaling.scale
        if self.intercept:
            gradient[:, -1] = grad_b
        if self.columns is None:
            # residuals of a row sum to zero: else what all classes share, which only the penalty
            # bends, would gather the errors of float32
            gradient -= gradient.mean(axis=0)
        V += self.l2 * parameters[:, : self.n_features]
        return Point(parameters, loss, loss + self.penalty(parameters), gradient)

    def raise_overflow(self, parameters: Array, dtype: Any) -> None:
        """The error that a point that is not finite calls for."""
        self._problem_at(parameters, dtype).overflow_or_name_cell()

    def _problem_at(self, parameters: Array, dtype: Any) -> Problem:
        dtype = np.dtype(dtype)
        W, b = (array.astype(dtype) for array in self.to_model(parameters))
        if dtype not in self._problems:
            samples = self.samples
            given = samples.X, samples.targets, W, b, samples.weight, self.label_smoothing
            self._problems[dtype] = problem(*given, 0, "mean", columns=self.columns)
        return self._problems[dtype]._replace(W=W, b=b)

    def of_model(self, W: Array, b: Array) -> float:
        """The objective of a model as it is rounded, computed in float64."""
        parameters = self.from_model(W, b)
        p = self._problem_at(parameters, np.float64)
        p = p._replace(W=W.astype(np.float64), b=b.astype(np.float64))
        self._rows_read += 2 * len(self.samples.X)
        loss = evaluate(p, np.empty(W.shape), np.empty(b.shape))
        return loss + self.penalty(parameters)

    def change_of_logits(self, step: Array) -> float:
        """The most by which a step moves two logits of a row apart."""
        W, b = self.to_model(step)
        moved = 0.0
        for rows in self.slabs():
            self._rows_read += rows.stop - rows.start
            weight = self.samples.weight[rows]
            Z = weighted_logits(self.samples.X[rows], W, b, weight)[weight > 0]
            moved = max(moved, float(np.ptp(Z, axis=1).max(initial=0)))
        return moved

    def slabs(self) -> list[slice]:
        """The rows, cut so that their probabilities take little memory."""
        n_rows = len(self.samples.X)
        rows = max(_SLAB_LOGITS // self.n_classes // 64 * 64, 64)
        if self.columns is not None:  # which are sorted for each
            rows = n_rows
        return [slice(first, min(first + rows, n_rows)) for first in range(0, n_rows, rows)]

    def probabilities(self, parameters: Array, rows: slice, dtype: Any) -> Array:
        """P of some rows; those of weight zero hold anything."""
        samples = self.samples
        self._rows_read += rows.stop - rows.start
        W, b = (array.astype(dtype) for array in self.to_model(parameters))
        X, weight = samples.X[rows], samples.weight[rows]
        return weighted_proba(X, W, b, weight)

    def add_products(self, rows: slice, P: Array, H: Array, n_features: int) -> None:
        """H += the products of the first features of some rows, as `products_of_features` has them.

        The weights are `weights_of_rows`.
        """
        X, scaling = self.samples.X[rows], self.scaling.like(self.samples.X)
        if isinstance(X, CSR):  # no matrix of its features is made
            X = np.empty((len(X), 0), X.dtype)
        launch(
            products_of_features,
            views.as_rows(X[:, :n_features]),
            self.weights_of_rows(rows),
            P,
            int(self.intercept),
            scaling.centre[:n_features],
            scaling.scale[:n_features],
            H,
        )

    @once
    def target_shares(self) -> Array:
        """The share of each class in the weighted targets, smoothed, of their sum over the weights.

        (K,): they sum to the mean target weight.
        """
        samples, smoothing = self.samples, self.label_smoothing
        sums = target_sums(samples, self.n_classes)
        sums = (1 - smoothing) * sums + smoothing * sums.sum() / self.n_classes
        return np.asarray(sums / samples.total_weight)

    @once
    def target_norm(self) -> float:
        """The root of the mean square of the rows' target weights."""
        samples = self.samples
        if samples.targets.ndim == 1:
            return 1.0
        s = samples.targets.sum(axis=1, dtype=np.float64)
        return float(np.sqrt(np.einsum("n,n,n->", samples.weight, s, s) / samples.total_weight))

    @once
    def largest_target(self) -> float:
        """The largest of the rows' target weights."""
        targets = self.samples.targets
        return 1.0 if targets.ndim == 1 else float(targets.sum(axis=1, dtype=np.float64).max())

    @once
    def sizes(self) -> Array:
        """(D,): the root of the mean square of each feature."""
        return self._sizes_about(0.0)

    @once
    def spans(self) -> Array:
        """(D,): likewise, of the features as they are solved for, centred and scaled."""
        return self._sizes_about(self.scaling.centre) * self.scaling.scale

    @once
    def raw_spans(self) -> Array:
        """(D,): likewise, scaled but not centred, as they enter the sums over rows."""
        return self.sizes * self.scaling.scale

    def _sizes_about(self, centre: Any) -> Array:
        moments = self.moments
        return np.asarray(np.hypot(np.sqrt(moments.spread / moments.weight), moments.mean - centre))


def target_sums(samples: Samples, n_classes: int) -> Array:
    """(K,): the weighted targets of each class, summed."""
    if samples.targets.ndim == 1:
        sums = np.bincount(samples.targets, samples.weight, n_classes)
    else:
        sums = np.einsum("n,nk->k", samples.weight, samples.targets, dtype=np.float64)
    return np.asarray(sums, np.float64)
