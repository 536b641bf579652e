"""Functions of given logits, row by row."""

from __future__ import annotations

from fastsoftmax import cross_entropy_and_gradient, softmax
from fastsoftmax.reference import baseline_cross_entropy_and_gradient, baseline_softmax

from .problems import (
    DTYPES,
    IMPLEMENTATIONS,
    checked_difference,
    logits_and_labels,
    named_shapes,
)

SHAPES = named_shapes(few=(1000000, 10), hundred=(100000, 100), thousand=(10000, 1000))
SOFTMAX = {"fastsoftmax": softmax, "numpy": baseline_softmax}
CROSS_ENTROPY = {
    "fastsoftmax": cross_entropy_and_gradient,
    "numpy": baseline_cross_entropy_and_gradient,
}


class Softmax:
    param_names = ("dtype", "shape", "implementation")
    params = (DTYPES, tuple(SHAPES), IMPLEMENTATIONS)

    def setup(self, dtype, shape, implementation):
        self.Z, _ = logits_and_labels(dtype, *SHAPES[shape])
        self.softmax = SOFTMAX[implementation]
        self.time_softmax(dtype, shape, implementation)  # compiles, starts the threads

    def time_softmax(self, dtype, shape, implementation):
        self.softmax(self.Z)


class CrossEntropyAndGradient:
    param_names = ("dtype", "shape", "implementation")
    params = (DTYPES, tuple(SHAPES), IMPLEMENTATIONS)

    def setup(self, dtype, shape, implementation):
        self.Z, self.y = logits_and_labels(dtype, *SHAPES[shape])
        self.cross_entropy_and_gradient = CROSS_ENTROPY[implementation]
        self.time_cross_entropy_and_gradient(dtype, shape, implementation)

    def time_cross_entropy_and_gradient(self, dtype, shape, implementation):
        self.cross_entropy_and_gradient(self.Z, self.y)


class Difference:
    """How far the answers that are timed above lie apart."""

    param_names = ("dtype", "shape")
    params = (DTYPES, tuple(SHAPES))

    def setup(self, dtype, shape):
        self.Z, self.y = logits_and_labels(dtype, *SHAPES[shape])

    def track_probability_difference(self, dtype, shape):
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        ours, numpys = (function(self.Z) for function in SOFTMAX.values())
        return checked_difference(ours, numpys, tolerance)

    track_probability_difference.unit = "probability"

    def track_loss_difference(self, dtype, shape):
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        ours, numpys = (function(self.Z, self.y)[0] for function in CROSS_ENTROPY.values())
        return checked_difference(ours, numpys, tolerance)

    track_loss_difference.unit = "nats"
