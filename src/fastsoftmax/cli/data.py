"""Reading the user's tables: .csv and .parquet by column name, .npy and .npz by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fastsoftmax import validation as check

Array = npt.NDArray[Any]


DEFAULT_LABEL = "y"  # the array of labels in an .npz


class DataError(ValueError):
    """The user's file does not hold what is needed; the text is one clear line."""


@dataclass(frozen=True)
class Table:
    """Columns of a file: a frame with names, or a plain array with none."""

    path: Path
    frame: pl.DataFrame | None = None
    array: Array | None = None  # (N, columns)
    labels: Array | None = None  # (N,), where the file holds them apart
    names: tuple[str, ...] | None = None  # of the array's columns, where the file has them

    def label_column(self, label: str | None) -> tuple[Array, Array, tuple[str, ...] | None]:
        """(X, y, feature names) with the label column taken out."""
        rest = self.without_labels(label)
        if rest.frame is None:
            assert rest.array is not None
            return rest.array, self.label_values(label), rest.names
        names = rest.frame.columns
        return rest._features(names), self.label_values(label), tuple(names)

    def without_labels(self, label: str | None) -> Table:
        """The other columns."""
        if self.frame is not None:
            columns = self.frame.columns
            if label is None:
                raise DataError(
                    f"{self.path}: name the label with --label, one of {listed(columns)}"
                )
            if label not in columns:
                raise DataError(f"{self.path} has no column {label!r}; it has {listed(columns)}")
            return Table(self.path, frame=self.frame.drop(label))
        assert self.array is not None
        self._finite(self.array)
        if self.labels is not None:
            self._finite(self.labels)
            return Table(self.path, array=self.array, names=self.names)
        if self.path.suffix == ".npz":
            raise DataError(f"{self.path} has no array {label or DEFAULT_LABEL!r} of labels")
        width = self.array.shape[1]
        try:
            position = range(width)[int(label or "")]
        except (ValueError, IndexError):
            raise DataError(
                f"{self.path}: --label must be a column number from {-width} to {width - 1}"
            ) from None
        if position == 0:
            X = self.array[:, 1:]
        elif position == width - 1:
            X = self.array[:, :-1]
        else:
            X = np.delete(self.array, position, axis=1)
        return Table(self.path, array=X)

    def label_values(self, label: str | None, *, as_spelt: bool = False) -> Array:
        """The labels (N,) that `without_labels` leaves out; numbers of a .csv as text if wanted."""
        if self.frame is not None:
            return self._labels(label or "", as_spelt)
        assert self.array is not None
        return self.array[:, int(label or "")] if self.labels is None else self.labels

    def features(self, names: Sequence[str] | None, n_features: int) -> Array:
        """X with the columns a model was trained on: by name where both sides have names."""
        if self.frame is not None and names is not None:
            missing = [name for name in names if name not in self.frame.columns]
            if missing:
                raise DataError(
                    f"{self.path} lacks {listed(missing)}, which the model was trained on"
                )
            return self._features(names)
        width = self.frame.width if self.frame is not None else _width(self.array)
        if width != n_features:
            raise DataError(
                f"{self.path} has {width} columns; the model needs {n_features}, "
                "and they cannot be matched by name"
            )
        if self.frame is not None:
            return self._features(self.frame.columns)
        assert self.array is not None
        self._finite(self.array)
        return self.array

    def _features(self, names: Sequence[str]) -> Array:
        assert self.frame is not None
        if not names:
            raise DataError(f"{self.path} has no feature columns")
        for name in names:
            column = self.frame[name]
            numbers = column.cast(pl.Float64, strict=False)
            for row in (numbers.is_null() & column.is_not_null()).arg_true().head(1):
                raise DataError(
                    f"{self.path}: column {name!r} holds {column[row]!r} in row {row + 1}, "
                    "which is not a number"
                )
            self._complete(numbers)
        frame = self.frame.select(names)
        narrow = all(dtype == pl.Float32 for dtype in frame.dtypes)
        X = frame.cast(pl.Float32 if narrow else pl.Float64).to_numpy(order="c")
        return np.ascontiguousarray(X)

    def _labels(self, name: str, as_spelt: bool) -> Array:
        assert self.frame is not None
        column = self.frame[name]
        if self.path.suffix == ".csv" and not as_spelt:
            column = self._numbers_if_spelt_so(column)
        self._complete(column)
        if column.dtype.is_numeric() or column.dtype == pl.Boolean:
            return column.to_numpy()
        return np.array(column.cast(pl.String).to_list(), dtype=np.str_)

    def _numbers_if_spelt_so(self, text: pl.Series) -> pl.Series:
        """Numbers, if each is written as predictions will be: "01" and "1e3" are names."""
        floats = text.cast(pl.Float64, strict=False)
        if not floats.is_null().any():
            self._complete(floats)
            for row in (floats != floats.round()).arg_true().head(1):
                raise DataError(
                    f"{self.path}: column {text.name!r} holds {text[row]} in row {row + 1}, which "
                    "looks continuous: labels are names or whole numbers"
                )
        for numbers in (text.cast(pl.Int64, strict=False), floats):
            if numbers.cast(pl.String).eq_missing(text).all():
                return numbers
        return text

    def _complete(self, column: pl.Series) -> None:
        """Each row has a value, and a number is finite."""
        for row in column.is_null().arg_true().head(1):
            raise DataError(f"{self.path}: column {column.name!r} has no value in row {row + 1}")
        if column.dtype.is_float():
            for row in (~column.is_finite()).arg_true().head(1):
                raise DataError(
                    f"{self.path}: column {column.name!r} holds {column[row]} in row {row + 1}, "
                    "which is not finite"
                )

    def _finite(self, array: Array) -> None:
        """An array of the file holds no NaN or infinity."""
        cell = check.first_non_finite(array) if array.dtype.kind == "f" else None
        if cell is not None:
            place = f"row {cell[0]}, column {cell[1]}" if array.ndim == 2 else f"label {cell[0]}"
            raise DataError(
                f"{self.path}: {place} (counted from 0) is {array[cell]}, which is not finite"
            )


