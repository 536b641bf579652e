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


def read_svmlight(path: Path, compressed: bool, first_index: int | None) -> Matrix:
    """X (N, D) sparse, with as many columns as the largest index asks for.

    Indices count from `first_index`; if that is None from 1, or from 0 in a file that has one.
    """
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError:
        raise ImportError(f"{path} needs scikit-learn: pip install 'fastsoftmax[cli]'") from None
    with gzip.open(path) if compressed else open(path, "rb") as file:
        lines = _WithoutLabels(file)  # type: ignore[arg-type]
        try:
            X, _ = load_svmlight_file(lines, zero_based=True)
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {len(lines.labels)} or before: {error}") from None
    from scipy.sparse import csr_array

    X = csr_array(X)
    if first_index is None:
        first_index = 0 if not X.nnz or X.indices.min() == 0 else 1
    elif X.nnz and X.indices.min() < first_index:
        raise DataError(f"{path} has an index 0, and the file that was trained on had none")
    X = X[:, first_index:]
    labels = np.array(lines.labels, dtype=np.str_)
    return Matrix(str(path), X, labels, spelt=True, first_index=first_index)
