"""Whole passes: the kernels that the public functions launch, and what their tasks do.

`fused` (loss and gradient), `predict`, `rowwise` (functions of logits), `columns` (moments),
`directions` (where the curvature is), `sgd` and `sgd_by_slab` (runs of steps), `sgd_update` (what a
step does). May import all other rooms.
"""
