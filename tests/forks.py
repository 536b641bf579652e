"""A program that forks in many ways, run by test_fork.py: each child computes what its parent does.

    python forks.py           all scenarios
    python forks.py METHOD    only pools of processes, which are started by another method

One interpreter goes through them, since each costs seconds: first what must come before the import
of this library, then what must come before its first parallel call.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

expected = {}


def in_child(work):
    """Run `work` in a forked child and require that it ends well, soon."""
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


def right_bits():
    """`serial_bits` of a child, so that this process loads nothing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        from every_call import serial_bits

        with open(writer, "wb") as file:
            pickle.dump(serial_bits(), file)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        bits = pickle.load(file)
    os.waitpid(pid, 0)
    return bits


def check():
    from every_call import all_bits

    assert all_bits() == expected


def a_layer_that_another_library_started_before_the_import():
    def work():
        import numpy as np
        from somebody_else import count, load_tbb

        if os.environ["NUMBA_THREADING_LAYER"] == "tbb":
            load_tbb()
        count(np.zeros(1000))

        def grandchild():
            check()
            if os.environ["NUMBA_THREADING_LAYER"] != "omp":  # GNU OpenMP kills the child
                count(np.zeros(1000))

        in_child(grandchild)

    in_child(work)
    assert "fastsoftmax" not in sys.modules


def before_any_parallel_work():
    from fastsoftmax import layers

    def work():
        check()
        assert layers.chosen()
        assert not layers.inherited()

    in_child(work)
    assert layers.chosen() is None


def settings_in_the_child_and_kernels_that_are_new_to_it():
    import numpy as np

    import fastsoftmax as fs

    fs.softmax(np.zeros((30_000, 3)))

    def work():
        fs.set_num_threads(2)
        check()
        with fs.num_threads(3):
            check()
        assert fs.diagnose().threads == 1

    in_child(work)


def after_parallel_work():
    from fastsoftmax import layers

    check()
    for _ in range(3):
        in_child(check)
        check()  # the parent goes on in parallel
    assert not layers.inherited()


def a_grandchild():
    in_child(lambda: (in_child(check), check()))
    check()


def the_child_exits_as_usual():
    pid = os.fork()
    if pid == 0:
        check()
        sys.exit(0)  # runs the layer's own end
    assert os.waitpid(pid, 0)[1] == 0
    check()


def from_a_thread():
    failed = []

    def work():
        try:
            in_child(check)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed, failed
    check()


def while_other_threads_are_inside():
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


def threads_in_the_child():
    from every_call import all_bits

    def work():
        results = []
        threads = [threading.Thread(target=lambda: results.append(all_bits())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [expected] * 4

    in_child(work)


def call(name):
    from every_call import bits, every_call

    return bits(every_call()[name]())


def pools(method="fork"):
    context = multiprocessing.get_context(method)
    results = list(expected.values())
    with context.Pool(2) as pool:
        assert pool.map(call, expected) == results
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert list(pool.map(call, expected)) == results
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, expected)) == results
    check()


SCENARIOS = (
    a_layer_that_another_library_started_before_the_import,
    before_any_parallel_work,
    settings_in_the_child_and_kernels_that_are_new_to_it,
    after_parallel_work,
    a_grandchild,
    the_child_exits_as_usual,
    from_a_thread,
    while_other_threads_are_inside,
    threads_in_the_child,
    pools,
)

if __name__ == "__main__":
    expected.update(right_bits())
    for scenario in [lambda: pools(sys.argv[1])] if sys.argv[1:] else SCENARIOS:
        print(scenario.__name__, file=sys.stderr, flush=True)
        scenario()
    print("right")
