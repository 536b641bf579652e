"""The number of threads: how it is set, and that no bit of a result depends on it."""

from __future__ import annotations

import asyncio
import threading

import numba
import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.kernels.compile.parallel import one_by_one
from fastsoftmax.threads import launch

LIMIT = numba.config.NUMBA_NUM_THREADS
needs_two = pytest.mark.skipif(LIMIT < 2, reason="Numba was started with a single thread")


@pytest.fixture(autouse=True)
def _numbas_own_setting():
    before = numba.get_num_threads()
    fs.set_num_threads(None)
    yield
    fs.set_num_threads(None)
    numba.set_num_threads(before)


def threads_of_a_kernel():
    """How many threads a parallel kernel would use now."""
    seen = []
    launch(lambda run: seen.append(1 if run == one_by_one() else numba.get_num_threads()))
    return seen.pop()


def arrays_of(result):
    if isinstance(result, fs.SGDResult):
        return [result.model.W, result.model.b, np.array(result.history["loss"])]
    return [np.asarray(array) for array in (result if isinstance(result, tuple) else (result,))]


def assert_same_bits_for_one_and_all_threads(function, *arguments, **options):
    with fs.num_threads(1):
        alone = arrays_of(function(*arguments, **options))
    with fs.num_threads(LIMIT):
        together = [arrays_of(function(*arguments, **options)) for _ in range(3)]
    for arrays in together:
        for array, twin in zip(arrays, alone, strict=True):
            assert array.dtype == twin.dtype
            assert array.tobytes() == twin.tobytes()


@needs_two
@pytest.mark.parametrize(
    ("N", "D", "K"),
    [(1, 3, 2), (65, 17, 3), (5000, 17, 10), (9999, 130, 33), (1000, 768, 300), (100, 3, 30_000)],
)
def test_losses_have_the_same_bits(problem, N, D, K):
    p = problem(N, D, K)
    options = {"sample_weight": p.weight, "label_smoothing": 0.1, "l2": 0.1}
    for function in (fs.loss, fs.loss_and_gradient):
        assert_same_bits_for_one_and_all_threads(function, *p[:4], **options)


@needs_two
def test_float32_losses_have_the_same_bits(problem):
    p = problem(20_000, 17, 10, dtype=np.float32)
    for function in (fs.loss, fs.loss_and_gradient):
        assert_same_bits_for_one_and_all_threads(function, *p[:4])


@needs_two
def test_predictions_have_the_same_bits(problem):
    p = problem(5000, 17, 10)
    for function in (fs.decision_function, fs.predict_proba, fs.predict_log_proba, fs.predict):
        assert_same_bits_for_one_and_all_threads(function, p.X, p.W, p.b)


@needs_two
def test_row_functions_have_the_same_bits(problem):
    p = problem(20_000, 0, 17)
    Z = np.random.default_rng(0).standard_normal((20_000, 17))
    for function in (fs.softmax, fs.log_softmax, fs.logsumexp):
        assert_same_bits_for_one_and_all_threads(function, Z)
    for function in (fs.cross_entropy, fs.cross_entropy_and_gradient):
        assert_same_bits_for_one_and_all_threads(function, Z, p.targets, sample_weight=p.weight)
    assert_same_bits_for_one_and_all_threads(fs.decide, np.abs(Z), np.arange(17))


@needs_two
@pytest.mark.parametrize("batch_size", [1, 64, 128, 3000])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"standardize": False, "momentum": 0, "l2": 0},
        {"nesterov": True, "average": 0.5, "label_smoothing": 0.1, "class_weight": "balanced"},
    ],
    ids=["defaults", "plain", "more"],
)
def test_training_has_the_same_bits(problem, batch_size, options):
    p = problem(3000, 17, 10)
    assert_same_bits_for_one_and_all_threads(
        fs.fit_sgd, p.X, p.targets, batch_size=batch_size, epochs=2, **options
    )


@needs_two
def test_training_of_many_weights_has_the_same_bits(problem):
    """Enough of them that threads share the update."""
    p = problem(600, 700, 60, dtype=np.float32)
    assert_same_bits_for_one_and_all_threads(
        fs.fit_sgd, p.X, p.targets, classes=np.arange(60), epochs=2
    )


# The setting


def test_set_num_threads_rules_and_numbas_setting_returns():
    before = numba.get_num_threads()
    for n in (1, LIMIT, np.int64(1)):
        fs.set_num_threads(n)
        assert threads_of_a_kernel() == n
        assert numba.get_num_threads() == before
    fs.set_num_threads(None)
    assert threads_of_a_kernel() == before


@needs_two
def test_none_follows_numbas_setting():
    for n in (1, 2):
        numba.set_num_threads(n)
        assert threads_of_a_kernel() == n
        fs.softmax([0.0, 1.0])
        assert numba.get_num_threads() == n
    fs.set_num_threads(1)
    assert threads_of_a_kernel() == 1
    fs.set_num_threads(None)
    assert threads_of_a_kernel() == 2


def test_numbas_setting_returns_after_an_error():
    def fail(run):
        raise RuntimeError("kernel")

    before = numba.get_num_threads()
    with fs.num_threads(1), pytest.raises(RuntimeError, match="kernel"):
        launch(fail)
    assert numba.get_num_threads() == before


@needs_two
def test_num_threads_nests():
    with fs.num_threads(2):
        with fs.num_threads(1):
            assert threads_of_a_kernel() == 1
            with fs.num_threads(None):
                assert threads_of_a_kernel() == numba.get_num_threads()
            assert threads_of_a_kernel() == 1
        assert threads_of_a_kernel() == 2
        with pytest.raises(RuntimeError, match="inside"), fs.num_threads(1):
            raise RuntimeError("inside")
        assert threads_of_a_kernel() == 2
    assert threads_of_a_kernel() == numba.get_num_threads()


