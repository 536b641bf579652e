"""Numba's cache on disk, made safe to lose, share and damage.

Numba's own raises from a call when a cache file is damaged or the disk is full. It knows the file
of a function but not those of the helpers compiled into it. And two processes that write at once
can leave an index that names the other's code. Here, an entry carries its full key, with a digest
of all kernels, and is compiled anew when it is not what was asked for; a failed write is no error.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.registry import cpu_target

from fastsoftmax.kernels.compile import plain

try:
    from numba.core.caching import FunctionCache, IndexDataCacheFile
except Exception as error:
    plain.note(plain.CACHE, error)
    FunctionCache = IndexDataCacheFile = object  # with which `_Cache` cannot be made


def _digest() -> str:
    """Of the source of all kernels and of Numba's version."""
    digest = hashlib.sha256(numba.__version__.encode())
    kernels = Path(__file__).parents[1]
    for path in sorted(kernels.rglob("*.py")):
        with suppress(OSError):  # such as a link of an editor's that leads nowhere
            digest.update(path.relative_to(kernels).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


# Taken at the import: an upgrade while this process runs changes the files, not what it compiles.
_STATE = _digest()


class _File(IndexDataCacheFile):  # type: ignore[misc]
    """The files of one function, whose every failure is an entry that is not there."""

    def _load_index(self) -> dict[Any, str]:
        try:
            index = super()._load_index()
            return {key: name for key, name in index.items() if key[-1] == _STATE}
        except Exception:  # absent, or damaged in one of many ways
            return {}

    def load(self, key: Any) -> Any:
        try:
            stored_key, data = super().load(key)
        except Exception:  # likewise
            return None
        return data if stored_key == key and key[-1] == _STATE else None

    def save(self, key: Any, data: Any) -> None:
        # a write that fails has no room, or no right: the next process compiles too
        if key[-1] != _STATE:
            raise TypeError("Numba's cache makes its keys in another way")
        with suppress(OSError):
            super().save(key, (key, data))


class _Cache(FunctionCache):  # type: ignore[misc]
    """The cache of one function."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        if not hasattr(self, "_cache_file"):
            raise AttributeError("Numba's cache has its files elsewhere")
        locator = self._impl.locator
        self._cache_file: Any = _File(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=locator.get_source_stamp(),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # what was unpickled is no code
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # the folder cannot be made
            pass
        except Exception as error:
            plain.note(plain.CACHE, error)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _STATE)


def keep(compiled: Any, function: Any) -> None:
    """Give what Numba makes of a function a cache on disk, if there is a folder for one."""
    cache = _cache(function)
    if cache is None:
        return
    if hasattr(compiled, "_cache"):
        compiled._cache = cache
    else:
        plain.note(plain.CACHE, AttributeError("compiled functions have their cache elsewhere"))


def folder() -> str | None:
    """Where the cache is, None where there is no folder for one."""
    cache = _cache(folder)
    return None if cache is None else str(cache.cache_path)


def _cache(function: Any) -> _Cache | None:
    try:
        return _Cache(function)
    except (RuntimeError, OSError):  # no folder can be written: each process compiles
        return None
    except Exception as error:
        plain.note(plain.CACHE, error)
        return None


def cpu_name() -> str:
    """The processor that Numba compiles for."""
    return str(cpu_target.target_context.codegen().magic_tuple()[1])
