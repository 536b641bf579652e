"""Rows that are read piece by piece, in place of ``X, y``: from files, Arrow or your own batches.

For those who train, `scan.scan` makes the first pass, and its `StreamedRows` give windows of rows
after it; for those who predict, `source.blocks` gives one batch after another.
"""

from fastsoftmax.sources.constructors import arrow, batches, npy, parquet
from fastsoftmax.sources.errors import SourceChangedError, SourceError
from fastsoftmax.sources.source import Source

__all__ = [
    "Source",
    "SourceChangedError",
    "SourceError",
    "arrow",
    "batches",
    "npy",
    "parquet",
]
