"""The rows of SGD's epochs, in the order in which the steps visit them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax.training.samples import Samples
from fastsoftmax.training.streamed import StreamedSamples

Array = npt.NDArray[Any]

# Up to so many rows, epochs are shuffled together: in one call of NumPy's, which took 6 us a epoch
# instead of 83 for 100 epochs of 100 rows, but for more rows it takes less.
_FEW_ROWS = 1000

# A piece of a source is read at once. It has about so many bytes, but a window has rows of so many
# pieces at least, drawn from everywhere, so that it has its share of each class in data that are
# sorted by class.
_PIECE_BYTES = 2**16
_PIECES = 256


def orders(n_rows: int, count: int, generator: np.random.Generator | None) -> Array:
    """The order of the rows in each of so many epochs (count, N), as they lie for None.

    The same ones whether they are drawn together or one by one.
    """
    if generator is None or (count > 1 and n_rows <= _FEW_ROWS):
        rows = np.tile(np.arange(n_rows), (count, 1))
        return rows if generator is None else generator.permuted(rows, axis=1, out=rows)
    drawn = [generator.permutation(n_rows) for _ in range(count)]
    return drawn[0][None] if count == 1 else np.array(drawn)


class Visit(NamedTuple):
    """Rows in memory, for a whole number of batches."""

    samples: Samples
    order: Array  # in which they are visited
    projections: Array | None  # on the directions of the optimizer


class InMemory:
    """All rows at once."""

    def __init__(
        self, samples: Samples, projections: Array | None, generator: np.random.Generator | None
    ) -> None:
        self._samples, self._projections, self._generator = samples, projections, generator

    def orders(self, count: int) -> Array:
        """The order of the rows in each of so many epochs (count, N)."""
        return orders(self._samples.n_rows, count, self._generator)

    def visits(self, order: Array) -> Generator[Visit]:
        """The rows in an order of one epoch, or of several one after another."""
        yield Visit(self._samples, order, self._projections)


class _Order(NamedTuple):
    """Of an epoch over windows."""

    pieces: Array  # their numbers
    seed: int  # of the orders within windows


class InWindows:
    """A window of rows after another.

    Rows that can be read in any order are cut into pieces, and a window has those that come next in
    a random order of them all; of other rows it has the next ones. Within it, rows are in random
    order. All of it depends on the seed, the budget and the sizes alone.
    """

    def __init__(
        self,
        samples: StreamedSamples,
        batch_size: int,
        generator: np.random.Generator | None,
        project: Callable[[Array], Array] | None = None,
    ) -> None:
        """`project` gives the projections of rows."""
        self._samples, self._generator, self._project = samples, generator, project
        source = samples.source
        self._window = source.window_rows(min(batch_size, samples.n_rows))
        most = max(_PIECE_BYTES // max(source.row_bytes, 1), 1)
        self._piece = max(min(most, self._window // _PIECES), 1)
        self._mixes = source.random and generator is not None

    def orders(self, count: int) -> list[_Order]:
        return [self._drawn() for _ in range(count)]

    def _drawn(self) -> _Order:
        n_pieces = -(-self._samples.n_rows // self._piece)
        if self._generator is None:
            return _Order(np.arange(0), 0)
        pieces = self._generator.permutation(n_pieces) if self._mixes else np.arange(0)
        return _Order(pieces, int(self._generator.integers(2**63)))

    def visits(self, order: _Order) -> Generator[Visit]:
        samples = self._samples
        generator = np.random.default_rng(order.seed)
        n_rows = samples.n_rows
        starts = range(0, n_rows, self._window)
        bounds = [(first, min(first + self._window, n_rows)) for first in starts]
        source = samples.source
        if self._mixes:
            read: Any = source.pieces(self._runs(order.pieces))
        else:
            read = (window[1:] for window in source.windows(bounds))
        with closing(read):
            for window in read:
                part = samples.part(*window)
                count = part.n_rows
                part = part._replace(total_weight=samples.total_weight * (count / n_rows))
                rows = np.arange(count) if self._generator is None else generator.permutation(count)
                projections = None if self._project is None else self._project(part.X)
                yield Visit(part, rows, projections)

    def _runs(self, pieces: Array) -> Iterator[list[tuple[int, int]]]:
        """The runs of rows of each window: pieces, cut where a window is full."""
        n_rows, size = self._samples.n_rows, self._piece
        runs: list[tuple[int, int]] = []
        room = self._window
        for piece in pieces.tolist():
            first, stop = piece * size, min((piece + 1) * size, n_rows)
            if stop - first >= room:
                runs.append((first, first + room))
                yield runs
                first += room
                runs, room = [], self._window
            if first < stop:
                runs.append((first, stop))
                room -= stop - first
        if runs:
            yield runs
