"""A process for each side of a comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any


class Worker:
    """A side's process; what it answers is said in `worker`."""

    def __init__(self, side: str, threads: int) -> None:
        self.side = side
        counts = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in counts}
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=" + str(threads > 1).lower()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastsoftmax.bench.worker", side, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, *request: Any) -> Any:
        """Send a request and wait for its answer.

        A ChildProcessError says what went wrong there.
        """
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
            stack.enter_context(started[side].process)  # waits, and closes the pipes
            stack.callback(started[side].process.kill)
        yield started
