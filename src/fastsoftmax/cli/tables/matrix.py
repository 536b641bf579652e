"""Matrices of numbers without column names of their own: .npy, .npz, sparse .npz and svmlight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.cli.errors import DataError, UsageError, listed
from fastsoftmax.cli.tables.labels import DEFAULT

Array = npt.NDArray[Any]

# Of the arrays that SciPy's save_npz writes, those of all formats.
_SPARSE = {"format", "shape", "data"}


@dataclass(frozen=True)
class Matrix:
    """Rows of numbers.

    Attributes
    ----------
    name : str
        Of the file, as errors give it.
    X : ndarray or scipy.sparse.csr_array, (N, columns)
        With the labels among the columns, in an .npy.
    labels : ndarray, (N,), or None
        Where the file holds them apart.
    names : tuple of str or None
        Of the columns, where the file has them.
    apart : bool
        Labels have a place of their own in files of this kind: in X there are none.
    spelt : bool
        Labels are as the file spells them; they may be numbers.
    first_index : int or None
        The number of the first column in a file in svmlight's format.
    """

    name: str
    X: Any
    labels: Array | None = None
    names: tuple[str, ...] | None = None
    apart: bool = True
    spelt: bool = False
    first_index: int | None = None

    def features(self) -> Any:
        """X, where all its columns are features."""
        values = self.X if isinstance(self.X, np.ndarray) else self.X.data
        self._refuse_non_finite(values)
        return self.X

    def split(self, label: str | None, *, as_spelt: bool = False) -> tuple[Any, Array]:
        """(X, labels)."""
        X = self.features()
        if label is not None and label.lower().endswith(".npy"):
            return X, self._labels_in(label)
        if self.labels is not None:
            self._refuse_non_finite(self.labels)
            wanted = self.spelt and not as_spelt
            return X, _whole_numbers(self.labels) if wanted else self.labels
        if self.apart:
            raise DataError(
                f"{self.name} has no array {label or DEFAULT!r} of labels; --label y.npy takes "
                "those in a file"
            )
        width = X.shape[1]
        try:
            place = range(width)[int(label or "")]
        except (ValueError, IndexError):
            raise UsageError(
                f"{self.name}: --label must be a column number from {-width} to {width - 1}"
            ) from None
        if place == 0:
            rest = X[:, 1:]
        elif place == width - 1:
            rest = X[:, :-1]
        else:
            rest = np.delete(X, place, axis=1)
        return rest, X[:, place]

    def _labels_in(self, path: str) -> Array:
        """The labels in a file of their own."""
        try:
            labels: Array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"--label: {path} could not be read: {error}") from None
        if labels.shape != (self.X.shape[0],):
            shape = f"({self.X.shape[0]},)"
            raise DataError(f"--label: {path} must have shape {shape}, got {labels.shape}")
        return labels

    def _refuse_non_finite(self, array: Array) -> None:
        cell = check.first_non_finite(array) if array.dtype.kind == "f" else None
        if cell is None:
            return
        if array.ndim == 2:
            place = f"row {cell[0]}, column {cell[1]}"
        elif array is self.labels:
            place = f"label {cell[0]}"
        else:
            row = int(np.searchsorted(self.X.indptr, cell[0], side="right")) - 1
            place = f"row {row}, column {self.X.indices[cell[0]]}"
        raise DataError(
            f"{self.name}: {place} (counted from 0) is {array[cell]}, which is not finite"
        )


def read_npy(path: Path) -> Matrix:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Matrix(str(path), _checked(array, str(path)), apart=False)


def read_npz(path: Path, label: str | None) -> Matrix:
    """X dense, or the parts of a sparse one as SciPy saves it; labels in an array `label`."""
    name = str(path)
    with np.load(path, allow_pickle=False) as archive:
        files = set(archive.files)
        y = archive[label or DEFAULT] if (label or DEFAULT) in files else None
        names = archive["feature_names"] if "feature_names" in files else None
        dense = archive["X"] if "X" in files else None
    if dense is not None:
        X = _checked(dense, name)
    elif files >= _SPARSE:
        X = _sparse(path)
    else:
        raise DataError(f"{name} has no array 'X'; it has {listed(sorted(files))}")
    if y is not None and y.shape != (X.shape[0],):
        raise DataError(
            f"{name}: {label or DEFAULT!r} must have shape ({X.shape[0]},), got {y.shape}"
        )
    return Matrix(name, X, y, None if names is None else tuple(map(str, names)))


def _sparse(path: Path) -> Any:
    try:
        from scipy.sparse import csr_array, load_npz
    except ImportError:
        raise ImportError("a sparse matrix needs SciPy: pip install 'fastsoftmax[cli]'") from None
    X = csr_array(load_npz(path))
    X.check_format()
    return _checked(X, str(path))


def _whole_numbers(labels: Array) -> Array:
    """Labels that all are written as whole numbers, +1 and 3.0 too, as such; else as they are."""
    try:
        numbers = labels.astype(np.float64)
    except ValueError:
        return labels
    return numbers.astype(np.int64) if (numbers == np.round(numbers)).all() else numbers


def _checked(array: Any, name: str) -> Any:
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{name}: a two-dimensional array of numbers is needed, "
            f"got shape {array.shape} of {array.dtype}"
        )
    return array
