"""Whether the columns of sparse rows are in range, and rise within each row; one pass.

Each task owns its rows' entry of the outputs. Columns have 32 or 64 bits, which one version reads.
"""

from __future__ import annotations

from typing import Any

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.tiles.sizes import ceil_div
from fastsoftmax.kernels.vectors.memory import Array, load_address, load_int32


@jit
def check_rows(
    i: int,
    indices: int,
    indptr: int,
    wide: bool,
    n_rows: int,
    n_features: int,
    bad: Array,
    falls: Array,
) -> None:
    """Task i's rows, and the first entry of theirs that is out of range, if any."""
    size = ceil_div(n_rows, bad.size)
    first, last = min(i * size, n_rows), min((i + 1) * size, n_rows)
    outside = fall = False
    for n in range(first, last):
        before = -1
        for e in range(load_address(indptr, n), load_address(indptr, n + 1)):
            column = load_address(indices, e) if wide else load_int32(indices, e)
            # no branches, which nobody could foresee where columns do not rise
            outside |= (column < 0) | (column >= n_features)
            fall |= column <= before
            before = column
    falls[i] = fall
    if outside:
        for e in range(load_address(indptr, last) - 1, load_address(indptr, first) - 1, -1):
            column = load_address(indices, e) if wide else load_int32(indices, e)
            if column < 0 or column >= n_features:
                bad[i] = e


@jit_callable
def check_columns(
    run: int,
    given: Any,
    bad: Array,  # (tasks,), -1
    falls: Array,  # (tasks,), False
) -> None:
    """bad = the first entry whose column is not in [0, n_features), of each task's rows.

    `falls` says whether some column is not above the one before.
    """
    indices, indptr, wide, n_rows, n_features = given
    tasks = (indices, indptr, wide, n_rows, n_features, bad, falls)
    for_each(run, bad.size, check_rows, tasks)
