"""A table as X, by a recipe: dense, or sparse where a column holds documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.errors import DataError
from fastsoftmax.cli.tables.cells import Place
from fastsoftmax.cli.tables.columns import Category
from fastsoftmax.cli.tables.numbers import Number, encode_numbers
from fastsoftmax.cli.tables.recipe import Recipe
from fastsoftmax.cli.tables.table import Table, reading
from fastsoftmax.cli.tables.text import Text

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Features:
    """What a recipe made of a table.

    Attributes
    ----------
    X : ndarray or scipy.sparse.csr_array, (rows, D)
    rows : ndarray, (N,), or None
        True for the rows of the table that are in X; None where all are.
    notes : list of str
        What a person should be told.
    """

    X: Any
    rows: Array | None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """Some consecutive rows of a table.

    Attributes
    ----------
    batch : polars.DataFrame
        The columns that were read.
    X : ndarray or scipy.sparse.csr_array
        Of the rows that are kept.
    kept : ndarray, or None
        True for these rows; None where all are.
    """

    batch: pl.DataFrame
    X: Any
    kept: Array | None


class Encoder:
    """What makes X of a table's rows, some after others."""

    def __init__(self, recipe: Recipe, table: Table, dtype: np.dtype[Any]) -> None:
        self.recipe = recipe = recipe.matched(table)
        self._table, self._dtype = table, dtype
        self._unseen = dict.fromkeys(recipe.names, 0)
        self._numbers = [column for column in recipe.columns if isinstance(column, Number)]
        self._spans = list(zip(recipe.columns, recipe.spans, strict=True))
        spans = self._spans
        self._places = [span.start for column, span in spans if isinstance(column, Number)]

    def room(self, n_rows: int) -> _Dense | _Sparse:
        """Where so many rows can be put."""
        kind = _Sparse if self.recipe.is_sparse else _Dense
        return kind(n_rows, self.recipe.n_dense, self._dtype)

    def parts(self, others: Sequence[str] = ()) -> Iterator[Part]:
        """All rows; other columns are read beside those of the recipe."""
        names = list(dict.fromkeys([*self.recipe.names, *others]))
        for first, batch in self._table.batches(names):
            rows = self.room(batch.height)
            kept = self.put(first, batch, rows)
            yield Part(batch, rows.whole(), kept)

    def put(self, first: int, batch: pl.DataFrame, rows: _Dense | _Sparse) -> Array | None:
        """A batch, whose first row has this number, goes to `rows`; which are kept, if not all."""
        block = rows.block(batch.height)
        place = Place(self._table.name, first_row=first)
        documents = []
        lacking = np.zeros(batch.height, bool)
        names = [column.name for column in self._numbers]
        choice = self.recipe.missing
        with reading(self._table.name):
            values = np.empty((batch.height, len(names)), self._dtype)
            cells = batch.select(names)
            for number, missing in encode_numbers(self._numbers, cells, place, values):
                _raise_if_refused(choice, missing, place.of(number.name), number)
                lacking |= missing
            block[:, self._places] = values
            for column, span in self._spans:
                if isinstance(column, Number):
                    continue
                here = place.of(column.name)
                if isinstance(column, Text):
                    found, lacks = column.encode(batch[column.name])
                    documents.append(found)
                else:
                    lacks = column.encode(batch[column.name], here, block[:, span])
                if isinstance(column, Category):
                    self._unseen[column.name] += _unseen(block[:, span], lacks)
                if lacks is not None:
                    _raise_if_refused(choice, lacks, here, column)
                    lacking |= lacks
        kept = ~lacking if choice == "drop" and lacking.any() else None
        rows.add(block, documents, kept)
        return kept

    @property
    def notes(self) -> list[str]:
        """What a person should be told of the rows so far."""
        return [
            f"column {name!r}: {count} rows of values that training did not have"
            for name, count in self._unseen.items()
            if count
        ]


def encode(
    recipe: Recipe, table: Table, dtype: np.dtype[Any], n_rows: int | None = None
) -> Features:
    """X of all rows, in `dtype`; without those to be dropped."""
    encoder = Encoder(recipe, table, dtype)
    n_rows = table.count_rows() if n_rows is None else n_rows
    rows = encoder.room(n_rows)
    whole = np.ones(n_rows, bool)
    for first, batch in table.batches(encoder.recipe.names):
        kept = encoder.put(first, batch, rows)
        if kept is not None:
            whole[first : first + batch.height] = kept
    return Features(rows.whole(), None if whole.all() else whole, encoder.notes)


class _Dense:
    """Rows in one matrix, which is there from the start."""

    def __init__(self, n_rows: int, width: int, dtype: np.dtype[Any]) -> None:
        self._X = np.empty((n_rows, width), dtype)
        self._end = 0

    def block(self, n_rows: int) -> Array:
        """Where the next rows are to be written."""
        return self._X[self._end : self._end + n_rows]

    def add(self, block: Array, documents: list[Any], kept: Array | None) -> None:
        """The rows that are written are in X, but for those that are not `kept`."""
        if kept is None:
            self._end += len(block)
        else:
            rows = block[kept]
            block[: len(rows)] = rows
            self._end += len(rows)

    def whole(self) -> Any:
        return self._X[: self._end]


class _Sparse:
    """Rows of numbers and of documents side by side, in parts."""

    def __init__(self, n_rows: int, width: int, dtype: np.dtype[Any]) -> None:
        self._width, self._dtype = width, dtype
        self._parts: list[Any] = []

    def block(self, n_rows: int) -> Array:
        return np.empty((n_rows, self._width), self._dtype)

    def add(self, block: Array, documents: list[Any], kept: Array | None) -> None:
        from scipy.sparse import csr_array, hstack

        rows = hstack([csr_array(block), *documents], format="csr", dtype=self._dtype)
        self._parts.append(rows if kept is None else rows[np.flatnonzero(kept)])

    def whole(self) -> Any:
        from scipy.sparse import csr_array, vstack

        return csr_array(vstack(self._parts, format="csr"))


def _unseen(onehot: Array, missing: Array | None) -> int:
    """How many rows have a value, but none that training had."""
    without = int((~onehot.any(axis=1)).sum())
    return without if missing is None else without - int(missing.sum())


def _raise_if_refused(choice: str, missing: Array, place: Place, column: Any) -> None:
    can_fill = not isinstance(column, Number) or column.mean is not None
    if choice == "drop" or (choice == "fill" and can_fill):
        return
    row = place.first_row + int(missing.argmax()) + 1
    hint = "--missing drop leaves such rows out"
    if can_fill:
        hint += ", --missing fill takes the mean or no category"
    raise DataError(f"{place.table}: column {place.column!r} has no value in row {row}; {hint}")
