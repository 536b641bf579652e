"""One pass over sparse rows, against SciPy and NumPy, on the made texts of `fastsoftmax bench`."""

from __future__ import annotations

from functools import lru_cache

from fastsoftmax import loss_and_gradient
from fastsoftmax.bench.sparse import scipy
from fastsoftmax.bench.texts import MADE, arrays

from .problems import DTYPES, SCALE, checked_difference

# {"name NxD": (name, N)}
ROWS = {name: max(int(MADE[name].n_rows * SCALE), 1000) for name in ("titles", "posts", "hashed")}
PROBLEMS = {f"{name} {n}x{MADE[name].n_features}": (name, n) for name, n in ROWS.items()}


# asv calls `setup` before every sample: the arrays of the last problem are kept.
@lru_cache(maxsize=1)
def problem(dtype, name, n_rows):
    """X, y, W, b; X is CSR."""
    return arrays(name, None, n_rows, dtype)


class LossAndGradient:
    param_names = ("dtype", "problem", "implementation")
    params = (DTYPES, tuple(PROBLEMS), ("fastsoftmax", "scipy"))

    def setup(self, dtype, name, implementation):
        data = problem(dtype, *PROBLEMS[name])
        ours = implementation == "fastsoftmax"
        self.run = (lambda: loss_and_gradient(*data)) if ours else scipy(*data, 1)
        self.run()  # compiles, starts the threads

    def time_loss_and_gradient(self, dtype, name, implementation):
        self.run()


class Difference:
    """How far the losses that are timed above lie apart."""

    param_names = ("dtype", "problem")
    params = (DTYPES, tuple(PROBLEMS))

    def setup(self, dtype, name):
        data = problem(dtype, *PROBLEMS[name])
        self.losses = loss_and_gradient(*data)[0], scipy(*data, 1)()

    def track_loss_difference(self, dtype, name):
        return checked_difference(*self.losses, 1e-4 if dtype == "float32" else 1e-12)

    track_loss_difference.unit = "nats"
