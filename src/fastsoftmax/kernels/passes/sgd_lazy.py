"""Rows of weights that batches leave alone, and how they are brought up to date when needed.

A step of SGD moves the row y = (weights, velocity, average) of a feature that no row of the batch
has too: by momentum, the penalty and averaging, y <- M y, with the same 3 x 3 matrix for all. So
the products of these matrices since each step of a period are kept instead, and a row takes all
its steps at once when a batch has its feature, or the period ends: the steps are the dense ones, to
rounding. Where features are centred, each step also adds -centre[d] times a row that is the same
for all; its own trajectory from zero is kept, and rows are held without it (docs/math.md, "Steps
on sparse rows").
Writes: a block of rows owns its rows when a period ends; else one thread owns all.
"""

from __future__ import annotations

from typing import NamedTuple

from fastsoftmax.kernels.compile.jit import jit_borrowing, jit_callable_borrowing, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.passes.sgd_update import Steps
from fastsoftmax.kernels.tiles.sizes import ceil_div
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array, item_bytes
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

# Rows of a block.
_ROWS = 1024


class SparseState(NamedTuple):
    """What steps change. `Y` is up to date where `now` is zero.

    The features of the batch under way have slots: numbers from 0 on.
    """

    Y: Array  # (D, 2 or 3, K): weights, velocity and, if it is kept, average
    last: Array  # (D,), int32: the step of the period after which a row is right, or -1 - its slot
    now: Array  # (1,), steps of the period done
    products: Array  # (7, P + 1): of the steps after each, what becomes of (w, v, a): see `advance`
    centre: Array  # (D,), or (0,) for features that are not centred
    centring: Array  # (3, K): w, v and a, from zero, of a row that each step's sum r is added to
    shift: Array  # (3, K): centre'Y
    biases: Array  # (3, K): those of centred features, their velocity, the average of b
    b: Array  # (K,), what logits add
    check: Array  # (1,): zero, or NaN once some weight was not finite


@jit_inline
def stepped(
    w: float, v: float, gradient: float, i: int, momentum: float, steps: Steps
) -> tuple[float, float]:
    """(w, v) after step i."""
    v = momentum * v + gradient
    u = gradient + momentum * v if steps.nesterov else v
    return w - steps.learning_rate[i] * u, v


@jit_inline
def step_row(rows: Array, k: int, gradient: float, i: int, steps: Steps) -> None:
    """Step i of one number of each of the weights, velocity and average in rows (3, K)."""
    gradient += steps.l2 * rows[0, k]
    rows[0, k], rows[1, k] = stepped(rows[0, k], rows[1, k], gradient, i, steps.momentum, steps)
    rows[2, k] += steps.share[i] * (rows[0, k] - rows[2, k])


@jit_borrowing
def advance(i: int, steps: Steps, state: SparseState) -> None:
    """Step i for the products of all steps of the period, which then has one step more.

    Rows 0 to 2 are what a row (1, 0, 0) has become, 3 to 5 a row (0, 1, 0), 6 the last of
    (0, 0, 1).
    """
    products, now, share = state.products, state.now[0], steps.share[i]
    for first in range(0, 6, 3):
        for j in range(now + 1):
            w, v = products[first, j], products[first + 1, j]
            w, v = stepped(w, v, steps.l2 * w, i, steps.momentum, steps)
            products[first, j], products[first + 1, j] = w, v
            products[first + 2, j] += share * (w - products[first + 2, j])
    for j in range(now + 1):
        products[6, j] *= 1 - share
    begin(now + 1, state)


@jit_inline
def begin(now: int, state: SparseState) -> None:
    """So many steps of the period are done, none of which comes after this one."""
    state.now[0] = now
    for m in range(7):
        state.products[m, now] = 1.0 if m == 0 or m == 4 or m == 6 else 0.0


@jit_borrowing
def catch_up(d: int, state: SparseState) -> None:
    """Row d takes the steps that it has not taken."""
    j, now, products, b = state.last[d], state.now[0], state.products, state.b
    if j == now:
        return
    state.last[d] = now
    size, row_bytes = item_bytes(b), b.size * item_bytes(b)
    ww, vw, aw = products[0, j], products[1, j], products[2, j]
    wv, vv, av = products[3, j], products[4, j], products[5, j]
    place = address_of(state.Y) + d * state.Y.shape[1] * row_bytes
    for k in range(0, b.size, VECTOR_BYTES // size):
        at, left = place + k * size, b.size - k
        w = simd.load_first(b, at, left, 0)
        v = simd.load_first(b, at + row_bytes, left, 0)
        simd.store_first(simd.fma(w, simd.splat(b, ww), v * wv), at, left)
        simd.store_first(simd.fma(w, simd.splat(b, vw), v * vv), at + row_bytes, left)
        if state.Y.shape[1] == 3:
            a = simd.load_first(b, at + 2 * row_bytes, left, 0) * products[6, j]
            a = simd.fma(w, simd.splat(b, aw), simd.fma(v, simd.splat(b, av), a))
            simd.store_first(a, at + 2 * row_bytes, left)


@jit_borrowing
def finish_rows(c: int, state: SparseState) -> None:
    """Block c of the rows at the end of a period."""
    Y, centre, centring, last = state.Y, state.centre, state.centring, state.last
    for d in range(c * _ROWS, min((c + 1) * _ROWS, last.size)):
        catch_up(d, state)
        last[d] = 0
        if centre.size:
            for m in range(Y.shape[1]):
                for k in range(Y.shape[2]):
                    Y[d, m, k] -= centre[d] * centring[m, k]


@jit_inline
def end_period(run: int, state: SparseState) -> None:
    """All rows are up to date, and a new period begins."""
    for_each(run, ceil_div(state.last.size, _ROWS), finish_rows, (state,))
    centring, products = state.centring, state.products
    for m in range(7):
        state.check[0] += 0 * products[m, 0]
    for m in range(3):
        for k in range(centring.shape[1]):
            centring[m, k] = 0
    begin(0, state)


@jit_callable_borrowing
def bring_up_to_date(run: int, state: SparseState) -> None:
    """End the period under way."""
    end_period(run, state)
