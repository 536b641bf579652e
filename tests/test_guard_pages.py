"""No kernel reads or writes beside its arrays: they lie against pages that kill whoever does.

Inputs can be read only, in memory that is protected; what the functions allocate themselves, room
for packed weights and partial gradients among it, is guarded too. A fault ends the process of the
test with a signal, whose number the test shows.
"""

from __future__ import annotations

import os
import platform
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="pages are protected by Linux calls"
)

FAULT = """
import sys
from guarded import Guard, PAGE
import ctypes
array = Guard(at_end=sys.argv[1] == "end").new(3, "f4")
if sys.argv[2] == "inside":
    array[:] = array[2] + 1
elif sys.argv[2] == "read only":
    ctypes.memset(Guard(True).read_only(array).__array_interface__["data"][0], 1, 1)
else:
    address = array.__array_interface__["data"][0] + (12 if sys.argv[1] == "end" else -1)
    ctypes.string_at(address, 1)
"""


@pytest.mark.parametrize("side", ["end", "start"])
def test_the_guard_works(run_program, side):
    run_program(FAULT, side, "inside")
    run_program(FAULT, side, "beside", status=-11)
    run_program(FAULT, side, "read only", status=-11)


PROGRAM = """
import importlib, sys, time
import numpy as np
import fastsoftmax as fs
from fastsoftmax import csr, reference, validation
from fastsoftmax.functional import decisions, linear, rows, sparse
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES
from fastsoftmax.solvers import arrays, certificate, factors, folding, newton, objective, spans
from fastsoftmax.training import columns, optimizer
from guarded import Guard, GuardedNumpy

width, seconds = int(sys.argv[1]), float(sys.argv[2])
dtypes = [getattr(np, name) for name in sys.argv[3:]]
assert width in (0, VECTOR_BYTES), VECTOR_BYTES
LAYOUTS = ["C", "F", "rows", "columns", "reversed", "padded"]
SHAPES = [
    (1, 1, 1), (1, 1, 2), (2, 3, 2), (7, 5, 3), (64, 16, 8), (65, 17, 7), (63, 15, 16), (3, 2, 17),
    (130, 33, 10), (129, 64, 5), (257, 31, 33), (66, 300, 2), (5, 257, 12), (70, 9, 100),
    (9, 6, 161), (33, 4, 321), (2, 2, 1000), (300, 1, 1), (1025, 3, 4), (513, 130, 65),
    (1, 700, 31),
]


def close(got, want, dtype):
    tolerance = 2e-4 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def everything(guard, N, D, K, dtype, layouts, random):
    new = guard.read_only
    x_layout, w_layout, z_layout, t_layout = layouts
    real = {name: random.standard_normal(shape).astype(dtype)
            for name, shape in (("X", (N, D)), ("W", (D, K)), ("b", K), ("Z", (N, K)))}
    real["W"] /= np.sqrt(D).astype(dtype)
    X, W, b, Z = (new(real["X"], x_layout), new(real["W"], w_layout), new(real["b"]),
                  new(real["Z"], z_layout))
    y = new(random.integers(K, size=N))
    soft = new(random.uniform(0, 1, (N, K)).astype(dtype), t_layout)
    real["weight"] = random.uniform(0.5, 2, N)
    real["weight"][1::5] = 0
    weight = new(real["weight"], "columns")
    truth = {name: array.astype(np.float64) for name, array in real.items()}
    logits = truth["X"] @ truth["W"] + truth["b"]

    for function in (fs.softmax, fs.log_softmax, fs.logsumexp):
        twin = getattr(reference, function.__name__)(truth["Z"])
        close(function(Z), twin, dtype)
        out = guard.new(twin.shape, dtype)
        function(Z, out=out)
        close(out, twin, dtype)
        function(Z.T, axis=0, out=(out_T := guard.new(twin.T.shape, dtype)))
        close(out_T, twin.T, dtype)
        backwards = guard.new(twin.shape, dtype)[::-1]
        close(function(Z, out=backwards), twin, dtype)
    for targets in (y, soft):
        for options in ({}, {"sample_weight": weight, "label_smoothing": 0.1}):
            twin = reference.cross_entropy_and_gradient(truth["Z"], targets, **options)
            close(fs.cross_entropy(Z, targets, **options), twin[0], dtype)
            for got, want in zip(fs.cross_entropy_and_gradient(Z, targets, **options), twin):
                close(got, want, dtype)
            exact = truth["X"], targets, truth["W"], truth["b"]
            twin = reference.loss_and_gradient(*exact, **options)
            close(fs.loss(X, targets, W, b, **options), twin[0], dtype)
            for got, want in zip(fs.loss_and_gradient(X, targets, W, b, **options), twin):
                close(got, want, dtype)
    twins = {"decision_function": logits, "predict_proba": reference.softmax(logits),
             "predict_log_proba": reference.log_softmax(logits)}
    for name, twin in twins.items():
        out = guard.new((N, K), dtype)
        getattr(fs, name)(X, W, b, out=out)
        close(out, twin, dtype)
        close(getattr(fs, name)(X, W, b, out=guard.new((K, N), dtype).T), twin, dtype)
    labels = fs.predict(X, W, b, out=guard.new(N, np.int64))
    assert (logits[np.arange(N), labels] >= logits.max(axis=1) - 1e-4).all()
    fs.decide(new(truth["Z"].astype(dtype) ** 2, z_layout), new(real["b"]))
    fs.decide(new(truth["Z"].astype(dtype) ** 2), new(real["W"], "F"))
    for batch_size in (1, 7, 64, 200):
        fs.fit_sgd(X, y if batch_size % 2 else soft, epochs=int(batch_size > 1 or N < 100),
                   batch_size=batch_size, learning_rate=1e-3, sample_weight=weight, average=0.5,
                   standardize=batch_size != 7, classes=np.arange(K))
    if dtype == np.float32:  # X of one and two bytes, with the bits of its float32 copy
        for code in random.choice(["?", "u1", "i1", ">u2", "i2", "e", ">e"], 2):
            small = new((9 * real["X"]).astype("i1").astype(code), x_layout)
            copy = np.asarray(small, np.float32)
            for got, want in zip(fs.loss_and_gradient(small, y, W, b, sample_weight=weight),
                                 fs.loss_and_gradient(copy, y, W, b, sample_weight=weight)):
                assert got.tobytes() == want.tobytes(), code
            assert fs.predict(small, W, b).tobytes() == fs.predict(copy, W, b).tobytes()
            for standardize in (True, False):
                options = dict(epochs=1, batch_size=33, classes=np.arange(K),
                               learning_rate=0.0, standardize=standardize)
                got, want = (fs.fit_sgd(X_, y, **options) for X_ in (small, copy))
                assert got.model.W.tobytes() == want.model.W.tobytes(), code
    if D * K < 600:
        for targets in (y, soft):
            fs.fit(X, targets, sample_weight=weight, classes=np.arange(K), l2=0.1, max_passes=4,
                   fit_intercept=targets is y)


def everything_of_sparse_rows(guard, N, D, K, dtype, layouts, random):
    new = guard.read_only
    dense = random.standard_normal((N, D)).astype(dtype)
    dense *= random.random((N, D)) < random.choice([0.05, 0.3, 1.0])
    dense[0, random.integers(D)] = 1
    X = guard.read_only_rows(dense, random)
    real = {"W": random.standard_normal((D, K)).astype(dtype) / np.sqrt(D).astype(dtype),
            "b": random.standard_normal(K).astype(dtype)}
    W, b, y = new(real["W"], layouts[1]), new(real["b"]), new(random.integers(K, size=N))
    soft = new(random.uniform(0, 1, (N, K)).astype(dtype), layouts[3])
    weight = random.uniform(0.5, 2, N)
    weight[1::5] = 0
    weight = new(weight, "columns")
    exact = dense.astype(np.float64), real["W"].astype(np.float64), real["b"].astype(np.float64)
    logits = exact[0] @ exact[1] + exact[2]
    for targets in (y, soft):
        for options in ({}, {"sample_weight": weight, "label_smoothing": 0.1, "l2": 0.1}):
            twin = reference.loss_and_gradient(exact[0], targets, *exact[1:], **options)
            close(fs.loss(X, targets, W, b, **options), twin[0], dtype)
            out = guard.new((D, K), dtype), guard.new(K, dtype)
            got = fs.loss_and_gradient(X, targets, W, b, out=out, **options)
            for one, want in zip(got, twin):
                close(one, want, dtype)
    twins = {"decision_function": logits, "predict_proba": reference.softmax(logits),
             "predict_log_proba": reference.log_softmax(logits)}
    for name, twin in twins.items():
        for out in (guard.new((N, K), dtype), guard.new((K, N), dtype).T):
            close(getattr(fs, name)(X, W, b, out=out), twin, dtype)
    labels = fs.predict(X, W, b, out=guard.new(N, np.int64))
    assert (logits[np.arange(N), labels] >= logits.max(axis=1) - 1e-4).all()
    if D * K < 600:
        fs.fit(X, soft, classes=np.arange(K), sample_weight=weight, l2=0.1, max_passes=6,
               standardize=D % 2 == 1)


importlib.import_module("fastsoftmax.solvers.fit").SMALL = 0  # so that all are solved as sparse
patched = (
    decisions, linear, rows, validation, optimizer, columns, certificate, factors, objective,
    csr, sparse, arrays, folding, newton, spans,
)
deadline, cases = time.monotonic() + seconds, 0
random = np.random.default_rng(VECTOR_BYTES)
for turn in range(10**6):
    for N, D, K in SHAPES if turn < 2 else [random.integers(1, (400, 80, 60)).tolist()]:
        for at_end in (True, False):
            guard = Guard(at_end)
            for module in patched:
                module.np = GuardedNumpy(guard)
            dtype = dtypes[(cases // 2 + turn) % len(dtypes)]
            layouts = random.choice(LAYOUTS, 4) if turn or D == 17 else ["C"] * 4
            print(N, D, K, dtype.__name__, at_end, *layouts, file=sys.stderr, flush=True)
            everything(guard, N, D, K, dtype, layouts, random)
            everything_of_sparse_rows(guard, N, D, K, dtype, layouts, random)
            guard.free()
            cases += 1
    if turn >= 1 and time.monotonic() > deadline:
        break
print(cases)
"""

