"""Cross-validation of penalties: rows cut into folds, and a path solved without each of them.

No rows are copied: those held out have the weight 0 while the others train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.solvers.path import fit_path

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CrossValidation:
    """How each penalty did on rows that it was not trained on.

    Attributes
    ----------
    l2s : tuple of float
        The penalties, strongest first.
    losses, accuracies : ndarray, (folds, penalties)
        The mean cross-entropy, without the penalty, and the accuracy on the rows of each fold.
    """

    l2s: tuple[float, ...]
    losses: Array
    accuracies: Array

    @property
    def mean_loss(self) -> Array:
        """(penalties,): over the folds."""
        return np.asarray(self.losses.mean(axis=0))

    @property
    def standard_error(self) -> Array:
        """(penalties,): of the mean loss, from how the folds differ."""
        return np.asarray(self.losses.std(axis=0, ddof=1) / np.sqrt(len(self.losses)))

    @property
    def best(self) -> int:
        """The penalty with the lowest mean loss, the strongest of equals."""
        return int(self.mean_loss.argmin())


def stratified_folds(labels: Array, n_folds: int, seed: int) -> Array:
    """The fold (N,) that each row is held out in; each has its share of every class.

    The only row of a class is in none (-1), so that all folds train on every class.
    """
    n_folds = check.integer(n_folds, "the number of folds", 2)
    numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(numbers[order], kind="stable")]  # by class, in random order within
    order = order[counts[numbers[order]] > 1]
    if len(order) < n_folds:
        raise ValueError(
            f"{n_folds} folds need as many rows of classes with two rows or more, got {len(order)}"
        )
    folds = np.full(len(labels), -1)
    folds[order] = np.arange(len(order)) % n_folds
    return folds


def cross_validate(X: Any, y: Any, folds: Array, *, l2s: Any, **options: Any) -> CrossValidation:
    """A path of penalties for each fold, trained on the other rows; options as in `fit_path`."""
    paths = []
    for fold in range(int(folds.max()) + 1):
        held_out = (folds == fold).astype(np.float64)
        paths.append(
            fit_path(
                X,
                y,
                l2s=l2s,
                sample_weight=1 - held_out,
                validation_data=(X, y, held_out),
                **options,
            )
        )
    losses = np.array([path.validation_loss for path in paths])
    accuracies = np.array([path.validation_accuracy for path in paths])
    return CrossValidation(paths[0].l2s, losses, accuracies)
