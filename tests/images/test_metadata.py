"""What a source says about its photograph, in the result."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import PROFILE, bicubic, deep_png
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

import srkd
from srkd.images import formats
from srkd.images.formats import FORMATS
from srkd.images.reading import read_image, read_photo
from srkd.images.writing import write_photo


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied_once(tmp_path, photo, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    source = tmp_path / f"in{suffix}"
    Image.fromarray(photo).save(source, exif=exif.tobytes())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(source)).convert("RGB"))
    assert np.array_equal(read_image(source), expected)
    with Image.open(bicubic(source, tmp_path / f"out{suffix}")) as out:
        assert out.size == (expected.shape[1] * 4, expected.shape[0] * 4)
        found = out.getexif()
        assert found.get(0x0112, 1) == 1 and found[0x010F] == "Maker"
        assert found.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"


@pytest.mark.parametrize("suffix", FORMATS)
def test_profile_exif_and_resolution_are_carried_over(tmp_path, photo, suffix, capsys):
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
    told = capsys.readouterr().out
    assert ("the resolution" in told) == ("dpi" in absent)


def test_sixteen_bits_carry_profile_exif_and_resolution(tmp_path, photo):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    plain = tmp_path / "plain.png"
    Image.fromarray(photo).save(plain, icc_profile=PROFILE, exif=exif, dpi=(300, 300))
    like = read_photo(plain).about
    for suffix in (".png", ".tif"):
        path = tmp_path / f"deep{suffix}"
        write_photo(path, photo.astype(np.uint16) * 257, like)
        with Image.open(bicubic(path, tmp_path / f"out{suffix}")) as out:
            assert ";16" in str(out.tile[0].args) and out.info["icc_profile"] == PROFILE
            assert np.allclose(out.info["dpi"], 300, atol=0.1)
            assert out.getexif()[0x010F] == "Maker"


def camera_exif() -> Image.Exif:
    """What a camera writes: names that are not ASCII, and directories inside the first."""
    exif = Image.Exif()
    exif[0x010F], exif[0x013B], exif[0x9C9B] = "Maker", "J\u00fcrgen".encode(), b"T\0i\0t\0\0\0"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0xA434], details[0x829A] = "2024:01:02 03:04:05", "50mm", 0.02
    details[0x927C], details[0xA002] = b"notes of the maker", 80
    details[0xA005] = {1: "R98"}
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 0.5)})
    return exif


def told(path) -> dict[str, object]:
    with Image.open(path) as image:
        exif = image.getexif()
        details = exif.get_ifd(0x8769)
        return {
            "maker": exif.get(0x010F),
            "artist": exif.get(0x013B, "").encode("latin-1"),
            "title": exif.get(0x9C9B),
            "date": details.get(0x9003),
            "lens": details.get(0xA434),
            "time": float(details.get(0x829A, 0)),
            "note": details.get(0x927C),
            "width": details.get(0xA002),
            "interoperability": dict(exif.get_ifd(0xA005)),
            "place": {key: value for key, value in exif.get_ifd(0x8825).items() if key in (1, 2)},
        }


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_every_directory_of_exif_is_carried_over(tmp_path, photo, source, suffix):
    block = camera_exif().tobytes()
    Image.fromarray(photo).save(tmp_path / "first.jpg", exif=block)
    # By way of ourselves, since Pillow's TIFFs hold question marks in place of umlauts.
    first = bicubic(tmp_path / "first.jpg", tmp_path / f"in{source}", scale=1)
    found = told(bicubic(first, tmp_path / f"out{suffix}", scale=1))
    assert found == {
        "maker": "Maker",
        "artist": "J\u00fcrgen".encode(),
        "title": b"T\0i\0t\0\0\0",
        "date": "2024:01:02 03:04:05",
        "lens": "50mm",
        "time": 0.02,
        "note": b"notes of the maker",
        "width": None,
        "interoperability": {1: "R98"},
        "place": {1: "N", 2: (48.0, 8.0, 0.5)},
    }


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_beyond_offsets_of_32_bits(tmp_path, photo, monkeypatch, deep, big):
    """Where LZW could exceed what such offsets reach, which is 4 GB, the file is a BigTIFF, EXIF and all."""
    size = photo.size * 2 if deep else photo.size
    monkeypatch.setattr(formats, "CLASSIC_TIFF", size * 1.5 + 2**20 - big)
    like = Image.fromarray(photo)
    like.save(tmp_path / "like.jpg", exif=camera_exif().tobytes())
    values = photo.astype(np.uint16) * 257 + 3 if deep else like
    write_photo(tmp_path / "x.tif", values, read_photo(tmp_path / "like.jpg").about)
    assert (tmp_path / "x.tif").read_bytes()[:4] == (b"II\x2b\0" if big else b"II\x2a\0")
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), np.asarray(values))
    found = told(tmp_path / "x.tif")
    assert (found["lens"], found["place"][1], found["interoperability"]) == ("50mm", "N", {1: "R98"})
    assert np.array_equal(read_photo(tmp_path / "x.tif").pixels, np.asarray(values))


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_either_byte_order_in_tiff(tmp_path, photo, order):
    exif = camera_exif()
    exif.endian = order
    Image.fromarray(photo).save(tmp_path / "in.jpg", exif=exif.tobytes())
    assert {"<": b"II*\0", ">": b"MM\0*"}[order] in (tmp_path / "in.jpg").read_bytes()[:100]
    found = told(bicubic(tmp_path / "in.jpg", tmp_path / "out.tif"))
    assert (found["time"], found["place"][2], found["lens"]) == (0.02, (48.0, 8.0, 0.5), "50mm")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6" dc:title="Caf\xc3\xa9"/></x:xmpmeta>'


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_xmp_is_carried_over_with_its_orientation_applied(tmp_path, photo, source, suffix):
    options = {"xmp": XMP}
    if source == ".png":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif source == ".tif":
        options = {"tiffinfo": {700: XMP}}
    Image.fromarray(photo).save(tmp_path / f"in{source}", **options)
    with Image.open(bicubic(tmp_path / f"in{source}", tmp_path / f"out{suffix}")) as out:
        assert out.info["xmp"].strip(b"\0") == XMP.replace(b'"6"', b'"1"')


TEXTS = {"Title": "Caf\u00e9", "Author": "\u6f22\u5b57", "Long": "words " * 500}


def texts_of(path) -> dict[str, str]:
    with Image.open(path) as image:
        return {str(key): str(value) for key, value in image.text.items()}


@pytest.mark.parametrize("deep", [False, True])
def test_texts_are_carried_over(tmp_path, photo, deep):
    info = PngInfo()
    for key, text in TEXTS.items():
        info.add_text(key, text, zip=key == "Long")
    Image.fromarray(photo).save(tmp_path / "in.png", pnginfo=info)
    about = read_photo(tmp_path / "in.png").about
    picture = photo.astype(np.uint16) * 257 if deep else Image.fromarray(photo)
    assert write_photo(tmp_path / "in2.png", picture, about) == ()
    assert texts_of(bicubic(tmp_path / "in2.png", tmp_path / "out.png")) == TEXTS
    joined = "\n".join(f"{key}: {text}" for key, text in TEXTS.items())
    with Image.open(bicubic(tmp_path / "in.png", tmp_path / "out.jpg")) as out:
        assert out.info["comment"].decode() == joined
    assert texts_of(bicubic(tmp_path / "out.jpg", tmp_path / "back.png")) == {"Comment": joined}
    for suffix in (".webp", ".tif", ".avif"):
        # As EXIF's description.
        with Image.open(bicubic(tmp_path / "in.png", tmp_path / f"out{suffix}")) as out:
            assert out.getexif()[0x010E].encode("latin-1").decode() == joined


def test_iptc_is_carried_over(tmp_path, photo):
    record = b"\x1c\x02\x78\0\x07caption"
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    segment = b"Photoshop 3.0\0" + resource
    extra = b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment
    Image.fromarray(photo).save(tmp_path / "in.jpg", extra=extra)
    out = bicubic(bicubic(tmp_path / "in.jpg", tmp_path / "out.tif", scale=1), tmp_path / "out.jpg")
    with Image.open(out) as image:
        assert image.info["photoshop"][0x0404] == record


def test_what_has_no_place_is_told(tmp_path, photo, capsys):
    info = PngInfo()
    info.add_text("Title", "a title")
    options = {"pnginfo": info, "exif": camera_exif().tobytes(), "icc_profile": PROFILE}
    for name in ("a", "b"):
        Image.fromarray(photo).save(tmp_path / f"{name}.png", **options)
    srkd.upscale([tmp_path], tmp_path / "out", weights="bicubic", format="bmp")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert line == "left out: .bmp has no place for a colour profile, EXIF, texts: 2 images, such as a.png"


def test_a_jpeg_without_room_for_all_of_exif(tmp_path, photo, capsys):
    exif = camera_exif()
    exif.get_ifd(0x8769)[0x927C] = bytes(70_000)
    Image.fromarray(photo).save(tmp_path / "in.png", exif=exif.tobytes())
    found = told(bicubic(tmp_path / "in.png", tmp_path / "out.jpg"))
    assert (found["lens"], found["note"]) == ("50mm", None)
    assert "a maker's note of more than 64 KB" in capsys.readouterr().out
    found = told(bicubic(tmp_path / "in.png", tmp_path / "out.webp"))
    assert len(found["note"]) == 70_000


def with_chunks(path, *chunks: tuple[bytes, bytes]) -> None:
    """Puts chunks behind a PNG's header."""
    data = path.read_bytes()
    added = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(data[:33] + added + data[33:])


