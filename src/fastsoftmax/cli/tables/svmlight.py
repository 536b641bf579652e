"""Files in svmlight's format: lines of `label index:value index:value …`, labels of any words."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fastsoftmax.cli.errors import DataError
from fastsoftmax.cli.tables.matrix import Matrix


class _WithoutLabels:
    """Lines for scikit-learn's reader, which takes labels that are numbers alone."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.labels: list[str] = []

    def read(self) -> bytes:  # by which scikit-learn knows a file
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        for line in self.file:
            text = line.partition(b"#")[0].strip()
            if text:
                label, _, rest = text.partition(b" ")
                self.labels.append(label.decode())
                yield b"0 " + rest + b"\n"


def read_svmlight(path: Path, compressed: bool) -> Matrix:
    """X (N, D) sparse, with as many columns as the largest index asks for.

    Indices count from 1; from 0 in a file that has an index 0.
    """
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError:
        raise ImportError(f"{path} needs scikit-learn: pip install 'fastsoftmax[cli]'") from None
    with gzip.open(path) if compressed else open(path, "rb") as file:
        lines = _WithoutLabels(file)  # type: ignore[arg-type]
        try:
            X, _ = load_svmlight_file(lines, zero_based="auto")
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {len(lines.labels)} or before: {error}") from None
    from scipy.sparse import csr_array

    return Matrix(str(path), csr_array(X), np.array(lines.labels, dtype=np.str_), spelt=True)
