"""Checks of arguments, each made once before any kernel runs; errors name the argument.

What a function here returns is fit for a kernel: a real dtype in native byte order, the right
shape. X and logits keep their strides and are copied only when Numba has no type for them.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fastsoftmax import frames
from fastsoftmax.csr import CSR, is_sparse, sparse_rows
from fastsoftmax.kernels.vectors.widening import NARROW
from fastsoftmax.weights import sum_of_weights

Array = npt.NDArray[Any]

_COMPUTE_DTYPES = _FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in _COMPUTE_DTYPES}
_ONE = np.ones(1).tobytes()  # what arrays of all ones lie on, read-only
_SCAN_ROWS = 4096


def real_array(value: Any, name: str) -> Array:
    """`value` as an array of bool, integer or floating dtype."""
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value
    if is_sparse(value):
        raise TypeError(f"{name} is sparse; a dense array is needed, as {name}.toarray() gives")
    try:
        array = frames.as_array(value, name)
    except ValueError as error:
        raise ValueError(f"{name} is not an array of numbers: {error}") from None
    if not is_real(array.dtype):
        raise TypeError(f"{name} must hold real numbers, {frames.describe(array, name)}")
    raise_if_masked(**{name: value})
    return array


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether its values are real numbers: those of bfloat16 too, which is no type of NumPy's."""
    return dtype.kind in "biuf" or dtype.name == "bfloat16"


def is_narrow(X: Array | CSR) -> bool:
    """Whether kernels widen the numbers of X as they read them; those of sparse X are converted."""
    return _is_narrow_type(X.dtype) and not isinstance(X, CSR)