GAMMA = (b"gAMA", struct.pack(">I", 100_000))
P3 = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
MEANINGS = {
    "gamma": [GAMMA],
    "primaries": [(b"gAMA", struct.pack(">I", 45455)), P3],
    "srgb": [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))],
    "cicp": [(b"cICP", bytes([12, 13, 0, 1]))],
    "hdr": [(b"cICP", bytes([9, 16, 0, 1])), (b"cLLI", bytes(8)), (b"mDCV", bytes(24))],
    "shape": [(b"pHYs", struct.pack(">IIB", 2, 1, 0))],
}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", MEANINGS)
def test_what_the_numbers_mean_stays_in_png(tmp_path, photo, name, deep):
    deep_png(tmp_path / "in.png", photo.astype(np.uint16) * 257 if deep else photo)
    with_chunks(tmp_path / "in.png", *MEANINGS[name])
    out = bicubic(tmp_path / "in.png", tmp_path / "out.png").read_bytes()
    for kind, body in MEANINGS[name]:
        place = out.index(kind + body)
        assert place < out.index(b"IDAT") and out.count(kind) == 1
    assert read_photo(tmp_path / "out.png").pixels.shape == (240, 320, 3)


def shown(path) -> np.ndarray:
    """A picture's colour as a viewer that follows profiles shows it."""
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        srgb = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return np.asarray(srgb).reshape(-1, 3).mean(0)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".avif"])
def test_colours_of_png_become_a_profile(tmp_path, suffix):
    """A flat colour: linear light as sRGB by its formula, Display P3 by its primaries."""
    flat = np.full((16, 16, 3), (128, 128, 128), np.uint8)
    deep_png(tmp_path / "linear.png", flat)
    with_chunks(tmp_path / "linear.png", GAMMA)
    level = 255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055)
    assert np.abs(shown(bicubic(tmp_path / "linear.png", tmp_path / f"l{suffix}")) - level).max() <= 1.5
    deep_png(tmp_path / "gray.png", flat[..., 0])
    with_chunks(tmp_path / "gray.png", GAMMA)
    assert np.abs(shown(bicubic(tmp_path / "gray.png", tmp_path / f"g{suffix}")) - level).max() <= 1.5
    flat[:] = (200, 100, 50)
    linear = np.array([0.5776, 0.1274, 0.0319])
    to_srgb = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    expected = 255 * (1.055 * (to_srgb @ linear).clip(0.0031308) ** (1 / 2.4) - 0.055)
    for number, chunks in enumerate((MEANINGS["cicp"], MEANINGS["primaries"])):
        path = deep_png(tmp_path / f"p3{number}.png", flat)
        with_chunks(path, *chunks)
        assert np.abs(shown(bicubic(path, tmp_path / f"p{number}{suffix}")) - expected).max() <= 4
    path = deep_png(tmp_path / "srgb.png", flat)
    with_chunks(path, *MEANINGS["srgb"])
    with Image.open(bicubic(path, tmp_path / f"s{suffix}")) as out:
        assert "icc_profile" not in out.info


