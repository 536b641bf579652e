"""Rows turned into columns: a vector of the result holds one feature of `lanes` samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.kernels.compile.jit import jit
from fastsoftmax.kernels.vectors import simd, vector_ir
from fastsoftmax.kernels.vectors.memory import (
    Array,
    Strided,
    Table,
    item_bytes,
    load_address,
    load_item,
    store_item,
)
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES

_WORD = ir.IntType(64)

# What x86 shuffles within cheaply; to swap more than that takes longer.
PIECE_BYTES = 16


@intrinsic
def transpose_tile(
    typing_context: Any, item: Any, rows: Any, offset: Any, target: Any, target_stride: Any
) -> Any:
    """target (lanes, lanes) = (lanes, lanes)', of the rows whose addresses lie at `rows`.

    `offset` and strides are in bytes.
    """
    vector, piece = _vector_and_piece(item)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        sources = _sources(builder, arguments, vector)
        _, _, _, target_, target_stride_ = arguments
        starts = range(0, VECTOR_BYTES, PIECE_BYTES)

        def load(row: int, start: int) -> Any:
            return vector_ir.load_value(builder, builder.add(sources[row], _WORD(start)), piece)

        # All pieces of a row in a row: rows may lie so that few of them fit in the cache at once.
        gathered = [
            [_joined(builder, [load(row, start) for row in rows]) for start in starts]
            for rows in _every(piece.count, vector.count)
        ]
        for n, _ in enumerate(starts):
            rows = [pieces[n] for pieces in gathered]
            for column in interleaved(builder, rows, vector.count):
                vector_ir.store_value(builder, column, target_)
                target_ = builder.add(target_, target_stride_)
        return context.get_dummy_value()

    return types.void(item, *[types.intp] * 4), codegen


@intrinsic
def transpose_piece(
    typing_context: Any,
    item: Any,
    rows: Any,
    offset: Any,
    target: Any,
    target_stride: Any,
    n_columns: Any,
) -> Any:
    """As `transpose_tile`, but of up to PIECE_BYTES of each row.

    Only n_columns of them are read; the rest of a whole piece become rows of zeros.
    """
    vector, piece = _vector_and_piece(item)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        *places, n_columns_ = arguments
        sources = _sources(builder, places, vector)
        _, _, _, target_, target_stride_ = places
        zero = ir.Constant(piece.element, 0.0)
        pieces = [
            vector_ir.load_masked(builder, source, piece, n_columns_, zero) for source in sources
        ]
        rows = [
            _joined(builder, [pieces[row] for row in rows])
            for rows in _every(piece.count, vector.count)
        ]
        for column in interleaved(builder, rows, vector.count):
            vector_ir.store_value(builder, column, target_)
            target_ = builder.add(target_, target_stride_)
        return context.get_dummy_value()

    return types.void(item, *[types.intp] * 5), codegen


def _vector_and_piece(item: Any) -> tuple[ir.VectorType, ir.VectorType]:
    vector = vector_ir.llvm_vector(vector_ir.native(item.dtype))
    return vector, ir.VectorType(vector.element, PIECE_BYTES * vector.count // VECTOR_BYTES)


def _sources(builder: ir.IRBuilder, arguments: Any, vector: ir.VectorType) -> list[Any]:
    """The addresses to read from: those of a table, each `offset` bytes further on."""
    _, rows, offset, *_ = arguments
    table = vector_ir.pointer(builder, rows, _WORD)
    places = [builder.gep(table, [_WORD(i)]) for i in range(vector.count)]
    return [builder.add(builder.load(place), offset) for place in places]


@intrinsic(prefer_literal=True)
def transpose_tile_back(
    typing_context: Any,
    item: Any,
    source: Any,
    source_stride: Any,
    target: Any,
    target_stride: Any,
    n_columns: Any,
) -> Any:
    """target (lanes, n_columns) = source (lanes, lanes)', written without the columns beyond.

    A literal n_columns means whole rows of `lanes`. All of the source is read.
    """
    vector = vector_ir.llvm_vector(vector_ir.native(item.dtype))
    whole = isinstance(n_columns, types.Literal)
    columns = types.literal(n_columns.literal_value) if whole else types.intp

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, source_, source_stride_, target_, target_stride_, n_columns_ = arguments
        rows = []
        for _ in range(vector.count):
            rows.append(vector_ir.load_value(builder, source_, vector))
            source_ = builder.add(source_, source_stride_)
        for row in _transposed(builder, rows, vector):
            if whole:
                vector_ir.store_value(builder, row, target_)
            else:
                vector_ir.store_masked(builder, row, target_, n_columns_)
            target_ = builder.add(target_, target_stride_)
        return context.get_dummy_value()

    word = types.intp
    return types.void(item, word, word, word, word, columns), codegen


def _transposed(builder: ir.IRBuilder, rows: list[Any], vector: ir.VectorType) -> list[Any]:
    """Square: pieces off the diagonal are swapped, halves of the rows first, then within pieces."""
    lanes = vector.count
    width = lanes * PIECE_BYTES // VECTOR_BYTES
    size = lanes // 2
    while size >= width:
        for i in range(lanes):
            if i & size:
                continue
            a, b = rows[i], rows[i + size]
            upper = [lanes + j - size if j & size else j for j in range(lanes)]
            lower = [lanes + j if j & size else j + size for j in range(lanes)]
            rows[i] = builder.shuffle_vector(a, b, indices(upper))
            rows[i + size] = builder.shuffle_vector(a, b, indices(lower))
        size //= 2
    groups = [rows[first : first + width] for first in range(0, lanes, width)]
    return [row for group in groups for row in interleaved(builder, group, lanes)]


def _every(step: int, lanes: int) -> list[range]:
    """For each of `step` vectors, the rows whose pieces it is made of."""
    return [range(first, lanes, step) for first in range(step)]


def _joined(builder: ir.IRBuilder, pieces: list[Any]) -> Any:
    """One vector of the pieces, which costs x86 a load and a blend for each, not a shuffle."""
    while len(pieces) > 1:
        both = indices(list(range(2 * pieces[0].type.count)))
        pairs = zip(pieces[::2], pieces[1::2], strict=True)
        pieces = [builder.shuffle_vector(a, b, both) for a, b in pairs]
    return pieces[0]


def interleaved(builder: ir.IRBuilder, rows: list[Any], lanes: int) -> list[Any]:
    """Each run of as many lanes as there are rows is transposed by itself.

    In each step the first half of the rows is interleaved with the second, the lower half of each
    run and then the upper.
    """
    width = len(rows)
    half = width // 2
    for _ in range(width.bit_length() - 1):
        pairs = list(zip(rows[:half], rows[half:], strict=True))
        rows = []
        for a, b in pairs:
            for start in (0, half):
                taken = [run + start + j for run in range(0, lanes, width) for j in range(half)]
                both = [lane for j in taken for lane in (j, lanes + j)]
                rows.append(builder.shuffle_vector(a, b, indices(both)))
    return rows


def indices(numbers: Sequence[int]) -> ir.Constant:
    """The lanes that a shuffle takes."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


