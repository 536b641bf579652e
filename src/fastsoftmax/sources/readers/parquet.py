"""Parquet files, one after another."""

from __future__ import annotations

import glob
import os
from collections.abc import Generator, Sequence
from typing import Any

from fastsoftmax.sources import memory as budget
from fastsoftmax.sources.batch import Batch
from fastsoftmax.sources.errors import SourceError
from fastsoftmax.sources.readers.npy import text_path
from fastsoftmax.sources.readers.tables import Columns, import_pyarrow
from fastsoftmax.sources.readers.unchanged import Unchanged


class ParquetReader:
    """Files by their names or a pattern of names."""

    def __init__(self, paths: Any, columns: tuple[Any, Any, Any]) -> None:
        several = isinstance(paths, (list, tuple))
        self._paths = [text_path(path, "paths") for path in (paths if several else [paths])]
        self._columns = columns

    def open(self) -> ParquetReading:
        return ParquetReading(matching(self._paths), Columns(*self._columns))

    def describe(self) -> str:
        return self._paths[0] + f" and {len(self._paths) - 1} more" * (len(self._paths) > 1)


class ParquetReading:
    """The files as they are now."""

    def __init__(self, paths: Sequence[str], columns: Columns) -> None:
        self._unchanged, self._paths, self._columns = Unchanged(list(paths)), paths, columns

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._columns.feature_names

    def batches(self, memory: int, *, labels: bool) -> Generator[Batch, None, None]:
        self.check()
        for path in self._paths:
            yield from self._file(path, memory, labels)

    def _file(self, path: str, memory: int, labels: bool) -> Generator[Batch, None, None]:
        pyarrow = import_pyarrow()
        import pyarrow.parquet as pq

        first = 0
        try:
            with pq.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
                self._columns.learn(file.schema_arrow, path, labels)
                names = self._columns.read(labels)
                rows = budget.batch_rows(memory, row_bytes(file.metadata, names))
                for record in file.iter_batches(rows, columns=names):
                    if not len(record):
                        continue
                    yield self._columns.batch(record, path, first, labels)
                    first += len(record)
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"{path} cannot be read as Parquet: {error}") from error

    def on_disk(self) -> None:
        return None

    def check(self) -> None:
        self._unchanged.check()

    def close(self) -> None:
        """Nothing is open between passes."""


# Bytes of a value once decoded; text is taken for short.
_VALUE_BYTES = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}


def row_bytes(meta: Any, names: Sequence[str]) -> int:
    """Bytes of a row of some columns once decoded, by the first row group."""
    if not meta.num_row_groups:
        return 1
    chosen, group = set(names), meta.row_group(0)
    columns = (group.column(i) for i in range(group.num_columns))
    total = sum(
        column.num_values * _VALUE_BYTES.get(column.physical_type, 16)
        for column in columns
        if column.path_in_schema.split(".")[0] in chosen
    )
    return int(max(total // max(group.num_rows, 1), 1))


def matching(patterns: Sequence[str]) -> list[str]:
    """The files that names and patterns mean: those of a pattern sorted."""
    paths: list[str] = []
    for pattern in patterns:
        if os.path.exists(pattern) or not glob.has_magic(pattern):
            paths.append(pattern)
            continue
        found = sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise FileNotFoundError(f"no file matches {pattern!r}")
        paths += found
    if not paths:
        raise ValueError("paths names no file")
    return paths
