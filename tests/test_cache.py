"""Compilation and its cache: no folder, a shared one, a damaged one, a full disk, no compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastsoftmax as fs

PACKAGE = Path(find_spec("fastsoftmax").origin).parent

# One kernel is enough: it compiles in a second, and the loops beside it.
WORK = """
import numpy as np
import fastsoftmax as fs
from fastsoftmax.kernels.passes import rowwise
fs.set_num_threads(2)
P = np.arange(6000.0).reshape(-1, 3)
assert (fs.decide(P, [1, 1, 1]) == 2).all()
stats = rowwise.weighted_argmax.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
HIT, MISS = "1 0\n", "0 1\n"


@pytest.fixture
def cache(tmp_path):
    """A new cache folder, as the variables that name it."""
    folder = tmp_path / "cache"
    return {"NUMBA_CACHE_DIR": folder, "NUMBA_NUM_THREADS": 2}


def files(cache, kind):
    return sorted(Path(cache["NUMBA_CACHE_DIR"]).rglob(f"*.{kind}"))


def test_the_second_process_loads_what_the_first_compiled(run_program, cache):
    assert run_program(WORK, **cache) == MISS
    assert run_program(WORK, **cache) == HIT
    names = {path.name.split("-")[0] for path in files(cache, "nbi")}
    assert {"rowwise.weighted_argmax", "parallel._in_parallel"} <= names


DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "foreign": lambda content: b"\x80\x04}.",  # a pickled {}
    "noise": lambda content: bytes(range(256)) * 20,
}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, id=name, marks=[] if name == "truncated" else [pytest.mark.exhaustive])
        for name, damage in DAMAGES.items()
    ],
)
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_files_are_compiled_anew(run_program, cache, damage, kind, filled):
    shutil.copytree(filled["NUMBA_CACHE_DIR"], cache["NUMBA_CACHE_DIR"])
    assert files(cache, kind)
    for path in files(cache, kind):
        path.write_bytes(damage(path.read_bytes()))
    assert run_program(WORK, **cache) == MISS
    assert run_program(WORK, **cache) == HIT  # and mended


@pytest.fixture(scope="module")
def filled(tmp_path_factory, run_program):
    """A cache that has what `WORK` needs."""
    cache = {"NUMBA_CACHE_DIR": tmp_path_factory.mktemp("filled"), "NUMBA_NUM_THREADS": 2}
    assert run_program(WORK, **cache) == MISS
    return cache


def test_code_of_another_entry_is_not_run(run_program, cache):
    """Two processes that compile for two types at once can both name their file number 1."""
    both = WORK + "P = P.astype('f4'); assert (fs.decide(P, [1, 1, 1]) == 2).all()\n"
    run_program(both, **cache)
    data = [path for path in files(cache, "nbc") if path.name.startswith("rowwise.weighted")]
    assert len(data) == 2
    first, second = (path.read_bytes() for path in data)
    data[0].write_bytes(second)
    data[1].write_bytes(first)
    run_program(both, **cache)
    assert run_program(WORK, **cache) == HIT


def test_a_change_to_any_kernel_compiles_anew(run_program, cache, tmp_path):
    """Numba's own cache looks at the file of the kernel alone, not at its helpers'."""
    copy = tmp_path / "copy" / "fastsoftmax"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**cache, "PYTHONPATH": copy.parent}
    assert run_program(WORK, **environment) == MISS
    assert run_program(WORK, **environment) == HIT
    with (copy / "kernels" / "rows" / "row.py").open("a") as file:
        file.write("# changed\n")
    assert run_program(WORK, **environment) == MISS


def test_an_upgrade_under_a_running_process(run_program, cache, tmp_path):
    """It compiles what it imported, and must not leave that as the code of the new version."""
    copy = tmp_path / "copy" / "fastsoftmax"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**cache, "PYTHONPATH": copy.parent}
    upgrade = f"""
import fastsoftmax
with open({str(copy / "kernels" / "rows" / "row.py")!r}, "a") as file:
    file.write("# changed")
"""
    assert run_program(upgrade + WORK, **environment) == MISS
    assert run_program(WORK, **environment) == MISS
    assert run_program(WORK, **environment) == HIT