BOTH = ("float64", "float32")
WIDTHS = {
    "as here": (0, None, BOTH),
    "AVX2": (32, "+avx,+avx2,+fma", ("float32",)),  # compiling is most of the time of a first run
    "SSE2": (16, "+sse2", ("float64",)),
}
CASES = [
    pytest.param(*case, id=name, marks=[] if name == "as here" else [pytest.mark.exhaustive])
    for name, case in WIDTHS.items()
]


@pytest.mark.parametrize(("width", "features", "dtypes"), CASES)
def test_nothing_beside_an_array_is_touched(run_program, width, features, dtypes):
    """FASTSOFTMAX_FUZZ_SECONDS goes on for so long: random shapes, all dtypes in all widths."""
    variables = {}
    if features is not None:
        if platform.machine() not in ("x86_64", "AMD64"):
            pytest.skip("x86 features are asked for")
        variables = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}
    seconds = float(os.environ.get("FASTSOFTMAX_FUZZ_SECONDS", 0))
    dtypes = BOTH if seconds else dtypes
    output = run_program(PROGRAM, width, seconds, *dtypes, timeout=600 + seconds, **variables)
    assert int(output) >= 80


MEMORY = """
import numpy as np, os
import fastsoftmax as fs

X = np.random.default_rng(0).standard_normal((300, 20))
y = np.arange(300) % 5


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fit(times):
    for _ in range(times):
        fs.fit_sgd(X, y, epochs=1, batch_size=64, learning_rate=0.01)
        fs.fit(X, y, tol=0.1)
        fs.loss_and_gradient(X, y, np.zeros((20, 5)))
        try:
            fs.loss_and_gradient(X, y + 5, np.zeros((20, 5)))
        except ValueError:
            pass

fit(100)
before = resident()
fit(1000)
print(resident() - before)
"""


def test_memory_stays_flat_over_a_thousand_fits(run_program):
    assert int(run_program(MEMORY)) < 2_000_000
