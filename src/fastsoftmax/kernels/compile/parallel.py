"""Tasks on threads: the one parallel loop, which every kernel hands its blocks to.

A kernel calls `for_each(run, n, task, arguments)`. `run` is the address of one of two compiled
loops, in parallel or one by one, that Python chose for the call; both know a task only as an
address. So each kernel is compiled once, whatever runs it, and the bits are the same: Numba would
compile the body of a `prange` of its own four times over (8.1 s of 9.7 s of the first call of
`loss_and_gradient` with an empty cache).
"""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import Any

import numba
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.compile import plain
from fastsoftmax.kernels.compile.cache import keep

_WORD = ir.IntType(64)
_TASK = (types.none, (types.intp, types.intp))  # (i, address of the arguments)


@intrinsic
def for_each(typing_context: Any, run: Any, n_tasks: Any, task: Any, arguments: Any) -> Any:
    """task(i, *arguments) for each i in [0, n_tasks), by the loop at address `run`.

    `task` is a compiled function without result; there may be more among its arguments. A task that
    fails, as only one can that is out of memory, makes the kernel raise MemoryError once the others
    are done.
    """
    called = task.get_call_type(typing_context, (types.intp, *arguments.types), {})

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        run_, n_tasks_, _, arguments_ = values
        place = cgutils.alloca_once(
            builder, ir.LiteralStructType([_WORD, context.get_value_type(arguments)])
        )
        failed = builder.gep(place, [ir.Constant(ir.IntType(32), i) for i in (0, 0)])
        builder.store(ir.Constant(_WORD, 0), failed)
        stored = _without_addresses(context, builder, arguments, arguments_)
        builder.store(stored, builder.gep(place, [ir.Constant(ir.IntType(32), i) for i in (0, 1)]))
        address = _emit_task(context, builder, task, called, place.type)
        loop = ir.FunctionType(ir.VoidType(), [_WORD] * 3).as_pointer()
        words = [builder.ptrtoint(pointer, _WORD) for pointer in (address, place)]
        builder.call(builder.inttoptr(run_, loop), [words[0], n_tasks_, words[1]])
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, builder.load(failed))):
            context.call_conv.return_user_exc(builder, MemoryError, ("scratch for a block",))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, task, arguments), codegen


def _without_addresses(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
    """The arguments, without what Numba holds for functions among them, whose types say it all.

    That is the address of a Python object, with which no kernel can be kept on disk.
    """
    values = [
        context.get_dummy_value() if isinstance(one, types.Dispatcher) else value
        for one, value in zip(kind.types, cgutils.unpack_tuple(builder, arguments), strict=True)
    ]
    return context.make_tuple(builder, kind, values)


def _emit_task(context: Any, builder: Any, task: Any, called: Any, place: Any) -> ir.Function:
    """A function of `_TASK`'s type that takes the arguments from their place and calls `task`."""
    module = builder.module
    kind = context.call_conv.get_function_type(*_TASK)
    function = ir.Function(module, kind, module.get_unique_name("fastsoftmax.task"))
    function.linkage = "internal"
    body = ir.IRBuilder(function.append_basic_block())
    i, address = context.call_conv.get_arguments(function)
    stored = body.inttoptr(address, place)
    values = body.load(body.gep(stored, [ir.Constant(ir.IntType(32), n) for n in (0, 1)]))
    call = context.get_function(task, called)
    call(body, [i, *cgutils.unpack_tuple(body, values)])
    context.add_linking_libs(getattr(call, "libs", ()))
    context.call_conv.return_value(body, context.get_dummy_value())
    return function


@intrinsic
def _call(typing_context: Any, task: Any, i: Any, arguments: Any) -> Any:
    """Call the task at an address; a failure is noted in the first word of the arguments."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        task_, i_, arguments_ = values
        kind = context.call_conv.get_function_type(*_TASK)
        function = builder.inttoptr(task_, kind.as_pointer())
        status, _ = context.call_conv.call_function(builder, function, *_TASK, [i_, arguments_])
        with cgutils.if_unlikely(builder, status.is_error):
            failed = builder.inttoptr(arguments_, _WORD.as_pointer())
            builder.store(ir.Constant(_WORD, 1), failed)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


def _in_parallel(task: int, n_tasks: int, arguments: int) -> None:
    if n_tasks == 1:
        _call(task, 0, arguments)
    else:
        for i in prange(n_tasks):
            _call(task, i, arguments)


def _one_by_one(task: int, n_tasks: int, arguments: int) -> None:
    for i in range(n_tasks):
        _call(task, i, arguments)


# Threads that compile a loop at once would each get an address, and only the last keep its code.
_compiling = threading.RLock()


def _after_fork_in_child() -> None:
    global _compiling
    _compiling = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@cache
def _compiled(function: Any, parallel: bool) -> Any:
    """The C function of a loop, which lives as long as the process."""
    options = {"nopython": True, "nogil": True, "parallel": parallel}
    try:
        from numba.core.ccallback import CFunc

        arguments = (types.intp, types.intp, types.intp)
        loop = CFunc(function, (arguments, types.void), locals={}, options=options)
        finish = loop.compile
    except Exception as error:
        plain.note("the parallel loop is compiled in each process", error)
        return numba.cfunc(types.void(types.intp, types.intp, types.intp), **options)(function)
    keep(loop, function)
    finish()
    return loop


@cache
def in_parallel() -> int:
    """The address of the loop on Numba's threads."""
    numba.get_num_threads()  # starts the threads, without which the loop cannot be loaded
    with _compiling:
        return int(_compiled(_in_parallel, parallel=True).address)


@cache
def one_by_one() -> int:
    """The address of the loop in the calling thread."""
    with _compiling:
        return int(_compiled(_one_by_one, parallel=False).address)
