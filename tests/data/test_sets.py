"""Training and validation images."""

import os
import shutil
import subprocess
import sys

import pytest

import srkd
from srkd import UsageError
from srkd.data import open_data
from srkd.files import hash_file


def hash_list(path, files):
    path.write_text("".join(f"{hash_file(file)}  {file.name}\n" for file in files))
    return str(path)


def test_a_list_says_which_images_are_for_validation(photos, tmp_path):
    files = sorted(photos.iterdir())
    listed = hash_list(tmp_path / "val.sha256", files[2:4])
    packed = tmp_path / "packed"
    srkd.prepare(str(photos), str(packed), val=listed)
    for data, val in ((str(photos), listed), (str(packed), None), (str(packed), listed)):
        found = open_data(data, 4, val)
        assert [pair.name for pair in found.val] == [file.name for file in files[2:4]]
        assert len(found.train) == len(files) - 2
    (tmp_path / "strange.sha256").write_text("0" * 64 + "  gone.png\n")
    with pytest.raises(UsageError, match=r"names gone\.png"):
        open_data(str(photos), 4, str(tmp_path / "strange.sha256"))
    (tmp_path / "words.txt").write_text("these are words\n")
    with pytest.raises(UsageError, match="line 1"):
        open_data(str(photos), 4, str(tmp_path / "words.txt"))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text")
def test_names_that_are_no_text_are_kept(photos, tmp_path):
    name = os.fsdecode(b"0\xff.png")
    (tmp_path / "in").mkdir()
    for number, path in enumerate(sorted(photos.iterdir())):
        shutil.copy(path, tmp_path / "in" / (path.name if number else name))
    srkd.prepare(tmp_path / "in", tmp_path / "packed")
    assert [pair.name for pair in open_data(tmp_path / "packed", 4).val] == [name]
    found = open_data(tmp_path / "in", 4, tmp_path / "packed" / "validation.sha256")
    assert [pair.name for pair in found.val] == [name]
    options = {kind: tmp_path / f"x.{kind}" for kind in ("json", "csv", "latex")}
    srkd.evaluate("bicubic", tmp_path / "in", lpips="none", **options)
    (tmp_path / "bytes.sha256").write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match="line 1: expected a SHA-256"):
        open_data(tmp_path / "in", 4, tmp_path / "bytes.sha256")


@pytest.mark.parametrize("kind", ["folder", "packed"])
def test_training_drops_what_validation_has(photos, packed, tmp_path, capsys, kind):
    """Found by hash: the copy has another name."""
    val = tmp_path / "val"
    val.mkdir()
    files = sorted(photos.iterdir())
    shutil.copy(files[4], val / "renamed.png")
    found = open_data(str(photos if kind == "folder" else packed), 4, str(val))
    assert len(found.val) == 1 and files[4].name not in [pair.name for pair in found.train]
    assert "1 images that are also in the validation set" in capsys.readouterr().out


def test_images_too_small_for_a_crop_are_named(packed):
    with pytest.raises(UsageError, match=r"smaller than a crop of 97.*--skip-bad"):
        open_data(str(packed), 4, smallest=97)


def test_a_packed_set_keeps_the_images_that_it_set_aside(photos, tmp_path):
    """Those of a list, not every 40th."""
    chosen = sorted(photos.iterdir())[2]
    listed = tmp_path / "val.sha256"
    listed.write_text(f"{hash_file(chosen)}  {chosen.name}\n")
    srkd.prepare(photos, tmp_path / "packed", val=listed)
    found = open_data(tmp_path / "packed", 4)
    assert [pair.name for pair in found.val] == [chosen.name]
    assert len(found.train) == 5 and chosen.name not in {pair.name for pair in found.train}


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize("name", ["0\nb.png", "0\\nb.png", "0\rb.png", "0\u2028b.png", "0 b.png"])
def test_lists_hold_any_name_as_sha256sum_does(photos, tmp_path, name):
    (tmp_path / "in").mkdir()
    for number, path in enumerate(sorted(photos.iterdir())):
        shutil.copy(path, tmp_path / "in" / (path.name if number else name))
    srkd.prepare(tmp_path / "in", tmp_path / "packed")
    listed = tmp_path / "packed" / "validation.sha256"
    assert [pair.name for pair in open_data(tmp_path / "in", 4, listed).val] == [name]
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", listed], cwd=tmp_path / "in", check=True)
        written = subprocess.run(["sha256sum", name], cwd=tmp_path / "in", capture_output=True, check=True)
        (tmp_path / "its.sha256").write_bytes(written.stdout)
        assert [pair.name for pair in open_data(tmp_path / "in", 4, tmp_path / "its.sha256").val] == [name]


def test_results_of_upscale_are_not_taken_for_photographs(photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "in")
    srkd.upscale(tmp_path / "in", tmp_path / "in" / "large", weights="bicubic")
    capsys.readouterr()
    assert len(open_data(tmp_path / "in", 4).train) == len(open_data(photos, 4).train)
    assert "left out: 6 results of srkd upscale\n" in capsys.readouterr().out
    # Who names them wants them.
    assert open_data(tmp_path / "in" / "large", 4).train
