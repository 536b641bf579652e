"""Rows read piece by piece are those of the whole arrays, however the source cuts them."""

from __future__ import annotations

import _thread
import gc
import itertools
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from fastsoftmax import sources
from fastsoftmax.csr import CSR
from fastsoftmax.sources.scan import scan
from fastsoftmax.sources.source import blocks

N, D = 3001, 5
SMALL = "64KB"  # of memory: N rows do not fit


class Data:
    """The rows that all sources here hold."""

    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D)).astype(np.float32)
    y = rng.choice(["b", "a", "zebra"], N)
    weight = rng.random(N)
    classes, numbers = np.unique(y, return_inverse=True)


def bounds_of(rows, step):
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]


def reading_threads():
    return [thread for thread in threading.enumerate() if "fastsoftmax-read" in thread.name]


def assert_same_rows(scanned, X, targets, weight):
    """All ways to the rows give those of the arrays, more than once."""
    n_rows = len(X)
    step = scanned.window_rows(32)
    for bounds in (bounds_of(n_rows, step), [(3, 7), (100, 100 + step), (n_rows - 1, n_rows)]):
        for first, *window in scanned.windows(bounds):
            rows = slice(first, first + len(window[0]))
            assert window[0].flags.c_contiguous
            assert window[0].dtype == scanned.facts.dtype
            for found, expected in zip(window, (X, targets, weight), strict=True):
                np.testing.assert_array_equal(found, expected[rows])
    chosen = np.array([5, n_rows - 1, 5, 0, 6])
    for found, expected in zip(scanned.take(chosen), (X, targets, weight), strict=True):
        np.testing.assert_array_equal(found, expected[chosen])
    labels = list(scanned.labels())
    np.testing.assert_array_equal(np.concatenate([part[1] for part in labels]), targets)
    np.testing.assert_array_equal(np.concatenate([part[2] for part in labels]), weight)
    if scanned.random:
        groups = [[(50, 90), (0, 20)], [(n_rows - 9, n_rows)], [(200, 300)]]
        for group, window in zip(groups, scanned.pieces(groups), strict=True):
            rows = np.concatenate([np.arange(*run) for run in group])
            np.testing.assert_array_equal(window[0], X[rows])
            np.testing.assert_array_equal(window[1], targets[rows])
            np.testing.assert_array_equal(window[2], weight[rows])
    if scanned.resident() is not None:
        np.testing.assert_array_equal(scanned.resident()[0], X)
        np.testing.assert_array_equal(scanned.resident()[1], targets)
    assert reading_threads() == []


def table(**columns):
    pa = pytest.importorskip("pyarrow")
    features = {f"x{d}": Data.X[:, d] for d in range(D)}
    return pa.table({**features, "kind": Data.y, "w": Data.weight, **columns})


def write_parts(folder, whole, cuts, row_group_size):
    pq = pytest.importorskip("pyarrow.parquet")
    for i, (first, stop) in enumerate(itertools.pairwise([0, *cuts, len(whole)])):
        part = whole.slice(first, stop - first)
        pq.write_table(part, folder / f"part-{i}.parquet", row_group_size=row_group_size)
    return str(folder / "part-*.parquet")


def in_batches(size, *arrays):
    def start():
        for first in range(0, arrays[0].shape[0], size):
            yield tuple(array[first : first + size] for array in arrays)

    return start


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("memory", [SMALL, "64MB"])
@pytest.mark.parametrize(("cuts", "groups"), [((), 5000), ((1000, 1000, 1001), 700)])
def test_parquet(tmp_path, memory, cache, cuts, groups):
    paths = write_parts(tmp_path, table(), cuts, groups)
    source = sources.parquet(paths, label="kind", weight="w", memory=memory, cache=cache)
    with scan(source) as scanned:
        facts = scanned.facts
        assert facts.n_rows == N
        assert facts.feature_names == tuple(f"x{d}" for d in range(D))
        assert facts.classes.tolist() == Data.classes.tolist()
        assert facts.counts.tolist() == np.bincount(Data.numbers).tolist()
        assert facts.class_weights.tolist() == np.bincount(Data.numbers, Data.weight).tolist()
        assert facts.largest_weight == Data.weight.max()
        assert facts.total_weight == pytest.approx(Data.weight.sum(), rel=1e-15)
        assert (scanned.resident() is not None) == (memory == "64MB")
        assert scanned.random == (cache or memory == "64MB")
        assert_same_rows(scanned, Data.X, Data.numbers, Data.weight)


