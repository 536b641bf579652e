"""The work of `fastsoftmax train`.

`request` is what was asked for; `run` does it: `data` reads it, `split` holds rows out, `fitting`
trains and saves, `optimum` chooses a penalty.
"""
