"""The two limits of the machine for a pass over X: how fast X is read, how fast is arithmetic.

Both vary with the hour and with what neighbours do, so that they are measured in turns with what
they limit, and where it lies: X itself is read, in more ways than one.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.bench.types import COMPUTED, size_of
from fastsoftmax.kernels.tiles import ceilings
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK
from fastsoftmax.kernels.tiles.tile import MAX_ROWS, TILE_BYTES
from fastsoftmax.threads import launch, num_threads

Limits = dict[str, float]  # bytes per second by each way of reading, and "flops"

READINGS = ("plain loads", "eight streams", "prefetch")
_PIECES_PER_THREAD = 4
_LEAST_BYTES = 1 << 20  # that a launch does not count; an X with fewer is repeated
_TERMS = 256
_REPEATS = 500


def limits(X: npt.NDArray[Any], threads: int, seconds: float) -> Limits:
    """The best of runs that take so many seconds in all; X (N, D) is in C order.

    In the place of narrow X, float32 numbers that take as many bytes are read.
    """
    pieces = _PIECES_PER_THREAD * threads
    row_bytes = X.shape[1] * X.itemsize
    if X.dtype.name not in COMPUTED:
        X = np.ones(-(-X.nbytes // 4), np.float32)
    unit = pieces * ceilings.READ_BLOCK // X.itemsize
    least = max(_LEAST_BYTES // X.itemsize, unit)
    data = X.reshape(-1) if X.size >= least else np.resize(X, least)
    data = data[: data.size // unit * unit]
    sums = np.empty(pieces, X.dtype)
    ahead = ROW_BLOCK * row_bytes  # the same place of the next block, as in a pass
    width = TILE_BYTES // X.itemsize
    A = np.zeros((threads, MAX_ROWS * _TERMS), X.dtype)
    B = np.zeros((threads, width * _TERMS), X.dtype)
    C = np.zeros((threads, width * MAX_ROWS), X.dtype)
    rows = np.arange(_TERMS) * TILE_BYTES
    share = seconds / (len(READINGS) + 1)
    with num_threads(threads):
        times = (
            _least_seconds(share, ceilings.read, data, sums),
            _least_seconds(share, ceilings.read_streams, data, sums),
            _least_seconds(share, ceilings.read_ahead, data, sums, ahead),
        )
        multiplying = _least_seconds(share, ceilings.multiply, A, B, rows, _REPEATS, C)
    found = {way: data.nbytes / t for way, t in zip(READINGS, times, strict=True)}
    found["flops"] = 2 * threads * _REPEATS * _TERMS * MAX_ROWS * width / multiplying
    return found


def read_speed(limit: Limits) -> float:
    """Bytes per second by the fastest way."""
    return max(limit[way] for way in READINGS)


def limit_seconds(shape: tuple[int, int, int], dtype: str, limit: Limits) -> float:
    """The least time of a pass: X read once, and 4 N D K operations."""
    N, D, K = shape
    reading = N * D * size_of(dtype) / read_speed(limit)
    return max(reading, 4 * N * D * K / limit["flops"])


def _least_seconds(seconds: float, kernel: Any, *arguments: Any) -> float:
    launch(kernel, *arguments)  # compiles, and warms up
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.perf_counter()
        launch(kernel, *arguments)
        times.append(time.perf_counter() - started)
    return min(times)
