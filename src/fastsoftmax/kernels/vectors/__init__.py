"""Vectors of any width, their mathematics, and memory as kernels see it.

`vector_ir` (LLVM's instructions), `simd` (the vocabulary), `vmath` (exp, log) and `memory` (rows in
any strides). May import `compile`.
"""
