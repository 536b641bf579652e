"""Writing a file: whole or not at all, where the path leads, with the usual permissions."""

from __future__ import annotations

import os
import stat
import threading

import numpy as np
import pytest

import fastsoftmax as fs
from fastsoftmax.files import atomic_write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")


def write(path, text):
    with atomic_write(path) as place:
        place.write_text(text)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_permissions(tmp_path, umask):
    path = tmp_path / "file"
    write(path, "new")
    assert mode(path) == 0o640
    for kept in (0o600, 0o444, 0o666, 0o755):
        path.chmod(kept)
        write(path, f"{kept}")
        assert (mode(path), path.read_text()) == (kept, f"{kept}")
    assert os.listdir(tmp_path) == ["file"]


def test_what_was_private_is_at_no_time_public(tmp_path, umask):
    path = tmp_path / "file"
    path.touch(0o600)
    with atomic_write(path) as place:
        assert mode(place) == 0o600


def test_the_umask_of_other_threads_stays(tmp_path, monkeypatch):
    """It is the process's: were it changed for a moment, their new files would have other modes."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask is changed"))
    write(tmp_path / "file", "new")


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with atomic_write(path) as place:
            place.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("n" * 255)
    write(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(tmp_path, there):
    """Relative ones, chains, and those whose target is not there yet."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    target = tmp_path / "a" / "target"
    if there:
        target.write_text("old")
    first, second = tmp_path / "b" / "first", tmp_path / "c" / "second"
    first.symlink_to("../a/target")
    second.symlink_to(first)
    write(second, "new")
    assert first.is_symlink()
    assert second.is_symlink()
    assert not target.is_symlink()
    assert target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["a", "b", "c", "target", "first", "second"]
    )


def test_a_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        write(tmp_path / "loop", "new")
    assert os.listdir(tmp_path) == ["loop"]


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        write(tmp_path, "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("linked", [False, True])
def test_a_device_stays_one(tmp_path, linked):
    path = tmp_path / "link" if linked else os.devnull
    if linked:
        path.symlink_to(os.devnull)
    before = os.stat(os.devnull)
    with atomic_write(path) as place:  # not written as root if it would be replaced
        assert os.path.samefile(place, os.devnull)
        place.write_text("gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert os.path.samestat(before, os.stat(os.devnull))
    assert linked == os.path.islink(path)


def test_a_model_goes_through_a_pipe(tmp_path):
    pipe, copy = tmp_path / "pipe", tmp_path / "copy.npz"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: copy.write_bytes(pipe.read_bytes()), daemon=True)
    reader.start()
    model = fs.SoftmaxModel(np.eye(2), np.zeros(2), ["no", "yes"])
    model.save(pipe)
    reader.join(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    np.testing.assert_array_equal(fs.SoftmaxModel.load(copy).classes, model.classes)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no open files under /proc")
def test_open_files_by_their_number(tmp_path):
    """A pipe without a name, a file that lost its own, and one that has it still."""
    reads, writes = os.pipe()
    write(f"/proc/self/fd/{writes}", "through")
    assert os.read(reads, 100) == b"through"
    os.close(reads)
    os.close(writes)
    path = tmp_path / "file"
    with path.open("w+") as file:
        write(f"/proc/self/fd/{file.fileno()}", "named")
        assert path.read_text() == "named"
    with path.open("w+") as file:
        path.unlink()
        write(f"/proc/self/fd/{file.fileno()}", "nameless")
        assert file.read() == "nameless"
    assert os.listdir(tmp_path) == []
