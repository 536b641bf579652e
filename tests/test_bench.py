"""What `fastsoftmax bench` measures, on small data: that the sides do the same work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numba
import numpy as np
import pytest
from typer.testing import CliRunner

from fastsoftmax import reference
from fastsoftmax.bench import measure, report
from fastsoftmax.bench.epochs import EPOCHS
from fastsoftmax.bench.peers import PEERS
from fastsoftmax.bench.worker import make_data
from fastsoftmax.cli.app import app

needs = {peer: pytest.mark.skipif(not find_spec(peer), reason=f"no {peer}") for peer in PEERS}
others = [pytest.param(peer, marks=needs[peer]) for peer in PEERS if peer != "fastsoftmax"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("peer", others)
def test_a_pass_of_every_peer_gives_our_loss(peer, dtype):
    data = make_data(300, 20, 5, dtype)
    ours, theirs = (PEERS[name](*data, 1)() for name in ("fastsoftmax", peer))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("peer", [peer for peer in others if peer.values[0] in EPOCHS])
def test_an_epoch_of_every_peer_takes_the_same_steps(peer):
    """With batches of all rows the order, each side's own, does not matter."""
    data = make_data(300, 20, 5, "float64")
    ours, theirs = (EPOCHS[name](*data, 1, 300)() for name in ("fastsoftmax", peer))
    np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-6)
    assert ours[1] > 0
    small = [EPOCHS[name](*data, 1, 16)()[0] for name in ("fastsoftmax", peer)]
    np.testing.assert_allclose(*small, rtol=1e-2)


@pytest.mark.parametrize("batch", [None, 50])
def test_the_report_tells_what_was_measured(batch):
    result = measure.measure([(300, 20, 5)], ["float32"], ["fastsoftmax", "numpy"], 1, 1, batch)
    (row,) = result["rows"]
    assert row["shape"] == [300, 20, 5]
    assert all(seconds > 0 for seconds in row["best"].values())
    text = report.markdown(result)
    assert "300x20x5" in text
    assert ("batches of 50" in text) == (batch == 50)


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


def refused(*arguments):
    """The one line that the command ends with."""
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("fastsoftmax: ")
    return line


def test_arguments_are_checked_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "measure", lambda *arguments, **options: pytest.fail("measured"))
    limit = numba.config.NUMBA_NUM_THREADS
    for rounds in (0, -3):
        assert f"--rounds must be at least 1, got {rounds}" in refused("--rounds", rounds)
    for threads in (0, -1, limit + 1):
        assert f"--threads must be from 1 to {limit}" in refused("--threads", threads)
    (tmp_path / "file").touch()
    assert "--output must name" in refused("-o", tmp_path / "file")


def test_a_machine_of_one_cpu_needs_no_option(monkeypatch):
    used = []
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 1)
    monkeypatch.setattr(measure, "measure", lambda *a, **options: used.append(a[3]))
    monkeypatch.setattr(report, "markdown", lambda result: "")
    assert CliRunner().invoke(app, ["bench"]).exit_code == 0
    assert used == [1]


NO_LIMITS = {"bytes": 1.0, "flops": 1.0}


def test_a_shape_beyond_memory_is_one_line(monkeypatch):
    monkeypatch.setattr(measure, "limits", lambda *arguments: NO_LIMITS)
    line = refused("--shape", "1000000000000x1000x2", "--dtype", "float64", "--peer", "numpy")
    assert line.startswith("fastsoftmax: fastsoftmax: Unable to allocate")


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
def test_a_peer_that_is_killed_is_one_line(monkeypatch):
    """As by a system without memory."""
    monkeypatch.setattr(measure, "limits", lambda *arguments: NO_LIMITS)
    ask = measure.Worker.ask

    def ask_the_dead(worker, *request):
        worker.process.kill()
        worker.process.wait()
        return ask(worker, *request)

    monkeypatch.setattr(measure.Worker, "ask", ask_the_dead)
    assert "the process of fastsoftmax ended early" in refused("--shape", "10x10x2")


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
