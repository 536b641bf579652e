"""An epoch of plain SGD in batches of 128 rows: no momentum, penalty or scaling."""

from __future__ import annotations

import numpy as np

from fastsoftmax import fit_sgd
from fastsoftmax.reference import baseline_sgd_epoch

from .problems import (
    DTYPES,
    IMPLEMENTATIONS,
    SHAPES,
    checked_difference,
    problem,
    skip_float64_repeats,
)


def batch_size(n_rows):
    """128, or the little less with which `fit_sgd` splits the rows evenly."""
    return -(-n_rows // -(-n_rows // 128))


def fastsoftmax_epoch(X, y, learning_rate, W, b, order):
    """The baseline's steps by `fit_sgd`, which makes weights and order (of seed 0) itself."""
    result = fit_sgd(
        X,
        y,
        batch_size=batch_size(len(y)),
        epochs=1,
        learning_rate=learning_rate,
        momentum=0,
        l2=0,
        standardize=False,
        seed=0,
    )
    return result.history["loss"][0]


def numpy_epoch(X, y, learning_rate, W, b, order):
    """The baseline steps weights in place: it gets copies, so that every run starts alike."""
    return baseline_sgd_epoch(X, y, W.copy(), b.copy(), order, batch_size(len(y)), learning_rate)


EPOCHS = {"fastsoftmax": fastsoftmax_epoch, "numpy": numpy_epoch}


def epoch_arguments(dtype, shape):
    """The data, a rate that converges on it, the start of `fit_sgd` and its first order of rows."""
    X, y, W, b = problem(dtype, *SHAPES[shape])
    order = np.random.default_rng(0).permutation(len(y))
    return X, y, 1 / X.shape[1], np.zeros_like(W), np.zeros_like(b), order


class Epoch:
    param_names = ("dtype", "shape", "implementation")
    params = (DTYPES, tuple(SHAPES), IMPLEMENTATIONS)

    def setup(self, dtype, shape, implementation):
        skip_float64_repeats(dtype, shape)
        self.arguments = epoch_arguments(dtype, shape)
        self.epoch = EPOCHS[implementation]
        self.time_epoch(dtype, shape, implementation)  # compiles, starts the threads

    def time_epoch(self, dtype, shape, implementation):
        self.epoch(*self.arguments)


class Difference:
    """How far the epochs' mean losses, as timed above, lie apart."""

    param_names = ("dtype", "shape")
    params = (DTYPES, tuple(SHAPES))

    def setup(self, dtype, shape):
        skip_float64_repeats(dtype, shape)
        self.arguments = epoch_arguments(dtype, shape)

    def track_loss_difference(self, dtype, shape):
        # Rounding alone where both visit the rows in one order; 1e-2 is for when they do not.
        return checked_difference(
            fastsoftmax_epoch(*self.arguments), numpy_epoch(*self.arguments), 1e-2
        )

    track_loss_difference.unit = "nats"
