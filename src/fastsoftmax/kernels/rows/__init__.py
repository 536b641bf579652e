"""The numerics of a row, written once: maximum, exponentials, sum, loss and residuals.

`row` (read it first), `lanes` (how rows lie in vectors), `targets` (labels and soft targets) and
`embed` (what users' compiled code calls). May import `vectors` and `compile`.
"""
