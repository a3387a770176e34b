"""Each runtime gives the same image; half precision; conversion."""

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, run_python
from PIL import Image

import srkd
from srkd import SrkdError, UsageError, create_generator, save_generator
from srkd.cli import main
from srkd.runtimes import RUNTIMES
from srkd.runtimes.torch import limit_threads
from srkd.upscaling import opening
from srkd.upscaling.opening import open_runner


def test_backends_agree(photo, weights, onnx_file):
    names = [name for name, runtime in RUNTIMES.items() if runtime.takes != "param"]
    found = {name: open_runner(weights, backend=name, threads=1)(photo).astype(int) for name in names}
    for name, image in found.items():
        assert np.abs(image - found["torch"]).max() <= 1, name
    assert np.abs(open_runner(onnx_file, backend="openvino")(photo) - found["torch"]).max() <= 1
    assert len(found) == 3


def test_weights_are_converted_once(tmp_path, photo, weights, monkeypatch, capsys):
    monkeypatch.setattr(opening, "user_cache_path", lambda name: tmp_path / "cache" / name)
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
    cool = open_runner(path, "cpu", precision="fp32")(photo)
    assert np.array_equal(open_runner(path, "cpu", precision="fp16")(photo), cool)
    assert "continuing in fp32" in capsys.readouterr().out
    gentle = open_runner(path, "cpu", precision="bf16")(photo)
    assert np.abs(gentle.astype(int) - cool).mean() < 8 and "continuing" not in capsys.readouterr().out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_in_half_precision(photo, weights):
    fast = open_runner(weights, "cuda")(photo).astype(int)
    assert np.abs(fast - open_runner(weights, "cpu")(photo)).max() <= 3


def test_an_onnx_file_upscales_without_torch(tmp_path, photos, weights):
    onnx = srkd.export(str(weights), out=str(tmp_path / "tiny.onnx"))
    words = ["upscale", str(photos / "coffee_0.png"), "-o", str(tmp_path / "x.png"), "-w", str(onnx)]
    out = run_python(f"import sys; from srkd.cli import main; print(main({words}), 'torch' in sys.modules)")
    assert out.endswith("0 False\n")


def test_shipped_weights_upscale_without_torch(tmp_path, photos):
    words = ["upscale", str(photos / "coffee_0.png"), "-o", str(tmp_path / "x.png")]
    out = run_python(f"import sys; from srkd.cli import main; print(main({words}), 'torch' in sys.modules)")
    assert out.endswith("0 False\n") and "ONNX Runtime, CPU" in out


def test_torchs_threads_are_given_back(photo, weights):
    before = torch.get_num_threads()
    seen = []
    runner = open_runner(weights, "cpu", backend="torch", threads=before + 1)
    for part in runner.parts(photo, 30):
        seen.append((torch.get_num_threads(), part.values.shape))
    assert {count for count, _ in seen} == {before}
    with limit_threads(before + 2), limit_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_openvino_refuses_files_of_other_programs(tmp_path):
    model = onnx.load(ROOT / "weights" / "span_s_psnr.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(UsageError, match="was not exported by srkd; use --backend onnxruntime"):
        open_runner(tmp_path / "x.onnx", backend="openvino")
    (tmp_path / "y.onnx").write_bytes(b"nothing")
    with pytest.raises(SrkdError, match=r"y\.onnx is not a model that OpenVINO can open") as raised:
        open_runner(tmp_path / "y.onnx", backend="openvino")
    assert "\n" not in str(raised.value)
