"""What `fastsoftmax train` learns from: X, labels, and how the columns became features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.cli.errors import DataError, UsageError
from fastsoftmax.cli.model_file import Saved
from fastsoftmax.cli.scores import evaluation
from fastsoftmax.cli.tables.encoding import encode
from fastsoftmax.cli.tables.labels import label_column, read_labels, refuse_nonsense
from fastsoftmax.cli.tables.learning import learn
from fastsoftmax.cli.tables.matrix import Matrix
from fastsoftmax.cli.tables.recipe import Recipe
from fastsoftmax.cli.tables.table import Table
from fastsoftmax.cli.tables.text import learn_text
from fastsoftmax.cli.training.request import Request
from fastsoftmax.cli.training.split import held_out, put_last
from fastsoftmax.cli.training.streamed import StreamedData, left_out
from fastsoftmax.labels import class_array
from fastsoftmax.model import SoftmaxModel

Array = npt.NDArray[Any]


@dataclass
class TrainingData:
    """X (N, D), y (N,), and what the features are called."""

    X: Any
    y: Array
    recipe: Recipe | None = None
    names: tuple[str, ...] | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n_rows, self.n_features = self.X.shape
        self.n_train = self.n_rows

    def hold_out(self, fraction: float, seed: int) -> None:
        """So many rows are not trained on; they are put last."""
        test = held_out(self.y, fraction, seed)
        self.X, self.y = put_last(self.X, self.y, test)
        self.n_train -= int(test.sum())

    def rows(self, whole: bool = False) -> tuple[Any, Array]:
        """What `fit` is called with: the rows to train on, or all."""
        stop = self.n_rows if whole else self.n_train
        return self.X[:stop], self.y[:stop]

    def judged(self, model: SoftmaxModel) -> dict[str, Any]:
        """How a model does on the rows held out."""
        labels = model.label_indices(self.y[self.n_train :])
        return evaluation(model, [(self.X[self.n_train :], labels)])

    def saved(self, model: SoftmaxModel) -> Saved:
        return Saved(model, self.recipe)


def training_data(asked: Request) -> TrainingData | StreamedData:
    """All rows of the file, or the digits where there is none."""
    if asked.file is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return TrainingData(digits.data.astype(np.float32), digits.target)
    source = asked.read(asked.file)
    if isinstance(source, Table):
        return _of_table(source, asked)
    for option, value in (
        ("--features", asked.features),
        ("--drop", asked.drop),
        ("--categories", asked.categories),
        ("--text", asked.text),
        ("--missing", asked.missing != "refuse"),
    ):
        if value:
            raise UsageError(f"{option} is for tables (.csv, .tsv, .parquet), {asked.file} is none")
    return _of_matrix(source, asked)


def _of_matrix(matrix: Matrix, asked: Request) -> TrainingData:
    X, y = matrix.split(asked.label)
    y = class_array(y, "the labels")
    if not len(y):
        raise DataError(f"{matrix.name} has no rows")
    refuse_nonsense(y, f"{matrix.name}: the labels", asked.many_classes)
    recipe = None if matrix.first_index is None else Recipe((), first_index=matrix.first_index)
    return TrainingData(X, y, recipe, matrix.names)


def _of_table(table: Table, asked: Request) -> TrainingData | StreamedData:
    label = label_column(table, asked.label)
    kept = table.named(asked.features, "--features") or table.columns
    dropped = {*table.named(asked.drop, "--drop"), label}
    names = [name for name in kept if name not in dropped]
    if not names:
        raise DataError(f"{table.name} has no feature columns")
    y, rows = read_labels(table, label, None, drop=asked.missing == "drop")
    refuse_nonsense(y, f"{table.name}: column {label!r}", asked.many_classes)
    texts = table.named(asked.text, "--text")
    if label in texts:
        raise UsageError(f"--text: {label!r} is the column of labels")
    others = [name for name in names if name not in texts]
    learnt = learn(table, others, table.named(asked.categories, "--categories"))
    columns = [*learnt.columns, *(learn_text(table, name) for name in texts)]
    recipe = Recipe(tuple(columns), asked.missing, label)
    dtype = np.dtype(
        asked.dtype if asked.dtype != "auto" else "float32" if learnt.float32 else "float64"
    )
    if not recipe.is_sparse and learnt.n_rows * recipe.width * dtype.itemsize > asked.memory:
        place = f"{table.name}: column {label!r}"
        how: dict[str, Any] = {"memory": asked.memory, "tells": not asked.as_json}
        streamed = StreamedData(recipe, table, dtype, (y, rows), learnt.n_rows, **how)
        refuse_nonsense(streamed.y, place, asked.many_classes)
        return streamed
    found = encode(recipe, table, dtype, learnt.n_rows)
    X = found.X
    notes = []
    whole = rows is None and found.rows is None
    if not whole:
        labelled = np.ones(learnt.n_rows, bool) if rows is None else rows
        complete = np.ones(learnt.n_rows, bool) if found.rows is None else found.rows
        if not labelled.all():
            X = X[labelled[complete]]
        y = y[complete[labelled]]
        notes.append(left_out(learnt.n_rows - len(y), learnt.n_rows))
        refuse_nonsense(y, f"{table.name}: column {label!r}", asked.many_classes)
    return TrainingData(X, y, recipe, recipe.feature_names, notes)
