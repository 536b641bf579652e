"""How many threads this process may use, by what its surroundings say.

Numba counts the CPUs that the process may run on. Schedulers of workers (joblib, Dask) and
containers say more: the first in OMP_NUM_THREADS, the second in a quota of the control group.
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

import numba


@cache
def default_threads() -> int:
    """Threads of a call where nobody asked for a number.

    A NUMBA_NUM_THREADS of the user's own, as joblib also sets it in its workers, counts alone. Else
    it is the least of the CPUs, OMP_NUM_THREADS, OMP_THREAD_LIMIT and the container's quota.
    """
    config = numba.config
    limit = int(config.NUMBA_NUM_THREADS)
    if "NUMBA_NUM_THREADS" in os.environ or limit != config.NUMBA_DEFAULT_NUM_THREADS:
        return limit
    asked = [
        _first_number(os.environ.get(name)) for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT")
    ]
    known = [number for number in (*asked, quota()) if number is not None]
    return min([limit, *known])


def _first_number(text: str | None) -> int | None:
    """The number that a list such as "4,2" begins with, for the outermost level."""
    first = (text or "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def quota(root: Path = Path("/")) -> int | None:
    """CPUs that the control groups of this process allow, rounded up; None without a quota.

    A group's ancestors bind it too. In a container, the path that /proc tells may be the host's:
    the folders that exist are read, up to the mount itself, which is the container's own group.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return None
    quotas = []
    for line in groups:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.strip("/")
        while True:
            quotas.append(_quota_v1(group) if controllers else _quota_v2(group))
            if group == mount:
                break
            group = group.parent
    found = [number for number in quotas if number is not None]
    return min(found) if found else None


def _quota_v2(group: Path) -> int | None:
    """Of a folder of version 2: "max 100000", or "150000 100000" for one and a half CPUs."""
    return _cpus(_words(group / "cpu.max"))


def _quota_v1(group: Path) -> int | None:
    """Of a folder of version 1, where a quota of -1 is none."""
    return _cpus([*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []


def _cpus(words: list[str]) -> int | None:
    """quota / period, rounded up."""
    if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        return None
    return math.ceil(int(words[0]) / int(words[1]))