@needs_two
def test_the_setting_holds_in_every_python_thread():
    seen = []
    for n in (1, 2):
        fs.set_num_threads(n)
        thread = threading.Thread(target=lambda: seen.append(threads_of_a_kernel()))
        thread.start()
        thread.join()
    assert seen == [1, 2]


@needs_two
def test_blocks_of_two_threads_may_end_in_any_order():
    """A begins, B begins, A ends, B ends: nobody's number stays, and nobody sees the other's."""
    turns = [threading.Event() for _ in range(3)]
    seen = {}

    def second():
        turns[0].wait(30)
        seen["B before"] = threads_of_a_kernel()
        with fs.num_threads(2):
            turns[1].set()
            turns[2].wait(30)
            seen["B"] = threads_of_a_kernel()
        seen["B after"] = threads_of_a_kernel()

    fs.set_num_threads(LIMIT)
    thread = threading.Thread(target=second)
    thread.start()
    with fs.num_threads(1):
        turns[0].set()
        turns[1].wait(30)
        seen["A"] = threads_of_a_kernel()
    seen["A after"] = threads_of_a_kernel()
    turns[2].set()
    thread.join(30)
    seen["end"] = threads_of_a_kernel()
    expected = {"A": 1, "B": 2}
    assert seen == expected | dict.fromkeys(seen.keys() - expected, LIMIT)
    assert len(seen) == 6


@needs_two
def test_blocks_of_tasks_may_end_in_any_order():
    seen = []

    async def first(begun, ended):
        with fs.num_threads(1):
            begun[0].set()
            await begun[1].wait()
            seen.append(threads_of_a_kernel())
        seen.append(threads_of_a_kernel())
        ended.set()

    async def second(begun, ended):
        await begun[0].wait()
        with fs.num_threads(2):
            begun[1].set()
            await ended.wait()
            seen.append(threads_of_a_kernel())

    async def both():
        begun, ended = (asyncio.Event(), asyncio.Event()), asyncio.Event()
        await asyncio.gather(first(begun, ended), second(begun, ended))

    fs.set_num_threads(LIMIT)
    asyncio.run(both())
    assert [*seen, threads_of_a_kernel()] == [1, LIMIT, 2, LIMIT]


@needs_two
def test_blocks_of_generators_may_end_in_any_order():
    def block(n):
        with fs.num_threads(n):
            yield threads_of_a_kernel()

    fs.set_num_threads(LIMIT)
    first, second = block(1), block(2)
    assert (next(first), next(second)) == (1, 2)
    first.close()
    assert threads_of_a_kernel() == 2
    second.close()
    assert threads_of_a_kernel() == LIMIT


@needs_two
def test_a_block_counts_above_the_processs_number():
    with fs.num_threads(1):
        fs.set_num_threads(2)
        assert threads_of_a_kernel() == 1
    assert threads_of_a_kernel() == 2


@pytest.mark.parametrize(
    ("n", "exception", "message"),
    [
        (0, ValueError, rf"n must be from 1 to {LIMIT} \(NUMBA_NUM_THREADS\), got 0"),
        (-1, ValueError, rf"n must be from 1 to {LIMIT} .* got -1"),
        (LIMIT + 1, ValueError, rf"n must be from 1 to {LIMIT} .* got {LIMIT + 1}"),
        (1.0, TypeError, "n must be an integer or None, got float"),
        ("1", TypeError, "n must be an integer or None, got str"),
        (True, TypeError, "n must be an integer or None, got bool"),
        ([1], TypeError, "n must be an integer or None, got list"),
        (np.array([1, 1]), TypeError, "n must be an integer or None, got ndarray"),
    ],
)
def test_errors_leave_the_setting(n, exception, message):
    fs.set_num_threads(1)
    with pytest.raises(exception, match=message):
        fs.set_num_threads(n)
    with pytest.raises(exception, match=message), fs.num_threads(n):
        pytest.fail("the block must not run")
    assert threads_of_a_kernel() == 1


# Every layer


EVERY_LAYER = """
import hashlib
from every_call import all_bits, serial_bits
import fastsoftmax as fs
from fastsoftmax import layers

expected = serial_bits()
for n in (1, 2, 3, 4):
    with fs.num_threads(n):
        for _ in range(3):
            assert all_bits() == expected, n
assert all_bits() == expected
digest = hashlib.sha256(b"".join(expected[name] for name in sorted(expected))).hexdigest()
print(layers.chosen(), digest)
"""


def test_the_bits_are_those_of_every_layer_and_number_of_threads(run_program, layer):
    chosen, digest = run_program(EVERY_LAYER, **layer).split()
    assert chosen == layer["NUMBA_THREADING_LAYER"]
    alone = run_program(EVERY_LAYER.replace("(1, 2, 3, 4)", "(1,)"), NUMBA_NUM_THREADS=1).split()
    assert alone == ["None", digest]


# Small work


@needs_two
def test_small_calls_do_not_wake_a_second_thread(problem, monkeypatch):
    def refuse():
        raise AssertionError("the threading layer was asked")

    monkeypatch.setattr("fastsoftmax.layers.may_enter", refuse)
    p = problem(300, 20, 3)  # two chunks of rows
    fs.softmax(p.X), fs.logsumexp(p.X), fs.cross_entropy(p.X, p.targets)
    fs.cross_entropy_and_gradient(p.X, p.targets)
    fs.loss_and_gradient(*p[:4]), fs.loss(*p[:4]), fs.predict(p.X, p.W, p.b)
    fs.fit_sgd(p.X, p.targets, epochs=2)
    with pytest.raises(AssertionError, match="layer"):
        fs.softmax(np.zeros((20_000, 3)))
