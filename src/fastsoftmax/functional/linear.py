"""The loss of the linear model and its gradient, of X and the weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax import validation as check
from fastsoftmax import views
from fastsoftmax.csr import CSR
from fastsoftmax.functional import sparse
from fastsoftmax.functional.sparse import Columns, columns_of
from fastsoftmax.kernels.passes import fused
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import (
    ROW_BLOCK,
    SLAB_ROWS,
    chunk_rows,
    chunks_of_leaf,
    leaf_rows,
    n_chunks,
    n_leaves,
    partials_fit,
    pays_to_share,
)
from fastsoftmax.threads import launch
from fastsoftmax.weights import sum_of

Array = npt.NDArray[Any]

_NO_TOTAL = np.empty((0, 0))


class Problem(NamedTuple):
    """A loss over X, of checked arguments."""

    X: Any  # (N, D), an array or CSR
    targets: Array  # (N,) or (N, K)
    weight: Array  # (N,), in units of `unit`
    W: Array  # (D, K)
    b: Array  # (K,)
    smoothing: float
    l2: float
    total_weight: float  # what sums over the rows are divided by
    unit: float  # and multiplied by
    columns: Columns | None  # of sparse X

    def reduced(self, losses: Array) -> float:
        """The sum of weighted losses, reduced, with the penalty; in float64."""
        total = sum_of(losses) / self.total_weight * self.unit
        return total + _penalty(self.W, self.l2)

    def overflow_or_name_cell(self) -> None:
        """Raise the error that a non-finite result calls for."""
        inputs = {"X": self.X, "W": self.W, "b": self.b}
        what = "the logits or their gradient"
        check.raise_non_finite(what, self.W.dtype, self.weight, **inputs)

    def pays_to_share(self) -> bool:
        return pays_to_share(len(self.X), self.W.shape[1], len(self.W))

    def for_kernel(self) -> tuple[Any, ...]:
        """As `fused.prepared` takes it."""
        return (
            tuple(views.as_rows(self.X)),
            tuple(views.target_rows(self.targets)),
            tuple(views.as_column(self.weight)),
            len(self.X),
            tuple(views.as_rows(self.W)),
            len(self.W),
            self.b,
            self.smoothing,
        )


def problem(
    X: Any,
    targets: Any,
    W: Any,
    b: Any,
    sample_weight: Any,
    label_smoothing: Any,
    l2: Any,
    reduction: str,
    *,
    columns: Columns | None = None,
) -> Problem:
    """Of checked arguments; `columns` are those of sparse X, if they are at hand."""
    W, bias = check.weights_and_bias(W, b)
    X = check.samples(X, W.shape[0], W.dtype, W.shape[1] if b is None else -1)
    weight, unit = check.sample_weight(sample_weight, X.shape[0]), 1.0
    total = check.total_weight(weight, reduction)
    if reduction != "none":
        weight, unit = check.scaled_weight(weight)
    if reduction == "mean":
        total, unit = total / unit, 1.0
    if isinstance(X, CSR) and columns is None:
        columns = columns_of(X, weight, W.shape[1])
    return Problem(
        X,
        check.targets(targets, X.shape[0], W.shape[1], W.dtype),
        weight,
        W,
        bias,
        check.number(label_smoothing, "label_smoothing", 0, 1),
        check.number(l2, "l2", 0),
        total,
        unit,
        columns,
    )


def _penalty(W: Array, l2: float) -> float:
    """l2 / 2 * ||W||^2, in float64."""
    return 0.5 * l2 * float(np.einsum("dk,dk->", W, W, dtype=np.float64)) if l2 else 0.0


def _gradients(out: Any, p: Problem, inputs: dict[str, Any]) -> tuple[Array, Array]:
    """(grad_W, grad_b) to write to, of `out` where it has them."""
    if out is None:
        new = np.empty if p.columns is None else np.zeros
        return new(p.W.shape, p.W.dtype), np.empty(p.b.shape, p.W.dtype)
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise TypeError(f"out must be (grad_W, grad_b), got {type(out).__name__}")
    if inputs["b"] is None and out[1] is not None:
        raise TypeError("out[1] must be None, as b is")
    grad_W = check.output(out[0], p.W.shape, p.W.dtype, "out[0]")
    grad_b = check.output(out[1], p.b.shape, p.W.dtype, "out[1]")
    given = {name: value for name, value in inputs.items() if isinstance(value, np.ndarray)}
    check.raise_if_shared(grad_W, "out[0]", **given)
    check.raise_if_shared(grad_b, "out[1]", **given, **{"out[0]": grad_W})
    return grad_W, grad_b


def _for_kernel(gradient: Array) -> Array:
    """`gradient` itself if it lies as kernels write one, else room for it."""
    return gradient if gradient.flags.carray else np.empty(gradient.shape, gradient.dtype)


def evaluate(p: Problem, grad_W: Array, grad_b: Array, *, zeros: bool = False) -> float:
    """The loss, in float64, and its gradient, written; NaN or infinite where one is not finite.

    The arrays lie as kernels write them: contiguous, in W's dtype. `zeros`: grad_W holds zeros,
    which spares sparse X with many empty columns some work.
    """
    if p.columns is not None:
        return _evaluate_sparse(p, p.columns, grad_W, grad_b, zeros)
    sums = new_sums(len(p.X), p.W.shape, p.W.dtype)
    return add_rows(sums, p, 0, grad_W, grad_b)


class Sums(NamedTuple):
    """Of losses and gradients over the rows seen so far; as `fused.Partials` has them."""

    size: int  # rows of a chunk
    G_T: Array
    of_chunks: Array  # (C, K + 2)
    total: Array  # (K, D), or empty

    @property
    def by_slab(self) -> bool:
        """Whether leaves share one gradient."""
        return bool(self.total.shape[0])


_NO_GRADIENT = {
    np.dtype(dtype): (np.empty((0, 0), dtype), np.empty(0, dtype))
    for dtype in (np.float32, np.float64)
}


def new_sums(
    n_rows: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, one_leaf: bool = False
) -> Sums:
    """Of no rows yet of so many, or of those of one of their leaves, for W's shape (D, K)."""
    n_features, n_classes = shape
    if partials_fit(n_rows, n_features, n_classes, dtype.itemsize):
        size, total = chunk_rows(n_rows), _NO_TOTAL
        chunks = n_partials = chunks_of_leaf(n_rows) if one_leaf else n_chunks(n_rows)
    else:
        size, n_partials = leaf_rows(n_rows), 1
        leaves = 1 if one_leaf else n_leaves(n_rows)
        chunks = leaves * (SLAB_ROWS // ROW_BLOCK)
        total = np.zeros((n_classes, n_features if leaves > 1 else 0))
    G_T = np.zeros((n_partials, n_classes, padded(n_features, dtype.itemsize)), dtype)
    return Sums(size, G_T, np.zeros((chunks, n_classes + 2)), total)


def add_rows(sums: Sums, p: Problem, first: int, *gradient: Array) -> float:
    """The sums over rows first... of all are added to those over the rows before them.

    With arrays for it, the gradient is written, and the loss over all rows is returned.
    """
    kernel = fused.loss_and_gradient_by_slab if sums.by_slab else fused.loss_and_gradient_by_chunk
    size, G_T, of_chunks, total = sums
    how = first, size, p.unit / p.total_weight, p.l2
    out = gradient or _NO_GRADIENT[p.W.dtype]
    arguments = p.for_kernel(), *how, G_T, of_chunks, total, *out
    finite = launch(kernel, *arguments, parallel=p.pays_to_share())
    return p.reduced(of_chunks[:, -2]) if finite else math.nan


def _evaluate_sparse(
    p: Problem, columns: Columns, grad_W: Array, grad_b: Array, zeros: bool
) -> float:
    """`evaluate` for sparse X."""
    losses, finite = sparse.evaluate(
        columns,
        p.targets,
        p.weight,
        p.W,
        p.b,
        p.smoothing,
        p.unit / p.total_weight,
        p.l2,
        grad_W,
        grad_b,
        zeros,
    )
    return p.reduced(losses) if finite else math.nan


def loss_and_gradient(
    X: npt.ArrayLike,
    targets: npt.ArrayLike,
    W: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    l2: float = 0.0,
    reduction: str = "mean",
    out: tuple[Array | None, Array | None] | None = None,
) -> tuple[Any, Array, Array | None]:
    """Cross-entropy of the linear model and its gradient, in one pass over X.

    Parameters
    ----------
    X : array_like or CSR, (N, D)
        Samples in rows. float32, float64 and numbers of one or two bytes (bool, uint8, int8,
        uint16, int16, float16, bfloat16) are read where they lie, in any strides; other real types
        are converted once per call. Of SciPy's sparse arrays and matrices, CSR is read where
        it lies and CSC converted.
    targets : array_like
        Integer labels (N,) in ``[0, K)``, or rows (N, K) of finite weights of at least 0.
    W : array_like, (D, K)
        Weights. Their dtype, float32 or float64, is the type of the computation and the result.
    b : array_like, (K,), optional
        Biases; None computes without.
    sample_weight : array_like, (N,), optional
        Finite weights of at least 0. A row of weight 0 is absent: its X may hold anything, its
        target must be valid.
    label_smoothing : float in [0, 1]
        Targets become ``(1 - eps) * t + eps * s / K``, with s the sum of t.
    l2 : float
        Adds ``l2 / 2 * ||W||**2`` to the reduced loss; b is not penalised.
    reduction : {"mean", "sum"}
        "mean" divides the sum over the rows by the sum of the weights, N without any, whatever
        their scale.
    out : (grad_W, grad_b), optional
        Where to write the gradient: arrays of W's dtype that share no memory with the others, None
        for a new one, as for grad_b where `b` is None. After an error they may hold anything.

    Returns
    -------
    loss : scalar
    grad_W : ndarray, (D, K)
    grad_b : ndarray, (K,), or None where `b` is None

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range; if X, W or b hold a value that counts
        and is not finite (the text names the cell); if the logits overflow; if a mean has nothing
        to divide by.

    Notes
    -----
    ``grad_W = X' (s P - T)`` and ``grad_b`` the column sums of ``s P - T``, weighted and reduced:
    docs/math.md, "The matrix form". The same bits come out for any number of threads.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> loss, grad_W, grad_b = fastsoftmax.loss_and_gradient(
    ...     [[1.0], [3.0]], [0, 1], np.zeros((1, 2)), np.zeros(2))
    >>> grad_W
    array([[ 0.5, -0.5]])
    """
    check.choice(reduction, "reduction", ("mean", "sum"))
    p = problem(X, targets, W, b, sample_weight, label_smoothing, l2, reduction)
    gradients = grad_W, grad_b = _gradients(
        out, p, {"X": X, "targets": targets, "W": W, "b": b, "sample_weight": sample_weight}
    )
    written = _for_kernel(grad_W), _for_kernel(grad_b)
    loss = check.scalar(evaluate(p, *written, zeros=out is None), p.W.dtype)
    if not math.isfinite(loss):
        p.overflow_or_name_cell()
    for gradient, result in zip(gradients, written, strict=True):
        if gradient is not result:
            gradient[...] = result
    return loss, grad_W, None if b is None else grad_b


def loss(
    X: npt.ArrayLike,
    targets: npt.ArrayLike,
    W: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    sample_weight: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
    l2: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """Cross-entropy of the linear model, without the gradient.

    Parameters and errors are those of `loss_and_gradient`; `reduction` may also be "none", which
    gives each row's weighted loss (N,) and takes no `l2`.

    Returns
    -------
    scalar, or ndarray (N,) for "none"

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> float(fastsoftmax.loss([[1.0], [3.0]], [0, 1], np.zeros((1, 2))))
    0.6931471805599453
    """
    check.choice(reduction, "reduction", ("mean", "sum", "none"))
    p = problem(X, targets, W, b, sample_weight, label_smoothing, l2, reduction)
    if reduction == "none" and p.l2:
        raise ValueError("l2 must be 0 with reduction='none': a penalty belongs to no row")
    losses = np.empty(len(p.X), np.float64)
    if p.columns is not None:
        finite = sparse.losses(p.columns, p.targets, p.weight, p.W, p.b, p.smoothing, losses)
    else:
        finite = launch(fused.losses, p.for_kernel(), losses, parallel=p.pays_to_share())
    if reduction == "none":
        with np.errstate(over="ignore"):
            result = losses.astype(p.W.dtype)
    else:
        result = check.scalar(p.reduced(losses), p.W.dtype)
    if not (finite and np.isfinite(result).all()):
        p.overflow_or_name_cell()
    return result
