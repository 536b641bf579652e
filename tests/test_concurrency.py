"""Calls from many Python threads at once, in every threading layer of Numba."""

from __future__ import annotations

import threading

import numpy as np

import fastsoftmax as fs

EIGHT_THREADS = """
import random, threading
from every_call import bits, every_call, serial_bits
import fastsoftmax as fs
from fastsoftmax import layers


def results_of_eight_threads():
    barrier = threading.Barrier(8)
    results, errors = [], []

    def work(seed):
        try:
            calls = list(every_call().items())
            barrier.wait()
            for turn in range(6):
                random.Random(10 * seed + turn).shuffle(calls)
                results.extend((name, bits(call())) for name, call in calls)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


cold = results_of_eight_threads()  # the layer and the loops too are first met by eight at once
expected = serial_bits()
for results in (cold, results_of_eight_threads()):
    assert len(results) == 8 * 6 * len(expected)
    assert all(result == expected[name] for name, result in results)
print(layers.chosen())
"""


def test_eight_threads_call_every_function(run_program, layer):
    assert run_program(EIGHT_THREADS, **layer).strip() == layer["NUMBA_THREADING_LAYER"]


def test_every_public_function_is_called(run_program):
    called = run_program("from every_call import every_call\nprint(*every_call())").split()
    functions = {name for name in fs.__all__ if callable(getattr(fs, name)) and name.islower()}
    no_kernels = {"diagnose", "num_threads", "set_num_threads", "warmup"}
    assert functions - no_kernels <= set(called)


OTHER_USERS = """
import threading
import numpy as np
from every_call import all_bits, serial_bits
from somebody_else import count
from fastsoftmax import threads
from fastsoftmax.kernels.compile.parallel import in_parallel


def fail(run):
    raise RuntimeError


for _ in range(3):
    try:
        threads.launch(fail)
    except RuntimeError:
        pass
seen = []
threads.launch(lambda run: seen.append(run == in_parallel()))
assert seen == [True]
stop = threading.Event()


def hammer():
    a = np.ones(200_000)
    while not stop.is_set():
        count(a)


expected = serial_bits()
assert all_bits() == expected
count(np.ones(10))
thread = threading.Thread(target=hammer)
thread.start()
for _ in range(30):
    assert all_bits() == expected
stop.set()
thread.join()
assert all_bits() == expected
print("right")
"""


def test_a_kernel_may_fail_and_another_librarys_run_at_the_same_time(run_program, layer):
    assert run_program(OTHER_USERS, **layer) == "right\n"


ENTERED = """
import threading
import numpy as np
import fastsoftmax as fs
from fastsoftmax import threads
from fastsoftmax.kernels.compile.parallel import in_parallel, one_by_one

seen = []
probe = lambda run: seen.append({in_parallel(): "parallel", one_by_one(): "serial"}[run])
threads.launch(probe)
stop = threading.Event()
other = threading.Thread(target=stop.wait)
other.start()
threads.launch(probe)
inside = threading.Thread(target=threads.launch, args=(probe,))
inside.start()
inside.join()
stop.set()
other.join()
threads.launch(probe)
print(*seen)
"""


def test_workqueue_is_entered_by_a_thread_that_is_alone(run_program, layer):
    seen = run_program(ENTERED, **layer).split()
    if layer["NUMBA_THREADING_LAYER"] == "workqueue":
        assert seen == ["parallel", "serial", "serial", "parallel"]
    else:
        assert seen == ["parallel"] * 4


INTERRUPTED = """
import sys
import numba
from fastsoftmax import layers, threads
from fastsoftmax.kernels.compile.parallel import in_parallel

files = {layers.__file__, threads.__file__}
seen = []


def probe(run):
    seen.append((run == in_parallel(), numba.get_num_threads()))


def interrupted(n):
    # whether a call met the interrupt, which comes at line or return number n of our code
    left = [n]

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in files:
            return None
        if event in ("line", "return"):
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        threads.launch(probe)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


threads.set_num_threads(2)
threads.launch(probe)
n = 1
while interrupted(n):
    assert numba.get_num_threads() == 4, n
    seen.clear()
    threads.launch(probe)
    assert seen == [(True, 2)], n
    n += 1
print(layers.chosen(), n > 15)
"""


def test_an_interrupt_anywhere_in_a_call_leaves_the_next_one_parallel(run_program):
    settings = {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "4"}
    assert run_program(INTERRUPTED, **settings) == "workqueue True\n"


GIL = """
import sys, threading, time
import numpy as np
import fastsoftmax as fs

Z = np.zeros((400_000, 50))
fs.softmax(Z[:2]), fs.logsumexp(Z[:2])
sys.setswitchinterval(1e-4)
done = threading.Event()


def work():
    for _ in range(5):
        fs.logsumexp(Z)
    done.set()


thread = threading.Thread(target=work)
thread.start()
turns = 0
while not done.is_set():
    time.sleep(0.001)
    turns += 1
thread.join()
print(turns)
"""


def test_kernels_release_the_gil(run_program):
    assert int(run_program(GIL, NUMBA_NUM_THREADS=1)) > 20  # held for a kernel, it would be about 5


def test_threads_of_one_process_share_no_results():
    Z = np.random.default_rng(0).standard_normal((3000, 9))
    expected = fs.softmax(Z).tobytes()
    results = []

    def work(n):
        for _ in range(20):
            with fs.num_threads(n):
                results.append(fs.softmax(Z).tobytes())

    threads = [threading.Thread(target=work, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 80
