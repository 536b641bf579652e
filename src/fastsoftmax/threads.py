"""How many threads this library's kernels use, and the one door to every kernel."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba

from fastsoftmax.kernels.parallel import in_parallel, one_by_one

_requested: int | None = None


def set_num_threads(n: int | None) -> None:
    """Let this library's kernels use `n` threads, in the whole process, from now on.

    Parameters
    ----------
    n : int or None
        From 1 to ``numba.config.NUMBA_NUM_THREADS``; None returns to Numba's own setting.

    Raises
    ------
    TypeError, ValueError
        If `n` is not such a number.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.set_num_threads(1)
    >>> fastsoftmax.set_num_threads(None)
    """
    global _requested
    if n is not None:
        limit = numba.config.NUMBA_NUM_THREADS
        try:
            if isinstance(n, bool):
                raise TypeError
            n = operator.index(n)
        except TypeError:
            raise TypeError(f"n must be an integer or None, got {type(n).__name__}") from None
        if not 1 <= n <= limit:
            raise ValueError(f"n must be from 1 to {limit} (NUMBA_NUM_THREADS), got {n}")
    _requested = n


@contextmanager
def num_threads(n: int | None) -> Iterator[None]:
    """`set_num_threads(n)` for the length of a ``with`` block.

    Examples
    --------
    >>> import fastsoftmax
    >>> with fastsoftmax.num_threads(1):
    ...     fastsoftmax.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    previous = _requested
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(previous)


def launch(kernel: Callable[..., None], *arguments: Any, parallel: bool = True) -> None:
    """Run a kernel on this library's threads; Numba's own setting is as before when it returns.

    The bits are the same with `parallel` and without.
    """
    if not parallel:
        kernel(one_by_one(), *arguments)
        return
    run = in_parallel()
    if _requested is None:
        kernel(run, *arguments)
        return
    previous = numba.get_num_threads()
    numba.set_num_threads(_requested)
    try:
        kernel(run, *arguments)
    finally:
        numba.set_num_threads(previous)


def thread_count() -> int:
    """How many threads a kernel would use now."""
    return _requested or int(numba.get_num_threads())
