"""How rows are cut: into parts of some leaves each, whatever the blocks.

The bounds of leaves follow from the number of rows alone, and sums are formed leaf by leaf: it
makes no difference to them how many lie together in a part. A part is made by a task from the
blocks it lies in; of a block that is a part, no copy is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax.dask.blocks import Labels
from fastsoftmax.kernels.tiles.sizes import ceil_div, leaf_rows, n_leaves
from fastsoftmax.labels import numbers_of
from fastsoftmax.training.samples import Samples

Array = npt.NDArray[Any]


# Parts for each thread of the workers, so that these end about together, and the fewest.
_PARTS_PER_THREAD = 4
_FEWEST_PARTS = 8


class Piece(NamedTuple):
    """Consecutive rows of a block."""

    block: int
    first: int
    stop: int


def starts(n_rows: int, n_threads: int) -> list[int]:
    """The first row of each part: of some leaves, few enough that their tasks cost little."""
    wanted = max(_PARTS_PER_THREAD * n_threads, _FEWEST_PARTS)
    of_part = ceil_div(n_leaves(n_rows), wanted) * leaf_rows(n_rows)
    return list(range(0, n_rows, of_part))


def pieces(lengths: Sequence[int], starts: Sequence[int]) -> list[list[Piece]]:
    """For each part, what it takes of blocks of these lengths."""
    ends = np.cumsum([0, *lengths])
    cut: list[list[Piece]] = []
    for first, stop in pairwise([*starts, int(ends[-1])]):
        begin, end = np.searchsorted(ends, first, "right") - 1, np.searchsorted(ends, stop, "left")
        cut.append(
            [
                Piece(i, max(first - int(ends[i]), 0), min(stop, int(ends[i + 1])) - int(ends[i]))
                for i in range(int(begin), int(end))
                if lengths[i]
            ]
        )
    return cut


class Form(NamedTuple):
    """What the rows of a part are to be."""

    X: np.dtype[Any]  # of all blocks
    dtype: np.dtype[Any]  # to compute in
    classes: Array | None  # None for soft targets
    targets: np.dtype[Any]  # of soft ones


def part(form: Form, cuts: Sequence[Sequence[Piece]], parts: Sequence[Sequence[Any]]) -> Samples:
    """Rows of some leaves, by the pieces of X, y and, if there are any, the weights."""
    X = check.readable(_joined(cuts[0], parts[0], form.X), form.dtype)
    if form.classes is None:
        targets = check.convertible(_joined(cuts[1], parts[1], form.targets), form.dtype)
        check.non_negative(targets, "y", form.dtype)
    else:
        numbers = [_numbers(block, form.classes) for block in parts[1]]
        targets = _joined(cuts[1], numbers, np.dtype(np.int64))
    weight = check.sample_weight(None, len(X))
    if len(cuts) > 2:
        weight = _joined(cuts[2], parts[2], np.dtype(np.float64))
    return Samples(X, targets, weight, float("nan"))  # the total is that of all rows


def _numbers(block: Labels, classes: Array) -> Array:
    return numbers_of(block.values, classes, "y")[block.numbers]


def _joined(cut: Sequence[Piece], blocks: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    """Pieces one after another, of blocks given in their order; one alone is not copied."""
    parts = [block[piece.first : piece.stop] for piece, block in zip(cut, blocks, strict=True)]
    if len(parts) == 1:
        return parts[0].astype(dtype, copy=False)
    return np.concatenate(parts, dtype=dtype)
