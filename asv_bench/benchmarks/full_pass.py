"""One full pass over X: the mean loss and its gradient."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from fastsoftmax import loss_and_gradient
from fastsoftmax.reference import baseline_loss_and_gradient

from .problems import (
    DTYPES,
    IMPLEMENTATIONS,
    SHAPES,
    checked_difference,
    problem,
    skip_float64_repeats,
)

FUNCTIONS = {"fastsoftmax": loss_and_gradient, "numpy": baseline_loss_and_gradient}


class LossAndGradient:
    param_names = ("dtype", "shape", "implementation")
    params = (DTYPES, tuple(SHAPES), IMPLEMENTATIONS)

    def setup(self, dtype, shape, implementation):
        skip_float64_repeats(dtype, shape)
        self.problem = problem(dtype, *SHAPES[shape])
        self.loss_and_gradient = FUNCTIONS[implementation]
        self.time_loss_and_gradient(dtype, shape, implementation)  # compiles, starts the threads

    def time_loss_and_gradient(self, dtype, shape, implementation):
        self.loss_and_gradient(*self.problem)


NARROW = {"uint8": np.uint8, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


class NarrowLossAndGradient:
    """The same, of X of one or two bytes a number: NumPy converts it in each pass."""

    param_names = ("dtype", "shape", "implementation")
    params = (
        tuple(NARROW),
        tuple(shape for shape in SHAPES if shape.partition(" ")[0] in ("mnist", "binary_probe")),
        IMPLEMENTATIONS,
    )

    def setup(self, dtype, shape, implementation):
        X, *self.rest = problem("float32", *SHAPES[shape])
        self.X = (abs(X) if dtype == "uint8" else X).astype(NARROW[dtype])
        function = FUNCTIONS[implementation]
        if implementation == "numpy":
            self.loss_and_gradient = lambda X, *rest: function(X.astype(np.float32), *rest)
        else:
            self.loss_and_gradient = function
        self.time_loss_and_gradient(dtype, shape, implementation)

    def time_loss_and_gradient(self, dtype, shape, implementation):
        self.loss_and_gradient(self.X, *self.rest)


class NarrowDifference:
    """How far our answer is from that of the float32 copy: it has the same bits."""

    param_names = ("dtype",)
    params = (tuple(NARROW),)

    def track_gradient_difference(self, dtype):
        X, *rest = problem("float32", *next(iter(SHAPES.values())))
        X = (abs(X) if dtype == "uint8" else X).astype(NARROW[dtype])
        ours, copys = (loss_and_gradient(rows, *rest)[1] for rows in (X, X.astype(np.float32)))
        return checked_difference(ours, copys, 0)


class Difference:
    """How far the answers that are timed above lie apart."""

    param_names = ("dtype", "shape")
    params = (DTYPES, tuple(SHAPES))

    def setup(self, dtype, shape):
        skip_float64_repeats(dtype, shape)
        arrays = problem(dtype, *SHAPES[shape])
        self.ours = loss_and_gradient(*arrays)
        self.numpys = baseline_loss_and_gradient(*arrays)

    def track_loss_difference(self, dtype, shape):
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        return checked_difference(self.ours[0], self.numpys[0], tolerance)

    track_loss_difference.unit = "nats"

    def track_gradient_difference(self, dtype, shape):
        """As a share of the gradient's largest entry."""
        largest = abs(self.numpys[1]).max()
        tolerance = 1e-3 if dtype == "float32" else 1e-11
        return checked_difference(self.ours[1] / largest, self.numpys[1] / largest, tolerance)

    track_gradient_difference.unit = "of the largest entry"
