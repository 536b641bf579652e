"""The two limits of the machine, measured with the vectors that the kernels use."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastsoftmax.kernels.tiles import ceilings
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES
from fastsoftmax.threads import launch, num_threads

_READ_BYTES = 1 << 28  # more than caches hold
_PIECES = 16
_TERMS = 256
_REPEATS = 2000
_ROUNDS = 20


def limits(threads: int, dtype: str) -> dict[str, float]:
    """Bytes read from memory, and floating-point operations, per second: the best of many."""
    data = np.ones(_READ_BYTES // 4, np.float32)
    sums = np.empty(_PIECES, np.float32)
    width = TILE_BYTES // np.dtype(dtype).itemsize
    A = np.zeros((threads, MAX_ROWS * _TERMS), dtype)
    B = np.zeros((threads, width * _TERMS), dtype)
    C = np.zeros((threads, width * MAX_ROWS), dtype)
    rows = np.arange(_TERMS) * TILE_BYTES
    with num_threads(threads):
        reading = _best_seconds(ceilings.read, data, sums)
        multiplying = _best_seconds(ceilings.multiply, A, B, rows, _REPEATS, C)
    operations = 2 * threads * _REPEATS * _TERMS * MAX_ROWS * width
    return {"bytes": data.nbytes / reading, "flops": operations / multiplying}


def limit_seconds(shape: tuple[int, int, int], dtype: str, limit: dict[str, float]) -> float:
    """The least time of a pass: X read once from memory, and 4 N D K operations."""
    N, D, K = shape
    return max(N * D * np.dtype(dtype).itemsize / limit["bytes"], 4 * N * D * K / limit["flops"])


def _best_seconds(kernel: Any, *arguments: Any) -> float:
    launch(kernel, *arguments)  # compiles, and warms up
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        launch(kernel, *arguments)
        best = min(best, time.perf_counter() - started)
    return best
