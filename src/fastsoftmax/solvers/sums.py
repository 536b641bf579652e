"""What `fit` sums over all rows, as `training.samples` hands them out.

In each sum, a leaf's rows are added in order, and the leaves in float64, in order: so it has the
same bits for rows that lie in memory, that are read for each pass, and that others add up.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.csr import CSR
from fastsoftmax.functional.linear import Problem, add_rows, new_sums
from fastsoftmax.functional.predictions import weighted_logits, weighted_proba
from fastsoftmax.kernels.passes.hessian import products_of_features
from fastsoftmax.kernels.tiles.sizes import (
    SLAB_ROWS,
    leaf_rows,
    n_leaves,
    window_step,
)
from fastsoftmax.threads import launch
from fastsoftmax.training.columns import Scaling
from fastsoftmax.training.samples import Rows, Samples
from fastsoftmax.weights import add_by_class

Array = npt.NDArray[Any]


def slabs(first: int, count: int, n_rows: int, step: int) -> Iterator[tuple[int, slice]]:
    """(leaf, rows) of slabs of at most `step` rows of a window, none in two leaves."""
    leaf = leaf_rows(n_rows)
    at = 0
    while at < count:
        number, after = divmod(first + at, leaf)
        stop = min(at + step - after % step, at + leaf - after, count)
        yield number, slice(at, stop)
        at = stop


def _slab_rows(part: Samples, n_classes: int) -> int:
    """Rows whose probabilities are held at once; sparse ones are sorted each time."""
    return part.n_rows if part.is_sparse else window_step(part.n_features, n_classes)


class LossSums:
    """The mean cross-entropy of a model, and its gradient."""

    def __init__(self, rows: Rows, W: Array, b: Array, label_smoothing: float) -> None:
        self._n_rows, self._total_weight = rows.n_rows, rows.total_weight
        self._W, self._b, self._smoothing = W, b, label_smoothing
        self._first = 0
        self._sums: Any = new_sums(rows.n_rows, W.shape, W.dtype)

    def _problem(self, X: Any, targets: Array, weight: Array) -> Problem:
        how = self._smoothing, 0.0, self._total_weight, 1.0, None
        return Problem(X, targets, weight, self._W, self._b, *how)

    def add(self, first: int, part: Samples) -> None:
        add_rows(self._sums, self._problem(*part[:3]), first - self._first)

    def of_leaf(self, leaf: int) -> LossSums:
        twin = copy.copy(self)
        twin._first = leaf * leaf_rows(self._n_rows)
        twin._sums = new_sums(self._n_rows, self._W.shape, self._W.dtype, one_leaf=True)
        return twin

    def take(self, leaf: int, sums: LossSums) -> None:
        own, new = self._sums, sums._sums
        count = new.of_chunks.shape[0]
        first = leaf * count
        own.of_chunks[first : first + count] = new.of_chunks[: len(own.of_chunks) - first]
        if own.by_slab:
            G_T = new.G_T[0, :, : len(self._W)]
            if own.total.size:
                np.add(own.total, G_T, out=own.total)
            else:
                own.G_T[0, :, : len(self._W)] = G_T
        else:
            own.G_T[first : first + count] = new.G_T[: len(own.G_T) - first]

    def loss(self, grad_W: Array, grad_b: Array) -> float:
        """Over all rows; the gradient is written. NaN where logits or gradient overflow."""
        X = np.empty((0, len(self._W)), self._W.dtype)
        p = self._problem(X, np.empty(0, np.int64), np.empty(0))
        return add_rows(self._sums, p, 0, grad_W, grad_b)


class ProductSums:
    """Products of features under the weights of the rows, as `products_of_features` has them.

    Coefficients are the first `n_coefficients` probabilities of a model, and 1.
    """

    def __init__(
        self,
        rows: Rows,
        scaling: Scaling,
        *,
        n_features: int,
        intercept: bool,
        dtype: np.dtype[Any],
        model: tuple[Array, Array] | None = None,
        n_coefficients: int = 0,
    ) -> None:
        self._n_rows, self._total_weight = rows.n_rows, rows.total_weight
        self._scaling, self._n_features, self._intercept = scaling, n_features, intercept
        self._dtype, self._model, self._n_coefficients = dtype, model, n_coefficients
        size = (n_coefficients + 1) * (n_features + intercept)
        self._shape, self._leaf = (size, size), 0
        self._sums = np.zeros(self._shape)
        self._total = np.zeros(self._shape if n_leaves(rows.n_rows) > 1 else (0, 0))

    def add(self, first: int, part: Samples) -> None:
        n_classes = 0 if self._model is None else len(self._model[1])
        step = _slab_rows(part, n_classes)
        for leaf, rows in slabs(first, part.n_rows, self._n_rows, step):
            if leaf != self._leaf:
                self._end_leaf()
                self._leaf = leaf
            own = part.take(rows)
            P = np.empty((own.n_rows, 0), self._dtype)
            if self._model is not None:
                P = weighted_proba(own.X, *self._model, own.weight)
                P = np.ascontiguousarray(P[:, : self._n_coefficients])
            weight = weights_of_rows(own, self._total_weight)
            how = self._scaling, self._n_features, self._intercept
            add_products(own.X, weight, P, *how, self._sums)

    def _end_leaf(self) -> None:
        self._total += self._sums
        self._sums[:] = 0

    def of_leaf(self, leaf: int) -> ProductSums:
        twin = copy.copy(self)
        twin._leaf, twin._sums = leaf, np.zeros(self._shape)
        twin._total = np.empty((0, 0))
        return twin

    def take(self, leaf: int, sums: ProductSums) -> None:
        self._sums = sums._sums
        if self._total.size:
            self._end_leaf()

    def products(self) -> Array:
        """Over all rows."""
        if self._total.size:
            self._end_leaf()
            return self._total
        return self._sums


def add_products(
    X: Any,
    weight: Array,
    P: Array,
    scaling: Scaling,
    n_features: int,
    intercept: bool,
    H: Array,
) -> None:
    """H += the products of the first features of some rows, under weights of these."""
    scaling = scaling.like(X)
    if isinstance(X, CSR):  # no matrix of its features is made
        X = np.empty((len(X), 0), X.dtype)
    launch(
        products_of_features,
        views.as_rows(X[:, :n_features]),
        weight,
        P,
        int(intercept),
        scaling.centre[:n_features],
        scaling.scale[:n_features],
        H,
    )


def weights_of_rows(part: Samples, total_weight: float) -> Array:
    """Those of some rows in the mean loss of all, times their target weights."""
    weight = part.weight / total_weight
    if part.targets.ndim == 2:
        weight *= part.targets.sum(axis=1, dtype=np.float64)
    return weight


class ChangeOfLogits:
    """The most by which a step of a model moves two logits of a row apart."""

    def __init__(self, rows: Rows, W: Array, b: Array) -> None:
        self._n_rows, self._step = rows.n_rows, (W, b)
        self.most = 0.0

    def add(self, first: int, part: Samples) -> None:
        W, b = self._step
        step = _slab_rows(part, len(b))
        for _leaf, rows in slabs(first, part.n_rows, self._n_rows, step):
            own = part.take(rows)
            Z = weighted_logits(own.X, W, b, own.weight)[own.weight > 0]
            self.most = max(self.most, float(np.ptp(Z, axis=1).max(initial=0)))

    def of_leaf(self, leaf: int) -> ChangeOfLogits:
        return copy.copy(self)

    def take(self, leaf: int, sums: ChangeOfLogits) -> None:
        self.most = max(self.most, sums.most)


class TargetSums:
    """What is known of targets and weights."""

    def __init__(self, rows: Rows, n_classes: int) -> None:
        self._n_rows, self._n_classes = rows.n_rows, n_classes
        self._clear()

    def _clear(self) -> None:
        self._of_class = np.zeros((n_leaves(self._n_rows), self._n_classes))
        self._squares = np.zeros(n_leaves(self._n_rows))  # of target weights
        self.largest = 0.0  # of the rows' target weights
        self.least_weight = math.inf  # of those above zero

    def add(self, first: int, part: Samples) -> None:
        counted = part.weight[part.weight > 0]
        self.least_weight = min(self.least_weight, float(counted.min(initial=math.inf)))
        if part.targets.ndim == 1:
            self._add_labels(first, part.targets, part.weight)
            return
        for leaf, rows in slabs(first, part.n_rows, self._n_rows, SLAB_ROWS):
            targets, weight = part.targets[rows], part.weight[rows]
            s = targets.sum(axis=1, dtype=np.float64)
            self._of_class[leaf] += np.einsum("n,nk->k", weight, targets, dtype=np.float64)
            self._squares[leaf] += float(np.einsum("n,n,n->", weight, s, s))
            self.largest = max(self.largest, float(s.max()))

    def _add_labels(self, first: int, labels: Array, weight: Array) -> None:
        """One weight after another, as if all rows of a leaf had come at once."""
        for leaf, rows in slabs(first, len(labels), self._n_rows, leaf_rows(self._n_rows)):
            self._of_class[leaf] = add_by_class(self._of_class[leaf], labels[rows], weight[rows])

    def of_leaf(self, leaf: int) -> TargetSums:
        twin = copy.copy(self)
        twin._clear()
        return twin

    def take(self, leaf: int, sums: TargetSums) -> None:
        self._of_class[leaf], self._squares[leaf] = sums._of_class[leaf], sums._squares[leaf]
        self.largest = max(self.largest, sums.largest)
        self.least_weight = min(self.least_weight, sums.least_weight)

    @property
    def of_class(self) -> Array:
        """(K,): the weighted targets of each class, summed."""
        return np.asarray(self._of_class.sum(axis=0))

    @property
    def squares(self) -> float:
        """The weighted sum of the squares of the rows' target weights."""
        return float(self._squares.sum())


def targets_of(rows: Rows, n_classes: int) -> TargetSums:
    """Of all rows."""
    sums = TargetSums(rows, n_classes)
    rows.add_targets_to(sums)
    return sums
