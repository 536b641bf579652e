"""A lower bound on the optimum, from one pass in float64: docs/math.md, "A certificate"."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastsoftmax.kernels.passes.inverse import invert
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.solvers.objective import Objective, Point
from fastsoftmax.threads import launch

Array = npt.NDArray[Any]

_EPSILON = float(np.finfo(np.float64).eps)

# Newton's steps on the biases, at most, and the share of the tolerance that they may leave.
_BIAS_STEPS = 6
_LEFT_OVER = 0.01


def lower_bound(objective: Objective, point: Point) -> float:
    """A number that the objective is nowhere below; minus infinity without a penalty.

    `point` was computed in float64. What rounding may have done to it is taken off.
    """
    if not (objective.l2 > 0 and point.is_finite):
        return -math.inf
    n_features, l2 = objective.n_features, objective.l2
    V = point.parameters[:, :n_features]
    G = point.gradient[:, :n_features] - l2 * V
    norm = math.sqrt(float(np.einsum("kd,kd->", G, G)))
    entropy = point.loss - float(np.einsum("kd,kd->", V, G))
    mixed, distance = 0.0, 0.0
    if objective.intercept:
        c, g = point.parameters[:, -1], point.gradient[:, -1]
        entropy -= float(np.einsum("k,k->", c, g))
        shares = objective.target_shares()
        mixed, prior = _mixture(shares, g)
        if mixed >= 1:
            return -math.inf
        entropy = (1 - mixed) * entropy + mixed * prior
        distance = 2 * _row_norm(objective) * _target_norm(objective)
    norm = (1 - mixed) * norm + mixed * distance
    error = _rounding(objective, point, norm)
    return entropy - norm**2 / (2 * l2) - error


def _mixture(shares: Array, g: Array) -> tuple[float, float]:
    """(e, entropy): (1 - e) P + e prior has the targets' column sums; the prior's mean entropy."""
    held = shares + g  # the column sums of P
    total = float(shares.sum())
    over = g > 0
    if not over.any():
        return 0.0, 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        mixed = float(np.where(over, g / held, 0.0).max())
    mixed = min(mixed * (1 + 8 * _EPSILON) + 4 * _EPSILON, 1.0)
    prior = np.maximum(shares - (1 - mixed) * held, 0.0)
    prior /= prior.sum()
    present = prior > 0
    return mixed, -total * float(np.sum(prior[present] * np.log(prior[present])))


def _row_norm(objective: Objective) -> float:
    """The root of the mean square of the rows' norms, of the centred and scaled features."""
    moments, scale = objective.moments, objective.scaling.scale
    return math.sqrt(float((scale**2 * moments.spread).sum()) / moments.weight)


def _target_norm(objective: Objective) -> float:
    """The root of the mean square of the rows' target weights."""
    samples = objective.samples
    if samples.targets.ndim == 1:
        return 1.0
    s = samples.targets.sum(axis=1, dtype=np.float64)
    return math.sqrt(float(np.einsum("n,n,n->", samples.weight, s, s)) / samples.total_weight)


def _rounding(objective: Objective, point: Point, norm: float) -> float:
    """What rounding may have added to the bound: a bound to first order on each step's errors."""
    n_rows, n_features = objective.samples.X.shape
    moments = objective.moments
    square = float((moments.spread + moments.weight * moments.mean**2).sum()) / moments.weight
    W, b = objective.to_model(point.parameters)
    logits = math.sqrt(square) * math.sqrt(float(np.einsum("dk,dk->", W, W))) + float(
        np.abs(b).max(initial=0)
    )
    s = _target_norm(objective)
    of_logits = _EPSILON * (n_features + 16) * logits * 2 * s
    of_sums = _EPSILON * (n_rows / 64 + 128) * (abs(point.loss) + s * logits)
    units = objective.scaling.scale.max(initial=0)
    of_gradient = _EPSILON * (n_rows / 64 + 128) * 2 * s * math.sqrt(square) * units
    slope = norm / objective.l2 + math.sqrt(float(np.einsum("kd,kd->", *[point.parameters] * 2)))
    return float(of_logits + of_sums + of_gradient * slope)


def with_best_biases(objective: Objective, point: Point, tol: float) -> Point:
    """The point with its biases solved for, by Newton's method: the bound wants a gradient of 0.

    `point` was computed in float64, and so is the result.
    """
    if not objective.intercept or objective.n_classes == 1:
        return point
    inverse = None
    shares = objective.target_shares()
    for _ in range(_BIAS_STEPS):
        g = point.gradient[:, -1]
        mixed, _prior = _mixture(shares, g)
        if mixed * math.log(objective.n_classes + 1) <= _LEFT_OVER * tol * point.objective:
            break
        if inverse is None:
            inverse = _inverse_of_biases(objective, point.parameters)
        step = np.einsum("k,kl->l", g, inverse)
        parameters = point.parameters.copy()
        parameters[:, -1] -= step
        new = objective.at(parameters, np.float64)
        if not new.is_finite or new.objective > point.objective + 1e-12 * abs(point.objective):
            break
        point = new
    return point


def _inverse_of_biases(objective: Objective, parameters: Array) -> Array:
    """The inverse (K, K) of the Hessian of the biases, which leaves what all classes share at 0."""
    n_classes = objective.n_classes
    H = np.zeros((n_classes + 1, n_classes + 1))
    for rows in objective.slabs():
        P = objective.probabilities(parameters, rows, objective.narrow)
        objective.add_products(rows, P, H, n_features=0)
    S = np.zeros((n_classes, padded(n_classes, 8)))
    diagonal = H[-1, :-1]
    S[:, :n_classes] = np.diag(diagonal) - H[:-1, :-1] + diagonal.sum() / n_classes**2
    S[np.arange(n_classes), np.arange(n_classes)] += 1e-9 * diagonal.mean()
    launch(invert, S, n_classes)
    return S[:, :n_classes]
