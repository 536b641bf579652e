"""Rows turned into columns: a vector of the result holds one feature of `lanes` samples."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.kernels import simd, vector_ir
from fastsoftmax.kernels._jit import jit
from fastsoftmax.kernels.memory import Array, item_bytes, load_address, load_item, store_item
from fastsoftmax.kernels.vector_ir import VECTOR_BYTES

_WORD = ir.IntType(64)


@intrinsic(prefer_literal=True)
def transpose_tile(
    typing_context: Any,
    item: Any,
    rows: Any,
    offset: Any,
    target: Any,
    target_stride: Any,
    n_columns: Any,
) -> Any:
    """target (lanes, lanes) = (lanes, n_columns)', of the rows whose addresses lie at `rows`.

    `offset` and strides are in bytes. A literal n_columns means whole rows of `lanes`; otherwise
    only n_columns of them are read.
    """
    vector = vector_ir.llvm_vector(vector_ir.native(item.dtype))
    whole = isinstance(n_columns, types.Literal)
    columns = types.literal(n_columns.literal_value) if whole else types.intp

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, rows_, offset_, target_, target_stride_, n_columns_ = arguments
        table = vector_ir.pointer(builder, rows_, _WORD)
        zero = ir.Constant(vector.element, 0.0)
        rows = []
        for i in range(vector.count):
            address = builder.load(builder.gep(table, [_WORD(i)]))
            source = builder.add(address, offset_)
            if whole:
                rows.append(vector_ir.load_value(builder, source, vector))
            else:
                rows.append(vector_ir.load_masked(builder, source, vector, n_columns_, zero))
        for row in _transposed(builder, rows, vector.count):
            vector_ir.store_value(builder, row, target_)
            target_ = builder.add(target_, target_stride_)
        return context.get_dummy_value()

    word = types.intp
    return types.void(item, word, word, word, word, columns), codegen


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
        for row in _transposed(builder, rows, vector.count):
            if whole:
                vector_ir.store_value(builder, row, target_)
            else:
                vector_ir.store_masked(builder, row, target_, n_columns_)
            target_ = builder.add(target_, target_stride_)
        return context.get_dummy_value()

    word = types.intp
    return types.void(item, word, word, word, word, columns), codegen


def _transposed(builder: ir.IRBuilder, rows: list[Any], lanes: int) -> list[Any]:
    """Swap blocks off the diagonal: halves of the rows first, then quarters and so on."""
    size = lanes // 2
    while size:
        for i in range(lanes):
            if i & size:
                continue
            a, b = rows[i], rows[i + size]
            upper = [lanes + j - size if j & size else j for j in range(lanes)]
            lower = [lanes + j if j & size else j + size for j in range(lanes)]
            rows[i] = builder.shuffle_vector(a, b, _indices(upper))
            rows[i + size] = builder.shuffle_vector(a, b, _indices(lower))
        size //= 2
    return rows


def _indices(numbers: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


@jit
def transpose_rows(
    item: Array,
    rows: int,
    offset: int,
    n_rows: int,
    n_columns: int,
    target: int,
    stride: int,
) -> None:
    """target (n_columns, lanes) = (n_rows, n_columns)', zeros beyond n_rows <= lanes.

    The addresses of the rows lie at `rows`; columns begin `offset` bytes into them. Rows of the
    target are one vector long and `stride` bytes apart; there must be room for n_columns rounded
    up to the next multiple of `lanes`.
    """
    size = item_bytes(item)
    lanes = VECTOR_BYTES // size
    if n_rows == lanes:
        whole = n_columns - n_columns % lanes
        for d in range(0, whole, lanes):
            transpose_tile(item, rows, offset + d * size, target + d * stride, stride, -1)
        rest = n_columns - whole
        if rest:
            place = target + whole * stride
            transpose_tile(item, rows, offset + whole * size, place, stride, rest)
        return
    for d in range(n_columns):
        simd.store(simd.splat(item, 0.0), target + d * stride)
        for r in range(n_rows):
            value = load_item(item, load_address(rows, r) + offset + d * size)
            store_item(item, target + d * stride + r * size, value)


@jit
def transpose_rows_back(
    item: Array,
    source: int,
    stride: int,
    n_rows: int,
    n_columns: int,
    target: int,
    target_stride: int,
) -> None:
    """target (n_rows, n_columns) = source (n_columns, lanes)', for n_rows <= lanes.

    Rows of the source are `stride` bytes apart, and their number must be readable up to the next
    multiple of `lanes`.
    """
    lanes = VECTOR_BYTES // item_bytes(item)
    if n_rows == lanes:
        whole = n_columns - n_columns % lanes
        for k in range(0, whole, lanes):
            address = target + k * item_bytes(item)
            transpose_tile_back(item, source + k * stride, stride, address, target_stride, -1)
        if n_columns > whole:
            address = target + whole * item_bytes(item)
            rest = n_columns - whole
            transpose_tile_back(item, source + whole * stride, stride, address, target_stride, rest)
        return
    for r in range(n_rows):
        for k in range(n_columns):
            value = load_item(item, source + k * stride + r * item_bytes(item))
            store_item(item, target + r * target_stride + k * item_bytes(item), value)
