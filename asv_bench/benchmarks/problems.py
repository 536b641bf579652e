"""Seeded problems in the shapes people meet, and the check that two answers agree.

FASTSOFTMAX_BENCH_SCALE (1 by default) multiplies the rows, of which at least 1000 stay. Sizes are
part of the parameters' names, so that results of different scales never meet.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple

import numpy as np

SCALE = float(os.environ.get("FASTSOFTMAX_BENCH_SCALE", "1"))
DTYPES = ("float32", "float64")
IMPLEMENTATIONS = ("fastsoftmax", "numpy")


class Problem(NamedTuple):
    X: np.ndarray  # (N, D), standard normal
    y: np.ndarray  # (N,), every class equally often
    W: np.ndarray  # (D, K), such that logits are about standard normal
    b: np.ndarray  # (K,)


def named_shapes(**sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """{"name NxDxK": (N, D, K)} with N to scale: what a size is called beside its results."""
    scaled = {name: (max(int(n * SCALE), 1000), *rest) for name, (n, *rest) in sizes.items()}
    return {f"{name} {'x'.join(map(str, size))}": size for name, size in scaled.items()}


SHAPES = named_shapes(
    mnist=(60000, 784, 10),
    covtype=(581012, 54, 7),
    binary_probe=(200000, 384, 2),
    cifar100=(50000, 768, 100),
)


def skip_float64_repeats(dtype: str, shape: str) -> None:
    """Leave out what would teach little more than float32 does, in twice the memory."""
    if dtype == "float64" and shape.partition(" ")[0] in ("binary_probe", "cifar100"):
        raise NotImplementedError  # "n/a" to asv


# asv calls `setup` before every sample: the arrays of the last problem are kept.
@lru_cache(maxsize=1)
def problem(dtype: str, n_rows: int, n_features: int, n_classes: int) -> Problem:
    """The same arrays for the same arguments."""
    generator = np.random.default_rng(0)
    W = generator.standard_normal((n_features, n_classes)) / np.sqrt(n_features)
    return Problem(
        generator.standard_normal((n_rows, n_features), dtype=dtype),
        generator.permutation(n_rows) % n_classes,
        W.astype(dtype),
        generator.standard_normal(n_classes).astype(dtype),
    )


@lru_cache(maxsize=1)
def logits_and_labels(dtype: str, n_rows: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Z (N, K) of standard deviation 3, and y (N,)."""
    generator = np.random.default_rng(0)
    Z = 3 * generator.standard_normal((n_rows, n_classes), dtype=dtype)
    return Z, generator.integers(n_classes, size=n_rows)


def checked_difference(ours: object, numpys: object, tolerance: float) -> float:
    """The largest absolute difference; one above `tolerance`, or NaN, fails the benchmark."""
    difference = float(np.max(np.abs(np.subtract(ours, numpys, dtype=np.float64))))
    if not difference <= tolerance:
        raise AssertionError(f"the two sides differ by {difference:g}, more than {tolerance:g}")
    return difference
