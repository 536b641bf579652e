"""How functions are compiled, kept on disk and run on threads.

`jit` (the compile options), `helpers` (the compiler of what only kernels call), `cache`, `parallel`
(the one parallel loop) and `plain` (what goes without Numba's internals). Imports no other room.
"""
