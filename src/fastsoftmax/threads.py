"""How many threads this library's kernels use, and the one door to every kernel."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba

from fastsoftmax import layers, limits
from fastsoftmax.kernels.compile.parallel import in_parallel, one_by_one

_requested: int | None = None


def set_num_threads(n: int | None) -> None:
    """Let this library's kernels use `n` threads, in the whole process, from now on.

    The number is the process's: it holds for calls from any of its threads, each of which may use
    as many. Other users of Numba keep theirs. No bit of a result depends on it.

    Parameters
    ----------
    n : int or None
        From 1 to ``numba.config.NUMBA_NUM_THREADS``, which the environment variable of that name
        can raise before Numba is imported. None, as at first, takes the calling thread's own
        setting in Numba (`numba.set_num_threads`), but no more than OMP_NUM_THREADS and a
        container's CPU quota allow, unless NUMBA_NUM_THREADS is set.

    Raises
    ------
    TypeError, ValueError
        If `n` is not such a number; one above the limit is not cut down to it.

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
    """`set_num_threads(n)` for the length of a ``with`` block, in the whole process too.

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

    It runs in the calling thread alone without `parallel`, or where only one thread may or can be
    used: see `layers`. The bits are the same.
    """
    if not parallel or not _several():
        kernel(one_by_one(), *arguments)
        return
    entered = False
    try:
        entered = layers.enter()
        if entered:
            _run_in_parallel(kernel, arguments)
    finally:
        if entered:
            layers.leave()
    if not entered:
        kernel(one_by_one(), *arguments)


def _several() -> bool:
    """Whether a call may use more than one thread, as far as is known without Numba's layer."""
    return not layers.inherited() and (_requested or limits.default_threads()) > 1


def _run_in_parallel(kernel: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run a kernel in the layer, which this thread has entered."""
    run = in_parallel()
    limit = limits.default_threads()
    if _requested is None and limit == numba.config.NUMBA_NUM_THREADS:  # Numba's own setting holds
        kernel(run, *arguments)
        return
    previous = numba.get_num_threads()
    numba.set_num_threads(_requested or min(previous, limit))
    try:
        kernel(run, *arguments)
    finally:
        numba.set_num_threads(previous)


def threads_in_use() -> int:
    """How many threads a call from this thread would use, were it large enough."""
    if not _several():
        return 1
    layers.start()
    return _requested or min(int(numba.get_num_threads()), limits.default_threads())
