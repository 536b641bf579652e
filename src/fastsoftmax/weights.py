"""Sums of weights: of blocks of 512 rows, then rounded once, however the rows come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_BLOCK = 512


def sum_of(values: Array) -> float:
    """The sum of float64 values, infinite where it is beyond float64."""
    with np.errstate(over="ignore"):
        return float(np.add.reduce(values))


def sum_of_weights(weight: Array) -> float:
    """The sum of all, infinite where it is beyond float64."""
    if len(weight) < _BLOCK:
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
        whole = len(weight) // _BLOCK * _BLOCK
        with np.errstate(over="ignore"):
            self._sums.append(weight[:whole].reshape(-1, _BLOCK).sum(axis=1))
        self._rest = weight[whole:].copy()

    @property
    def total(self) -> float:
        """Infinite where it is beyond float64."""
        sums = np.concatenate([*self._sums, [sum_of(self._rest)]])
        try:
            return math.fsum(sums.tolist())
        except OverflowError:
            return math.inf
