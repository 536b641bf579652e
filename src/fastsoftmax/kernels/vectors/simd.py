"""Vector values inside Numba code: LLVM's own vectors, in one vocabulary for every CPU.

A `Vector` holds `lanes` numbers of one type; a comparison gives a vector of bits. `load`, `splat`
and the like make vectors of the native width, which follows from the CPU features that Numba
compiles for; LLVM lowers any other width too, in several instructions or half-used ones. The
arithmetic operators and comparisons work on vectors and on a vector with a number. Addresses are
in bytes and need no alignment.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, type_callable

from fastsoftmax.kernels.vectors.vector_ir import (
    Vector,
    call,
    constant,
    llvm_item,
    llvm_vector,
    load_masked,
    load_value,
    native,
    splat_value,
    store_masked,
    store_value,
    suffix,
)

# Making and storing vectors. `item` is an array whose dtype counts, as in `memory.Rows`.


@intrinsic
def address_of(typing_context: Any, array: Any) -> Any:
    """The address of an array's first item."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.intp(array), codegen


@intrinsic
def load(typing_context: Any, item: Any, address: Any) -> Any:
    """The vector at an address."""
    return native(item.dtype)(item, types.intp), _load


@intrinsic(prefer_literal=True)
def load_lanes(typing_context: Any, lanes: Any, item: Any, address: Any) -> Any:
    """The vector of a literal number of lanes at an address."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return load_value(builder, arguments[2], llvm_vector(signature.return_type))

    return Vector(item.dtype, lanes.literal_value)(lanes, item, types.intp), codegen


@intrinsic
def load_lanes_of(typing_context: Any, like: Any, item: Any, address: Any) -> Any:
    """As many items of `item`'s dtype as a vector of `like`'s has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return load_value(builder, arguments[2], llvm_vector(signature.return_type))

    return Vector(item.dtype, native(like.dtype).lanes)(like, item, types.intp), codegen


