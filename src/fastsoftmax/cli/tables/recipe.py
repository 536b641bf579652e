"""How a table becomes X: which columns, used as what, and what missing values are taken for.

A recipe is learnt in training, kept in the model file as JSON, and applied to every later table.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.cli.errors import DataError, listed
from fastsoftmax.cli.tables import MISSING
from fastsoftmax.cli.tables.columns import Category, Vector
from fastsoftmax.cli.tables.numbers import Number
from fastsoftmax.cli.tables.table import Table
from fastsoftmax.cli.tables.text import Text

Array = npt.NDArray[Any]
Column = Number | Category | Vector | Text

VERSION = 1
_KINDS: dict[str, type[Column]] = {
    "number": Number,
    "category": Category,
    "vector": Vector,
    "text": Text,
}


@dataclass(frozen=True)
class Recipe:
    """How a table becomes X.

    Attributes
    ----------
    columns : tuple
        `Number`, `Category` and `Vector`, then `Text`, in the order of their features in X. None
        of a model that was trained on a matrix.
    missing : str
        What becomes of rows with a missing value: "refuse" (an error names one), "drop" or "fill"
        (means of the rows trained on; none of the categories).
    label : str or None
        The column of labels that the model was trained on.
    first_index : int or None
        Of the columns in a file in svmlight's format that the model was trained on.
    """

    columns: tuple[Column, ...]
    missing: str = "refuse"
    label: str | None = None
    first_index: int | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [column.name for column in self.columns]

    @property
    def spans(self) -> list[slice]:
        """Where the features of each column are in X."""
        ends = np.cumsum([0, *(column.width for column in self.columns)]).tolist()
        return [slice(begin, end) for begin, end in itertools.pairwise(ends)]

    @property
    def is_sparse(self) -> bool:
        return any(isinstance(column, Text) for column in self.columns)

    @property
    def width(self) -> int:
        """How many features there are."""
        return sum(column.width for column in self.columns)

    @property
    def n_dense(self) -> int:
        """How many of them are not of documents; they come first."""
        return sum(column.width for column in self.columns if not isinstance(column, Text))

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """None with documents, whose terms are in the recipe."""
        if self.is_sparse:
            return None
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

    def to_json(self) -> str:
        columns = [{"kind": _kind_of(column), **asdict(column)} for column in self.columns]
        whole = {
            "version": VERSION,
            "missing": self.missing,
            "label": self.label,
            "first_index": self.first_index,
        }
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
            return cls(tuple(columns), whole["missing"], whole["label"], whole["first_index"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"its columns cannot be read: {error}") from None


def of_names(names: Sequence[str]) -> Recipe:
    """Numbers, of columns with these names: of a model that was saved without a recipe."""
    return Recipe(tuple(Number(name) for name in names))


def _kind_of(column: Column) -> str:
    return next(kind for kind, type_ in _KINDS.items() if isinstance(column, type_))


def _column(kind: str, **facts: Any) -> Column:
    made: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
    }
    return _KINDS[kind](**made)
