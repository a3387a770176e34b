"""`srkd upscale` of folders that are not as they should be: damaged files, names that meet, outputs that
cannot be written."""

import errno
import io
import os
import random
import shutil
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from conftest import PROFILE, bicubic
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import srkd
from srkd.cli import main
from srkd.images import reading
from srkd.images.formats import FORMATS
from srkd.images.reading import read_image
from srkd.runtimes.runner import Runner
from srkd.upscaling import enlarge, opening


def sound_files(photo: np.ndarray) -> dict[str, bytes]:
    """A file of each format, with all that it can say."""
    import pillow_jxl  # noqa: F401  # registers itself

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    info = PngInfo()
    info.add_text("Title", "title " * 300, zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    options = {"exif": exif.tobytes(), "icc_profile": PROFILE}
    image = Image.fromarray(photo)

    def save(format: str, picture: Image.Image = image, **more) -> bytes:
        stream = io.BytesIO()
        picture.save(stream, format, **more)
        return stream.getvalue()

    deep = photo.astype(np.uint16) * 257
    stream = io.BytesIO()
    tifffile.imwrite(stream, deep, photometric="rgb", compression="lzw")
    return {
        ".jpg": save("JPEG", comment=b"comment", xmp=b"<x/>", **options),
        ".png": save("PNG", pnginfo=info, **options),
        ".webp": save("WEBP", xmp=b"<x/>", **options),
        ".tif": save("TIFF", **options),
        ".bmp": save("BMP"),
        ".avif": save("AVIF", **options),
        ".heic": save("HEIF", **options),
        ".jxl": save("JXL", exif=exif.tobytes()),
        "-16.tif": stream.getvalue(),
        "-16.png": imagecodecs.png_encode(deep),
        "-cmyk.jpg": save("JPEG", image.convert("CMYK")),
    }


def damage(data: bytes, random: random.Random, kind: int) -> bytes:
    """A file cut short, with bits flipped, or with bytes lost or put in."""
    found = bytearray(data)
    if kind == 0:
        return bytes(found[: random.randrange(len(found))])
    if kind == 1:
        reach = min(len(found), random.choice((64, 400, len(found))))
        for _ in range(random.choice((1, 2, 8, 40))):
            found[random.randrange(reach)] ^= 1 << random.randrange(8)
        return bytes(found)
    place = random.randrange(len(found))
    found[place : place + random.choice((1, 4, 64))] = random.choice((b"", b"\xff" * 4, bytes(64)))
    return bytes(found)


def test_damaged_files_of_every_format(tmp_path, photo, capfd):
    """Thirty of each: a line for each that fails, and all the others done, whatever decoders do."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    chance = random.Random(0)
    sound = sound_files(photo[:24, :32])
    for suffix, data in sound.items():
        (folder / f"sound{suffix}").write_bytes(data)
        for number in range(30):
            (folder / f"{number}{suffix}").write_bytes(damage(data, chance, number % 3))
    assert main(["upscale", str(folder), "-o", str(out), "-w", "bicubic", "--scale", "2"]) == 1
    said, error = capfd.readouterr()
    tried = len(sound) * 31
    failed = [line for line in said.splitlines() if line.startswith("failed: ")]
    made = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert len(failed) + len(made) == tried and len(failed) > tried / 2
    assert len({line.split()[1] for line in failed}) == len(failed)
    # A line at the end, and none of decoders' own.
    assert (
        error
        == f"srkd upscale: {len(failed)} of {tried} images failed: see the lines above; the others are done\n"
    )
    assert len([path for path in made if path.name.startswith("sound")]) == len(sound)
    for path in made:
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize(
    "kind", [TypeError, MemoryError, RecursionError, KeyError, Image.DecompressionBombError]
)
@pytest.mark.parametrize("place", ["read_photo", "enlarge", "write_photo"])
def test_whatever_goes_wrong_with_one_image(tmp_path, photo, monkeypatch, fails, kind, place):
    for name in ("a", "b", "c"):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    real, calls = getattr(enlarge, place), []

    def once(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise kind("of this kind")
        return real(*arguments, **options)

    monkeypatch.setattr(enlarge, place, once)
    error = fails(1, "upscale", tmp_path, "-o", tmp_path / "out", "-w", "bicubic")
    assert "1 of 3 images failed: " in error and "b.png" in error
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["a.png", "c.png"]
    calls[:] = [1]
    error = fails(1, "upscale", tmp_path / "b.png", "-o", tmp_path / "x.png", "-w", "bicubic")
    assert "b.png" in error and not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("format", ["webp", "keep"])
def test_images_that_would_meet_keep_their_suffixes(tmp_path, photo, capsys, format):
    """IMG_1.jpg and IMG_1.png as WebP; IMG_1.png and IMG_1.tga, which is not written, as PNG."""
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    other = "jpg" if format == "webp" else "tga"
    for name in ("IMG_1.png", f"IMG_1.{other}", "IMG_2.png", "sub/IMG_1.png"):
        Image.fromarray(photo).save(folder / name)
    options = {"weights": "bicubic", "format": format}
    made = srkd.upscale(folder, out, **options)
    suffix = "webp" if format == "webp" else "png"
    names = {f"IMG_1.{other}.{suffix}", f"IMG_1.png.{suffix}", f"IMG_2.{suffix}", f"sub/IMG_1.{suffix}"}
    assert {path.relative_to(out).as_posix() for path in made} == names
    said = capsys.readouterr().out
    line = f"keep them in their names: IMG_1.png.{suffix}, IMG_1.{other}.{suffix}"
    assert line in said or f"IMG_1.{other}.{suffix}, IMG_1.png.{suffix}" in said
    assert srkd.upscale(folder, out, **options) == []


@pytest.mark.parametrize("letter", ["a", "\u00fc", "\u5199"])
def test_names_as_long_as_allowed(tmp_path, photo, letter, fails):
    longest = letter * (251 // len(letter.encode()))
    longest += "a" * (251 - len(longest.encode()))
    Image.fromarray(photo).save(tmp_path / f"{longest}.png")
    (made,) = srkd.upscale(tmp_path, tmp_path / "out", weights="bicubic")
    assert made.name == f"{longest}.png" and read_image(made).shape == (240, 320, 3)
    error = fails(1, "upscale", tmp_path, "-o", tmp_path / "webp", "-w", "bicubic", "--format", "webp")
    assert "its name is too long; choose a shorter one" in error
    for words in (["-w", "a" * 300], ["-o", tmp_path / ("a" * 300)], ["-o", tmp_path / ("a" * 300 + ".png")]):
        fails(2 if "-w" in words else 1, "upscale", made, "-o", tmp_path / "x.png", "-w", "bicubic", *words)
    fails(2, "upscale", "a" * 300, "-o", tmp_path / "x.png", "-w", "bicubic")


def test_what_cannot_be_written_is_told_before_the_network_runs(tmp_path, photo, monkeypatch, fails):
    """And the other images of the folder are done."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(photo).save(folder / name)
    monkeypatch.setattr(Runner, "parts", lambda *_: pytest.fail("the network has run"))
    words = ["upscale", folder / "a.png", "-w", "bicubic", "-o"]
    (tmp_path / "file").touch()
    assert "file is a file, not a folder" in fails(1, *words, tmp_path / "file" / "x.png")
    assert "its name is too long" in fails(1, *words, tmp_path / ("x" * 300 + ".png"))
    monkeypatch.setattr(Path, "touch", deny)
    assert "Permission denied; choose a place where you may write" in fails(1, *words, tmp_path / "x.png")
    monkeypatch.undo()
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    error = fails(1, "upscale", folder, "-o", tmp_path / "out", "-w", "bicubic", "--overwrite")
    assert "there is a folder of that name" in error and (tmp_path / "out" / "b.png").is_file()


def deny(path: Path) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".avif"])
def test_images_too_large_for_their_format(tmp_path, photo, suffix, monkeypatch, capsys):
    """By sides, and by the bytes that a format's header can tell; the limits are lowered."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    Image.fromarray(photo[:4, :4]).save(folder / "b.png")
    kind = FORMATS[suffix]
    for number, limits in enumerate(({"longest": 100}, {"largest": 3 * 100 * 100})):
        monkeypatch.setitem(FORMATS, suffix, kind._replace(**limits))
        words = ["upscale", folder, "-o", tmp_path / str(number), "-w", "bicubic", "--format", suffix[1:]]
        assert main([str(word) for word in words]) == 1
        error = capsys.readouterr().err
        assert "a.png: would become 320x240, and its format holds at most" in error
        assert [p.name for p in (tmp_path / str(number)).glob("[!.]*")] == [f"b{suffix}"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_longest_sides_of_png(tmp_path, kind, fails):
    """What libpng takes, and no pixel more."""
    values = np.full((1, 250_000, 3), 99, kind)
    (tmp_path / "in.png").write_bytes(imagecodecs.png_encode(values))
    words = ["upscale", tmp_path / "in.png", "-o", tmp_path / "out.png", "-w", "bicubic"]
    assert main([str(word) for word in words]) == 0
    assert imagecodecs.png_decode((tmp_path / "out.png").read_bytes()).shape == (4, 1_000_000, 3)
    error = fails(1, *words, "--overwrite", "--scale", "4.00001")
    assert "would become 1000002x4, and its format holds at most 1000000 pixels a side" in error


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path, photo, weights, monkeypatch, capsys):
    """Weights of one's own are converted into a folder that goes with the process."""
    Image.fromarray(photo[:20, :24]).save(tmp_path / "in.png")
    (tmp_path / "file").touch()
    monkeypatch.setattr(opening, "user_cache_path", lambda name: tmp_path / "file" / name)
    folders = []
    real = opening.tempfile.mkdtemp
    monkeypatch.setattr(opening.tempfile, "mkdtemp", lambda **k: folders.append(real(**k)) or folders[-1])
    own = shutil.copy(weights, tmp_path / "own.safetensors")
    options = {"weights": own, "backend": "onnxruntime"}
    (made,) = srkd.upscale(tmp_path / "in.png", tmp_path / "out.png", **options)
    assert read_image(made).shape == (80, 96, 3)
    said = capsys.readouterr().out
    assert "file is a file, not a folder" in said and "free some space" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on files as POSIX has it")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_full_disk_is_one_line(tmp_path, photo, on_full_disk, suffix):
    noise = np.random.default_rng(0).integers(0, 256, photo.shape, np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.png")
    words = ["upscale", tmp_path / "in.png", "-o", tmp_path / f"out{suffix}", "-w", "bicubic"]
    error = on_full_disk(10_000, *words)
    assert "File too large; free some space or choose another place" in error
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]


def test_a_source_that_goes_away_is_a_line(tmp_path, photo, monkeypatch, fails):
    for name in ("a", "b"):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    real = reading.measure

    def measure(path):
        size = real(path)
        if path.name == "a.png":
            path.unlink()
        return size

    monkeypatch.setattr("srkd.upscaling.moving.measure", measure)
    error = fails(1, "upscale", tmp_path, "-o", tmp_path / "out", "-w", "bicubic")
    assert "there is no file" in error and (tmp_path / "out" / "b.png").is_file()


def test_lossless_or_of_a_quality(tmp_path, photo):
    """A quality that is asked for counts."""
    Image.fromarray(photo).save(tmp_path / "in.png")
    sizes = {}
    for quality in (None, 95, 50):
        out = bicubic(tmp_path / "in.png", tmp_path / f"{quality}.jpg", quality=quality)
        sizes[quality] = out.stat().st_size
    assert sizes[None] == sizes[95] > sizes[50]