def _load(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    return load_value(builder, arguments[1], llvm_vector(signature.return_type))


@intrinsic
def load_first(typing_context: Any, item: Any, address: Any, count: Any, other: Any) -> Any:
    """The first `count` lanes from an address, `other` in the rest; nothing beyond is read."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(signature.return_type)
        return load_masked(builder, arguments[1], vector, arguments[2], arguments[3])

    vector = native(item.dtype)
    return vector(item, types.intp, types.intp, item.dtype), codegen


@intrinsic
def store(typing_context: Any, vector: Any, address: Any) -> Any:
    """Write a vector at an address."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        store_value(builder, arguments[0], arguments[1])
        return context.get_dummy_value()

    return types.void(vector, types.intp), codegen


@intrinsic
def store_first(typing_context: Any, vector: Any, address: Any, count: Any) -> Any:
    """Write the first `count` lanes at an address; nothing beyond is touched."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        store_masked(builder, *arguments)
        return context.get_dummy_value()

    return types.void(vector, types.intp, types.intp), codegen


@intrinsic
def splat(typing_context: Any, item: Any, value: Any) -> Any:
    """A number in every lane of a vector of item's dtype."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        number = context.cast(builder, arguments[1], value, item.dtype)
        return splat_value(builder, llvm_vector(signature.return_type), number)

    return native(item.dtype)(item, value), codegen


@intrinsic
def splat_like(typing_context: Any, vector: Any, value: Any) -> Any:
    """A number in every lane of a vector of the given one's type."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        number = context.cast(builder, arguments[1], value, vector.dtype)
        return splat_value(builder, llvm_vector(vector), number)

    return vector(vector, value), codegen


@intrinsic
def lane_numbers(typing_context: Any, vector: Any) -> Any:
    """0, 1, 2, … as integers of the width of the vector's lanes."""
    result = Vector(types.Integer.from_bitwidth(vector.dtype.bitwidth), vector.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return constant(llvm_vector(result), list(range(result.lanes)))

    return result(vector), codegen


# Arithmetic, lane by lane.


def _operator(symbol: Any, emit: Any, of_floats: str, of_integers: str | None) -> None:
    """Let an operator of Python take two vectors of a type, or a vector and a number.

    `emit(builder, name, a, b)` makes the instruction. Lowered directly, not as an overload: those
    are compiled one by one, thirty of them in a first call.
    """

    @type_callable(symbol)
    def type_operator(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            vector = a if isinstance(a, Vector) else b
            others = [x for x in (a, b) if x != vector]
            if isinstance(vector, Vector) and all(isinstance(x, types.Number) for x in others):
                return vector.bits if emit is _compare else vector
            return None

        return typer

    @lower_builtin(symbol, Vector, Vector)
    @lower_builtin(symbol, Vector, types.Number)
    @lower_builtin(symbol, types.Number, Vector)
    def lower_operator(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        (vector, *_) = [t for t in signature.args if isinstance(t, Vector)]
        operands = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if not isinstance(kind, Vector):
                number = context.cast(builder, value, kind, vector.dtype)
                value = splat_value(builder, llvm_vector(vector), number)
            operands.append(value)
        name = of_floats if isinstance(vector.dtype, types.Float) else of_integers
        return emit(builder, name, *operands)


def _instruct(builder: ir.IRBuilder, name: str, a: Any, b: Any) -> Any:
    return getattr(builder, name)(a, b)


def _compare(builder: ir.IRBuilder, name: str, a: Any, b: Any) -> Any:
    """Bits of an ordered comparison: false where a lane is NaN."""
    symbol, _, kind = name.partition(" ")
    return (builder.fcmp_ordered if kind == "float" else builder.icmp_signed)(symbol, a, b)


for _symbol, _name in (
    (operator.add, "add"),
    (operator.iadd, "add"),
    (operator.sub, "sub"),
    (operator.mul, "mul"),
):
    _operator(_symbol, _instruct, "f" + _name, _name)
_operator(operator.truediv, _instruct, "fdiv", None)
_operator(operator.lshift, _instruct, "", "shl")
_operator(operator.rshift, _instruct, "", "ashr")  # rounds down
for _symbol, _name in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.eq, "=="),
):
    _operator(_symbol, _compare, f"{_name} float", f"{_name} integer")


def _named(name: str, arity: int) -> Any:
    """An LLVM intrinsic of floating vectors of one type."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        return call(builder, f"llvm.{name}.{suffix(kind)}", kind, list(arguments))

    if arity == 1:
        return intrinsic(lambda typing_context, a: (a(a), codegen))
    if arity == 2:
        return intrinsic(lambda typing_context, a, b: (a(a, b), codegen))
    return intrinsic(lambda typing_context, a, b, c: (a(a, b, c), codegen))


fma = _named("fmuladd", 3)  # a * b + c, rounded once where the CPU has an instruction for it
maximum = _named("maximum", 2)  # NaN where either is
minimum = _named("minimum", 2)
round_even = _named("roundeven", 1)
absolute = _named("fabs", 1)


@intrinsic
def select(typing_context: Any, bits: Any, a: Any, b: Any) -> Any:
    """a where a bit is set, else b."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(bits, a, b), codegen


@intrinsic
def to_int(typing_context: Any, a: Any) -> Any:
    """Floats, each a whole number in range, as integers of the same width."""
    result = Vector(types.Integer.from_bitwidth(a.dtype.bitwidth), a.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.fptosi(arguments[0], llvm_vector(result))

    return result(a), codegen


@intrinsic
def to_float(typing_context: Any, a: Any) -> Any:
    """Integers as floats of the same width."""
    dtype = types.float32 if a.dtype.bitwidth == 32 else types.float64
    result = Vector(dtype, a.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.sitofp(arguments[0], llvm_vector(result))

    return result(a), codegen


@intrinsic
def convert(typing_context: Any, like: Any, a: Any) -> Any:
    """Floats in `like`'s dtype, rounded if that is the narrower."""
    result = Vector(like.dtype, a.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vector = llvm_vector(result)
        if a.dtype.bitwidth == like.dtype.bitwidth:
            return arguments[1]
        if a.dtype.bitwidth > like.dtype.bitwidth:
            return builder.fptrunc(arguments[1], vector)
        return builder.fpext(arguments[1], vector)

    return result(like, a), codegen


@intrinsic
def widen(typing_context: Any, a: Any) -> Any:
    """Floats as float64; the vector may be wider than a register."""
    result = Vector(types.float64, a.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if a.dtype == types.float64:
            return arguments[0]
        return builder.fpext(arguments[0], llvm_vector(result))

    return result(a), codegen


@intrinsic
def as_float_bits(typing_context: Any, a: Any) -> Any:
    """The bits of integers read as floats."""
    dtype = types.float32 if a.dtype.bitwidth == 32 else types.float64
    result = Vector(dtype, a.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], llvm_vector(result))

    return result(a), codegen


@intrinsic
def as_int_bits(typing_context: Any, a: Any) -> Any:
    """The bits of floats read as integers."""
    result = Vector(types.Integer.from_bitwidth(a.dtype.bitwidth), a.lanes)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], llvm_vector(result))

    return result(a), codegen


def by_type(for_float32: Any, for_float64: Any) -> Any:
    """A constant that differs between the types: f(vector) is it, in every lane."""

    @intrinsic
    def constant_like(typing_context: Any, a: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            value = for_float32 if a.dtype.bitwidth == 32 else for_float64
            return constant(llvm_vector(a), value)

        return a(a), codegen

    return constant_like


def polynomial(for_float32: list[float], for_float64: list[float]) -> Any:
    """f(x), the polynomial with these coefficients, the highest power first, by Horner's rule."""

    @intrinsic
    def evaluate(typing_context: Any, a: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            vector = llvm_vector(a)
            coefficients = for_float32 if a.dtype.bitwidth == 32 else for_float64
            result = constant(vector, coefficients[0])
            for value in coefficients[1:]:
                factors = [result, arguments[0], constant(vector, value)]
                result = call(builder, f"llvm.fmuladd.{suffix(vector)}", vector, factors)
            return result

        return a(a), codegen

    return evaluate


# Across the lanes.


def _reduction(name: str, start: float | None) -> Any:
    @intrinsic
    def operation(typing_context: Any, a: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            item = llvm_item(a.dtype)
            values = list(arguments) if start is None else [ir.Constant(item, start), *arguments]
            full = f"llvm.vector.reduce.{name}.{suffix(arguments[0].type)}"
            flags = ("reassoc",) if name == "fadd" else ()
            return call(builder, full, item, values, flags)

        return a.dtype(a), codegen

    return operation


reduce_add = _reduction("fadd", -0.0)  # in a tree, not in order
reduce_max = _reduction("fmaximum", None)  # NaN where any lane is


@intrinsic
def extract(typing_context: Any, a: Any, lane: Any) -> Any:
    """One lane."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(arguments[0], arguments[1])

    return a.dtype(a, types.intp), codegen
