"""A lower bound on the optimum, from one pass in float64: docs/math.md, "A certificate"."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastsoftmax.kernels.passes.inverse import invert
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.solvers.arrays import dot
from fastsoftmax.solvers.objective import Objective, Point
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]

_UNIT = 0.5 * float(np.finfo(np.float64).eps)  # of rounding

# Rows that are summed one by one (then their sums are), and what exponentials and products add.
_BLOCK = 512
_OF_ROWS = 32

# Newton's steps on the biases, at most, how often one is halved, and the share of the tolerance
# that they may leave.
_BIAS_STEPS = 20
_HALVINGS = 5
_LEFT_OVER = 0.01


# Sums of squares within these lost nothing to under- or overflow.
_SAFE = 1e-200


class Bound(NamedTuple):
    """What is proved at a point."""

    value: float  # the objective is nowhere below it
    rounding: float  # what was lost for the errors of rounding


def lower_bound(objective: Objective, point: Point) -> Bound:
    """A bound from a point that was computed in float64; minus infinity without a penalty."""
    if not (objective.l2 > 0 and point.is_finite):
        return Bound(-math.inf, math.inf)
    n_features, l2 = objective.n_features, objective.l2
    V, g, c = objective.split(point)
    gradient = point.gradient[:, :n_features]
    G = gradient - l2 * V
    inner = _dots(V, G) + float(np.einsum("k,k->", c, g))
    entropy = point.loss - inner
    mixed, least, distance = 0.0, 0.0, 0.0
    if objective.intercept:
        mixed, least = _mixed(objective, point, g), _mixed(objective, point, np.zeros_like(g))
        distance = _distance(objective)
    length = (1 - mixed) * norm(G) + mixed * distance
    slope = (norm(gradient) + mixed * distance) / l2
    rounding = _rounding(objective, point, norm(G), slope)
    value = (1 - mixed) * entropy - length**2 / (2 * l2) - rounding
    lost = rounding + least * (abs(entropy) + distance * norm(G) / l2)
    return Bound(max(value, 0.0), lost)  # no cross-entropy is negative


def _mixed(objective: Objective, point: Point, g: Array) -> float:
    """The least e for which (1 - e) P + e prior can have the targets' column sums.

    g, the column sums of P less those, is known but for rounding.
    """
    held = objective.target_shares + g
    over = np.maximum(g + _of_columns(objective, point), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(over > 0, over / held, 0.0)
    return float(np.where(needed >= 0, needed, 1.0).max().clip(0, 1))


def _distance(objective: Objective) -> float:
    """The most that the norm of the gradient is for equal rows of probabilities, and a little."""
    return 1.5 * objective.target_norm * norm(objective.spans)


def _of_sums(objective: Objective) -> float:
    """The relative error of a sum over the rows of what the pass computes of each."""
    n_rows = int(objective.samples.n_rows)
    one_by_one = min(n_rows, _BLOCK) if objective.columns is None else n_rows
    return _UNIT * (one_by_one + n_rows / 64 + objective.n_classes + _OF_ROWS)


def _of_logarithm(share: Array, objective: Objective) -> Array:
    """What it adds that exp(-t) has an error of t units of rounding, for means of exp(-t)."""
    tiny = np.finfo(np.float64).tiny
    return _UNIT * (math.log(objective.n_classes) + np.maximum(-np.log(share + tiny), 0.0))


def _of_columns(objective: Objective, point: Point) -> Array:
    """The errors of the column sums g (K,): of P and of the targets, or of what labels leave."""
    _V, g, _c = objective.split(point)
    shares, total = objective.target_shares, objective.target_shares.sum() or 1.0
    held = np.maximum(shares + g, 0.0)
    relative = _of_sums(objective) + _of_logarithm(held / total, objective)
    least = point.loss if objective.has_labels else math.inf
    return np.asarray(relative * np.minimum(shares + held, least))


def _rounding(objective: Objective, point: Point, length: float, slope: float) -> float:
    """What rounding may have added to the bound, at most; the length is that of G.

    Its own terms are small, and errors of theirs are left out.
    """
    V, g, c = objective.split(point)
    n_features, n_classes = objective.n_features, objective.n_classes
    s, logits = objective.target_norm, _logits(objective, point)
    residual = min(2 * s, math.sqrt(2 * objective.largest_target * point.loss))
    of_logits = _UNIT * (n_features + 2) * logits * (residual + float(np.abs(g).sum()))
    relative = _of_sums(objective) + float(_of_logarithm(np.array(point.loss), objective))
    of_loss = relative * point.loss
    of_biases = (
        float((np.abs(c) * _of_columns(objective, point)).sum()) if objective.intercept else 0
    )
    of_gradient = _of_sums(objective) * 2 * s * norm(objective.raw_spans)
    of_products = _UNIT * (n_features + n_classes + 8) * length * (norm(V) + length / objective.l2)
    of_slope = (slope + of_gradient / objective.l2) * of_gradient
    return of_logits + of_loss + of_biases + of_products + of_slope


def _logits(objective: Objective, point: Point) -> float:
    """What the parts of a logit sum up to, without their signs, in the mean over the rows."""
    W, b = objective.to_model(point.parameters)
    largest = np.abs(W).max(axis=1, initial=0)
    return float((objective.sizes * largest).sum()) + float(np.abs(b).max(initial=0))


def noise_of_gradient(objective: Objective, point: Point, dtype: Any) -> float:
    """About what rounding adds to the gradient, computed in `dtype`; the errors of rows average."""
    unit = 0.5 * float(np.finfo(dtype).eps)
    of_row = 1 + _logits(objective, point) / math.sqrt(objective.samples.n_rows)
    return unit * of_row * objective.target_norm * norm(objective.raw_spans)


def _dots(A: Array, B: Array) -> float:
    """The sum of products, row by row."""
    if A.flags.c_contiguous:
        return float(np.einsum("kd,kd->k", A, B).sum())
    if A.T.flags.c_contiguous and B.T.flags.c_contiguous:
        return dot(A.T, B.T)  # as sparse rows have them, by feature
    return float((A.T * B.T).sum(axis=0).sum())


def norm(A: Array) -> float:
    """Frobenius's; nothing overflows on the way."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = _dots(*[np.atleast_2d(A)] * 2)
    if _SAFE < square < 1 / _SAFE:
        return math.sqrt(square)
    largest = float(np.abs(A).max(initial=0))
    if not 0 < largest < math.inf:
        return largest
    scaled = np.atleast_2d(A) / largest
    return largest * math.sqrt(_dots(scaled, scaled))


