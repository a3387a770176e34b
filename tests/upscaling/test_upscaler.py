"""Arrays, Pillow images and tensors: what comes in comes out, with the pixels of `srkd upscale`."""

import itertools
import threading

import numpy as np
import pytest
import torch
from conftest import PROFILE, deep_png, deep_values, run_python
from PIL import Image

import srkd
from srkd import SrkdError, UsageError
from srkd.images.reading import read_image
from srkd.upscaling import upscaler as upscaler_module

ALPHA = np.clip(400 - 11 * np.hypot(*np.mgrid[-15:15, -20:20]), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def upscaler() -> srkd.Upscaler:
    """The default weights, on one thread."""
    return srkd.Upscaler(threads=1)


@pytest.fixture
def small(photo) -> np.ndarray:
    return photo[:30, :40].copy()


def shapes(photo: np.ndarray) -> dict[str, np.ndarray]:
    """One array of each number of channels."""
    gray = photo[..., 1]
    return {
        "plane": gray,
        "gray": gray[..., None],
        "gray and alpha": np.dstack([gray, ALPHA]),
        "rgb": photo,
        "rgb and alpha": np.dstack([photo, ALPHA]),
    }


# Arrays.


@pytest.mark.parametrize("name", ["plane", "gray and alpha", "rgb", "rgb and alpha"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("scale", [None, 2.5])
def test_arrays_become_what_files_become(tmp_path, small, name, deep, scale):
    values = shapes(small)[name].astype(np.uint16) * 257 if deep else shapes(small)[name]
    deep_png(tmp_path / "in.png", values)
    options = {"scale": scale, "threads": 1}
    (path,) = srkd.upscale(tmp_path / "in.png", tmp_path / "out.png", verbose=False, **options)
    found = srkd.upscale_image(values, **options)
    assert found.dtype == values.dtype and np.array_equal(found, deep_values(path))


@pytest.mark.parametrize("name", ["plane", "gray", "gray and alpha", "rgb", "rgb and alpha"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float16, np.float32, np.float64, ">u2"])
def test_arrays_keep_shape_and_type(upscaler, small, name, kind):
    image = shapes(small)[name]
    kind = np.dtype(kind)
    white = 1 if kind.kind == "f" else np.iinfo(kind).max
    found = upscaler((image / 255 * white).astype(kind))
    assert found.dtype == kind and found.shape == (120, 160, *image.shape[2:]) and found.flags.writeable
    assert found.min() >= 0 and found.max() <= white
    difference = found / np.float64(white) - upscaler(image) / 255
    assert np.abs(difference).max() < (0.01 if kind == np.float16 else 0.004)


def test_floats_are_not_rounded(upscaler, small):
    found = upscaler(small.astype(np.float32) / 255)
    levels = found * 255
    assert np.abs(levels - np.rint(levels)).max() > 0.4
    odd = srkd.Upscaler(scale=2.5, threads=1)(small.astype(np.float32) / 255)
    assert odd.shape == (75, 100, 3) and odd.min() >= 0 and odd.max() <= 1


def test_views_are_taken_and_left_alone(upscaler, small):
    turned, kept = small[::-1, ::2], small.copy()
    turned.flags.writeable = False
    assert np.array_equal(upscaler(turned), upscaler(turned.copy()))
    assert np.array_equal(small, kept)


# Pillow images.


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        *(("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("RGB", "RGB"), ("RGBA", "RGBA")),
        *(("RGBa", "RGBA"), ("CMYK", "RGB"), ("YCbCr", "RGB"), ("I;16", "I;16"), ("I", "I")),
    ],
)
def test_pillow_images(upscaler, small, mode, becomes):
    image = Image.fromarray(small)
    if mode.startswith("I"):
        image = Image.fromarray(small[..., 0].astype(np.uint16) * 257).convert(mode)
    elif mode == "RGBa":
        image = image.convert("RGBA").convert("RGBa")
    else:
        image = image.convert(mode)
    image.info.update(icc_profile=PROFILE, dpi=(300, 300))
    found = upscaler(image)
    assert isinstance(found, Image.Image) and (found.mode, found.size) == (becomes, (160, 120))
    assert found.info["dpi"] == (300, 300) and ("icc_profile" in found.info) == (mode != "CMYK")
    if mode == "RGB":
        assert np.array_equal(np.asarray(found), upscaler(small))
    if mode.startswith("I"):
        assert np.array_equal(np.asarray(found), upscaler(np.asarray(image).astype(np.uint16)))


def test_palettes_with_transparency(upscaler, small):
    image = Image.fromarray(small).convert("P")
    image.info["transparency"] = 0
    assert upscaler(image).mode == "RGBA"


# Tensors.


@pytest.mark.parametrize("kind", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("batched", [False, True])
def test_tensors(upscaler, small, kind, batched):
    tensor = torch.from_numpy(small).permute(2, 0, 1)
    tensor = tensor if kind == torch.uint8 else (tensor / 255).to(kind)
    tensor = torch.stack([tensor, tensor.flip(2)]) if batched else tensor
    found = upscaler(tensor)
    assert found.dtype == kind and found.shape == (*tensor.shape[:-2], 120, 160) and found.is_contiguous()
    first = (found[0] if batched else found).double() / (255 if kind == torch.uint8 else 1)
    expected = torch.from_numpy(upscaler(small)).permute(2, 0, 1) / 255
    assert (first - expected).abs().max() < (0.02 if kind == torch.bfloat16 else 0.004)
    if batched:
        assert torch.equal(found[1], upscaler(tensor[1]))


def test_tensors_with_gradients_and_empty_batches(upscaler, small):
    tensor = torch.rand(3, 8, 9, requires_grad=True)
    assert not upscaler(tensor).requires_grad
    assert upscaler(torch.rand(0, 3, 8, 9)).shape == (0, 3, 32, 36)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_tensors_stay_on_their_device(upscaler):
    assert upscaler(torch.rand(3, 8, 9, device="cuda")).device.type == "cuda"


# What is no image.


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("photo.jpg", r"photo\.jpg is a path, not an image; for files call srkd\.upscale\(images, out\)"),
        ([[1, 2]], "an image is a numpy array, a Pillow image or a torch tensor, not a list"),
        (None, "an image is .* not a NoneType"),
        (np.zeros(5, np.uint8), "must be .H, W. or .H, W, C. and not empty; this one is 5"),
        (np.zeros((0, 5, 3), np.uint8), "not empty; this one is 0 x 5 x 3"),
        (np.zeros((2, 4, 4, 3), np.uint8), "this one is 2 x 4 x 4 x 3"),
        (np.zeros((3, 8, 9), np.uint8), r"3 x 8 x 9; transpose\(1, 2, 0\) puts them last"),
        (np.zeros((8, 9, 5), np.uint8), "1 to 4 channels last; this one is 8 x 9 x 5$"),
        (np.zeros((8, 9), np.int32), r"must be uint8, uint16 or floating point in \[0, 1\], not int32"),
        (np.zeros((8, 9), bool), "not bool"),
        (np.full((8, 9), 200.0), r"reaches from 200 to 200; divide by 255"),
        (np.full((8, 9), -0.5), "reaches from -0.5 to -0.5$"),
        (np.full((8, 9), np.nan), "nan"),
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("L", (0, 4)), "empty: 0x4"),
        (torch.zeros(1, 8, 9), r"must be \(3, H, W\) or \(N, 3, H, W\) and not empty; this one is 1 x 8 x 9"),
        (torch.zeros(8, 9, 3), "this one is 8 x 9 x 3"),
        (torch.zeros(3, 8, 9, dtype=torch.int64), r"uint8 or floating point in \[0, 1\], not torch\.int64"),
        (torch.full((3, 8, 9), 128.0), "divide by 255"),
    ],
)
def test_what_is_no_image_is_one_line(upscaler, image, message):
    with pytest.raises(UsageError, match=message) as raised:
        upscaler(image)
    assert "\n" not in str(raised.value)


def test_pillow_images_that_cannot_be_read_are_one_line(upscaler, tmp_path, small):
    Image.fromarray(small).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:500])
    with Image.open(tmp_path / "x.png") as image, pytest.raises(SrkdError, match="cannot be read"):
        upscaler(image)
    wide = Image.fromarray(np.full((4, 4), 1 << 20, np.int32))
    with pytest.raises(SrkdError, match="32-bit values, whose white is unknown"):
        upscaler(wide)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale must be a number above 0"),
        ({"tile": -1}, "tile must be a whole number"),
        ({"threads": 1.5}, "threads must be a whole number"),
        ({"backend": "tpu"}, "unknown backend 'tpu'"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"weights": "nothing"}, "there is no weights file nothing; shipped names: "),
        ({"weights": torch.nn.Identity()}, "weights must be a path, not a torch Identity"),
    ],
)
def test_wrong_options_are_one_line(options, message, small):
    for call in (lambda: srkd.Upscaler(**options), lambda: srkd.upscale_image(small, **options)):
        with pytest.raises(UsageError, match=message):
            call()


