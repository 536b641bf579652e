"""The time of one pass over rows of the data against the NumPy baseline, taking turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.functional import loss_and_gradient
from fastsoftmax.reference import baseline_loss_and_gradient

Array = npt.NDArray[Any]

_ROUNDS = 7
_ROUND_SECONDS = 0.02
_MOST_NUMBERS = 1 << 20  # in the rows and their logits: NumPy makes arrays of that size


def rows_for(n_rows: int, W: Array) -> int:
    """How many rows to compare on: all, or as many as take a few megabytes with NumPy."""
    return min(n_rows, max(1, _MOST_NUMBERS // sum(W.shape)))


def pass_seconds(X: Array, y: Array, W: Array, b: Array) -> tuple[float, float]:
    """The least seconds of one pass (loss and gradient): this library's, and NumPy's."""
    X = np.ascontiguousarray(X, dtype=W.dtype)

    def ours() -> None:
        loss_and_gradient(X, y, W, b)

    def numpys() -> None:
        baseline_loss_and_gradient(X, y, W, b)

    passes = (ours, numpys)
    for run in passes:
        run()  # compiles, and warms caches and thread pools
    repeats = max(1, int(_ROUND_SECONDS / _mean_seconds(numpys, 1)))
    rounds = [[_mean_seconds(run, repeats) for run in passes] for _ in range(_ROUNDS)]
    return min(round[0] for round in rounds), min(round[1] for round in rounds)


def _mean_seconds(run: Callable[[], None], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - started) / repeats
