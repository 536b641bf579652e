"""Tiles of numbers in registers, and the sizes by which work is cut to fit them.

`tile` (the outer-product tile), `dots`, `transpose`, `packing` (how weights lie for the tiles),
`sizes` (one table of all sizes) and `ceilings` (what a machine allows). May import `vectors` and
`compile`.
"""
