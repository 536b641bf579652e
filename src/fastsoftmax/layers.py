"""Numba's threading layer: its choice, and when this process and thread may enter it.

Numba has three, and one is chosen for the life of a process, at its first parallel call:

- tbb: any thread may enter at any time. Numba finds pip's TBB only if it is already loaded.
- omp: likewise; but GNU OpenMP aborts a forked child of a process that used it.
- workqueue: two threads that enter at once abort the process, whoever's kernels they run.

A forked child has none of its parent's threads, and the layer's state is that of the moment. What
a layer makes of that differs, so that a child whose parent had a layer enters none at all: its
loops run one by one, which gives the same bits.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from importlib import metadata
from pathlib import Path

import numba

_TBB_NAMES = {"linux": "libtbb.so.12", "win32": "tbb12.dll", "darwin": "libtbb.12.dylib"}
_OLDEST_TBB = (2021, 6)  # that Numba accepts

_lock = threading.Lock()  # held while a layer is chosen
_started: str | None = None
_inherited = False


def chosen() -> str | None:
    """The name of the layer, None while it is open."""
    try:
        return str(numba.threading_layer())
    except ValueError:
        return None


def inherited() -> bool:
    """Whether the layer was started by a process that this one was forked from."""
    return _inherited


def start() -> str:
    """The name of the layer, which is chosen and started now if it was open.

    Raises
    ------
    ValueError
        If the user's settings ask Numba for a layer that is not there.
    """
    global _started
    if _started is None:
        with _lock:
            if chosen() is None:
                _load_pips_tbb()
            numba.get_num_threads()
            _started = chosen()
    return str(_started)


def may_enter() -> bool:
    """Whether this thread may run a parallel loop now.

    In workqueue, it must be alone: of several threads another can be inside, with a kernel of
    somebody else's too. One that is alone stays so for the call. A thread that comes later finds
    this one, and a lock beside that would only be one to lose: an interrupt comes between any two
    steps.
    """
    return start() != "workqueue" or len(sys._current_frames()) == 1


def _load_pips_tbb() -> None:
    """Load the TBB that pip installed, if the user's settings let Numba take it."""
    wish = str(numba.config.THREADING_LAYER).lower()
    first = numba.config.THREADING_LAYER_PRIORITY[0]
    if not (wish in ("tbb", "safe") or (wish == "default" and first == "tbb")):
        return
    path = _pips_tbb()
    if path is not None:
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError:  # not for this machine: Numba takes another layer
            return


def _pips_tbb() -> Path | None:
    """Where pip put a TBB that Numba accepts."""
    name = _TBB_NAMES.get(sys.platform)
    try:
        distribution = metadata.distribution("tbb")
        version = tuple(int(part) for part in distribution.version.split(".")[:2])
    except (metadata.PackageNotFoundError, ValueError):
        return None
    if version < _OLDEST_TBB:
        return None
    for file in distribution.files or ():
        if file.name == name:
            path = Path(str(file.locate()))
            return path if path.exists() else None
    return None


def _after_fork_in_child() -> None:
    global _lock, _inherited
    _lock = threading.Lock()
    _inherited = _inherited or chosen() is not None


def _forked_before_import() -> bool:
    """Whether a layer is there and this process was forked: its parent may have started it."""
    if chosen() is None or sys.platform != "linux":
        return False
    try:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return bool(int(after_name[6]) & 0x40)  # PF_FORKNOEXEC
    except (OSError, ValueError, IndexError):
        return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
    _inherited = _forked_before_import()
