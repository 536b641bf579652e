"""One thread that reads ahead of whoever computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice, repeat
from typing import TypeVar

from fastsoftmax import layers

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result],
    items: Iterable[Item],
    depth: int,
    close: Callable[[], None] = lambda: None,
) -> Generator[Result, None, None]:
    """``map(read, items)``, up to `depth` of them read before they are asked for.

    All reading, and `close` after it, happens in one thread, which has ended when this generator
    has: when it is exhausted, closed or dropped, or when `read` raised. With Numba's workqueue,
    where kernels would run one by one beside it, that is the caller's thread.
    """
    if layers.start() == "workqueue":
        try:
            yield from map(read, items)
        finally:
            close()
        return
    pool = ThreadPoolExecutor(1, "fastsoftmax-read")
    pending: deque[Future[Result]] = deque()
    items = iter(items)
    try:
        pending.extend(pool.submit(read, item) for item in islice(items, depth))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(read, item) for item in islice(items, 1))
            yield result
            del result
    finally:
        for future in pending:
            future.cancel()
        try:
            pool.submit(close).result()
        finally:
            pool.shutdown()


def run_ahead(
    start: Callable[[], Generator[Item, None, None]],
) -> Generator[Item, None, None]:
    """The items of ``start()``, one of them made before it is asked for; likewise."""
    running: list[Generator[Item, None, None]] = []

    def read(_: None) -> Item | None:
        if not running:
            running.append(start())
        return next(running[0], None)

    def close() -> None:
        for generator in running:
            generator.close()

    with closing(read_ahead(read, repeat(None), 1, close)) as items:
        for item in items:
            if item is None:
                return
            yield item