# Options.


def test_tiles_flips_and_backends(upscaler, small):
    plain = upscaler(small).astype(int)
    for options in ({"tile": 12}, {"backend": "torch"}, {"backend": "openvino"}):
        found = srkd.Upscaler(threads=1, **options)(small)
        assert 0 <= np.abs(found - plain).max() <= 1, options
    assert np.abs(srkd.Upscaler(threads=1, tta=True)(small) - plain).max() > 1
    large = srkd.Upscaler("bicubic", scale=3)
    assert (large.name, large.scale) == ("bicubic", 3) and large(small).shape == (90, 120, 3)
    assert "bicubic" in repr(large) and "NumPy" in repr(large)


def test_weights_of_the_package_by_path(weights, small, capsys):
    found = srkd.upscale_image(small, weights)
    assert np.abs(found - srkd.Upscaler(str(weights), backend="torch")(small).astype(int)).max() <= 1
    assert capsys.readouterr() == ("", "")


def test_networks_stay_open_until_their_file_changes(tmp_path, small, onnx_file, monkeypatch):
    opened = []

    def note(*words, **options):
        opened.append(words)
        return real(*words, **options)

    real = upscaler_module.open_fastest
    monkeypatch.setattr(upscaler_module, "open_fastest", note)
    copy = tmp_path / "x.onnx"
    copy.write_bytes(onnx_file.read_bytes())
    for options in ({}, {"scale": 2}, {"tile": 20}, {"tta": True}):
        srkd.upscale_image(small, copy, **options)
    assert len(opened) == 1
    copy.write_bytes(onnx_file.read_bytes() + b"")
    srkd.upscale_image(small, copy)
    assert len(opened) == 2
    for scale in (2, 3):
        assert srkd.upscale_image(small, "bicubic", scale=scale).shape == (30 * scale, 40 * scale, 3)


