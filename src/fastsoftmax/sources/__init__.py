"""Rows that are read piece by piece, in place of ``X, y``: from files, Arrow or your own batches.

`scan` makes the first pass for those who train; `StreamedRows` gives windows of rows after it.
"""

from fastsoftmax.sources.constructors import arrow, batches, npy, parquet
from fastsoftmax.sources.errors import SourceChangedError, SourceError
from fastsoftmax.sources.scan import scan
from fastsoftmax.sources.source import Source, blocks
from fastsoftmax.sources.streamed import Facts, StreamedRows

__all__ = [
    "Facts",
    "Source",
    "SourceChangedError",
    "SourceError",
    "StreamedRows",
    "arrow",
    "batches",
    "blocks",
    "npy",
    "parquet",
    "scan",
]
