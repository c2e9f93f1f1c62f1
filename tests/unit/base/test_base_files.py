import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hanlin.base.errors import DiskError
from hanlin.base.files import atomic_file, atomic_folder, recover_folder, sha256, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk():
    """No file of this process may grow beyond 4 KiB: writes fail as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_appears_whole_with_ordinary_permissions(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as file:
        file.write("春")
        assert not path.exists()
    assert path.read_text("utf-8") == "春"
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_an_exception_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines(["half", 0])
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_keeps_the_old_file(tmp_path, full_disk):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(DiskError, match=r"a\.bin: File too large"), atomic_file(path, "wb") as file:
        file.write(bytes(10_000))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_disk_that_is_found_full_at_the_last_moment_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left on device") as caught:
        write_text(path, "new")
    assert "磁盘" in caught.value.remedy.zh
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder in which none can be made")
def test_a_folder_that_cannot_be_made_is_a_mistake_of_the_user():
    with pytest.raises(DiskError, match=r"/proc/hanlin/a\.txt"):
        write_text(Path("/proc/hanlin/a.txt"), "x")


def test_a_file_where_a_folder_should_be_is_a_mistake_of_the_user(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(DiskError, match="notes"):
        write_text(tmp_path / "notes" / "a.txt", "x")
    with pytest.raises(DiskError, match="notes"), atomic_folder(tmp_path / "notes" / "corpus"):
        pass
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "stage"
    for name in ("first", "second"):
        with atomic_folder(folder) as fresh:
            (fresh / name).write_text(name)
    assert names(folder) == ["second"]
    assert names(tmp_path) == ["stage"]


def test_an_exception_in_the_middle_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "stage"
    with atomic_folder(folder) as fresh:
        (fresh / "old").touch()
    with pytest.raises(TypeError), atomic_folder(folder) as fresh:
        (fresh / "new").open("w").writelines(["half", 0])
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["stage"]


def test_a_full_disk_keeps_the_old_folder(tmp_path, full_disk):
    folder = tmp_path / "stage"
    with atomic_folder(folder) as fresh:
        (fresh / "old").touch()
    with pytest.raises(DiskError), atomic_folder(folder) as fresh:
        (fresh / "new").write_bytes(bytes(10_000))
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["stage"]


def test_what_a_kill_left_of_an_unfinished_folder_is_cleared(tmp_path):
    (tmp_path / ".stage.new").mkdir()
    (tmp_path / ".stage.new" / "half").touch()
    with atomic_folder(tmp_path / "stage") as fresh:
        assert names(fresh) == []
        (fresh / "whole").touch()
    assert names(tmp_path / "stage") == ["whole"]


KILLED = """
import os, sys
from pathlib import Path
from hanlin.base.files import atomic_folder
folder, at = Path(sys.argv[1]), int(sys.argv[2])
rename, calls = os.rename, [0]
def killing(source, target):
    calls[0] += 1
    if calls[0] == at:
        os.kill(os.getpid(), 9)
    rename(source, target)
os.rename = killing
with atomic_folder(folder) as fresh:
    (fresh / "new").touch()
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("rename", "expected"), [(1, ["old"]), (2, ["old"]), (3, ["new"])])
def test_a_kill_at_any_rename_leaves_the_old_folder_or_the_new(tmp_path, rename, expected):
    folder = tmp_path / "stage"
    with atomic_folder(folder) as fresh:
        (fresh / "old").touch()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(rename)], check=False)
    assert killed.returncode == -signal.SIGKILL
    if rename == 2:
        assert not folder.exists()  # the moment between the two renames
    recover_folder(folder)
    assert names(folder) == expected
    with atomic_folder(folder) as fresh:
        (fresh / "next").touch()
    assert names(tmp_path) == ["stage"]


def test_a_failed_attempt_after_a_kill_still_leaves_the_old_folder(tmp_path):
    (tmp_path / ".stage.old").mkdir()
    (tmp_path / ".stage.old" / "old").touch()
    with pytest.raises(TypeError), atomic_folder(tmp_path / "stage") as fresh:
        (fresh / "new").open("w").writelines([0])
    assert names(tmp_path) == ["stage"]
    assert names(tmp_path / "stage") == ["old"]


def test_an_old_folder_beside_the_new_one_is_cleared(tmp_path):
    for name, content in (("stage", "new"), (".stage.old", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).touch()
    recover_folder(tmp_path / "stage")
    assert names(tmp_path / "stage") == ["new"]
    assert names(tmp_path) == ["stage"]


def test_the_folder_one_stands_in_and_the_root_can_be_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recover_folder(Path("."))
    recover_folder(Path("/"))
    assert names(tmp_path) == []


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the first example of FIPS 180-2
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
