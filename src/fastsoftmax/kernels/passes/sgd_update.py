"""The step of SGD: what the gradient of a batch does to weights and biases.

Steps are those on scaled features u = s * (x - m), shortened along a few directions q_j of them
in which the loss bends most; the weights stay those of x, the features as the kernel reads them
(docs/math.md, "Steps on scaled features"). With G = X'R and r = R'1 of the weighted residuals R,
a step moves the weights along

    s**2 * G + l2 W - (s**2 * m) r' - sum over j of (s * q_j) h_j',  h_j = shrink_j (U'R + l2 V)'q_j

and the biases c of the scaled features along a multiple of r; the logits use b = c - W'm.
Writes: a class or a slab of features owns its part of all arrays.
"""

from __future__ import annotations

from typing import NamedTuple

from fastsoftmax.kernels.compile.jit import jit_inline
from fastsoftmax.kernels.tiles.sizes import DIRECTIONS, ROW_BLOCK
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.memory import Array, Rows, item_bytes, load_item
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES


class Steps(NamedTuple):
    """How far the steps go.

    gradient = (N / sum of weights) / rows of the batch * (sum over the batch) + l2 W
    velocity = momentum * velocity + gradient
    W = W - learning_rate * (gradient + momentum * velocity if nesterov else velocity)
    average = average + share * (W - average)
    and likewise for b, without l2; the gradient is bent as the head of this file says.
    """

    learning_rate: Array  # of each batch
    share: Array  # of each batch in the average
    weight_scale: float  # N / sum of weights
    l2: float
    momentum: float
    nesterov: bool


class Frame(NamedTuple):
    """How steps on scaled features look in those that the kernel reads.

    Arrays over the features are as long as whole groups of packed weights.
    """

    along: Array  # (1 + DIRECTIONS, D): s**2 * m, then s * q_j
    squared_scale: Array  # (D,): s**2, ones for features as they are
    mean: Array  # (D,): m, zeros for features as they are
    shrink: Array  # (DIRECTIONS,): 1 - how much of a step is left along q_j; zeros for none
    bias_step: float  # how much of a step of the biases is left
    projections: Rows  # (N, DIRECTIONS): u'q_j of each row; one row of zeros, repeated, for none


class State(NamedTuple):
    """What steps change; weights, velocity and average are packed alike.

    A batch has C chunks or, by slabs of features, C blocks of rows.
    """

    n_features: int
    W: Array
    b: Array  # (K,), what logits add
    c: Array  # (K,), biases of the scaled features
    velocity_W: Array
    velocity_c: Array
    average_W: Array  # empty where no step has a share
    average_b: Array
    along: Array  # (DIRECTIONS, K): V'q_j, in float64
    velocity_along: Array
    bend: Array  # (1 + DIRECTIONS, K): r and h_j of the step
    shift: Array  # (S, K, lanes): W'm, of each slab of features, not added up over the lanes
    partial_G_T: Array  # (C, K, padded D), or (0, ...) by slabs
    partial_g: Array  # (C, 1 + DIRECTIONS, K): sums of residuals, as they are and times u'q_j
    partial_loss: Array  # (C,)


@jit_inline
def load_projections(rows: Rows, n: int, r: int, Y_T: Array) -> None:
    """Y_T[:, r] = the projections of row n."""
    address = rows.address + n * rows.row_stride
    for j in range(DIRECTIONS):
        Y_T[j, r] = load_item(rows.item, address + j * item_bytes(rows.item))


@jit_inline
def add_projected_sums(Z_T: Array, Y_T: Array, sums: Array) -> None:
    """sums[1 + j] (K,) += the block's residuals times its projections Y_T[j], in float64."""
    row_bytes = ROW_BLOCK * item_bytes(Z_T)
    for k in range(Z_T.shape[0]):
        z = address_of(Z_T) + k * row_bytes
        for j in range(DIRECTIONS):
            total = simd.splat(Z_T, 0)
            y = address_of(Y_T) + j * row_bytes
            for at in range(0, row_bytes, VECTOR_BYTES):
                total = simd.fma(simd.load(Z_T, z + at), simd.load(Z_T, y + at), total)
            sums[1 + j, k] += simd.reduce_add(simd.widen(total))


