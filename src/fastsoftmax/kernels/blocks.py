"""How work is cut into blocks: from the sizes of the problem alone, never from the threads.

Sums are formed per block and combined in block order, which is why the bits of a result do not
depend on how many threads computed it.
"""

from __future__ import annotations

from fastsoftmax.kernels._jit import jit_also

# Rows whose features and logits one helper call holds in cache. In turns, 32, 64 and 128 rows took
# 6.3, 6.3, 6.6 ms on 60000x784x10, 7.1, 6.6, 6.2 on 581012x54x7, 36.1, 36.8, 34.3 on 50000x768x100.
ROW_BLOCK = 64

# Features whose transposed rows stay in the first-level cache between two tiles.
FEATURE_BLOCK = 256

# Chunks of rows with a partial gradient each: enough to keep many cores evenly busy, few enough
# that adding them up costs nothing.
MAX_CHUNKS = 64

# Fewer rows would make a chunk's own partial gradient a large part of its work: 4096x784x10 went
# from 0.63 to 0.49 ms with this bound and a cheaper last tile of features.
MIN_CHUNK_ROWS = 256

# A partial gradient up to this size is added to in the second-level cache, and MAX_CHUNKS of them
# take 64 MB; 4000x4096x33 in float32 went from 20.9 to 14.2 ms with 1 MB in place of half of it.
# Larger gradients are cut into slabs of features instead, which threads own.
MAX_PARTIAL_BYTES = 1024 * 1024

# Rows between two rounds of slabs: enough work to spread, and few enough that their residuals
# (SLAB_ROWS x K) stay in cache. A slab is one tile width of features by SLAB_TILES tiles of
# classes.
SLAB_ROWS = 512
SLAB_TILES = 16


@jit_also
def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


@jit_also
def chunk_rows(n_rows: int) -> int:
    """Rows per chunk: a multiple of ROW_BLOCK, at least MIN_CHUNK_ROWS, for MAX_CHUNKS at most."""
    return max(ceil_div(ceil_div(n_rows, MAX_CHUNKS), ROW_BLOCK) * ROW_BLOCK, MIN_CHUNK_ROWS)


@jit_also
def n_chunks(n_rows: int) -> int:
    """Chunks of rows that `chunk_rows` makes."""
    return ceil_div(n_rows, chunk_rows(n_rows))


def partials_fit(n_features: int, n_classes: int, itemsize: int) -> bool:
    """Whether each chunk may have a partial gradient of its own."""
    return n_features * n_classes * itemsize <= MAX_PARTIAL_BYTES
