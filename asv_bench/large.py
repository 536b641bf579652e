"""`fit` on a Parquet file that is larger than its budget: time, and memory, beside reading alone.

A file of 3 million rows of 64 float32 columns, 770 MB, is made in a temporary folder (or in the one
that is named). Then processes of their own, in turns: one reads the file with pyarrow and keeps
nothing; one fits. Memory is what the process's resident set grows by, at its largest.

    python asv_bench/large.py [FOLDER]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

N, D, K = 3_000_000, 64, 5
MEMORY = "512MB"
ROUNDS = 3


def write(path):
    """Rows about the centres of their classes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    r = np.random.default_rng(0)
    centres = r.standard_normal((K, D)) * 0.2
    names = [f"x{d}" for d in range(D)]
    schema = pa.schema([(name, pa.float32()) for name in names] + [("kind", pa.string())])
    with pq.ParquetWriter(path, schema, use_dictionary=["kind"]) as writer:
        for _ in range(0, N, 250_000):
            y = r.integers(0, K, 250_000)
            X = (centres[y] + r.standard_normal((250_000, D))).astype(np.float32)
            columns = [*X.T, np.array([f"class {k}" for k in range(K)])[y]]
            writer.write_table(pa.table([np.ascontiguousarray(c) for c in columns], schema))


class Growth:
    """How much the resident set grows, at its largest; in bytes."""

    def __enter__(self):
        self._before, self.most, self._over = self._now(), 0, threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._watch.join()

    def _look(self):
        while not self._over.wait(0.01):
            self.most = max(self.most, self._now() - self._before)

    @staticmethod
    def _now():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()


def reading(path):
    import pyarrow.parquet as pq

    started = time.perf_counter()
    with Growth() as growth:
        for batch in pq.ParquetFile(path).iter_batches(65536):
            assert batch.num_rows
    return {"seconds": time.perf_counter() - started, "memory": growth.most}


def fitting(path, cache):
    import numpy as np
    import pyarrow.parquet  # noqa: F401

    import fastsoftmax as fs
    from fastsoftmax import sources

    X = np.random.default_rng(0).standard_normal((20_000, D), np.float32)
    fs.fit(X, np.arange(20_000) % K)  # compiled
    passes = []
    with Growth() as growth:
        started = time.perf_counter()
        source = sources.parquet(path, label="kind", memory=MEMORY, cache=cache)
        result = fs.fit(source, callback=lambda p: passes.append((p.passes, p.seconds)))
        seconds = time.perf_counter() - started
    (first, at_first), (last, at_last) = passes[0], passes[-1]
    return {
        "seconds": seconds,
        "memory": growth.most,
        "n_passes": result.n_passes,
        "a pass": (at_last - at_first) / (last - first),
        "gap": result.gap,
    }


CHILDREN = {
    "read alone": reading,
    "fit, with a cache": lambda path: fitting(path, True),
    "fit, decoding in each pass": lambda path: fitting(path, False),
}


def main():
    if len(sys.argv) == 3 and sys.argv[1] in CHILDREN:
        print(json.dumps(CHILDREN[sys.argv[1]](sys.argv[2])))
        return
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        path = str(Path(folder) / "rows.parquet")
        write(path)
        print(f"{N} x {D}, {Path(path).stat().st_size / 1e6:.0f} MB, memory={MEMORY!r}")
        found = {name: [] for name in CHILDREN}
        for _ in range(ROUNDS):
            for name, runs in found.items():
                command = [sys.executable, __file__, name, path]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append(json.loads(done.stdout))
    print("| | seconds | a pass, s | passes | memory grows by, MB |")
    print("|---|---|---|---|---|")
    for name, runs in found.items():
        best = min(runs, key=lambda run: run["seconds"])
        a_pass = min((run["a pass"] for run in runs if "a pass" in run), default=None)
        memory = max(run["memory"] for run in runs) / 1e6
        cells = [name, f"{best['seconds']:.2f}", "" if a_pass is None else f"{a_pass:.3f}"]
        cells += [str(best.get("n_passes", "")), f"{memory:.0f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
