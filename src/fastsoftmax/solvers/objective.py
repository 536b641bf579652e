"""The objective of `fit` in the coordinates it is solved in, and lower bounds on its optimum.

Parameters are one array (K, D + 1): in each row the weights of a class for the centred and scaled
features, its bias last (no such column without intercepts). The penalty is that of the weights.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.functional import sparse
from fastsoftmax.functional.linear import Problem, evaluate, problem
from fastsoftmax.functional.sparse import Columns
from fastsoftmax.once import once
from fastsoftmax.solvers.arrays import residuals
from fastsoftmax.solvers.sums import (
    ChangeOfLogits,
    LossSums,
    ProductSums,
    TargetSums,
    add_products,
    weights_of_rows,
)
from fastsoftmax.training.columns import Moments, Scaling
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]

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
        samples: Any,  # Rows; sparse ones are Samples
        n_classes: int,
        scaling: Scaling,
        moments: Moments,
        *,
        l2: float,
        label_smoothing: float,
        intercept: bool,
        targets: TargetSums,
        columns: Columns | None,
    ) -> None:
        self.samples, self.scaling, self.moments = samples, scaling, moments
        self.l2, self.intercept, self.n_classes = l2, intercept, n_classes
        self._halves = 0  # of passes: two for a value with its gradient
        self.label_smoothing = label_smoothing
        self._problems: dict[np.dtype[Any], Problem] = {}
        self.targets, self.columns = targets, columns  # the latter of sparse rows

    @property
    def n_passes(self) -> float:
        return self._halves / 2

    def count_halves(self, n: int) -> None:
        """Of passes over X that were taken elsewhere."""
        self._halves += n

    def weights_of_rows(self) -> Array:
        """(N,): those in the mean loss, times their target weights."""
        return weights_of_rows(self.samples, self.samples.total_weight)

    @property
    def n_features(self) -> int:
        return int(self.samples.n_features)

    @property
    def narrow(self) -> np.dtype[Any]:
        """The type for matrices that need not be exact, since they only scale the steps.

        They must be more so where columns are not centred, or rows separable without a penalty.
        """
        far = self.scaling.on_load(np.dtype(np.float32))
        few = self.samples.n_rows <= FEWEST_ROWS
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
        return not self.samples.has_soft_targets and self.label_smoothing == 0

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
        W, b = (array.astype(dtype) for array in self.to_model(parameters))
        grad_W, grad_b = np.empty(W.shape, W.dtype), np.empty(b.shape, W.dtype)
        loss = self._evaluated(W, b, grad_W, grad_b)
        gradient = np.empty(self.shape, order=self.order)
        V = gradient[:, : self.n_features]
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
        self.samples.raise_if_non_finite()
        W, b = (array.astype(dtype) for array in self.to_model(parameters))
        check.raise_non_finite("the logits or their gradient", np.dtype(dtype), W=W, b=b)

    def _evaluated(self, W: Array, b: Array, grad_W: Array, grad_b: Array) -> float:
        """The mean loss of a model; its gradient is written."""
        self.count_halves(2)
        samples = self.samples
        if not isinstance(samples, Samples):
            sums = LossSums(samples, W, b, self.label_smoothing)
            samples.add_to(sums)
            return sums.loss(grad_W, grad_b)
        if W.dtype not in self._problems:
            given = samples.X, samples.targets, W, b, samples.weight, self.label_smoothing
            self._problems[W.dtype] = problem(*given, 0, "mean", columns=self.columns)
        return evaluate(self._problems[W.dtype]._replace(W=W, b=b), grad_W, grad_b)

    def of_model(self, W: Array, b: Array) -> float:
        """The objective of a model as it is rounded, computed in float64."""
        W, b = W.astype(np.float64), b.astype(np.float64)
        if self.columns is None:
            loss = self._evaluated(W, b, np.empty(W.shape), np.empty(b.shape))
        else:
            self.count_halves(1)
            Z = sparse.logits(self.columns, self.samples.weight, W, b)
            loss, _ = residuals(self.samples, self.label_smoothing, Z, np.zeros_like(b), Z)
        return loss + self.penalty(self.from_model(W, b))

    def change_of_logits(self, step: Array) -> float:
        """The most by which a step moves two logits of a row apart."""
        sums = ChangeOfLogits(self.samples, *self.to_model(step))
        self.samples.add_to(sums)
        self.count_halves(1)
        return sums.most

    def products(
        self,
        dtype: Any,
        *,
        n_features: int,
        parameters: Array | None = None,
        n_coefficients: int = 0,
    ) -> Array:
        """`ProductSums` of all rows, of the probabilities of parameters."""
        model = None
        if parameters is not None:
            W, b = (array.astype(dtype) for array in self.to_model(parameters))
            model = W, b
            self.count_halves(1)
        sums = ProductSums(
            self.samples,
            self.scaling,
            n_features=n_features,
            intercept=self.intercept,
            dtype=np.dtype(dtype),
            model=model,
            n_coefficients=n_coefficients,
        )
        self.samples.add_to(sums)
        return sums.products()

    def products_of_biases(self, P: Array) -> Array:
        """Those of the probabilities P (N, K) of all rows alone."""
        H = np.zeros((P.shape[1] + 1, P.shape[1] + 1))
        rows = self.samples.X, self.weights_of_rows()
        add_products(*rows, P, self.scaling, 0, self.intercept, H)
        return H

    @once
    def target_shares(self) -> Array:
        """The share of each class in the weighted targets, smoothed, of their sum over the weights.

        (K,): they sum to the mean target weight.
        """
        sums, smoothing = self.targets.of_class, self.label_smoothing
        sums = (1 - smoothing) * sums + smoothing * sums.sum() / self.n_classes
        return np.asarray(sums / self.samples.total_weight)

    @once
    def target_norm(self) -> float:
        """The root of the mean square of the rows' target weights."""
        if not self.samples.has_soft_targets:
            return 1.0
        return math.sqrt(self.targets.squares / self.samples.total_weight)

    @once
    def largest_target(self) -> float:
        """The largest of the rows' target weights."""
        return float(self.targets.largest) if self.samples.has_soft_targets else 1.0

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
