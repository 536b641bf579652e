"""How the learning rate falls over a training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCHEDULES = ("constant", "linear", "cosine")


def factors(schedule: str, start: int, stop: int, total: int) -> npt.NDArray[np.float64]:
    """What the learning rate is multiplied by at steps start...stop of `total`.

    "linear" falls from 1 towards 0; "cosine" is half a period of one (Loshchilov and Hutter 2017).
    """
    done = np.arange(start, stop) / max(total, 1)
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return 0.5 + 0.5 * np.cos(np.pi * done)
    return np.ones(stop - start)
