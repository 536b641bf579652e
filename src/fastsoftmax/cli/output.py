"""What the commands print, and how they end: one line for each error."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fastsoftmax.cli.errors import EXTRA, UsageError
from fastsoftmax.sources import SourceError

if TYPE_CHECKING:
    from rich.table import Table

_WORK = ValueError, TypeError, OSError, ArithmeticError, ImportError, MemoryError, SourceError

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


@cache
def _console() -> Any:
    """Standard output; that its reader went away is an error like others."""
    from rich.console import Console

    class OfErrors(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return OfErrors(highlight=False)


def show(what: Any) -> None:
    """Print a line, or a table of rich's."""
    if isinstance(what, str):
        _console().print(what, soft_wrap=True, markup=False)
    else:
        _console().print(what)


def note(text: str) -> None:
    """Tell a person what is no part of the output."""
    print(f"fastsoftmax: {text}", file=sys.stderr)


@contextmanager
def counting(what: str, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """What is told of more rows, and shows on the terminal how many there were."""
    if not wanted or not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    text = TextColumn(what + " {task.completed:,.0f} rows")
    with Progress(SpinnerColumn(), text, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda rows: bar.advance(task, rows)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong ends the program with one line and an exit code.

    It is 1 where the work failed, 2 where the command was wrong, 130 for Ctrl-C.
    """
    try:
        yield
        print(end="", flush=True)  # what standard output does not take is an error too
    except _WORK as error:
        code = WRONG_USAGE if isinstance(error, UsageError) else FAILED
        if _is_broken_pipe(error):
            text = "whoever read the output closed it"
        elif isinstance(error, ModuleNotFoundError) and error.name in EXTRA:
            text = f"{error.name} is missing; pip install 'fastsoftmax[cli]'"
        else:
            text = str(error)
        raise ended(" ".join(text.split()) or type(error).__name__, code) from None
    except KeyboardInterrupt:
        raise ended("interrupted", INTERRUPTED) from None


def _is_broken_pipe(error: BaseException) -> bool:
    return isinstance(error, BrokenPipeError) or "Broken pipe" in str(error)  # polars' has no type


def ended(line: str, code: int) -> typer.Exit:
    """Say the line; what ends the program."""
    try:
        print(end="", flush=True)
    except OSError:  # Python would complain at its end of what it cannot write
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    note(line)
    return typer.Exit(code)


def check_writable(output: Path | None, option: str = "--output") -> None:
    """Say before the work that the result could not be written after it."""
    if output is None:
        return
    if output.is_dir():
        raise UsageError(f"{output} is a folder; {option} must name a file")
    folder = Path(os.path.realpath(output)).parent  # where a link leads to
    if not folder.is_dir():
        raise UsageError(f"{option}: there is no folder {folder}")


def check_plot(plot: Path | None) -> None:
    """Before the training, not after it."""
    if plot is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib: pip install 'fastsoftmax[plot]'")
    if plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot must end in .png, .svg or .pdf, got {plot}")
    check_writable(plot, "--plot")


def facts_table() -> Table:
    """Two columns; those of several tables are in line."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column(min_width=len("training speed"))
    table.add_column()
    return table
