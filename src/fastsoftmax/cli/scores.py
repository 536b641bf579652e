"""How a model does on rows whose labels are known: in numbers, in tables, in a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.markup import escape
from rich.table import Table as RichTable

from fastsoftmax.cli.output import facts_table
from fastsoftmax.functional import loss, predict
from fastsoftmax.model import SoftmaxModel

Array = npt.NDArray[Any]

# Beyond so many classes the tables show those that matter most, and pairs in place of the matrix.
_MOST_CLASSES = 30
_MOST_IN_MATRIX = 10
_MOST_PAIRS = 10
_SCORES = ("precision", "recall", "f1")


def evaluation(model: SoftmaxModel, parts: Iterable[tuple[Any, Array]]) -> dict[str, Any]:
    """What `--json` prints, of rows X in one part or several; labels (N,) are indices of classes.

    A score without a row or a prediction to go by is None. Macro averages are over the classes
    that have the score.
    """
    n_classes = len(model.classes)
    pairs, total = np.zeros(n_classes**2, np.int64), 0.0
    for X, labels in parts:
        predicted = predict(X, model.W, model.b)
        pairs += np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
        total += float(loss(X, labels, model.W, model.b)) * len(labels)
    n_rows = int(pairs.sum())
    confusion = pairs.reshape(n_classes, n_classes)
    right, support, guesses = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0: there is no such score
        scores = [right / guesses, right / support, 2 * right / (guesses + support)]
    columns = [_numbers(score) for score in scores]
    return {
        "rows": n_rows,
        "accuracy": int(right.sum()) / n_rows,
        "log_loss": total / n_rows,
        "macro": dict(zip(_SCORES, _numbers([_mean(score) for score in scores]), strict=True)),
        "classes": [
            {"class": name, **dict(zip(_SCORES, row, strict=True)), "support": int(n)}
            for name, row, n in zip(
                model.classes.tolist(), zip(*columns, strict=True), support, strict=True
            )
        ],
        "confusion": confusion.tolist(),
    }


def _mean(scores: Array) -> float:
    """Over the classes that have one."""
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else np.nan


def _numbers(scores: Any) -> list[float | None]:
    return [None if np.isnan(score) else float(score) for score in scores]


def report(found: dict[str, Any]) -> Iterator[str | RichTable]:
    """What `evaluate` prints for a person."""
    head = facts_table()
    head.add_row("data", f"{found['rows']} rows, {len(found['classes'])} classes")
    head.add_row("accuracy", f"{found['accuracy']:.4f}")
    head.add_row("log loss", f"{found['log_loss']:.4f}")
    yield head
    yield from by_class(found)
    if len(found["classes"]) <= _MOST_IN_MATRIX:
        yield "\nLabels in rows, predictions in columns:"
        yield _matrix(found)
    elif found["accuracy"] < 1:
        yield "\nMost often confused (--json has all):"
        yield _pairs(found)


def by_class(found: dict[str, Any]) -> Iterator[str | RichTable]:
    """The scores of each class, or of those that do worst."""
    classes = found["classes"]
    if len(classes) > _MOST_CLASSES:
        held = [each for each in classes if each["f1"] is not None]
        classes = sorted(held, key=lambda each: float(each["f1"]))[:_MOST_CLASSES]
        yield f"\nThe {len(classes)} classes of the lowest F1 (--json has all):"
    yield _scores(found, classes)


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
