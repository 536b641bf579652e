"""The two matrix products, for one block of rows: X W, and X' times the residuals.

`block` stands between the caller's arrays and the lanes of a block; `logits` and `gradient` are the
products. May import `tiles`, `rows`, `vectors` and `compile`.
"""
