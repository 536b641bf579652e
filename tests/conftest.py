"""Fixtures that several test files share. The oracle is fastsoftmax.reference in float64."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA_FOLDER = Path(os.environ.get("FASTSOFTMAX_DATA") or ROOT.parent / "shared" / "data")


def use_a_cache_of_these_kernels():
    """Keep compiled code apart for each state of the kernels' source.

    Numba's cache sees a change in the file of a function, but not in those of its helpers, and
    would go on testing the old code. The workers of pytest-xdist inherit the variable.
    """
    kernels = Path(find_spec("fastsoftmax").origin).parent / "kernels"
    source = b"".join(path.read_bytes() for path in sorted(kernels.rglob("*.py")))
    folder = ROOT / ".pytest_cache" / f"numba-{hashlib.sha256(source).hexdigest()[:16]}"
    for old in folder.parent.glob("numba-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


if "NUMBA_CACHE_DIR" not in os.environ:
    use_a_cache_of_these_kernels()


def is_whole(config):
    """Whether all files are tested, not some that were named."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS


def pytest_xdist_auto_num_workers(config):
    """The whole suite runs on several cores, unless Numba's only threading layer is workqueue.

    A worker of pytest-xdist has a thread of its own, next to which nothing enters that layer.
    """
    if not is_whole(config):
        return 0
    from fastsoftmax import layers  # now that the folder of the cache is named

    if layers._pips_tbb() is None:
        try:
            import numba.np.ufunc.omppool  # noqa: F401
        except ImportError:
            return 0
    return None  # as many as pytest-xdist takes


@pytest.hookimpl(tryfirst=True)  # before the workers start
def pytest_sessionstart(session):
    """Fill an empty cache with what most tests need, before they are shared out.

    Each worker would compile it for itself.
    """
    config = session.config
    if (
        not is_whole(config)
        or not config.getoption("numprocesses", None)
        or config.option.collectonly
    ):
        return
    if any(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi")):  # importing us makes the folders
        return
    program = "import sys, fastsoftmax; fastsoftmax.warmup(sys.argv[1])"
    compilers = [
        subprocess.Popen([sys.executable, "-c", program, dtype]) for dtype in ("float32", "float64")
    ]
    for process in compilers:
        process.wait()


class Problem(NamedTuple):
    X: np.ndarray
    targets: np.ndarray
    W: np.ndarray
    b: np.ndarray
    weight: np.ndarray

    def astype(self, dtype):
        """Everything but integer labels and the weights of samples in another dtype."""
        targets = self.targets.astype(dtype) if self.targets.ndim == 2 else self.targets
        X, W, b = (array.astype(dtype) for array in (self.X, self.W, self.b))
        return Problem(X, targets, W, b, self.weight)


@pytest.fixture(scope="session")
def problem():
    """Make a seeded softmax regression problem of N x D x K.

    Soft targets have rows that do not sum to one, every seventh of them all zeros; every fifth
    sample weight is zero. The values are float32 numbers in any dtype.
    """

    def make(N, D, K, *, soft=False, dtype=np.float64, seed=0):
        random = np.random.default_rng([seed, N, D, K])
        if soft:
            targets = random.uniform(0, 2, (N, K)) * (random.random((N, K)) < 0.7)
            targets[3::7] = 0
        else:
            targets = random.integers(K, size=N)
        weight = random.uniform(0.5, 2, N)
        weight[2::5] = 0
        weight = weight.astype(np.float32).astype(np.float64)
        W = random.standard_normal((D, K)) / np.sqrt(max(D, 1))
        values = Problem(
            random.standard_normal((N, D)), targets, 2 * W, random.standard_normal(K), weight
        )
        return values.astype(np.float32).astype(dtype)

    return make


@pytest.fixture(scope="session")
def run_program():
    """Run a Python program in a process of its own, and return what it prints.

    It may kill its interpreter without harm. `every_call` can be imported; `environment` adds
    variables, or removes those that are None. `status` is what it must exit with.
    """

    def run(program, *arguments, status=0, timeout=300, **environment):
        added = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path]), **environment}
        merged = {**os.environ, **added}
        source = [str(program)] if isinstance(program, Path) else ["-c", program]
        command = [sys.executable, *source]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            env={name: str(value) for name, value in merged.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == status, f"exit status {done.returncode}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session", params=["tbb", "omp", "workqueue"])
def layer(request, run_program):
    """Each threading layer of Numba in turn, as the variables that ask for it with four threads."""
    settings = {"NUMBA_THREADING_LAYER": request.param, "NUMBA_NUM_THREADS": "4"}
    probe = """
from fastsoftmax import layers
try:
    print(layers.start())
except ValueError as error:
    print(error)
"""
    if run_program(probe, **settings).strip() != request.param:
        pytest.skip(f"Numba's threading layer {request.param} is not installed")
    return settings


@pytest.fixture(scope="session")
def unchanged():
    """A context manager at whose end the arrays must hold what they held before."""

    @contextmanager
    def check(*arrays):
        before = [np.array(array) for array in arrays]
        yield
        for array, old in zip(arrays, before, strict=True):
            assert np.array(array).tobytes() == old.tobytes()

    return check


@pytest.fixture(scope="session")
def data_folder():
    """The folder with letter.npz and mnist10k.npz, which lies beside the repository, or skip."""
    for name in ("letter.npz", "mnist10k.npz"):
        if not (DATA_FOLDER / name).exists():
            pytest.skip(f"{name} is not in the data folder; FASTSOFTMAX_DATA can name the folder")
    return DATA_FOLDER


@pytest.fixture
def data(data_folder):
    """Load (X, y) of one of these data sets."""

    def load(name):
        with np.load(data_folder / f"{name}.npz", allow_pickle=False) as archive:
            return archive["X"], archive["y"]

    return load
