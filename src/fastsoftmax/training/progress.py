"""Progress that a person can watch (rich, an extra)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol


class Progress(Protocol):
    """What `fit_sgd` tells of its progress."""

    def __call__(self, epoch: int, rows: int, loss: float | None) -> None:
        """`rows` of the epoch are done; `loss` is its mean once all are."""


def shown(
    progress: bool | Progress, epochs: int, n_rows: int
) -> AbstractContextManager[Progress | None]:
    """What to tell: a bar on the terminal for True, nothing for False."""
    return _told(progress, lambda: _bar_of_epochs(epochs, n_rows))


@contextmanager
def _bar_of_epochs(epochs: int, n_rows: int) -> Iterator[Progress]:
    rich_progress, console = _rich()
    bar = rich_progress.Progress(
        rich_progress.TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        rich_progress.BarColumn(),
        rich_progress.TextColumn("{task.fields[loss]}"),
        rich_progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=epochs * n_rows, epoch=1, epochs=epochs, loss="")

        def show(epoch: int, rows: int, loss: float | None) -> None:
            bar.update(task, completed=epoch * n_rows + rows, epoch=epoch + 1)
            if loss is not None:
                bar.update(task, loss=f"loss {loss:.4f}")

        yield show


class Solving(Protocol):
    """What `fit` tells of its progress."""

    def __call__(self, step: int, objective: float, gap: float) -> None:
        """A step is done; the gap is an estimate."""


def solving(progress: bool | Solving, tol: float) -> AbstractContextManager[Solving | None]:
    """What to tell: a bar on the terminal for True, nothing for False."""
    return _told(progress, lambda: _line_of_steps(tol))


@contextmanager
def _line_of_steps(tol: float) -> Iterator[Solving]:
    rich_progress, console = _rich()
    bar = rich_progress.Progress(
        rich_progress.TextColumn("step {task.completed}"),
        rich_progress.SpinnerColumn(),
        rich_progress.TextColumn("{task.fields[objective]}"),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None, objective="")

        def show(step: int, objective: float, gap: float) -> None:
            text = f"objective {objective:.6f}, gap about {gap:.0e}, until {tol:.0e}"
            bar.update(task, completed=step + 1, objective=text)

        yield show


def _told(
    progress: Any, bar: Callable[[], AbstractContextManager[Any]]
) -> AbstractContextManager[Any]:
    """A context with what to tell: `progress` itself, a bar or nothing."""
    if isinstance(progress, bool):
        return bar() if progress else nullcontext()
    if not callable(progress):
        raise TypeError(f"progress must be True, False or callable, got {progress!r}")
    return nullcontext(progress)


def _rich() -> tuple[Any, Any]:
    """(rich's progress module, a console on standard error)."""
    try:
        from rich import progress as rich_progress
        from rich.console import Console
    except ImportError:
        raise ImportError("a progress bar needs rich: pip install 'fastsoftmax[cli]'") from None
    return rich_progress, Console(stderr=True)
