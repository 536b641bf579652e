"""Rows at an address: in memory, or in a file that `readinto` reads."""

from __future__ import annotations

import threading
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from fastsoftmax.sources.errors import SourceChangedError

Array = npt.NDArray[Any]


class Rows(Protocol):
    """Rows of one type that can be read in any order."""

    dtype: np.dtype[Any]  # of the computer's own byte order
    shape: tuple[int, ...]

    def read(self, first: int, out: Array) -> None:
        """out (n, ...) = the rows from `first` on."""
        ...


class ArrayRows:
    """Rows in memory."""

    def __init__(self, array: Array) -> None:
        self.array, self.dtype, self.shape = array, array.dtype, array.shape

    def read(self, first: int, out: Array) -> None:
        out[:] = self.array[first : first + len(out)]


class FileRows:
    """Rows one after another in a file, from `offset` on; several threads may read."""

    def __init__(
        self, file: BinaryIO, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        self._file, self._offset, self.shape = file, offset, shape
        self._swapped = dtype.isnative is False
        self.dtype = dtype.newbyteorder("=") if self._swapped else dtype
        self._row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
        self._lock = threading.Lock()

    def read(self, first: int, out: Array) -> None:
        read_at(self._file, self._lock, self._offset + first * self._row_bytes, out)
        if self._swapped:
            out.byteswap(inplace=True)


class FortranRows:
    """As `FileRows`, but that a file of Fortran order holds one column after another."""

    _BLOCK = 2**18  # bytes whose columns are brought into rows at once, in cache

    def __init__(
        self, file: BinaryIO, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        self._columns = FileRows(file, offset, dtype, (shape[0] * shape[1],))
        self.dtype, self.shape = self._columns.dtype, shape

    def read(self, first: int, out: Array) -> None:
        n_rows, n_features = self.shape
        step = max(self._BLOCK // max(n_features * self.dtype.itemsize, 1), 64)
        part = np.empty((n_features, min(step, len(out))), self.dtype)
        for start in range(0, len(out), step):
            rows = out[start : start + step]
            for d in range(n_features):
                self._columns.read(d * n_rows + first + start, part[d, : len(rows)])
            rows[:] = part[:, : len(rows)].T


def bytes_of(array: Array) -> memoryview:
    """The memory of a contiguous array."""
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def read_at(file: BinaryIO, lock: threading.Lock, offset: int, out: Array) -> None:
    """Fill a contiguous array with the bytes of a file from `offset` on."""
    view = bytes_of(out)
    with lock:
        file.seek(offset)
        while view:
            count = file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise SourceChangedError(f"{file.name} ends before its last row")
            view = view[count:]


class ConvertedRows:
    """Rows of a type that kernels do not read, in one that they do."""

    def __init__(self, rows: Rows, dtype: np.dtype[Any]) -> None:
        self._rows, self.dtype, self.shape = rows, dtype, rows.shape

    def read(self, first: int, out: Array) -> None:
        step = 4096
        part = np.empty((min(step, len(out)), *self.shape[1:]), self._rows.dtype)
        for start in range(0, len(out), step):
            rows = out[start : start + step]
            self._rows.read(first + start, part[: len(rows)])
            rows[:] = part[: len(rows)]
