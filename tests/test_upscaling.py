"""Upscaling a real photo library: every kind of file, tiles, memory, runtimes, and what goes wrong."""

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fails, python
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

import srkd
from srkd import (
    SrkdError,
    backends,
    create_generator,
    resample,
    save_generator,
    tiling,
    upscaling,
)
from srkd.backends import open_upscaler
from srkd.cli import main
from srkd.data import embedded_photos
from srkd.images import FORMATS, read_image, read_photo
from srkd.tiling import Upscaler, average_flips

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return read_image(embedded_photos(["astronaut.png"])[0])[:60, 150:230].copy()


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = create_generator("srgan_tiny")
    return save_generator(model, tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def onnx(weights) -> Path:
    return srkd.export(str(weights), out=str(weights.with_suffix(".onnx")))


def bicubic(source, target, **options) -> Path:
    return srkd.upscale(str(source), str(target), weights="bicubic", **options)[0]


def deep_png(path: Path, values: np.ndarray) -> Path:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))
    return path


def deep_values(path: Path) -> np.ndarray:
    import imagecodecs
    import tifffile

    return imagecodecs.png_decode(path.read_bytes()) if path.suffix == ".png" else tifffile.imread(path)


def bomb(path: Path, side: int) -> Path:
    """A few kilobytes that claim to be a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * ((side + 7) // 8 + 1) * side)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


# Kinds of files.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied_once(tmp_path, photo, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    source = tmp_path / f"in{suffix}"
    Image.fromarray(photo).save(source, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(source)).convert("RGB"))
    assert np.array_equal(read_image(source), expected)
    with Image.open(bicubic(source, tmp_path / f"out{suffix}")) as out:
        assert out.size == (expected.shape[1] * 4, expected.shape[0] * 4)
        found = out.getexif()
        assert found.get(0x0112, 1) == 1 and found[0x010F] == "Maker"
        # Pillow writes no second directory into compressed TIFFs.
        taken = None if suffix == ".tif" else "2024:01:02 03:04:05"
        assert found.get_ifd(0x8769).get(0x9003) == taken


@pytest.mark.parametrize("suffix", FORMATS)
def test_profile_exif_and_resolution_are_carried_over(tmp_path, photo, suffix):
    exif = Image.Exif()
    exif[0x013B] = "Someone"
    Image.fromarray(photo).save(tmp_path / "in.png", icc_profile=PROFILE, exif=exif, dpi=(300, 150))
    with Image.open(bicubic(tmp_path / "in.png", tmp_path / f"out{suffix}")) as out:
        carried = {
            "icc": out.info.get("icc_profile") == PROFILE,
            "exif": out.getexif().get(0x013B) == "Someone",
            "dpi": np.allclose(out.info.get("dpi", 0), (300, 150), atol=0.1),
        }
    # What the formats have no place for, by their own definitions or by Pillow's.
    absent = {".bmp": {"icc", "exif"}, ".webp": {"dpi"}, ".avif": {"dpi"}}.get(suffix, set())
    assert {key for key, there in carried.items() if not there} == absent


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_sixteen(tmp_path, photo, suffix, channels):
    """Between neighbouring 8-bit levels, where 8 bits would show steps."""
    smooth = np.linspace(1000, 1600, 64)[None].repeat(16, 0)[..., None].repeat(4, 2)
    smooth[..., 3] = np.linspace(20000, 65535, 64)
    values = np.rint(smooth).astype(np.uint16)[..., :channels]
    source = deep_png(tmp_path / "in.png", values[..., 0] if channels == 1 else values)
    found = deep_values(bicubic(source, tmp_path / f"out{suffix}"))
    expected = resample.upscale_bicubic(smooth[..., :channels], 4)
    assert (
        found.dtype == np.uint16
        and len(np.unique(found[..., 4:-4] if channels == 1 else found[..., 0])) > 100
    )
    gap = np.abs(found.astype(float).reshape(expected.shape) - expected)[..., : min(channels, 3)]
    assert gap.max() <= 2


def test_sixteen_bits_carry_profile_exif_and_resolution(tmp_path, photo):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    plain = tmp_path / "plain.png"
    Image.fromarray(photo).save(plain, icc_profile=PROFILE, exif=exif, dpi=(300, 300))
    like = read_photo(plain)
    from srkd.images import write_photo

    for suffix in (".png", ".tif"):
        path = tmp_path / f"deep{suffix}"
        write_photo(path, photo.astype(np.uint16) * 257, like)
        with Image.open(bicubic(path, tmp_path / f"out{suffix}")) as out:
            assert ";16" in str(out.tile[0].args) and out.info["icc_profile"] == PROFILE
            assert np.allclose(out.info["dpi"], 300, atol=0.1)
            assert out.getexif()[0x010F] == "Maker"


def test_formats_of_eight_bits_take_deep_images(tmp_path, photo):
    source = deep_png(tmp_path / "in.png", photo.astype(np.uint16) * 257)
    Image.fromarray(photo).save(tmp_path / "plain.png")
    a, b = (
        read_image(bicubic(tmp_path / n, tmp_path / f"{n}.webp", quality=100))
        for n in ("in.png", "plain.png")
    )
    assert source.is_file() and np.array_equal(a, b)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes(tmp_path, photo, mode):
    source = tmp_path / ("in.tif" if mode == "CMYK" else "in.png")
    Image.fromarray(photo).convert(mode).save(source)
    with Image.open(bicubic(source, tmp_path / "out.png")) as out:
        kept = {"1": "L", "P": "RGB", "CMYK": "RGB"}
        assert out.mode == kept.get(mode, mode)
        assert out.size == (320, 240)


def test_cmyk_is_converted_by_its_profile(tmp_path, photo):
    """Without one that Pillow's naive way would differ from; here the profile is damaged, and ignored."""
    Image.fromarray(photo).convert("CMYK").save(
        tmp_path / "in.jpg", icc_profile=b"no profile" * 20, quality=95
    )
    found = read_photo(tmp_path / "in.jpg")
    assert found.icc is None
    assert np.abs(found.pixels.astype(int) - photo).mean() < 4


