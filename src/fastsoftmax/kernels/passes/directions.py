"""The directions of a sample of rows along which its second moment is largest, and rows along them.

Never materialised: the second moment itself, scaled rows. Writes: the iteration is one task; each
chunk of rows owns its projections.
"""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_callable, jit_inline
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.tiles.sizes import DIRECTIONS, chunk_rows
from fastsoftmax.kernels.vectors.memory import Array, Rows, item_bytes, load_row, load_scaled_row
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.spans import add_multiple, copy_multiple, dot


@jit_inline
def orthonormalise(Q: Array) -> None:
    """The rows of Q by Gram and Schmidt, twice; one that depends on those before becomes zero."""
    size = Q.shape[1] * item_bytes(Q)
    for j in range(Q.shape[0]):
        q = address_of(Q) + j * size
        before = dot(Q, q, q, size)
        for _ in range(2):
            for other in range(address_of(Q), q, size):
                add_multiple(Q, -dot(Q, other, q, size), other, q, size)
        norm = dot(Q, q, q, size)
        factor = 1 / math.sqrt(norm) if norm > 1e-24 * before else 0.0
        copy_multiple(Q, factor, q, q, size)


@jit_callable
def leading_directions(
    run: int,
    U: Array,  # (N, D), D a multiple of the lanes
    weight: Array,  # (N,)
    iterations: int,
    products: Array,  # (R, D)
    Q: Array,  # (R, D), where to begin
) -> None:
    """Q = orthonormal directions, products = the sum of weight * u'q * u for each.

    Orthogonal iteration (Golub and Van Loan 2013, section 8.2.4).
    """
    size = U.shape[1] * item_bytes(U)
    q, product = address_of(Q), address_of(products)
    for step in range(iterations + 1):
        if step > 0:
            copy_multiple(Q, 1.0, product, q, Q.shape[0] * size)
        orthonormalise(Q)
        copy_multiple(Q, 0.0, q, product, Q.shape[0] * size)
        for n in range(U.shape[0]):
            u = address_of(U) + n * size
            for j in range(Q.shape[0]):
                along = dot(U, u, q + j * size, size)
                add_multiple(U, weight[n] * along, u, product + j * size, size)


@jit
def project_chunk(
    c: int, X: Rows, n_rows: int, n_features: int, centre: Array, scale: Array, Q: Array, Y: Array
) -> None:
    """Chunk c of `project_rows`."""
    row = np.zeros(Q.shape[1], Q.dtype)
    size = Q.shape[1] * item_bytes(Q)
    for n in range(c * chunk_rows(n_rows), min((c + 1) * chunk_rows(n_rows), n_rows)):
        if centre.size:
            load_scaled_row(X, n, centre, scale, row, address_of(row))
        else:
            load_row(X, n, n_features, row, address_of(row))
        for j in range(DIRECTIONS):
            y = dot(Q, address_of(row), address_of(Q) + j * size, size)
            Y[n, j] = y if math.isfinite(y) else 0  # such a row is absent, or will be found out


@jit_callable
def project_rows(
    run: int,
    X: Rows,
    n_rows: int,
    n_features: int,
    centre: Array,  # (D,), or (0,) for features as they are
    scale: Array,
    Q: Array,  # (DIRECTIONS, D), in whole vectors
    Y: Array,  # (N, DIRECTIONS)
) -> None:
    """Y = the rows of X, centred and scaled, along the rows of Q."""
    n_chunks = -(-n_rows // chunk_rows(n_rows))
    arguments = (X, n_rows, n_features, centre, scale, Q, Y)
    for_each(run, n_chunks, project_chunk, arguments)
