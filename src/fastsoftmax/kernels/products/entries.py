"""The one product with sparse rows: an entry x = X[n, d] adds x times a row of numbers to another.

For logits, rows of W (D, K) to rows of Z (N, K); for gradients, rows of residuals (N, K) to rows of
G (D, K). Vectors hold classes, so that an entry reads and writes one run of numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.kernels.compile.jit import jit
from fastsoftmax.kernels.tiles.tile import connect
from fastsoftmax.kernels.vectors.memory import Array, Strided, fields, item_bytes
from fastsoftmax.kernels.vectors.vector_ir import (
    VECTOR_BYTES,
    call,
    first_lanes,
    llvm_item,
    llvm_vector,
    load_value,
    native,
    pointer,
    splat_value,
    store_value,
    suffix,
)

# Vectors of classes that an entry adds at once.
_TILE = 4

_WORD = ir.IntType(64)
_INDEX = ir.IntType(32)
_PAIR_BYTES = 8


class Entries(NamedTuple):
    """Entries [start, stop) of a list of pairs, of a row and a column (int32), and of values."""

    values: Array  # (0,), only its dtype counts
    at: int  # the address of all values
    sources: int  # that of the first number of a source row, in pairs
    targets: int  # of a target row
    start: int
    stop: int


@jit
def add_entries(
    item: Array, entries: Entries, n_classes: int, sources: Strided, targets: Strided
) -> None:
    """Each entry's row of the targets (n_classes numbers) += x times its row of the sources."""
    size = item_bytes(item)
    lanes = VECTOR_BYTES // size
    for k in range(0, n_classes, _TILE * lanes):
        count = min(n_classes - k, _TILE * lanes)
        source = Strided(sources.address + k * size, sources.stride)
        target = Strided(targets.address + k * size, targets.stride)
        _add_entries(item, entries, (count + lanes - 1) // lanes, count, source, target)


@intrinsic
def _add_entries(
    typing_context: Any,
    item: Any,
    entries: Any,
    n_vectors: Any,
    n_classes: Any,
    sources: Any,
    targets: Any,
) -> Any:
    vector = llvm_vector(native(item.dtype))

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, entries_, n_vectors_, n_classes_, *views = arguments
        builder.function.attributes.add("noinline")
        view = fields(builder, Entries, entries_)
        source, target = (fields(builder, Strided, value) for value in views)
        dtype = entries.types[0].dtype
        end = builder.append_basic_block("entries.end")
        switch = builder.switch(n_vectors_, end)
        for n in range(1, _TILE + 1):
            block = builder.append_basic_block(f"entries.{n}")
            switch.add_case(ir.Constant(n_vectors_.type, n), block)
            builder.position_at_end(block)
            left = builder.sub(n_classes_, _WORD((n - 1) * vector.count))
            some = builder.append_basic_block(f"entries.{n}.some")
            last = builder.switch(left, some)
            for lanes in {vector.count, vector.count // 2, vector.count // 4} - {0}:
                exact = builder.append_basic_block(f"entries.{n}.{lanes}")
                last.add_case(ir.Constant(left.type, lanes), exact)
                builder.position_at_end(exact)
                _emit_loop(builder, _Row(builder, vector, n, lanes), view, dtype, source, target)
                builder.branch(end)
            builder.position_at_end(some)
            bits = first_lanes(builder, vector.count, left)
            _emit_loop(builder, _Row(builder, vector, n, bits), view, dtype, source, target)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(item, entries, types.intp, types.intp, sources, targets), codegen


class _Row:
    """Up to _TILE vectors of classes, the last of fewer lanes: a number, or bits of which count.

    Fewer lanes are no masked vector where that can be, for what a masked store wrote cannot be
    loaded before it has reached the cache: an entry of the same row would wait.
    """

    def __init__(self, builder: ir.IRBuilder, vector: ir.VectorType, n: int, last: Any) -> None:
        self._builder, self.vector, self._n = builder, vector, n
        self._bits = None if isinstance(last, int) else last
        lanes = last if isinstance(last, int) else vector.count
        self._last = ir.VectorType(vector.element, lanes)

    @property
    def kinds(self) -> list[ir.VectorType]:
        """The types of the vectors."""
        return [self.vector] * (self._n - 1) + [self._last]

    def load(self, address: Any) -> list[Any]:
        builder, kinds = self._builder, self.kinds
        *places, last = self._places(address)
        whole = [load_value(builder, place, self.vector) for place in places]
        if self._bits is None:
            return [*whole, load_value(builder, last, kinds[-1])]
        nothing = ir.Constant(self.vector, ir.Undefined)
        arguments = [pointer(builder, last, self.vector), _INDEX(1), self._bits, nothing]
        name = f"llvm.masked.load.{suffix(self.vector)}.p1"
        return [*whole, call(builder, name, self.vector, arguments)]

    def store(self, values: list[Any], address: Any) -> None:
        *places, last = self._places(address)
        for value, place in zip(values[:-1], places, strict=True):
            store_value(self._builder, value, place)
        if self._bits is None:
            store_value(self._builder, values[-1], last)
            return
        to = pointer(self._builder, last, self.vector)
        name = f"llvm.masked.store.{suffix(self.vector)}.p1"
        call(self._builder, name, ir.VoidType(), [values[-1], to, _INDEX(1), self._bits])

    def _places(self, address: Any) -> list[Any]:
        return [self._builder.add(address, _WORD(i * VECTOR_BYTES)) for i in range(self._n)]


def _emit_loop(
    builder: ir.IRBuilder, row: _Row, entries: Entries, item: Any, source: Strided, target: Strided
) -> None:
    """The entries one after another, for one number of vectors."""
    vector = row.vector

    def row_of(view: Strided, numbers: Any, e: Any) -> Any:
        place = builder.add(numbers, builder.mul(e, _WORD(_PAIR_BYTES)))
        number = builder.sext(load_value(builder, place, _INDEX), _WORD)
        return builder.add(view.address, builder.mul(number, view.stride))

    before = builder.block
    step, done = (builder.append_basic_block(f"entries.{name}") for name in ("step", "done"))
    builder.cbranch(builder.icmp_signed("<", entries.start, entries.stop), step, done)
    builder.position_at_end(step)
    e = builder.phi(_WORD)
    x = load_value(
        builder,
        builder.add(entries.at, builder.mul(e, _WORD(item.bitwidth // 8))),
        llvm_item(item),
    )
    if x.type != vector.element:
        widens = item.bitwidth == 32
        x = (builder.fpext if widens else builder.fptrunc)(x, vector.element)
    sums = row_of(target, entries.targets, e)
    values = []
    for kind, v, total in zip(
        row.kinds, row.load(row_of(source, entries.sources, e)), row.load(sums), strict=True
    ):
        terms = [splat_value(builder, kind, x), v, total]
        values.append(call(builder, f"llvm.fmuladd.{suffix(kind)}", kind, terms))
    row.store(values, sums)
    following = builder.add(e, _WORD(1))
    builder.cbranch(builder.icmp_signed("<", following, entries.stop), step, done)
    connect([e], before, [entries.start])
    connect([e], step, [following])
    builder.position_at_end(done)
