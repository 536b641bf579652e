"""Processes that are forked or started: each computes what its parent does, in every layer."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from fastsoftmax.once import once

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

FORKS = Path(__file__).with_name("forks.py")


def test_forks(run_program, layer):
    """All scenarios of forks.py; if one fails, the last name on stderr is its. Nothing warns."""
    rules = "error,ignore::DeprecationWarning" if sys.version_info >= (3, 12) else "error"
    output = run_program(FORKS, PYTHONWARNINGS=rules, **layer)
    assert output.endswith("right\n")  # Numba's TBB layer may say there that it was busy


def test_an_attribute_that_another_thread_computes_blocks_nobody():
    """A child that is forked meanwhile would wait for ever."""
    begun, done = threading.Event(), threading.Event()

    class Slow:
        @once
        def value(self):
            if threading.current_thread() is slow:
                begun.set()
                done.wait(10)
            return 1

    slow = threading.Thread(target=lambda: Slow().value)
    slow.start()
    begun.wait(10)
    quick = threading.Thread(target=lambda: Slow().value)
    quick.start()
    quick.join(5)
    blocked = quick.is_alive()
    done.set()
    slow.join()
    assert not blocked


@pytest.mark.parametrize(
    "method", ["spawn", pytest.param("forkserver", marks=pytest.mark.exhaustive)]
)
def test_pools_of_fresh_processes(run_program, method):
    assert run_program(FORKS, method, NUMBA_NUM_THREADS=4) == "right\n"


JOBLIB = """
import sys
from joblib import Parallel, delayed, parallel_config
from every_call import all_bits, bits, every_call, serial_bits
from fastsoftmax.threads import threads_in_use


def call(name):
    return bits(every_call()[name]()), threads_in_use()


expected = serial_bits()
assert all_bits() == expected
for backend, inner in [("loky", 1), ("loky", 2)] if sys.argv[1:] else [
    ("threading", None), ("multiprocessing", None)
]:
    with parallel_config(backend, n_jobs=2, inner_max_num_threads=inner):
        results = Parallel()(delayed(call)(name) for name in expected)
    assert [result for result, _ in results] == list(expected.values())
    if inner is not None:
        assert {threads for _, threads in results} == {inner}, results
print("right")
"""


def test_joblib_in_threads_and_forks(run_program, layer, tmp_path):
    pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(JOBLIB)
    told = run_program(script, **layer)
    # Numba's word on a fork while a thread of TBB's is still on its way out, on a busy machine
    shut_down = "Unable to join threads to shut down before fork()"
    assert [line for line in told.splitlines() if line and shut_down not in line] == ["right"]


def test_joblib_sets_the_threads_of_its_workers(run_program, tmp_path):
    pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(JOBLIB)
    assert run_program(script, "loky", NUMBA_NUM_THREADS=4) == "right\n"
