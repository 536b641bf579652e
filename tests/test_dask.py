"""fastsoftmax.dask: the bits of rows in memory, whatever the blocks and the fate of workers."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="the extra [dask] is not installed")

import dask
import dask.array as da
import dask.dataframe as dd
import pandas as pd
from distributed import Client, LocalCluster
from scipy.sparse import csr_array, random_array

import fastsoftmax as fs
import fastsoftmax.dask as fsd
from fastsoftmax.dask import cluster as cluster_module
from fastsoftmax.dask.cluster import Cluster
from fastsoftmax.dask.table import opened
from fastsoftmax.kernels.tiles.sizes import n_leaves
from fastsoftmax.sklearn import SoftmaxRegression

N, D, K = 40_000, 4, 3  # three leaves
NAMES = [*"abcd"]


@pytest.fixture(scope="module")
def workers():
    """A cluster of two processes of one thread each, which are started anew when they die."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def client(workers):
    with Client(workers) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@contextmanager
def threads(n_workers=1):
    """A client of a cluster in this process, of two threads a worker."""
    options = {"processes": False, "threads_per_worker": 2, "dashboard_address": ":0"}
    with LocalCluster(n_workers=n_workers, **options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def rows():
    """(X, labels with names), drawn from a softmax model."""
    random = np.random.default_rng(0)
    X = random.normal(size=(N, D)).astype(np.float32)
    Z = X @ random.normal(size=(D, K)) + random.gumbel(size=(N, K))
    return X, np.array(["ant", "bee", "moth"])[Z.argmax(axis=1)]


def cut(*arrays, chunks=(7001, 12345)):
    """Each as an array of Dask, in other blocks than the one before."""
    sizes = [chunks[i % len(chunks)] for i in range(len(arrays))]
    return [
        da.from_array(array, chunks=(size, *array.shape[1:]))
        for array, size in zip(arrays, sizes, strict=True)
    ]


def assert_same_bits(own, other):
    for name in ("W", "b"):
        assert getattr(own.model, name).tobytes() == getattr(other.model, name).tobytes()
    for name in ("objective", "lower_bound", "n_passes", "stopped", "converged"):
        assert getattr(own, name) == getattr(other, name)
    assert own.history["objective"] == other.history["objective"]
    assert own.model.classes.tolist() == other.model.classes.tolist()
    assert own.model.classes.dtype == other.model.classes.dtype


# The same bits


OPTIONS = {
    "plain": {},
    "one block": {"chunks": (N,)},
    "float64": {"dtype": "float64", "l2": 0},
    "no biases": {"fit_intercept": False, "label_smoothing": 0.1},
    "far, more classes": {"shift": 1e4, "classes": ["moth", "bee", "wasp", "ant"]},
    "weights": {"weighted": True, "class_weight": {"bee": 0.5}},
    "balanced": {"weighted": True, "class_weight": "balanced"},
    "narrow": {"type": np.uint8},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_fit_has_the_bits_of_rows_in_memory(client, rows, name):
    options = dict(OPTIONS[name])
    X, y = rows
    X = (X + options.pop("shift", 0)).astype(options.pop("type", np.float32))
    chunks = options.pop("chunks", (7001, 12345))
    given = [X, y]
    if options.pop("weighted", False):
        given.append(np.random.default_rng(1).uniform(-1, 3, N).clip(0) * 1e9)
    blocks = cut(*given, chunks=chunks)
    for column in (given, blocks):
        column[2:] = [{"sample_weight": column[2]} if len(column) > 2 else {}]
    own = fsd.fit(*blocks[:2], **blocks[2], **options)
    assert_same_bits(own, fs.fit(*given[:2], **given[2], **options))


def test_parts_of_several_leaves_have_the_bits_of_rows_in_memory(client):
    X = np.random.default_rng(5).normal(size=(170_000, 2)).astype(np.float32)
    X[:, 1] = 7  # a constant column: some rows are looked at again
    y = (X[:, 0] > 0.5).astype(int)
    given = opened(*cut(X, y), None, None, None, client)
    with given as table:
        rows = table.given(None).rows
        assert 1 < len(rows.parts) < n_leaves(len(X))
    assert_same_bits(fsd.fit(*cut(X, y)), fs.fit(X, y))


def test_soft_targets_have_the_bits_of_rows_in_memory(client, rows):
    X, _ = rows
    soft = np.random.default_rng(2).dirichlet(np.ones(K), N).astype(np.float32)
    assert_same_bits(fsd.fit(*cut(X, soft)), fs.fit(X, soft))


def test_large_gradients_and_few_rows_have_the_bits_of_rows_in_memory(client):
    random = np.random.default_rng(3)
    for n_rows, n_features, n_classes in ((17_000, 40, 60), (30, 3, 2)):
        X = random.normal(size=(n_rows, n_features)).astype(np.float32)
        y = random.integers(n_classes, size=n_rows)
        assert_same_bits(
            fsd.fit(*cut(X, y, chunks=(n_rows // 2, n_rows)), max_passes=8),
            fs.fit(X, y, max_passes=8),
        )


def test_blocks_of_unknown_lengths_empty_and_with_a_class_in_one_alone(client, rows):
    X, y = rows
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    A, b = cut(X, y, chunks=(5000,))
    keep = A[:, 0] > np.inf * np.where(np.arange(N) < 5000, 1, -1)  # none of the first block
    own = fsd.fit(A[keep], b[keep])
    assert np.isnan(A[keep].shape[0])
    assert_same_bits(own, fs.fit(X[5000:], y[5000:]))


def test_frames_in_parts_and_their_columns_names(client, rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=NAMES).assign(kind=y, share=np.arange(N) % 4.0)
    parts = dd.from_pandas(frame, npartitions=7)
    parts = parts[parts["share"] >= 0]
    own = fsd.fit(parts[NAMES], parts["kind"], sample_weight=parts["share"])
    local = fs.fit(frame[NAMES], frame["kind"], sample_weight=frame["share"])
    assert_same_bits(own, local)
    assert own.model.feature_names == tuple(NAMES)
    with pytest.raises(ValueError, match="columns of X are not those of init"):
        fsd.fit(parts[NAMES[::-1]], parts["kind"], init=own.model)


def test_sparse_blocks_are_solved_for_here(client):
    random = np.random.default_rng(4)
    X = csr_array(random_array((300, 50), density=0.1, rng=random, format="csr"))
    y = random.integers(3, size=300)
    A, b = cut(X.toarray(), y, chunks=(77, 150))
    assert_same_bits(fsd.fit(A.map_blocks(csr_array), b), fs.fit(X, y))


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_without_a_cluster_rows_are_solved_for_here(rows, scheduler):
    X, y = (array[:500] for array in rows)
    with dask.config.set(scheduler=scheduler):
        own = fsd.fit(*cut(X, y, chunks=(123, 456)))
    assert_same_bits(own, fs.fit(X, y))


def test_threads_as_workers_a_given_client_and_a_fit_in_a_task(client, rows):
    X, y = rows
    local = fs.fit(X, y)
    A, b = cut(X, y)
    with threads():
        assert_same_bits(fsd.fit(A, b), local)
    with threads(n_workers=0):  # the client made last, which would wait for ever
        assert_same_bits(fsd.fit(A, b, client=client), local)

    def in_a_task(X, y):
        return fsd.fit(*[da.from_array(array, chunks=9000) for array in (X, y)])

    nested = client.submit(in_a_task, X, y, workers=[next(iter(client.nthreads()))])
    assert_same_bits(nested.result(timeout=120), local)


def test_two_fits_at_once_on_one_client_and_on_two(workers, client, rows):
    X, y = rows
    with Client(workers, set_as_default=False) as other, ThreadPoolExecutor(3) as pool:
        fits = [
            pool.submit(fsd.fit, *cut(X, y, chunks=chunks), client=of, l2=l2)
            for chunks, of, l2 in (
                ((5000,), client, 1e-3),
                ((9000,), client, 1e-2),
                ((20000,), other, 1e-3),
            )
        ]
        found = [fit.result(timeout=120) for fit in fits]
    for own, l2 in zip(found, (1e-3, 1e-2, 1e-3), strict=True):
        assert_same_bits(own, fs.fit(X, y, l2=l2))


# Workers that are lost


def kill_a_worker(client):
    os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_workers_cost_no_bit(client, rows, tmp_path, monkeypatch):
    X, y = rows
    local = fs.fit(X, y)
    died = str(tmp_path / "died")

    def die(block):
        if block.size and not os.path.exists(died):
            open(died, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    A, b = cut(X, y)
    hold, rounds, kill_at = Cluster.hold, [], []

    def killing(self, name, *arguments):
        futures = hold(self, name, *arguments)
        rounds.append(name)
        if len(rounds) in kill_at:
            kill_a_worker(client)
        return futures

    monkeypatch.setattr(Cluster, "hold", killing)
    assert_same_bits(fsd.fit(A, b), local)
    kill_at[:] = 4, len(rounds)
    rounds.clear()
    assert_same_bits(fsd.fit(A.map_blocks(die, meta=X[:0]), b), local)
    assert os.path.exists(died)
    assert len(rounds) == kill_at[1]


def test_workers_may_join_and_retire(workers, client, rows):
    X, y = rows

    def change(progress):
        if progress.step == 1:
            workers.scale(3)
            client.wait_for_workers(3, timeout=60)
        if progress.step == 3:
            workers.scale(1)

    own = fsd.fit(*cut(X, y), callback=change)
    workers.scale(2)
    assert_same_bits(own, fs.fit(X, y))


# Ends


def keys_of(client):
    """Of what workers hold for us, or will compute."""
    on_scheduler = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks))
    return [key for key in on_scheduler if "fastsoftmax" in str(key)]


def wait_until_none(client):
    for _ in range(100):
        if not keys_of(client):
            return
        threading.Event().wait(0.05)
    raise AssertionError(keys_of(client))


def test_an_interrupted_fit_keeps_its_result_and_ends_its_tasks(rows, monkeypatch):
    gathered = Cluster._gathered

    def interrupted(self, futures):
        calls.append(futures)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return gathered(self, futures)

    calls = []
    monkeypatch.setattr(Cluster, "_gathered", interrupted)
    with threads() as client:
        with pytest.raises(fs.TrainingInterrupted) as caught:
            fsd.fit(*cut(*rows))
        assert caught.value.result.model.W.shape == (D, K)
        wait_until_none(client)


def test_nothing_is_left_behind_by_a_fit_nor_by_an_error(rows):
    X, y = rows
    with threads() as client:
        progress = []
        fsd.fit(*cut(X, y), callback=progress.append)
        wait_until_none(client)
        assert progress[-1].model.W.shape == (D, K)
        X = X.copy()
        X[N - 3, 2] = np.nan
        with pytest.raises(ValueError, match=rf"X\[{N - 3}, 2\] is nan"):
            fsd.fit(*cut(X, y))
        wait_until_none(client)


def test_a_cluster_without_workers_is_not_waited_for_for_ever(rows, monkeypatch):
    monkeypatch.setattr(cluster_module, "_LOOK", 0.05)
    text = r"no worker of the cluster has run for 0\.1 s"
    limit = dask.config.set({cluster_module.TIMEOUT: "100 ms"})
    with threads(n_workers=0), limit, pytest.raises(TimeoutError, match=text):
        fsd.fit(*cut(*rows))


def test_workers_that_differ_are_warned_of(rows, monkeypatch):
    kinds = iter([("old CPU", "Numba 1"), *[("new CPU", "Numba 1")] * 1000])
    monkeypatch.setattr(cluster_module, "kind_of_worker", lambda: next(kinds))
    with threads(), pytest.warns(UserWarning, match=r"differ \(new CPU and old CPU\)"):
        fsd.fit(*cut(*rows))


def test_tasks_take_one_thread_unless_the_worker_was_given_more():
    def used(_):
        return fs.diagnose().threads

    with threads() as client:
        assert list(Cluster(client).run("test", used, [0])) == [1]
        fs.set_num_threads(2)
        try:
            assert list(Cluster(client).run("test", used, [0])) == [2]
        finally:
            fs.set_num_threads(None)


# What is wrong is named


def test_errors_name_what_is_wrong():
    X, y = np.ones((60, 2)), np.arange(60) % 3
    A, b = cut(X, y, chunks=(20,))
    bad = [
        (A.rechunk((20, 1)), b, {}, ValueError, r"cut by columns.*rechunk\({1: -1}\)"),
        (X, b, {}, TypeError, "X must be an array or a frame of Dask, got ndarray"),
        (A, y, {}, TypeError, "y must be an array or a frame of Dask"),
        (A, b[:-1], {}, ValueError, "y must have one entry per row of X, got 59 for 60"),
        (A[:0], b[:0], {}, ValueError, "X must have at least one row"),
        (A, b / 2, {}, ValueError, r"block \d of y: y\[\d\] = 0.5 looks continuous"),
        (A, b, {"classes": [0, 1]}, ValueError, r"block \d of y: y\[\d+\] = .* is not one of"),
        (A, b, {"sample_weight": b - 1}, ValueError, r"block \d of sample_weight"),
        (A, b, {"sample_weight": 0 * b}, ValueError, "sample_weight sums to zero"),
        (A, b, {"client": "here"}, TypeError, "client must be a distributed.Client, got str"),
        (A.astype("U"), b, {}, TypeError, r"block \d of X: X must hold real numbers"),
    ]
    for X, y, options, kind, text in bad:
        with dask.config.set(scheduler="synchronous"), pytest.raises(kind, match=text):
            fsd.fit(X, y, **options)


# The classifier


def test_the_classifier_has_the_local_ones_parameters():
    own, local = (kind.__init__ for kind in (fsd.SoftmaxRegression, SoftmaxRegression))
    assert inspect.signature(own) == inspect.signature(local)


@pytest.fixture(scope="module")
def fitted(rows):
    """(the classifier of Dask, the local one, arrays, frames), for 1000 rows."""
    X, y = (array[:1000] for array in rows)
    options = {"C": 0.1, "class_weight": {"bee": 2, "moth": 1, "ant": 1}}
    frame = pd.DataFrame(X, columns=NAMES, index=np.arange(1000) * 3).assign(kind=y)
    parts = dd.from_pandas(frame, npartitions=3)
    local = SoftmaxRegression(**options).fit(frame[NAMES], y)
    with dask.config.set(scheduler="synchronous"):
        own = fsd.SoftmaxRegression(**options).fit(parts[NAMES], parts["kind"])
    return own, local, cut(X, y, chunks=(300,)), parts, frame


def test_the_classifier_learns_what_the_local_one_does(client, fitted):
    own, local, arrays, _, frame = fitted
    for classifier in (own, own.to_local(), pickle.loads(pickle.dumps(own))):
        assert classifier.coef_.tobytes() == local.coef_.tobytes()
        assert classifier.n_iter_ == local.n_iter_
        assert classifier.feature_names_in_.tolist() == NAMES
        assert classifier.predict(frame[NAMES]).tolist() == local.predict(frame[NAMES]).tolist()
    assert type(own.to_local()) is SoftmaxRegression
    of_workers = fsd.SoftmaxRegression(**own.get_params()).fit(*arrays, client=client)
    assert of_workers.coef_.tobytes() == local.coef_.tobytes()
    assert pickle.dumps(of_workers)
    weight = da.ones(1000, chunks=700)
    assert fsd.SoftmaxRegression().fit(*arrays, weight).score(*arrays) > 0.5


def test_predictions_are_lazy_and_keep_blocks_and_index(fitted):
    own, local, (A, b), parts, frame = fitted
    X, y = frame[NAMES].to_numpy(), frame["kind"].to_numpy()
    names = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
    with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        for name in names:
            expected = getattr(local, name)(X)
            lazy = getattr(own, name)(A)
            assert isinstance(lazy, da.Array)
            assert lazy.chunks[0] == A.chunks[0]
            assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_array_equal(lazy.compute(), expected)
            lazy = getattr(own, name)(parts[NAMES])
            assert lazy.npartitions == parts.npartitions
            found = lazy.compute()
            assert found.index.equals(frame.index)
            np.testing.assert_array_equal(found.to_numpy(), expected)
        assert own.predict_proba(parts[NAMES]).columns.tolist() == ["ant", "bee", "moth"]
        utility = [1, 0, 5]
        np.testing.assert_array_equal(own.predict(A, utility).compute(), local.predict(X, utility))
        weight = np.arange(1000) % 3
        assert own.score(A, b) == local.score(X, y)
        assert own.score(A, b, cut(weight, chunks=(300,))[0]) == local.score(X, y, weight)
        assert own.score(parts[NAMES], parts["kind"]) == local.score(X, y)
        with pytest.raises(ValueError, match="cut alike"):
            own.score(A, b.rechunk(500))
    with pytest.raises(ValueError, match="the columns of X are not the model's"):
        own.predict(parts[NAMES[::-1]])


def test_the_example_of_the_guide_runs_as_written(workers, capsys):
    page = Path(__file__).parents[1] / "docs" / "dask.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    example, count = re.subn(r"Client\(n_workers.*\)", "Client(address)", example)  # one is there
    assert count == 1
    exec(example, {"__name__": "__main__", "address": workers.scheduler_address})
    stopped, score, *_, last = capsys.readouterr().out.split()
    assert stopped == "gap"
    assert float(score) > 0.95
    assert float(last) > 0.95