@pytest.mark.parametrize("memory", [SMALL, "64MB"])
@pytest.mark.parametrize("kind", ["table", "dataset", "batches", "stream"])
def test_arrow(tmp_path, kind, memory):
    pa = pytest.importorskip("pyarrow")
    dataset = pytest.importorskip("pyarrow.dataset")
    whole = table()
    write_parts(tmp_path, whole, [2000], 900)
    data = {
        "table": whole,
        "dataset": dataset.dataset(tmp_path, format="parquet"),
        "batches": lambda: whole.to_batches(max_chunksize=123),
        "stream": lambda: pa.RecordBatchReader.from_batches(whole.schema, whole.to_batches(800)),
    }[kind]
    source = sources.arrow(data, label="kind", weight="w", memory=memory, cache=False)
    with scan(source) as scanned:
        assert_same_rows(scanned, Data.X, Data.numbers, Data.weight)


@pytest.mark.parametrize("memory", [SMALL, "64MB"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", "<i8", "|i1", ">i2"])
def test_npy(tmp_path, dtype, order, memory):
    X = (Data.X * 20).astype(dtype)
    np.save(tmp_path / "X.npy", np.asarray(X, order=order))
    np.save(tmp_path / "y.npy", Data.y)
    np.save(tmp_path / "w.npy", Data.weight)
    paths = [tmp_path / f"{name}.npy" for name in "Xyw"]
    with scan(sources.npy(*paths, memory=memory)) as scanned:
        expected = {"i8": "f8"}.get(dtype[1:], dtype[1:])
        assert scanned.facts.dtype == np.dtype(expected)
        assert scanned.facts.dtype.isnative
        assert_same_rows(scanned, X, Data.numbers, Data.weight)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("size", [1, 7, 512, N])
def test_batches(size, cache):
    n_rows = min(N, 400 * size)
    arrays = Data.X[:n_rows], Data.numbers[:n_rows]
    source = sources.batches(in_batches(size, *arrays), memory="6KB", cache=cache)
    with scan(source) as scanned:
        assert scanned.facts.classes.dtype == Data.numbers.dtype
        assert scanned.resident() is None
        assert scanned.facts.total_weight == n_rows
        assert_same_rows(scanned, *arrays, np.ones(n_rows))


def test_sums_of_weights_do_not_depend_on_batches():
    totals = set()
    for size in (1, 100, 512, 700, N):
        start = in_batches(size, Data.X, Data.numbers, Data.weight)
        with scan(sources.batches(start)) as scanned:
            totals.add((scanned.facts.total_weight, *scanned.facts.class_weights))
    assert len(totals) == 1


@pytest.mark.parametrize("cache", [True, False])
def test_soft_targets(cache):
    P = np.random.default_rng(1).random((N, 4))
    source = sources.batches(in_batches(100, Data.X, P), memory=SMALL, cache=cache)
    with scan(source) as scanned:
        assert scanned.facts.classes.tolist() == [0, 1, 2, 3]
        assert scanned.facts.counts is None
        assert_same_rows(scanned, Data.X, P, np.ones(N))


@pytest.mark.parametrize(("memory", "cache"), [("1MB", True), ("40KB", True), ("40KB", False)])
def test_sparse_batches(memory, cache):
    dense = np.where(Data.X > 1, Data.X, 0)
    dense[500:800] = 0
    X = scipy.sparse.csr_array(dense)
    X.indices = X.indices.astype(np.int64)

    def start():
        """In arrays that are filled anew for each batch."""
        data, indices = np.empty(99 * D, np.float32), np.empty(99 * D, np.int64)
        for first in range(0, N, 99):
            part = X[first : first + 99]
            data[: part.nnz], indices[: part.nnz] = part.data, part.indices
            given = data[: part.nnz], indices[: part.nnz], part.indptr
            yield scipy.sparse.csr_array(given, part.shape), Data.y[first : first + 99]

    with scan(sources.batches(start, memory=memory, cache=cache)) as scanned:
        facts = scanned.facts
        assert facts.sparse
        assert facts.n_entries == X.nnz
        assert (scanned.resident() is not None) == (memory == "1MB")
        assert scanned.random == (cache or memory == "1MB")
        windows = [(0, 1), (3, 400), (450, 790), (2000, N)]
        for first, rows, targets, _ in scanned.windows(windows):
            assert isinstance(rows, CSR)
            assert rows.in_order
            np.testing.assert_array_equal(rows.dense(), dense[first : first + len(rows)])
            np.testing.assert_array_equal(targets, Data.numbers[first : first + len(rows)])
        chosen = [7, 3, 3, 600, 601]
        np.testing.assert_array_equal(scanned.take(chosen)[0].dense(), dense[chosen])
        assert sum(len(targets) for _, targets, _ in scanned.labels()) == N
        if scanned.random:
            (piece,) = scanned.pieces([[(900, 1000), (20, 30)]])
            expected = np.concatenate([dense[900:1000], dense[20:30]])
            np.testing.assert_array_equal(piece[0].dense(), expected)


# What columns become


def scanned_table(whole, **options):
    with scan(sources.arrow(whole, label="kind", **options)) as scanned:
        return scanned.facts, scanned.resident()


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["float16", "float16"], "float16"),
        (["uint8", "uint8"], "uint8"),
        (["bool", "bool"], "bool"),
        (["uint8", "float32"], "float32"),
        (["int32", "float32"], "float64"),
        (["int64", "int64"], "float64"),
        (["bool", "int8"], "int8"),
    ],
)
def test_types_of_columns(types, expected):
    pa = pytest.importorskip("pyarrow")
    columns = [np.array([0, 1, 1, 0]).astype(dtype) for dtype in types]
    whole = pa.table({"a": columns[0], "b": columns[1], "kind": [1, 2, 1, 2]})
    facts, (X, targets, _) = scanned_table(whole)
    assert X.dtype == facts.dtype == expected
    np.testing.assert_array_equal(X, np.array([[0, 0], [1, 1], [1, 1], [0, 0]]))
    assert targets.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("fixed", [True, False])
