"""Numbers of one or two bytes become float32, exactly, a vector of them in a few instructions.

To Numba, narrow rows have items of float32 (`memory.Rows`), in an array that is not empty: it holds
where a function lies that widens them, and what it has to widen. Kernels call that function: none
is compiled for a narrow type, and those that read float32 do not take longer to compile. Linked
into them, its loops would take 1% to 2% of the time of a first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.compile.jit import jit_callable
from fastsoftmax.kernels.vectors.vector_ir import (
    VECTOR_BYTES,
    call,
    constant,
    features,
    load_value,
    store_value,
    suffix,
)

_LANES = VECTOR_BYTES // 4
_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_FLOATS, _INTS = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(ir.IntType(32), _LANES)
_FLOAT_BYTES = _WORD(4)
_WIDEN = ir.FunctionType(ir.VoidType(), [_WORD] * 6)


def _from_bool(builder: ir.IRBuilder, raw: Any) -> Any:
    return builder.uitofp(builder.icmp_unsigned("!=", raw, ir.Constant(raw.type, None)), _FLOATS)


def _from_unsigned(builder: ir.IRBuilder, raw: Any) -> Any:
    return builder.sitofp(builder.zext(raw, _INTS), _FLOATS)


def _from_signed(builder: ir.IRBuilder, raw: Any) -> Any:
    return builder.sitofp(builder.sext(raw, _INTS), _FLOATS)


def _from_bfloat16(builder: ir.IRBuilder, raw: Any) -> Any:
    """The upper half of the float32."""
    return builder.bitcast(builder.shl(builder.zext(raw, _INTS), constant(_INTS, 16)), _FLOATS)


def _from_float16(builder: ir.IRBuilder, raw: Any) -> Any:
    if _converts_float16():
        halves = ir.VectorType(ir.HalfType(), _LANES)
        return builder.fpext(builder.bitcast(raw, halves), _FLOATS)
    return _from_float16_bits(builder, raw)


def _converts_float16() -> bool:
    """Whether the CPU has an instruction for it; LLVM would call a function for each number."""
    architecture = binding.get_process_triple().partition("-")[0]
    return architecture in ("aarch64", "arm64") or not {"+f16c", "+avx512f"}.isdisjoint(features())


def _from_float16_bits(builder: ir.IRBuilder, raw: Any) -> Any:
    """The fields of a float16 (1, 5 and 10 bits) moved to those of a float32 (1, 8 and 23)."""
    bits = builder.zext(raw, _INTS)
    sign = builder.shl(builder.and_(bits, constant(_INTS, 0x8000)), constant(_INTS, 16))
    rest = builder.shl(builder.and_(bits, constant(_INTS, 0x7FFF)), constant(_INTS, 13))
    # exponents count from 15 there, from 127 here; that of infinity and NaN is the highest
    normal = builder.add(rest, constant(_INTS, (127 - 15) << 23))
    special = builder.icmp_unsigned(">=", rest, constant(_INTS, 31 << 23))
    normal = builder.select(special, builder.or_(rest, constant(_INTS, 255 << 23)), normal)
    # below 2**-14, the fraction counts without a leading 1: with one, and that subtracted
    least = builder.bitcast(builder.add(rest, constant(_INTS, (127 - 14) << 23)), _FLOATS)
    small = builder.fsub(least, constant(_FLOATS, 2.0**-14))
    tiny = builder.icmp_unsigned("<", rest, constant(_INTS, 1 << 23))
    magnitude = builder.select(tiny, builder.bitcast(small, _INTS), normal)
    return builder.bitcast(builder.or_(sign, magnitude), _FLOATS)


# How a vector of raw bits is widened, and how many bytes a number has.
_KINDS: dict[str, tuple[Callable[[ir.IRBuilder, Any], Any], int]] = {
    "bool": (_from_bool, 1),
    "uint8": (_from_unsigned, 1),
    "int8": (_from_signed, 1),
    "uint16": (_from_unsigned, 2),
    "int16": (_from_signed, 2),
    "float16": (_from_float16, 2),
    "bfloat16": (_from_bfloat16, 2),
}
NARROW = tuple(_KINDS)


def _number(name: str, swapped: bool) -> int:
    """Of a type of NARROW, a higher one for bytes in the other order."""
    return NARROW.index(name) + (len(NARROW) if swapped else 0)


def _widen_vectors(builder: ir.IRBuilder, kind: Any, source: Any, n: Any, target: Any) -> None:
    """n items side by side, at least a vector; the last one may begin within the one before."""
    last = builder.sub(n, _WORD(_LANES))
    done = builder.append_basic_block("done")
    choice = builder.switch(kind, done)
    for name, (from_bits, size) in _KINDS.items():
        raw = ir.VectorType(ir.IntType(8 * size), _LANES)
        for swapped in (False, True)[:size]:
            block = builder.append_basic_block(name)
            choice.add_case(_WORD(_number(name, swapped)), block)
            builder.position_at_end(block)
            steps = cgutils.for_range_slice(builder, _WORD(0), n, _WORD(_LANES), _WORD)
            with steps as (step, _):
                first = builder.select(builder.icmp_signed("<", step, last), step, last)
                place = builder.add(source, builder.mul(first, _WORD(size)))
                bits = load_value(builder, place, raw)
                if swapped:
                    bits = call(builder, f"llvm.bswap.{suffix(raw)}", raw, [bits])
                place = builder.add(target, builder.mul(first, _FLOAT_BYTES))
                store_value(builder, from_bits(builder, bits), place)
            builder.branch(done)
    builder.position_at_end(done)


def _copy(builder: ir.IRBuilder, kind: ir.Type, source: Any, target: Any) -> None:
    store_value(builder, load_value(builder, source, kind), target)


def _emit(function: ir.Function) -> None:
    """(kind, size, source, stride, n, target): n items, `stride` bytes apart, become float32."""
    kind, size, source, stride, n, target = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    room = builder.ptrtoint(builder.alloca(ir.ArrayType(_BYTE, VECTOR_BYTES)), _WORD)
    lanes = _WORD(_LANES)
    beside = builder.icmp_signed("==", stride, size)
    with builder.if_then(builder.and_(beside, builder.icmp_signed(">=", n, lanes))):
        _widen_vectors(builder, kind, source, n, target)
        builder.ret_void()
    # else they are brought together first, a vector of them and then the next
    with cgutils.for_range_slice(builder, _WORD(0), n, lanes, _WORD) as (first, _):
        left = builder.sub(n, first)
        count = builder.select(builder.icmp_signed("<", left, lanes), left, lanes)
        more = builder.sub(size, _WORD(1))  # of a number's bytes: 0 or 1
        with cgutils.for_range(builder, count, intp=_WORD) as item:
            place = builder.mul(builder.add(first, item.index), stride)
            place, to = builder.add(source, place), builder.mul(item.index, size)
            to = builder.add(room, to)
            _copy(builder, _BYTE, place, to)
            _copy(builder, _BYTE, builder.add(place, more), builder.add(to, more))
        builder.call(function, [kind, size, room, size, lanes, room])
        with cgutils.for_range(builder, count, intp=_WORD) as item:
            place = builder.mul(item.index, _FLOAT_BYTES)
            to = builder.add(target, builder.mul(first, _FLOAT_BYTES))
            _copy(builder, ir.FloatType(), builder.add(room, place), builder.add(to, place))
    builder.ret_void()


@intrinsic
def _widen_address(typing_context: Any) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        function = ir.Function(builder.module, _WIDEN, "fastsoftmax_widen")
        function.linkage = "internal"
        _emit(function)
        return builder.ptrtoint(function, _WORD)

    return types.intp(), codegen


@jit_callable
def _compiled() -> int:
    """The address of the function that `_emit` writes."""
    return _widen_address()


def narrow_item(name: str, swapped: bool) -> npt.NDArray[np.float32]:
    """The `item` of `Rows` of a type of NARROW, its bytes in the other order if `swapped`."""
    table = np.array([_compiled(), _number(name, swapped), _KINDS[name][1]], np.int64)
    return table.view(np.float32)


# What `memory` asks of the `item` of `Rows`; of float64 all is known when it is compiled.


def _fields(context: Any, builder: ir.IRBuilder, item: Any, array: Any) -> tuple[Any, list[Any]]:
    """(whether the items are narrow, where the table of `narrow_item` has its entries)."""
    if item.dtype != types.float32:
        return ir.Constant(ir.IntType(1), 0), []
    view = context.make_array(item)(context, builder, array)
    table = builder.bitcast(view.data, _WORD.as_pointer())
    fields = [builder.gep(table, [_WORD(i)]) for i in range(3)]
    return builder.icmp_signed("!=", view.nitems, _WORD(0)), fields


@intrinsic
def stride_in_place(typing_context: Any, item: Any) -> Any:
    """That of items side by side which can be read where they lie; of narrow ones, none."""
    size, none = _WORD(item.dtype.bitwidth // 8), _WORD(-1 << 63)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.select(_fields(context, builder, item, arguments[0])[0], none, size)

    return types.intp(item), codegen


@intrinsic
def stored_bytes(typing_context: Any, item: Any) -> Any:
    """The size of an item where it lies."""
    size = _WORD(item.dtype.bitwidth // 8)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        narrow, fields = _fields(context, builder, item, arguments[0])
        result = cgutils.alloca_once_value(builder, size)
        with builder.if_then(narrow):
            if fields:
                builder.store(builder.load(fields[2]), result)
        return builder.load(result)

    return types.intp(item), codegen


@intrinsic
def widened(
    typing_context: Any, item: Any, address: Any, stride: Any, n: Any, to: Any, target: Any
) -> Any:
    """Where n items can be read as they seem to be: narrow ones are made float32 for that.

    The room at `target` is for n items of the type of `to`. Narrow ones go to its end: converted
    from there in order, none is overwritten before it is read.
    """
    spare = _WORD(to.dtype.bitwidth // 8 - 4)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        array, address_, stride_, n_, _, target_ = arguments
        narrow, fields = _fields(context, builder, item, array)
        result = cgutils.alloca_once_value(builder, address_)
        with builder.if_then(narrow):
            if fields:
                place = builder.add(target_, builder.mul(n_, spare))
                widen, kind, size = (builder.load(field) for field in fields)
                function = builder.inttoptr(widen, _WIDEN.as_pointer())
                builder.call(function, [kind, size, address_, stride_, n_, place])
                builder.store(place, result)
        return builder.load(result)

    return types.intp(item, *[types.intp] * 3, to, types.intp), codegen


@intrinsic
def widened_stride(typing_context: Any, item: Any, stride: Any) -> Any:
    """How far apart items are where `widened` has them."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        narrow, _ = _fields(context, builder, item, arguments[0])
        return builder.select(narrow, _FLOAT_BYTES, arguments[1])

    return types.intp(item, types.intp), codegen
