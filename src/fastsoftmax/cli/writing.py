"""Frames written one after another into one file, which takes its name once all are in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl

from fastsoftmax.files import atomic_write

Write = Callable[[pl.DataFrame], None]


@contextmanager
def writer(output: Path | None) -> Iterator[Write]:
    """What takes frames of the same columns; without a file they are printed as a .csv."""
    with ExitStack() as stack:
        if output is None:
            yield _text(lambda text: print(text, end=""), ",")
            return
        temporary = stack.enter_context(atomic_write(output))
        ending = output.suffix.lower()
        if ending == ".parquet":
            yield _parquet(temporary, stack)
        else:
            file: IO[str] = stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))
            yield _text(file.write, "\t" if ending == ".tsv" else ",")


def _text(write: Callable[[str], Any], separator: str) -> Write:
    header = True

    def add(frame: pl.DataFrame) -> None:
        nonlocal header
        write(frame.write_csv(separator=separator, include_header=header))
        header = False

    return add


def _parquet(path: Path, stack: ExitStack) -> Write:
    """polars itself writes whole frames only."""
    from pyarrow.parquet import ParquetWriter

    opened: Any = None

    def add(frame: pl.DataFrame) -> None:
        nonlocal opened
        table = frame.to_arrow()
        if opened is None:
            opened = stack.enter_context(ParquetWriter(path, table.schema, compression="zstd"))
        opened.write_table(table)

    return add
