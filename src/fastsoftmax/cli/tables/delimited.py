"""Text with a separator between cells: .csv and .tsv, compressed or not.

It is read in blocks of about a megabyte, so that little more than the result is in memory: polars,
given the whole file, read half a gigabyte ahead. The cells are not given types here: what a column
of them holds is found by rules of our own (`learning`), the same in training and in prediction.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

import polars as pl

from fastsoftmax.cli.errors import DataError, UsageError
from fastsoftmax.cli.tables.table import Table, reading

_BLOCK = 1 << 20


class Delimited(Table):
    """Columns of text; their names are numbers from 0 without a header."""

    spelt = True

    def __init__(self, source: Path | bytes, name: str, separator: str, header: bool) -> None:
        self.name, self.header = name, header
        self._source, self._separator = source, separator
        with reading(name):
            first = next(self._blocks(), b"")
            if not first.strip():
                raise DataError(f"{name} is empty")
            head = pl.read_csv(
                first, has_header=header, separator=separator, infer_schema=False, n_rows=0
            )
        if head.width == 1 and separator == "," and any(c in head.columns[0] for c in ";\t|"):
            raise UsageError(
                f"{name} has one column, {head.columns[0]!r}: tell what is between cells with "
                "--separator"
            )
        names = head.columns if header else [str(place) for place in range(head.width)]
        self.types = dict.fromkeys(names, pl.String())

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        first = 0
        header = self.header
        with reading(self.name):
            for block in self._blocks():
                batch = pl.read_csv(
                    block,
                    has_header=header,
                    separator=self._separator,
                    schema=self.types,  # of all columns: with fewer, longer rows are no error
                )
                header = False
                yield first, batch.select(columns)
                first += batch.height

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, about a megabyte at a time, without blank ones at the end of the file."""
        with ExitStack() as stack:
            source = self._source
            file: IO[bytes] = (
                stack.enter_context(source.open("rb"))
                if isinstance(source, Path)
                else io.BytesIO(source)
            )
            if _is_compressed(file):
                file = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
            rest = b""
            while part := file.read(_BLOCK):
                block = rest + part
                lines = block[: _end_of_lines(block)].rstrip(b"\r\n")
                if lines:
                    yield lines + b"\n"
                    block = block[len(lines) :].removeprefix(b"\r").removeprefix(b"\n")
                rest = block
            if rest.strip(b"\r\n"):
                yield rest


def _is_compressed(file: IO[bytes]) -> bool:
    start = file.read(2)
    file.seek(0)
    return start == b"\x1f\x8b"


def _end_of_lines(block: bytes) -> int:
    """Where the last whole line ends: at a newline that stands in no quotes."""
    end = block.rfind(b"\n") + 1
    while end and block.count(b'"', 0, end) % 2:  # in quotes that the last quote opened
        end = block.rfind(b"\n", 0, block.rfind(b'"', 0, end)) + 1
    return end
