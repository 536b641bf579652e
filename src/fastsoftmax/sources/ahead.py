"""One thread that reads ahead of whoever computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result],
    items: Iterable[Item],
    depth: int,
    close: Callable[[], None] = lambda: None,
) -> Iterator[Result]:
    """``map(read, items)``, up to `depth` of them read before they are asked for.

    All reading, and `close` after it, happens in one thread, which has ended when this generator
    has: when it is exhausted, closed or dropped, or when `read` raised.
    """
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
