"""How kernels see the caller's arrays: rows in any strides, read and written here alone.

A matrix reaches a kernel as `Rows`: an address, two strides in bytes, and an array that carries
the item type. One machine-code version then serves C and Fortran order, slices,
reversed, broadcast, read-only and memory-mapped arrays. A block of rows that lies
contiguous in the compute type is read in place; any other is copied into scratch of that type by
the functions below, so that a further item type is added in this file only.

Narrow rows, of one or two bytes a number, go as float32 whose array `item` is not empty, and are
widened as they are copied (`widening`). They need no kernels of their own, and whoever reads X
otherwise than by the functions below has to ask `widened` where its numbers are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.compile.jit import jit, jit_also, jit_inline
from fastsoftmax.kernels.vectors import simd
from fastsoftmax.kernels.vectors.vector_ir import VECTOR_BYTES, pointer
from fastsoftmax.kernels.vectors.widening import widened, widened_stride

Array = npt.NDArray[Any]

CACHE_LINE = 64
ADDRESS_BYTES = 8


class Rows(NamedTuple):
    """A two-dimensional array of any strides; the caller keeps the memory alive."""

    item: Array  # (0,), only its dtype counts; or of narrow items, from `narrow_item`
    address: int
    row_stride: int  # bytes
    column_stride: int  # bytes


class Strided(NamedTuple):
    """Rows of a matrix, groups of terms or cache lines, all equally far apart."""

    address: int
    stride: int  # bytes


class Table(NamedTuple):
    """Rows that lie anywhere, each so many bytes behind an address of a table."""

    addresses: int  # of the table
    offset: int  # bytes
    n: int


class SparseRows(NamedTuple):
    """Compressed sparse rows: values and columns (int32) of all entries, and where rows begin."""

    values: Array  # (0,), only its dtype counts
    at: int  # addresses
    indices: int
    indptr: int  # int64


@intrinsic
def item_bytes(typing_context: Any, array: Any) -> Any:
    """The size of an array's items, as a constant: `itemsize` is not one to the compiler."""
    size = array.dtype.bitwidth // 8
    return types.intp(array), lambda context, *_: context.get_constant(types.intp, size)


def fields(builder: ir.IRBuilder, view: Callable[..., Any], value: Any) -> Any:
    """A view in LLVM's code, for intrinsics to read by name: `view` is its class."""
    return view(*cgutils.unpack_tuple(builder, value))


@intrinsic
def load_item(typing_context: Any, item: Any, address: Any) -> Any:
    """The value of `item`'s dtype at `address`, aligned or not."""
    dtype = item.dtype

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        value = builder.load(pointer(builder, arguments[1], context.get_data_type(dtype)))
        value.align = 1
        return value

    return dtype(item, types.intp), codegen


@intrinsic
def load_address(typing_context: Any, table: Any, i: Any) -> Any:
    """Entry i of a table of addresses."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        entries = pointer(builder, arguments[0], ir.IntType(64))
        return builder.load(builder.gep(entries, [arguments[1]]))

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def load_int32(typing_context: Any, address: Any, i: Any) -> Any:
    """Number i of the integers of 32 bits at an address."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        entries = pointer(builder, arguments[0], ir.IntType(32))
        return builder.sext(builder.load(builder.gep(entries, [arguments[1]])), ir.IntType(64))

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def keep_alive(typing_context: Any, scratch: Any) -> Any:
    """Keep the memory of an array up to here: by its address alone, it would be freed before.

    No instruction comes of it, but Numba counts a use.
    """
    return types.void(scratch), lambda context, *_: context.get_dummy_value()


@intrinsic
def store_item(typing_context: Any, item: Any, address: Any, value: Any) -> Any:
    """Write `value`, converted to `item`'s dtype, at `address`, aligned or not."""
    dtype = item.dtype

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        place = pointer(builder, arguments[1], context.get_data_type(dtype))
        builder.store(context.cast(builder, arguments[2], value, dtype), place).align = 1
        return context.get_dummy_value()

    return types.void(item, types.intp, value), codegen


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for a cache line, for reading, into the second-level cache; any address will do."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        emit_prefetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


