import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import fastsoftmax as fs
from fastsoftmax.cli import main
from fastsoftmax.cli.tables import files
from fastsoftmax.cli.training import fitting
from fastsoftmax.solvers.lbfgs import LBFGS


@pytest.fixture
def heeds_ctrl_c():
    """As in a terminal: what a shell starts in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_saves_what_was_learnt(run, frame, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        def interrupt(epoch):
            if epoch.epoch == 2:
                signal.raise_signal(signal.SIGINT)

        return fs.fit_sgd(*arguments, **options, callback=interrupt)

    monkeypatch.setattr(fitting, "fit_sgd", interrupted)
    frame.write_csv(tmp_path / "data.csv")
    train = "train", tmp_path / "data.csv", "--label", "kind", "--epochs", 10000
    result = run(*train, "-o", tmp_path / "m.npz")
    assert result.exit_code == 130
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("fastsoftmax: interrupted after 3 epochs; ")
    assert said.endswith(f"saved as {tmp_path / 'm.npz'}")
    assert fs.SoftmaxModel.load(tmp_path / "m.npz").W.any()
    result = run(*train)
    assert result.exit_code == 130
    assert result.stderr.strip().endswith("fastsoftmax: interrupted after 3 epochs")


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_on_the_way_to_the_optimum(run, trained, tmp_path, monkeypatch):
    """What was learnt is saved; what was not takes the place of no older model."""
    fit, step = fs.fit, 0

    def interrupted(*arguments, progress, **options):
        def interrupt(done, objective, gap):
            if done == step:
                signal.raise_signal(signal.SIGINT)

        if step < 0:
            monkeypatch.setattr(LBFGS, "step", lambda *a: signal.raise_signal(signal.SIGINT))
        return fit(*arguments, progress=interrupt, **options)

    monkeypatch.setattr(fitting, "fit", interrupted)
    older = trained.read_bytes()
    out = "--optimum", "--tol", 1e-9, "-o", trained
    train = "train", tmp_path / "data.csv", "--label", "kind", *out
    result = run(*train)
    assert result.exit_code == 130
    said = result.stderr.strip().splitlines()[-1]
    assert re.match(r"fastsoftmax: interrupted after [\d.]+ passes; what was learnt by then", said)
    assert said.endswith(f" is saved as {trained}")
    learnt = trained.read_bytes()
    assert learnt != older
    step = -1
    result = run(*train)
    assert result.exit_code == 130
    assert result.stderr.strip().splitlines()[-1] == "fastsoftmax: interrupted"
    assert trained.read_bytes() == learnt


def test_ctrl_c_elsewhere_is_one_line(run, trained, tmp_path, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "read", interrupt)
    result = run("predict", trained, tmp_path / "data.csv")
    assert result.exit_code == 130
    assert result.stderr == "fastsoftmax: interrupted\n"


def test_ctrl_c_while_modules_are_imported_is_one_line(monkeypatch, capsys):
    class Interrupts:
        def find_spec(self, name, path, target=None):
            if name == "fastsoftmax.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "fastsoftmax.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupts(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "fastsoftmax: interrupted\n"


def read_something(reader):
    """From a pipe whose writer may open and close it before it opens it to write."""
    for _ in range(6000):
        with suppress(BlockingIOError):  # a writer, but nothing written
            if os.read(reader, 1):
                return
        time.sleep(0.01)
    pytest.fail("nothing was written")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("arguments", [["predict"], ["predict", "-o"], ["train"]])
def test_a_reader_that_goes_away_is_one_line(trained, tmp_path, arguments):
    """Of standard output, where Python would have a last word at its end, and of a named pipe."""
    command, *option = arguments
    rows = "1.5,wet,2.5,0\n" * 20_000  # more than a pipe holds
    (tmp_path / "large.csv").write_text("a,kind,b,n\n" + rows)
    given = [trained, tmp_path / "large.csv"]
    if command == "train":
        given = [tmp_path / "data.csv", "--label", "kind", "--epochs", 1]
    pipe = tmp_path / "pipe"
    if option:
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        given += [*option, pipe]
    process = subprocess.Popen(
        [sys.executable, "-c", "from fastsoftmax.cli import main; main()", command]
        + [str(argument) for argument in given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if option:
        read_something(reader)
        os.close(reader)
    process.stdout.close()
    line = process.stderr.read().strip().splitlines()[-1]
    process.stderr.close()
    assert process.wait(60) == 1
    assert line == "fastsoftmax: whoever read the output closed it"


@pytest.mark.skipif(os.name != "posix", reason="a signal is sent as POSIX does")
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_while_training_on_all_rows_leaves_the_model_that_was_judged(
    run, trained, tmp_path, monkeypatch
):
    judged = trained.read_bytes()
    lengths = []

    def interrupted(X, y, **options):
        lengths.append(len(y))
        if len(lengths) == 2:
            signal.raise_signal(signal.SIGINT)
        return fs.fit_sgd(X, y, **options)

    monkeypatch.setattr(fitting, "fit_sgd", interrupted)
    train = "train", tmp_path / "data.csv", "--label", "kind", "--epochs", 20, "--refit"
    result = run(*train, "-o", tmp_path / "m.npz")
    assert result.exit_code == 130
    assert lengths == [160, 200]
    told = f"all rows; the model trained on 160 of them is saved as {tmp_path / 'm.npz'}"
    assert result.stderr.strip().endswith(told)
    assert trained.read_bytes() == judged
