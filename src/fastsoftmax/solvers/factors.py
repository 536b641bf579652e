"""Approximate inverses of the Hessian, and when another is worth its cost.

The first steps go by a number, the next ones by the Gram matrix of the features (one factor for
all classes: Böhning 1992), then, where it is not too large, by the Hessian itself, computed anew
now and then. Each is made when the passes since the last have cost half of what it will: what was
spent is the best guess at what is still to come, and with it few passes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.kernels.passes.inverse import invert, multiply
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.solvers.objective import FEWEST_ROWS, Objective
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]

# A matrix of more numbers than this is not made.
_MOST_NUMBERS = 2**22

# What a row of a pass costs beyond its multiply-adds, and what the operations of passes and
# elimination cost, in operations of the products of features. Measured: docs/performance.md.
_ROW_COST = 3000.0
_PASS_COST = 0.75
_WIDE_PASS = 1.6  # in float64; products are in float32
_ELIMINATION_COST = 2.0

# A matrix is made when the passes since the last have cost this share of it, at first as if so many
# had been taken already. Of 1, 0.5 and 0.25, 0.5 was the best or next to it on texture, gas_drift,
# covtype_kaggle15k and letter.
_PATIENCE = 0.5
_CREDIT = 10.0

# What is added to the diagonal, in shares of it, until elimination finds positive pivots.
_RIDGES = (1e-13, 1e-10, 1e-7, 1e-5, 1e-3, 1e-1)


class Factor:
    """A symmetric matrix (n, n), by which gradients are multiplied: rows of n numbers."""

    def __init__(self, matrix: Array, n: int) -> None:
        self._matrix, self._n = matrix, n

    def times(self, gradients: Array) -> Array:
        """Each of several gradients (G, K, D + 1), multiplied."""
        rows = np.ascontiguousarray(gradients.reshape(-1, self._n))
        out = np.empty_like(rows)
        parallel = rows.shape[0] * self._n**2 > 2e5
        launch(multiply, self._matrix, self._n, rows, out, parallel=parallel)
        return out.reshape(gradients.shape)


class Diagonal:
    """A diagonal matrix: one number for all weights, one for the biases."""

    def __init__(self, diagonal: Array) -> None:
        self._diagonal = diagonal  # (D + 1,)

    def times(self, gradients: Array) -> Array:
        return self._diagonal * gradients


@dataclass
class Shared:
    """What the solutions for all penalties share: matrices without the penalty, once made."""

    gram: Array | None = None  # (D + 1, D + 1), the products of the features
    hessian: Array | None = None  # (1, n, n), the last: near it, the next solution begins


class Factors:
    """The factor in use, and the one to come."""

    def __init__(self, objective: Objective, shared: Shared) -> None:
        self._shared = shared
        self._objective = objective
        n_rows, n_features = objective.samples.n_rows, objective.n_features
        n_classes, size = objective.shape
        self._rows = max(n_rows, FEWEST_ROWS)
        self._pass = self._rows * (_PASS_COST * 4 * n_features * n_classes + _ROW_COST)
        self._gram_size, self._hessian_size = size, n_classes * size
        self._has_hessian = self._hessian_size**2 <= _MOST_NUMBERS and n_classes > 1
        self._has_gram = size**2 <= _MOST_NUMBERS
        self._at_gram = True
        self._passes = 0.0  # at the last change
        self.now: Factor | Diagonal
        if shared.hessian is not None:
            self.now = self._inverse(shared.hessian, objective.narrow)
        elif shared.gram is not None:
            self.now = self._of_gram()
        else:
            self.now, self._at_gram, self._passes = self._of_moments(), False, -_CREDIT

    def _of_moments(self) -> Diagonal:
        """One number for all weights, one for the biases, above what the Hessian can be."""
        objective, size = self._objective, self._gram_size
        bend = np.full(size, 0.5)
        bend[: objective.n_features] *= np.square(objective.spans).sum()
        bend *= objective.target_shares.sum()
        bend[: objective.n_features] += objective.l2
        return Diagonal(1 / np.maximum(bend, np.finfo(np.float64).tiny))

    def _cost(self, n: int) -> float:
        """What must have been spent on passes before a matrix (n, n) is made."""
        cost = self._rows * float(n) ** 2 + _ELIMINATION_COST * 2 * float(n) ** 3
        return float(_PATIENCE * cost)

    def renewed(self, parameters: Array, dtype: Any) -> bool:
        """Whether a new factor was due and is in use from now on."""
        objective = self._objective
        spent = (objective.n_passes - self._passes) * self._pass
        spent *= _WIDE_PASS if dtype == np.float64 else 1.0
        gram_next = not self._at_gram and self._has_gram
        if not (gram_next or self._has_hessian):
            return False
        if spent < self._cost(self._gram_size if gram_next else self._hessian_size):
            return False
        self.now = self._of_gram() if gram_next else self._of_hessian(parameters, objective.narrow)
        self._at_gram = True
        self._passes = objective.n_passes
        return True

    def newton(self, parameters: Array) -> bool:
        """Take the Hessian here in float64, whatever it costs; False where it is too large."""
        if self._has_hessian:
            self.now, self._at_gram = self._of_hessian(parameters, np.dtype(np.float64)), True
            self._passes = self._objective.n_passes
        return self._has_hessian

    def _of_gram(self) -> Factor:
        """With the Hessian of equal probabilities, on weights that sum to zero over the classes."""
        objective = self._objective
        if self._shared.gram is None:
            matrix = objective.products(objective.narrow, n_features=objective.n_features)
            self._shared.gram = matrix
        return self._inverse(self._shared.gram[None] / objective.n_classes, np.float32)

    def _of_hessian(self, parameters: Array, dtype: Any) -> Factor:
        """The products of all classes but the last: its blocks make rows sum to zero."""
        objective = self._objective
        n_classes, size = objective.shape
        n = n_classes * size
        products = objective.products(
            dtype,
            n_features=objective.n_features,
            parameters=parameters,
            n_coefficients=n_classes - 1,
        )
        H = products.reshape(n_classes, size, n_classes, size)
        of_class = H[:-1, :, -1].copy()  # (K - 1, D + 1, D + 1): under weights p, of all rows
        H *= -1
        every = np.arange(n_classes - 1)
        H[every, :, every] += of_class
        H[-1, :, :-1] = -H[:-1, :, :-1].sum(axis=0)
        H[:, :, -1] = -H[:, :, :-1].sum(axis=2)
        # what all classes share moves no probability: it gets a curvature like the others'
        shared = np.einsum("kdkd->d", H) / n_classes**2
        features = np.arange(size)
        H[:, features, :, features] += shared[:, None, None]
        self._shared.hessian = H.reshape(1, n, n)
        return self._inverse(self._shared.hessian, dtype)

    def _inverse(self, H: Array, dtype: Any) -> Factor:
        """Of a matrix (1, n, n), for each class or the parameters of all, with the penalty.

        It is as exact as `dtype`.
        """
        n, objective = H.shape[-1], self._objective
        size, n_features = self._gram_size, objective.n_features
        penalty = np.zeros(size)
        penalty[:n_features] = objective.l2
        matrix = np.empty((n, padded(n, 8)))
        diagonal = np.diagonal(H[0]).copy()
        floor = 1e-12 * diagonal.max(initial=0) + np.finfo(np.float64).tiny
        every = np.arange(n)
        for ridge in _RIDGES:
            if ridge < 0.5 * np.finfo(dtype).eps:
                continue
            added = np.resize(penalty, n) + ridge * np.maximum(diagonal, floor)
            matrix[:, :n], matrix[:, n:] = H[0], 0
            matrix[every, every] += added
            if launch(invert, matrix, n) and np.isfinite(matrix).all():
                return Factor(matrix, n)
        matrix[:] = 0
        matrix[every, every] = 1 / np.maximum(diagonal + added, 1e-9 * diagonal.max() or 1.0)
        return Factor(matrix, n)
