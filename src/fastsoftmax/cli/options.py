"""Options that several commands have, and checks of their values."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from fastsoftmax.cli.errors import UsageError
from fastsoftmax.cli.tables import MISSING

DATA = "Data"  # the part of the help that tells of files and their columns
_FILES = (
    "a .csv, .tsv, .parquet, .npy, .npz or .svm file, several .parquet as 'part-*.parquet', or - "
    "for a .csv on standard input"
)

Data = Annotated[Path, typer.Argument(metavar="DATA", help=f"The rows: {_FILES}.")]
TrainingData = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATA",
        help=f"The labelled rows to learn from: {_FILES}. Without it, pictures of 1797 "
        "handwritten digits that come with scikit-learn.",
        show_default=False,
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The file that `fastsoftmax train -o` wrote.")
]
Label = Annotated[
    str | None,
    typer.Option(
        help="The column that holds the labels: its name; its number, from 0, in an .npy or with "
        "--no-header; the name of an array in an .npz. By default the one called y. Of rows in an "
        ".npy, .npz or .svm file also an .npy file with the labels.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        help="The character between cells of text: a comma by default, a tab in a .tsv.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header",
        help="The first line holds values too: columns are named 0, 1, 2, …",
        rich_help_panel=DATA,
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        metavar="refuse|drop|fill",
        help="What to do about rows in which a value is missing: stop and name one (refuse), leave "
        "them out (drop), or put in the mean that the column had in training (fill).",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="How many threads may compute; by default as many as there are cores.",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, for programs, in place of tables.")
]


def check_number(
    value: float | None, option: str, least: float, most: float = math.inf, *, below: bool = False
) -> None:
    """None, or a number from `least` to `most`, or below that."""
    if value is None:
        return
    if not (least <= value <= most) or (below and value == most) or math.isinf(value):
        upper = "" if math.isinf(most) else f" and {'below' if below else 'at most'} {most:g}"
        raise UsageError(f"{option} must be at least {least:g}{upper}, got {value:g}")


def check_choice(value: str | None, option: str, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        allowed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise UsageError(f"{option} must be {allowed}, got {value!r}")


def check_missing(missing: str | None) -> None:
    check_choice(missing, "--missing", MISSING)


def check_separator(separator: str | None) -> None:
    if separator is not None and (len(separator.encode()) != 1 or separator in '\r\n"'):
        raise UsageError(f"--separator must be one ASCII character, got {separator!r}")


def size(text: str, option: str) -> int:
    """Bytes, of text such as 512MB."""
    from fastsoftmax.sources.memory import parse

    try:
        return parse(text, option)
    except ValueError as error:
        raise UsageError(str(error)) from None


def threads(count: int | None) -> AbstractContextManager[None]:
    """In this context, so many threads compute."""
    if count is None:
        return nullcontext()
    from fastsoftmax import num_threads

    return num_threads(check_threads(count))


def check_threads(count: int | None) -> int:
    """So many, if there are; two, or one where there is no second, for None."""
    import numba

    limit: int = numba.config.NUMBA_NUM_THREADS
    if count is None:
        return min(2, limit)
    if not 1 <= count <= limit:
        raise UsageError(f"--threads must be from 1 to {limit} (NUMBA_NUM_THREADS), got {count}")
    return count
