"""The core stands on numpy and numba alone, and its layers import in one direction."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastsoftmax

PACKAGE = Path(fastsoftmax.__file__).parent
EXTRAS = (
    "dask",
    "distributed",
    "matplotlib",
    "polars",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "typer",
)

# From the bottom up; a module may import from its own layer and from lower ones.
LAYERS = [
    {"kernels", "_version", "files", "frames", "layers", "limits", "once"},
    {"csr", "validation", "labels", "views", "threads", "weights"},
    {"sources"},
    {"functional"},
    {"model"},
    {"training"},
    {"solvers"},
]

# Likewise in kernels/, but that rooms of one floor know nothing of each other.
ROOMS = [{"compile"}, {"vectors"}, {"rows", "tiles"}, {"products"}, {"passes"}]


def run(program, *arguments):
    """What a Python program prints, in a process of its own where warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


TRAIN = """
import sys

for name in sys.argv[1:]:
    sys.modules[name] = None  # importing it is an ImportError

import numpy as np
import fastsoftmax as fs

for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:
        continue
    raise AssertionError(f"{name} is not blocked")

X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
result = fs.fit_sgd(X, ["no", "no", "yes", "yes"])
assert result.history["loss"][-1] < result.history["loss"][0]
loss, grad_W, grad_b = fs.loss_and_gradient(X, [0, 0, 1, 1], result.model.W, result.model.b)
assert 0 < loss < np.log(2)
assert fs.softmax([0.0, 0.0]).tolist() == [0.5, 0.5]
print(*result.model.predict([[-3.0], [3.0]]))
"""


def test_training_needs_none_of_the_extras():
    assert run(TRAIN, *EXTRAS) == "no yes\n"


def test_importing_the_core_imports_none_of_the_extras():
    program = """
import sys, numba, numpy  # Numba imports SciPy where there is one

before = set(sys.modules)
import fastsoftmax

print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""
    modules = set(run(program).split())
    assert "fastsoftmax" in modules
    assert modules.isdisjoint(EXTRAS)


def test_every_public_name_exists():
    missing = [name for name in fastsoftmax.__all__ if not hasattr(fastsoftmax, name)]
    assert missing == []


# What the source says it imports


def imports(path):
    """Full names of the modules that a file imports anywhere, names of `from` imports included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_modules(path):
    """First parts, below the package, of what a file imports from the package."""
    parts = [name.split(".") for name in imports(path)]
    return {name[1] for name in parts if name[0] == "fastsoftmax" and len(name) > 1}


def files_of(module):
    path = PACKAGE / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_the_reference_stands_apart():
    allowed = set(sys.stdlib_module_names) | {"numpy"}
    assert {name.split(".")[0] for name in imports(PACKAGE / "reference.py")} <= allowed


@pytest.mark.parametrize("path", files_of("kernels"), ids=lambda path: path.name)
def test_kernels_import_numba_and_numpy_only(path):
    allowed = set(sys.stdlib_module_names) | {"llvmlite", "numba", "numpy", "fastsoftmax"}
    assert {name.split(".")[0] for name in imports(path)} <= allowed
    assert own_modules(path) <= {"kernels"}


@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_layers_import_downwards(layer):
    below = set().union(*LAYERS[: layer + 1])
    for module in LAYERS[layer]:
        for path in files_of(module):
            assert own_modules(path) <= below, path


def rooms(path):
    """The rooms of kernels/ that a file imports from."""
    parts = [name.split(".") for name in imports(path)]
    return {name[2] for name in parts if name[:2] == ["fastsoftmax", "kernels"] and len(name) > 2}


@pytest.mark.parametrize("floor", range(len(ROOMS)))
def test_rooms_of_kernels_import_downwards(floor):
    below = set().union(*ROOMS[:floor])
    for room in ROOMS[floor]:
        for path in files_of(f"kernels/{room}"):
            assert rooms(path) <= below | {room}, path


def test_every_kernel_module_is_in_a_room():
    folders = {path.parent for path in files_of("kernels")} - {PACKAGE / "kernels"}
    assert folders == {PACKAGE / "kernels" / room for room in set().union(*ROOMS)}
    assert [path.name for path in (PACKAGE / "kernels").glob("*.py")] == ["__init__.py"]


def test_kernels_hold_every_compiled_function():
    """Nothing outside kernels/ names a Numba decorator."""
    compiled = {"njit", "jit", "vectorize", "guvectorize", "intrinsic", "overload", "prange"}
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "kernels" in path.parents:
            continue
        names = {node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                 if isinstance(node, ast.Attribute)
                 and getattr(node.value, "id", None) == "numba"}  # fmt: skip
        names |= {name.split(".")[-1] for name in imports(path) if name.startswith("numba.")}
        assert names.isdisjoint(compiled), path