def read(path: Path, label: str | None = None) -> Table:
    """Read a data file by its ending; `label` names the array of labels in an .npz.

    In a .csv, it names the column that is left as it is spelt.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        if path.suffix == ".csv":
            as_spelt = {} if label is None else {label: pl.String}
            frame = pl.read_csv(path, infer_schema_length=None, schema_overrides=as_spelt)
            return Table(path, frame=frame)
        if path.suffix == ".parquet":
            return Table(path, frame=pl.read_parquet(path))
        if path.suffix == ".npy":
            return Table(
                path, array=_matrix(np.load(path, mmap_mode="r", allow_pickle=False), path)
            )
        if path.suffix == ".npz":
            return _read_npz(path, label or DEFAULT_LABEL)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} could not be read: {reason}") from None
    raise DataError(f"{path}: the ending must be .csv, .parquet, .npy or .npz")


def _read_npz(path: Path, label: str) -> Table:
    with np.load(path, allow_pickle=False) as archive:
        if "X" not in archive.files:
            raise DataError(f"{path} has no array 'X'; it has {listed(archive.files)}")
        X = _matrix(archive["X"], path)
        y = archive[label] if label in archive.files else None
        names = archive["feature_names"] if "feature_names" in archive.files else None
    if y is not None and y.shape != (len(X),):
        raise DataError(f"{path}: {label!r} must have shape ({len(X)},), got {y.shape}")
    return Table(path, array=X, labels=y, names=None if names is None else tuple(map(str, names)))


def _matrix(array: Array, path: Path) -> Array:
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: a two-dimensional array of numbers is needed, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array


def _width(array: Array | None) -> int:
    return 0 if array is None else array.shape[1]


def listed(names: Sequence[Any]) -> str:
    """The first of them, and how many more there are."""
    shown = ", ".join(map(repr, names[:8]))
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