def test_hdr_that_a_format_cannot_say_is_told(tmp_path, photo, capsys):
    deep_png(tmp_path / "in.png", photo)
    with_chunks(tmp_path / "in.png", *MEANINGS["hdr"], *MEANINGS["shape"])
    bicubic(tmp_path / "in.png", tmp_path / "out.jpg")
    said = capsys.readouterr().out
    assert "no place for HDR colours (cICP), the shape of pixels (pHYs)" in said


def test_webp_without_loss_stays_so(tmp_path, photo):
    for name, options in {"exact": {"lossless": True}, "lossy": {"quality": 80}}.items():
        for kind, exif in {"plain": b"", "extended": camera_exif().tobytes()}.items():
            source = tmp_path / f"{name}-{kind}.webp"
            Image.fromarray(photo).save(source, exif=exif, **options)
            out = read_image(bicubic(source, tmp_path / "out.webp", overwrite=True))
            exact = read_image(bicubic(source, tmp_path / "out.png", overwrite=True))
            assert np.array_equal(out, exact) == (name == "exact")
            out = read_image(bicubic(source, tmp_path / "out.webp", overwrite=True, quality=80))
            assert not np.array_equal(out, exact)


@pytest.mark.parametrize("damage", ["cut", "loop", "offset"])
def test_damaged_exif_is_no_reason_to_refuse(tmp_path, photo, damage, capsys):
    block = camera_exif().tobytes()
    if damage == "cut":
        block = block[:60]
    elif damage == "loop":
        # The Exif directory points to the first.
        at = block.index(struct.pack(">H", 0x8769))
        block = block[: at + 8] + struct.pack(">I", 8) + block[at + 12 :]
    else:
        block = block[:10] + struct.pack(">I", 2**31) + block[14:]
    Image.fromarray(photo).save(tmp_path / "in.png", exif=block)
    out = bicubic(tmp_path / "in.png", tmp_path / "out.png")
    assert ("damaged EXIF" in capsys.readouterr().out) == (damage != "loop")
    assert read_image(out).shape == (240, 320, 3)


