"""Record batches of Arrow as rows, labels and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.sources.batch import Batch, Coded

Array = npt.NDArray[Any]

_NUMBERS = {
    "bool": np.bool_, "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "halffloat": np.float16, "float": np.float32, "double": np.float64,
}  # fmt: skip

# Rows whose cells are brought from columns into rows at once, in cache.
_BLOCK_BYTES = 2**18


def import_pyarrow() -> Any:
    """pyarrow, or an error that names the extra."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            "reading Parquet and Arrow needs pyarrow: pip install 'fastsoftmax[arrow]'"
        ) from None
    return pyarrow


class Columns:
    """Which columns are features, labels and weights, by the schema of the first part."""

    def __init__(self, label: str | None, features: Sequence[str] | None, weight: str | None):
        self._label, self._asked, self._weight = label, features, weight
        self.features: Sequence[str] = []
        self._types: dict[str, Any] = {}
        self._dtype: np.dtype[Any]
        self._widths: dict[str, int] = {}  # of columns of lists

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Those of columns of numbers; lists have none for their entries."""
        lists = any(_is_list(_plain_type(self._types[name])) for name in self.features)
        return None if lists else tuple(self.features)

    def read(self, labels: bool) -> list[str]:
        """The columns to ask for."""
        others = [self._label, self._weight] if labels else []
        return [*self.features, *(name for name in others if name is not None)]

    def learn(self, schema: Any, place: str, labels: bool) -> None:
        """Check the schema of a part of the source; the first says what the others must have."""
        count = Counter(schema.names)
        first = not self._types
        if first:
            self.features = self._features_of(schema) if self._asked is None else self._asked
        elif self._asked is None:
            unknown = [name for name in self._features_of(schema) if name not in self._types]
            if unknown:
                raise ValueError(
                    f"{place} has a column {unknown[0]!r}, which the first part has not"
                )
        if not self.features:
            raise ValueError(f"{place} has no columns of features")
        for name in self.read(labels):
            if count[name] != 1:
                has = "several columns" if count[name] else "no column"
                raise ValueError(f"{place} has {has} {name!r}; it has {_listed(schema.names)}")
            found = schema.field(name).type
            expected = self._types.setdefault(name, found)
            if found != expected and not (name == self._label and _alike(found, expected)):
                raise ValueError(
                    f"column {name!r} of {place} is {found}, and {expected} in the first part"
                )
        if first:
            self._dtype = np.result_type(*(self._number_type(d, place) for d in self.features))
            if labels and self._weight is not None:
                self._number_type(self._weight, place)

    def _features_of(self, schema: Any) -> list[str]:
        """All columns but labels, weights and those that pandas takes for its index."""
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        others = {self._label, self._weight, *(name for name in index if isinstance(name, str))}
        return [name for name in schema.names if name not in others]

    def _number_type(self, name: str, place: str) -> Any:
        type_ = _plain_type(self._types[name])
        value = type_.value_type if _is_list(type_) and name != self._weight else type_
        dtype = _NUMBERS.get(str(value))
        if dtype is None:
            raise TypeError(
                f"column {name!r} of {place} is {type_}; features and weights are numbers, "
                "booleans or, for features, lists of them: name the columns in `features`"
            )
        return dtype

    def batch(self, record: Any, place: str, first: int, labels: bool) -> Batch:
        """Rows of a record batch, which begins at row `first` of a file or the like."""
        columns = {name: _storage(record.column(name)) for name in self.read(labels)}
        for name, column in columns.items():
            if column.null_count:
                self._raise_null(column, name, place, first)
        X = self._X([self._cells(columns[name], name, place, first) for name in self.features])
        y = self._labels(columns[self._label]) if labels and self._label is not None else None
        weighted = labels and self._weight is not None
        weight = _numbers(columns[str(self._weight)]) if weighted else None
        return Batch(X, y, weight, place, first)

    def _X(self, columns: list[Array]) -> Array:
        if len(columns) == 1 and columns[0].ndim == 2:
            return np.ascontiguousarray(columns[0], self._dtype)
        starts = np.cumsum([0] + [1 if column.ndim == 1 else column.shape[1] for column in columns])
        X = np.empty((len(columns[0]), int(starts[-1])), self._dtype)
        step = max(_BLOCK_BYTES // max(X.shape[1] * X.itemsize, 1), 64)
        for start in range(0, len(X), step):
            rows = slice(start, start + step)
            for column, d in zip(columns, starts, strict=False):
                if column.ndim == 1:
                    X[rows, d] = column[rows]
                else:
                    X[rows, d : d + column.shape[1]] = column[rows]
        return X

    def _cells(self, column: Any, name: str, place: str, first: int) -> Array:
        """(n,) of a column of numbers, (n, width) of one of lists."""
        if not _is_list(column.type):
            return _numbers(column)
        if hasattr(column.type, "list_size"):
            width = int(column.type.list_size)
        else:
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            width = self._widths.setdefault(name, int(lengths[0]))
            odd = np.flatnonzero(lengths != width)
            if odd.size:
                i = int(odd[0])
                raise ValueError(
                    f"column {name!r} has a list of {lengths[i]} in row {first + i} of {place}, "
                    f"and of {width} before"
                )
        values = column.flatten()
        if values.null_count:
            self._raise_null(values, name, place, first, width)
        return _numbers(values).reshape(len(column), width)

    def _raise_null(self, column: Any, name: str, place: str, first: int, width: int = 1) -> None:
        i = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0]) // width
        raise ValueError(
            f"column {name!r} has a null in row {first + i} of {place}; fill or drop such rows"
        )

    def _labels(self, column: Any) -> Coded:
        pyarrow = import_pyarrow()
        if not pyarrow.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        if column.dictionary.null_count:
            raise ValueError(f"column {self._label!r} has a null among its categories")
        values = column.dictionary
        kind = str(values.type)
        if kind in _NUMBERS:
            found = _numbers(values)
        elif "string" in kind or "utf8" in kind:
            found = np.array(values.to_pylist(), np.str_)
        else:
            raise TypeError(
                f"column {self._label!r} is {column.type.value_type}; labels are strings, whole "
                "numbers or booleans"
            )
        return Coded(column.indices.to_numpy(zero_copy_only=False), found)


def _plain_type(type_: Any) -> Any:
    """Of an extension type, as a tensor's, what it lies in."""
    return getattr(type_, "storage_type", type_)


def _storage(column: Any) -> Any:
    """Likewise, of a column."""
    return getattr(column, "storage", column)


def _numbers(column: Any) -> Array:
    found: Array = column.to_numpy(zero_copy_only=False)
    return found


def _is_list(type_: Any) -> bool:
    types = import_pyarrow().types
    return bool(
        types.is_fixed_size_list(type_) or types.is_list(type_) or types.is_large_list(type_)
    )


def _alike(type_: Any, other: Any) -> bool:
    """Whether labels of both types may be mixed: those of dictionaries differ in their index."""
    types = import_pyarrow().types

    def value(kind: Any) -> str:
        name = str(kind.value_type if types.is_dictionary(kind) else kind)
        return "string" if "string" in name else name

    return value(type_) == value(other)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:8]))
    return shown + f" and {len(names) - 8} more" * (len(names) > 8)
