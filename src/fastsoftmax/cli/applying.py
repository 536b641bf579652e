"""A saved model and a file of rows: the file's X as the model needs it, and its labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax.cli.errors import DataError, UsageError, listed
from fastsoftmax.cli.model_file import Saved
from fastsoftmax.cli.tables.encoding import Encoder, Features, Part, encode
from fastsoftmax.cli.tables.labels import label_column, read_labels
from fastsoftmax.cli.tables.matrix import Matrix
from fastsoftmax.cli.tables.recipe import Recipe
from fastsoftmax.cli.tables.table import Table
from fastsoftmax.labels import class_array
from fastsoftmax.model import SoftmaxModel

Array = npt.NDArray[Any]

_PART = 1 << 16  # rows of a matrix that are predicted for at once


class Rows:
    """X of all rows that can be used, some rows after others.

    `notes` is complete once all were had.
    """

    def __init__(
        self, saved: Saved, source: Table | Matrix, missing: str | None, others: Sequence[str]
    ) -> None:
        self.notes: list[str] = []
        self._saved, self._source, self._others = saved, source, others
        if isinstance(source, Matrix):
            _refuse_missing(missing, source)
            self._matrix = _of_matrix(saved.model, source, source.features())
            self.notes += self._matrix.notes
        else:
            recipe = _recipe(saved, source, source.columns, missing)
            self._encoder = Encoder(recipe, source, saved.model.W.dtype)

    def __iter__(self) -> Iterator[Part]:
        """At least one part, which may have no rows."""
        if isinstance(self._source, Matrix):
            X = self._matrix.X
            for first in range(0, max(X.shape[0], 1), _PART):
                yield Part(pl.DataFrame(), X[first : first + _PART], None)
            return
        left_out, nothing = 0, True
        for part in self._encoder.parts(self._others):
            nothing = False
            left_out += 0 if part.kept is None else int((~part.kept).sum())
            yield part
        if nothing:
            empty = pl.DataFrame(schema={name: self._source.types[name] for name in self._others})
            yield Part(empty, np.empty((0, len(self._saved.model.W))), None)
        self.notes += self._encoder.notes
        if left_out:
            self.notes.append(_left_out(left_out))


def labelled(
    saved: Saved, source: Table | Matrix, label: str | None, missing: str | None
) -> tuple[Any, Array, list[str]]:
    """(X, the index of each row's class, notes)."""
    model, classes = saved.model, saved.model.classes
    spelt = classes.dtype.kind == "U"
    if isinstance(source, Matrix):
        _refuse_missing(missing, source)
        X, y = source.split(label, as_spelt=spelt)
        found, rows = _of_matrix(model, source, X), None
        X, y = found.X, class_array(y, "the labels")
    else:
        trained_on = None if saved.recipe is None else saved.recipe.label
        name = label_column(source, label, trained_on)
        if saved.recipe is not None and name in saved.recipe.names:
            raise UsageError(f"--label: the model was trained on {name!r}, which is no label")
        others = [column for column in source.columns if column != name]
        found = _of_table(saved, source, others, missing)
        drop = missing == "drop" or (missing is None and _missing(saved) == "drop")
        y, rows = read_labels(source, name, found.rows, as_spelt=spelt, drop=drop)
        X = found.X
        if rows is not found.rows and rows is not None:  # some rows had no label
            X = X[rows if found.rows is None else rows[found.rows]]
    if not len(y):
        raise DataError(f"{source.name} has no rows")
    alike = (y.dtype.kind == "U") == spelt
    unknown = np.flatnonzero(~np.isin(y, classes)) if alike else np.zeros(1, int)
    if unknown.size:
        n = int(unknown[0])
        row = n if rows is None else int(np.flatnonzero(rows)[n])
        place = f"row {row + 1}" if isinstance(source, Table) else f"row {row} (counted from 0)"
        raise DataError(
            f"{source.name}: the label {y[n].item()!r} in {place} is not one of the model's "
            f"classes: {listed(classes.tolist())}"
        )
    return X, model.label_indices(y), found.notes


def _of_table(saved: Saved, table: Table, columns: list[str], missing: str | None) -> Features:
    """By the recipe."""
    found = encode(_recipe(saved, table, columns, missing), table, saved.model.W.dtype)
    if found.rows is not None:
        found.notes.append(_left_out(int((~found.rows).sum())))
    return found


def _left_out(count: int) -> str:
    return f"{count} rows with missing values are left out"


def _recipe(saved: Saved, table: Table, columns: list[str], missing: str | None) -> Recipe:
    """How columns become X; a model without names takes them in their order."""
    recipe = saved.recipe_for(columns)
    n_features = len(saved.model.W)
    if recipe.width != n_features:
        raise DataError(
            f"{table.name} has {recipe.width} columns; the model needs {n_features}, "
            "and they cannot be matched by name"
        )
    return recipe if missing is None else replace(recipe, missing=missing)


def _of_matrix(model: SoftmaxModel, matrix: Matrix, X: Any) -> Features:
    """All columns; of a sparse matrix, whose width is that of its last entry, those trained on."""
    n_features = len(model.W)
    width = X.shape[1]
    if not isinstance(X, np.ndarray) and width != n_features:
        notes = []
        if width > n_features:
            notes = [f"{width - n_features} columns that training did not have are ignored"]
            X = X[:, :n_features]
        else:
            X.resize((X.shape[0], n_features))
        return Features(X, None, notes)
    if width != n_features:
        raise DataError(
            f"{matrix.name} has {width} columns; the model needs {n_features}, "
            "and they cannot be matched by name"
        )
    return Features(X, None)


def _refuse_missing(missing: str | None, matrix: Matrix) -> None:
    if missing is not None:
        raise UsageError(f"--missing is for tables (.csv, .tsv, .parquet), {matrix.name} is none")


def _missing(saved: Saved) -> str:
    return "refuse" if saved.recipe is None else saved.recipe.missing