def test_a_thumbnail_or_mask_is_no_second_picture(tmp_path, photo, fails, monkeypatch):
    """NewSubfileType 1 and 4, and SubfileType 2, behind the picture or before it; 8 bits and 16."""
    # Pillow's limit on sizes is not ours.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for deep in (False, True):
        values = photo.astype(np.uint16) * 257 if deep else photo
        pages = {"plain": (values, {}), "small": (values[::4, ::4], {"subfiletype": 1})}
        pages["mask"] = (values[..., 0] > 100, {"subfiletype": 4})
        pages["old"] = (values[::2, ::2], {"extratags": [(255, 3, 1, 2, True)]})
        for others in (["small"], ["mask"], ["old"], ["small", "old"]):
            for order in (["plain", *others], [*others, "plain"])[: 1 if "mask" in others else 2]:
                with tifffile.TiffWriter(tmp_path / "in.tif") as file:
                    for name in order:
                        array, options = pages[name]
                        kind = "rgb" if array.ndim == 3 else "minisblack"
                        file.write(array, photometric=kind, metadata=None, **options)
                assert np.array_equal(read_photo(tmp_path / "in.tif").pixels, values), order
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        for _ in range(2):
            file.write(photo, photometric="rgb", metadata=None)
    words = ("upscale", tmp_path / "two.tif", "-o", tmp_path / "x.png", "-w", "bicubic")
    assert "holds 2 frames; animated and multi-page" in fails(1, *words)


def test_what_is_behind_a_picture_is_told(tmp_path, photo, capsys):
    """Second pictures, films and extensions of XMP of phones; their XMP no longer points to them."""
    image = Image.fromarray(photo)
    image.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[image])
    xmp = b'<r GCamera:MotionPhoto="1" xmpNote:HasExtendedXMP="ABC" dc:title="t"/>'
    image.save(tmp_path / "film.jpg", xmp=xmp)
    srkd.upscale([tmp_path], tmp_path / "out", weights="bicubic")
    said = capsys.readouterr().out
    assert "what phones hide behind a JPEG's picture (depth, HDR gains) is not carried over: two.jpg" in said
    assert "a motion photo's film is not carried over: film.jpg" in said
    assert "the extension of XMP is not carried over: film.jpg" in said
    with Image.open(tmp_path / "out" / "film.jpg") as out:
        assert out.info["xmp"] == b'<r GCamera:MotionPhoto="0" dc:title="t"/>'


def test_colours_and_depth_of_avif(tmp_path, photo, capsys):
    """As its boxes state them, which Pillow does not tell."""
    Image.fromarray(photo).save(tmp_path / "in.avif")
    data = (tmp_path / "in.avif").read_bytes()
    assert not read_photo(tmp_path / "in.avif").about.chunks
    place = data.index(b"colrnclx") + 8
    (tmp_path / "p3.avif").write_bytes(data[:place] + struct.pack(">H", 12) + data[place + 2 :])
    assert b"cICP\x0c\x0d\0\x01" in bicubic(tmp_path / "p3.avif", tmp_path / "out.png").read_bytes()
    assert "beyond 8 bits" not in capsys.readouterr().out
    deep = imagecodecs.avif_encode(photo.astype(np.uint16) * 4, bitspersample=10)
    (tmp_path / "deep.avif").write_bytes(deep)
    bicubic(tmp_path / "deep.avif", tmp_path / "deep.png")
    assert "AVIF's depth beyond 8 bits is not carried over: deep.avif" in capsys.readouterr().out
