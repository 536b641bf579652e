"""`fastsoftmax evaluate`: judge a model on labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastsoftmax.cli import options
from fastsoftmax.cli.output import check_plot, note, show


def command(
    model_file: options.Model,
    file: options.Data,
    label: options.Label = None,
    as_json: options.AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw which classes are taken for which into this file (.png, .svg or .pdf).",
            show_default=False,
        ),
    ] = None,
    missing: options.Missing = None,
    separator: options.Separator = None,
    no_header: options.NoHeader = False,
    threads: options.Threads = None,
) -> None:
    """Judge a model on labelled rows: its accuracy and loss, and which classes it confuses.

    The rows should be others than those that it was trained on.
    """
    check_plot(plot)
    options.check_missing(missing)
    options.check_separator(separator)
    import json

    from fastsoftmax.cli import model_file as models
    from fastsoftmax.cli.applying import labelled
    from fastsoftmax.cli.scores import draw, evaluation, report
    from fastsoftmax.cli.tables.files import read

    saved = models.load(model_file)
    with options.threads(threads):
        source = read(
            file,
            label,
            separator=separator,
            header=not no_header,
            first_index=saved.first_index,
        )
        X, labels, notes = labelled(saved, source, label, missing)
        found = evaluation(saved.model, [(X, labels)])
    for text in notes:
        note(text)
    if plot is not None:
        draw(found, str(plot))
    if as_json:
        print(json.dumps(found, allow_nan=False))
        return
    for part in report(found):
        show(part)
    if plot is not None:
        show(f"confusion matrix drawn as {plot}")
