"""Batches that a function of the user's gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastsoftmax import frames
from fastsoftmax import validation as check
from fastsoftmax.csr import CSR
from fastsoftmax.labels import class_array
from fastsoftmax.sources.batch import Batch


class BatchReader:
    """`start()` begins a new pass over (X, y) or (X, y, sample_weight)."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self.start = start
        self._last: Any = None  # an iterator that was gone through

    def open(self) -> BatchReading:
        return BatchReading(self)

    def describe(self) -> str:
        return f"batches of {getattr(self.start, '__qualname__', repr(self.start))}"

    def begin(self) -> Iterator[Any]:
        """A new pass."""
        given = self.start()
        iterator: Iterator[Any] = iter(given)
        if iterator is given and iterator is self._last:
            raise ValueError(
                f"{self.describe()}: the call returned the iterator that was read before; it must "
                "start a new pass each time, as a generator function does"
            )
        self._last = iterator
        return iterator


class BatchReading:
    """A reading of what the function gives."""

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader
        self.feature_names: tuple[str, ...] | None = None

    def batches(self, memory: int, *, labels: bool) -> Iterator[Batch]:
        iterator = self._reader.begin()
        try:
            for i, value in enumerate(iterator):
                yield self._batch(value, i, labels)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    def _batch(self, value: Any, i: int, labels: bool) -> Batch:
        place = f"batch {i}"
        if not isinstance(value, (tuple, list)):
            if labels:
                kind = type(value).__name__
                raise TypeError(f"{place} must be (X, y) or (X, y, sample_weight), got {kind}")
            value = (value,)
        if len(value) > 3 or (labels and len(value) < 2):
            raise TypeError(
                f"{place} must be (X, y) or (X, y, sample_weight), got {len(value)} parts"
            )
        X, y, weight = (*value, None, None)[:3]
        try:
            names = frames.column_names(X)
            if i == 0:
                self.feature_names = names
            frames.raise_unless_named(X, self.feature_names, "those of batch 0")
            X = check.rows_of(X)
            if isinstance(X, CSR) and X.indptr.base is not None:
                X = X[:]
            if not labels:
                return Batch(X, None, None, place, 0)
            y = check.real_array(y, "y") if np.ndim(y) == 2 else class_array(y, "y")
            if len(y) != len(X):
                raise ValueError(f"X has {len(X)} rows, y has {len(y)}")
            if weight is not None:
                weight = check.real_array(weight, "sample_weight")
                if weight.shape != (len(X),):
                    raise ValueError(f"sample_weight must have shape ({len(X)},), {weight.shape}")
        except (TypeError, ValueError) as error:
            error_type = TypeError if isinstance(error, TypeError) else ValueError
            raise error_type(f"{place}: {error}") from None
        return Batch(X, y, weight, place, 0)

    def on_disk(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is open between passes."""
