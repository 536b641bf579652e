"""Sparse rows of X as kernels read them: SciPy's CSR, checked; SciPy itself is not imported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.kernels.passes.structure import check_columns
from fastsoftmax.kernels.tiles.sizes import ceil_div
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]

_MOST_COLUMNS = 2**31 - 1
_ENTRIES_OF_TASK = 2**16

# Kernels sort what lies out of order by insertion, which suits rows of up to so many entries.
_LONG_ROW = 4096


def is_sparse(value: Any) -> bool:
    """Whether `value` is one of SciPy's sparse arrays or matrices, or behaves like one."""
    return hasattr(value, "tocsr") or type(value).__module__.startswith("scipy.sparse")


@dataclass(frozen=True, eq=False)
class CSR:
    """The rows of an array (N, D). A slice of them shares its entries."""

    data: Array  # (entries,), of a real type
    indices: Array  # (entries,), int32: the columns
    indptr: Array  # (N + 1,), int64: where the rows begin, and the last ends
    n_features: int
    in_order: bool  # whether the columns of each row rise, none twice

    ndim = 2

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def n_entries(self) -> int:
        return int(self.indptr[-1] - self.indptr[0])

    def astype(self, dtype: Any) -> CSR:
        """With values of another type; itself if they have it."""
        if self.dtype == dtype:
            return self
        return replace(self, data=self.data.astype(dtype))

    def __getitem__(self, rows: Any) -> CSR:
        """Some rows: a slice of step 1, whose entries are shared, or an array of numbers."""
        if isinstance(rows, slice):
            start, stop, _step = rows.indices(len(self))
            stop = max(start, stop)
            return replace(self, indptr=self.indptr[start : stop + 1])
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        entries = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths)
        return replace(self, data=self.data[entries], indices=self.indices[entries], indptr=indptr)

    def canonical(self) -> CSR:
        """The columns of each row in order, what is there twice added up; itself if so already."""
        return self if self.in_order else _sorted(self)

    def for_kernel(self) -> tuple[Array, int, int, int]:
        """`SparseRows` in plain. The caller keeps the arrays alive while the kernel runs."""
        addresses = (a.ctypes.data for a in (self.data, self.indices, self.indptr))
        return (self.data[:0], *addresses)  # type: ignore[return-value]

    def without_empty_columns(self, keep: Array) -> tuple[CSR, Array]:
        """(the rows of the columns that have entries or are to `keep` (D,), these columns).

        They are numbered anew, in their order.
        """
        entries = slice(int(self.indptr[0]), int(self.indptr[-1]))
        indices = self.indices[entries]
        present = keep.copy()
        present[indices] = True
        columns = np.flatnonzero(present)
        if len(columns) == self.n_features:
            return self, columns
        numbers = np.cumsum(present, dtype=np.int32) - np.int32(1)
        return (
            replace(
                self,
                data=self.data[entries],
                indices=numbers[indices],
                indptr=self.indptr - self.indptr[0],
                n_features=len(columns),
            ),
            columns,
        )

    def row_numbers(self) -> Array:
        """(entries,): the row of each."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def first_non_finite(self, weight: Array | None = None) -> tuple[int, int] | None:
        """The first cell that is not finite, in a row not of weight zero."""
        entries = slice(int(self.indptr[0]), int(self.indptr[-1]))
        bad = np.flatnonzero(~np.isfinite(self.data[entries]))
        rows = np.searchsorted(self.indptr, bad + entries.start, side="right") - 1
        if weight is not None:
            counts = weight[rows] > 0
            bad, rows = bad[counts], rows[counts]
        if not bad.size:
            return None
        return int(rows[0]), int(self.indices[bad[0] + entries.start])

    def value_at(self, row: int, column: int) -> Any:
        """The entry of a cell that is not finite."""
        entries = slice(int(self.indptr[row]), int(self.indptr[row + 1]))
        values = self.data[entries][self.indices[entries] == column]
        return values[~np.isfinite(values)][0]

    def dense(self) -> Array:
        """(N, D) in full, for a few rows."""
        full = np.zeros(self.shape, self.dtype)
        entries = slice(int(self.indptr[0]), int(self.indptr[-1]))
        full[self.row_numbers(), self.indices[entries]] = self.data[entries]
        return full


@dataclass(frozen=True, eq=False)
class PreparedRows(CSR):
    """Rows whose entries, once sorted for some number of classes, are kept so."""

    kept: dict[int, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, rows: CSR) -> PreparedRows:
        return cls(rows.data, rows.indices, rows.indptr, rows.n_features, rows.in_order)

    def __repr__(self) -> str:
        return f"PreparedRows({len(self)} rows, {self.n_features} features, {self.dtype})"


def sparse_rows(value: Any, name: str) -> CSR:
    """A sparse array or matrix of SciPy's, checked; a copy of what a kernel cannot read.

    CSC is converted.
    """
    kind = getattr(value, "format", type(value).__name__)
    if kind == "csc":
        value, kind = value.tocsr(), "csr"
    if kind != "csr":
        raise TypeError(f"{name} is sparse, in the format {kind}: give {name}.tocsr()")
    if len(value.shape) != 2:
        raise ValueError(f"{name} must have shape (n_samples, n_features), got {value.shape}")
    n_rows, n_features = map(int, value.shape)
    data = _entries(value.data, f"{name}.data", "biuf")
    indices = _entries(value.indices, f"{name}.indices", "iu")
    indptr = _entries(value.indptr, f"{name}.indptr", "iu")
    _check_parts(name, data, indices, indptr, n_rows, n_features)
    indptr = _plain(indptr, np.dtype(np.int64))
    as_they_are = indices.dtype in (np.int32, np.int64)
    indices = _plain(indices, indices.dtype if as_they_are else np.dtype(np.int64))
    rows = CSR(_plain(data, data.dtype.newbyteorder("=")), indices, indptr, n_features, False)
    in_order = _check_columns(rows, name)
    rows = replace(rows, indices=indices.astype(np.int32, copy=False), in_order=in_order)
    longest = int(np.diff(indptr).max(initial=0))
    return rows if in_order or longest <= _LONG_ROW else rows.canonical()


def _plain(array: Array, dtype: np.dtype[Any]) -> Array:
    """`array` itself if it is contiguous, aligned and of that type, else a copy."""
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def _entries(part: Any, name: str, kinds: str) -> Array:
    """A part of a sparse array, as an array of numbers."""
    array = np.asarray(part)
    if array.ndim != 1 or array.dtype.kind not in kinds:
        what = "real numbers" if "f" in kinds else "integers"
        raise TypeError(f"{name} must hold {what}, (entries,), got {array.dtype}, {array.shape}")
    return array


def _check_parts(
    name: str, data: Array, indices: Array, indptr: Array, n_rows: int, n_features: int
) -> None:
    """Lengths that fit, and rows that begin where the last one ends."""
    if n_features > _MOST_COLUMNS:
        raise ValueError(f"{name} has {n_features} columns; at most {_MOST_COLUMNS} are read")
    if len(indptr) != n_rows + 1:
        raise ValueError(
            f"{name}.indptr must have {n_rows + 1} entries, one more than rows, got {len(indptr)}"
        )
    if len(data) != len(indices):
        raise ValueError(
            f"{name}.data and {name}.indices must be as long, got {len(data)} and {len(indices)}"
        )
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        i = int(falls[0])
        raise ValueError(f"{name}.indptr falls from {indptr[i]} to {indptr[i + 1]} at row {i}")
    if indptr[0] != 0 or indptr[-1] > len(indices):
        raise ValueError(
            f"{name}.indptr must begin at 0 and end within the {len(indices)} entries, "
            f"got {indptr[0]} and {indptr[-1]}"
        )


def _check_columns(rows: CSR, name: str) -> bool:
    """Whether columns rise within rows; an error for one that is out of range."""
    n_rows, n_features = rows.shape
    tasks = max(min(ceil_div(rows.n_entries, _ENTRIES_OF_TASK), n_rows), 1)
    bad, falls = np.full(tasks, -1, np.int64), np.zeros(tasks, np.bool_)
    wide = rows.indices.dtype == np.int64
    given = rows.indices.ctypes.data, rows.indptr.ctypes.data, wide, n_rows, n_features
    launch(check_columns, given, bad, falls, parallel=tasks > 1)
    if bad.max() >= 0:
        e = int(bad[bad >= 0][0])
        row = int(np.searchsorted(rows.indptr, e, side="right")) - 1
        raise ValueError(
            f"{name}.indices[{e}] = {rows.indices[e]}, in row {row}, is not in [0, {n_features})"
        )
    return not falls.any()


def _sorted(rows: CSR) -> CSR:
    """The same rows, their columns in order and each once."""
    n_entries, numbers = rows.n_entries, rows.row_numbers()
    entries = slice(int(rows.indptr[0]), int(rows.indptr[-1]))
    indices, data = rows.indices[entries], rows.data[entries]
    order = np.argsort(numbers << 32 | indices)  # 235,000 entries: 5 ms, and 23 by `lexsort`
    numbers, indices, data = numbers[order], indices[order], data[order]
    new = np.ones(n_entries, np.bool_)
    new[1:] = (numbers[1:] != numbers[:-1]) | (indices[1:] != indices[:-1])
    firsts = np.flatnonzero(new)
    if data.dtype == np.bool_:
        data = np.logical_or.reduceat(data, firsts)
    else:
        data = np.add.reduceat(data, firsts)
    counts = np.bincount(numbers[firsts], minlength=len(rows))
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return CSR(data, indices[firsts], indptr, rows.n_features, True)
