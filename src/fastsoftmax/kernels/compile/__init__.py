"""How functions are compiled, kept on disk and run on threads.

`jit` (the compile options), `cache` and `parallel` (the one parallel loop). Imports no other room.
"""
