"""Files that appear whole or not at all."""

import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from srkd import SrkdError
from srkd.files import check_writable, publish, replacing, write_text

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions and names as POSIX has them")


def write(path, text="new"):
    write_text(path, text)


def write_by_folder(path, text="new"):
    with publish(path, (".bin",)) as draft:
        draft.write_text(text)
        draft.with_suffix(".bin").write_text(text)


WRITERS = [write, write_by_folder]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_and_its_folder_appear(tmp_path, writer):
    target = tmp_path / "a" / "b" / "x.txt"
    writer(target)
    writer(target, "newer")
    assert target.read_text() == "newer"
    assert {p.name for p in target.parent.iterdir()} <= {"x.txt", "x.bin"}


@pytest.mark.parametrize("manager", [replacing, publish])
def test_a_failure_leaves_the_old_file_alone(tmp_path, manager):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), manager(target) as draft:
        draft.write_text("half")
        _ = 1 / 0
    assert target.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]


@posix
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("letter", ["a", "ü", "写"])
def test_names_as_long_as_allowed(tmp_path, writer, letter):
    name = letter * ((255 - 4) // len(letter.encode())) + ".txt"
    writer(tmp_path / name)
    assert (tmp_path / name).read_text() == "new"
    with pytest.raises(SrkdError, match="its name is too long; choose a shorter one"):
        writer(tmp_path / (letter + name))
    assert {p.suffix for p in tmp_path.iterdir()} <= {".txt", ".bin"}


@posix
@pytest.mark.parametrize("writer", WRITERS)
def test_names_as_long_as_an_encrypting_file_system_allows(tmp_path, writer, monkeypatch):
    """143 bytes, on the NAS boxes that encrypt by eCryptfs."""
    monkeypatch.setattr(os, "pathconf", lambda path, name: 143)
    real = os.open

    def limited(path, *rest, **options):
        assert len(os.fsencode(Path(path).name)) <= 143
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", limited)
    writer(tmp_path / ("a" * 139 + ".txt"))
    assert max(len(path.name) for path in tmp_path.iterdir()) == 143
    with pytest.raises(SrkdError, match="its name is too long"):
        writer(tmp_path / ("a" * 140 + ".txt"))


def test_what_cannot_be_written_is_known_before(tmp_path):
    check_writable(tmp_path / "new" / "x.txt")
    assert [path.name for path in tmp_path.rglob("*")] == ["new"]
    (tmp_path / "old.txt").write_text("old")
    check_writable(tmp_path / "old.txt")
    assert (tmp_path / "old.txt").read_text() == "old"
    for name, words in (
        ("a" * 300, "its name is too long"),
        ("new", "there is a folder of that name"),
        ("old.txt/x", "old.txt is a file, not a folder"),
    ):
        with pytest.raises(SrkdError, match=words):
            check_writable(tmp_path / name)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_in_the_way_is_named(tmp_path, writer):
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(SrkdError, match=r"folder\.txt: there is a folder of that name; choose another name$"):
        writer(tmp_path / "folder.txt")
    (tmp_path / "file").touch()
    for below in ("x.txt", "deeper/x.txt"):
        with pytest.raises(SrkdError, match=r"file is a file, not a folder; choose another place$"):
            writer(tmp_path / "file" / below)
    assert not any(p.name.startswith(".") for p in tmp_path.iterdir())


CAUSES = {
    errno.ENOSPC: "No space left on device; free some space or choose another place",
    errno.EACCES: "Permission denied; choose a place where you may write",
    errno.EROFS: "Read-only file system; choose a place where you may write",
    errno.EIO: "Input/output error",
}


@posix
@pytest.mark.parametrize("code", CAUSES)
@pytest.mark.parametrize("manager", [replacing, publish])
def test_each_cause_has_its_message(tmp_path, manager, code):
    with pytest.raises(SrkdError) as raised, manager(tmp_path / "x.txt"):
        raise OSError(code, os.strerror(code))
    assert str(raised.value) == f"cannot write {tmp_path / 'x.txt'}: {CAUSES[code]}"
    assert not list(tmp_path.iterdir())


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_without_permission(tmp_path, writer):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SrkdError, match="choose a place where you may write"):
            writer(tmp_path / "x.txt")
    finally:
        tmp_path.chmod(0o700)


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    barrier, errors = threading.Barrier(4), []

    def work(letter):
        barrier.wait()
        try:
            for _ in range(20):
                write(tmp_path / "x.txt", letter * 1000)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(set((tmp_path / "x.txt").read_text())) == 1
