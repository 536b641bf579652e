"""Sums of weights as they stream by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check

Array = npt.NDArray[Any]

_BLOCK = 512


class WeightSum:
    """The sum of weights that come in any portions: of blocks of 512 rows, then rounded once."""

    def __init__(self) -> None:
        self._rest = np.empty(0)
        self._sums: list[Array] = []
        self.largest = 0.0

    def add(self, weight: Array) -> None:
        """Those of the next rows."""
        if weight.size:
            self.largest = max(self.largest, float(weight.max()))
        weight = np.concatenate([self._rest, weight])
        whole = len(weight) // _BLOCK * _BLOCK
        with np.errstate(over="ignore"):
            self._sums.append(weight[:whole].reshape(-1, _BLOCK).sum(axis=1))
        self._rest = weight[whole:].copy()

    @property
    def total(self) -> float:
        """Infinite where it is beyond float64."""
        sums = np.concatenate([*self._sums, [check.sum_of(self._rest)]])
        try:
            return math.fsum(sums.tolist())
        except OverflowError:
            return math.inf
