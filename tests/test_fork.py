"""Processes that are forked or started: each computes what its parent does, in every layer."""

from __future__ import annotations

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

HEAD = """
import os, sys, threading, time
from every_call import all_bits, bits, every_call, serial_bits
import fastsoftmax as fs
from fastsoftmax import layers

def in_child(work):
    '''Run `work` in a forked child and require that it ends well, soon.'''
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"the child ended with {status}"
            return
        time.sleep(0.005)
    os.kill(pid, 9)
    raise AssertionError("the child hangs")

def check():
    assert all_bits() == expected

expected = serial_bits()
"""

SCENARIOS = {
    "after parallel work": """
check()
for _ in range(3):
    in_child(check)
    check()  # the parent goes on in parallel
assert not layers.inherited()
""",
    "before any parallel work": """
def work():
    check()
    assert layers.chosen() and not layers.inherited()

in_child(work)
check()
in_child(check)
""",
    "a grandchild": """
check()
in_child(lambda: (in_child(check), check()))
check()
""",
    "the child exits as usual": """
check()
pid = os.fork()
if pid == 0:
    check()
    sys.exit(0)  # runs the layer's own end
assert os.waitpid(pid, 0)[1] == 0
check()
""",
    "from a thread": """
check()
thread = threading.Thread(target=in_child, args=(check,))
thread.start()
thread.join()
check()
""",
    "while other threads are inside": """
check()
stop = threading.Event()
failed = []

def work():
    try:
        while not stop.is_set():
            check()
    except BaseException as error:
        failed.append(error)

def forks():
    try:
        for _ in range(8):
            in_child(check)
    except BaseException as error:
        failed.append(error)

threads = [threading.Thread(target=work) for _ in range(3)]
forking = threading.Thread(target=forks)
for thread in (*threads, forking):
    thread.start()
for _ in range(4):
    in_child(check)
forking.join()
stop.set()
for thread in threads:
    thread.join()
assert not failed, failed
check()
""",
    "threads in the child": """
check()

def work():
    results = []
    threads = [threading.Thread(target=lambda: results.append(all_bits())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4

in_child(work)
""",
    "settings in the child, and kernels that are new to it": """
import numpy as np
fs.softmax(np.zeros((30_000, 3)))

def work():
    fs.set_num_threads(2)
    check()
    with fs.num_threads(3):
        check()
    assert fs.diagnose().threads == 1

in_child(work)
""",
    "a layer that another library started before the import": """
import subprocess
program = '''
import os, sys
import numba, numpy as np

@numba.njit(parallel=True)
def somebody_elses(a):
    for i in numba.prange(a.size):
        a[i] += i

from fastsoftmax_late import load
load()
somebody_elses(np.zeros(1000))
pid = os.fork()
if pid == 0:
    from every_call import all_bits, serial_bits
    assert all_bits() == serial_bits()
    if os.environ["NUMBA_THREADING_LAYER"] != "omp":  # GNU OpenMP kills the child
        somebody_elses(np.zeros(1000))
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
'''
late = '''
import ctypes, os, sys, importlib.metadata as metadata
def load():
    if os.environ["NUMBA_THREADING_LAYER"] == "tbb":
        files = metadata.files("tbb")
        path = next(str(f.locate()) for f in files if f.name == "libtbb.so.12")
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
'''
program = program.replace("from fastsoftmax_late import load\\n", late)
subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
""",
}


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_fork(run_program, layer, scenario):
    output = run_program(HEAD + scenario + 'print("right")\n', **layer)
    assert output.endswith("right\n")  # Numba's TBB layer may say there that it was busy


POOLS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from every_call import all_bits, bits, every_call, serial_bits


def call(name):
    return bits(every_call()[name]())


if __name__ == "__main__":
    expected = serial_bits()
    assert all_bits() == expected
    names = list(expected)
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        assert pool.map(call, names) == list(expected.values())
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(call, names)) == list(expected.values())
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, names)) == list(expected.values())
    assert all_bits() == expected
    print("right")
"""


def test_forked_pools(run_program, layer, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(POOLS)
    assert run_program(script, "fork", **layer) == "right\n"


@pytest.mark.parametrize(
    "method", ["spawn", pytest.param("forkserver", marks=pytest.mark.exhaustive)]
)
def test_pools_of_fresh_processes(run_program, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(POOLS)
    assert run_program(script, method, NUMBA_NUM_THREADS=4) == "right\n"


JOBLIB = """
import os, sys
from joblib import Parallel, delayed, parallel_config
import numba
from every_call import all_bits, bits, every_call, serial_bits
from fastsoftmax.threads import threads_in_use


def call(name):
    return bits(every_call()[name]()), threads_in_use()


expected = serial_bits()
assert all_bits() == expected
for inner in (1, 2) if sys.argv[1] == "loky" else (None,):
    with parallel_config(sys.argv[1], n_jobs=2, inner_max_num_threads=inner):
        results = Parallel()(delayed(call)(name) for name in expected)
    assert [result for result, _ in results] == list(expected.values())
    if inner is not None:
        assert {threads for _, threads in results} == {inner}, results
print("right")
"""


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_joblib_in_threads_and_forks(run_program, layer, tmp_path, backend):
    pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(JOBLIB)
    assert run_program(script, backend, **layer) == "right\n"


def test_joblib_sets_the_threads_of_its_workers(run_program, tmp_path):
    pytest.importorskip("joblib")
    script = tmp_path / "script.py"
    script.write_text(JOBLIB)
    assert run_program(script, "loky", NUMBA_NUM_THREADS=4) == "right\n"


def test_the_fork_warning_of_python_is_all_it_warns_of(run_program, layer):
    program = HEAD + "check()\nin_child(check)\nprint('right')\n"
    rules = "error,ignore::DeprecationWarning" if sys.version_info >= (3, 12) else "error"
    assert run_program(program, PYTHONWARNINGS=rules, **layer) == "right\n"