@jit_inline
def begin_update(k: int, n_partials: int, i: int, steps: Steps, frame: Frame, state: State) -> None:
    """What step i needs for class k, from the first n_partials sums; and the step of c[k]."""
    g, bend, rate = state.partial_g, state.bend, steps.learning_rate[i]
    for j in range(DIRECTIONS):
        gradient = steps.l2 * state.along[j, k]
        for m in range(n_partials):
            gradient += g[m, 1 + j, k]
        h = frame.shrink[j] * gradient
        bend[1 + j, k] = h
        v = steps.momentum * state.velocity_along[j, k] + (gradient - h)
        state.velocity_along[j, k] = v
        u = (gradient - h) + steps.momentum * v if steps.nesterov else v
        state.along[j, k] -= rate * u
    gradient = 0.0
    for m in range(n_partials):
        gradient += g[m, 0, k]
    bend[0, k] = gradient
    gradient *= frame.bias_step
    c, velocity = state.c, state.velocity_c
    velocity[k] = steps.momentum * velocity[k] + gradient
    u = gradient + steps.momentum * velocity[k] if steps.nesterov else velocity[k]
    c[k] -= rate * u


@jit_inline
def end_update(k: int, i: int, steps: Steps, state: State) -> None:
    """b[k] after step i, all of whose weights are there."""
    b, average, shift = state.b, state.average_b, state.shift
    total = 0.0
    address = address_of(shift) + k * VECTOR_BYTES
    for s in range(shift.shape[0]):
        part = simd.load(b, address + s * shift.shape[1] * VECTOR_BYTES)
        total += simd.reduce_add(simd.widen(part))
    b[k] = state.c[k] - total
    average[k] += steps.share[i] * (b[k] - average[k])


class Run(NamedTuple):
    """Features of a class whose weights lie one after another."""

    k: int  # the class
    first: int  # the first feature
    size: int  # bytes
    packed: int  # where in the packed weights, in bytes
    shift: int  # the address of the vector to which their share of W'm is added
    G: int  # the address of their gradient
    n_parts: int  # in which it comes
    part_bytes: int  # how far these are apart


@jit_inline
def update_run(i: int, run: Run, steps: Steps, frame: Frame, state: State) -> None:
    """Step i for a run of weights, a vector at a time."""
    b, share, bend = state.b, steps.share[i], state.bend
    momentum, l2 = simd.splat(b, steps.momentum), simd.splat(b, steps.l2)
    minus_rate, part = simd.splat(b, -steps.learning_rate[i]), simd.splat(b, share)
    W, V = address_of(state.W) + run.packed, address_of(state.velocity_W) + run.packed
    average = address_of(state.average_W) + run.packed
    first = run.first * item_bytes(b)
    squared_scale, mean = address_of(frame.squared_scale) + first, address_of(frame.mean) + first
    along, row_bytes = address_of(frame.along) + first, frame.along.shape[1] * item_bytes(b)
    moved = simd.load(b, run.shift)
    for at in range(0, run.size, VECTOR_BYTES):
        g = simd.load(b, run.G + at)
        for m in range(1, run.n_parts):
            g += simd.load(b, run.G + m * run.part_bytes + at)
        w = simd.load(b, W + at)
        g = simd.fma(w, l2, g * simd.load(b, squared_scale + at))
        for j in range(1 + DIRECTIONS):
            bent = simd.splat(b, -bend[j, run.k])
            g = simd.fma(simd.load(b, along + j * row_bytes + at), bent, g)
        v = simd.fma(simd.load(b, V + at), momentum, g)
        simd.store(v, V + at)
        u = simd.fma(v, momentum, g) if steps.nesterov else v
        w = simd.fma(u, minus_rate, w)
        simd.store(w, W + at)
        moved = simd.fma(simd.load(b, mean + at), w, moved)
        if share > 0:
            a = simd.load(b, average + at)
            simd.store(simd.fma(w - a, part, a), average + at)
    simd.store(moved, run.shift)
