"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW_FILE_MODE = 0o666  # less the process's umask, as for any new file


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a file to write in the place of `path`, which takes its name on success only.

    A link stays, and what it names is replaced. What is no regular file (a device, a pipe) cannot
    be replaced: it is given itself, and what is written goes through at once.
    """
    target = Path(os.path.realpath(path))
    status = _status(path)
    if status is None:
        mode = _NEW_FILE_MODE
    elif stat.S_ISREG(status.st_mode) and _is_named(target, status):
        mode = stat.S_IMODE(status.st_mode)
    else:
        yield Path(path)
        return
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        # the system takes the umask off: to ask for it, one has to change it, for all threads
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        if status is not None:
            temporary.chmod(mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Of what `path` leads to; None where there is nothing yet."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _is_named(target: Path, status: os.stat_result) -> bool:
    """Whether `target` is a name of that file: an open file under /proc may have lost its own."""
    found = _status(target)
    return found is not None and os.path.samestat(found, status)