def emit_prefetch(builder: ir.IRBuilder, address: Any) -> None:
    """The instruction behind `prefetch`, for intrinsics that emit whole loops."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, locality, data = (ir.Constant(ir.IntType(32), value) for value in (0, 2, 1))
    builder.call(function, [builder.inttoptr(address, byte), read, locality, data])


@jit_inline
def row_start(X: SparseRows, n: int) -> int:
    """The first entry of row n."""
    return load_address(X.indptr, n)


@jit_inline
def load_column(X: SparseRows, e: int) -> int:
    """The column of entry e."""
    return load_int32(X.indices, e)


@jit_also
def skip_rows(rows: Table, r: int) -> Table:
    """Those from row r on."""
    return Table(rows.addresses + r * ADDRESS_BYTES, rows.offset, rows.n - r)


@jit_also
def first_rows(rows: Table, n: int) -> Table:
    """The first n of them, or all."""
    return Table(rows.addresses, rows.offset, min(rows.n, n))


@jit_also
def skip_bytes(rows: Table, n: int) -> Table:
    """The rows, each from its byte n on."""
    return Table(rows.addresses, rows.offset + n, rows.n)


@jit_inline
def skip_columns(X: Rows, d: int) -> Rows:
    """X[:, d:]."""
    return Rows(X.item, X.address + d * X.column_stride, X.row_stride, X.column_stride)


@jit
def load_row(X: Rows, n: int, n_columns: int, item: Array, target: int) -> None:
    """X[n, :n_columns], in item's dtype, at the address `target`.

    Not a slice of an array: its reference count is a locked instruction, which waits for memory.
    """
    start, stride = X.address + n * X.row_stride, widened_stride(X.item, X.column_stride)
    address = widened(X.item, start, X.column_stride, n_columns, item, target)
    if address == target:
        return
    done = 0
    if stride == item_bytes(X.item):
        lanes = VECTOR_BYTES // item_bytes(item)
        done = n_columns - n_columns % lanes
        for d in range(0, done, lanes):
            v = simd.load_lanes_of(item, X.item, address + d * item_bytes(X.item))
            simd.store(simd.convert(item, v), target + d * item_bytes(item))
    for d in range(done, n_columns):
        value = load_item(X.item, address + d * stride)
        store_item(item, target + d * item_bytes(item), value)


@jit
def load_scaled_row(X: Rows, n: int, centre: Array, scale: Array, item: Array, target: int) -> None:
    """As `load_row`, (X[n] - centre) * scale, computed in X's precision, that of both arrays."""
    start, stride = X.address + n * X.row_stride, widened_stride(X.item, X.column_stride)
    address = widened(X.item, start, X.column_stride, centre.size, item, target)
    done = 0
    if stride == item_bytes(X.item):
        lanes = VECTOR_BYTES // item_bytes(item)
        done = centre.size - centre.size % lanes
        for d in range(0, done, lanes):
            at = d * item_bytes(X.item)
            x = simd.load_lanes_of(item, X.item, address + at)
            mean = simd.load_lanes_of(item, X.item, simd.address_of(centre) + at)
            factor = simd.load_lanes_of(item, X.item, simd.address_of(scale) + at)
            v = simd.convert(item, (x - mean) * factor)
            simd.store(v, target + d * item_bytes(item))
    for d in range(done, centre.size):
        x_d = load_item(X.item, address + d * stride)
        store_item(item, target + d * item_bytes(item), (x_d - centre[d]) * scale[d])


@jit
def load_rows(X: Rows, first: int, n_rows: int, n_columns: int, item: Array, to: Strided) -> None:
    """X[first : first + n_rows, :n_columns], in item's dtype, as the rows `to`."""
    if abs(X.row_stride) < abs(X.column_stride):  # Fortran order: walk along the columns
        column, stride = np.empty(n_rows, X.item.dtype), widened_stride(X.item, X.row_stride)
        room = simd.address_of(column)
        for d in range(n_columns):
            start = X.address + first * X.row_stride + d * X.column_stride
            address = widened(X.item, start, X.row_stride, n_rows, column, room)
            for r in range(n_rows):
                value = load_item(X.item, address + r * stride)
                store_item(item, to.address + r * to.stride + d * item_bytes(item), value)
        keep_alive(column)
        return
    size = n_columns * item_bytes(item)
    if X.row_stride == n_columns * X.column_stride and to.stride == size:  # as one long row
        n_columns, n_rows = n_rows * n_columns, 1
    for r in range(n_rows):
        load_row(X, first + r, n_columns, item, to.address + r * to.stride)


@jit
def store_row(row: Array, n: int, out: Rows) -> None:
    """out[n, :K] = row (K,)."""
    address = out.address + n * out.row_stride
    for k in range(row.size):
        store_item(out.item, address + k * out.column_stride, row[k])