def test_lists_are_features(tmp_path, fixed):
    pa = pytest.importorskip("pyarrow")
    type_ = pa.list_(pa.float16(), D) if fixed else pa.list_(pa.float16())
    X = Data.X.astype(np.float16)
    whole = pa.table({"kind": Data.y, "embedding": pa.array(list(X), type_)})
    paths = write_parts(tmp_path, whole, [7], 500)
    source = sources.parquet(paths, label="kind", memory=SMALL)
    with scan(source) as scanned:
        assert scanned.facts.feature_names is None
        assert_same_rows(scanned, X, Data.numbers, np.ones(N))


@pytest.mark.parametrize("kind", ["polars", "categories", "pandas", "tensor"])
def test_what_gives_a_stream_of_arrow(kind):
    pa = pytest.importorskip("pyarrow")
    X, y = Data.X[:4, :2], ["b", "a", "b", "b"]
    columns = {"x0": X[:, 0], "x1": X[:, 1], "kind": y}
    if kind == "tensor":
        tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(X)
        frame = pa.table({"embedding": tensor, "kind": y})
    elif kind == "pandas":
        frame = pytest.importorskip("pandas").DataFrame(columns)
    else:
        pl = pytest.importorskip("polars")
        type_ = pl.Enum(["none", "b", "a"]) if kind == "categories" else pl.String
        frame = pl.DataFrame(columns).with_columns(pl.col("kind").cast(type_))
    facts, (found, targets, _) = scanned_table(frame)
    np.testing.assert_array_equal(found, X)
    assert facts.classes.tolist() == ["a", "b"]
    assert targets.tolist() == [1, 0, 1, 1]


