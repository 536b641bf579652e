"""How a column that holds no single numbers becomes features: one-hot categories, and vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.tables.cells import Place, raise_if_too_large, texts_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Category:
    """A feature for each value, 1 where the row has it; no such 1 for a value never seen."""

    name: str
    values: tuple[str, ...]

    @property
    def features(self) -> list[str]:
        return [f"{self.name}={value}" for value in self.values]

    @property
    def width(self) -> int:
        return len(self.values)

    def encode(self, column: pl.Series, place: Place, out: Array) -> Array | None:
        out[:] = 0
        indices = self.indices(column)
        seen = np.flatnonzero(indices >= 0)
        out[seen, indices[seen]] = 1
        missing: Array = indices == -2
        return missing if missing.any() else None

    def indices(self, column: pl.Series) -> Array:
        """Which value (N,) each row has; -1 for one never seen, -2 for none."""
        texts = texts_of(column)
        found = texts.replace_strict(
            pl.Series(self.values, dtype=pl.String),
            pl.Series(range(len(self.values)), dtype=pl.Int32),
            default=-1,
            return_dtype=pl.Int32,
        )
        indices: Array = found.to_numpy(writable=True)
        indices[texts.is_null().to_numpy()] = -2
        return indices


@dataclass(frozen=True)
class Vector:
    """A list of numbers, equally many in each row: a feature for each of them."""

    name: str
    mean: tuple[float, ...]

    @property
    def features(self) -> list[str]:
        return [f"{self.name}[{i}]" for i in range(len(self.mean))]

    @property
    def width(self) -> int:
        return len(self.mean)

    def encode(self, column: pl.Series, place: Place, out: Array) -> Array | None:
        lists = lists_of(column)
        width = len(self.mean)
        for row in (lists.list.len() != width).arg_true().head(1):
            raise place.error(row, f"{len(lists[row])} numbers", f"should be {width}")
        missing: Array = lists.is_null().to_numpy()
        values = lists.drop_nulls().list.to_array(width).to_numpy().reshape(-1, width)
        rows = np.flatnonzero(~missing)
        raise_if_too_large(values, [place], out.dtype, rows)
        out[rows] = values
        missing[rows] = np.isnan(values).any(axis=1)
        if not missing.any():
            return None
        out[missing] = self.mean
        return missing


def lists_of(column: pl.Series) -> pl.Series:
    """A column of lists or arrays of numbers, as lists of float64; null where one is missing."""
    return column.cast(pl.List(pl.Float64))
