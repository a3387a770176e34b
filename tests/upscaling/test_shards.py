"""Shards: tar archives of images."""

import io
import tarfile

import numpy as np
import pytest
from conftest import bicubic

import srkd
from srkd import SrkdError, UsageError
from srkd.cli import main
from srkd.images.writing import write_image


@pytest.fixture
def shards(photo, tmp_path):
    """Two shards of three samples; one image of the second is none."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard:04d}.tar", "w") as archive:
            for number in range(3):
                name = tmp_path / f"{shard}{number}.png"
                write_image(name, np.ascontiguousarray(photo[: 20 + number, number : 30 + shard]))
                data = name.read_bytes() if (shard, number) != (1, 1) else b"no image"
                for suffix, content in (("cls", b"7"), ("png", data)):
                    info = tarfile.TarInfo(f"train/{shard}{number}.{suffix}")
                    info.size, info.mtime = len(content), 1000 + number
                    archive.addfile(info, io.BytesIO(content))
    return folder


def read(path):
    with tarfile.open(path) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive}


def test_shards_become_shards_of_the_same_samples(shards, tmp_path, capsys):
    words = ["upscale", str(shards / "*.tar"), "-o", str(tmp_path / "out"), "-w", "bicubic"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "upscaled 5 images" in out
    assert "1 of 6 images failed" in err and f"{shards / '0001.tar'}/11.png is not an image" in err
    first = read(tmp_path / "out" / "0000.tar")
    assert list(first) == [f"train/0{n}.{suffix}" for n in range(3) for suffix in ("cls", "png")]
    assert first["train/00.cls"] == b"7"
    assert first["train/02.png"] == bicubic(tmp_path / "02.png", tmp_path / "alone.png").read_bytes()
    # The whole sample is left out, so that no label is without its image.
    assert [name for name in read(tmp_path / "out" / "0001.tar") if "11" in name] == []
    again = (tmp_path / "out" / "0000.tar").read_bytes()
    srkd.upscale([str(shards / "0000.tar")], str(tmp_path / "more"), weights="bicubic")
    assert (tmp_path / "more" / "0000.tar").read_bytes() == again
    assert main(words) == 0 and "all 2 images were upscaled before" in capsys.readouterr().out


def test_a_format_of_its_own_and_one_file(shards, tmp_path):
    srkd.upscale(str(shards / "0000.tar"), str(tmp_path / "a.tar"), weights="bicubic", format="webp")
    assert [name for name in read(tmp_path / "a.tar") if "webp" in name] == [
        f"train/0{n}.webp" for n in range(3)
    ]
    for source, target in (("0000.tar", "a.png"), ("../00.png", "b.tar")):
        with pytest.raises(UsageError, match="a shard becomes a shard"):
            srkd.upscale(str(shards / source), str(tmp_path / target), weights="bicubic")


def test_a_damaged_shard_leaves_nothing(shards, tmp_path):
    (shards / "0000.tar").write_bytes((shards / "0000.tar").read_bytes()[:700])
    with pytest.raises(SrkdError, match=r"0000\.tar is damaged"):
        srkd.upscale(str(shards / "0000.tar"), str(tmp_path / "a.tar"), weights="bicubic")
    assert not list(tmp_path.glob("*a*.tar"))


def test_webdataset_reads_what_is_written(shards, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    srkd.upscale(str(shards / "0000.tar"), str(tmp_path / "a.tar"), weights="bicubic")
    samples = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"train/0{n}" for n in range(3)]
    assert samples[0]["png"].size == (120, 80) and samples[0]["cls"] == 7
