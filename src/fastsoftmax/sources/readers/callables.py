"""Batches that a function of the user's gives."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from fastsoftmax import frames
from fastsoftmax import validation as check
from fastsoftmax.labels import class_array
from fastsoftmax.sources.batch import Batch
from fastsoftmax.sources.readers.again import Again


class BatchReader:
    """`start()` begins a new pass over (X, y) or (X, y, sample_weight)."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self.start = Again(start)

    def open(self) -> BatchReading:
        return BatchReading(self.start)

    def describe(self) -> str:
        return f"batches of {self.start.name}"


class BatchReading:
    """A reading of what the function gives."""

    def __init__(self, start: Again) -> None:
        self._start = start
        self.feature_names: tuple[str, ...] | None = None

    def batches(self, memory: int, *, labels: bool) -> Generator[Batch, None, None]:
        iterator = iter(self._start())
        try:
            for i, value in enumerate(iterator):
                batch = self._batch(value, i, labels)
                if len(batch.X):
                    yield batch
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    def _batch(self, value: Any, i: int, labels: bool) -> Batch:
        place = f"batch {i}"
        several = isinstance(value, list) and len(value) > 0 and np.ndim(value[0]) == 2
        if not isinstance(value, tuple) and not several:
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
            if not labels or not len(X):
                return Batch(X, None, None, place, 0)
            y = check.real_array(y, "y") if np.ndim(y) == 2 else class_array(y, "y")
            if len(y) != len(X):
                raise ValueError(f"X has {len(X)} rows, y has {len(y)}")
            if weight is not None:
                weight = check.real_array(weight, "sample_weight")
                if weight.shape != (len(X),):
                    raise ValueError(
                        f"sample_weight must have shape ({len(X)},), got {weight.shape}"
                    )
        except (TypeError, ValueError) as error:
            error_type = TypeError if isinstance(error, TypeError) else ValueError
            raise error_type(f"{place}: {error}") from None
        return Batch(X, y, weight, place, 0)

    def on_disk(self) -> None:
        return None

    def check(self) -> None:
        """Only a pass tells."""

    def close(self) -> None:
        """Nothing is open between passes."""
