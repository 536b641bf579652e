"""Compiled code: every `@njit` of the package, on numba and numpy alone."""
