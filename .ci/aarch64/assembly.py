"""What LLVM makes of the inner loops on AArch64, seen without such a machine: a table.

    python .ci/aarch64/assembly.py [--keep FOLDER] [cpu ...]

Numba compiles `loss_and_gradient` here, unoptimised, with vectors of 16 bytes and AArch64's number
of registers; LLVM takes that code to AArch64, with Numba's optimisations. Loops are blocks that
jump to themselves. One line for each function that has multiply-adds in some:

    loops     how many of them have
    fmla      vector multiply-adds of the longest
    length    all its instructions
    spills    reads and writes of the stack in any of the loops
    moves     copies of one vector register to another, there
    calls     of functions, there
    lanes     items that are read one by one to fill a vector, anywhere: the end of a row

Below come functions that the pass, or what widens narrow X, calls and that are not of this library,
Numba or Python. Exit status 1 if there are any, or if a loop spills or calls. It takes half a
minute and tells nothing of speed. LLVM's names of CPUs are those of `clang -mcpu=help`.
"""

import argparse
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

from llvmlite import binding, ir

TRIPLE = "aarch64-unknown-linux-gnu"
CPUS = ["generic", "neoverse-n1", "apple-m1"]
OURS = re.compile(r"_Z|fastsoftmax|NRT_|Py|numba_|mem(set|cpy|move)$")
SETTINGS = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_OPT": "0"}


def intermediate_code(folder):
    """{dtype: LLVM's code of a pass, or of what widens}, as Numba would make it on AArch64."""
    os.environ.update(SETTINGS, NUMBA_CACHE_DIR=folder)
    from numba.core.registry import cpu_target

    cpu_target.target_context.codegen()  # is for this machine, whatever comes next
    binding.get_process_triple = lambda: TRIPLE
    import numpy as np

    import fastsoftmax as fs
    from fastsoftmax.kernels.passes.fused import loss_and_gradient_by_chunk
    from fastsoftmax.kernels.vectors import widening

    result = {}
    for dtype in ("float32", "float64"):
        X, W = np.ones((3, 4), dtype), np.ones((4, 2), dtype)
        fs.loss_and_gradient(X, np.zeros(3, int), W, np.ones(2, dtype))
        *_, compiled = loss_and_gradient_by_chunk.overloads.values()
        result[dtype] = compiled.library.get_llvm_str()
    module = ir.Module()
    widening._emit(ir.Function(module, widening._WIDEN, "fastsoftmax_widen"))
    return result | {"narrow": str(module)}


def assembly(code, cpu):
    """That code, optimised and compiled for a CPU."""
    from numba.core.codegen import create_pass_builder

    module = binding.parse_assembly(code)
    target = binding.Target.from_triple(TRIPLE)
    machine = target.create_target_machine(cpu=cpu, opt=3, codemodel="jitdefault", jit=True)
    module.triple, module.data_layout = TRIPLE, str(machine.target_data)
    for level in (0, 3):  # a cheap run first, so that references can be seen not to need counting
        builder = create_pass_builder(machine, opt=level, loop_vectorize=level == 3)
        passes = builder.getModulePassManager()
        if level == 0:
            passes.add_loop_rotate_pass()
            passes.add_instruction_combine_pass()
            passes.add_jump_threading_pass()
        passes.add_refprune_pass()
        passes.run(module, builder)
    return machine.emit_assembly(module)


def functions(text):
    """(name, its instructions and labels) of each function."""
    for part in re.split(r"\t\.type\t(?=\S+,@function)", text)[1:]:
        head, *lines = part.split("\n")
        stripped = [line.split("//")[0].strip().replace("\t", " ") for line in lines]
        code = [x for x in stripped if x and (x[0] != "." or x[-1] == ":")]
        yield head.split(",")[0], code


def loops(lines):
    """Blocks that jump to themselves."""
    block, label = [], None
    for line in lines:
        if line.endswith(":"):
            block, label = [], line[:-1]
            continue
        block.append(line)
        if re.match(r"(b|cbn?z|tbn?z)\b", line):
            if re.split(r"[ ,]+", line)[-1] == label:
                yield block
            block, label = [], None  # what comes after is another block


def short(name):
    """The last two parts of a mangled name."""
    parts, rest = [], name.removeprefix("_ZN")
    while found := re.match(r"\d+", rest):
        end = found.end() + int(found[0])
        parts.append(rest[found.end() : end])
        rest = rest[end:]
    return ".".join(parts[-2:])


def count(pattern, lines):
    return sum(bool(re.search(pattern, line)) for line in lines)


def report(cpu, dtype, text):
    """Print the lines of a pass; the number of faults."""
    faults = 0
    called = set()
    for name, lines in functions(text):
        called.update(line.split()[1] for line in lines if line.startswith("bl "))
        hot = [loop for loop in loops(lines) if count("^fml[as]", loop)]
        if not hot:
            continue
        largest = max(hot, key=len)
        every = [line for loop in hot for line in loop]
        spills, calls = count(r"\[sp\b", every), count("^bl", every)
        numbers = [
            len(hot),
            count("^fml[as]", largest),
            len(largest),
            spills,
            count(r"^mov v\S+16b", every),
            calls,
            count(r"^ld1 \{ v\d+\.[sd] \}", lines),
        ]
        print(f"{cpu:12} {dtype} {short(name):34}", *(f"{x:6}" for x in numbers))
        faults += spills + calls
    outside = [name for name in sorted(called) if not OURS.match(name)]
    if outside:
        print(f"{cpu:12} {dtype} calls", *outside)
    return faults + len(outside)


def main():
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("cpus", nargs="*", metavar="cpu", default=CPUS)
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="where to leave the assembly")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # unoptimised code cannot be cached
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    with tempfile.TemporaryDirectory() as folder:
        codes = intermediate_code(folder)
    heads = ("loops", "fmla", "length", "spills", "moves", "calls", "lanes")
    print(f"{'cpu':12} {'dtype':7} {'function':34}", *(f"{head:>6}" for head in heads))
    faults = 0
    for cpu in options.cpus:
        for dtype, code in codes.items():
            text = assembly(code, cpu)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{cpu}-{dtype}.s").write_text(text)
            faults += report(cpu, dtype, text)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
