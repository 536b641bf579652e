"""LLVM IR for vectors: the type, and what the operations of `simd` and the tiles are made of."""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import models, register_model

_INDEX = ir.IntType(32)
_BIT = ir.IntType(1)


def features() -> list[str]:
    """The CPU features that Numba compiles for, as LLVM spells them: "+avx2" and so on.

    None where a later Numba keeps them elsewhere: vectors are then narrow, but right.
    """
    return str(getattr(cpu_target.target_context.codegen(), "_tm_features", "")).split(",")


def _vector_registers() -> tuple[int, int]:
    """Bytes of a vector register of that CPU, and how many registers it has."""
    if "+avx512f" in features():
        return 64, 32
    if "+avx" in features():
        return 32, 16
    architecture = binding.get_process_triple().partition("-")[0]
    return 16, 32 if architecture in ("aarch64", "arm64") else 16


VECTOR_BYTES, VECTOR_REGISTERS = _vector_registers()


class Vector(types.Type):  # type: ignore[misc]
    """The type of `lanes` values of a Numba number type; `bits` that of a comparison."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    @property
    def bits(self) -> Vector:
        return Vector(types.boolean, self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, llvm_vector(vector))


def llvm_item(dtype: types.Type) -> ir.Type:
    """The LLVM type of one lane."""
    if dtype == types.boolean:
        return _BIT
    if isinstance(dtype, types.Integer):
        return ir.IntType(dtype.bitwidth)
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def llvm_vector(vector: Vector) -> ir.VectorType:
    return ir.VectorType(llvm_item(vector.dtype), vector.lanes)


def native(dtype: types.Type) -> Vector:
    """The vector of the native width."""
    return Vector(dtype, VECTOR_BYTES * 8 // dtype.bitwidth)


def suffix(vector: ir.Type) -> str:
    """How the names of LLVM's overloaded intrinsics spell a type."""
    if isinstance(vector, ir.VectorType):
        return f"v{vector.count}{suffix(vector.element)}"
    if isinstance(vector, ir.IntType):
        return f"i{vector.width}"
    return "f32" if isinstance(vector, ir.FloatType) else "f64"


def call(
    builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[Any], flags: Any = ()
) -> Any:
    """Call an LLVM intrinsic by its full name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments, fastmath=flags)


def constant(vector: ir.VectorType, values: Any) -> ir.Constant:
    """A vector of one value, or of the values of a list."""
    listed = values if isinstance(values, list) else [values] * vector.count
    return ir.Constant(vector, [ir.Constant(vector.element, value) for value in listed])


def splat_value(builder: ir.IRBuilder, vector: ir.VectorType, value: Any) -> Any:
    """`value` in every lane."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _INDEX(0))
    zeros = ir.Constant(ir.VectorType(_INDEX, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def pointer(builder: ir.IRBuilder, address: Any, target: ir.Type) -> Any:
    """An address as a pointer, to read or write through.

    It is one of address space 1, the same memory, where null is an address like any other. LLVM may
    write base + offset as a pointer made of the offset, indexed by the base, and Numba links code
    of that form into callers. Where the offset is 0 there, LLVM takes it for an access to null,
    which cannot happen, and deletes it with all that leads to it: on vectors of 16 bytes so went
    the loop over a row's maximum. The function attribute null_pointer_is_valid helps as well, but
    made softmax take 2.7 times as long.
    """
    return builder.inttoptr(address, target.as_pointer(1))


def load_value(builder: ir.IRBuilder, address: Any, kind: ir.Type) -> Any:
    value = builder.load(pointer(builder, address, kind))
    value.align = 1
    return value


def store_value(builder: ir.IRBuilder, value: Any, address: Any) -> None:
    builder.store(value, pointer(builder, address, value.type)).align = 1


def first_lanes(builder: ir.IRBuilder, lanes: int, count: Any) -> Any:
    """Bits that are set in the first `count` lanes."""
    indices = ir.VectorType(ir.IntType(64), lanes)
    bound = splat_value(builder, indices, count)
    return builder.icmp_signed("<", constant(indices, list(range(lanes))), bound)


def load_masked(
    builder: ir.IRBuilder, address: Any, vector: ir.VectorType, count: Any, other: Any
) -> Any:
    arguments = [
        pointer(builder, address, vector),
        _INDEX(1),
        first_lanes(builder, vector.count, count),
        splat_value(builder, vector, other),
    ]
    return call(builder, f"llvm.masked.load.{suffix(vector)}.p1", vector, arguments)


def store_masked(builder: ir.IRBuilder, value: Any, address: Any, count: Any) -> None:
    arguments = [
        value,
        pointer(builder, address, value.type),
        _INDEX(1),
        first_lanes(builder, value.type.count, count),
    ]
    call(builder, f"llvm.masked.store.{suffix(value.type)}.p1", ir.VoidType(), arguments)
