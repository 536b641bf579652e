"""Tables of named columns, read a part at a time: .parquet here, text in `delimited`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from fastsoftmax.cli.errors import DataError, UsageError, listed

_ROWS = 1 << 16  # that are given at once, at most


class Table(ABC):
    """Columns by name.

    Attributes
    ----------
    name : str
        Of the file, as errors give it.
    types : dict of str to polars.DataType
        Of all columns.
    spelt : bool
        Cells are text, so that a number is known by its spelling.
    header : bool
        Names are the file's; else they are numbers from 0.
    """

    name: str
    types: dict[str, pl.DataType]
    spelt: bool = False
    header: bool = True

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """(number of the first row, from 0; some rows of these columns), in order."""

    @property
    def columns(self) -> list[str]:
        return list(self.types)

    def count_rows(self) -> int:
        return sum(batch.height for _, batch in self.batches(self.columns[:1]))

    def whole(self, columns: Sequence[str]) -> pl.DataFrame:
        """These columns in memory."""
        parts = [batch for _, batch in self.batches(columns)]
        empty = pl.DataFrame(schema={column: self.types[column] for column in columns})
        return pl.concat(parts) if parts else empty

    def resolve(self, column: str, option: str) -> str:
        """The name of a column that an option names; without a header also -1 for the last."""
        if column in self.types:
            return column
        if not self.header and column.startswith("-") and column[1:].isdigit():
            place = len(self.types) - int(column[1:])
            if 0 <= place < len(self.types):
                return str(place)
        raise UsageError(
            f"{option}: {self.name} has no column {column!r}; it has {listed(self.columns)}"
        )

    def named(self, asked: Sequence[str] | None, option: str) -> list[str]:
        """The columns of an option that may be given several times, with commas between names."""
        names = []
        for text in asked or ():
            parts = [text] if text in self.types else [part.strip() for part in text.split(",")]
            names += [self.resolve(part, option) for part in parts if part]
        return list(dict.fromkeys(names))


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What goes wrong in reading names the file, in one line."""
    try:
        yield
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{name} could not be read: {reason}") from None


class Parquet(Table):
    """Columns with types, of one file or of several with the same columns."""

    def __init__(self, source: Path | list[Path] | bytes, name: str) -> None:
        with reading(name):
            self._lazy = pl.scan_parquet(source, glob=False)
            self.types = dict(self._lazy.collect_schema())
        self.name = name

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        first = 0
        with reading(self.name):
            parts = iter(self._lazy.select(columns).collect_batches(maintain_order=True))
        while True:
            with reading(self.name):
                batch = next(parts, None)
            if batch is None:
                return
            for part in batch.iter_slices(_ROWS):  # a row group may have a million
                yield first, part
                first += part.height