def test_a_gray_profile_goes_with_gray_alone(tmp_path, photo):
    gray = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    Image.fromarray(photo).save(tmp_path / "colour.png", icc_profile=gray)
    Image.fromarray(photo).convert("L").save(tmp_path / "gray.png", icc_profile=gray)
    assert read_photo(tmp_path / "colour.png").icc is None
    assert read_photo(tmp_path / "gray.png").icc == gray


def test_alpha_has_no_dark_fringe(tmp_path, weights):
    """A white disc whose clear surroundings are black, as programs save them, laid on white again."""
    y, x = np.mgrid[:40, :40]
    disc = np.hypot(y - 20, x - 20) < 12
    values = np.zeros((40, 40, 4), np.uint8)
    values[disc] = 255
    Image.fromarray(values).save(tmp_path / "in.png")
    # What the network makes of plain white, since tiny ones do not keep it white.
    Image.fromarray(np.full((40, 40, 3), 255, np.uint8)).save(tmp_path / "plain.png")
    for model in ("bicubic", str(weights)):
        folder = tmp_path / Path(model).stem
        srkd.upscale([str(tmp_path / "in.png"), str(tmp_path / "plain.png")], str(folder), weights=model)
        found = np.asarray(Image.open(folder / "in.png")).astype(int)
        colour, alpha = found[..., :3], found[..., 3]
        assert np.abs(colour - read_image(folder / "plain.png"))[alpha > 0].max() <= 1
        assert (alpha[np.hypot(*(np.mgrid[:160, :160] - 81.5)) < 40] == 255).all() and (alpha[:30] == 0).all()