def with_best_biases(objective: Objective, point: Point, tol: float) -> Point:
    """The point with its biases solved for, by Newton's method: the bound wants a gradient of 0.

    `point` was computed in float64, and so is the result.
    """
    if not objective.intercept or objective.n_classes == 1:
        return point
    inverse, before = None, math.inf
    for _ in range(_BIAS_STEPS):
        V, g, _c = objective.split(point)
        cost = _mixed(objective, point, g) * (point.loss + _distance(objective) * norm(V))
        if cost <= _LEFT_OVER * tol * point.objective:
            break
        if inverse is None or cost > 0.1 * before:
            inverse = _inverse_of_biases(objective, point.parameters)
        before = cost
        step = np.einsum("k,kl->l", g, inverse)
        new = _along(objective, point, step - step.mean())
        if new is None:
            break
        point = new
    return point


def _along(objective: Objective, point: Point, step: Array) -> Point | None:
    """The point with `step` taken off the biases, or a part of it; None where nothing falls."""
    noise = _of_sums(objective) * abs(point.objective)
    for halving in range(_HALVINGS + 1):
        parameters = point.parameters.copy()
        parameters[:, -1] -= step / 2**halving
        new = objective.at(parameters, np.float64)
        if new.objective <= point.objective + noise:
            return new
    return None


def _inverse_of_biases(objective: Objective, parameters: Array) -> Array:
    """`inverse_of_biases` at some parameters."""
    K = objective.n_classes
    H = objective.products(objective.narrow, n_features=0, parameters=parameters, n_coefficients=K)
    return inverse_of_biases(H)


def inverse_of_biases(H: Array) -> Array:
    """The inverse (K, K) of the Hessian of the biases, which leaves what all classes share at 0.

    H (K + 1, K + 1) are the products of the rows' probabilities, and 1.
    """
    n_classes = len(H) - 1
    S = np.zeros((n_classes, padded(n_classes, 8)))
    diagonal = H[-1, :-1]
    S[:, :n_classes] = np.diag(diagonal) - H[:-1, :-1] + diagonal.sum() / n_classes**2
    S[np.arange(n_classes), np.arange(n_classes)] += 1e-9 * diagonal.mean()
    launch(invert, S, n_classes)
    return S[:, :n_classes]
