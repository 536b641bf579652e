"""A process for each side of a comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any


class TimeLimitError(ChildProcessError):
    """A process took longer than it may."""


class Worker:
    """A side's process; what it answers is said in `worker`."""

    def __init__(self, side: str, threads: int) -> None:
        self.side, self.threads = side, threads
        self.process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        threads = self.threads
        counts = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in counts}
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=" + str(threads > 1).lower()
        return subprocess.Popen(
            [sys.executable, "-m", "fastsoftmax.bench.worker", self.side, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def end(self) -> None:
        """Kill the process, wait for that, and close the pipes."""
        self.process.kill()
        with self.process:
            pass

    def restart(self) -> None:
        """Another process in its place, which has prepared nothing."""
        self.end()
        self.process = self._started()

    def ask(self, *request: Any, limit: float | None = None) -> Any:
        """Send a request and wait for its answer, so many seconds at most if there is a limit.

        A ChildProcessError says what went wrong there; after a TimeLimitError the process is dead.
        """
        if limit is None:
            return self._answer(request)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.process.kill()

        timer = threading.Timer(limit, expire)
        timer.start()
        try:
            return self._answer(request)
        except ChildProcessError:
            if expired.is_set():
                raise TimeLimitError(f"{self.side} took longer than {limit:g} s") from None
            raise
        finally:
            timer.cancel()

    def _answer(self, request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
        except BrokenPipeError:  # that no answer comes is told below
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the process of {self.side} ended early, maybe without memory")
        answer, error = json.loads(line)
        if error is not None:
            raise ChildProcessError(f"{self.side}: {error}")
        return answer


@contextmanager
def workers(sides: Sequence[str], threads: int) -> Iterator[dict[str, Worker]]:
    """A process for each side, ended with the block."""
    with ExitStack() as stack:
        started = {}
        for side in sides:
            started[side] = Worker(side, threads)
            stack.callback(started[side].end)
        yield started
