"""Means and variances of columns that come in parts, and whether float32 holds their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Beyond so many standard deviations from zero, what float32 rounds off a number is more than 1e-4
# of the column's standard deviation.
_FAR = 1000.0
_LARGE, _SMALL = 1e30, 1e-30


@dataclass
class Moments:
    """Mean and variance of numbers that come in parts; NaN is none. Of one column or several."""

    count: Any = 0
    mean: Any = 0.0
    squares: Any = 0.0  # the sum of squared differences from the mean

    def add(self, values: Array) -> None:
        """`values` (N,) or (N, columns)."""
        count = len(values)
        mean = values.mean(axis=0)
        if np.isnan(mean).any():
            known = ~np.isnan(values)
            count = known.sum(axis=0)
            mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
            values = np.where(known, values, mean)
        squares = ((values - mean) ** 2).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = self.count + count

    def by_column(self, names: list[str]) -> dict[str, Moments]:
        """Those of each column."""
        if not names:
            return {}
        parts = (
            np.broadcast_to(part, len(names)) for part in (self.count, self.mean, self.squares)
        )
        return {name: Moments(*each) for name, *each in zip(names, *parts, strict=True)}

    def fits_float32(self) -> bool:
        """Whether float32 loses nothing that matters; see `_FAR`."""
        deviation = np.sqrt(self.squares / np.maximum(self.count, 1))
        size = np.abs(self.mean) + deviation
        near = np.abs(self.mean) <= _FAR * deviation
        scaled = (size < _LARGE) & ((deviation > _SMALL) | (size == 0))
        return bool(np.all((near & scaled) | ((deviation == 0) & (size < _LARGE))))
