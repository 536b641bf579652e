"""`fastsoftmax train`: its options, and what is checked of them before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastsoftmax.cli import options
from fastsoftmax.cli.errors import UsageError
from fastsoftmax.cli.output import check_plot, check_writable

_SGD, _OPTIMUM, _TEST = "Training by SGD", "Training to the optimum", "Judging"


def command(
    file: options.TrainingData = None,
    label: options.Label = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Save the model in this file (.npz).", show_default=False
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN,…",
            help="Learn from these columns alone.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN,…",
            help="Do not learn from these columns.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    categories: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN,…",
            help="Take the numbers in these columns for names, such as postal codes.",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN,…",
            help="Learn from the words of the sentences in these columns (TF-IDF).",
            show_default=False,
            rich_help_panel=options.DATA,
        ),
    ] = None,
    missing: options.Missing = None,
    separator: options.Separator = None,
    no_header: options.NoHeader = False,
    many_classes: Annotated[
        bool,
        typer.Option(
            "--many-classes",
            help="Train even if there are so many different labels that they look like a "
            "measurement.",
            rich_help_panel=options.DATA,
        ),
    ] = False,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="auto|float32|float64",
            help="The type of numbers to compute in. By default, float32 for a table unless it has "
            "a column whose mean is more than 1000 standard deviations from zero, where float32 "
            "would lose digits; for arrays, that of their numbers.",
            rich_help_panel=options.DATA,
        ),
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(
            help="How often to go through all rows; by default 30 times, and up to 100 times where "
            "rows are few.",
            show_default=False,
            rich_help_panel=_SGD,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="How many rows each step looks at; by default 128.",
            show_default=False,
            rich_help_panel=_SGD,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="How far each step goes; by default as far as the data allow.",
            show_default=False,
            rich_help_panel=_SGD,
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(
            help="How much of the last step goes into the next, from 0 to below 1; by default 0.9.",
            show_default=False,
            rich_help_panel=_SGD,
        ),
    ] = None,
    l2: Annotated[
        float | None,
        typer.Option(
            help="How strongly to keep weights small: the penalty is l2/2 times the sum of their "
            "squares; by default 1 / rows.",
            show_default=False,
        ),
    ] = None,
    standardize: Annotated[
        bool | None,
        typer.Option(
            "--standardize/--no-standardize",
            help="Treat all columns as if their mean were 0 and their variance 1, or not; by "
            "default as in fit_sgd and fit.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="The number from which all random choices follow: which rows are held out, and "
            "the order in which rows are visited."
        ),
    ] = 0,
    threads: options.Threads = None,
    memory: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="How much memory the numbers of a table may take, such as 512MB or 2GiB: a larger "
            "one is read piece by piece.",
            rich_help_panel=options.DATA,
        ),
    ] = "4GB",
    optimum: Annotated[
        bool,
        typer.Option(
            "--optimum",
            help="Solve for the best weights, with a proof of how near they are, in place of SGD.",
            rich_help_panel=_OPTIMUM,
        ),
    ] = False,
    tol: Annotated[
        float | None,
        typer.Option(
            help="Stop when the objective is proved to be within this share of the optimum; by "
            "default 1e-4.",
            show_default=False,
            rich_help_panel=_OPTIMUM,
        ),
    ] = None,
    cv: Annotated[
        int | None,
        typer.Option(
            metavar="FOLDS",
            help="Choose --l2 by cross-validation with so many folds.",
            show_default=False,
            rich_help_panel=_OPTIMUM,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Judge the model on the rows of this file; then all rows of DATA are trained on.",
            show_default=False,
            rich_help_panel=_TEST,
        ),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            help="Hold out this share of the rows, to judge the model on; by default 0.2.",
            show_default=False,
            rich_help_panel=_TEST,
        ),
    ] = None,
    no_holdout: Annotated[
        bool,
        typer.Option(
            "--no-holdout",
            help="Train on all rows, and judge the model on none.",
            rich_help_panel=_TEST,
        ),
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit",
            help="Once the model is judged on the rows held out, train again on all rows, and save "
            "that model.",
            rich_help_panel=_TEST,
        ),
    ] = False,
    as_json: options.AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw how the training went into this file (.png, .svg or .pdf).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model on a table, and say how it does on rows that it was not trained on.

    Columns of numbers are used as they are; a column of words becomes a column of 0 and 1 for each
    word. Columns that cannot be used are named before the training.
    """
    sgd = {
        "--epochs": epochs,
        "--batch-size": batch_size,
        "--learning-rate": learning_rate,
        "--momentum": momentum,
    }
    _refuse_of_the_other(optimum, sgd, {"--tol": tol, "--cv": cv})
    if cv is not None and l2 is not None:
        raise UsageError("--cv chooses the penalty: leave out --l2")
    if no_holdout and (test_fraction or test is not None):
        raise UsageError("--no-holdout judges on no rows: leave out --test and --test-fraction")
    if test is not None and test_fraction:
        raise UsageError("--test judges on the rows of a file: leave out --test-fraction")
    if refit and (no_holdout or test is not None or test_fraction == 0):
        raise UsageError("--refit adds the rows held out, and there are none: leave it out")
    options.check_number(epochs, "--epochs", 1)
    options.check_number(batch_size, "--batch-size", 1)
    options.check_number(learning_rate, "--learning-rate", 0)
    options.check_number(momentum, "--momentum", 0, 1, below=True)
    options.check_number(l2, "--l2", 0)
    options.check_number(tol, "--tol", 0)
    options.check_number(cv, "--cv", 2)
    options.check_number(seed, "--seed", 0)
    options.check_number(test_fraction, "--test-fraction", 0, 1, below=True)
    options.check_choice(dtype, "--dtype", ("auto", "float32", "float64"))
    options.check_missing(missing)
    options.check_separator(separator)
    check_writable(output)
    check_plot(plot)
    budget = options.size(memory, "--memory")
    from fastsoftmax.cli.training.request import Request
    from fastsoftmax.cli.training.run import run

    holds_out = test is None and not no_holdout
    request = Request(
        file=file,
        label=label,
        output=output,
        features=features,
        drop=drop,
        categories=categories,
        text=text,
        missing=missing or "refuse",
        separator=separator,
        header=not no_header,
        many_classes=many_classes,
        dtype=dtype,
        test=test,
        test_fraction=(0.2 if test_fraction is None else test_fraction) if holds_out else 0.0,
        refit=refit,
        as_json=as_json,
        plot=plot,
        optimum=optimum,
        cv=cv,
        seed=seed,
        memory=budget,
        solver={
            "l2": "auto" if l2 is None else l2,
            **({} if standardize is None else {"standardize": standardize}),
            "progress": not as_json,
            **_given(tol=tol, epochs=epochs, batch_size=batch_size, momentum=momentum),
            **_given(learning_rate=learning_rate, seed=None if optimum else seed),
        },
    )
    with options.threads(threads):
        run(request)


def _given(**values: float | None) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _refuse_of_the_other(
    optimum: bool, sgd: dict[str, float | None], exact: dict[str, float | None]
) -> None:
    """Options of the other way of training are an error; those not given are None."""
    for name, value in (sgd if optimum else exact).items():
        if value is not None:
            why = "is an option of SGD: leave it out with" if optimum else "needs"
            raise UsageError(f"{name} {why} --optimum")
