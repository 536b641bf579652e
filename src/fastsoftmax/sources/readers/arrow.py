"""Tables, datasets and streams of Arrow."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from fastsoftmax.sources import memory as budget
from fastsoftmax.sources.batch import Batch
from fastsoftmax.sources.errors import SourceError
from fastsoftmax.sources.readers.again import Again
from fastsoftmax.sources.readers.tables import Columns, import_pyarrow

_PLACE = "the data"


class ArrowReader:
    """A Table or Dataset, what gives a stream of Arrow, or a call that gives one of these."""

    def __init__(self, data: Any, columns: tuple[Any, Any, Any]) -> None:
        pyarrow = import_pyarrow()
        if isinstance(data, pyarrow.RecordBatchReader):
            raise TypeError("a RecordBatchReader can be read once: give a function that makes one")
        self._data, self._columns = data, columns
        self._start = Again(data) if callable(data) else None

    def open(self) -> ArrowReading:
        return ArrowReading(self, Columns(*self._columns))

    def describe(self) -> str:
        return f"arrow {getattr(self._data, '__qualname__', type(self._data).__name__)}"

    def data(self) -> Any:
        """What a pass reads."""
        return self._data if self._start is None else self._start()


class ArrowReading:
    """One reading of it."""

    def __init__(self, reader: ArrowReader, columns: Columns) -> None:
        self._reader, self._columns = reader, columns

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self._columns.feature_names

    def batches(self, memory: int, *, labels: bool) -> Generator[Batch, None, None]:
        pyarrow = import_pyarrow()
        schema, first = None, 0
        try:
            for record in self._records(memory, labels):
                if not len(record):
                    continue
                if schema is None or not record.schema.equals(schema):
                    schema = record.schema
                    self._columns.learn(schema, _PLACE, labels)
                record = record.select(self._columns.read(labels))
                step = budget.batch_rows(memory, record.nbytes // len(record))
                for start in range(0, len(record), step):
                    part = record.slice(start, step)
                    yield self._columns.batch(part, _PLACE, first, labels)
                    first += len(part)
        except (pyarrow.ArrowException, OSError) as error:
            raise SourceError(f"{_PLACE} cannot be read: {error}") from error

    def _records(self, memory: int, labels: bool) -> Iterator[Any]:
        """Record batches."""
        pyarrow = import_pyarrow()
        data = self._reader.data()
        if hasattr(data, "scanner"):  # a dataset: by itself, it would read far ahead
            self._columns.learn(data.schema, _PLACE, labels)
            names = self._columns.read(labels)
            rows = budget.batch_rows(memory, 8 * len(names))
            how = {"batch_readahead": 1, "fragment_readahead": 1}
            return iter(data.scanner(columns=names, batch_size=rows, **how).to_batches())
        if hasattr(data, "__arrow_c_stream__"):
            return iter(pyarrow.RecordBatchReader.from_stream(data))
        if not hasattr(data, "__iter__"):
            raise TypeError(
                "arrow takes a Table, a Dataset, what has __arrow_c_stream__, or a function that "
                f"gives one of these or record batches, got {type(data).__name__}"
            )
        return iter(data)

    def on_disk(self) -> None:
        return None

    def check(self) -> None:
        """Only a pass tells."""

    def close(self) -> None:
        """Nothing is open between passes."""
