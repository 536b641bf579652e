"""Softmax regression on the rows of a Dask array or frame (extra `[dask]`).

`fit`; `regression` (SoftmaxRegression, the estimator); `rows` (the rows of a cluster's workers, for
the solver: what it sums is summed by a task for each part); `leaves` (how rows are cut and moved);
`blocks` (the user's collections, a block at a time); `cluster` (the client, its tasks, and waiting
for them).
"""

try:
    import dask  # noqa: F401
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastsoftmax.dask needs dask and distributed: pip install 'fastsoftmax[dask]'"
    ) from error

from fastsoftmax.dask.fit import fit
from fastsoftmax.dask.regression import SoftmaxRegression

__all__ = ["SoftmaxRegression", "fit"]
