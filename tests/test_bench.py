"""What `fastsoftmax bench` measures, on small data: that the sides do the same work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numba
import numpy as np
import pytest
from typer.testing import CliRunner

import fastsoftmax as fs
from fastsoftmax import reference
from fastsoftmax.bench import (
    limits,
    measure,
    optimum,
    problems,
    processes,
    provenance,
    report,
    texts,
)
from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.peers import PEERS
from fastsoftmax.bench.small import CALLS
from fastsoftmax.bench.solvers import SOLVERS
from fastsoftmax.bench.sparse import SPARSE
from fastsoftmax.bench.worker import make_data
from fastsoftmax.cli.app import app
from fastsoftmax.kernels.tiles import ceilings
from fastsoftmax.threads import launch

needs = {peer: pytest.mark.skipif(not find_spec(peer), reason=f"no {peer}") for peer in PEERS}
others = [pytest.param(peer, marks=needs[peer]) for peer in PEERS if peer != "fastsoftmax"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "float16", "bfloat16"])
@pytest.mark.parametrize("peer", others)
def test_a_pass_of_every_peer_gives_our_loss(peer, dtype):
    data = make_data(300, 20, 5, dtype)
    assert data[0].dtype.name == dtype
    ours, theirs = (PEERS[name](*data, 1)() for name in ("fastsoftmax", peer))
    np.testing.assert_allclose(theirs, ours, rtol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("side", [side for side in SPARSE if find_spec(side.split()[0])])
def test_a_pass_over_sparse_rows_of_every_side_gives_the_dense_loss(side, dtype):
    X, y, W, b = texts.arrays("titles", None, 70, dtype)
    loss = reference.loss_and_gradient(X.toarray(), y, W, b)[0]
    rtol = 1e-5 if dtype == "float32" else 1e-12
    assert SPARSE[side](X, y, W, b, 1)() == pytest.approx(loss, rel=rtol)


@pytest.mark.parametrize("name", texts.MADE)
def test_made_texts_are_as_their_names_say(name):
    """Some words are in many rows, most in few; hashed ones are everywhere alike."""
    X = texts.arrays(name, None, 1000, "float32")[0]
    size = texts.MADE[name]
    assert X.shape == (1000, size.n_features)
    assert X.nnz / 1000 == pytest.approx(size.n_entries, rel=0.2)
    np.testing.assert_allclose((X**2).sum(axis=1), 1, rtol=1e-5)
    often = np.bincount(X.indices, minlength=size.n_features).max()
    assert (often < 10) == size.hashed


@pytest.mark.parametrize("dtype", ["float64", "uint8", "bfloat16"])
@pytest.mark.parametrize("peer", [peer for peer in others if peer.values[0] in EPOCHS])
def test_an_epoch_of_every_peer_takes_the_same_steps(peer, dtype):
    """With batches of all rows the order, each side's own, does not matter."""
    data = make_data(300, 20, 5, dtype)
    ours, theirs = (EPOCHS[name](*data, 1, 300)() for name in ("fastsoftmax plain", peer))
    np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-6)
    assert ours[1] > 0
    small = [EPOCHS[name](*data, 1, 16)()[0] for name in ("fastsoftmax plain", peer)]
    np.testing.assert_allclose(*small, rtol=1e-2)


