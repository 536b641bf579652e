"""The register tile: the one matrix product behind both the logits and the gradient.

C[i, :] += sum over p of A[i, p] * B[p, :], for up to `MAX_ROWS` rows i and two vectors' width of
columns. The accumulators start from zero and stay in registers for the whole sum, which bounds the
rounding error of long sums too; each step loads two vectors of B and broadcasts one number of A
per row. Logits: A = W' , B = X', sum over features. Gradient:
A = residuals', B = X, sum over rows. Loops around the tile are portable; only `MAX_ROWS` is tuned.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.vector_ir import (
    VECTOR_BYTES,
    call,
    constant,
    llvm_vector,
    load_value,
    native,
    splat_value,
    store_value,
    suffix,
)

# Rows of a tile, by the bytes of a vector: as many as leave the accumulators (two vectors a row),
# two vectors of B and a broadcast in registers: 32 of them with AVX-512, 16 with AVX and SSE.
MAX_ROWS = {64: 14, 32: 6, 16: 6}[VECTOR_BYTES]
TILE_VECTORS = 2
TILE_BYTES = TILE_VECTORS * VECTOR_BYTES

CACHE_LINE = 64

_WORD = ir.IntType(64)


@intrinsic(prefer_literal=True)
def multiply_add(
    typing_context: Any,
    item: Any,
    n_rows: Any,
    A: Any,
    A_row_items: Any,
    A_stride: Any,
    B: Any,
    B_stride: Any,
    C: Any,
    C_row_stride: Any,
    n_terms: Any,
    ahead: Any,
) -> Any:
    """C (n_rows, 2 vectors) += A (n_rows, n_terms) B (n_terms, 2 vectors).

    A, B, C are addresses and strides are in bytes, but for the literal that says how many items
    A's rows are apart. 1 <= n_rows <= MAX_ROWS; n_terms may be 0. Each step also asks for the
    next cache line from `ahead` on, which need not be readable: memory that is wanted soon arrives
    while the tile computes.
    """
    vector = llvm_vector(native(item.dtype))
    A_row_bytes = A_row_items.literal_value * item.dtype.bitwidth // 8

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, n_rows_, A_, _, A_stride_, B_, B_stride_, C_, C_row_stride_, n_terms_, ahead_ = arguments
        start = builder.block
        end = builder.append_basic_block("tile.end")
        cases = []
        for rows in range(1, MAX_ROWS + 1):
            block = builder.append_basic_block(f"tile.{rows}")
            cases.append(block)
            builder.position_at_end(block)
            strides = (A_row_bytes, A_stride_, B_stride_, C_row_stride_)
            _emit_rows(builder, vector, rows, (A_, B_, C_, ahead_), strides, n_terms_, end)
        builder.position_at_end(start)
        switch = builder.switch(n_rows_, end)
        for rows, block in enumerate(cases, 1):
            switch.add_case(ir.Constant(n_rows_.type, rows), block)
        builder.position_at_end(end)
        return context.get_dummy_value()

    word = types.intp
    row_items = types.literal(A_row_items.literal_value)
    return (
        types.void(item, word, word, row_items, word, word, word, word, word, word, word),
        codegen,
    )


def prefetch(builder: ir.IRBuilder, address: Any) -> None:
    """Ask for a cache line, for reading, into the second-level cache."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, *[ir.IntType(32)] * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    read, locality, data = (ir.Constant(ir.IntType(32), value) for value in (0, 2, 1))
    builder.call(function, [builder.inttoptr(address, byte), read, locality, data])


def _emit_rows(
    builder: ir.IRBuilder,
    vector: ir.VectorType,
    rows: int,
    addresses: tuple[Any, Any, Any, Any],
    strides: tuple[int, Any, Any, Any],
    n_terms: Any,
    end: Any,
) -> None:
    """The tile for one number of rows: sum over the terms, then add the sums to C."""
    A, B, C, ahead = addresses
    A_row_stride, A_stride, B_stride, C_row_stride = strides

    def offset(base: Any, amount: int) -> Any:
        return builder.add(base, _WORD(amount)) if amount else base

    C_rows = [C]
    for _ in range(rows - 1):
        C_rows.append(builder.add(C_rows[-1], C_row_stride))
    columns = range(TILE_VECTORS)
    zeros = [constant(vector, 0.0)] * (rows * TILE_VECTORS)
    before = builder.block
    head = builder.append_basic_block("tile.head")
    body = builder.append_basic_block("tile.body")
    done = builder.append_basic_block("tile.done")
    builder.branch(head)

    builder.position_at_end(head)
    left = builder.phi(_WORD)
    a = builder.phi(_WORD)
    b = builder.phi(_WORD)
    line = builder.phi(_WORD)
    totals = [builder.phi(vector) for _ in zeros]
    builder.cbranch(builder.icmp_signed(">", left, _WORD(0)), body, done)

    builder.position_at_end(body)
    B_vectors = [load_value(builder, offset(b, j * VECTOR_BYTES), vector) for j in columns]
    new = []
    for i in range(rows):
        factor = load_value(builder, offset(a, i * A_row_stride), vector.element)
        spread = splat_value(builder, vector, factor)
        for j in columns:
            terms = [spread, B_vectors[j], totals[i * TILE_VECTORS + j]]
            new.append(call(builder, f"llvm.fmuladd.{suffix(vector)}", vector, terms))
    prefetch(builder, line)
    next_line = builder.add(line, _WORD(CACHE_LINE))
    next_left = builder.sub(left, _WORD(1))
    next_a, next_b = builder.add(a, A_stride), builder.add(b, B_stride)
    builder.branch(head)

    for phi, first, following in (
        (left, n_terms, next_left),
        (a, A, next_a),
        (b, B, next_b),
        (line, ahead, next_line),
        *zip(totals, zeros, new, strict=True),
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(following, body)

    builder.position_at_end(done)
    for i, c in enumerate(C_rows):
        for j in columns:
            address = offset(c, j * VECTOR_BYTES)
            old = load_value(builder, address, vector)
            store_value(builder, builder.fadd(old, totals[i * TILE_VECTORS + j]), address)
    builder.branch(end)
