"""Which images of a folder are upscaled."""

import sys

import pytest
from PIL import Image

import srkd
from srkd import SrkdError

LINKS = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")


@pytest.fixture
def folder(tmp_path, photo):
    """A folder of two photographs, one of them in a subfolder."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpe"):
        Image.fromarray(photo[:8, :8]).save(tmp_path / "in" / name)
    return tmp_path / "in"


def made(paths, out):
    return sorted(path.relative_to(out).as_posix() for path in paths)


@LINKS
def test_links_that_lead_nowhere_are_failures_and_the_rest_is_done(folder, tmp_path, fails, capsys):
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    out = tmp_path / "out"
    error = fails(1, "upscale", folder, "-o", out, "-w", "bicubic")
    assert "2 of 4 images or folders failed" in error and "the others are done" in error
    assert "loop.png is a link that leads in a circle" in error
    assert "gone.png is a link to something that is not there" in error
    assert made(out.rglob("*.*[a-z]"), out) == [".srkd-upscale.jsonl", "a.png", "sub/b.jpe"]
    # Again, with nothing left to do, and alone.
    assert "2 of 2 images or folders failed" in fails(1, "upscale", folder, "-o", out, "-w", "bicubic")
    assert "circle; no image is left" in fails(1, "upscale", folder / "loop.png", "-o", tmp_path / "x.png")


@LINKS
def test_linked_folders_are_entered(folder, tmp_path, photo):
    (tmp_path / "other").mkdir()
    Image.fromarray(photo[:8, :8]).save(tmp_path / "other" / "c.png")
    (folder / "linked").symlink_to(tmp_path / "other")
    (folder / "sub" / "circle").symlink_to(folder)
    out = srkd.upscale(folder, tmp_path / "out", weights="bicubic")
    assert made(out, tmp_path / "out") == ["a.png", "linked/c.png", "sub/b.jpe"]


@pytest.mark.parametrize("words", [["in", "-o", "in"], [".", "-o", "."], ["../in", "-o", "../in/"]])
def test_results_do_not_go_among_the_photographs(folder, fails, monkeypatch, words):
    monkeypatch.chdir(folder if words[0] != "in" else folder.parent)
    error = fails(2, "upscale", *words, "-w", "bicubic")
    assert "is the folder of the images" in error and "give another -o, such as" in error
    assert not list(folder.rglob("*.jsonl"))


def test_results_are_not_taken_as_input(folder, tmp_path, capsys):
    srkd.upscale(folder, folder / "large", weights="bicubic")
    again = srkd.upscale(folder, folder / "huge", weights="bicubic")
    assert made(again, folder / "huge") == ["a.png", "sub/b.jpe"]
    assert "left out: 2 results of srkd upscale\n" in capsys.readouterr().out
    # A folder that is named for its results is upscaled.
    assert len(srkd.upscale(folder / "large", tmp_path / "twice", weights="bicubic")) == 2


def test_photographs_in_the_output_folder_are_counted(folder, capsys):
    srkd.upscale(folder, folder / "sub", weights="bicubic")
    out = capsys.readouterr().out
    assert f"left out: 1 image in the output folder {folder / 'sub'}\n" in out
    # Whatever path leads there.
    out = folder / ".." / folder.name / "sub"
    srkd.upscale(folder, out, weights="bicubic", overwrite=True)
    assert made(folder.rglob("*.png"), folder) == ["a.png", "sub/a.png"]


def test_a_glob_takes_images(folder, tmp_path, capsys):
    (folder / "notes.txt").write_text("")
    out = srkd.upscale(str(folder / "*"), tmp_path / "out", weights="bicubic")
    assert made(out, tmp_path / "out") == ["a.png", "b.jpe"]
    assert "left out: 1 .txt file\n" in capsys.readouterr().out


def test_whatever_one_image_raises_the_others_are_done(folder, tmp_path, monkeypatch):
    real = srkd.upscaling.tasks.enlarge_file

    def fail(runner, source, *words, **options):
        if source.name == "a.png":
            raise TypeError("a decoder's fault")
        return real(runner, source, *words, **options)

    monkeypatch.setattr("srkd.upscaling.tasks.enlarge_file", fail)
    with pytest.raises(SrkdError, match=r"1 of 2 images failed: .*a\.png: a decoder's fault"):
        srkd.upscale(folder, tmp_path / "out", weights="bicubic")
    assert (tmp_path / "out" / "sub" / "b.jpe").is_file()
