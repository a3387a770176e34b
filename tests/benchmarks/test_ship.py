"""Putting trained weights among the shipped ones."""

import json

import numpy as np
import pytest
import torch
from conftest import load_script
from safetensors import safe_open

import srkd
from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.writing import write_image
from srkd.weights.catalogue import read_header
from srkd.weights.store import load_discriminator

ship = load_script("benchmarks/ship.py")


@pytest.fixture
def words(tmp_path, photos, teacher) -> list[str]:
    """The arguments that ship a GAN-trained teacher into a folder whose index has words for it."""
    hr = np.ascontiguousarray(read_image(list_images(photos)[0])[:64, :64])
    for name in ship.SETS:
        write_image(tmp_path / "data" / name / "HR" / "a.png", hr)
    (tmp_path / "weights").mkdir()
    entry = {"description": "for a test", "license": "Apache-2.0"}
    (tmp_path / "weights" / "index.json").write_text(json.dumps({"new": entry, "old": {}}))
    return [
        *(str(teacher / "gan.safetensors"), "new", "--data", str(tmp_path / "data"), "--onnx", "fp16"),
        "--discriminator",
        *("--weights", str(tmp_path / "weights"), "--scores", str(tmp_path / "scores")),
    ]


def test_weights_are_halved_scored_and_listed(words, tmp_path):
    ship.main(words)
    weights = tmp_path / "weights"
    index = json.loads((weights / "index.json").read_text())
    entry = index["new"]
    assert index["old"] == {} and entry["description"] == "for a test" and entry["scale"] == 4
    with safe_open(weights / entry["file"], framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118  # not a mapping
    assert read_header(weights / entry["file"])["stage"] == "gan"
    load_discriminator(weights / "new_discriminator.safetensors")
    # The scores are those of the shipped file, and the ONNX file computes the same.
    for path in (weights / entry["file"], weights / entry["onnx"]):
        found = srkd.evaluate(str(path), str(tmp_path / "data" / "Set5"))["mean"]
        assert found["psnr"] == pytest.approx(entry["scores"]["Set5"]["psnr"], abs=0.02)
    written = json.loads((tmp_path / "scores" / "new-BSD100.json").read_text())
    assert written["model"] == "new" and set(written["mean"]) == set(entry["scores"]["Set5"])
    assert "st-lpips-alex" in written["images"][0]


def test_what_has_no_words_or_is_too_large_is_not_shipped(words, tmp_path, capsys):
    index = tmp_path / "weights" / "index.json"
    for name, replaced, code, said in (
        ("other", 1, 2, "has no entry other"),
        (str(tmp_path / "large.safetensors"), 0, 1, "too large for half precision"),
    ):
        before = index.read_text()
        model = srkd.create_generator("srgan_tiny")
        with torch.no_grad():
            model.fuse[0].weight.fill_(1e6)
        srkd.save_generator(model, tmp_path / "large.safetensors")
        with pytest.raises(SystemExit) as error:
            ship.main([name if place == replaced else word for place, word in enumerate(words)])
        assert error.value.code == code and said in capsys.readouterr().err
        assert index.read_text() == before and [path.name for path in index.parent.iterdir()] == [index.name]
