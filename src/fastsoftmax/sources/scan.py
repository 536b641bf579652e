"""The first pass over a source."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.csr import CSR
from fastsoftmax.sources import memory
from fastsoftmax.sources.access import InOrder, Part, RandomAccess
from fastsoftmax.sources.ahead import run_ahead
from fastsoftmax.sources.batch import Batch, Coded, weight_of
from fastsoftmax.sources.cache import Cache, free_bytes
from fastsoftmax.sources.errors import SourceChangedError
from fastsoftmax.sources.gather import SparseRows
from fastsoftmax.sources.rows import ArrayRows, ConvertedRows, Rows
from fastsoftmax.sources.source import RowsSeen, Source
from fastsoftmax.sources.streamed import Facts, StreamedRows, Window
from fastsoftmax.sources.vocabulary import Vocabulary
from fastsoftmax.weights import WeightSum, add_by_class

Array = npt.NDArray[Any]


def scan(
    source: Source,
    *,
    dtype: Any = None,
    classes: Any = None,
    progress: Callable[[int], Any] | None = None,
) -> StreamedRows:
    """Read every row once.

    Rows, numbers of labels and weights are kept in memory while they take at most half of the
    budget, else in the cache, unless it may not grow so large.

    Parameters
    ----------
    source : Source
    dtype : float32 or float64, optional
        What to compute in; as X itself says by default.
    classes : array_like, optional
        In place of those of the source.
    progress : callable, optional
        Told of the rows read so far.

    Returns
    -------
    StreamedRows
        To be closed.

    Raises
    ------
    TypeError, ValueError, OSError
        If there are no rows, labels or weights are not such, or a file cannot be read.
    """
    pass_ = _FirstPass(source, dtype, source.classes if classes is None else classes)
    try:
        return pass_.run(progress)
    except BaseException:
        pass_.close()
        raise


class _FirstPass:
    def __init__(self, source: Source, dtype: Any, classes: Any) -> None:
        self._source = source
        self._seen, self._vocabulary = RowsSeen(dtype), Vocabulary(classes)
        on_disk = free_bytes() if source.cache is True else int(source.cache)
        self._cache = Cache(memory.kept(source.memory), on_disk)
        self._entries, self._in_order = 0, True  # of sparse rows
        self._n_rows = 0
        self._n_targets = -1  # of a row; 0 for labels
        self._weighted = False
        self._counts, self._sums = np.zeros(0, np.int64), np.zeros(0)  # by class, as they appear
        self._weight_sum = WeightSum()
        self._reading = source.reader.open()  # last: what is opened here is closed by `close`
        self._X_on_disk = self._reading.on_disk()

    def close(self) -> None:
        self._cache.close()
        self._reading.close()

    def run(self, progress: Callable[[int], Any] | None) -> StreamedRows:
        with closing(run_ahead(self._batches)) as batches:
            for batch in batches:
                self._add(batch, *self._part(batch))
                if progress is not None:
                    progress(self._n_rows)
        if self._n_rows == 0:
            raise ValueError(f"{self._source!r} has no rows")
        self._vocabulary.sort()
        self._seen.error = SourceChangedError
        facts = self._facts()
        if self._cache.dropped:
            if self._X_on_disk is not None:
                raise ValueError(
                    f"memory={memory.shown(self._source.memory)!r} is too small for the labels "
                    "and weights of all rows, and the cache may not hold them: see `cache`"
                )
            in_order = InOrder(self._later_parts, self._n_rows, self.close)
            return StreamedRows(facts, in_order, self._source.memory)
        X, targets, *weights = self._kept()
        order = self._vocabulary.order
        weight = weights[0] if weights else None
        resident = self._resident(X, targets, weight, order)
        begin = self._reading.check
        access = RandomAccess(X, targets, weight, order, begin, self.close)
        return StreamedRows(facts, access, self._source.memory, resident)

    def _part(self, batch: Batch) -> Part:
        """(X, targets, weight) of a batch; labels as int32."""
        X = self._seen.converted(batch)
        if batch.y is None:
            raise ValueError(f"{self._source!r} has no labels; `label` names their column")
        weight = None if batch.weight is None else weight_of(batch)
        n_targets = 0 if isinstance(batch.y, Coded) or batch.y.ndim != 2 else batch.y.shape[1]
        if self._n_targets < 0:
            self._n_targets, self._weighted = n_targets, weight is not None
        if self._weighted != (weight is not None):
            has = "weights, those before none" if weight is not None else "none, those before have"
            raise self._seen.error(f"rows of {batch.place} have {has}")
        if self._n_targets != n_targets:
            own, others = (
                f"{n} targets each" if n else "labels" for n in (n_targets, self._n_targets)
            )
            raise self._seen.error(f"rows of {batch.place} have {own}, those before {others}")
        return X, self._soft(batch) if n_targets else self._vocabulary.numbers(batch), weight

    def _soft(self, batch: Batch) -> Array:
        """Soft targets (n, K) in a type that kernels read."""
        targets = check.real_array(batch.y, f"y of {batch.place}")
        known = len(self._vocabulary)
        if targets.shape[1] == 1 and known != 1:
            raise ValueError(
                f"y of {batch.place} is a column, of shape {targets.shape}: labels have shape "
                f"({len(targets)},), soft targets a column for each class"
            )
        if known not in (0, targets.shape[1]):
            raise ValueError(f"{batch.row(0)} has {targets.shape[1]} targets for {known} classes")
        soft: Array = check.convertible(targets, self._seen.precision)
        try:
            check.non_negative(soft, "y", self._seen.precision)
        except ValueError as error:
            raise ValueError(f"{batch.place}: {error}") from None
        return soft

    def _add(self, batch: Batch, X: Any, targets: Array, weight: Array | None) -> None:
        self._n_rows += len(targets)
        self._target_dtype = targets.dtype
        if weight is not None:
            self._weight_sum.add(weight)
        if targets.ndim == 1:
            self._count(targets, weight)
        kept = [targets] if weight is None else [targets, weight]
        if isinstance(X, CSR):
            entries = slice(int(X.indptr[0]), int(X.indptr[-1]))
            ends = X.indptr[1:] - entries.start + self._entries
            self._entries += X.n_entries
            self._in_order &= X.in_order
            kept = [X.data[entries], X.indices[entries], ends, *kept]
        elif self._X_on_disk is None:
            kept = [X, *kept]
        self._cache.append(*kept)

    def _count(self, numbers: Array, weight: Array | None) -> None:
        more = max(len(self._vocabulary), 1) - len(self._counts)
        if more > 0:
            self._counts = np.append(self._counts, np.zeros(more, np.int64))
            self._sums = np.append(self._sums, np.zeros(more))
        self._counts += np.bincount(numbers, minlength=len(self._counts))
        if weight is not None:
            self._sums = add_by_class(self._sums, numbers, weight)

    def _facts(self) -> Facts:
        soft = self._n_targets > 0
        classes = self._vocabulary.classes
        if soft and not len(classes):
            classes = np.arange(self._n_targets)
        counts, sums = self._counts, self._sums
        order = self._vocabulary.order
        if order is not None:
            by_value = np.argsort(order)
            counts, sums = counts[by_value], sums[by_value]
        n_rows, weighted = self._n_rows, self._weighted
        return Facts(
            n_rows=n_rows,
            n_features=self._seen.n_features,
            dtype=self._seen.dtype,
            sparse=self._seen.sparse,
            feature_names=self._reading.feature_names,
            classes=classes,
            counts=None if soft else counts,
            class_weights=None if soft else sums if weighted else counts.astype(np.float64),
            target_shape=(self._n_targets,) if soft else (),
            target_dtype=self._target_dtype if soft else np.dtype(np.int64),
            weighted=weighted,
            total_weight=self._weight_sum.total if weighted else float(n_rows),
            largest_weight=self._weight_sum.largest if weighted else 1.0,
            n_entries=self._entries,
        )

    def _kept(self) -> list[Any]:
        """X, targets and weights, as the cache and files hold them."""
        rows: list[Any] = self._cache.rows()
        if self._seen.sparse:
            n_features = self._seen.n_features
            data, indices, ends, *others = rows
            return [SparseRows(data, indices, ends, n_features, self._in_order), *others]
        if self._X_on_disk is not None:
            X = self._X_on_disk
            rows.insert(0, X if X.dtype == self._seen.dtype else ConvertedRows(X, self._seen.dtype))
        return rows

    def _resident(
        self, X: Any, targets: Rows, weight: Rows | None, order: Array | None
    ) -> Window | None:
        """All rows as arrays, if they take at most half of the budget."""
        rows: Any
        if isinstance(X, SparseRows):
            rows = X.resident()
            if rows is None:
                return None
        elif isinstance(X, ArrayRows):
            rows = X.array
        else:
            size = int(np.prod(X.shape)) * X.dtype.itemsize
            if self._X_on_disk is None or size > memory.kept(self._source.memory):
                return None
            rows = np.empty(X.shape, X.dtype)
            X.read(0, rows)
        numbers = _whole(targets)
        if numbers.ndim == 1:
            numbers = (numbers if order is None else order[numbers]).astype(np.int64, copy=False)
        weights = check.sample_weight(None, len(numbers)) if weight is None else _whole(weight)
        return rows, numbers, weights

    def _batches(self) -> Generator[Batch, None, None]:
        return self._reading.batches(self._source.memory, labels=True)

    def _later_parts(self) -> Generator[Part, None, None]:
        with closing(self._batches()) as batches:
            for batch in batches:
                yield self._part(batch)


def _whole(rows: Rows) -> Array:
    if isinstance(rows, ArrayRows):
        return rows.array
    out = np.empty(rows.shape, rows.dtype)
    rows.read(0, out)
    return out
