"""`fastsoftmax train` and `fastsoftmax predict`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import typer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastsoftmax._version import __version__
from fastsoftmax.cli import bench, data, evaluate
from fastsoftmax.cli.optimum import choose_penalty, optimum_facts, refuse_options
from fastsoftmax.cli.output import (
    check_plot,
    check_writable,
    console,
    ended,
    facts_table,
    one_line_errors,
)
from fastsoftmax.cli.timing import pass_seconds, rows_for
from fastsoftmax.files import atomic_write
from fastsoftmax.functional import loss
from fastsoftmax.model import SoftmaxModel, class_array
from fastsoftmax.solvers import FitResult, fit
from fastsoftmax.training import SGDResult, TrainingInterrupted, fit_sgd

Array = npt.NDArray[Any]

app = typer.Typer(
    help="Softmax regression on a CPU: train a model on a table, judge it, apply it.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Softmax regression on a CPU: train a model on a table, judge it, apply it."""


@app.command()
def train(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help=".csv, .parquet, .npy or .npz; without it, scikit-learn's 1797 digits.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Label column: a name, a number for .npy, an array's name for .npz (y)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to save the model (.npz).")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data; by its size by default.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step; 128 by default.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Step size; found from the data by default.")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Share of the last step in the next; 0.9 by default.")
    ] = None,
    l2: Annotated[
        float | None,
        typer.Option(help="Penalty l2/2 * ||W||^2 on the mean loss; 1/rows by default."),
    ] = None,
    standardize: Annotated[
        bool, typer.Option(help="Centre and scale the features for the training.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the held-out part, folds, order of rows.")] = 0,
    test_fraction: Annotated[
        float, typer.Option(help="Share of the rows held out to test on; 0 for none.")
    ] = 0.2,
    plot: Annotated[
        Path | None, typer.Option(help="Where to draw how it went (.png, .svg, .pdf).")
    ] = None,
    optimum: Annotated[
        bool, typer.Option("--optimum", help="Solve to a proven optimum instead of running SGD.")
    ] = False,
    tol: Annotated[
        float | None,
        typer.Option(help="With --optimum: the relative gap to stop at; 1e-4 by default."),
    ] = None,
    cv: Annotated[
        int | None,
        typer.Option(
            metavar="FOLDS",
            help="With --optimum: choose the penalty by so many folds of cross-validation.",
        ),
    ] = None,
) -> None:
    """Train a model; print its test accuracy and loss, and the speed against NumPy."""
    with one_line_errors():
        sgd = {
            "--epochs": epochs,
            "--batch-size": batch_size,
            "--learning-rate": learning_rate,
            "--momentum": momentum,
        }
        refuse_options(optimum, sgd, {"--tol": tol, "--cv": cv})
        if cv is not None and l2 is not None:
            raise ValueError("--cv chooses the penalty: leave out --l2")
        check_writable(output)
        check_plot(plot)
        if not 0 <= test_fraction < 1:
            raise ValueError(f"--test-fraction must be at least 0 and below 1, got {test_fraction}")
        X, y, names = _training_data(file, label)
        parts = _hold_out(X, y, test_fraction, seed)
        options: dict[str, Any] = {
            "l2": "auto" if l2 is None else l2,
            "standardize": standardize,
            "progress": True,
        }
        if optimum:
            options["tol"] = 1e-4 if tol is None else tol
            if cv is not None:
                del options["l2"]
                options["l2"] = choose_penalty(parts[0], parts[2], cv, seed, **options)
        else:
            options |= {
                "epochs": "auto" if epochs is None else epochs,
                "batch_size": 128 if batch_size is None else batch_size,
                "learning_rate": "auto" if learning_rate is None else learning_rate,
                "momentum": 0.9 if momentum is None else momentum,
                "seed": seed,
            }
        started = time.perf_counter()
        train = fit if optimum else fit_sgd
        result = _trained(train, output, parts[0], parts[2], feature_names=names, **options)
        seconds = time.perf_counter() - started
        if output is not None:
            result.model.save(output)
        _report(result, seconds, *parts)
        if output is not None:
            console.print(f"model saved as {output}", highlight=False, soft_wrap=True)
        if plot is not None:
            result.plot().figure.savefig(plot)
            what = "the gap" if optimum else "loss curves"
            console.print(f"{what} drawn as {plot}", highlight=False, soft_wrap=True)
        _compare(result.model, parts[0], parts[2])


