"""What a new process waits for: the import, and the first call, compiled or read from a cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

FIRST_CALL = """
import time
import numpy as np
import fastsoftmax
X = np.ones((256, 32), np.float32)
y = np.arange(256) % 4
W, b = np.zeros((32, 4), np.float32), np.zeros(4, np.float32)
started = time.perf_counter()
{call}
print(time.perf_counter() - started)
"""
CALLS = {
    "softmax": "fastsoftmax.softmax(X)",
    "loss_and_gradient": "fastsoftmax.loss_and_gradient(X, y, W, b)",
    "fit_sgd": "fastsoftmax.fit_sgd(X, y, epochs=1, learning_rate=0.1)",
}
PROCESSES = {"empty": 1, "filled": 2}


class Import:
    """The whole import; Numba's own share of it stands beside it."""

    param_names = ("package",)
    params = (("fastsoftmax", "numba"),)

    def timeraw_import(self, package):
        return f"import {package}"


class FirstCall:
    """The first call of a process after the import, with a cache of compiled kernels or none."""

    param_names = ("function", "cache")
    params = (tuple(CALLS), tuple(PROCESSES))

    def track_first_call(self, function, cache):
        command = [sys.executable, "-c", FIRST_CALL.format(call=CALLS[function])]
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            for _ in range(PROCESSES[cache]):
                seconds = subprocess.check_output(command, env=environment, text=True)
        return float(seconds)

    track_first_call.unit = "s"
