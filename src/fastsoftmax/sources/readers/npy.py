"""Arrays in .npy files, read where they lie: in mapped memory, a fault would be a crash."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.sources import memory as budget
from fastsoftmax.sources.batch import Batch
from fastsoftmax.sources.readers.unchanged import Unchanged
from fastsoftmax.sources.rows import FileRows, FortranRows, Rows

Array = npt.NDArray[Any]


class NpyReader:
    """X, y and weights in a file each."""

    def __init__(self, X: str, y: str | None, weight: str | None) -> None:
        self._paths = X, y, weight

    def open(self) -> NpyReading:
        return NpyReading(*self._paths)

    def describe(self) -> str:
        return self._paths[0]


class NpyReading:
    """The files, open."""

    feature_names: tuple[str, ...] | None = None

    def __init__(self, X: str, y: str | None, weight: str | None) -> None:
        paths = [path for path in (X, y, weight) if path is not None]
        self._unchanged = Unchanged(paths)
        self._files: list[Any] = []
        self._path = X
        try:
            self._X = self._rows(X, "X")
            self._y = None if y is None else self._rows(y, "y")
            self._weight = None if weight is None else self._rows(weight, "weight")
        except BaseException:
            self.close()
            raise

    def _rows(self, path: str, name: str) -> Rows:
        dtype, shape, offset, fortran = header(path)
        dimensions, kinds = {"X": ((2,), "real"), "y": ((1, 2), ""), "weight": ((1,), "real")}[name]
        if len(shape) not in dimensions:
            raise ValueError(f"{path}, for {name}, has shape {shape}")
        if (kinds and not check.is_real(dtype)) or dtype.kind not in "biufU":
            raise TypeError(f"{path}, for {name}, holds {dtype}")
        if name != "X" and shape[0] != self._X.shape[0]:
            raise ValueError(f"{path} has {shape[0]} rows, {self._path} has {self._X.shape[0]}")
        file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._files.append(file)
        kind = FortranRows if fortran and len(shape) == 2 else FileRows
        return kind(file, offset, dtype, shape)

    def on_disk(self) -> Rows:
        return self._X

    def batches(self, memory: int, *, labels: bool) -> Generator[Batch, None, None]:
        n_rows, n_features = self._X.shape
        rows = budget.batch_rows(memory, n_features * self._X.dtype.itemsize)
        parts = [self._y, self._weight] if labels else [None, None]
        nothing = np.zeros((), self._X.dtype)
        for first in range(0, n_rows, rows):
            count = min(rows, n_rows - first)
            if labels:
                X = np.broadcast_to(nothing, (count, n_features))
            else:
                X = _read(self._X, first, count)
            y, weight = (None if part is None else _read(part, first, count) for part in parts)
            yield Batch(X, y, weight, self._path, first)

    def check(self) -> None:
        self._unchanged.check()

    def close(self) -> None:
        for file in self._files:
            file.close()


def _read(rows: Rows, first: int, count: int) -> Array:
    out = np.empty((count, *rows.shape[1:]), rows.dtype)
    rows.read(first, out)
    return out


def header(path: str) -> tuple[np.dtype[Any], tuple[int, ...], int, bool]:
    """(type, shape, where the numbers begin, whether in Fortran order) of an .npy file."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # reads the header alone
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as .npy: {error}") from None
    if not isinstance(array, np.memmap):
        array.close()
        raise ValueError(f"{path} cannot be read as .npy: it is no single array")
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return array.dtype, array.shape, array.offset, fortran


def text_path(value: Any, name: str) -> str:
    """A path as text."""
    try:
        return str(os.fspath(value))
    except TypeError:
        raise TypeError(f"{name} must be a path, got {type(value).__name__}") from None