def test_formats_without_alpha_get_a_white_ground(tmp_path):
    values = np.zeros((10, 10, 4), np.uint8)
    Image.fromarray(values).save(tmp_path / "clear.png")
    assert (read_image(bicubic(tmp_path / "clear.png", tmp_path / "out.jpg")) == 255).all()


def test_the_second_picture_of_a_phone_is_passed_over(tmp_path, photo):
    image = Image.fromarray(photo)
    image.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[image.resize((20, 15))])
    with Image.open(bicubic(tmp_path / "phone.jpg", tmp_path / "out.jpg")) as out:
        assert out.size == (320, 240) and getattr(out, "n_frames", 1) == 1


# Sizes, formats, quality.


@pytest.mark.parametrize("scale", [0.5, 1, 2, 2.5, 3, 4, 6])
@pytest.mark.parametrize("deep", [False, True])
def test_any_size(tmp_path, photo, scale, deep):
    source = deep_png(tmp_path / "in.png", photo.astype(np.uint16) * 257 if deep else photo)
    found = deep_values(bicubic(source, tmp_path / "out.png", scale=scale)) / (257 if deep else 1)
    assert found.shape == (round(60 * scale), round(80 * scale), 3)
    expected = resample.resize(photo.astype(float), found.shape[:2])
    assert np.abs(found - expected).mean() < 4


def test_format_and_quality(tmp_path, photo):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "in.png")
    for format in ("png", "jpg", "webp", "tiff", "bmp"):
        out = srkd.upscale([str(folder)], str(tmp_path / format), weights="bicubic", format=format)
        assert [path.name for path in out] == [f"in.{format}"] and out[0].stat().st_size > 100
    sizes = [
        bicubic(folder / "in.png", tmp_path / f"{q}.jpg", quality=q).stat().st_size for q in (20, 60, 95)
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] / 2


def test_an_image_too_long_for_its_format(capsys, tmp_path):
    Image.new("RGB", (4200, 2)).save(tmp_path / "long.png")
    error = fails(capsys, 1, "upscale", tmp_path / "long.png", "-o", tmp_path / "x.webp", "-w", "bicubic")
    assert "16800x8" in error and "16383" in error and "--format" in error
    assert not (tmp_path / "x.webp").exists()


def test_flips_are_averaged(photo, weights):
    """The self-ensemble of a flipped image is the flipped self-ensemble."""
    upscaler = average_flips(open_upscaler(weights))
    for turn in (lambda x: x[:, ::-1], lambda x: x.swapaxes(0, 1), lambda x: np.rot90(x)):
        once = upscaler(np.ascontiguousarray(turn(photo)))
        assert np.abs(once.astype(int) - turn(upscaler(photo))).max() <= 1
    plain = open_upscaler(weights)
    assert np.abs(plain(photo[:, ::-1].copy()).astype(int) - plain(photo)[:, ::-1]).max() > 1


# Folders.


