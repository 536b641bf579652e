"""The inverse of a positive definite matrix, and products with it.

Gauss-Jordan elimination by blocks of rows: each step is one product of the register tile with the
whole matrix. Without pivoting, which a positive definite matrix does not need (Golub and Van Loan
2013, section 3.4 and 4.2). Writes: each slab of rows, or of columns, is one task's.
"""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.compile.jit import jit, jit_callable
from fastsoftmax.kernels.compile.parallel import for_each
from fastsoftmax.kernels.products.gradient import add_product
from fastsoftmax.kernels.tiles.packing import padded
from fastsoftmax.kernels.tiles.sizes import ROW_BLOCK, ceil_div
from fastsoftmax.kernels.vectors.memory import Array, Strided, Table, item_bytes, keep_alive
from fastsoftmax.kernels.vectors.simd import address_of
from fastsoftmax.kernels.vectors.spans import add_multiple, clear, copy_multiple

# Columns of the matrix that one task multiplies, and rows of it that one task eliminates.
_SLAB = ROW_BLOCK


@jit
def invert_block(A: Array, first: int, n: int, inverse: Array) -> bool:
    """inverse (n, n) of the block of A on its diagonal; whether all its pivots are positive."""
    for r in range(n):
        for c in range(n):
            inverse[r, c] = A[first + r, first + c]
    for p in range(n):
        pivot = inverse[p, p]
        if not pivot > 0:
            return False
        inverse[p, p] = 1
        for c in range(n):
            inverse[p, c] /= pivot
        for r in range(n):
            if r != p:
                factor = inverse[r, p]
                inverse[r, p] = 0
                for c in range(n):
                    inverse[r, c] -= factor * inverse[p, c]
    return True


@jit
def new_rows(slab: int, A: Array, first: int, n: int, block: Array, T: Array) -> None:
    """T (ROW_BLOCK, columns) = block times the pivots' rows of A; columns of one slab."""
    size, start = item_bytes(A), slab * _SLAB
    bytes_ = (min(start + _SLAB, A.shape[1]) - start) * size
    for r in range(n):
        target = address_of(T) + (r * T.shape[1] + start) * size
        clear(T, target, bytes_)
        for s in range(n):
            source = address_of(A) + ((first + s) * A.shape[1] + start) * size
            add_multiple(A, block[r, s], source, target, bytes_)


@jit
def eliminate(slab: int, A: Array, first: int, n: int, T: Array) -> None:
    """One slab of rows of A, less their part in the pivots' columns times T."""
    start, stop = slab * _SLAB, min((slab + 1) * _SLAB, A.shape[0])
    size = item_bytes(A)
    factors = np.zeros((_SLAB, ROW_BLOCK), A.dtype)
    for r in range(start, stop):
        if not first <= r < first + n:
            for s in range(n):
                factors[r - start, s] = -A[r, first + s]
    rows = np.empty(ROW_BLOCK, np.int64)
    for s in range(n):
        rows[s] = address_of(T) + s * T.shape[1] * size
    row_bytes = A.shape[1] * size
    B = Table(address_of(rows), 0, n)
    C = Strided(address_of(A) + start * row_bytes, row_bytes)
    add_product(A, address_of(factors), B, stop - start, A.shape[1], C, False)
    keep_alive(factors)
    keep_alive(rows)


@jit_callable
def invert(run: int, A: Array, n: int) -> bool:
    """A (n, n padded to whole tiles) becomes its inverse; False where a pivot is not positive."""
    T = np.zeros((ROW_BLOCK, A.shape[1]), A.dtype)
    block = np.zeros((ROW_BLOCK, ROW_BLOCK), A.dtype)
    slabs, bytes_ = ceil_div(A.shape[1], _SLAB), A.shape[1] * item_bytes(A)
    for first in range(0, n, ROW_BLOCK):
        count = min(ROW_BLOCK, n - first)
        if not invert_block(A, first, count, block):
            return False
        for_each(run, slabs, new_rows, (A, first, count, block, T))
        # eliminated like the others, the pivots' columns become minus themselves times the block
        for r in range(count):
            for c in range(count):
                T[r, first + c] = block[r, c] + (1.0 if r == c else 0.0)
        for_each(run, ceil_div(n, _SLAB), eliminate, (A, first, count, T))
        for r in range(count):
            source = address_of(T) + r * bytes_
            copy_multiple(A, 1.0, source, address_of(A) + (first + r) * bytes_, bytes_)
            A[first + r, first + r] -= 1
    return True


@jit
def multiply_slab(slab: int, A: Array, n: int, R: Array, out: Array) -> None:
    """out (K, n) = R A, columns of one slab."""
    start, stop = slab * _SLAB, min((slab + 1) * _SLAB, A.shape[1])
    n_rows, size = R.shape[0], item_bytes(A)
    total = np.zeros((n_rows, padded(stop - start, size)), A.dtype)
    factors = np.zeros((n_rows, ROW_BLOCK), A.dtype)
    rows = np.empty(ROW_BLOCK, np.int64)
    for first in range(0, n, ROW_BLOCK):
        count = min(ROW_BLOCK, n - first)
        for k in range(n_rows):
            for s in range(count):
                factors[k, s] = R[k, first + s]
        for s in range(count):
            rows[s] = address_of(A) + ((first + s) * A.shape[1] + start) * size
        B = Table(address_of(rows), 0, count)
        C = Strided(address_of(total), total.shape[1] * size)
        add_product(A, address_of(factors), B, n_rows, total.shape[1], C, False)
    for k in range(n_rows):
        for c in range(start, min(stop, n)):
            out[k, c] = total[k, c - start]
    keep_alive(factors)
    keep_alive(rows)


@jit_callable
def multiply(
    run: int,
    A: Array,  # (n, n padded), symmetric
    n: int,
    R: Array,  # (K, n)
    out: Array,  # (K, n)
) -> None:
    """out = R A."""
    for_each(run, ceil_div(A.shape[1], _SLAB), multiply_slab, (A, n, R, out))
