"""The register tile: the one matrix product behind both the logits and the gradient.

C[i, :] += sum over p of A[i, p] * B[p, :], for up to `MAX_ROWS` rows i and two vectors' width of
columns. The accumulators start from zero and stay in registers for the whole sum, which bounds the
rounding error of long sums too; each step loads two vectors of B and broadcasts one number of A
per row. Logits: A = W', B = X', sum over features. Gradient: A = residuals', B = X, sum over rows.
Both lay A out alike, in groups of A_GROUP terms, so that one piece of code serves both: it is what
takes longest to compile. Loops around the tile are portable; only `MAX_ROWS` is tuned.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.kernels.compile.jit import overload
from fastsoftmax.kernels.tiles.sizes import A_GROUP
from fastsoftmax.kernels.vectors.memory import Array, Strided, Table, emit_prefetch, fields
from fastsoftmax.kernels.vectors.vector_ir import (
    VECTOR_BYTES,
    VECTOR_REGISTERS,
    call,
    constant,
    llvm_vector,
    load_value,
    native,
    pointer,
    splat_value,
    store_value,
    suffix,
)

# Rows of a tile, by the bytes of a vector and the number of registers: as many as leave the
# accumulators (two vectors a row), two vectors of B and numbers of A in registers. AVX-512, AArch64
# (where LLVM loads numbers of A early, and spills with 14 rows), AVX, SSE.
MAX_ROWS = {(64, 32): 14, (16, 32): 12, (32, 16): 6, (16, 16): 6}[VECTOR_BYTES, VECTOR_REGISTERS]
TILE_VECTORS = 2
TILE_BYTES = TILE_VECTORS * VECTOR_BYTES

_WORD = ir.IntType(64)


def multiply_add(
    item: Array, height: int, A: Strided, B: Table, C: Strided, ahead: Strided
) -> None:
    """C (height, 2 vectors) += A (height, n) B (n, 2 vectors), for the n rows of B.

    A is groups (height, A_GROUP), the last as long as the others; rows of X, as B, are read
    wherever they are. 1 <= height <= MAX_ROWS; n may be 0. Each step also asks for a line of
    `ahead`, which need not be readable: memory that is wanted soon arrives while the tile computes.
    """
    raise NotImplementedError("compiled code only")


# An overload, since a compiled function has a version for each literal among its arguments, too,
# and each of the tile is a quarter of a second of compilation.
@overload(multiply_add)
def _one_multiply_add(item, height, A, B, C, ahead):  # type: ignore[no-untyped-def]
    return lambda item, height, A, B, C, ahead: _multiply_add(item, height, A, B, C, ahead)


@intrinsic
def _multiply_add(
    typing_context: Any, item: Any, height: Any, A: Any, B: Any, C: Any, ahead: Any
) -> Any:
    vector = llvm_vector(native(item.dtype))

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, height_, *views = arguments
        builder.function.attributes.add("noinline")  # compiled once for both products
        start = builder.block
        end = builder.append_basic_block("tile.end")
        cases = []
        for rows in range(1, MAX_ROWS + 1):
            block = builder.append_basic_block(f"tile.{rows}")
            cases.append(block)
            builder.position_at_end(block)
            _emit_rows(builder, vector, rows, views, end)
        builder.position_at_end(start)
        switch = builder.switch(height_, end)
        for rows, block in enumerate(cases, 1):
            switch.add_case(ir.Constant(height_.type, rows), block)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(item, types.intp, A, B, C, ahead), codegen


def _emit_rows(
    builder: ir.IRBuilder, vector: ir.VectorType, rows: int, views: list[Any], end: Any
) -> None:
    """The tile for one number of rows: sum over the terms, then add the sums to C."""
    A, C, ahead = (fields(builder, Strided, views[i]) for i in (0, 2, 3))
    B = fields(builder, Table, views[1])
    table = pointer(builder, B.addresses, _WORD)
    item_bytes = VECTOR_BYTES // vector.count

    def offset(base: Any, amount: int) -> Any:
        return builder.add(base, _WORD(amount)) if amount else base

    C_rows = [C.address]
    for _ in range(rows - 1):
        C_rows.append(builder.add(C_rows[-1], C.stride))
    columns = range(TILE_VECTORS)
    zeros = [constant(vector, 0.0)] * (rows * TILE_VECTORS)
    before = builder.block
    next_group = builder.append_basic_block("tile.next_group")
    group = builder.append_basic_block("tile.group")
    term = builder.append_basic_block("tile.term")
    group_done = builder.append_basic_block("tile.group_done")
    done = builder.append_basic_block("tile.done")
    builder.branch(next_group)

    def phis(count: int) -> list[Any]:
        return [builder.phi(_WORD) for _ in range(count)] + [builder.phi(vector) for _ in zeros]

    builder.position_at_end(next_group)
    left, group_A, *group_state = phis(4)
    builder.cbranch(builder.icmp_signed(">", left, _WORD(0)), group, done)

    builder.position_at_end(group)
    some_left = builder.icmp_signed("<", left, _WORD(A_GROUP))
    stop = builder.mul(builder.select(some_left, left, _WORD(A_GROUP)), _WORD(item_bytes))
    builder.branch(term)

    builder.position_at_end(term)
    place, entry, line, *totals = phis(3)
    a = builder.add(group_A, place)
    b = builder.add(B.offset, builder.load(builder.gep(table, [entry])))
    B_vectors = [load_value(builder, offset(b, j * VECTOR_BYTES), vector) for j in columns]
    new = []
    for i in range(rows):
        factor = load_value(builder, offset(a, i * A_GROUP * item_bytes), vector.element)
        spread = splat_value(builder, vector, factor)
        for j in columns:
            terms = [spread, B_vectors[j], totals[i * TILE_VECTORS + j]]
            new.append(call(builder, f"llvm.fmuladd.{suffix(vector)}", vector, terms))
    emit_prefetch(builder, line)
    next_place = builder.add(place, _WORD(item_bytes))
    new = [builder.add(entry, _WORD(1)), builder.add(line, ahead.stride), *new]
    builder.cbranch(builder.icmp_signed("<", next_place, stop), term, group_done)
    connect([place, entry, line, *totals], group, [_WORD(0), *group_state])
    connect([place, entry, line, *totals], term, [next_place, *new])

    builder.position_at_end(group_done)
    fewer = builder.sub(left, _WORD(A_GROUP))
    next_A = builder.add(group_A, A.stride)
    builder.branch(next_group)
    connect(
        [left, group_A, *group_state], before, [B.n, A.address, _WORD(0), ahead.address, *zeros]
    )
    connect([left, group_A, *group_state], group_done, [fewer, next_A, *new])

    totals = group_state[2:]
    builder.position_at_end(done)
    for i, c in enumerate(C_rows):
        for j in columns:
            address = offset(c, j * VECTOR_BYTES)
            old = load_value(builder, address, vector)
            store_value(builder, builder.fadd(old, totals[i * TILE_VECTORS + j]), address)
    builder.branch(end)


def connect(phis: list[Any], block: Any, values: list[Any]) -> None:
    """What each variable of a loop is when it is entered from `block`."""
    for phi, value in zip(phis, values, strict=True):
        phi.add_incoming(value, block)