@app.command()
def predict(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="What train saved.")],
    file: Annotated[Path, typer.Argument(metavar="DATA", help=".csv, .parquet, .npy or .npz.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv; standard output by default.")
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba", help="A column of probabilities for each class.")
    ] = False,
) -> None:
    """Apply a model: columns are matched by the names it was trained on, others are ignored."""
    with one_line_errors():
        check_writable(output)
        model = SoftmaxModel.load(model_file)
        X = data.read(file).features(model.feature_names, len(model.W))
        if proba:
            P = model.predict_proba(X)
            names = pl.Series(model.classes).cast(pl.String)  # as predictions are spelt
            frame = pl.DataFrame({name: P[:, k] for k, name in enumerate(names)})
        else:
            frame = pl.DataFrame({"prediction": model.predict(X)})
        if output is None:
            print(frame.write_csv(), end="")
        else:
            with atomic_write(output) as temporary:
                frame.write_csv(temporary)


app.command("evaluate")(one_line_errors()(evaluate.command))
app.command("bench")(one_line_errors()(bench.command))


def _training_data(
    file: Path | None, label: str | None
) -> tuple[Array, Array, tuple[str, ...] | None]:
    if file is None:
        digits = load_digits()
        return digits.data.astype(np.float32), digits.target, None
    table = data.read(file, label)
    X, y, names = table.label_column(label)
    y = class_array(y, "the labels")
    if len(y) == 0:
        raise data.DataError(f"{file} has no rows")
    return X, y, names


def _hold_out(
    X: Array, y: Array, test_fraction: float, seed: int
) -> tuple[Array, Array, Array, Array]:
    """(X_train, X_test, y_train, y_test); each class keeps its share where it has the rows."""
    n_test = round(test_fraction * len(y))
    if n_test == 0:
        return X, X[:0], y, y[:0]
    _, counts = np.unique(y, return_counts=True)
    fits = counts.min() >= 2 and min(n_test, len(y) - n_test) >= len(counts)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=n_test, random_state=seed, stratify=y if fits else None
    )
    return X_train, X_test, y_train, y_test


def _trained(
    train: Callable[..., Any], output: Path | None, X: Array, y: Array, **options: Any
) -> SGDResult | FitResult:
    """`fit_sgd` or `fit`; Ctrl-C ends the program with what was learnt by then saved."""
    try:
        result: SGDResult | FitResult = train(X, y, **options)
        return result
    except TrainingInterrupted as interrupt:
        result = interrupt.result
        if not result.history["seconds"]:
            raise  # nothing was learnt that could take the place of an older model
        told = f"interrupted after {result.how_far}"
        if output is not None:
            result.model.save(output)
            told += f"; what was learnt by then is saved as {output}"
        raise ended(told, 130) from None


def _report(
    result: SGDResult | FitResult,
    seconds: float,
    X: Array,
    X_test: Array,
    y: Array,
    y_test: Array,
) -> None:
    model = result.model
    table = facts_table()
    table.add_row("data", f"{len(X)} rows x {X.shape[1]} features, {len(model.classes)} classes")
    if len(y_test):
        accuracy = model.score(X_test, y_test)
        table.add_row("test accuracy", f"{accuracy:.4f} on {len(y_test)} held-out rows")
        known = np.isin(y_test, model.classes)
        if known.all():
            test_loss = loss(X_test, model.label_indices(y_test), model.W, model.b)
            table.add_row("test loss", f"{test_loss:.4f}")
        else:
            table.add_row("test loss", f"inf: {sum(~known)} rows of classes not trained on")
    if isinstance(result, FitResult):
        for fact in optimum_facts(result, seconds):
            table.add_row(*fact)
    elif result.history["loss"]:
        epoch = np.median(result.history["seconds"][1:] or result.history["seconds"])
        table.add_row("training loss", f"{result.history['loss'][-1]:.4f} over the last epoch")
        table.add_row("training speed", f"{len(X) / epoch:,.0f} rows per second")
    console.print(table, highlight=False)


def _compare(model: SoftmaxModel, X: Array, y: Array) -> None:
    """Print the speed against NumPy; no result depends on it, so that it fails nothing."""
    n_rows = rows_for(len(X), model.W)
    with suppress(MemoryError, ValueError):
        labels = model.label_indices(y[:n_rows])
        ours, numpys = pass_seconds(X[:n_rows], labels, model.W, model.b)
        line = (
            f"{ours * 1e3:.3f} ms, NumPy {numpys * 1e3:.3f} ms: {numpys / ours:.2f} times as fast"
        )
        table = facts_table()
        table.add_row("one pass", line if n_rows == len(X) else f"{line} on {n_rows} of the rows")
        console.print(table, highlight=False)
