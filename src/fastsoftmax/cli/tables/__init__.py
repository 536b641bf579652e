"""Users' files: what they hold, and how it becomes X and labels.

`files` opens them: a `Table` of named columns (`table`, `delimited`), or a `Matrix` (`matrix`,
`svmlight`). `learning` finds how the columns of a table can be used (with `moments`); `numbers`,
`columns` and `text` are the kinds of use, of `cells`; `recipe` is all of them together, which a
model file keeps, and `encoding` makes X of any table by it. `labels` reads the labels.
"""

MISSING = ("refuse", "drop", "fill")  # what may become of rows with a missing value
