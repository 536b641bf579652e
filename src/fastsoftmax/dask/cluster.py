"""The client, its tasks, and waiting for them: with an end, whatever becomes of the workers.

Tasks are pure and their arguments go along with them, so that the scheduler runs again what a lost
worker held. Nothing is scattered, which would be lost for good.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any
from uuid import uuid4
from weakref import WeakSet

import dask
import numba
import numpy as np
from dask.base import get_scheduler
from dask.utils import parse_timedelta
from distributed import Client, get_worker, wait, worker_client

from fastsoftmax import threads
from fastsoftmax._version import __version__
from fastsoftmax.kernels.compile.cache import cpu_name
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

# Without any worker that runs, a cluster is waited for so long; `dask.config` may say otherwise.
TIMEOUT = "fastsoftmax.timeout"
_DEFAULT_TIMEOUT = "5 minutes"

_LOOK = 2.0  # seconds between two looks at the workers

# Results are fetched in portions of about so many bytes, which is what the client holds of them.
_AT_ONCE = 2**26

# What tasks share goes along with each while that makes no more bytes in all.
_MOST_BYTES = 2**23

_LARGE = "distributed.admin.large-graph-warning-threshold"
_sending = threading.Lock()


@contextmanager
def connected(client: Any = None) -> Iterator[Client | None]:
    """The client given; else Dask's own choice, which may be none: then a local scheduler's.

    In a task, that of its worker, while the task gives up its place there: it waits for others.
    """
    if client is not None:
        if not isinstance(client, Client):
            raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
        if client.asynchronous:
            raise TypeError("client must not be asynchronous, for fit waits for its results")
        yield client
        return
    chosen = getattr(get_scheduler(), "__self__", None)
    if not isinstance(chosen, Client):
        yield None
    elif not _in_task():
        yield chosen
    else:
        with worker_client() as own:
            yield own


def _in_task() -> bool:
    try:
        get_worker()
    except ValueError:
        return False
    return True


class Cluster:
    """The workers of a client, for as long as one fit takes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._timeout = parse_timedelta(dask.config.get(TIMEOUT, _DEFAULT_TIMEOUT))
        self._kinds: list[Kind] = []
        self._held: WeakSet[Any] = WeakSet()  # all futures, as long as somebody needs them

    @property
    def n_threads(self) -> int:
        """Of all workers that are there now."""
        return sum(self._client.nthreads().values())

    def compute(self, tasks: Sequence[Any]) -> list[Any]:
        """Futures of delayed objects, under way."""
        futures: list[Any] = self._client.compute(list(tasks))
        self._held.update(futures)
        return futures

    def hold(self, name: str, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Futures of the values of a function, a task for each, until `close`."""
        run = f"fastsoftmax-{name}-{uuid4().hex}"
        keys = [f"{run}-{i}" for i in range(len(arguments[0]))]
        # What every task gets is no large graph by mistake. The lock keeps two threads from
        # restoring each other's settings.
        with _sending, dask.config.set({_LARGE: "1 TiB"}):
            futures: list[Any] = self._client.map(function, *arguments, key=keys, pure=False)
        self._held.update(futures)
        return futures

    def run(
        self,
        name: str,
        function: Callable[..., Any],
        *arguments: Sequence[Any],
        shared: Any = None,
        result_bytes: int = 1000,
    ) -> Iterator[Any]:
        """The values of a function in order, a task for each, in one thread of a worker.

        Each value takes about so many bytes.

        Each gets what is `shared` first. If that is large, it is a task's result itself: so it goes
        to each worker once, and from one to another.
        """
        n = len(arguments[0])
        if shared is not None:
            if n * size_of(shared) > _MOST_BYTES:
                shared = self.hold(f"{name}-of", _itself, [shared])[0]
            arguments = [shared] * n, *arguments
        futures = self.hold(name, _computed, [function] * n, *arguments)
        for value, kind in self.results(futures, max(_AT_ONCE // max(result_bytes, 1), 1)):
            self._notice(kind)
            yield value

    def close(self) -> None:
        """Give the workers' memory back, and end what is under way."""
        self.cancel(list(self._held))

    def results(self, futures: list[Any], at_once: int = 1000) -> Iterator[Any]:
        """The results of tasks in order, so many at once, which are forgotten as they come.

        Whatever is raised, no task goes on.
        """
        try:
            while futures:
                yield from self._gathered(futures[:at_once])
                del futures[:at_once]
        except CancelledError as error:
            self.cancel(futures)
            raise RuntimeError(f"the cluster gave up a task: {error}") from error
        except BaseException:
            self.cancel(futures)
            raise

    def cancel(self, futures: Sequence[Any]) -> None:
        with suppress(Exception):  # of a cluster that is gone, beside that which says so
            self._client.cancel(list(futures))

    def _gathered(self, futures: Sequence[Any]) -> list[Any]:
        """The results of some tasks; a TimeoutError where no worker runs for long."""
        self._await(lambda: _ended(futures))
        # whose results may be lost again
        gather = self._client.gather(futures, asynchronous=True)
        pending = asyncio.run_coroutine_threadsafe(gather, self._client.loop.asyncio_loop)
        try:
            self._await(lambda: pending.exception(_LOOK))
            results: list[Any] = pending.result()
            return results
        finally:
            pending.cancel()

    def _await(self, look: Callable[[], Any]) -> None:
        """Look until there is no TimeoutError."""
        seen = time.monotonic()
        while True:
            with suppress(TimeoutError):
                look()
                return
            states = self._states()
            if "running" in states:
                seen = time.monotonic()
            elif time.monotonic() - seen > self._timeout:
                there = f" ({len(states)}: {', '.join(sorted(set(states)))})" if states else ""
                raise TimeoutError(
                    f"no worker of the cluster{there} has run for {self._timeout:g} s, as long as "
                    f"dask.config's {TIMEOUT!r} lets it wait"
                )

    def _states(self) -> list[str]:
        """Of each worker: "running", "paused" and so on."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return [str(worker["status"]) for worker in workers]

    def _notice(self, kind: Kind) -> None:
        """Warn, once, of workers that may round otherwise than others."""
        if kind in self._kinds:
            return
        self._kinds.append(kind)
        if len(self._kinds) == 2:
            differ = [pair for pair in zip(*self._kinds, strict=True) if pair[0] != pair[1]]
            what = ", ".join(" and ".join(sorted(pair)) for pair in differ)
            warnings.warn(
                f"the workers differ ({what}): a part that another computes may round otherwise, "
                "so that a second fit may differ in its last digits",
                UserWarning,
                stacklevel=2,
            )


Kind = tuple[str, ...]


@cache
def kind_of_worker() -> Kind:
    """What the bits of its results depend on."""
    return (
        cpu_name(),
        f"vectors of {8 * VECTOR_BYTES} bits",
        f"fastsoftmax {__version__}",
        f"Numba {numba.__version__}",
        f"NumPy {np.__version__}",
    )


def _ended(futures: Sequence[Any]) -> None:
    """Return once all have ended, or one has failed; a TimeoutError asks to call again."""
    try:
        wait(futures, _LOOK)
    except TimeoutError:
        if not any(future.status in ("error", "cancelled") for future in futures):
            raise


def _itself(value: Any) -> Any:
    return value


def size_of(value: Any) -> int:
    """Bytes of a pickle, about."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return len(head) + sum(buffer.raw().nbytes for buffer in buffers)


def _computed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Kind]:
    """What a task does: the value of a function, and which kind of worker it comes from."""
    with one_thread():
        return function(*arguments), kind_of_worker()


def one_thread() -> AbstractContextManager[None]:
    """One thread for a task, whose worker runs others beside it; or what it was told to use."""
    return threads.num_threads(threads.requested() or 1)
