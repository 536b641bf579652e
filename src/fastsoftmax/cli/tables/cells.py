"""Cells of a column: where they lie, how errors show them, and what they are as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.errors import DataError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Where a part of a column lies, for errors."""

    table: str
    column: str = ""
    first_row: int = 0

    def of(self, column: str) -> Place:
        """The same rows of this column."""
        return replace(self, column=column)

    def error(self, row: int, shown: str, why: str) -> DataError:
        number = self.first_row + row + 1
        return DataError(
            f"{self.table}: column {self.column!r} holds {shown} in row {number}, which {why}"
        )


def shown(cell: Any) -> str:
    """A cell as errors show it."""
    text = repr(cell) if isinstance(cell, str) else str(cell)
    return text if len(text) < 80 else text[:77] + "..."


def texts_of(column: pl.Series) -> pl.Series:
    """A column as text, null where a value is missing."""
    texts = column if column.dtype == pl.String else column.cast(pl.String)
    empty = texts == ""
    return texts.set(empty, None) if empty.any() else texts


def raise_if_too_large(
    values: Array, places: Sequence[Place], dtype: np.dtype[Any], rows: Array | None = None
) -> None:
    """Name the first number (N, columns) that is infinite, or becomes so in `dtype`.

    `rows` are those that the values are of. `places` are those of the columns, or one for all.
    """
    if not np.nanmax(np.abs(values), initial=0) > np.finfo(dtype).max:
        return
    n, d = (int(index) for index in np.argwhere(np.abs(values) > np.finfo(dtype).max)[0])
    why = "is not finite" if np.isinf(values[n, d]) else f"is too large for {dtype}"
    row = n if rows is None else int(rows[n])
    raise places[min(d, len(places) - 1)].error(row, shown(values[n, d]), why)
