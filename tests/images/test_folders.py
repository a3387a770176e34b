"""Images in folders: which are found, and what is said of the rest."""

import os
import shutil
import sys

import pytest
from PIL import Image

import srkd
from srkd import SrkdError, UsageError
from srkd.data import find_pairs, open_data
from srkd.images.folders import find_images, list_images
from srkd.images.reading import read_image

LINKS = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")


def save(photo, *paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {"jfif": "JPEG", "jpe": "JPEG", "jp2": "JPEG2000", "j2k": "JPEG2000", "ppm": "PPM"}
        Image.fromarray(photo).save(path, kind.get(path.suffix[1:].lower()))


def names(found, root):
    return [path.relative_to(root).as_posix() for path in found]


def test_subfolders_and_rare_suffixes_are_found(tmp_path, photo, capsys):
    wanted = ["a.JFIF", "b.jpe", "c.jp2", "d.ppm", "sub/deep/e.j2k", "sub/f.png"]
    save(photo, *(tmp_path / name for name in wanted))
    assert names(list_images(tmp_path), tmp_path) == wanted
    assert all(read_image(path).shape == photo.shape for path in list_images(tmp_path))
    assert [hr for hr, _ in find_pairs(tmp_path)] == list_images(tmp_path)
    assert "left out" not in capsys.readouterr().out


def test_all_that_is_left_out_is_counted_in_one_line(tmp_path, photo, capsys):
    save(photo, tmp_path / "a.png", tmp_path / "album.png" / "b.png", tmp_path / ".private" / "c.png")
    for name in ("1.txt", "2.TXT", "3.txt", "Makefile", ".secret.png", "clip.gif"):
        (tmp_path / name).write_text("")
    assert names(list_images(tmp_path), tmp_path) == ["a.png", "album.png/b.png"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("left out: ")
    assert sorted(line.removeprefix("left out: ").split(", ")) == [
        *("1 .gif file", "1 file without suffix", "1 hidden file", "1 hidden folder", "3 .txt files"),
    ]


SYSTEM = (
    ".DS_Store",
    "._a.png",
    "Thumbs.db",
    "THUMBS.DB",
    "desktop.ini",
    "@eaDir/a.png",
    "@Recycle/a.png",
    "#recycle/a.png",
    ".Trash-1000/a.png",
    "$RECYCLE.BIN/a.png",
    "lost+found/a.png",
    "__MACOSX/._a.png",
    ".stfolder/a.png",
    ".AppleDouble/a.png",
    ".thumbnails/a.png",
    ".srkd-upscale.jsonl",
)


def test_system_files_are_passed_over(tmp_path, photo, capsys):
    save(photo, tmp_path / "a.png")
    for name in SYSTEM:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert names(list_images(tmp_path), tmp_path) == ["a.png"] and not capsys.readouterr().out


@LINKS
def test_links_are_entered_once(tmp_path, photo, capsys):
    save(photo, tmp_path / "in" / "z" / "a.png", tmp_path / "elsewhere" / "b.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "z")
    (tmp_path / "in" / "z" / "up").symlink_to("..")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "gone").symlink_to("nowhere")
    found = list_images(tmp_path / "in")
    assert names(found, tmp_path / "in") == ["linked/b.png", "z/a.png"]
    out = capsys.readouterr().out
    assert "1 broken link" in out and "2 links to a folder that is there already" in out


@LINKS
def test_images_that_cannot_be_reached_are_named(tmp_path, photo, capsys):
    save(photo, *(tmp_path / f"{name}.png" for name in "abcd"))
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(SrkdError, match=r"loop\.png is a link that leads in a circle$"):
        list_images(tmp_path)
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(SrkdError, match=r"gone\.jpg is a link to something .* \(and 1 more like it\)"):
        srkd.evaluate("bicubic", tmp_path, lpips="none")
    with pytest.raises(SrkdError, match="leave such images out with --skip-bad"):
        open_data(tmp_path, 4)
    srkd.prepare(tmp_path, tmp_path / "packed", skip_bad=True)
    assert capsys.readouterr().out.count("left out: ") == 2
    for folder in ("loop.png", "gone.jpg"):
        with pytest.raises(UsageError, match="is a link"):
            list_images(tmp_path / folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path, photo, capsys):
    save(photo, tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert names(list_images(tmp_path), tmp_path) == ["a.png"]
    assert "left out: 1 special file\n" in capsys.readouterr().out


def test_an_unreadable_folder_is_a_failure(tmp_path, photo, monkeypatch):
    """As if by its permissions, which root does not heed."""
    save(photo, tmp_path / "a.png", tmp_path / "closed" / "b.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = find_images(tmp_path)
    assert names(found.images, tmp_path) == ["a.png"]
    assert found.failures == [f"{tmp_path / 'closed'} cannot be read: permission denied"]
    with pytest.raises(SrkdError, match="closed cannot be read"):
        find_pairs(tmp_path)
    with pytest.raises(SrkdError, match=r"1 of 2 images or folders failed: .*closed cannot be read"):
        srkd.upscale(tmp_path, tmp_path / "out", weights="bicubic")
    assert (tmp_path / "out" / "a.png").is_file()
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "closed")
    assert not find_images(tmp_path).failures
