"""Between the faithful and the sharp weights of a shipped pair."""

import numpy as np
import pytest
import torch
from conftest import in_onnxruntime, run_python
from PIL import Image

import srkd
from srkd.images.reading import read_image
from srkd.images.tensors import to_planes
from srkd.upscaling.sharpness import blend_onnx
from srkd.weights.catalogue import find_onnx

PAIRS = ["span_s", "srgan_student_lite", "srgan_teacher"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_it_is_what_interpolate_writes(tmp_path, photo, pair, share):
    """The ONNX file against the interpolated weights in torch; halves, in which some are stored, are
    rounded."""
    names = [f"{pair}_psnr", f"{pair}_gan"]
    srkd.interpolate(*names, alpha=share, out=tmp_path / "between.safetensors", verbose=False)
    files = [find_onnx(name) for name in names]
    (tmp_path / "between.onnx").write_bytes(blend_onnx(*files, share))
    batch = to_planes(photo[:24, :32])
    found, _ = in_onnxruntime(tmp_path / "between.onnx", batch)
    with torch.no_grad():
        expected = srkd.load_generator(tmp_path / "between.safetensors")(torch.from_numpy(batch)).numpy()
    assert np.abs(found - expected).max() < (2e-3 if pair == "srgan_teacher" else 2e-5)
    if share in (0, 1):
        assert np.array_equal(found, in_onnxruntime(files[int(share)], batch)[0])
    else:
        ends = [in_onnxruntime(file, batch)[0] for file in files]
        assert min(np.abs(found - end).max() for end in ends) > 0.005


def test_the_command_and_images_in_memory(tmp_path, photo, capsys):
    Image.fromarray(photo).save(tmp_path / "in.png")
    srkd.interpolate("span_s_psnr", "span_s_gan", alpha=0.4, out=tmp_path / "between.safetensors")
    between = {"weights": tmp_path / "between.safetensors"}
    expected = read_image(srkd.upscale(tmp_path / "in.png", tmp_path / "a.png", **between)[0]).astype(int)
    capsys.readouterr()
    for number, options in enumerate(
        (
            {},
            {"weights": "span_s_gan"},
            {"weights": "span_s_psnr", "backend": "torch"},
            {"backend": "openvino"},
        )
    ):
        (made,) = srkd.upscale(tmp_path / "in.png", tmp_path / f"{number}.png", sharpness=0.4, **options)
        assert np.abs(read_image(made) - expected).max() <= 1
        assert "with span_s of sharpness 0.4" in capsys.readouterr().out
    assert np.abs(srkd.upscale_image(photo, sharpness=0.4) - expected).max() <= 1
    assert np.abs(srkd.Upscaler(sharpness=0.4)(photo) - expected).max() <= 1
    assert np.abs(srkd.upscale_image(photo, sharpness=0.9) - expected).max() > 5


def test_another_sharpness_is_another_job(tmp_path, photo, fails):
    (tmp_path / "in").mkdir()
    Image.fromarray(photo[:16, :16]).save(tmp_path / "in" / "x.png")
    words = ["upscale", tmp_path / "in", "-o", tmp_path / "out", "--sharpness"]
    assert srkd.cli.main([str(word) for word in [*words, "0.5"]]) == 0
    assert srkd.cli.main([str(word) for word in [*words, "0.5"]]) == 0
    assert "x.png exists" in fails(2, *words, "0.6")


def test_what_has_no_pair(tmp_path, photo, fails, weights):
    Image.fromarray(photo).save(tmp_path / "in.png")
    words = ["upscale", tmp_path / "in.png", "-o", tmp_path / "out.png"]
    for other in ("compact_48x8_psnr", "bicubic", weights):
        error = fails(2, *words, "-w", other, "--sharpness", "0.5")
        assert "--sharpness goes with shipped pairs" in error and "span_s_gan" in error
    assert "sharpness must be a number from 0 to 1, not 1.5" in fails(2, *words, "--sharpness", "1.5")


def test_files_of_two_architectures_do_not_blend():
    with pytest.raises(srkd.SrkdError, match="are not of one architecture"):
        blend_onnx(find_onnx("span_s_psnr"), find_onnx("srgan_teacher_gan"), 0.5)


def test_it_needs_no_torch(tmp_path, photo):
    Image.fromarray(photo[:20, :24]).save(tmp_path / "in.png")
    code = """
import sys
sys.modules["torch"] = sys.modules["onnx"] = None
from srkd.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
    run_python(code, "upscale", str(tmp_path / "in.png"), "-o", str(tmp_path / "o.png"), "--sharpness", "0.5")
    assert read_image(tmp_path / "o.png").shape == (80, 96, 3)
