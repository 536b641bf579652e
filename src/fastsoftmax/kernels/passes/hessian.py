"""Sums of products of features: Gram matrices, and the Hessian of the cross-entropy.

With u a row's features, centred and scaled, and c coefficients of the row, both kernels' blocks are
those of the sum of (c u)(c u)' under weights: with c = 1 that is the Gram matrix; with c = (p, 1),
its blocks make up the Hessian (docs/math.md, "The Hessian").
Never materialised: the products c u of more than one block of rows. Writes: a panel is some classes
by some features; each pair of panels owns its block of the result.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_also, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.gradient import add_product
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import PANEL, ROW_BLOCK, ceil_div
from fastsoftmax.kernels.tiles.transpose import transpose_rows
from fastsoftmax.kernels.vectors.memory import (
    ADDRESS_BYTES,
    Array,
    Rows,
    Strided,
    Table,
    item_bytes,
    keep_alive,
    load_scaled_row,
    skip_columns,
)
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.spans import clear, copy_multiple
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


@jit_also
def panels_of_class(n_features: int) -> int:
    """Panels that the features of a class are cut into."""
    return ceil_div(n_features, PANEL)


@jit_also
def classes_of_panel(n_features: int) -> int:
    """Classes whose features share a panel: as many as fill whole tiles best."""
    best, wasted = 1, 1.0
    for together in range(1, PANEL // n_features + 1):
        columns = padded(together * n_features, 4)
        waste = 1 - together * n_features / columns
        if together * n_features > PANEL // 2 and waste <= wasted:
            best, wasted = together, waste
    return best


class Panel(NamedTuple):
    """Some classes by some features, and a block of rows of what they are the columns of."""

    first_class: int
    n_classes: int
    first_feature: int
    n_features: int
    u: Array  # (ROW_BLOCK, whole vectors): the features of one class
    U: Array  # (ROW_BLOCK, PANEL and a vector): those of all, times their coefficients


@jit
def panel(p: int, n_features: int, P: Array) -> Panel:
    """Panel p of P's classes and the one behind them, whose coefficient is 1."""
    per_class, together = panels_of_class(n_features), classes_of_panel(n_features)
    k, piece = p // per_class * together, p % per_class
    start, stop = piece * n_features // per_class, (piece + 1) * n_features // per_class
    lanes = VECTOR_BYTES // item_bytes(P)
    return Panel(
        k,
        min(together, P.shape[1] + 1 - k),
        start,
        stop - start,
        np.zeros((ROW_BLOCK, ceil_div(stop - start, lanes) * lanes), P.dtype),
        np.zeros((ROW_BLOCK, PANEL + lanes), P.dtype),
    )


@jit
def row_address(rows: Array, r: int) -> int:
    """Where row r of an array lies."""
    return address_of(rows) + r * rows.shape[1] * item_bytes(rows)


@jit
def load_panel(
    X: Rows,
    first: int,
    n_rows: int,
    weight: Array,
    P: Array,
    centre: Array,
    scale: Array,
    to: Panel,
) -> None:
    """Rows of U = sqrt(weight) * c * u, classes side by side; zeros beyond n_rows.

    Rows of weight zero may hold anything.
    """
    u, U, start = to.u, to.U, to.first_feature
    columns = skip_columns(X, start)
    count = min(to.n_features, centre.size - start)
    part, factors = centre[start : start + count], scale[start : start + count]
    size = item_bytes(u)
    for r in range(ROW_BLOCK):
        source, target = row_address(u, r), row_address(U, r)
        root = math.sqrt(weight[first + r]) if r < n_rows else 0.0
        if root == 0:
            clear(U, target, U.shape[1] * size)
            continue
        load_scaled_row(columns, first + r, part, factors, u, source)
        if count < to.n_features:
            u[r, count] = 1
        for k in range(to.first_class, to.first_class + to.n_classes):
            factor = root * P[first + r, k] if k < P.shape[1] else root
            copy_multiple(u, factor, source, target, u.shape[1] * size)  # the next begins within
            target += to.n_features * size


@jit
def pair_of(task: int) -> tuple[int, int]:
    """(i, j), j <= i: the task-th entry of a lower triangle, row by row."""
    i = int((math.sqrt(8.0 * task + 1) - 1) / 2)
    while i * (i + 1) // 2 > task:
        i -= 1
    while (i + 1) * (i + 2) // 2 <= task:
        i += 1
    return i, task - i * (i + 1) // 2


@jit
def add_products(
    task: int,
    X: Rows,
    weight: Array,
    P: Array,
    intercept: int,
    centre: Array,
    scale: Array,
    H: Array,
) -> None:
    """The block of one pair of panels."""
    n_features, size = centre.size + intercept, item_bytes(P)
    i, j = pair_of(task)
    left, right = panel(i, n_features, P), panel(j, n_features, P)
    U, V = left.U, right.U
    height = left.n_classes * left.n_features
    width = padded(right.n_classes * right.n_features, size)
    U_T = np.empty((U.shape[1], ROW_BLOCK), P.dtype)
    total = np.zeros((height, width), P.dtype)
    rows_of_U, rows_of_V = np.empty(ROW_BLOCK, np.int64), np.empty(ROW_BLOCK, np.int64)
    for r in range(ROW_BLOCK):
        rows_of_U[r] = row_address(U, r)
        rows_of_V[r] = row_address(U if i == j else V, r)
    lanes = VECTOR_BYTES // size
    for first in range(0, weight.size, ROW_BLOCK):
        count = min(ROW_BLOCK, weight.size - first)
        load_panel(X, first, count, weight, P, centre, scale, left)
        if i != j:
            load_panel(X, first, count, weight, P, centre, scale, right)
        for r in range(0, ROW_BLOCK, lanes):
            rows = Table(address_of(rows_of_U) + r * ADDRESS_BYTES, 0, lanes)
            place = Strided(address_of(U_T) + r * size, ROW_BLOCK * size)
            transpose_rows(P, rows, height, place)
        B = Table(address_of(rows_of_V), 0, ROW_BLOCK)
        C = Strided(address_of(total), width * size)
        add_product(P, address_of(U_T), B, height, width, C, i == j)
    for a in range(height):
        row = (left.first_class + a // left.n_features) * n_features
        row += left.first_feature + a % left.n_features
        for b in range(right.n_classes * right.n_features):
            column = (right.first_class + b // right.n_features) * n_features
            column += right.first_feature + b % right.n_features
            if i != j or b <= a:
                H[row, column] += total[a, b]
            if i != j or b < a:
                H[column, row] += total[a, b]
    keep_alive(U)
    keep_alive(V)
    keep_alive(U_T)


@jit_callable
def products_of_features(
    run: int,
    X: Rows,  # (N, D)
    weight: Array,  # (N,), float64
    P: Array,  # (N, K)
    intercept: int,  # 1: a feature that is always 1 follows the others; 0: none does
    centre: Array,  # (D,), of X's dtype
    scale: Array,  # (D,), likewise
    H: Array,  # (M, M), M = (K + 1) (D + intercept), float64
) -> None:
    """H += the sum of weight * (c u)(c u)', with c = (p, 1) of each row."""
    n_features = centre.size + intercept
    panels = ceil_div(P.shape[1] + 1, classes_of_panel(n_features)) * panels_of_class(n_features)
    arguments = (X, weight, P, intercept, centre, scale, H)
    for_each(run, panels * (panels + 1) // 2, add_products, arguments)
