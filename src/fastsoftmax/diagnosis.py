"""What a bug report needs to know."""

from __future__ import annotations

import platform
from dataclasses import dataclass, fields

import numba
import numpy as np

from fastsoftmax import layers
from fastsoftmax._version import __version__
from fastsoftmax.kernels.compile import cache, jit
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES
from fastsoftmax.threads import threads_in_use


@dataclass(frozen=True)
class Diagnosis:
    """Versions and settings; `print` shows them a line each.

    Attributes
    ----------
    fastsoftmax, python, numpy, numba : str
        Versions.
    platform : str
        System and processor.
    cpu : str
        The processor that Numba compiles for, as LLVM calls it.
    simd_bits : int
        Bits of a vector in the kernels.
    threading_layer : str
        Numba's layer; "serial" in a child forked from a process that had one.
    threads : int
        That a large call from this thread uses.
    max_threads : int
        The limit of `set_num_threads`.
    cache_folder : str
        Where compiled kernels are kept; "none" where no folder can be written.
    warnings : tuple of str
        What this version of Numba does otherwise than those tested, and what it costs.
    """

    fastsoftmax: str
    python: str
    numpy: str
    numba: str
    platform: str
    cpu: str
    simd_bits: int
    threading_layer: str
    threads: int
    max_threads: int
    cache_folder: str
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        warnings = shown.pop("warnings")
        lines = [*shown.items(), *(("warning", text) for text in warnings)]
        width = max(map(len, shown))
        return "\n".join(f"{name:{width}}  {value}" for name, value in lines)


def diagnose() -> Diagnosis:
    """Versions, threading layer, SIMD width, threads and cache folder, for a bug report.

    It starts Numba's threads, as the first parallel call does.

    Examples
    --------
    >>> import fastsoftmax
    >>> print(fastsoftmax.diagnose())  # doctest: +ELLIPSIS
    fastsoftmax      ...
    """
    return Diagnosis(
        fastsoftmax=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        numpy=np.__version__,
        numba=numba.__version__,
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cache.cpu_name(),
        simd_bits=8 * VECTOR_BYTES,
        threading_layer=_layer(),
        threads=threads_in_use(),
        max_threads=int(numba.config.NUMBA_NUM_THREADS),
        cache_folder=cache.folder() or "none",
        warnings=jit.warnings(),
    )


def _layer() -> str:
    if layers.inherited():
        return f"serial (forked from a process with {layers.chosen()})"
    return layers.start()