def test_columns_are_chosen_and_ordered():
    whole = table(text=Data.y)
    facts, (X, *_) = scanned_table(whole, features=["x3", "x0"], weight="w")
    np.testing.assert_array_equal(X, Data.X[:, [3, 0]])
    assert facts.feature_names == ("x3", "x0")


def test_the_index_of_pandas_is_no_feature(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.0, 2.0], "kind": ["u", "v"]}, index=[5, 3])
    frame.to_parquet(tmp_path / "frame.parquet")
    with scan(sources.parquet(tmp_path / "frame.parquet", label="kind")) as scanned:
        assert scanned.facts.feature_names == ("a",)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([3, -1, 3], [-1, 3]),
        ([True, False, True], [False, True]),
        ([2.0, 1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_types_of_labels(values, classes):
    pa = pytest.importorskip("pyarrow")
    unused = pa.DictionaryArray.from_arrays([1, 2, 1], pa.array([values[0], *values[:2]]))
    for column in (pa.array(values), pa.array(values).dictionary_encode(), unused):
        facts, (_, targets, _) = scanned_table(pa.table({"x": [1.0, 2.0, 3.0], "kind": column}))
        expected = np.unique(values)
        assert facts.classes.tolist() == classes
        assert facts.classes.dtype == expected.dtype
        assert targets.tolist() == [1, 0, 1]


def test_classes_are_those_listed():
    source = sources.batches(in_batches(9, Data.X, Data.y), classes=["zebra", "b", "a", "none"])
    with scan(source) as scanned:
        names = np.array(["zebra", "b", "a", "none"])
        assert scanned.facts.classes.tolist() == names.tolist()
        assert (names[scanned.resident()[1]] == Data.y).all()
        assert scanned.facts.counts[3] == 0
    with pytest.raises(ValueError, match=r"label 'a' in row .* of batch .* is not one of"):
        scan(source, classes=["b", "zebra"])


# What is kept, and given back


def files_open_in(folder):
    """Where the open files of this process lay, of those in a folder."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files are listed in /proc alone")
    found = [os.path.realpath(path) for path in descriptors.iterdir()]
    return [path for path in found if path.startswith(str(folder))]


def test_the_cache_has_no_name_and_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = sources.batches(in_batches(100, Data.X, Data.y), memory=SMALL)
    with scan(source) as scanned:
        assert len(files_open_in(tmp_path)) == 2
        assert list(tmp_path.iterdir()) == []
        assert scanned.random
    assert files_open_in(tmp_path) == []


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    size = Data.X.nbytes + 4 * N
    for limit, fits in ((size - 1, False), (size, True)):
        source = sources.batches(in_batches(100, Data.X, Data.y), memory=SMALL, cache=limit)
        with scan(source) as scanned:
            assert scanned.random == fits
            assert_same_rows(scanned, Data.X, Data.numbers, np.ones(N))


def test_a_full_disk_is_said(monkeypatch):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: full.open("wb", buffering=0))
    source = sources.batches(in_batches(100, Data.X, Data.y), memory=SMALL)
    with pytest.raises(OSError, match=r"No space left.*cache=False"):
        scan(source)


RESIDENT = """
import resource, sys
from fastsoftmax import sources
from fastsoftmax.sources.scan import scan

def read(path, cache):
    with scan(sources.parquet(path, label="kind", memory="32MB", cache=cache)) as scanned:
        n_rows, step = scanned.facts.n_rows, scanned.window_rows(512)
        bounds = [(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]
        return sum(len(window[1]) for window in scanned.windows(bounds))

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

small, large = sys.argv[1:]
assert read(small, True) == read(small, False)  # what is imported stays
before = peak()
assert read(large, True) == read(large, False) == 3_000_000
print(peak() - before)
"""


def test_resident_memory_stays_near_the_budget(tmp_path):
    """192 MB of rows through a budget of 32 MB."""
    pytest.importorskip("resource")
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = np.arange(100_000)
    columns = {f"x{d}": ((rows * (d + 7)) % 1000).astype(np.float32) for d in range(16)}
    part = pa.table({**columns, "kind": rows % 3})
    paths = [str(tmp_path / name) for name in ("small.parquet", "large.parquet")]
    pq.write_table(part, paths[0])
    with pq.ParquetWriter(paths[1], part.schema) as file:
        for _ in range(30):
            file.write_table(part)
    command = [sys.executable, "-c", RESIDENT, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64e6


def test_ctrl_c_while_rows_are_read():
    interrupted = threading.Event()

    def start():
        for i, batch in enumerate(in_batches(100, Data.X, Data.y)()):
            if i == 5 and not interrupted.is_set():
                interrupted.set()
                _thread.interrupt_main()  # as Ctrl-C does
            yield batch

    source = sources.batches(start, memory=SMALL, cache=False)
    with pytest.raises(KeyboardInterrupt):
        scan(source)
    assert reading_threads() == []
    with scan(source) as scanned:
        interrupted.clear()
        with pytest.raises(KeyboardInterrupt):
            list(scanned.windows(bounds_of(N, 128)))
        assert reading_threads() == []


@pytest.mark.parametrize("cache", [True, False])
def test_no_thread_reads_beside_kernels_that_would_run_one_by_one(monkeypatch, cache):
    monkeypatch.setattr("fastsoftmax.layers.start", lambda: "workqueue")
    source = sources.batches(in_batches(100, Data.X, Data.y), memory=SMALL, cache=cache)
    with scan(source) as scanned:
        with closing(scanned.windows(bounds_of(N, 128))) as windows:
            next(windows)
            assert reading_threads() == []
        assert_same_rows(scanned, Data.X, Data.numbers, np.ones(N))


def test_blocks_are_all_rows_in_order():
    """What is predicted for needs no labels."""
    names = tuple("abcde")

    def start():
        for X, _ in in_batches(700, Data.X, Data.y)():
            yield pytest.importorskip("pandas").DataFrame(X, columns=list(names))

    source = sources.batches(start)
    found = list(blocks(source))
    assert [first for first, _ in found] == list(range(0, N, 700))
    np.testing.assert_array_equal(np.concatenate([batch.X for _, batch in found]), Data.X)
    assert {batch.names for _, batch in found} == {names}
    assert reading_threads() == []


def test_windows_and_batches_stay_within_the_budget(tmp_path):
    budget = 2_000_000
    X = np.random.default_rng(0).standard_normal((100_000, 16), dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.arange(len(X)) % 3)
    pa = pytest.importorskip("pyarrow")
    whole = pa.table({"kind": np.arange(len(X)) % 3, **{f"x{d}": X[:, d] for d in range(16)}})
    paths = write_parts(tmp_path, whole, [], 50_000)
    for source in (
        sources.npy(tmp_path / "X.npy", tmp_path / "y.npy", memory=budget),
        sources.parquet(paths, label="kind", memory=budget),
        sources.parquet(paths, label="kind", memory=budget, cache=False),
    ):
        with closing(scan(source)):  # what is imported stays
            pass
        tracemalloc.start()
        with scan(source) as scanned:
            for _ in scanned.windows(bounds_of(len(X), scanned.window_rows(64))):
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < budget


@pytest.mark.parametrize("how", ["left", "raised", "closed", "interrupted"])
def test_the_thread_ends_with_the_windows(how):
    closed = threading.Event()

    def start():
        try:
            yield from in_batches(100, Data.X, Data.y)()
        finally:
            closed.set()

    with scan(sources.batches(start, memory=SMALL, cache=False)) as scanned:
        closed.clear()
        windows = scanned.windows(bounds_of(N, 128))
        next(windows)
        assert len(reading_threads()) == 1
        if how == "left":
            del windows
            gc.collect()
        elif how == "closed":
            windows.close()
        else:
            kind = ValueError if how == "raised" else KeyboardInterrupt
            with pytest.raises(kind), closing(windows):
                raise kind
        assert reading_threads() == []
        assert closed.is_set()


# What goes wrong


def test_a_generator_is_read_once():
    with pytest.raises(TypeError, match=r"batches takes a callable.*got generator"):
        sources.batches(in_batches(9, Data.X, Data.y)())
    generator = in_batches(9, Data.X, Data.y)()
    source = sources.batches(lambda: generator, memory=SMALL, cache=False)
    with (
        scan(source) as scanned,
        pytest.raises(sources.SourceError, match="returned the iterator that was read before"),
    ):
        list(scanned.windows([(0, 32)]))
    with pytest.raises(ValueError, match="returned the iterator that was read before"):
        scan(source)


def test_a_record_batch_reader_is_read_once():
    pytest.importorskip("pyarrow")
    reader = table().to_reader()
    with pytest.raises(TypeError, match="RecordBatchReader can be read once"):
        sources.arrow(reader, label="kind")


@pytest.mark.parametrize("later", [N - 1, N + 1])
def test_another_number_of_rows_in_a_later_pass(later):
    sizes = iter([N, later, later])

    def start():
        size = next(sizes)
        X, y = np.resize(Data.X, (size, D)), np.resize(Data.numbers, size)
        yield from in_batches(100, X, y)()

    source = sources.batches(start, memory=SMALL, cache=False)
    with (
        scan(source) as scanned,
        pytest.raises(sources.SourceChangedError, match=rf"{later} rows, {N} were in the first"),
    ):
        list(scanned.windows(bounds_of(N, 128)))
    assert reading_threads() == []


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_a_file_that_changes(tmp_path, kind):
    if kind == "npy":
        path = tmp_path / "X.npy"
        np.save(path, Data.X)
        np.save(tmp_path / "y.npy", Data.y)
        source = sources.npy(path, tmp_path / "y.npy", memory=SMALL)
    else:
        path = tmp_path / "part-0.parquet"
        source = sources.parquet(
            write_parts(tmp_path, table(), [], 100), label="kind", memory=SMALL, cache=False
        )
    with scan(source) as scanned:
        os.utime(path, (1, 1))
        with pytest.raises(sources.SourceChangedError, match=f"{path.name} was changed"):
            list(scanned.windows([(0, 32)]))


def test_what_a_reader_raises_later_is_a_source_error():
    calls = itertools.count()

    def start():
        fails = next(calls) > 0
        for i, batch in enumerate(in_batches(100, Data.X, Data.y)()):
            if fails and i == 3:
                raise OSError("the disk is gone")
            yield batch

    with scan(sources.batches(start, memory=SMALL, cache=False)) as scanned:
        with pytest.raises(sources.SourceError, match="the disk is gone") as raised:
            list(scanned.windows(bounds_of(N, 128)))
        assert isinstance(raised.value.__cause__, OSError)
        assert raised.value.result is None
    for kind in (sources.SourceError, sources.SourceChangedError):
        copy = pickle.loads(pickle.dumps(kind("the disk is gone", "a result")))
        assert (type(copy), str(copy), copy.result) == (kind, "the disk is gone", "a result")


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ((np.zeros((2, 3)), ["a", "b"]), "batch 1 have 3 features, those before 2"),
        ((np.zeros((2, 2), np.float32), ["a", "b"]), "batch 1 are float32, those before float64"),
        ((scipy.sparse.csr_array((2, 2)), ["a", "b"]), "batch 1 are sparse float64"),
        ((np.zeros((2, 2)), [1, 2]), "labels in batch 1 are int64, those before <U1"),
        ((np.zeros((2, 2)), np.eye(2)), "batch 1 have 2 targets each, those before labels"),
        ((np.zeros((2, 2)), ["a", "b"], [1, 2]), "batch 1 have weights, those before none"),
        ((np.zeros((2, 2)), ["a"]), "batch 1: X has 2 rows, y has 1"),
        ((np.zeros((2, 2)),), r"batch 1 must be \(X, y\)"),
        ((np.zeros(2), ["a", "b"]), "batch 1: X must have shape"),
        ((np.zeros((2, 2)), [0.5, 1.0]), "batch 1: y.* looks continuous"),
    ],
)
def test_batches_unlike_the_first(second, text):
    first = np.zeros((2, 2)), ["a", "b"]
    with pytest.raises((TypeError, ValueError), match=text):
        scan(sources.batches(lambda: [first, second]))


@pytest.mark.parametrize(
    ("weight", "y", "text"),
    [
        ([1.0, -1.0], ["a", "b"], "the weight in row 1 of batch 0 is -1.0"),
        ([1.0, np.nan], ["a", "b"], "the weight in row 1 of batch 0 is nan"),
        ([1.0], ["a", "b"], "sample_weight must have shape"),
        ([1.0, 1.0], [[0.5, -1.0], [0, 0]], r"batch 0: y\[0, 1\] = -1.0 must be finite"),
        ([1.0, 1.0], [[1], [0]], "y of batch 0 is a column"),
    ],
)
def test_weights_and_targets_that_are_none(weight, y, text):
    with pytest.raises(ValueError, match=text):
        scan(sources.batches(lambda: [(np.zeros((2, 2)), y, weight)]))


def test_no_rows(tmp_path):
    with pytest.raises(ValueError, match=r"Source\(batches of .*\) has no rows"):
        scan(sources.batches(list))
    np.save(tmp_path / "X.npy", np.zeros((0, 3)))
    np.save(tmp_path / "y.npy", np.zeros(0, int))
    with pytest.raises(ValueError, match="has no rows"):
        scan(sources.npy(tmp_path / "X.npy", tmp_path / "y.npy"))
    np.save(tmp_path / "X.npy", np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"y.npy has 0 rows, .*X.npy has 2"):
        scan(sources.npy(tmp_path / "X.npy", tmp_path / "y.npy"))
    with pytest.raises(ValueError, match="has no labels; `label` names"):
        scan(sources.npy(tmp_path / "X.npy"))


def test_nulls_are_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    for name, values in (("x2", Data.X[:, 2]), ("kind", Data.y), ("w", Data.weight)):
        holes = np.arange(N) == 1234
        whole = table(**{name: pa.array(values, mask=holes)})
        paths = write_parts(tmp_path, whole, [1000], 300)
        source = sources.parquet(paths, label="kind", weight="w", memory=SMALL)
        with pytest.raises(ValueError, match=rf"'{name}' has a null in row 234 of .*part-1"):
            scan(source)
    lists = pa.array([[1.0, 2.0], [3.0, None]], pa.list_(pa.float64(), 2))
    with pytest.raises(ValueError, match="'e' has a null in row 1"):
        scanned_table(pa.table({"e": lists, "kind": [1, 2]}))


def test_columns_that_are_no_numbers():
    pa = pytest.importorskip("pyarrow")
    import datetime
    import decimal

    for value, kind in (
        (datetime.date(2020, 1, 1), "date32"),
        (decimal.Decimal("1.5"), "decimal128"),
        ("text", "string"),
        ([["a"]], "list"),
    ):
        with pytest.raises(TypeError, match=f"column 'odd' of the data is {kind}"):
            scanned_table(pa.table({"odd": pa.array([value]), "kind": [1]}))
    with pytest.raises(TypeError, match=r"column 'kind' is date32.*labels are strings"):
        scanned_table(pa.table({"x": [1.0], "kind": [datetime.date(2020, 1, 1)]}))
    with pytest.raises(ValueError, match="list of 3 in row 1 of the data, and of 2 before"):
        scanned_table(pa.table({"e": [[1.0, 2.0], [1.0, 2.0, 3.0]], "kind": [1, 2]}))
    with pytest.raises(ValueError, match="the data has no column 'missing'"):
        scanned_table(pa.table({"x": [1.0], "kind": [1]}), weight="missing")


@pytest.mark.parametrize(
    ("second", "text"),
    [
        ({"x": [1], "kind": [1]}, "column 'x' of .*part-1.parquet is int64, and double"),
        ({"kind": [1]}, "part-1.parquet has no column 'x'"),
        ({"x": [1.0], "z": [1.0], "kind": [1]}, "part-1.parquet has a column 'z', which the"),
        ({"x": [1.0], "kind": ["a"]}, "column 'kind' of .*part-1.parquet is string, and int64"),
    ],
)
def test_files_of_other_columns(tmp_path, second, text):
    pa = pytest.importorskip("pyarrow")
    write_parts(tmp_path, pa.table({"x": [1.0], "kind": [1]}), [], 9)
    (tmp_path / "part-0.parquet").rename(tmp_path / "first.parquet")
    write_parts(tmp_path, pa.table({"x": [1.0], "kind": [1]}).slice(0, 0), [0], 9)
    import pyarrow.parquet as pq

    pq.write_table(pa.table(second), tmp_path / "part-1.parquet")
    paths = [tmp_path / "first.parquet", str(tmp_path / "part-*.parquet")]
    with pytest.raises(ValueError, match=text):
        scan(sources.parquet(paths, label="kind"))


def test_files_that_cannot_be_read(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        scan(sources.parquet(tmp_path / "*.parquet", label="kind"))
    with pytest.raises(FileNotFoundError):
        scan(sources.parquet(tmp_path / "none.parquet", label="kind"))
    path = tmp_path / "broken.parquet"
    write_parts(tmp_path, table(), [], 100)
    whole = (tmp_path / "part-0.parquet").read_bytes()
    for damaged in (b"", whole[:-9], whole[:2000] + bytes(2000) + whole[4000:]):
        path.write_bytes(damaged)
        with pytest.raises(sources.SourceError, match=r"broken.parquet cannot be read as Parquet"):
            scan(sources.parquet(path, label="kind"))
    np.save(tmp_path / "y.npy", np.array(["a", None], object), allow_pickle=True)
    np.save(tmp_path / "X.npy", np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"y.npy cannot be read as .npy.*objects"):
        scan(sources.npy(tmp_path / "X.npy", tmp_path / "y.npy"))
    (tmp_path / "X.npy").write_bytes((tmp_path / "X.npy").read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"X.npy cannot be read as .npy"):
        scan(sources.npy(tmp_path / "X.npy"))


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("2GiB", 2**31), (" 1.5 gb ", 1_500_000_000), (10, 10), ("7", 7)],
)
def test_sizes(text, size):
    assert sources.batches(list, memory=text).memory == size


def test_arguments():
    for memory in ("lots", "-5MB", 0, 1.5, None):
        with pytest.raises((TypeError, ValueError), match="memory must be"):
            sources.batches(list, memory=memory)
    with pytest.raises(ValueError, match="cache must be"):
        sources.batches(list, cache="much")
    with pytest.raises(TypeError, match="label must be the name of a column, got 3"):
        sources.arrow(None, label=3)
    with pytest.raises(ValueError, match="features has 'k', which is the column of the label"):
        sources.arrow(None, label="k", features=["k"])
    with pytest.raises(TypeError, match="X must be a path, got ndarray"):
        sources.npy(Data.X)
    with pytest.raises(ValueError, match="classes must name"):
        scan(sources.batches(list, classes=["a", "a"]))
    source = sources.batches(in_batches(100, Data.X, Data.y), memory=SMALL)
    with (
        scan(source) as scanned,
        pytest.raises(ValueError, match=r"memory='64KB' is too small.*at least memory='.*KB'"),
    ):
        scanned.window_rows(4096)


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"fastsoftmax\[arrow\]"):
        sources.parquet("x.parquet", label="kind")
    assert sources.batches(list).memory == 512_000_000
