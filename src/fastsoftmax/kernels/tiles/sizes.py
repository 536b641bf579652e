"""How work is cut into blocks: from the sizes of the problem alone, never from the threads.

Sums are formed per block and combined in block order, which is why the bits of a result do not
depend on how many threads computed it.
"""

from __future__ import annotations

from fastsoftmax.kernels.compile.jit import jit_also

# Rows whose features and logits one helper call holds in cache. In turns, 32, 64 and 128 rows took
# 6.3, 6.3, 6.6 ms on 60000x784x10, 7.1, 6.6, 6.2 on 581012x54x7, 36.1, 36.8, 34.3 on 50000x768x100.
ROW_BLOCK = 64

# Terms of a sum that lie together where the register tile reads them: features of the packed
# weights, rows of the residuals.
A_GROUP = ROW_BLOCK

# Features whose transposed rows stay in the first-level cache between two tiles. In turns, 64, 128
# and 256 took 10.1, 10.9 and 14.4 ms on 200000x384x2, 31.5, 31.2, 32.0 on 60000x1024x20.
FEATURE_BLOCK = 128

# With at least so many features for each class, logits may be dot products along the features; with
# fewer, adding up the lanes of each costs more than transposing the rows.
FEATURES_PER_CLASS = 16

# Several tiles of classes read the rows of a block again, for which these must be short and the
# classes few. Time of the tile over that of dots, on one thread: 1.28 for 1024x10, 1.10 for 784x20,
# 0.90 for 512x20, 0.79 for 2048x10, 0.35 for 2048x100 in float32; 1.09 for 512x10, 0.65 for 1024x10
# in float64.
DOT_ROW_BYTES = 4096
DOT_CLASSES = 16

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

# With many classes and few rows in a chunk, making a partial gradient and adding it up takes too
# large a part of the work: those above this size are slabs too. In turns on one thread, chunks and
# slabs took 19.7 and 18.7 ms on 4096x2048x100 in float32, 22.6 and 20.5 on 4096x768x300, 32.1 and
# 30.2 on 8192x768x100 in float64. With chunks of 832 rows (50000x768x100) neither was the faster.
WIDE_PARTIAL_BYTES = 256 * 1024
WIDE_CLASSES = 48
WIDE_CHUNK_ROWS = 512

# Rows between two rounds of slabs: enough work to spread, and few enough that their residuals
# (SLAB_ROWS x K) stay in cache. A slab is one tile width of features by SLAB_TILES tiles of
# classes.
SLAB_ROWS = 512
SLAB_TILES = 16


# Features, of one class or of several, that a block of a Hessian is wide and high.
PANEL = 192

# Directions along which SGD's steps are shortened: texture, gas_drift, a common factor and rows of
# outliers came within half a point of the optimum's accuracy with 4 (docs/training.md).
DIRECTIONS = 4


# Numbers of a piece of a large array, where it is added to another or multiplied by it.
PIECE = 2**13


# Columns of sparse rows that always share a bucket.
COLUMN_GROUP = 64


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


# What costs much for each run of rows that is summed by itself (the sums of large gradients and
# Hessians) is done for leaves, runs of chunks of so many rows together.
MIN_LEAF_ROWS = 16384


def chunks_of_leaf(n_rows: int) -> int:
    """Chunks that a leaf has."""
    return ceil_div(MIN_LEAF_ROWS, chunk_rows(n_rows))


def leaf_rows(n_rows: int) -> int:
    """Rows per leaf: a whole number of chunks, at least MIN_LEAF_ROWS."""
    return chunk_rows(n_rows) * chunks_of_leaf(n_rows)


def n_leaves(n_rows: int) -> int:
    """Leaves that `leaf_rows` makes."""
    return ceil_div(n_rows, leaf_rows(n_rows))


# A slab of a leaf is as many rows as have so many logits and so many features at most. Its
# probabilities are held at once.
_SLAB_LOGITS = 2**19
_SLAB_FEATURES = 2**18
_SLAB_MOST = 2**14


def window_step(n_features: int, n_classes: int) -> int:
    """Rows of a slab, a power of two: a window begins at such a multiple after a leaf's start."""
    most = min(_SLAB_LOGITS // max(n_classes, 1), _SLAB_FEATURES // max(n_features, 1), _SLAB_MOST)
    return 1 << max(most.bit_length() - 1, SLAB_ROWS.bit_length() - 1)


def partials_fit(n_rows: int, n_features: int, n_classes: int, itemsize: int) -> bool:
    """Whether each chunk may have a partial gradient of its own."""
    costly = n_classes >= WIDE_CLASSES and chunk_rows(n_rows) < WIDE_CHUNK_ROWS
    limit = WIDE_PARTIAL_BYTES if costly else MAX_PARTIAL_BYTES
    return n_features * n_classes * itemsize <= limit


# Rows of an SGD batch that is cut by features take up to so many bytes: they are read twice, the
# second time from cache. Batches of 256, 512, 1024 rows of 60000x784x10 took 17.0, 17.2, 19.9 ms an
# epoch so, and 20.8, 18.5, 19.6 cut by rows; batches of 512 of 20000x4096x10 took 40.2 and 29.0.
MAX_BATCH_BYTES = 2 * 1024 * 1024

# A batch that is cut by rows has at most so many partial gradients, and so many bytes of them.
MAX_BATCH_CHUNKS = 16
MAX_BATCH_PARTIAL_BYTES = 32 * 1024 * 1024

# Operations of a batch that are worth a second thread, and those that are worth another slab.
MIN_SHARED_FLOPS = 500_000
MIN_SLAB_FLOPS = 5_000_000
MAX_SLABS = 16

# Operations on a logit: exponential, sum, loss and residual.
_FLOPS_PER_LOGIT = 25


def pays_to_share(n_rows: int, n_classes: int, n_features: int = 0) -> bool:
    """Whether a pass over so many rows is worth a second thread, which does not change its bits."""
    flops = n_rows * n_classes * (4 * n_features + _FLOPS_PER_LOGIT)
    return flops >= MIN_SHARED_FLOPS


def sgd_slab_width(batch_size: int, n_features: int, n_classes: int, itemsize: int) -> int:
    """Features of a slab that one task owns in every batch of SGD; 0: batches are cut by rows."""
    flops = 4 * batch_size * n_features * n_classes
    n_groups = ceil_div(n_features, A_GROUP)
    n_slabs = 1
    if flops >= MIN_SHARED_FLOPS:
        n_slabs = min(max(flops // MIN_SLAB_FLOPS, 2), MAX_SLABS)
        n_slabs = 1 << (n_slabs.bit_length() - 1)  # threads are mostly even in number
    too_narrow = n_groups < min(n_slabs, 2)
    if too_narrow or batch_size * n_features * itemsize > MAX_BATCH_BYTES:
        return 0
    return ceil_div(n_groups, min(n_slabs, n_groups)) * A_GROUP


def sgd_chunk_rows(batch_size: int, n_features: int, n_classes: int, itemsize: int) -> int:
    """Rows of a chunk of a batch of SGD that is cut by rows."""
    gradient_bytes = n_features * n_classes * itemsize + 1
    chunks = min(MAX_BATCH_CHUNKS, max(MAX_BATCH_PARTIAL_BYTES // gradient_bytes, 1))
    return ceil_div(ceil_div(batch_size, chunks), ROW_BLOCK) * ROW_BLOCK
