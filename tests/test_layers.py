"""Which threading layer is taken, how many threads are used, and what `diagnose` says of it."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import numba
import pytest

import fastsoftmax as fs
from fastsoftmax import layers, limits

LAYER = """
import sys
import numpy as np
import fastsoftmax as fs
from fastsoftmax import layers

assert layers.chosen() is None  # importing starts nothing
fs.softmax(np.zeros((30_000, 3)))
print(layers.chosen())
"""

FRESH = dict.fromkeys(("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY"))


def has_pips_tbb():
    return layers._pips_tbb() is not None


def test_pips_tbb_is_taken_where_nothing_was_asked_for(run_program):
    if not has_pips_tbb():
        pytest.skip("pip's tbb is not installed")
    assert run_program(LAYER, NUMBA_NUM_THREADS=2, **FRESH) == "tbb\n"
    priority = {"NUMBA_THREADING_LAYER_PRIORITY": "omp workqueue tbb"}
    assert run_program(LAYER, NUMBA_NUM_THREADS=2, **FRESH | priority) != "tbb\n"


@pytest.mark.parametrize("layer_asked_for", ["omp", "workqueue", "tbb"])
def test_the_users_choice_wins(run_program, layer_asked_for):
    if layer_asked_for == "tbb" and not has_pips_tbb():
        pytest.skip("pip's tbb is not installed")
    chosen = run_program(LAYER, NUMBA_NUM_THREADS=2, NUMBA_THREADING_LAYER=layer_asked_for)
    assert chosen.strip() == layer_asked_for
    in_program = f"import numba\nnumba.config.THREADING_LAYER = {layer_asked_for!r}\n" + LAYER
    assert run_program(in_program, NUMBA_NUM_THREADS=2, **FRESH).strip() == layer_asked_for


def test_a_layer_that_is_chosen_already_stays(run_program):
    program = """
import numba, numpy as np
import fastsoftmax as fs
from fastsoftmax import layers

numba.get_num_threads()
first = layers.chosen()
fs.softmax(np.zeros((30_000, 3)))
assert layers.chosen() == first
with open("/proc/self/maps") as maps:
    assert "libtbb" not in maps.read() or first == "tbb"
print("right")
"""
    if sys.platform == "linux":
        assert run_program(program, NUMBA_NUM_THREADS=2, **FRESH) == "right\n"


def test_without_tbb_another_layer_is_taken(run_program):
    program = "from fastsoftmax import layers\nlayers._pips_tbb = lambda: None\n" + LAYER
    assert run_program(program, NUMBA_NUM_THREADS=2, **FRESH).strip() in ("omp", "workqueue", "tbb")


def test_without_tbb_and_openmp_the_workqueue_is_taken(run_program):
    program = """
import sys
sys.modules["numba.np.ufunc.omppool"] = sys.modules["numba.np.ufunc.tbbpool"] = None
from every_call import all_bits, serial_bits
from fastsoftmax import layers

expected = serial_bits()
assert all_bits() == expected
print(layers.chosen())
"""
    assert run_program(program, NUMBA_NUM_THREADS=4, **FRESH) == "workqueue\n"


@pytest.mark.parametrize("content", [b"", b"not a library"])
def test_a_broken_tbb_is_left_alone(monkeypatch, tmp_path, content):
    path = tmp_path / "libtbb.so.12"
    path.write_bytes(content)
    monkeypatch.setattr(layers, "_pips_tbb", lambda: path)
    monkeypatch.setattr(numba.config, "THREADING_LAYER", "default")
    layers._load_pips_tbb()


@pytest.mark.parametrize("version", ["2020.3", "2021.5.1", "unknown"])
def test_an_old_tbb_is_left_alone(monkeypatch, version):
    class Old:
        files = ()

    Old.version = version
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Old)
    assert layers._pips_tbb() is None


def test_a_layer_that_is_not_there_is_an_error_that_says_so(run_program):
    program = """
import sys
sys.modules["numba.np.ufunc.omppool"] = None
import numpy as np
import fastsoftmax as fs

for _ in range(2):
    try:
        fs.softmax(np.zeros((30_000, 3)))
    except ValueError as error:
        print("No threading layer could be loaded" in str(error))
with fs.num_threads(1):
    print(fs.softmax([0.0, 0.0])[0] == 0.5)
