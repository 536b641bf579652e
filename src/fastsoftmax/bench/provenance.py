"""Where, with what and when something was measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import fastsoftmax

DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "sklearnex": "scikit-learn-intelex",
}  # whose names are not their modules'


def provenance(modules: Iterable[str]) -> dict[str, Any]:
    """All but the number of threads; versions of `modules`, of NumPy and of Numba."""
    diagnosis = fastsoftmax.diagnose()
    return {
        "cpu": cpu_model(),
        "cpu_target": diagnosis.cpu,
        "simd_bits": diagnosis.simd_bits,
        "cpus": usable_cpus(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threading_layer": diagnosis.threading_layer,
        "blas": blas(),
        "python": platform.python_version(),
        "versions": {module: version(module) for module in sorted({*modules, "numpy", "numba"})},
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def told(facts: dict[str, Any]) -> str:
    """The facts as a line of text."""
    code = f"commit {facts['commit']}" if facts["commit"] else "no checkout"
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['cpu']} ({facts['cpu_target']}, vectors of {facts['simd_bits']} bits, "
        f"{facts['cpus']} CPUs), {facts['platform']}; Python {facts['python']}, {versions}; "
        f"NumPy's BLAS: {facts['blas']}; Numba's layer: {facts['threading_layer']}; {code}; "
        f"{facts['date']}."
    )


def version(module: str) -> str:
    """Of an importable module."""
    if module == "fastsoftmax":
        return fastsoftmax.__version__
    return importlib.metadata.version(DISTRIBUTIONS.get(module, module))


def cpu_model() -> str:
    """As the system calls it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blas() -> str:
    """What NumPy was built with."""
    built: dict[str, Any] = np.show_config(mode="dicts")  # type: ignore[assignment]
    found = built.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def commit() -> str | None:
    """Of the checkout that this file belongs to, "-dirty" with changes; None if of no checkout."""
    file = Path(__file__).resolve()
    git = ("git", "-C", str(file.parent))
    # a package that is installed inside somebody's checkout is not tracked by it
    if _output(*git, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return _output(*git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _output(*command: str) -> str | None:
    """What a program prints; None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
