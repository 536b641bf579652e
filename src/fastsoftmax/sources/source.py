"""A source: where rows come from, and how much memory they may take."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax import frames
from fastsoftmax import validation as check
from fastsoftmax.csr import CSR
from fastsoftmax.sources.ahead import run_ahead
from fastsoftmax.sources.batch import Batch, Reader

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Source:
    """Rows that are read piece by piece; made by `parquet`, `arrow`, `npy` and `batches`.

    Taken in place of X and y. Nothing is read before.

    Attributes
    ----------
    memory : int
        The budget, in bytes.
    """

    reader: Reader
    memory: int
    cache: bool | int
    classes: Any = None

    def __repr__(self) -> str:
        return f"Source({self.reader.describe()})"


class RowsSeen:
    """What all rows of a source have in common: their width and type, as the first batch shows."""

    def __init__(self, dtype: Any = None) -> None:
        self._asked = dtype
        self.n_features = -1
        self.found: np.dtype[Any] | None = None  # the type that X has
        self.precision: np.dtype[Any]  # what it is computed in
        self.dtype: np.dtype[Any]  # what kernels get it in
        self.sparse = False
        self.error: type[ValueError] = ValueError  # of rows unlike the first

    def converted(self, batch: Batch) -> Any:
        """X of a batch as kernels read it, checked to be like those before."""
        X = batch.X
        sparse = isinstance(X, CSR)
        if self.found is None:
            precision = check.precision_of(X) if self._asked is None else self._asked
            self.precision = np.dtype(precision)
            self.n_features, self.found, self.sparse = X.shape[1], X.dtype, sparse
        if X.shape[1] != self.n_features:
            raise self.error(
                f"rows of {batch.place} have {X.shape[1]} features, those before {self.n_features}"
            )
        if X.dtype != self.found or sparse != self.sparse:
            mine, others = (
                f"{'sparse ' * kind}{dtype}"
                for kind, dtype in ((sparse, X.dtype), (self.sparse, self.found))
            )
            raise self.error(f"rows of {batch.place} are {mine}, those before {others}")
        X = check.readable(X, self.precision)
        if not X.dtype.isnative:
            X = X.astype(X.dtype.newbyteorder("="))
        self.dtype = X.dtype
        return X


def blocks(
    source: Source,
    dtype: Any = None,
    *,
    labels: bool = False,
    names: tuple[str, ...] | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """(number of the first row, batch) of all rows in order, X as kernels read it.

    One pass, read ahead by a thread that has ended when this generator has; nothing is kept.
    Columns that have names must have these, if some are given.
    """
    seen, first = RowsSeen(dtype), 0
    with (
        closing(source.reader.open()) as reading,
        closing(run_ahead(lambda: reading.batches(source.memory, labels=labels))) as batches,
    ):
        on_disk = reading.on_disk() if labels else None
        for batch in batches:
            if on_disk is not None:  # a pass for labels leaves X there
                X = np.empty((len(batch.X), *on_disk.shape[1:]), on_disk.dtype)
                on_disk.read(first, X)
                batch = batch._replace(X=X)
            frames.raise_unless_equal(reading.feature_names, names, "the model's")
            yield first, batch._replace(X=seen.converted(batch), names=reading.feature_names)
            first += len(batch.X)
