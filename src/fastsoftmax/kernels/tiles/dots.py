"""Logits as dot products along the features: for few classes, where transposing rows costs more.

Z[i, r] += sum over p of A[i, p] * x_r[p], for DOT_ROWS rows x_r and up to MAX_CLASSES classes i. A
vector holds features; each row and class has one accumulator, whose lanes are added up at the
end. A is laid out as `tile` takes it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.kernels.compile.jit import jit
from fastsoftmax.kernels.tiles.sizes import A_GROUP
from fastsoftmax.kernels.tiles.tile import connect
from fastsoftmax.kernels.tiles.transpose import indices, interleaved
from fastsoftmax.kernels.vectors.memory import Array, Strided, Table, emit_prefetch, fields
from fastsoftmax.kernels.vectors.vector_ir import (
    VECTOR_BYTES,
    VECTOR_REGISTERS,
    call,
    constant,
    llvm_vector,
    load_masked,
    load_value,
    native,
    pointer,
    store_value,
    suffix,
)

# As many accumulators as leave the vectors of the rows and one of A in registers.
DOT_ROWS = 4
MAX_CLASSES = {32: 6, 16: 2}[VECTOR_REGISTERS]

# Vectors of features that accumulators add up at once, whole groups of A. The rounding error grows
# with the terms of a lane: over 3000 features in float32, 750 terms of vectors of 16 bytes made it
# up to five times NumPy's. Wider vectors spread a row over more lanes, and take all of it.
DOT_VECTORS = 128 if VECTOR_BYTES == 16 else 1 << 32

_WORD = ir.IntType(64)


@jit
def add_dots(
    item: Array, n_classes: int, A: Strided, rows: Table, n_terms: int, Z: Strided, ahead: Strided
) -> None:
    """Z (n_classes, DOT_ROWS) += A (n_classes, n_terms) x', for the first DOT_ROWS of `rows`.

    A is in groups, as `tile` takes it. 1 <= n_classes <= MAX_CLASSES. Each step of a vector of
    features asks for a line of each of the DOT_ROWS rows in the table at `ahead`, and then moves on
    there by a stride.
    """
    _add_dots(item, n_classes, A, rows, n_terms, Z, ahead)


@intrinsic
def _add_dots(
    typing_context: Any,
    item: Any,
    n_classes: Any,
    A: Any,
    rows: Any,
    n_terms: Any,
    Z: Any,
    ahead: Any,
) -> Any:
    vector = llvm_vector(native(item.dtype))

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, n_classes_, A_, rows_, n_terms_, Z_, ahead_ = arguments
        builder.function.attributes.add("noinline")
        views = [fields(builder, Strided, value) for value in (A_, Z_, ahead_)]
        x = fields(builder, Table, rows_)
        sources, wanted = (
            [
                builder.add(builder.load(builder.gep(table, [_WORD(i)])), x.offset)
                for i in range(DOT_ROWS)
            ]
            for table in (pointer(builder, at, _WORD) for at in (x.addresses, views[2].address))
        )
        start = builder.block
        end = builder.append_basic_block("dots.end")
        cases = []
        for count in range(1, MAX_CLASSES + 1):
            block = builder.append_basic_block(f"dots.{count}")
            cases.append(block)
            builder.position_at_end(block)
            _emit_classes(builder, vector, count, sources, wanted, views, n_terms_)
            builder.branch(end)
        builder.position_at_end(start)
        switch = builder.switch(n_classes_, end)
        for count, block in enumerate(cases, 1):
            switch.add_case(ir.Constant(n_classes_.type, count), block)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(item, types.intp, A, rows, types.intp, Z, ahead), codegen


def _emit_classes(
    builder: ir.IRBuilder,
    vector: ir.VectorType,
    n_classes: int,
    sources: list[Any],
    wanted: list[Any],
    views: list[Strided],
    n_terms: Any,
) -> None:
    """The dot products for one number of classes."""
    A, Z, ahead = views
    size = VECTOR_BYTES // vector.count
    group_bytes = A_GROUP * size
    zeros = [constant(vector, 0.0)] * (n_classes * DOT_ROWS)

    def offset(base: Any, amount: int) -> Any:
        return builder.add(base, _WORD(amount)) if amount else base

    def products(x: list[Any], group_A: Any, place: Any, totals: list[Any]) -> list[Any]:
        new = []
        for k in range(n_classes):
            a = load_value(builder, offset(builder.add(group_A, place), k * group_bytes), vector)
            for r in range(DOT_ROWS):
                terms = [x[r], a, totals[k * DOT_ROWS + r]]
                new.append(call(builder, f"llvm.fmuladd.{suffix(vector)}", vector, terms))
        return new

    before = builder.block
    all_bytes = builder.mul(n_terms, _WORD(size))
    whole_bytes = builder.and_(all_bytes, _WORD(-VECTOR_BYTES))
    step = builder.append_basic_block("dots.step")
    rest = builder.append_basic_block("dots.rest")
    some_left = builder.append_basic_block("dots.some_left")
    done = builder.append_basic_block("dots.done")
    builder.cbranch(builder.icmp_signed(">", whole_bytes, _WORD(0)), step, rest)

    def phis(count: int) -> list[Any]:
        return [builder.phi(_WORD) for _ in range(count)] + [builder.phi(vector) for _ in zeros]

    builder.position_at_end(step)
    place, group_A, line, *totals = phis(3)
    in_group = builder.and_(place, _WORD(group_bytes - 1))
    x = [load_value(builder, builder.add(source, place), vector) for source in sources]
    new = products(x, group_A, in_group, totals)
    for address in wanted:
        emit_prefetch(builder, builder.add(address, line))
    next_place = builder.add(place, _WORD(VECTOR_BYTES))
    next_in_group = builder.and_(next_place, _WORD(group_bytes - 1))
    last = builder.icmp_signed("==", next_in_group, _WORD(0))
    next_A = builder.add(group_A, builder.select(last, A.stride, _WORD(0)))
    next_line = builder.add(line, ahead.stride)
    builder.cbranch(builder.icmp_signed("<", next_place, whole_bytes), step, rest)
    connect([place, group_A, line, *totals], before, [_WORD(0), A.address, _WORD(0), *zeros])
    connect([place, group_A, line, *totals], step, [next_place, next_A, next_line, *new])

    builder.position_at_end(rest)
    place, group_A, *totals = phis(2)
    connect([place, group_A, *totals], before, [_WORD(0), A.address, *zeros])
    connect([place, group_A, *totals], step, [next_place, next_A, *new])
    builder.cbranch(builder.icmp_signed("<", place, all_bytes), some_left, done)

    builder.position_at_end(some_left)
    count = builder.and_(n_terms, _WORD(vector.count - 1))
    zero = ir.Constant(vector.element, 0.0)
    x = [
        load_masked(builder, builder.add(source, place), vector, count, zero) for source in sources
    ]
    in_group = builder.and_(place, _WORD(group_bytes - 1))
    new = products(x, group_A, in_group, totals)
    masked = builder.block
    builder.branch(done)

    builder.position_at_end(done)
    sums = [builder.phi(vector) for _ in zeros]
    connect(sums, rest, totals)
    connect(sums, masked, new)
    for k in range(n_classes):
        place = builder.add(Z.address, builder.mul(Z.stride, _WORD(k)))
        for value in _lane_sums(builder, sums[k * DOT_ROWS : (k + 1) * DOT_ROWS]):
            old = load_value(builder, place, value.type)
            store_value(builder, builder.fadd(old, value), place)
            place = offset(place, value.type.count * size)


def _lane_sums(builder: ir.IRBuilder, vectors: list[Any]) -> list[Any]:
    """The sums of the lanes of each vector, side by side in as few vectors as have room."""
    while vectors[0].type.count > len(vectors):
        half = vectors[0].type.count // 2
        lower, upper = (indices(range(start, start + half)) for start in (0, half))
        vectors = [
            builder.fadd(builder.shuffle_vector(v, v, lower), builder.shuffle_vector(v, v, upper))
            for v in vectors
        ]
    lanes = vectors[0].type.count
    results = []
    for first in range(0, len(vectors), lanes):
        columns = interleaved(builder, vectors[first : first + lanes], lanes)
        while len(columns) > 1:
            pairs = zip(columns[::2], columns[1::2], strict=True)
            columns = [builder.fadd(a, b) for a, b in pairs]
        results += columns
    return results
