"""Opening a data file by the ending of its name."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

from fastsoftmax.cli.errors import DataError, UsageError
from fastsoftmax.cli.tables.delimited import Delimited
from fastsoftmax.cli.tables.matrix import Matrix, read_npy, read_npz
from fastsoftmax.cli.tables.table import Parquet, Table

ENDINGS = ".csv, .tsv, .parquet, .npy, .npz, .svm or .libsvm"
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_SVMLIGHT = (".svm", ".libsvm", ".svmlight")


def read(
    path: Path,
    label: str | None = None,
    *,
    separator: str | None = None,
    header: bool = True,
    first_index: int | None = None,
) -> Table | Matrix:
    """The table or matrix in a file; "-" is a .csv on standard input.

    `label` names the array of labels in an .npz. `separator` and `header` are of text alone; an
    ending may be in capitals, and text be compressed (.csv.gz). `first_index` is that of columns in
    an .svm, None to find it.
    """
    if path == Path("-"):
        return _standard_input(separator, header)
    if not path.is_file():
        return _of_pattern(path)
    compressed = path.suffix.lower() == ".gz"
    ending = (path.with_suffix("") if compressed else path).suffix.lower()
    if ending in _SEPARATORS:
        separator = _SEPARATORS[ending] if separator is None else separator
        return Delimited(path, str(path), separator, header)
    if separator is not None or not header:
        option = "--no-header" if separator is None else "--separator"
        raise UsageError(f"{option} is for text (.csv, .tsv), {path} is none")
    if compressed and ending not in _SVMLIGHT:
        raise UsageError(f"{path}: of compressed files, only .csv, .tsv and .svm are read")
    try:
        if ending == ".parquet":
            return Parquet(path, str(path))
        if ending == ".npy":
            return read_npy(path)
        if ending == ".npz":
            return read_npz(path, label)
        if ending in _SVMLIGHT:
            from fastsoftmax.cli.tables.svmlight import read_svmlight

            return read_svmlight(path, compressed, first_index)
    except (DataError, UsageError):
        raise
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} could not be read: {reason}") from None
    raise UsageError(f"{path}: the ending must be {ENDINGS}; text may be compressed (.csv.gz)")


def _of_pattern(pattern: Path) -> Table:
    """The Parquet files that a name with *, ? or [ means, sorted, as one table."""
    text = str(pattern)
    found = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else []
    if not found:
        what = "no file matches" if glob.has_magic(text) else "there is no such file"
        raise UsageError(f"{pattern}: {what}")
    for name in found:
        if not name.lower().endswith(".parquet"):
            raise UsageError(f"{pattern}: of several files, only .parquet are read, not {name}")
    return Parquet([Path(name) for name in found], text)


def _standard_input(separator: str | None, header: bool) -> Table:
    name = "standard input"
    text = sys.stdin.buffer.read()
    if not text:
        raise DataError(f"{name} is empty")
    if text.startswith(b"PAR1"):
        return Parquet(text, name)
    return Delimited(text, name, "," if separator is None else separator, header)
