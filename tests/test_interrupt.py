"""Ctrl-C, as a real signal, in a process of its own."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")

PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import fastsoftmax as fs

N, D, K = map(int, sys.argv[1:4])
X = np.random.default_rng(0).standard_normal((N, D), dtype=np.float32)
y = np.arange(N) % K
options = dict(batch_size=64, learning_rate=1e-4, dtype=np.float32)
fs.fit_sgd(X[:1000], y[:1000], epochs=1, **options)  # compiles
sent = []


def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


threading.Timer(1.0, interrupt).start()
try:
    fs.fit_sgd(X, y, epochs=100_000, **options)
except fs.TrainingInterrupted as interrupted:
    late = time.monotonic() - sent[0]
    result = interrupted.result
    assert np.isfinite(result.model.W).all() and result.model.W.any()
    assert isinstance(interrupted.__cause__, KeyboardInterrupt)
    assert fs.softmax([0.0, 0.0])[0] == 0.5
    print(late)
"""


@pytest.mark.parametrize("shape", [(2000, 20, 5), (200_000, 30, 10)])
def test_a_signal_stops_a_long_fit_within_a_second(run_program, shape):
    assert 0 <= float(run_program(PROGRAM, *shape)) < 1
