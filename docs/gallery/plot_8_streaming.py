"""
Rows from Parquet files, a piece at a time
==========================================

A table of many files is never in memory as a whole: `fit` reads it again for each pass, within a
budget, and comes to the same bits as with all rows in memory.
"""

# %%
# The files
# ---------
# Eight files of made measurements, as a logger would write them day by day. Here they are small,
# so that the example is quick; nothing below depends on how many there are.
import tempfile
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastsoftmax as fs
from fastsoftmax import sources

rng = np.random.default_rng(0)
D, kinds = 24, np.array(["calm", "rain", "storm"])
true_W = rng.normal(size=(D, 3)) * 0.5


def day(rows):
    X = rng.normal(size=(rows, D)).astype(np.float32)
    X[:, 1] += 0.8 * X[:, 0]  # correlated, as measurements are
    kind = kinds[(X @ true_W + rng.gumbel(size=(rows, 3))).argmax(axis=1)]
    columns = {f"sensor {i:02}": X[:, i] for i in range(D)}
    return X, kind, pa.table({**columns, "kind": kind})


folder = tempfile.TemporaryDirectory()
parts = []
for number in range(8):
    X_day, y_day, table = day(40_000)
    pq.write_table(table, Path(folder.name) / f"day-{number}.parquet")
    parts.append((X_day, y_day))
X = np.concatenate([X_day for X_day, _ in parts])
y = np.concatenate([y_day for _, y_day in parts])
print(f"{len(X)} rows of {D} features in 8 files; in memory {X.nbytes / 1e6:.0f} MB")

# %%
# The optimum, from the files
# ---------------------------
# A source takes the place of ``X`` and ``y``. Nothing is read before `fit` begins. The budget is
# that of rows; beside them, `fit` keeps a few numbers for each row of all files.
source = sources.parquet(f"{folder.name}/day-*.parquet", label="kind", memory="8MB")
fs.fit(X[:1000], y[:1000])  # loads what is compiled, so that it is not in the memory below
tracemalloc.start()
result = fs.fit(source)
_, peak = tracemalloc.get_traced_memory()
tracemalloc.stop()
print(f"gap {result.gap:.1e} after {result.n_passes:g} passes, {result.stopped}")
print(f"arrays of NumPy took {peak / 1e6:.1f} MB at most")

# %%
# The same bits
# -------------
# Sums are cut by the number of rows alone, not by how they are read.
whole = fs.fit(X, y, feature_names=result.model.feature_names)
same = np.array_equal(whole.model.W, result.model.W) and np.array_equal(
    whole.model.b, result.model.b
)
print("the same bits as with all rows in memory:", same)

# %%
# By mini-batches
# ---------------
# `fit_sgd` shuffles pieces of the files, by the seed alone, so that each epoch reads them once.
trained = fs.fit_sgd(source, epochs=5)
for name, model in [("fit", result.model), ("fit_sgd", trained.model)]:
    print(f"{name:8} {fs.loss(X, model.label_indices(y), model.W, model.b):.6f}")

# %%
# A new file
# ----------
# The model knows the columns by name.
X_new, y_new, table = day(5_000)
print(f"{result.model.score(X_new, y_new):.1%} of a new day's rows are right")
shares = [np.mean(y_day == "storm") for _, y_day in parts]
said = [result.model.predict_proba(X_day)[:, 2].mean() for X_day, _ in parts]
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(shares, "o", label="share of storms")
axes.plot(said, "x", label="mean probability of a storm")
axes.set(xlabel="day", ylabel="share")
axes.legend()
plt.show()
folder.cleanup()
