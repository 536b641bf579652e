"""How many threads this library's kernels use, and the one door to every kernel."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numba

from fastsoftmax import layers, limits
from fastsoftmax.kernels.compile.parallel import in_parallel, one_by_one

_of_process: int | None = None


class _Block:
    """A `num_threads` block under way."""

    def __init__(self, n: int | None) -> None:
        self.n = n


# Of this thread, or asyncio task; the last counts. Each takes away its own when it ends: blocks of
# generators end in any order.
_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("fastsoftmax.num_threads", default=())


def set_num_threads(n: int | None) -> None:
    """Let this library's kernels use `n` threads, in the whole process, from now on.

    The number is the process's: it holds for calls from any of its threads, each of which may use
    as many, but for those inside a `num_threads` block. Other users of Numba keep theirs. No bit of
    a result depends on it.

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
    global _of_process
    _of_process = _checked(n)


@contextmanager
def num_threads(n: int | None) -> Iterator[None]:
    """`n` threads, as in `set_num_threads`, for the calls of a ``with`` block.

    It holds for the thread that runs the block, or its asyncio task, and for no other: a thread
    that is started inside does not inherit it. Blocks may be nested; the innermost counts, above
    `set_num_threads` too.

    Examples
    --------
    >>> import fastsoftmax
    >>> with fastsoftmax.num_threads(1):
    ...     fastsoftmax.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    block = _Block(_checked(n))
    try:
        _blocks.set((*_blocks.get(), block))
        yield
    finally:
        _blocks.set(tuple(other for other in _blocks.get() if other is not block))


def _checked(n: Any) -> int | None:
    """A number of threads, or None."""
    if n is None:
        return None
    limit = numba.config.NUMBA_NUM_THREADS
    try:
        if isinstance(n, bool):
            raise TypeError
        number = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer or None, got {type(n).__name__}") from None
    if not 1 <= number <= limit:
        raise ValueError(f"n must be from 1 to {limit} (NUMBA_NUM_THREADS), got {number}")
    return number


def requested() -> int | None:
    """The number asked for here, None where nobody did."""
    blocks = _blocks.get()
    return blocks[-1].n if blocks else _of_process


def launch(kernel: Callable[..., Any], *arguments: Any, parallel: bool = True) -> Any:
    """Run a kernel on this library's threads, and return what it does.

    Numba's own setting is as before then. The kernel runs in the calling thread alone without
    `parallel`, or where only one thread may or can be used: see `layers`. The bits are the same.
    """
    if parallel and _several() and layers.may_enter():
        return _run_in_parallel(kernel, arguments)
    return kernel(one_by_one(), *arguments)


def _several() -> bool:
    """Whether a call may use more than one thread, as far as is known without Numba's layer."""
    return not layers.inherited() and (requested() or limits.default_threads()) > 1


def _run_in_parallel(kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What a kernel returns, run in the layer, which this thread may enter."""
    run, asked = in_parallel(), requested()
    limit = limits.default_threads()
    if asked is None and limit == numba.config.NUMBA_NUM_THREADS:  # Numba's own setting holds
        return kernel(run, *arguments)
    previous = numba.get_num_threads()
    try:
        numba.set_num_threads(asked or min(previous, limit))
        result = kernel(run, *arguments)
        numba.set_num_threads(previous)
        return result
    except BaseException:  # an interrupt comes between any two steps, the last one too
        numba.set_num_threads(previous)
        raise


def threads_in_use() -> int:
    """How many threads a call from this thread would use, were it large enough."""
    if not _several():
        return 1
    layers.start()
    return requested() or min(int(numba.get_num_threads()), limits.default_threads())
