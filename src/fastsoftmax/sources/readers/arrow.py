"""Tables, datasets and streams of Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastsoftmax.sources import memory as budget
from fastsoftmax.sources.batch import Batch
from fastsoftmax.sources.errors import SourceError
from fastsoftmax.sources.readers.tables import Columns, import_pyarrow


class ArrowReader:
    """A Table or Dataset, what gives a stream of Arrow, or a call that gives one of these."""

    def __init__(self, data: Any, columns: tuple[Any, Any, Any]) -> None:
        pyarrow = import_pyarrow()
        if isinstance(data, pyarrow.RecordBatchReader):
            raise TypeError(
                "a RecordBatchReader can be read once; give a call that makes one, as `lambda: ...`"
            )
        self._data, self._columns = data, columns

    def open(self) -> ArrowReading:
        return ArrowReading(self._data, Columns(*self._columns))

    def describe(self) -> str:
        return f"arrow {type(self._data).__name__}"


class ArrowReading:
    """One reading of it."""

    def __init__(self, data: Any, columns: Columns) -> None:
        self._data, self._columns = data, columns

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._columns.feature_names

    def batches(self, memory: int, *, labels: bool) -> Iterator[Batch]:
        pyarrow = import_pyarrow()
        place, first = "the source", 0
        try:
            schema, records = self._records(memory, labels)
            for record in records:
                if first == 0 or record.schema is not schema:
                    schema = record.schema
                    self._columns.learn(schema, place, labels)
                names = self._columns.read(labels)
                step = budget.batch_rows(memory, max(record.nbytes // max(len(record), 1), 1))
                for start in range(0, len(record), step):
                    part = record.slice(start, step).select(names)
                    yield self._columns.batch(part, place, first, labels)
                    first += len(part)
        except pyarrow.ArrowException as error:
            raise SourceError(f"the source cannot be read: {error}") from error

    def _records(self, memory: int, labels: bool) -> tuple[Any, Iterator[Any]]:
        """(the schema, record batches)."""
        pyarrow = import_pyarrow()
        data = self._data() if callable(self._data) else self._data
        if hasattr(data, "scanner"):  # a dataset, whose own to_batches reads far ahead
            self._columns.learn(data.schema, "the dataset", labels)
            scanner = data.scanner(
                columns=self._columns.read(labels),
                batch_size=budget.batch_rows(memory, 8 * len(self._columns.features)),
                batch_readahead=1,
                fragment_readahead=1,
            )
            return data.schema, scanner.to_batches()
        if hasattr(data, "__arrow_c_stream__"):
            reader = pyarrow.RecordBatchReader.from_stream(data)
            return reader.schema, iter(reader)
        if not hasattr(data, "__iter__"):
            raise TypeError(
                "arrow takes a Table, a Dataset, what has __arrow_c_stream__, or a call that "
                f"gives one of these or record batches, got {type(data).__name__}"
            )
        return None, iter(data)

    def on_disk(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is open between passes."""
