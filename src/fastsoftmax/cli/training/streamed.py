"""A table that is trained on piece by piece, for it is larger than the memory that it may take."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.cli.model_file import Saved
from fastsoftmax.cli.output import counting
from fastsoftmax.cli.scores import evaluation
from fastsoftmax.cli.tables.encoding import Encoder
from fastsoftmax.cli.tables.recipe import Recipe
from fastsoftmax.cli.tables.table import Table
from fastsoftmax.cli.training.split import held_out
from fastsoftmax.model import SoftmaxModel
from fastsoftmax.sources import Source, batches

Array = npt.NDArray[Any]

# Which rows of the table these are, of what is kept for each row.
_LEFT_OUT, _TRAINED_ON, _HELD_OUT = 0, 1, 2


class StreamedData:
    """As `TrainingData`; of each row, the number of its class and its part alone are in memory.

    `labels` are those of the rows that have one, and which rows these are (None: all). With
    `tells`, a terminal shows how many rows were read.
    """

    def __init__(
        self,
        recipe: Recipe,
        table: Table,
        dtype: np.dtype[Any],
        labels: tuple[Array, Array | None],
        n_table_rows: int,
        memory: int,
        *,
        tells: bool,
    ) -> None:
        self.recipe, self.names = recipe, recipe.feature_names
        self._table, self._dtype, self._memory, self._tells = table, dtype, memory, tells
        y, has_label = labels
        self._classes, numbers = np.unique(y, return_inverse=True)
        self._numbers = np.zeros(n_table_rows, np.int32)
        self._part = np.full(n_table_rows, _TRAINED_ON, np.uint8)
        if has_label is None:
            self._numbers[:] = numbers
        else:
            self._numbers[has_label] = numbers
            self._part[~has_label] = _LEFT_OUT
        if recipe.missing == "drop":
            self._leave_out_incomplete()
        self.n_rows, self.n_features = int(np.count_nonzero(self._part)), recipe.width
        self.n_train = self.n_rows
        self.notes = []
        if self.n_rows < n_table_rows:
            self.notes.append(left_out(n_table_rows - self.n_rows, n_table_rows))

    def _leave_out_incomplete(self) -> None:
        first = 0
        for part in Encoder(self.recipe, self._table, self._dtype).parts():
            if part.kept is not None:
                self._part[first : first + part.batch.height][~part.kept] = _LEFT_OUT
            first += part.batch.height

    @property
    def y(self) -> Array:
        """Labels of the rows that are not left out."""
        labels: Array = self._classes[self._numbers[self._part != _LEFT_OUT]]
        return labels

    def hold_out(self, fraction: float, seed: int) -> None:
        """So many rows are not trained on."""
        used = np.flatnonzero(self._part)
        test = held_out(self._numbers[used], fraction, seed)
        self._part[used[test]] = _HELD_OUT
        self.n_train -= int(test.sum())

    def rows(self, whole: bool = False) -> tuple[Source]:
        """What `fit` is called with: the rows to train on, or all."""
        parts = (_TRAINED_ON, _HELD_OUT) if whole else (_TRAINED_ON,)

        pass_number = itertools.count()

        def rows_of_the_table() -> Iterator[tuple[Any, Array]]:
            # later passes, if there are any, are those of steps, which tell of themselves
            with counting("read", wanted=next(pass_number) == 0 and self._tells) as count:
                for X, numbers in self._read(parts):
                    yield X, self._classes[numbers]
                    count(len(numbers))

        return (batches(rows_of_the_table, memory=self._memory),)

    def judged(self, model: SoftmaxModel) -> dict[str, Any]:
        """How a model does on the rows held out."""
        places = model.label_indices(self._classes)
        parts = self._read((_HELD_OUT,))
        return evaluation(model, ((X, places[numbers]) for X, numbers in parts if len(numbers)))

    def _read(self, parts: tuple[int, ...]) -> Iterator[tuple[Any, Array]]:
        """(X, numbers of classes) of the rows of some parts."""
        first = 0
        for found in Encoder(self.recipe, self._table, self._dtype).parts():
            rows = slice(first, first + found.batch.height)
            chosen = np.isin(self._part[rows], parts)
            in_X = chosen if found.kept is None else chosen[found.kept]
            X = found.X if in_X.all() else found.X[in_X]
            yield X, self._numbers[rows][chosen]
            first = rows.stop

    def saved(self, model: SoftmaxModel) -> Saved:
        return Saved(model, self.recipe)


def left_out(count: int, n_rows: int) -> str:
    """What a person is told of rows with missing values."""
    return f"{count} of {n_rows} rows with missing values are left out"
