"""What the commands import, which is most of the time that a small one takes."""

import subprocess
import sys

import fastsoftmax as fs

PROGRAM = """
import sys

import numba, numpy  # Numba imports SciPy where there is one

before = set(sys.modules)
from fastsoftmax.cli import main

def imported():
    return {name.partition(".")[0] for name in set(sys.modules) - before}

def command(*arguments):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code

command("--version")
print(*imported())
command("predict", *FILES)
print(*imported())
"""

SLOW = {"sklearn", "scipy", "matplotlib", "rich", "pandas", "pyarrow", "torch"}


def test_small_commands_import_little(trained, tmp_path):
    """`predict` took 2.5 s on one row, most of them for an import of scikit-learn."""
    (tmp_path / "one.csv").write_text("a,b,n\n1,2,0\n")
    files = [str(trained), str(tmp_path / "one.csv")]
    program = PROGRAM.replace("FILES", repr(files))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version, first, head, label, then = done.stdout.splitlines()
    assert version == fs.__version__
    assert (head, label) == ("prediction", "dry")
    assert "fastsoftmax" in first.split()
    assert SLOW.isdisjoint(then.split())
    assert "polars" not in first.split()


def test_without_the_extra_the_command_says_so():
    code = "import sys; sys.modules['typer'] = None; from fastsoftmax.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "fastsoftmax: typer is missing; pip install 'fastsoftmax[cli]'"


def test_without_a_part_of_the_extra_the_command_says_so(run, fails, trained, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fastsoftmax.cli.tables.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "polars", None)
    fails(run("predict", trained, trained), "polars is missing; pip install 'fastsoftmax[cli]'")


def test_version(run):
    assert run("--version").stdout.strip() == fs.__version__
