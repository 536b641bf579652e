"""Sums of weights: of blocks of 512 rows, then rounded once, however the rows come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK = 512  # weights that are summed by themselves


def sum_of(values: Array) -> float:
    """The sum of float64 values, infinite where it is beyond float64."""
    with np.errstate(over="ignore"):
        return float(np.add.reduce(values))


def add_by_class(sums: Array, labels: Array, weight: Array) -> Array:
    """(K,): sums of weights by class, and those of more rows, which are added one by one.

    So it makes no difference where rows are cut.
    """
    numbers = np.concatenate([np.arange(len(sums)), labels])
    with np.errstate(over="ignore"):
        return np.bincount(numbers, np.concatenate([sums, weight]))


def sums_of_blocks(weight: Array) -> Array:
    """Those of a whole number of blocks."""
    with np.errstate(over="ignore"):
        return np.asarray(weight.reshape(-1, BLOCK).sum(axis=1))


def rounded_once(sums: list[float]) -> float:
    """The sum of a few, as if without rounding on the way."""
    try:
        return math.fsum(sums)
    except OverflowError:
        return math.inf


def sum_of_weights(weight: Array) -> float:
    """The sum of all, infinite where it is beyond float64."""
    if len(weight) < BLOCK:
        return sum_of(weight)
    sums = WeightSum()
    sums.add(weight)
    return sums.total


class WeightSum:
    """The sum of weights that come in any portions."""

    def __init__(self) -> None:
        self._rest = np.empty(0)
        self._sums: list[Array] = []
        self.largest = 0.0

    def add(self, weight: Array) -> None:
        """Those of the next rows."""
        if weight.size:
            self.largest = max(self.largest, float(weight.max()))
        if self._rest.size:
            weight = np.concatenate([self._rest, weight])
        whole = len(weight) // BLOCK * BLOCK
        self._sums.append(sums_of_blocks(weight[:whole]))
        self._rest = weight[whole:].copy()

    @property
    def total(self) -> float:
        """Infinite where it is beyond float64."""
        sums = np.concatenate([*self._sums, [sum_of(self._rest)]])
        return rounded_once(sums.tolist())
