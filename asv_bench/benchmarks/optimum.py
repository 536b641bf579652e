"""`fit` to its default tolerance, a proven gap of 1e-4, with its default penalty and scaling.

Labels are drawn from a softmax of the features: of random labels the optimum is near zero weights,
and a few passes find it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fastsoftmax import fit

from .problems import DTYPES, named_shapes

SHAPES = named_shapes(
    digits=(10000, 784, 10),
    tabular=(100000, 54, 7),
    embeddings=(20000, 384, 20),
)
TOLERANCE = 1e-4


# asv calls `setup` before every sample: the arrays of the last problem are kept.
@lru_cache(maxsize=1)
def learnable(dtype: str, n_rows: int, n_features: int, n_classes: int):
    """X (N, D), whose columns share a third of their variance, and y (N,)."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((n_rows, n_features), dtype=dtype)
    X += generator.standard_normal((n_rows, 1), dtype=dtype) * np.sqrt(0.5, dtype=dtype)
    W = generator.standard_normal((n_features, n_classes)) * (2 / np.sqrt(n_features))
    return X, (X @ W + generator.gumbel(size=(n_rows, n_classes))).argmax(axis=1)


class Fit:
    param_names = ("dtype", "shape")
    params = (DTYPES, tuple(SHAPES))

    def setup(self, dtype, shape):
        self.arrays = learnable(dtype, *SHAPES[shape])
        self.result = fit(*self.arrays, tol=TOLERANCE)  # compiles, starts the threads
        if not self.result.converged:
            raise AssertionError(f"stopped by {self.result.stopped} at a gap of {self.result.gap}")

    def time_fit(self, dtype, shape):
        fit(*self.arrays, tol=TOLERANCE)

    def track_passes(self, dtype, shape):
        return self.result.n_passes

    track_passes.unit = "passes over X"

    def track_gap(self, dtype, shape):
        return self.result.gap

    track_gap.unit = "of the objective"