@jit
def transpose_rows(item: Array, rows: Table, n_columns: int, target: Strided) -> None:
    """target (n_columns, lanes) = rows (n, n_columns)', zeros beyond the last; of more, the first.

    Rows of the target are one vector long; there must be room for n_columns rounded up to the next
    multiple of `lanes`.
    """
    size = item_bytes(item)
    lanes = VECTOR_BYTES // size
    table, offset, stride = rows.addresses, rows.offset, target.stride
    if rows.n >= lanes and n_columns >= lanes:
        for d in range(0, n_columns, lanes):
            first = min(d, n_columns - lanes)  # the last tile begins within the one before
            place = target.address + first * stride
            transpose_tile(item, table, offset + first * size, place, stride)
        return
    if rows.n >= lanes:
        for d in range(0, n_columns, PIECE_BYTES // size):
            first = max(min(d, n_columns - PIECE_BYTES // size), 0)
            place = target.address + first * stride
            transpose_piece(item, table, offset + first * size, place, stride, n_columns - first)
        return
    for d in range(n_columns):
        place = target.address + d * stride
        simd.store(simd.splat(item, 0.0), place)
        for r in range(rows.n):
            value = load_item(item, load_address(table, r) + offset + d * size)
            store_item(item, place + r * size, value)


@jit
def transpose_rows_back(
    item: Array, source: Strided, n_rows: int, n_columns: int, target: Strided
) -> None:
    """target (n_rows, n_columns) = source (n_columns, lanes)', for n_rows <= lanes.

    The source must be readable up to the next multiple of `lanes` of its rows.
    """
    size, stride = item_bytes(item), source.stride
    lanes = VECTOR_BYTES // size
    if n_rows == lanes:
        whole = n_columns - n_columns % lanes
        for k in range(0, whole, lanes):
            at, place = source.address + k * stride, target.address + k * size
            transpose_tile_back(item, at, stride, place, target.stride, -1)
        if n_columns > whole:
            at, place = source.address + whole * stride, target.address + whole * size
            transpose_tile_back(item, at, stride, place, target.stride, n_columns - whole)
        return
    for r in range(n_rows):
        for k in range(n_columns):
            value = load_item(item, source.address + k * stride + r * size)
            store_item(item, target.address + r * target.stride + k * size, value)
