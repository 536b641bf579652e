"""`fastsoftmax predict`: apply a model to rows, and write what it says of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastsoftmax.cli import options
from fastsoftmax.cli.errors import UsageError
from fastsoftmax.cli.output import check_writable, counting, note

if TYPE_CHECKING:
    import polars as pl

    from fastsoftmax.cli.tables.encoding import Part
    from fastsoftmax.model import SoftmaxModel

PREDICTION = "prediction"  # the column

# So many multiplications take NumPy a millisecond or two; loading compiled functions takes 0.4 s.
_FEW = 1 << 20


def command(
    model_file: options.Model,
    file: options.Data,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write: a .parquet, a .tsv, or a .csv. Without it, a .csv is printed.",
            show_default=False,
        ),
    ] = None,
    proba: Annotated[
        bool,
        typer.Option("--proba", help="Add a column for each class, with its probability."),
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN,…",
            help="Columns of DATA to write beside the predictions, such as an id.",
            show_default=False,
        ),
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Write all columns of DATA beside the predictions.")
    ] = False,
    missing: options.Missing = None,
    separator: options.Separator = None,
    no_header: options.NoHeader = False,
    threads: options.Threads = None,
) -> None:
    """Apply a model to rows: write the class that it predicts for each.

    Columns are found by the names that they had in training, in any order; others are ignored.
    Missing values are treated as in training. A row that is left out for one has no prediction.
    """
    check_writable(output)
    if output is not None and output.suffix.lower() in (".gz", ".zst", ".xlsx", ".npy", ".npz"):
        raise UsageError(f"--output must end in .csv, .tsv or .parquet, got {output}")
    if keep and keep_all:
        raise UsageError("--keep-all keeps the columns of --keep too: leave one of them out")
    options.check_missing(missing)
    options.check_separator(separator)
    from fastsoftmax.cli import model_file as models
    from fastsoftmax.cli.applying import Rows
    from fastsoftmax.cli.tables.files import read
    from fastsoftmax.cli.tables.table import Table
    from fastsoftmax.cli.writing import writer

    saved = models.load(model_file)
    source = read(file, separator=separator, header=not no_header, first_index=saved.first_index)
    kept: list[str] = []
    if keep or keep_all:
        if not isinstance(source, Table):
            raise UsageError(f"--keep and --keep-all need named columns; {file} has none")
        kept = source.columns if keep_all else source.named(keep, "--keep")
    if PREDICTION in kept:
        raise UsageError(f"{file} has a column {PREDICTION!r} already: it cannot be kept")
    rows = Rows(saved, source, missing, kept)
    with options.threads(threads), writer(output) as write:
        parts = iter(rows)
        part: Part | None = next(parts)
        following = next(parts, None)
        few = following is None
        with counting("predicted for", wanted=output is not None and not few) as count:
            while part is not None:
                columns = _columns(saved.model, part.X, kept if proba else None, few)
                frame = _frame(columns, part.kept)
                write(part.batch.select(kept).hstack(frame) if kept else frame)
                count(len(frame))
                part, following = following, next(parts, None)
    for text in rows.notes:
        note(text)


def _columns(model: SoftmaxModel, X: Any, kept: list[str] | None, few: bool) -> dict[str, Any]:
    """The columns to write; with probabilities, unless `kept` is None."""
    indices, P = _predicted(model, X, few, proba=kept is not None)
    columns = {PREDICTION: model.classes[indices]}
    if kept is not None:
        import polars as pl

        for k, name in enumerate(pl.Series(model.classes).cast(pl.String)):  # as they are spelt
            taken = name in kept or name in columns
            columns[f"probability of {name}" if taken else name] = P[:, k]
    return columns


def _predicted(model: SoftmaxModel, X: Any, few: bool, *, proba: bool) -> tuple[Any, Any]:
    """(the index of each row's class, probabilities if they are wanted).

    Few rows, where there are no more, are left to NumPy, in float64: to load the compiled functions
    takes longer.
    """
    import numpy as np

    from fastsoftmax import functional, reference

    if few and isinstance(X, np.ndarray) and X.size * len(model.classes) <= _FEW:
        Z = X @ model.W.astype(np.float64) + model.b
        if np.isfinite(Z).all():
            return Z.argmax(axis=1), reference.softmax(Z).astype(model.W.dtype)
    P = functional.predict_proba(X, model.W, model.b) if proba else None
    return functional.predict(X, model.W, model.b), P


def _frame(columns: dict[str, Any], rows: Any) -> pl.DataFrame:
    """A frame of all rows, those that have no prediction among them."""
    import polars as pl

    frame = pl.DataFrame(columns)
    if rows is None:
        return frame
    numbers = pl.DataFrame({"": rows.nonzero()[0]})
    every = pl.DataFrame({"": range(len(rows))}, schema={"": numbers.schema[""]})
    joined = every.join(numbers.hstack(frame), on="", how="left", maintain_order="left")
    return joined.drop("")
