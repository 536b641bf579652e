"""The functions of sparse X: losses, gradients and predictions, slab by slab of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import views
from fastsoftmax.csr import CSR, PreparedRows
from fastsoftmax.kernels.passes import sparse
from fastsoftmax.kernels.passes.buckets import (
    Buckets,
    Finish,
    add_columns,
    add_moments,
    sort_entries,
)
from fastsoftmax.kernels.tiles.sizes import (
    COLUMN_GROUP,
    ROW_BLOCK,
    ceil_div,
    chunk_rows,
    n_chunks,
    pays_to_share,
)
from fastsoftmax.threads import launch
from fastsoftmax.weights import sum_of

Array = npt.NDArray[Any]

# A slab of rows has up to so many entries, and residuals: about 50 and 16 MB in float32.
_SLAB_ENTRIES = 2**22
_SLAB_RESIDUALS = 2**22

# The gradient of a bucket's columns takes at most so much, to stay in the second-level cache; a
# bucket has about a share of the entries, so that frequent columns do not make one task of all.
_BUCKET_BYTES = 2**18
_SHARES = 64
_SAMPLE = 2**14
_SHARE_ENTRIES = 2**12

# Columns for each entry, from which on most are empty.
_MOSTLY = 2

# Entries of a column, in the mean, that are added up one by one.
_ENTRIES_OF_SUM = 4


class Columns:
    """X' R of a sparse X, by buckets of columns; sorted once for all products, or for each.

    Kept, the entries take 12 bytes each in float32, 16 in float64.
    """

    def __init__(self, X: CSR, weight: Array, n_classes: int, *, keep: bool) -> None:
        self._X, self._weight = X, weight
        self._n_classes = n_classes
        self._bounds, self._bucket_of = _columns_of_buckets(X, n_classes)
        self._kept: dict[int, Buckets] | None = {} if keep else None
        self._room: Buckets | None = None

    @property
    def pays_to_share(self) -> bool:
        """Whether a pass is worth a second thread."""
        n_rows = len(self._X)
        return pays_to_share(n_rows, self._n_classes, self._X.n_entries // max(n_rows, 1))

    @property
    def mostly_empty(self) -> bool:
        """Whether most columns have no entry."""
        return self.n_features > _MOSTLY * self._X.n_entries

    def stays_finite(self, largest: float) -> bool:
        """Whether no sum of entries times numbers up to the largest can overflow."""
        entries = self._X.data[self._X.indptr[0] : self._X.indptr[-1]]
        size = float(np.abs(entries).max(initial=0)) * largest * max(len(entries), 1)
        return size < 0.5 * float(np.finfo(self._X.dtype).max)

    @property
    def chunks_together(self) -> int:
        """Chunks of rows whose share of the gradient is summed up one by one.

        The more entries a column has, the fewer: errors of rounding grow with the terms.
        """
        rows = chunk_rows(min(max(self._rows_of_slab(), 1), max(self.n_rows, 1)))
        in_chunk = max(rows * self._X.n_entries // max(self.n_rows, 1), 1)
        return ceil_div(_ENTRIES_OF_SUM * max(self.n_features, 1), in_chunk)

    @property
    def n_rows(self) -> int:
        return len(self._X)

    @property
    def n_features(self) -> int:
        return self._X.n_features

    @property
    def n_buckets(self) -> int:
        return len(self._bounds) - 1

    def slabs(self) -> Iterator[slice]:
        """The rows, cut so that what is held of them at once is little."""
        rows = self._rows_of_slab()
        for first in range(0, self.n_rows, max(rows, 1)):
            yield slice(first, min(first + rows, self.n_rows))

    def _rows_of_slab(self) -> int:
        n_rows = self.n_rows
        by_entries = _SLAB_ENTRIES * n_rows // max(self._X.n_entries, 1)
        rows = min(by_entries, _SLAB_RESIDUALS // self._n_classes, n_rows)
        return max(rows // ROW_BLOCK, 1) * ROW_BLOCK if rows < n_rows else n_rows

    def of(self, rows: slice) -> Buckets:
        """The entries of a slab, sorted."""
        if self._kept is not None and rows.start in self._kept:
            return self._kept[rows.start]
        X = self._X
        n = int(X.indptr[rows.stop] - X.indptr[rows.start])
        room = self._room_for(n, n_chunks(rows.stop - rows.start))
        given = X.for_kernel(), tuple(views.as_column(self._weight))
        launch(
            sort_entries,
            *given,
            rows.start,
            rows.stop - rows.start,
            X.in_order,
            self._bucket_of,
            room,
            parallel=n > _SAMPLE,
        )
        if self._kept is not None:
            self._kept[rows.start] = room
        return room

    def _room_for(self, n_entries: int, n_chunks: int) -> Buckets:
        """Arrays to sort a slab into: those of the last, unless they are kept or too small."""
        room = self._room
        if room is None or len(room.values) < n_entries or len(room.starts) < n_chunks:
            room = Buckets(
                self._bounds,
                np.empty((n_chunks, self.n_buckets + 1), np.int64),
                np.empty(n_entries, np.int64),
                np.empty(n_entries, self._X.dtype),
            )
            self._room = room if self._kept is None else None
        return room._replace(starts=room.starts[:n_chunks])


def columns_of(X: CSR, weight: Array, n_classes: int) -> Columns:
    """Those of X for one call; for all calls where X is prepared, and all rows have a weight."""
    if not isinstance(X, PreparedRows) or not weight.all():
        return Columns(X, weight, n_classes, keep=False)
    if n_classes not in X.kept:
        X.kept[n_classes] = Columns(X, weight, n_classes, keep=True)
    columns: Columns = X.kept[n_classes]
    return columns


def _columns_of_buckets(X: CSR, n_classes: int) -> tuple[Array, Array]:
    """(the first group of columns of each bucket, and the end; the bucket of each group)."""
    groups = max(ceil_div(X.n_features, COLUMN_GROUP), 1)
    start, stop = int(X.indptr[0]), int(X.indptr[-1])
    step = max((stop - start) // _SAMPLE, 1)
    seen = np.bincount(X.indices[start:stop:step] // COLUMN_GROUP, minlength=groups)
    size = COLUMN_GROUP * n_classes * X.dtype.itemsize / _BUCKET_BYTES
    n_shares = min(_SHARES, ceil_div(stop - start, _SHARE_ENTRIES))
    cost = np.cumsum(size + seen * (n_shares / max(seen.sum(), 1))).astype(np.int64)
    new = np.flatnonzero(cost[1:] != cost[:-1]) + 1
    bounds = np.concatenate([[0], new, [groups]])
    return bounds, np.repeat(np.arange(len(new) + 1, dtype=np.int32), np.diff(bounds))


def _as_strided(W: Array) -> tuple[Array, tuple[int, int]]:
    """(W with its rows one after another, how a kernel sees it)."""
    W = np.ascontiguousarray(W)
    return W, (W.ctypes.data, W.shape[1] * W.dtype.itemsize)


def _model(
    buckets: Buckets, weight: Array, rows: slice, W: tuple[int, int], b: Array
) -> tuple[Any, ...]:
    """As `kernels.passes.sparse.prepared` takes it."""
    column = tuple(views.as_column(weight))
    return buckets, column, rows.start, rows.stop - rows.start, W, b


def evaluate(
    columns: Columns,
    targets: Array,
    weight: Array,
    W: Array,
    b: Array,
    label_smoothing: float,
    scale: float,
    l2: float,
    grad_W: Array,
    grad_b: Array,
    zeros: bool,
) -> tuple[Array, bool]:
    """(the loss of each chunk of rows, whether all is finite).

    scale * gradient + l2 W is written; `zeros` says that grad_W is zero already. Of columns without
    entries nothing is touched then, where they are most.
    """
    n_classes, dtype = W.shape[1], W.dtype
    W, rows_of_W = _as_strided(W)
    slabs = list(columns.slabs())
    most = max((rows.stop - rows.start for rows in slabs), default=0)
    chunks = max((n_chunks(rows.stop - rows.start) for rows in slabs), default=0)
    sums = sparse.Sums(np.zeros(chunks), np.zeros((chunks, n_classes)), np.zeros(chunks, np.bool_))
    overflows = np.zeros(columns.n_buckets, np.bool_)
    R = np.empty((most, n_classes), dtype)
    t, out = tuple(views.target_rows(targets)), tuple(views.as_rows(R))
    finish = _finish(W, l2)
    untouched = zeros and l2 == 0 and columns.mostly_empty
    parallel, together = columns.pays_to_share, columns.chunks_together
    view = R.ctypes.data, R.strides[0]
    largest, finite = 0.0, True
    for rows in slabs:
        buckets = columns.of(rows)
        given = _model(buckets, weight, rows, rows_of_W, b)
        asked = t, label_smoothing, scale, out, sums
        finite &= launch(sparse.residuals_of_slab, given, *asked, parallel=parallel)
        ends = rows.start == 0 and not zeros, rows.stop == slabs[-1].stop and not untouched
        given = buckets, view, together, *ends, finish, overflows, grad_W
        launch(add_columns, *given, parallel=parallel)
        if untouched:
            size = np.abs(R[: rows.stop - rows.start]).max()
            largest = float(np.maximum(largest, size))  # NaN if there is one
    if untouched and not columns.stays_finite(largest):
        finite &= bool(np.isfinite(grad_W).all())
    if not slabs:
        grad_W[:] = l2 * W
    with np.errstate(over="ignore", invalid="ignore"):
        grad_b[:] = sums.g_b.sum(axis=0)
    finite &= not overflows.any() and bool(np.isfinite(grad_b).all())
    return sums.loss, finite


def losses(
    columns: Columns,
    targets: Array,
    weight: Array,
    W: Array,
    b: Array,
    label_smoothing: float,
    row_loss: Array,
) -> bool:
    """row_loss (N,) = weight * J of each row; whether all logits are finite."""
    W, rows_of_W = _as_strided(W)
    t, finite = tuple(views.target_rows(targets)), True
    for rows in columns.slabs():
        given = _model(columns.of(rows), weight, rows, rows_of_W, b)
        args = given, t, label_smoothing, row_loss
        finite &= launch(sparse.losses, *args, parallel=columns.pays_to_share)
    return finite


def predict(
    kernel: Callable[..., bool],
    columns: Columns,
    weight: Array,
    W: Array,
    b: Array,
    out: tuple[Any, ...],
) -> bool:
    """Run a kernel of `kernels.passes.sparse` that answers for each row; whether all is finite."""
    W, rows_of_W = _as_strided(W)
    finite = True
    for rows in columns.slabs():
        given = _model(columns.of(rows), weight, rows, rows_of_W, b)
        finite &= launch(kernel, given, out, parallel=columns.pays_to_share)
    return finite


def product(
    columns: Columns,
    R: Array,
    *,
    centre: Array | None = None,
    shift: Array | None = None,
    l2: float = 0.0,
    W: Array | None = None,
    out: Array | None = None,
) -> Array:
    """(X - centre)' R (D, K) of rows R (N, K), contiguous, plus l2 W; `shift` is the sum of R."""
    G = np.empty((columns.n_features, R.shape[1]), R.dtype) if out is None else out
    overflows = np.zeros(columns.n_buckets, np.bool_)
    finish = _finish(G if W is None else W, l2)
    if centre is not None:
        shift = R.sum(axis=0, dtype=np.float64) if shift is None else shift
        finish = finish._replace(centre=centre.astype(R.dtype), shift=shift.astype(R.dtype))
    slabs = list(columns.slabs())
    for rows in slabs:
        view = R[rows].ctypes.data, R.strides[0]
        ends = rows.start == 0, rows.stop == slabs[-1].stop
        given = columns.of(rows), view, columns.chunks_together, *ends, finish, overflows, G
        launch(add_columns, *given, parallel=columns.pays_to_share)
    return G


def _finish(W: Array, l2: float) -> Finish:
    return Finish(np.zeros(0, W.dtype), np.zeros(W.shape[1], W.dtype), l2, W)


def logits(columns: Columns, weight: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """X W + b (N, K), whether finite or not."""
    Z = np.empty((columns.n_rows, W.shape[1]), W.dtype) if out is None else out
    predict(sparse.decision_function, columns, weight, W, b, tuple(views.as_rows(Z)))
    return Z


def moments(columns: Columns, weight: Array) -> tuple[Array, Array]:
    """(weighted means (D,) of the columns, sums of weight * (x - mean)**2), in float64."""
    total = sum_of(weight)
    sums = np.zeros((3, columns.n_features))
    for about in (False, True):
        for rows in columns.slabs():
            given = columns.of(rows), weight, rows.start, about, sums
            launch(add_moments, *given, parallel=columns.pays_to_share)
        if not about:
            seen, sums[0] = sums[0].copy(), 0
            sums[1] /= total
    mean = sums[1]
    return mean, sums[2] + np.maximum(total - seen, 0) * mean**2
