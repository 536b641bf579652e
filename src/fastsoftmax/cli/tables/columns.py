"""How one column of a table becomes features: numbers, one-hot categories, vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.errors import DataError

Array = npt.NDArray[Any]

# What stands for a missing value among numbers, in lower case.
MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "?", "-", ".")
_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Place:
    """Where a part of a column lies, for errors."""

    table: str
    column: str
    first_row: int = 0

    def error(self, row: int, shown: str, why: str) -> DataError:
        number = self.first_row + row + 1
        return DataError(
            f"{self.table}: column {self.column!r} holds {shown} in row {number}, which {why}"
        )


def shown(cell: Any) -> str:
    """A cell as errors show it."""
    text = repr(cell) if isinstance(cell, str) else str(cell)
    return text if len(text) < 80 else text[:77] + "..."


@dataclass(frozen=True)
class Number:
    """A number is a feature; true is 1, false 0.

    Attributes
    ----------
    name : str
    mean : float or None
        Of the rows trained on: what may take the place of a missing value.
    """

    name: str
    mean: float | None = None

    @property
    def width(self) -> int:
        return 1

    @property
    def features(self) -> list[str]:
        return [self.name]

    def encode(self, column: pl.Series, place: Place, out: Array) -> Array | None:
        """Write the features (N, 1) into `out`; which rows (N,) lack a value, None for none."""
        values = numbers_of(column, place).to_numpy()
        missing: Array = np.isnan(values)
        raise_if_too_large(values, place, out.dtype)
        out[:, 0] = values
        if not missing.any():
            return None
        out[missing, 0] = self.mean or 0.0
        return missing


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
        raise_if_too_large(values, place, out.dtype, rows)
        out[rows] = values
        missing[rows] = np.isnan(values).any(axis=1)
        if not missing.any():
            return None
        out[missing] = self.mean
        return missing


def numbers_of(column: pl.Series, place: Place) -> pl.Series:
    """A column as float64, null or NaN where a value is missing; other cells are an error."""
    numbers, odd = split_numbers(column)
    if odd is not None:
        for row in odd.arg_true().head(1):
            raise place.error(row, shown(column[row]), "is not a number")
    return numbers


def raise_if_too_large(
    values: Array, place: Place, dtype: np.dtype[Any], rows: Array | None = None
) -> None:
    """Name the first number, of those in `rows`, that is infinite or becomes so in `dtype`."""
    large = ~(np.abs(values) <= np.finfo(dtype).max) & ~np.isnan(values)
    for at in np.argwhere(large)[:1]:
        value = values[tuple(at)]
        row = int(at[0] if rows is None else rows[at[0]])
        why = "is not finite" if np.isinf(value) else f"is too large for {dtype}"
        raise place.error(row, shown(value), why)


def split_numbers(column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """(a column as float64, null or NaN where there is none; which cells are something else)."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64), None
    texts = texts_of(column)
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() == texts.null_count():
        return numbers, None
    words = texts.str.strip_chars().str.to_lowercase()
    spelt = words.replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    numbers = numbers.fill_null(words.cast(pl.Float64, strict=False)).fill_null(spelt)
    odd = numbers.is_null() & texts.is_not_null() & ~words.is_in(MISSING)
    return numbers, odd if odd.any() else None


def texts_of(column: pl.Series) -> pl.Series:
    """A column as text, null where a value is missing."""
    texts = column if column.dtype == pl.String else column.cast(pl.String)
    empty = texts == ""
    return texts.set(empty, None) if empty.any() else texts


def lists_of(column: pl.Series) -> pl.Series:
    """A column of lists or arrays of numbers, as lists of float64; null where one is missing."""
    return column.cast(pl.List(pl.Float64))