def test_no_torch_without_tensors(small, tmp_path):
    np.save(tmp_path / "x.npy", small)
    program = "import sys, numpy, srkd; from PIL import Image; image = numpy.load(sys.argv[1])\n"
    program += "srkd.upscale_image(image); srkd.Upscaler('bicubic')(Image.fromarray(image))\n"
    program += "print(sorted({'torch', 'scipy', 'skimage', 'onnx'} & set(sys.modules)))"
    assert run_python(program, str(tmp_path / "x.npy")) == "[]\n"


@pytest.mark.parametrize("backend", ["onnxruntime", "torch", "openvino"])
def test_threads_share_an_upscaler(backend, small, weights):
    upscaler = srkd.Upscaler(weights, backend=backend, threads=1)
    images = [np.roll(small, shift, axis=1) for shift in range(8)]
    expected = [upscaler(image) for image in images]
    before = torch.get_num_threads()
    results: dict[tuple[int, int], np.ndarray] = {}

    def work(number):
        for turn, image in itertools.product(range(2), range(8)):
            results[number, 8 * turn + image] = upscaler(images[image])
            srkd.upscale_image(images[image][:9, :9], weights, backend=backend, threads=2)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 64
    assert all(np.array_equal(found, expected[key[1] % 8]) for key, found in results.items())
    assert torch.get_num_threads() == before


def test_memory_that_does_not_suffice_is_one_line(upscaler, small, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(Image, "new", full)
    with pytest.raises(SrkdError, match="does not fit into memory"):
        upscaler(small)


def test_files_and_arrays_agree_on_jpeg(tmp_path, small, upscaler):
    Image.fromarray(small).save(tmp_path / "x.jpg")
    (path,) = srkd.upscale(tmp_path / "x.jpg", tmp_path / "y.png", threads=1, verbose=False)
    assert np.array_equal(read_image(path), upscaler(read_image(tmp_path / "x.jpg")))
