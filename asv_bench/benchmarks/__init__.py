"""fastsoftmax beside NumPy, with the same number of threads on both sides.

BLAS and Numba each read their own variable as they are loaded, and asv loads NumPy before this
file. All three must therefore be set before asv starts, to one number; or none of them, for every
CPU on both sides.
"""

import os

_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")

if len({os.environ.get(variable) for variable in _VARIABLES}) > 1:
    raise RuntimeError(f"set all of {', '.join(_VARIABLES)} to the same number, or none")
