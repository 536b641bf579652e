"""The commands. What one command alone needs is imported when it runs: `--version` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from fastsoftmax._version import __version__
from fastsoftmax.cli import bench, evaluate, predict, train
from fastsoftmax.cli.output import one_line_errors

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Learn to tell classes apart from a table of examples: softmax regression on a CPU.

    Train a model, judge it on rows that it has not seen, and apply it to new ones. Try `fastsoftmax
    train` without anything else.
    """


for command in (train, predict, evaluate, bench):
    name = command.__name__.rpartition(".")[2]
    app.command(name)(one_line_errors()(command.command))
