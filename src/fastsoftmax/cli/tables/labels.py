"""The labels of a table: names as they are spelt, or whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.errors import DataError, UsageError, listed
from fastsoftmax.cli.tables.cells import texts_of
from fastsoftmax.cli.tables.table import Table

Array = npt.NDArray[Any]

DEFAULT = "y"  # the column, or the array of an .npz, that holds labels unless another is named

# More classes than these, or more than half as many as rows where they are more than the second,
# look like a measurement, or like names of the rows.
_MOST_CLASSES = 1000
_FEW_CLASSES = 20


def label_column(table: Table, label: str | None, trained_on: str | None = None) -> str:
    """The name of the column of labels: as asked for, as in training, or "y"."""
    if label is not None:
        return table.resolve(label, "--label")
    for name in (trained_on, DEFAULT):
        if name is not None and name in table.types:
            return name
    raise UsageError(
        f"{table.name}: name the column of labels with --label, one of {listed(table.columns)}"
    )


def read_labels(
    table: Table, name: str, rows: Array | None, *, as_spelt: bool = False, drop: bool = False
) -> tuple[Array, Array | None]:
    """(labels, which of `rows` have one); those of text as they are spelt, if wanted.

    With `drop`, rows without a label may be left out; else they are an error.
    """
    column = table.whole([name])[name]
    place = f"{table.name}: column {name!r}"
    if column.dtype.is_nested() or column.dtype.is_temporal() or column.dtype == pl.Binary:
        raise DataError(f"{place} holds {column.dtype}; labels are names or whole numbers")
    if isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
        column = texts_of(column)
    there = column.is_not_null().to_numpy()
    if not there.all():
        if not drop:
            row = int(there.argmin())
            raise DataError(
                f"{place} has no label in row {row + 1}; --missing drop leaves such rows out"
            )
        rows = there if rows is None else rows & there
    numbers = np.flatnonzero(np.ones(len(column), bool) if rows is None else rows)
    column = column.gather(numbers)
    if table.spelt and not as_spelt:
        column = _numbers_if_spelt_so(column, place, numbers)
    _refuse_decimals(column, place, numbers)
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.to_numpy(), rows
    return np.array(column.cast(pl.String).to_list(), dtype=np.str_), rows


def _numbers_if_spelt_so(text: pl.Series, place: str, rows: Array) -> pl.Series:
    """Numbers, if each is written as predictions will be: "01" and "1e3" are names."""
    floats = text.cast(pl.Float64, strict=False)
    if not floats.is_null().any():
        _refuse_decimals(floats, place, rows)
    for numbers in (text.cast(pl.Int64, strict=False), floats):
        if numbers.cast(pl.String).eq_missing(text).all():
            return numbers
    return text


def _refuse_decimals(column: pl.Series, place: str, rows: Array) -> None:
    if not column.dtype.is_float():
        return
    for at in (~column.is_finite()).arg_true().head(1):
        raise DataError(f"{place} holds {column[at]} in row {rows[at] + 1}, which is not finite")
    for at in (column != column.round()).arg_true().head(1):
        raise DataError(
            f"{place} holds {column[at]} in row {rows[at] + 1}, which looks continuous: labels are "
            "names or whole numbers"
        )


def refuse_nonsense(y: Array, place: str, many_classes: bool) -> None:
    """Labels from which nothing sensible can be learnt, said before the training."""
    if not len(y):
        raise DataError(f"{place}: no rows")
    n_classes = len(np.unique(y))
    if n_classes == 1:
        raise DataError(
            f"{place}: all {len(y)} rows have the label {y[0].item()!r}; at least two different "
            "ones are needed"
        )
    if many_classes:
        return
    if n_classes > _MOST_CLASSES or (n_classes > _FEW_CLASSES and 2 * n_classes > len(y)):
        kind = "names of the rows" if y.dtype.kind == "U" else "a measurement"
        raise DataError(
            f"{place}: {n_classes} different labels in {len(y)} rows look like {kind}, not like "
            "classes: choose another column with --label, put values into a few groups, or give "
            "--many-classes if they are classes"
        )
