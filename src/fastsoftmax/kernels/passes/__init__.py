"""Whole passes: the kernels that the public functions launch, and what their tasks do.

`fused` (loss and gradient), `predict`, `rowwise` (functions of logits), `columns` (moments), `sgd`
and `sgd_by_slab` (runs of steps). May import all other rooms.
"""
