"""How a table becomes X: which columns, used as what, and what missing values are taken for.

A recipe is learnt in training, kept in the model file as JSON, and applied to every later table.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.cli.errors import DataError, listed
from fastsoftmax.cli.tables import MISSING
from fastsoftmax.cli.tables.columns import Category, Number, Place, Vector
from fastsoftmax.cli.tables.table import Table, reading

Array = npt.NDArray[Any]
Column = Number | Category | Vector

VERSION = 1
_KINDS: dict[str, type[Column]] = {"number": Number, "category": Category, "vector": Vector}


@dataclass(frozen=True)
class Features:
    """What a recipe made of a table.

    Attributes
    ----------
    X : ndarray, (rows, D)
    rows : ndarray, (N,), or None
        True for the rows of the table that are in X; None where all are.
    notes : list of str
        What a person should be told.
    """

    X: Any
    rows: Array | None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recipe:
    """How a table becomes X.

    Attributes
    ----------
    columns : tuple
        `Number`, `Category` and `Vector`, in the order of their features in X.
    missing : str
        What becomes of rows with a missing value: "refuse" (an error names one), "drop" or "fill"
        (means of the rows trained on; none of the categories).
    label : str or None
        The column of labels that the model was trained on.
    """

    columns: tuple[Column, ...]
    missing: str = "refuse"
    label: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [column.name for column in self.columns]

    @property
    def spans(self) -> list[slice]:
        """Where the features of each column are in X."""
        ends = np.cumsum([0, *(len(column.features) for column in self.columns)]).tolist()
        return [slice(begin, end) for begin, end in itertools.pairwise(ends)]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(name for column in self.columns for name in column.features)

    def matched(self, table: Table) -> Recipe:
        """With the names that the table has; without a header by position where widths agree."""
        missing = [name for name in self.names if name not in table.types]
        if not missing:
            return self
        if not table.header and len(table.types) == len(self.columns):
            pairs = zip(self.columns, table.columns, strict=True)
            return replace(self, columns=tuple(replace(own, name=name) for own, name in pairs))
        raise DataError(f"{table.name} lacks {listed(missing)}, which the model was trained on")

    def apply(self, table: Table, dtype: np.dtype[Any], n_rows: int | None = None) -> Features:
        """X of all rows, in `dtype`; without the rows to be dropped."""
        recipe = self.matched(table)
        n_rows = table.count_rows() if n_rows is None else n_rows
        X = np.empty((n_rows, recipe.spans[-1].stop), dtype)
        whole = np.ones(n_rows, bool)
        unseen = dict.fromkeys(recipe.names, 0)
        end = 0
        for first, batch in table.batches(recipe.names):
            block = X[end : end + batch.height]
            lacking = np.zeros(batch.height, bool)
            for column, span in zip(recipe.columns, recipe.spans, strict=True):
                place = Place(table.name, column.name, first)
                part = block[:, span]
                with reading(table.name):
                    missing = column.encode(batch[column.name], place, part)
                if isinstance(column, Category):
                    unseen[column.name] += int((~part.any(axis=1)).sum())
                    if missing is not None:
                        unseen[column.name] -= int(missing.sum())
                if missing is not None:
                    recipe._raise_if_refused(missing, place, column)
                    lacking |= missing
            if recipe.missing == "drop" and lacking.any():
                whole[first : first + batch.height] = ~lacking
                X[end : end + int((~lacking).sum())] = block[~lacking]
                end -= int(lacking.sum())
            end += batch.height
        notes = [
            f"column {name!r}: {count} rows of values that training did not have"
            for name, count in unseen.items()
            if count
        ]
        return Features(X[:end], None if end == n_rows else whole, notes)

    def _raise_if_refused(self, missing: Array, place: Place, column: Column) -> None:
        if self.missing == "drop" or (self.missing == "fill" and _can_fill(column)):
            return
        row = int(missing.argmax())
        hint = "--missing drop leaves such rows out"
        if _can_fill(column):
            hint += ", --missing fill takes the mean or no category"
        raise DataError(
            f"{place.table}: column {place.column!r} has no value in row "
            f"{place.first_row + row + 1}; {hint}"
        )

    def to_json(self) -> str:
        columns = [{"kind": _kind_of(column), **asdict(column)} for column in self.columns]
        whole = {"version": VERSION, "missing": self.missing, "label": self.label}
        return json.dumps({**whole, "columns": columns}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """What `to_json` gave; ValueError for anything else."""
        try:
            whole = json.loads(text)
            if whole["version"] > VERSION:
                raise ValueError("a later fastsoftmax wrote it")
            columns = [_column(**column) for column in whole["columns"]]
            if whole["missing"] not in MISSING:
                raise ValueError(f"missing values: {whole['missing']!r}")
            return cls(tuple(columns), whole["missing"], whole["label"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"its columns cannot be read: {error}") from None


def of_names(names: Sequence[str]) -> Recipe:
    """Numbers, of columns with these names: of a model that was saved without a recipe."""
    return Recipe(tuple(Number(name) for name in names))


def _can_fill(column: Column) -> bool:
    return not isinstance(column, Number) or column.mean is not None


def _kind_of(column: Column) -> str:
    return next(kind for kind, type_ in _KINDS.items() if isinstance(column, type_))


def _column(kind: str, **facts: Any) -> Column:
    made: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
    }
    return _KINDS[kind](**made)