def test_processes_that_compile_at_once(cache):
    environment = {**os.environ, **{name: str(value) for name, value in cache.items()}}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", WORK]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=100)[0] for process in running]
    assert all(process.returncode == 0 for process in running)
    assert set(outputs) <= {HIT, MISS}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout == HIT


UNPRIVILEGED = """
import os
if os.getuid() == 0:  # whom no mode keeps from writing
    os.setgid(65534)
    os.setuid(65534)
"""


def test_numba_finds_no_folder(run_program):
    program = """
from numba.core import caching
caching.CacheImpl._locator_classes = []
"""
    program += WORK + "print(fs.diagnose().cache_folder)\n"
    assert run_program(program, NUMBA_NUM_THREADS=2) == f"{MISS}none\n"


@pytest.fixture
def closed_package():
    """A copy of the package in folders that cannot be written, where others may read it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = folder / "site" / "fastsoftmax"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        everything = (folder, *folder.rglob("*"))
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield copy
        for path in everything:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(os.name != "posix", reason="modes of folders are POSIX's")
def test_no_folder_can_be_written(run_program, closed_package):
    variables = {"NUMBA_CACHE_DIR": None, "HOME": "/nowhere", "XDG_CACHE_HOME": None}
    can_import = """
try:
    import numba
    print("yes")
except (ImportError, OSError):
    print("no")
"""
    if run_program(UNPRIVILEGED + can_import, **variables) != "yes\n":
        pytest.skip("this Python cannot be read by others than root")
    where = f"import sys\nsys.path.insert(0, {str(closed_package.parent)!r})\n"
    program = UNPRIVILEGED + where + WORK + "print(fs.__file__, fs.diagnose().cache_folder)\n"
    output = run_program(program, NUMBA_NUM_THREADS=2, **variables)
    assert output == f"{MISS}{closed_package / '__init__.py'} none\n"


def test_the_cache_folder_cannot_be_made(run_program, tmp_path):
    (tmp_path / "file").write_text("")
    variables = {"NUMBA_CACHE_DIR": tmp_path / "file" / "cache", "NUMBA_NUM_THREADS": 2}
    assert run_program(WORK, **variables, HOME=tmp_path)


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # larger files fail, as on a full disk
"""


@pytest.mark.skipif(os.name != "posix", reason="the limit on files is POSIX's")
def test_a_full_disk_costs_the_cache_alone(run_program, cache):
    assert run_program(FULL_DISK + WORK, **cache) == MISS
    assert not [path for path in files(cache, "nbc") if path.name.startswith("rowwise.weighted")]
    assert not list(Path(cache["NUMBA_CACHE_DIR"]).rglob("*.tmp.*"))
    assert run_program(WORK, **cache) == MISS
    assert run_program(WORK, **cache) == HIT


@pytest.mark.skipif(os.name != "posix", reason="the limit on files is POSIX's")
def test_a_full_disk_leaves_the_saved_model(run_program, tmp_path):
    program = """
import sys, numpy as np, fastsoftmax as fs
from pathlib import Path
folder = Path(sys.argv[1])
fs.SoftmaxModel(np.eye(2), np.zeros(2), [0, 1]).save(folder / "model.npz")
before = (folder / "model.npz").read_bytes()
large = fs.SoftmaxModel(np.ones((500, 2)), np.zeros(2), [0, 1])
"""
    program += FULL_DISK
    program += """
for name in ("model.npz", "new.npz"):
    try:
        large.save(folder / name)
    except OSError as error:
        print(error.errno is not None)
assert (folder / "model.npz").read_bytes() == before
print(*[path.name for path in folder.iterdir()])
"""
    assert run_program(program, tmp_path) == "True\nTrue\nmodel.npz\n"


def test_without_the_compiler_the_import_says_so(run_program):
    program = """
try:
    import fastsoftmax
except ImportError as error:
    print(error)
"""
    assert "NUMBA_DISABLE_JIT" in run_program(program, NUMBA_DISABLE_JIT=1)


