"""What the commands print, and how they end: one line for each error."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table


class _Console(Console):
    """Standard output; that its reader went away is an error like others."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


console = _Console()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong ends the program with one line: exit code 2, or 130 for Ctrl-C."""
    try:
        yield
        print(end="", flush=True)  # what standard output does not take is an error too
    except (ValueError, TypeError, OSError, FloatingPointError, ImportError, MemoryError) as error:
        text = "whoever read the output closed it" if _is_broken_pipe(error) else str(error)
        raise ended(" ".join(text.split()) or type(error).__name__, 2) from None
    except KeyboardInterrupt:
        raise ended("interrupted", 130) from None


def _is_broken_pipe(error: BaseException) -> bool:
    return isinstance(error, BrokenPipeError) or "Broken pipe" in str(error)  # polars' has no type


def ended(line: str, code: int) -> typer.Exit:
    """Say the line; what ends the program."""
    try:
        print(end="", flush=True)
    except OSError:  # Python would complain at its end of what it cannot write
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"fastsoftmax: {line}", file=sys.stderr)
    return typer.Exit(code)


def check_writable(output: Path | None) -> None:
    """Say before the work that the result could not be written after it."""
    if output is None:
        return
    if output.is_dir():
        raise ValueError(f"{output} is a folder; --output must name a file")
    folder = Path(os.path.realpath(output)).parent  # where a link leads to
    if not folder.is_dir():
        raise ValueError(f"--output: there is no folder {folder}")


def check_plot(plot: Path | None) -> None:
    """Before the training, not after it."""
    if plot is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("--plot needs matplotlib: pip install 'fastsoftmax[plot]'")
    if plot.suffix not in (".png", ".svg", ".pdf"):
        raise ValueError(f"--plot must end in .png, .svg or .pdf, got {plot}")
    check_writable(plot)


def facts_table() -> Table:
    """Two columns; those of several tables are in line."""
    table = Table(show_header=False, box=None)
    table.add_column(min_width=len("training speed"))
    table.add_column()
    return table