def test_an_epoch_of_ours_is_one_of_the_defaults_timed_by_itself(monkeypatch):
    fit_sgd, used = fs.fit_sgd, []

    def spy(*data, **options):
        used.append((options, fit_sgd(*data, **options)))
        return used[-1][1]

    monkeypatch.setattr(fs, "fit_sgd", spy)
    X, y, *_ = data = make_data(300, 20, 5, "float64")
    loss, seconds = EPOCHS["fastsoftmax"](*data, 1, 50)()
    ((options, result),) = used
    assert set(options) == {"batch_size", "epochs", "callback"}
    assert not options["callback"](None)  # watched, so that epochs run one by one; not stopped
    assert loss == fit_sgd(X, y, batch_size=50, epochs=2).history["loss"][0]
    assert seconds == result.history["seconds"][1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", CALLS)
def test_the_sides_of_a_small_call_give_one_answer(call, dtype):
    maker, sides = CALLS[call]
    timed = [maker(side, dtype) for side in measure.installed(sides)]
    ours, *theirs = (answer(run()) for run, answer in timed)
    # SGD against the optimum, and two kinds of steps: near, not equal
    bound = {"fit 100x10x3": 0.1, "partial_fit 32x20x3": 0.2}.get(call, 1e-6)
    np.testing.assert_allclose(theirs, ours, atol=bound, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_of_reading_reads_all(dtype):
    data = np.ones(3 * 5 * ceilings.READ_BLOCK // np.dtype(dtype).itemsize, dtype)
    ways = ((ceilings.read, ()), (ceilings.read_streams, ()), (ceilings.read_ahead, (99,)))
    for kernel, more in ways:
        sums = np.empty(3, dtype)
        launch(kernel, data, sums, *more)
        np.testing.assert_array_equal(sums, data.size / 3)


@pytest.mark.parametrize(("shape", "dtype"), [((7, 3), "float32"), ((401, 709), "float64")])
def test_limits_are_found_for_any_rows(shape, dtype):
    found = limits.limits(np.ones(shape, dtype), 1, 0)
    assert set(found) == {*limits.READINGS, "flops"}
    assert all(np.isfinite(value) and value > 0 for value in found.values())


class FakeWorker:
    """Passes of one second, and limits that double from turn to turn."""

    speeds = iter([dict.fromkeys([*limits.READINGS, "flops"], 2.0**i) for i in range(6)])

    def ask(self, request, *arguments):
        if request == "limits":
            return next(self.speeds) | {"prefetch": 0.5}
        return {"provenance": {}, "data": 1.5, "run": [1.0, 3.0]}[request]


def test_a_share_is_that_of_the_limits_in_the_turns_of_its_row(monkeypatch):
    sides = {"fastsoftmax": FakeWorker(), "numpy": FakeWorker()}
    monkeypatch.setattr(measure, "workers", lambda *arguments: nullcontext(sides))
    shapes = [(1, 2, 1), (1, 2, 1)]
    rows = measure.measure(shapes, ["float32"], list(sides), 1, 3)["rows"]
    assert [row["limits"]["plain loads"] for row in rows] == [4, 32]
    assert [row["limits"]["prefetch"] for row in rows] == [0.5, 0.5]
    assert [row["limit"] for row in rows] == [8 / 4, 8 / 32]
    assert rows[0]["best"] == {"fastsoftmax": 1, "numpy": 1}
    assert rows[0]["losses"] == {"fastsoftmax": 1.5, "numpy": 1.5}


def test_provenance_names_the_commit_of_a_checkout_alone(monkeypatch, tmp_path):
    if shutil.which("git") is None:
        pytest.skip("no git")
    file = tmp_path / "code.py"
    file.write_text("1", encoding="utf-8")
    monkeypatch.setattr(provenance, "__file__", str(file))

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.check_output(command, text=True).strip()

    assert provenance.commit() is None
    git("init", "-q")
    assert provenance.commit() is None  # as of a package that is installed inside a checkout
    git("add", "code.py")
    git("commit", "-qm", "code")
    assert provenance.commit() == git("rev-parse", "HEAD")[:12]
    file.write_text("2", encoding="utf-8")
    assert provenance.commit() == git("rev-parse", "HEAD")[:12] + "-dirty"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_baselines_of_rows_give_what_their_twins_give(dtype):
    rng = np.random.default_rng(0)
    Z, y = (3 * rng.standard_normal((50, 7))).astype(dtype), rng.integers(0, 7, 50)
    before = Z.copy()
    loss, dZ = reference.baseline_cross_entropy_and_gradient(Z, y)
    P = reference.baseline_softmax(Z)
    np.testing.assert_array_equal(Z, before)
    close = {"rtol": 1e-5, "atol": 1e-7} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-15}
    true_loss, true_dZ = reference.cross_entropy_and_gradient(Z, y)
    np.testing.assert_allclose(loss, true_loss, **close)
    np.testing.assert_allclose(dZ, true_dZ, **close)
    np.testing.assert_allclose(P, reference.softmax(Z), **close)
    assert dZ.dtype == P.dtype == dtype


def test_asv_compares_with_numpy_that_makes_no_one_hot_rows(monkeypatch):
    folder = Path(__file__).parents[1] / "asv_bench"
    if not folder.exists():
        pytest.skip("no asv_bench here: this is not a checkout")
    monkeypatch.setattr(reference, "soft_targets", lambda *a: pytest.fail("one-hot rows"))
    monkeypatch.setenv("FASTSOFTMAX_BENCH_SCALE", "0.001")
    for name in ("NUMBA", "OMP", "OPENBLAS"):
        monkeypatch.delenv(f"{name}_NUM_THREADS", raising=False)
    monkeypatch.syspath_prepend(folder)
    rows = import_module("benchmarks.rows")
    for shape in rows.SHAPES:
        rows.CrossEntropyAndGradient().setup("float32", shape, "numpy")
        difference = rows.Difference()
        difference.setup("float32", shape)
        assert difference.track_loss_difference("float32", shape) < 1e-4
    of_sparse = import_module("benchmarks.sparse")
    name = next(iter(of_sparse.PROBLEMS))
    for side in ("fastsoftmax", "scipy"):
        of_sparse.LossAndGradient().setup("float64", name, side)
    difference = of_sparse.Difference()
    difference.setup("float64", name)
    assert difference.track_loss_difference("float64", name) < 1e-12


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_passes_over_sparse_rows_are_told_and_written(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "TURN", 0)
    monkeypatch.setattr(measure, "PAUSE", 0)
    (tmp_path / texts.FILE).write_text('label,text\n3,"a b, cd ef"\n7,cd gh\n', encoding="utf-8")
    chosen = "--problem", "titles", "--problem", "stackoverflow20", "--data", tmp_path
    asked = "--dtype", "float64", "--peer", "scipy", "--threads", 1, "--rounds", 1, "--rows", 300
    told = run("--sparse", *chosen, *asked, "-o", tmp_path / "new")
    assert told.exit_code == 0, told.output
    text = (tmp_path / "new" / "bench.md").read_text(encoding="utf-8")
    assert text in told.stdout
    made, read = json.loads((tmp_path / "new" / "bench.json").read_text(encoding="utf-8"))["rows"]
    assert made["losses"]["scipy"] == pytest.approx(made["losses"]["fastsoftmax"], rel=1e-12)
    assert all(seconds > 0 for seconds in made["best"].values())
    assert (read["shape"], read["entries"]) == ([2, 3, 20], 4)  # "cd" twice, "ef", "gh"
    assert "| titles | 300x11000x20 | " in text


@pytest.mark.parametrize("options", [(), ("--batch", 50), ("--small",)])
def test_what_was_measured_is_told_and_written(options, monkeypatch, tmp_path):
    for length in ("TURN", "_SMALL_TURN", "PAUSE"):
        monkeypatch.setattr(measure, length, 0)
    shape = () if "--small" in options else ("--shape", "300x20x5")
    dtypes = "float32" if "--small" in options else "float32,uint8,bfloat16"
    asked = ("--dtype", dtypes, "--peer", "numpy", "--threads", 1, "--rounds", 1)
    told = run(*options, *shape, *asked, "-o", tmp_path / "new")
    assert told.exit_code == 0, told.output
    text = (tmp_path / "new" / "bench.md").read_text(encoding="utf-8")
    assert text in told.stdout
    result = json.loads((tmp_path / "new" / "bench.json").read_text(encoding="utf-8"))
    assert all(seconds > 0 for row in result["rows"] for seconds in row["best"].values())
    assert (tmp_path / "new" / "bench.png").exists() == ("--small" not in options)
    assert ("batches of 50" in text) == ("fastsoftmax plain ms" in text) == (50 in options)
    assert ("softmax 32x20 | float32" in text) == ("--small" in options)
    assert ("| 300x20x5 | float32" in text) == ("--small" not in options)
    facts = result["provenance"]
    if "--small" not in options:
        rows = [row["dtype"] for row in result["rows"]]
        assert rows == ["float32", "uint8", "bfloat16"]
    for fact in ("cpu", "cpu_target", "blas", "python", "threading_layer", "date"):
        assert str(facts[fact]) in text
    for module in ("fastsoftmax", "numpy", "numba"):
        assert f"{module} {facts['versions'][module]}" in text
    assert facts["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("solver", [side for side in SOLVERS if find_spec(measure.module_of(side))])
def test_every_solver_reaches_our_optimum(solver):
    X, y, W, _ = make_data(60, 5, 3, "float64")
    problem = problems.Problem(X, y, 0.5)
    W, b, count = SOLVERS[solver](problem, 1e-6, 1)
    assert W.shape == (5, 3)
    assert count > 0
    best = fs.fit(X, y, l2=1 / 30, standardize=False, tol=1e-9).objective
    np.testing.assert_allclose(problems.objective(problem, W, b), 30 * best, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_the_solvers_are_judged_by_is_the_objective_in_float64(monkeypatch, dtype):
    monkeypatch.setattr(problems, "_ROWS", 40)
    X, y, W, b = make_data(100, 7, 4, dtype)
    wide = X.astype(np.float64), y, W.astype(np.float64), b.astype(np.float64)
    truth = reference.loss_and_gradient(*wide, reduction="sum")[0] * 3 + (wide[2] ** 2).sum() / 2
    assert problems.objective(problems.Problem(X, y, 3.0), W, b) == pytest.approx(truth, rel=1e-13)


def test_sparse_problems_are_judged_and_solved_as_dense_ones():
    text = problems.load("text", None, 60)
    dense = text._replace(X=text.X.toarray())
    solutions = [SOLVERS[side](text, 1e-6, 1)[:2] for side in ("fastsoftmax", "sklearn newton-cg")]
    reached = [problems.objective(problem, *solutions[0]) for problem in (text, dense)]
    assert reached[0] == pytest.approx(reached[1], rel=1e-12)
    assert problems.objective(text, *solutions[1]) == pytest.approx(reached[0], rel=2e-6)


def test_problems_are_read_from_a_folder_and_cut(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "letter.npz", X=rng.integers(0, 9, (50, 3), np.uint8), y=["b", "a"] * 25)
    counts = rng.integers(0, 9, (50, 3))
    counts[:, 1] = 4
    np.savez(tmp_path / "covtype_kaggle15k.npz", X=counts, y=np.arange(50))
    (tmp_path / texts.FILE).write_text("label,text\n3,ab cd\n7,cd ef\n", encoding="utf-8")
    assert problems.names(None) == list(problems.MADE)
    assert problems.names(tmp_path) == [
        *problems.MADE,
        "letter",
        "covtype_kaggle15k",
        "stackoverflow20",
    ]
    X, y, _ = problems.load("stackoverflow20", tmp_path)
    assert (X.shape, X.nnz, y.tolist()) == ((2, 3), 4, [0, 1])
    X, y, C = problems.load("letter", tmp_path, 20)
    assert (X.shape, X.dtype, y.tolist(), C) == ((20, 3), "float64", [1, 0] * 10, 1)
    X = problems.load("covtype_kaggle15k", tmp_path).X
    np.testing.assert_allclose(X.std(axis=0), [1, 0, 1])
    X, y, _ = problems.load("embeddings", None, 100)
    assert (X.shape, X.dtype) == ((100, 384), "float32")
    assert set(y) == set(range(max(y) + 1))


class FakeSolver:
    """Its distance from an optimum of 100 is its tolerance; it takes times that are told."""

    def __init__(self, times):
        self.times, self.restarts = iter(times), 0

    def ask(self, request, *arguments, limit=None):
        if request == "problem":
            return {"problem": arguments[0], "shape": [50, 4, 3], "dtype": "float64", "C": 1.0}
        if request == "optimum":
            return {"objective": 100.0, "lower_bound": 99.9}
        seconds = next(self.times)
        if seconds is None:
            raise ChildProcessError("no memory")
        if limit is not None and seconds > limit:
            raise processes.TimeLimitError
        return {"seconds": seconds, "objective": 100 * (1 + 0.9 * arguments[0]), "count": 7}

    def restart(self):
        self.restarts += 1


def test_a_sweep_ends_at_the_last_distance_or_when_its_seconds_are_over(monkeypatch):
    monkeypatch.setattr(optimum, "PAUSE", 0)
    running = {
        "fastsoftmax": FakeSolver([99, *[1] * 11, *[2] * 10, 0.5]),
        "sklearn lbfgs": FakeSolver([1, 4, 4, 4, 1, 3, 5]),
        "sklearn saga": FakeSolver([12]),
        "sklearnex lbfgs": FakeSolver([1, None]),
    }
    row = optimum._measured(running, ("digits", None, None), 2, 11.5)
    assert row["ended"] == {
        "fastsoftmax": "reached",
        "sklearn lbfgs": "seconds",
        "sklearn saga": "seconds",
        "sklearnex lbfgs": "no memory",
    }
    runs = row["runs"]
    assert [run["tol"] for run in runs["fastsoftmax"]] == list(optimum.TOLERANCES[:11])
    assert runs["fastsoftmax"][-1]["times"] == [1, 0.5]
    assert runs["fastsoftmax"][-1]["distance"] == pytest.approx(0.9e-6)
    assert row["seconds_to"]["fastsoftmax"] == {"1e-4": 0.5, "1e-6": 0.5}
    assert [run["times"] for run in runs["sklearn lbfgs"]] == [[4, 3], [4, 5]]
    assert row["seconds_to"]["sklearn lbfgs"] == {"1e-4": None, "1e-6": None}
    assert runs["sklearn saga"] == runs["sklearnex lbfgs"] == []
    assert [worker.restarts for worker in running.values()] == [0, 1, 1, 1]
    head = {"kind": "optimum", "sides": list(running), "threads": 1, "rounds": 2, "seconds": 11.5}
    facts = dict.fromkeys(("cpu", "commit"), "") | {"versions": {}}
    monkeypatch.setattr(report, "told", lambda facts: "")
    line = report.markdown(head | {"rows": [row], "provenance": facts}).splitlines()[2]
    assert line == "| digits | 50x4x3 | float64 | 1 | 1e-4 | 0.5 | (3e-02) | (none) | (none) |  |"


def test_a_process_that_takes_too_long_is_ended_and_replaced():
    worker = processes.Worker("numpy", 1)
    try:
        data = "data", 10, 3, 2, "float64", None
        loss = worker.ask(*data, limit=60)
        with pytest.raises(processes.TimeLimitError, match=r"numpy took longer than 0.2 s"):
            worker.ask("run", 1e9, limit=0.2)
        worker.restart()
        assert worker.ask(*data) == loss
    finally:
        worker.end()


def test_the_way_to_the_optimum_is_told_and_written(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTSOFTMAX_DATA", raising=False)
    monkeypatch.setattr(optimum, "_OPTIMUM", 1e-8)
    few = "--rows", 200, "--rounds", 1, "--problem", "raw", "--threads", 1
    told = run("--optimum", *few, "--peer", "sklearn newton-cholesky", "-o", tmp_path)
    assert told.exit_code == 0, told.output
    text = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert text in told.stdout
    result = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert (tmp_path / "bench.png").exists()
    (row,) = result["rows"]
    assert row["shape"][:2] == [200, 30]
    assert row["lower_bound"] <= row["optimum"] <= row["lower_bound"] * (1 + 1e-7)
    assert set(row["runs"]) == {"fastsoftmax", "sklearn newton-cholesky"}
    for runs in row["runs"].values():
        assert runs[-1]["distance"] <= 1e-6
        assert all(each["seconds"] > 0 for each in runs)
    ours = row["runs"]["fastsoftmax"]
    assert all(each["distance"] <= each["tol"] for each in ours)  # as proved
    assert "| raw | 200x30x6 | float64 | 1 | 1e-4 | " in text
    assert f"sklearn {result['provenance']['versions']['sklearn']}" in text


def refused(*arguments, code=2):
    """The one line that the command ends with."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("fastsoftmax: ")
    return line


@pytest.mark.parametrize("kind", [(), ("--batch", 50), ("--small",)])
def test_arguments_are_checked_before_anything_is_measured(kind, monkeypatch, tmp_path):
    for name in ("measure", "measure_small"):
        monkeypatch.setattr(measure, name, lambda *a, **options: pytest.fail("measured"))
    limit = numba.config.NUMBA_NUM_THREADS
    for rounds in (0, -3):
        assert f"--rounds must be at least 1, got {rounds}" in refused(*kind, "--rounds", rounds)
    for threads in (0, -1, limit + 1):
        assert f"--threads must be from 1 to {limit}" in refused(*kind, "--threads", threads)
    (tmp_path / "file").touch()
    assert "--output must name" in refused(*kind, "-o", tmp_path / "file")
    assert "--peer: abc is unknown" in refused(*kind, "--peer", "abc")
    for dtype in ("float32,int32", "int8" if "--small" in kind else "float"):
        assert "--dtype must be one of" in refused(*kind, "--dtype", dtype)
    if kind:
        assert "--small has sizes of its own" in refused("--small", "--shape", "9x9x9", *kind)


def test_arguments_of_the_optimum_are_checked_first(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTSOFTMAX_DATA", raising=False)
    monkeypatch.setattr(optimum, "measure_optimum", lambda *a, **b: pytest.fail("measured"))
    for other in (("--small",), ("--batch", 9), ("--shape", "9x9x9"), ("--dtype", "float32")):
        assert "--optimum has problems of its own" in refused("--optimum", *other)
    assert "--problem and --rows need --optimum or --sparse" in refused("--rows", 9)
    for other in (("--small",), ("--batch", 9), ("--shape", "9x9x9"), ("--optimum",)):
        assert "--sparse has rows of its own" in refused("--sparse", *other)
    assert "--problem must be one of titles, " in refused("--sparse", "--problem", "letter")
    assert "--seconds must be above 0, got 0" in refused("--optimum", "--seconds", 0)
    assert "--rounds must be at least 1" in refused("--optimum", "--rounds", 0)
    assert "--problem must be one of digits, " in refused("--optimum", "--problem", "letter")
    assert "--data must name a folder" in refused("--optimum", "--data", tmp_path / "no")
    assert "--peer: abc is unknown" in refused("--optimum", "--peer", "abc")


def test_the_slowest_solver_is_measured_where_it_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(
        optimum, "measure_optimum", lambda problems, sides, **o: asked.append(sides)
    )
    monkeypatch.setattr(report, "markdown", lambda result: "")
    assert run("--optimum").exit_code == run("--optimum", "--peer", "sklearn saga").exit_code == 0
    assert "sklearn newton-cg" in asked[0]
    assert "sklearn saga" not in asked[0]
    assert asked[1] == ["fastsoftmax", "sklearn saga"]


def test_small_calls_have_no_batches():
    assert "--small has sizes of its own" in refused("--batch", 9, "--small")


def test_a_machine_of_one_cpu_needs_no_option(monkeypatch):
    used = []
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    for name in ("measure", "measure_small"):
        monkeypatch.setattr(measure, name, lambda *a, **options: used.append(options["threads"]))
    monkeypatch.setattr(report, "markdown", lambda result: "")
    assert run().exit_code == run("--small").exit_code == 0
    assert used == [1, 1]


def test_a_shape_beyond_memory_is_one_line():
    shape = "--shape", "1000000000000x1000x2", "--dtype", "float64", "--peer", "numpy"
    line = refused(*shape, code=1)
    assert line.startswith("fastsoftmax: fastsoftmax: Unable to allocate")


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
def test_a_peer_that_is_killed_is_one_line(monkeypatch):
    """As by a system without memory."""
    ask = processes.Worker.ask

    def ask_the_dead(worker, *request):
        worker.process.kill()
        worker.process.wait()
        return ask(worker, *request)

    monkeypatch.setattr(processes.Worker, "ask", ask_the_dead)
    assert "the process of fastsoftmax ended early" in refused("--shape", "10x10x2", code=1)


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
def test_ctrl_c_ends_all_processes():
    """Sent to the group, as a terminal does; all of them have the pipe that is read to its end."""
    program = """
from fastsoftmax import reference
from fastsoftmax.bench import measure
measure.limits = lambda *arguments: {"bytes": 1.0, "flops": 1.0}
from fastsoftmax.cli import main
main()
"""
    arguments = ["bench", "--peer", "numpy", "--shape", "100x10x2", "--rounds", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr.readline().startswith("measuring 100x10x2")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "fastsoftmax: interrupted\n"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
