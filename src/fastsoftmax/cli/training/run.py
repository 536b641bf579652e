"""The work of `fastsoftmax train`: data, a split, a training, what is told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.cli.applying import labelled
from fastsoftmax.cli.errors import UsageError
from fastsoftmax.cli.output import facts_table, note, show
from fastsoftmax.cli.scores import by_class, evaluation
from fastsoftmax.cli.tables.labels import label_column
from fastsoftmax.cli.tables.table import Table
from fastsoftmax.cli.training.data import training_data
from fastsoftmax.cli.training.fitting import Data, Result, refitted, trained
from fastsoftmax.cli.training.optimum import choose_penalty, optimum_facts
from fastsoftmax.cli.training.request import Request
from fastsoftmax.cli.training.streamed import StreamedData
from fastsoftmax.solvers import FitResult

Array = npt.NDArray[Any]


def run(asked: Request) -> None:
    data = training_data(asked)
    test = None
    if asked.test is not None:
        test = asked.read(asked.test, None if data.recipe is None else data.recipe.first_index)
        if isinstance(test, Table):
            label_column(test, asked.label)  # an error comes before the training
    for text in data.notes:
        note(text)
    if asked.test_fraction:
        data.hold_out(asked.test_fraction, asked.seed)
    solver = dict(asked.solver)
    if asked.dtype != "auto":
        solver["dtype"] = asked.dtype
    if asked.cv is not None:
        if isinstance(data, StreamedData):
            raise UsageError(f"--cv needs all rows in memory: {asked.file} takes more --memory")
        solver.pop("l2")
        solver["l2"] = choose_penalty(*data.rows(), asked.cv, asked.seed, asked.as_json, **solver)
    started = time.perf_counter()
    result = trained(asked, data, solver)
    seconds = time.perf_counter() - started
    found = None
    if test is not None:
        X_test, labels, notes = labelled(data.saved(result.model), test, asked.label, None)
        for text in notes:
            note(text)
        found = evaluation(result.model, [(X_test, labels)])
    elif data.n_train < data.n_rows:
        found = data.judged(result.model)
    n_saved = data.n_train
    if asked.refit:
        n_saved = data.n_rows
        result = refitted(asked, data, solver)
    if asked.plot is not None:
        result.plot().figure.savefig(asked.plot)
    if asked.as_json:
        print(json.dumps(_summary(asked, data, result, seconds, n_saved, found), allow_nan=False))
        return
    _tell(data, result, seconds, found)
    if asked.plot is not None:
        what = "the gap" if asked.optimum else "loss curves"
        show(f"{what} drawn as {asked.plot}")
    for line in _ending(asked, data.n_rows, n_saved):
        show(line)


def _tell(data: Data, result: Result, seconds: float, found: dict[str, Any] | None) -> None:
    """What a person is told of the data, the training and the test."""
    n_rows, n_features, n_train = data.n_rows, data.n_features, data.n_train
    table = facts_table()
    n_classes = len(result.model.classes)
    table.add_row("data", f"{n_rows} rows x {n_features} features, {n_classes} classes")
    if found is not None:
        whose = "rows of the test file" if n_train == n_rows else "held-out rows"
        table.add_row("test accuracy", f"{found['accuracy']:.4f} on {found['rows']} {whose}")
        table.add_row("test loss", f"{found['log_loss']:.4f}")
    if isinstance(result, FitResult):
        for fact in optimum_facts(result, seconds):
            table.add_row(*fact)
    else:
        epoch = np.median(result.history["seconds"][1:] or result.history["seconds"])
        last = result.history["loss"][-1]
        table.add_row("training loss", f"{last:.4f} over the last epoch")
        table.add_row("training speed", f"{n_train / epoch:,.0f} rows per second")
    show(table)
    if found is not None:
        show("")
        for part in by_class(found):
            show(part)
        show("")


def _ending(asked: Request, n_rows: int, n_saved: int) -> Iterator[str]:
    """What the model was trained on, where it is, and what to do next."""
    if asked.output is None:
        yield "the model is not saved; -o model.npz saves it"
        return
    if n_saved == n_rows:
        on = f"trained on all {n_rows} rows"
        on += ", after the test above" if asked.refit else ""
    else:
        on = f"trained on {n_saved} of {n_rows} rows (--refit trains on all after the test)"
    yield f"model saved as {asked.output}, {on}"
    if asked.file is not None:
        ending = ".csv" if asked.file == Path("-") else "".join(asked.file.suffixes[-2:])
        yield f"next: fastsoftmax predict {asked.output} NEW{ending} -o predictions.csv"


def _summary(
    asked: Request,
    data: Data,
    result: Result,
    seconds: float,
    n_saved: int,
    found: dict[str, Any] | None,
) -> dict[str, Any]:
    """What `--json` prints; what is not finite is None."""
    if isinstance(result, FitResult):
        training = {
            "objective": result.objective,
            "gap": result.gap,
            "stopped": result.stopped,
            "converged": result.converged,
            "passes": result.n_passes,
        }
    else:
        training = {
            "loss": result.history["loss"][-1],
            "epochs": len(result.history["loss"]),
            "learning_rate": result.learning_rate,
        }
    return {
        "rows": data.n_rows,
        "features": data.n_features,
        "classes": result.model.classes.tolist(),
        "trained_on": n_saved,
        "model": None if asked.output is None else str(asked.output),
        "training": {
            "seconds": seconds,
            **{
                name: None if isinstance(value, float) and not np.isfinite(value) else value
                for name, value in training.items()
            },
        },
        "test": found,
    }