def _is_narrow_type(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize <= 2 and dtype.name in NARROW


def is_finite_matrix(value: Any) -> bool:
    """Whether `value` is an array (N, D) that is computed with as it is, and of a finite sum."""
    if type(value) is not np.ndarray or value.ndim != 2:
        return False
    if value.dtype.kind in "biu":
        return value.size > 0 and is_narrow(value)
    if value.dtype not in _COMPUTE_DTYPES:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return value.size > 0 and math.isfinite(np.add.reduce(value, axis=None))


def raise_if_masked(**values: Any) -> None:
    """No value is an array of which entries are masked: NumPy would take what lies below."""
    for name, value in values.items():
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            raise TypeError(f"{name} has masked entries, which have no meaning here")


def compute_dtype(array: Array | CSR) -> np.dtype[Any]:
    """float32 for float32, float16 and bfloat16 in any byte order, else float64."""
    narrow = array.dtype.kind in "fV" and array.dtype.itemsize <= 4
    return _FLOAT32 if narrow else _FLOAT64


def precision_of(X: Array | CSR) -> np.dtype[Any]:
    """What X is computed in unless somebody asks for another type: float32 for narrow ones too."""
    return _FLOAT32 if _is_narrow_type(X.dtype) else compute_dtype(X)


def compute_type(value: Any, name: str) -> np.dtype[Any]:
    """float32 or float64, by any of their names."""
    try:
        dtype: np.dtype[Any] = np.dtype(object if value is None else value)
    except TypeError:
        dtype = np.dtype(object)
    if dtype not in _COMPUTE_DTYPES:
        raise ValueError(f"{name} must be float32 or float64, got {value!r}")
    return dtype


def scalar(value: float, dtype: np.dtype[Any]) -> Any:
    """`value` in a compute dtype, infinite where it is beyond that."""
    if abs(value) <= _LARGEST[dtype]:
        return dtype.type(value)
    with np.errstate(over="ignore"):
        return dtype.type(value)


def convertible(array: Any, dtype: np.dtype[Any]) -> Any:
    """`array`, or sparse rows, itself if kernels can read its items, else a copy in `dtype`."""
    converted: Array = array if array.dtype in _COMPUTE_DTYPES else array.astype(dtype)
    return converted


def readable(X: Any, dtype: np.dtype[Any]) -> Any:
    """As `convertible`, for X, whose items may be narrow."""
    return X if is_narrow(X) else convertible(X, dtype)


def logits(value: Any, name: str = "Z") -> Array:
    """Logits of any shape in a compute dtype."""
    array = real_array(value, name)
    converted: Array = convertible(array, compute_dtype(array))
    return converted


def weights_and_bias(W: Any, b: Any) -> tuple[Array, Array]:
    """W (D, K) in its compute dtype and b (K,) in the same, zeros for None."""
    W = real_array(W, "W")
    if W.ndim != 2 or W.shape[1] == 0:
        raise ValueError(f"W must have shape (n_features, n_classes), got {W.shape}")
    W = W.astype(compute_dtype(W), copy=False)
    if b is None:
        return W, np.zeros(W.shape[1], W.dtype)
    b = real_array(b, "b")
    if b.shape != (W.shape[1],):
        text = f"b must have shape ({W.shape[1]},), one per class of W, got {b.shape}"
        raise ValueError(text + (_turned(W.shape) if b.shape == W.shape[:1] else ""))
    return W, b.astype(W.dtype)


def rows_of(value: Any) -> Any:
    """X (N, D), dense in any strides or sparse."""
    if isinstance(value, CSR):
        return value
    X = sparse_rows(value, "X") if is_sparse(value) else real_array(value, "X")
    if X.ndim != 2:
        hint = "; a single sample is a row, as X[None]" if X.ndim == 1 else ""
        raise ValueError(f"X must have shape (n_samples, n_features), got {X.shape}{hint}")
    return X


def _turned(shape: tuple[int, ...]) -> str:
    """What to do about weights that look transposed."""
    return f": W has shape {shape}, and is to be (n_features, n_classes); pass W.T"


def samples(X: Any, n_features: int, dtype: np.dtype[Any], n_classes: int = -1) -> Any:
    """X (N, D) with a known D; `n_classes` of weights that may lie transposed."""
    X = rows_of(X)
    if X.shape[1] != n_features:
        text = f"X has {X.shape[1]} features, {n_features} were expected"
        raise ValueError(
            text + (_turned((n_features, n_classes)) if X.shape[1] == n_classes else "")
        )
    return readable(X, dtype)


def labels(array: Array, n_classes: int) -> Array:
    """Integer labels (N,), each in [0, n_classes), as int64."""
    numbers = array.astype(np.int64, copy=False)
    # without their sign, negative numbers are the largest
    if numbers.size and np.maximum.reduce(numbers.view(np.uint64)) >= n_classes:
        bad = int(np.flatnonzero((array < 0) | (array >= n_classes))[0])
        raise ValueError(f"targets[{bad}] = {array[bad]} is not in [0, {n_classes})")
    return numbers


def non_negative(array: Array, name: str, dtype: Any = np.float64) -> None:
    """Every entry is at least 0 and fits `dtype`; checked without a temporary of array's size."""
    largest = float(np.finfo(dtype).max)
    if array.size and not (array.min() >= 0 and float(array.max()) <= largest):
        cell = next(i for i, value in np.ndenumerate(array) if not 0 <= float(value) <= largest)
        fits = 0 <= array[cell] < np.inf
        reason = f"does not fit {np.dtype(dtype)}" if fits else "must be finite and at least 0"
        raise ValueError(f"{name}{list(cell)} = {array[cell]} {reason}")


def targets(value: Any, n_rows: int, n_classes: int, dtype: np.dtype[Any]) -> Array:
    """Labels (N,) as int64, or rows of non-negative weights (N, K) as floats."""
    array = real_array(value, "targets")
    if array.shape == (n_rows,):
        if array.dtype.kind not in "biu" and array.size:
            raise TypeError(f"targets of shape (N,) must be integer labels, got {array.dtype}")
        return labels(array, n_classes)
    if array.shape != (n_rows, n_classes):
        raise ValueError(
            f"targets must have shape ({n_rows},) or ({n_rows}, {n_classes}), got {array.shape}"
        )
    rows: Array = convertible(array, dtype)
    non_negative(rows, "targets", dtype)
    return rows


def sample_weight(value: Any, n_rows: int) -> Array:
    """Weights (N,) as float64; all ones, in the memory of a single one, for None."""
    if value is None:
        return np.ndarray((n_rows,), np.float64, _ONE, strides=(0,))
    array = real_array(value, "sample_weight")
    if array.shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},), got {array.shape}")
    array = array.astype(np.float64, copy=False)
    non_negative(array, "sample_weight")
    return array


def scaled_weight(weight: Array) -> tuple[Array, float]:
    """(weight / unit, unit): a power of two, by which the largest becomes at least 1 and below 2.

    A mean does not depend on the weights' scale, and what is computed from these fits float32. The
    division is exact, so that results keep their bits; a weight below 1e-307 of the largest may
    become zero. Without any weight above zero, unit is 1.
    """
    held = weight[:1] if weight.strides == (0,) else weight
    largest = float(held[0]) if held.size == 1 else float(held.max(initial=0))
    unit = math.ldexp(1, math.frexp(largest)[1] - 1) if largest else 1.0
    if unit == 1:
        return weight, unit
    with np.errstate(under="ignore"):
        return np.broadcast_to(held / unit, weight.shape), unit


def total_weight(weight: Array, reduction: str) -> float:
    """What the sum of the losses is divided by: the sum of the weights for "mean", else 1."""
    if reduction != "mean":
        return 1.0
    if weight.size and weight.strides == (0,):
        # summed without rounding, as a full one of the same value need not be
        total = weight.size * float(weight[0])
    else:
        total = sum_of_weights(weight)
    if total == 0:
        reason = "sample_weight sums to zero" if weight.size else "there are no rows"
        raise ValueError(f"reduction='mean' is undefined: {reason}")
    if not math.isfinite(total):
        raise ValueError("sample_weight sums to more than a float64 can hold")
    return total