@pytest.fixture
def library(tmp_path, photo) -> Path:
    """A folder with subfolders, files of other kinds, and files that are not what they claim."""
    folder = tmp_path / "library"
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    for name in ("one.png", "a/two.jpg", "a/deep/three.webp", ".thumbnails/small.png"):
        Image.fromarray(photo[:20, :24]).save(folder / name)
    Image.fromarray(photo[:1, :1]).save(folder / "dot.png")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").touch()
    (folder / "cut.png").write_bytes((folder / "one.png").read_bytes()[:300])
    deep_png(folder / "cut16.png", np.full((40, 40, 3), 999, np.uint16))
    (folder / "cut16.png").write_bytes((folder / "cut16.png").read_bytes()[:100])
    frames = [Image.fromarray(photo[k : k + 9, :9]) for k in range(3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    Image.fromarray(photo[..., 0].astype(np.float32)).save(folder / "float.tif")
    bomb(folder / "bomb.png", 20_000)
    (folder / "notes.txt").write_text("notes")
    return folder


BAD = {"text.png", "empty.jpg", "cut.png", "cut16.png", "moving.webp", "float.tif", "bomb.png"}


def test_a_folder_with_bad_files(capsys, tmp_path, library):
    out = tmp_path / "out"
    assert main(["upscale", str(library), "-o", str(out), "-w", "bicubic"]) == 1
    captured = capsys.readouterr()
    assert captured.err == ("srkd upscale: 7 of 11 images failed: see the lines above; the others are done\n")
    failed = [line for line in captured.out.splitlines() if line.startswith("failed: ")]
    assert {next(name for name in BAD if f"{name} " in line) for line in failed} == BAD
    assert "passed over files of other kinds (1 .txt)" in captured.out
    made = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert made == {"one.png", "a/two.jpg", "a/deep/three.webp", "dot.png", upscaling._JOURNAL}
    assert read_image(out / "dot.png").shape == (4, 4, 3)


def test_a_bomb_is_lifted_by_its_flag(tmp_path, capsys):
    path = bomb(tmp_path / "bomb.png", 1200)
    words = ["upscale", path, "-o", tmp_path / "x.png", "-w", "bicubic", "--scale", "0.1"]
    assert "1200x1200 pixels, more than 1 megapixels" in fails(capsys, 1, *words, "--megapixels", "1")
    assert main([str(word) for word in [*words, "--megapixels", "2"]]) == 0


def test_a_folder_job_goes_on(tmp_path, photo, monkeypatch, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(photo[:10, : 10 + number]).save(folder / f"{number}.png")
    real, calls = upscaling.enlarge, []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(upscaling, "enlarge", interrupted)
    words = ["upscale", str(folder), "-o", str(out), "-w", "bicubic"]
    assert main(words) == 130
    assert sorted(p.name for p in out.iterdir() if p.suffix == ".png") == ["0.png", "1.png"]
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.png")}
    with (out / upscaling._JOURNAL).open("a") as file:
        file.write('{"target": "2.p')  # as a kill would leave it
    assert main(words) == 0 and len(calls) == 6
    assert "2 were done before" in capsys.readouterr().out
    assert {p.name: p.stat().st_mtime_ns for p in out.glob("[01].png")} == before
    assert main(words) == 0 and "all 5 images were upscaled before" in capsys.readouterr().out
    # A changed source is made again only when overwriting is allowed; other settings are refused alike.
    Image.fromarray(photo[:12, :12]).save(folder / "0.png")
    assert "0.png exists" in fails(capsys, 2, *words)
    assert "exists" in fails(capsys, 2, *words, "--scale", "2")
    assert main([*words, "--overwrite"]) == 0 and read_image(out / "0.png").shape == (48, 48, 3)
    assert main(words) == 0


def test_globs_and_several_inputs(tmp_path, photo, capsys):
    for name in ("a/x.png", "a/y.jpg", "b/z.png", "b/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo[:8, :8]).save(tmp_path / name)
    out = srkd.upscale([str(tmp_path / "*" / "[yz].*")], str(tmp_path / "out"), weights="bicubic")
    assert [path.name for path in out] == ["y.jpg", "z.png"]
    words = [
        "upscale",
        tmp_path / "a" / "x.png",
        tmp_path / "b" / "z.png",
        "-o",
        tmp_path / "two",
        "-w",
        "bicubic",
    ]
    assert main([str(word) for word in words]) == 0
    assert sorted(p.name for p in (tmp_path / "two").glob("*.png")) == ["x.png", "z.png"]
    error = fails(capsys, 2, "upscale", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c", "-w", "bicubic")
    assert "would both become" in error and not (tmp_path / "c").exists()
    assert "no images match" in fails(capsys, 2, "upscale", tmp_path / "*.gif", "-o", tmp_path / "c")


def test_an_output_inside_the_input_is_no_input(tmp_path, photo):
    Image.fromarray(photo[:8, :8]).save(tmp_path / "x.png")
    for overwrite in (False, True):
        out = srkd.upscale(str(tmp_path), str(tmp_path / "large"), weights="bicubic", overwrite=overwrite)
        assert [p.relative_to(tmp_path).as_posix() for p in out] == ["large/x.png"]


def photo_in(folder: Path) -> Path:
    Image.new("RGB", (4, 4)).save(folder / "other.png")
    return folder / "other.png"


def test_one_image_into_a_folder_leaves_nothing_else(tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "x.png")
    (tmp_path / "out").mkdir()
    bicubic(tmp_path / "x.png", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x.png"]


def test_misuse(capsys, tmp_path, photo):
    source = tmp_path / "x.png"
    Image.fromarray(photo).save(source)
    out = tmp_path / "y.png"
    assert "name the images" in fails(capsys, 2, "upscale", "-o", out)
    assert "name the images" in fails(capsys, 2, "upscale", source)
    assert "is the image to upscale" in fails(capsys, 2, "upscale", source, "-o", source, "--overwrite")
    assert "would replace itself" in fails(capsys, 2, "upscale", source, "-o", tmp_path, "--overwrite")
    for option in ("tile=-1", "quality=0", "scale=0", "threads=0", "megapixels=-1"):
        assert "out of range" in fails(capsys, 2, "upscale", source, "-o", out, f"--{option}")
    assert "must end in one of" in fails(capsys, 2, "upscale", source, "-o", tmp_path / "y.xyz")
    assert "give -o a folder" in fails(capsys, 2, "upscale", source, photo_in(tmp_path), "-o", out)
    assert not out.exists()


# Tiles and memory.


def test_memory_that_runs_out_halves_the_tiles(photo):
    """The result stays that of the whole image, whatever fails when."""

    def blur(batch):
        if batch.shape[2] * batch.shape[3] > 900:
            raise RuntimeError("[ONNXRuntimeError] : 6 : bad allocation")
        seen.append(batch.shape)
        padded = np.pad(batch, [(0, 0), (0, 0), (2, 2), (2, 2)], mode="edge")
        total = sum(
            padded[:, :, y : y + batch.shape[2], x : x + batch.shape[3]] for y in range(5) for x in range(5)
        )
        return (total / 25).repeat(2, 2).repeat(2, 3)

    seen: list = []
    whole = Upscaler("blur", 2, 2, blur)
    found = whole(photo)
    assert len(seen) > 4
    expected = np.pad(photo.astype(np.float32), [(2, 2), (2, 2), (0, 0)], mode="edge")
    expected = sum(expected[y : y + 60, x : x + 80] for y in range(5) for x in range(5)) / 25
    assert np.abs(found - expected.repeat(2, 0).repeat(2, 1)).max() <= 0.51
    assert np.array_equal(whole(photo, 25), found)


def test_a_picture_that_does_not_fit_into_memory(tmp_path, photo, monkeypatch, capsys):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(upscaling, "_blank", full)
    Image.fromarray(photo).save(tmp_path / "x.png")
    words = ["upscale", tmp_path / "x.png", "-o", tmp_path / "y.png", "-w", "bicubic"]
    assert "does not fit into memory" in fails(capsys, 1, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_memory_that_never_suffices_and_other_errors(photo):
    def hungry(batch):
        raise MemoryError

    def broken(batch):
        raise RuntimeError("shape mismatch")

    with pytest.raises(SrkdError, match="not enough memory"):
        Upscaler("hungry", 2, 2, hungry)(photo)
    with pytest.raises(RuntimeError, match="shape"):
        Upscaler("broken", 2, 2, broken)(photo)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 40), st.integers(0, 12), st.booleans())
def test_parts_cover_the_image(height, width, tile, radius, exact):
    """A network that gives its window back places every pixel where it belongs; blended parts too."""

    def identity(batch):
        return batch.repeat(2, 2).repeat(2, 3)

    image = np.random.default_rng(0).integers(0, 65536, (height, width, 3), np.uint16)
    upscaler = Upscaler("identity", 2, radius, identity, exact)
    found = np.full((height * 2, width * 2, 3), 7, np.uint16)
    for part in upscaler.parts(image, tile):
        tiling.put(found, part)
    assert np.abs(found.astype(int) - image.repeat(2, 0).repeat(2, 1)).max() <= 1


@given(st.integers(1, 500), st.integers(1, 80), st.integers(0, 40))
def test_cuts(length, tile, radius):
    spans = tiling._cut(length, tile, radius)
    assert spans[0].start == 0 and spans[-1].stop == length
    assert all(a.stop == b.start and a.stop > a.start for a, b in itertools.pairwise(spans))
    for span in spans:
        assert span.first <= max(0, span.start - radius) and span.last >= min(length, span.stop + radius)
    assert len({span.last - span.first for span in spans}) == 1
    assert all(
        span.last - span.first <= max(tile, length if len(spans) == 1 else 0) + 2 * radius for span in spans
    )


def test_seams_of_inexact_networks_are_blended():
    """Tiles of a network whose result drifts with its window meet without a step."""

    def drift(batch):
        return np.full_like(batch, drift.level) + 0 * batch

    image = np.zeros((20, 120, 3), np.uint8)
    levels = iter(np.linspace(0, 1, 4))
    upscaler = Upscaler("drift", 1, 10, lambda batch: np.full_like(batch, next(levels)), exact=False)
    row = upscaler(image, 30)[10, :, 0].astype(int)
    assert 0 < np.abs(np.diff(row)).max() <= 255 / 3 / 5 and row[0] == 0 and row[-1] == 255


def test_tiles_follow_free_memory(monkeypatch, weights):
    class Memory:
        available = 8 * 2**30

    monkeypatch.setattr(tiling.psutil, "virtual_memory", lambda: Memory)
    upscaler = open_upscaler(weights)
    assert upscaler.choose_tiles(64, 64) == (0, 0)

    def windows(height, width):
        sides = upscaler.choose_tiles(height, width)
        spans = [tiling._cut(*axis, upscaler.radius) for axis in zip((height, width), sides, strict=True)]
        return [(span.last - span.first) for span in (spans[0][0], spans[1][0])], len(spans[0]) * len(
            spans[1]
        )

    for available in (8 * 2**30, 2**28):
        Memory.available = available
        budget = min(tiling.BUDGET, available / 4)
        counts = []
        for size in ((3000, 4000), (4000, 3000), (300, 12_000), (700, 900)):
            (tall, wide), count = windows(*size)
            assert tiling.OVERHEAD * upscaler.memory * tall * wide <= budget
            counts.append(count * tall * wide / (size[0] * size[1]))
        assert max(counts) < (1.25 if available > 2**30 else 1.5)
    heavy = Upscaler("x", 4, 10, None, memory=1e9)
    assert heavy.choose_tiles(100, 100) == (20, 20)
    assert heavy.choose_tiles(1, 1) == (20, 20)


PEAK = """
import re, sys
from pathlib import Path
from srkd.cli import main
code = main(sys.argv[1:])
# Of this process alone; what getrusage tells begins with the parent's.
print(code, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is measured the Linux way")
def test_memory_is_bounded_by_the_tile(tmp_path):
    """Twice the area costs no more than the picture's own growth."""
    peaks = []
    for width in (1200, 2400):
        Image.effect_noise((width, 800), 50).convert("RGB").save(tmp_path / f"{width}.jpg")
        words = ["upscale", tmp_path / f"{width}.jpg", "-o", tmp_path / f"{width}.bmp", "--threads", "1"]
        out = python(PEAK, *map(str, words)).split()
        assert out[-2] == "0"
        peaks.append(int(out[-1]) * 1024)
    picture = 2400 * 800 * 16 * 4
    assert peaks[1] - peaks[0] <= picture / 2 + 60 * 2**20
    assert peaks[1] <= picture + 600 * 2**20


# Runtimes.


def test_backends_agree(tmp_path, photo, weights, onnx):
    found = {
        name: open_upscaler(weights, backend=name, threads=1)(photo).astype(int) for name in backends.BACKENDS
    }
    for name, image in found.items():
        assert np.abs(image - found["torch"]).max() <= 1, name
    assert np.abs(open_upscaler(onnx, backend="openvino")(photo) - found["torch"]).max() <= 1
    assert len(found) == 3


def test_backends_are_listed(capsys):
    assert main(["upscale", "--list_backends"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in backends.BACKENDS) and torch.__version__.split("+")[0] in out


def test_shipped_weights_upscale_without_torch(tmp_path, photos):
    words = ["upscale", str(photos / "coffee_0.png"), "-o", str(tmp_path / "x.png")]
    out = python(f"import sys; from srkd.cli import main; print(main({words}), 'torch' in sys.modules)")
    assert out.endswith("0 False\n") and "ONNX Runtime, CPU" in out


def test_weights_are_converted_once(tmp_path, photo, weights, monkeypatch, capsys):
    monkeypatch.setattr(backends, "user_cache_path", lambda name: tmp_path / "cache" / name)
    Image.fromarray(photo).save(tmp_path / "x.png")
    words = ["upscale", str(tmp_path / "x.png"), "-w", str(weights)]
    assert main([*words, "-o", str(tmp_path / "1.png")]) == 0
    assert "converting tiny.safetensors to ONNX, once" in capsys.readouterr().out
    assert main([*words, "-o", str(tmp_path / "2.png")]) == 0
    assert "converting" not in capsys.readouterr().out
    assert len(list((tmp_path / "cache").rglob("*.onnx"))) == 1
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_half_precision_that_overflows_gives_way(tmp_path, photo, capsys):
    model = create_generator("srgan_tiny")
    with torch.no_grad():
        # Features of 1e5, which fp16 cannot hold, brought down again.
        model.head[0].weight.mul_(1e6)
        model.tail[0].weight.mul_(1e-6)
        model.tail[0].bias.zero_()
    path = save_generator(model, tmp_path / "hot.safetensors")
    cool = open_upscaler(path, "cpu", precision="fp32")(photo)
    assert np.array_equal(open_upscaler(path, "cpu", precision="fp16")(photo), cool)
    assert "going on in fp32" in capsys.readouterr().out
    gentle = open_upscaler(path, "cpu", precision="bf16")(photo)
    assert np.abs(gentle.astype(int) - cool).mean() < 8 and "going on" not in capsys.readouterr().out


def test_wrong_backends(capsys, tmp_path, photo, weights, onnx, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "x.png")
    words = ["upscale", tmp_path / "x.png", "-o", tmp_path / "y.png"]
    assert "ONNX file" in fails(capsys, 2, *words, "-w", onnx, "--backend", "torch")
    assert "--backend torch" in fails(
        capsys, 2, *words, "-w", onnx, "--device", "cuda", "--backend", "onnxruntime"
    )
    assert "--precision" in fails(capsys, 2, *words, "-w", onnx, "--precision", "fp16")
    (tmp_path / "w.pth").write_bytes(b"x")
    assert "--backend torch" in fails(capsys, 2, *words, "-w", tmp_path / "w.pth", "--backend", "onnxruntime")
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert "srkd[openvino]" in fails(capsys, 2, *words, "-w", onnx, "--backend", "openvino")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_in_half_precision(photo, weights):
    fast = open_upscaler(weights, "cuda")(photo).astype(int)
    assert np.abs(fast - open_upscaler(weights, "cpu")(photo)).max() <= 3
