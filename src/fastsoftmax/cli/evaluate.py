"""`fastsoftmax evaluate`: how a model does on rows whose labels are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.markup import escape
from rich.table import Table as RichTable
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fastsoftmax.cli import data
from fastsoftmax.cli.output import check_plot, console, facts_table
from fastsoftmax.functional import loss, predict
from fastsoftmax.model import SoftmaxModel, class_array

Array = npt.NDArray[Any]

# Beyond so many classes the tables show those that matter most, and pairs in place of the matrix.
_MOST_CLASSES = 30
_MOST_IN_MATRIX = 10
_MOST_PAIRS = 10
_SCORES = ("precision", "recall", "f1")


def command(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="What train saved.")],
    file: Annotated[Path, typer.Argument(metavar="DATA", help=".csv, .parquet, .npy or .npz.")],
    label: Annotated[
        str | None,
        typer.Option(help="Label column: a name, a number for .npy, an array's name for .npz (y)."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with all classes.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Where to draw the confusion matrix (.png, .svg, .pdf).")
    ] = None,
) -> None:
    """Judge a model on labelled rows: accuracy, loss, scores of each class, what is confused."""
    check_plot(plot)
    model = SoftmaxModel.load(model_file)
    table = data.read(file, label)
    X = table.without_labels(label).features(model.feature_names, len(model.W))
    labels = _known_labels(model, table, label)
    found = evaluation(model, X, labels)
    if plot is not None:
        draw(found, str(plot))
    if as_json:
        print(json.dumps(found, allow_nan=False))
        return
    for part in report(found):
        console.print(part, highlight=False)
    if plot is not None:
        console.print(f"confusion matrix drawn as {plot}", highlight=False, soft_wrap=True)


def _known_labels(model: SoftmaxModel, table: data.Table, label: str | None) -> Array:
    """Which class of the model each row has; an error names the first label that is none."""
    classes = model.classes
    spelt = classes.dtype.kind == "U"
    labels = class_array(table.label_values(label, as_spelt=spelt), "the labels")
    if not len(labels):
        raise data.DataError(f"{table.path} has no rows")
    alike = (labels.dtype.kind == "U") == spelt
    unknown = np.flatnonzero(~np.isin(labels, classes)) if alike else np.zeros(1, int)
    if unknown.size:
        n = int(unknown[0])
        place = f"row {n + 1}" if table.frame is not None else f"row {n} (counted from 0)"
        raise data.DataError(
            f"{table.path}: the label {labels[n].item()!r} in {place} is not one of the model's "
            f"classes: {data.listed(classes.tolist())}"
        )
    return model.label_indices(labels)


def evaluation(model: SoftmaxModel, X: Array, labels: Array) -> dict[str, Any]:
    """What `--json` prints. A score without a row or a prediction to go by is None.

    Macro averages are over the classes that have the score.
    """
    every = np.arange(len(model.classes))
    predicted = predict(X, model.W, model.b)
    counts = {"labels": every, "zero_division": np.nan}
    *scores, support = precision_recall_fscore_support(labels, predicted, **counts)
    macro = precision_recall_fscore_support(labels, predicted, average="macro", **counts)
    names = model.classes.tolist()
    columns = [_numbers(score) for score in scores]
    return {
        "rows": len(labels),
        "accuracy": float(np.mean(predicted == labels)),
        "log_loss": float(loss(X, labels, model.W, model.b)),
        "macro": dict(zip(_SCORES, _numbers(macro[:3]), strict=True)),
        "classes": [
            {"class": name, **dict(zip(_SCORES, row, strict=True)), "support": int(n)}
            for name, row, n in zip(names, zip(*columns, strict=True), support, strict=True)
        ],
        "confusion": confusion_matrix(labels, predicted, labels=every).tolist(),
    }


def _numbers(scores: Any) -> list[float | None]:
    return [None if np.isnan(score) else float(score) for score in scores]


def report(found: dict[str, Any]) -> Iterator[str | RichTable]:
    """What is printed for a person."""
    head = facts_table()
    head.add_row("data", f"{found['rows']} rows, {len(found['classes'])} classes")
    head.add_row("accuracy", f"{found['accuracy']:.4f}")
    head.add_row("log loss", f"{found['log_loss']:.4f}")
    yield head
    classes = found["classes"]
    if len(classes) > _MOST_CLASSES:
        held = [each for each in classes if each["f1"] is not None]
        classes = sorted(held, key=lambda each: float(each["f1"]))[:_MOST_CLASSES]
        yield f"\nThe {len(classes)} classes of the lowest F1 (--json has all):"
    yield _scores(found, classes)
    if len(found["classes"]) <= _MOST_IN_MATRIX:
        yield "\nLabels in rows, predictions in columns:"
        yield _matrix(found)
    elif found["accuracy"] < 1:
        yield "\nMost often confused (--json has all):"
        yield _pairs(found)


def _scores(found: dict[str, Any], classes: list[dict[str, Any]]) -> RichTable:
    table = _columns("class", *_SCORES, "support")
    for each in classes:
        scores = (_spelt(each[score]) for score in _SCORES)
        table.add_row(escape(str(each["class"])), *scores, str(each["support"]))
    macro = (_spelt(found["macro"][score]) for score in _SCORES)
    table.add_row("macro average", *macro, str(found["rows"]))
    return table


def _spelt(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _matrix(found: dict[str, Any]) -> RichTable:
    names = _names(found)
    table = _columns("", *names)
    for name, row in zip(names, found["confusion"], strict=True):
        table.add_row(name, *map(str, row))
    return table


def _pairs(found: dict[str, Any]) -> RichTable:
    """The classes most often taken for each other."""
    names = _names(found)
    wrong = np.array(found["confusion"])
    np.fill_diagonal(wrong, 0)
    table = _columns("label", "prediction", "rows")
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]:
        i, k = divmod(int(place), len(names))
        if wrong[i, k]:
            table.add_row(names[i], names[k], str(wrong[i, k]))
    return table


def _names(found: dict[str, Any]) -> list[str]:
    """Of the classes; rich reads what is in brackets."""
    return [escape(str(each["class"])) for each in found["classes"]]


def _columns(first: str, *others: str) -> RichTable:
    """Numbers to the right."""
    table = RichTable(box=None)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def draw(found: dict[str, Any], path: str) -> None:
    """The confusion matrix: shades are shares of a label's rows, numbers are rows."""
    from matplotlib.figure import Figure

    counts = np.array(found["confusion"])
    names = [str(each["class"]) for each in found["classes"]]
    n_classes = len(names)
    side = min(3 + 0.4 * n_classes, 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shade = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shade, label="share of the label's rows")
    if n_classes <= _MOST_CLASSES:
        plain = {"parse_math": False}  # a dollar in a name is a dollar
        axes.set_xticks(range(n_classes), names, rotation=60, ha="right", **plain)
        axes.set_yticks(range(n_classes), names, **plain)
        for (i, k), count in np.ndenumerate(counts):
            color = "white" if shares[i, k] > 0.5 else "black"
            if count:
                axes.text(k, i, str(count), ha="center", va="center", color=color, fontsize=7)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.set_title(f"accuracy {found['accuracy']:.4f} on {found['rows']} rows")
    figure.savefig(path)