@pytest.mark.parametrize(
    "dtypes",
    [
        pytest.param("float32", marks=pytest.mark.exhaustive),
        pytest.param(("float64",), marks=pytest.mark.exhaustive),
        ["float32", float],
    ],
)
def test_after_warmup_nothing_is_compiled(run_program, dtypes):
    program = """
import importlib
import sys
import numpy as np
import numba
import fastsoftmax as fs
from fastsoftmax.kernels.passes import (
    buckets, columns, folding, fused, hessian, inverse, newton, predict, rowwise, sgd, sgd_by_slab,
    sgd_lazy, sgd_sparse, sparse, structure,
)
from fastsoftmax.kernels.compile import parallel
from fastsoftmax.kernels.vectors import widening
from every_call import every_call
from csr_rows import CSRRows

importlib.import_module("fastsoftmax.solvers.fit").SMALL = 0
dtypes = eval(sys.argv[1])
fs.warmup(dtypes, solvers=True, sparse=True)

def compiled():
    modules = (buckets, columns, folding, fused, hessian, inverse, newton, predict, rowwise, sgd,
               sgd_by_slab, sgd_lazy, sgd_sparse, sparse, structure, widening)
    found = [value for module in modules for value in vars(module).values()
             if isinstance(value, numba.core.registry.CPUDispatcher)]
    return sum(len(kernel.signatures) for kernel in found)

before = compiled()
assert before > 15
rng = np.random.default_rng(0)
dtypes = [dtypes] if isinstance(dtypes, str) else list(dtypes)
for dtype in dtypes + ["float16", "uint8"] * ("float32" in dtypes):
    X = np.abs(9 * rng.standard_normal((300, 7))).astype(dtype)
    dtype = "float32" if dtype in ("float16", "uint8") else dtype
    W, b, y = np.zeros((7, 3), dtype), np.zeros(3, dtype), rng.integers(3, size=300)
    Z = X[:, :3].astype(dtype)
    for targets in (y, np.abs(Z)):
        fs.cross_entropy_and_gradient(Z, targets, sample_weight=np.ones(300))
        fs.loss_and_gradient(X, targets, W, b, label_smoothing=0.1)
        fs.fit_sgd(X, targets, epochs=1, learning_rate=0.1, average=0.5, nesterov=True)
        for l2 in (0, 0.01):
            fs.fit(X, targets, l2=l2, tol=1e-9)
    for rows in (Z, Z.T.copy().T, Z[::-2], np.zeros((5, 3000), dtype)):
        fs.softmax(rows), fs.log_softmax(rows), fs.logsumexp(rows)
    for call in (fs.predict, fs.predict_proba, fs.predict_log_proba, fs.decision_function):
        call(X, W, b)
    for utility in (b, np.ones((4, 3)), np.full(3, 0.1), np.full((4, 3), 0.1)):
        fs.decide(np.abs(Z), utility)
    for rows in (300, 6):
        S, W = CSRRows.of(X[:rows] * (X[:rows] > 1)), np.zeros((7, 3), dtype)
        for targets in (y[:rows], np.abs(Z[:rows])):
            fs.loss(S, targets, W, b)
            fs.loss_and_gradient(S, targets, W, b, sample_weight=np.ones(rows))
            for options in ({}, {"standardize": True, "l2": 0.1}, {"fit_intercept": False}):
                fs.fit(S, targets, tol=1e-9, **options)
            for options in ({}, {"standardize": True, "learning_rate": 0.1, "average": 0.5}):
                fs.fit_sgd(S, targets, epochs=1, **options)
        for call in (fs.predict, fs.predict_proba, fs.predict_log_proba, fs.decision_function):
            call(S, W, b)
print(compiled() - before)
"""
    assert run_program(program, repr(dtypes).replace("<class 'float'>", "float")) == "0\n"


@pytest.mark.parametrize("dtypes", ["float16", int, ("float32", "x1"), None, [[]], 7])
def test_warmup_refuses_other_types(dtypes):
    with pytest.raises((TypeError, ValueError), match="dtypes"):
        fs.warmup(dtypes)