"""
    assert run_program(program, NUMBA_NUM_THREADS=2, NUMBA_THREADING_LAYER="omp") == "True\n" * 3


def test_one_thread_starts_no_layer(run_program):
    program = LAYER.replace(
        "print(layers.chosen())", "print(layers.chosen(), fs.softmax([0.0])[0])"
    )
    assert run_program(program, NUMBA_NUM_THREADS=1) == "None 1.0\n"


# How many threads


THREADS = """
from fastsoftmax.threads import threads_in_use
print(threads_in_use())
"""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OMP_NUM_THREADS": 1}, 1),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"OMP_THREAD_LIMIT": 1}, 1),
        ({"OMP_NUM_THREADS": 1, "NUMBA_NUM_THREADS": 3}, 3),  # what is said of Numba counts
        ({"OMP_NUM_THREADS": 64, "NUMBA_NUM_THREADS": 3}, 3),
        ({"NUMBA_NUM_THREADS": 1}, 1),
    ],
)
def test_limits_in_the_environment(run_program, variables, expected):
    nothing = dict.fromkeys(("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "NUMBA_NUM_THREADS"))
    assert int(run_program(THREADS, **nothing | variables)) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1.5", ",2"])
def test_what_is_no_number_of_threads_is_ignored(text):
    assert limits._first_number(text) is None


def test_set_num_threads_overrides_the_environment(run_program):
    program = "import fastsoftmax as fs\nfs.set_num_threads(2)" + THREADS
    assert run_program(program, OMP_NUM_THREADS=1, NUMBA_NUM_THREADS=2) == "2\n"


def test_a_limit_holds_during_a_call_and_numbas_setting_returns(run_program):
    program = """
import numba
from fastsoftmax.threads import launch
seen = []
launch(lambda run: seen.append(numba.get_num_threads()))
print(*seen, numba.get_num_threads())
"""
    cpus = os.cpu_count()
    if cpus is None or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a single CPU")
    program = "from fastsoftmax import limits\nlimits.default_threads = lambda: 2" + program
    assert run_program(program, NUMBA_NUM_THREADS=4) == "2 4\n"


QUOTAS = {
    "v2": ({"sys/fs/cgroup/cpu.max": "150000 100000"}, "0::/", 2),
    "v2 none": ({"sys/fs/cgroup/cpu.max": "max 100000"}, "0::/", None),
    "v2 one and no more": ({"sys/fs/cgroup/cpu.max": "100000 100000"}, "0::/", 1),
    "v2 a share of one": ({"sys/fs/cgroup/cpu.max": "1000 100000"}, "0::/", 1),
    "v2 of an ancestor": (
        {"sys/fs/cgroup/a/cpu.max": "300000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"},
        "0::/a/b",
        3,
    ),
    "v2 the host's path": ({"sys/fs/cgroup/cpu.max": "200000 100000"}, "0::/docker/1f2e", 2),
    "v1": (
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        "4:cpu,cpuacct:/\n0::/",
        3,
    ),
    "v1 none": (
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        "4:cpu:/\n3:memory:/x",
        None,
    ),
    "the least of several": (
        {
            "sys/fs/cgroup/cpu/g/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu/g/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu.max": "200000 100000",
        },
        "4:cpu:/g\n0::/",
        2,
    ),
    "damaged": ({"sys/fs/cgroup/cpu.max": "what is this"}, "0::/\nnonsense\n::::", None),
    "a path upwards": ({"sys/fs/cgroup/cpu.max": "200000 100000"}, "0::/../../..", 2),
    "no files": ({}, "0::/a", None),
}


@pytest.mark.parametrize(("files", "groups", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_quota_of_a_container(tmp_path, files, groups, expected):
    for name, content in (files | {"proc/self/cgroup": groups}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert limits.quota(tmp_path) == expected


def test_no_control_groups(tmp_path):
    assert limits.quota(tmp_path) is None


def test_the_quota_bounds_the_default(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    monkeypatch.setattr(numba.config, "NUMBA_DEFAULT_NUM_THREADS", 8)
    for cpus, expected in ((3, 3), (16, 8), (None, 8)):
        monkeypatch.setattr(limits, "quota", lambda cpus=cpus: cpus)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert limits.default_threads.__wrapped__() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert limits.default_threads.__wrapped__() == 2


# diagnose


def test_diagnose(run_program, layer):
    program = "import fastsoftmax as fs\nprint(fs.diagnose())\n"
    lines = dict(line.split(maxsplit=1) for line in run_program(program, **layer).splitlines())
    assert lines["fastsoftmax"] == fs.__version__
    assert lines["numba"] == numba.__version__
    assert lines["threading_layer"] == layer["NUMBA_THREADING_LAYER"]
    assert lines["threads"] == lines["max_threads"] == "4"
    assert int(lines["simd_bits"]) in (128, 256, 512)
    assert os.path.isdir(os.path.dirname(lines["cache_folder"]))


def test_diagnose_gives_the_numbers_too():
    diagnosis = fs.diagnose()
    with fs.num_threads(1):
        assert fs.diagnose().threads == 1
    assert diagnosis.max_threads == numba.config.NUMBA_NUM_THREADS
    assert f"threads          {diagnosis.threads}" in str(diagnosis)
