"""Columns of numbers, all at once: where they are many, a call for each costs more than they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.tables.cells import Place, raise_if_too_large, shown, texts_of

Array = npt.NDArray[Any]

# What stands for a missing value among numbers, in lower case.
MISSING = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "?", "-", ".")
_TRUTH = {"true": 1.0, "false": 0.0}


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


def matrix_of(cells: pl.DataFrame) -> tuple[Array, dict[str, pl.Series]]:
    """(numbers (N, columns), NaN where one is missing; of columns with other cells, which are)."""
    types = cells.schema
    plain = [name for name, dtype in types.items() if _is_plain(dtype)]
    numbers = cells.with_columns(pl.col(plain).cast(pl.Float64, strict=False))
    odd = {}
    nulls = zip(cells.null_count().row(0), numbers.null_count().row(0), strict=True)
    for (name, dtype), (before, after) in zip(types.items(), nulls, strict=True):
        if before != after or not _is_plain(dtype):
            column, which = split_numbers(cells[name])
            numbers = numbers.with_columns(column.alias(name))
            if which is not None:
                odd[name] = which
    return numbers.to_numpy(), odd


def encode_numbers(
    columns: Sequence[Number], cells: pl.DataFrame, place: Place, out: Array
) -> Iterator[tuple[Number, Array]]:
    """Write the features (N, columns) into `out`; which rows of a column lack a value, if any."""
    if not columns:
        return
    values, odd = matrix_of(cells)
    for name, which in odd.items():
        row = int(which.arg_true()[0])
        raise place.of(name).error(row, shown(cells[name][row]), "is not a number")
    raise_if_too_large(values, [place.of(name) for name in cells.columns], out.dtype)
    missing = np.isnan(values)
    if missing.any():
        means = np.array([column.mean or 0.0 for column in columns])
        values = np.where(missing, means, values)
    out[:] = values
    for d in np.flatnonzero(missing.any(axis=0)).tolist():
        yield columns[d], missing[:, d]


def _is_plain(dtype: pl.DataType) -> bool:
    """Whether a cast makes the numbers of it that we want: of a date, it would count days."""
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String)


def split_numbers(column: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """(a column as float64, null or NaN where there is none; which cells are something else)."""
    if column.dtype != pl.String and _is_plain(column.dtype):
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