def weight_of_rows(weight: Array, name: str = "sample_weight") -> float:
    """`total_weight` of rows, of which one at least must count."""
    if not weight.any():
        reason = f"{name} sums to zero" if weight.size else "there are no rows"
        raise ValueError(f"{reason}: nothing counts")
    return total_weight(weight, "mean")


def choice(value: Any, name: str, allowed: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return str(value)


def is_auto(value: Any, name: str, other: str = "a number") -> bool:
    """Whether a value that may be a number too is "auto"; no other word will do."""
    if value is None or (isinstance(value, str) and value != "auto"):
        raise ValueError(f"{name} must be 'auto' or {other}, got {value!r}")
    return isinstance(value, str)


def flag(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def callback(value: Any) -> Any:
    """What is called after each step, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"callback must be callable or None, got {value!r}")
    return value


def feature_names(value: Any, n_features: int) -> tuple[str, ...] | None:
    """A name for each feature, or None."""
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not np.iterable(value):
        raise TypeError(f"feature_names must be a sequence of names, got {type(value).__name__}")
    names = tuple(map(str, value))
    if len(names) != n_features:
        raise ValueError(f"feature_names must hold {n_features} names, got {len(names)}")
    return names


def number(
    value: Any, name: str, low: float, high: float = math.inf, *, below: bool = False
) -> float:
    """A finite real number in [low, high], or in [low, high) with `below`."""
    plain = type(value) is float or type(value) is int
    if not plain and (isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(value) != 0):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        result = float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number that a float64 can hold") from None
    except TypeError:
        raise TypeError(f"{name} must be a number, got {type(value).__name__}") from None
    if not (low <= result <= high and math.isfinite(result)) or (below and result == high):
        end = ")" if below else "]"
        bounds = f"in [{low:g}, {high:g}{end}" if math.isfinite(high) else f"at least {low:g}"
        raise ValueError(f"{name} must be {bounds} and finite, got {value!r}")
    return result


def integer(value: Any, name: str, low: int, high: int | None = None) -> int:
    """An integer in [low, high], or of at least `low`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if result < low:
        raise ValueError(f"{name} must be at least {low}, got {_short(result)}")
    if high is not None and result > high:
        raise ValueError(f"{name} must be at most {high}, got {_short(result)}")
    return result


def _short(value: int) -> str:
    """Python refuses to write integers of very many digits."""
    return str(value) if value.bit_length() < 64 else f"an integer of {value.bit_length()} bits"


def output(out: Any, shape: tuple[int, ...], dtype: Any, name: str = "out") -> Array:
    """`out` if it is an array of the result's shape and dtype, a new one for None."""
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a numpy.ndarray, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"{name} must have shape {shape} and dtype {np.dtype(dtype)}, "
            f"got shape {out.shape} and dtype {out.dtype}"
        )
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")
    return out


def raise_if_shared(out: Array, name: str, /, **arrays: Array) -> None:
    """`out` may not lie where any of `arrays` does, which are read while it is written."""
    for other, array in arrays.items():
        if np.may_share_memory(out, array):
            raise ValueError(f"{name} overlaps with {other} in memory")


def first_non_finite(array: Array | CSR, weight: Array | None = None) -> tuple[int, ...] | None:
    """The first cell of a 1-D or 2-D array that is not finite, in a row not of weight zero."""
    if isinstance(array, CSR):
        return array.first_non_finite(weight)
    for first in range(0, len(array), _SCAN_ROWS):
        rows = slice(first, first + _SCAN_ROWS)
        with np.errstate(invalid="ignore"):  # of a NaN of bfloat16 that signals
            finite = np.isfinite(array[rows])
        if weight is not None:
            finite[weight[rows] == 0] = True
        if not finite.all():
            bad = np.argwhere(~finite)
            return (int(bad[0][0]) + first, *(int(i) for i in bad[0][1:]))
    return None


def raise_if_non_finite(weight: Array | None = None, /, **arrays: Array | CSR) -> None:
    """Name the first cell of the 1-D and 2-D `arrays` that is not finite, if there is one.

    Rows of X of weight zero are not looked at.
    """
    for name, array in arrays.items():
        raise_for_cell(name, array, weight if name == "X" else None)


def raise_for_cell(name: str, array: Array | CSR, weight: Array | None, first_row: int = 0) -> None:
    """As `raise_if_non_finite`, of rows the first of which has this number."""
    cell = first_non_finite(array, weight)
    if cell is not None:
        value = array.value_at(*cell) if isinstance(array, CSR) else array[cell]
        place = [cell[0] + first_row, *cell[1:]]
        raise ValueError(f"{name}{place} is {value}; {name} must be finite")


def raise_non_finite(
    what: str, dtype: np.dtype[Any], weight: Array | None = None, /, **arrays: Array | CSR
) -> NoReturn:
    """As `raise_if_non_finite`; if all are finite, say that `what` overflows."""
    raise_if_non_finite(weight, **arrays)
    raise ValueError(f"{what} overflow {dtype}: scale the data or the weights down")
