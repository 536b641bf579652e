"""Decoded rows, kept for the passes after the first: in memory while they are few, else in a file.

The file is anonymous: it has no name that a crash could leave behind, and is gone once closed.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fastsoftmax.sources.memory import shown
from fastsoftmax.sources.rows import ArrayRows, FileRows, Rows, bytes_of

Array = npt.NDArray[Any]


class Cache:
    """Arrays that grow together.

    Up to `in_memory` bytes are held as they are; more go to temporary files while these take at
    most `on_disk` bytes; beyond that, all are dropped and `dropped` is true.
    """

    def __init__(self, in_memory: int, on_disk: int) -> None:
        self._in_memory, self._on_disk = in_memory, on_disk
        self._parts: list[list[Array]] = []
        self._files: list[BinaryIO] = []
        self._bytes = 0
        self.dropped = False

    def append(self, *arrays: Array) -> None:
        """More rows, (n, ...), for each of the arrays that grow."""
        if self.dropped:
            return
        if not self._parts:
            self._parts = [[] for _ in arrays]
            self._kinds = [(array.dtype, array.shape[1:]) for array in arrays]
            self._lengths = [0] * len(arrays)
        for i, array in enumerate(arrays):
            self._lengths[i] += len(array)
        self._bytes += sum(array.nbytes for array in arrays)
        if self._bytes > max(self._in_memory, self._on_disk):
            self.close()
            self.dropped = True
        elif self._files:
            self._write(arrays)
        else:
            for part, array in zip(self._parts, arrays, strict=True):
                part.append(np.array(array, order="C"))
            if self._bytes > self._in_memory:
                self._spill()

    def _spill(self) -> None:
        """From memory to files."""
        if self._bytes > self._on_disk:
            self.close()
            self.dropped = True
            return
        for _ in self._parts:
            self._files.append(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
        for arrays in zip(*self._parts, strict=True):
            self._write(arrays)
        for part in self._parts:
            part.clear()

    def _write(self, arrays: tuple[Array, ...]) -> None:
        for file, array in zip(self._files, arrays, strict=True):
            view = bytes_of(np.ascontiguousarray(array))
            try:
                while view:
                    view = view[file.write(view) :]
            except OSError as error:
                self.close()
                raise OSError(
                    error.errno,
                    f"{error.strerror}: the cache of {shown(self._bytes)} does not fit into "
                    f"{tempfile.gettempdir()}; cache=False reads the source in each pass instead, "
                    "and TMPDIR names another folder",
                ) from None

    def rows(self) -> list[Rows]:
        """What each array has become. Memory is freed as it is copied."""
        assert not self.dropped
        result: list[Rows] = []
        for i, (dtype, tail) in enumerate(self._kinds):
            shape = self._lengths[i], *tail
            if self._files:
                result.append(FileRows(self._files[i], 0, dtype, shape))
                continue
            whole, first = np.empty(shape, dtype), 0
            parts, self._parts[i] = self._parts[i][::-1], []
            while parts:
                part = parts.pop()
                whole[first : first + len(part)] = part
                first += len(part)
            result.append(ArrayRows(whole))
        return result

    def close(self) -> None:
        """Give the memory and the files back."""
        for file in self._files:
            file.close()
        self._files, self._parts = [], []


def free_bytes() -> int:
    """Half of what is free where temporary files are written."""
    return shutil.disk_usage(tempfile.gettempdir()).free // 2
