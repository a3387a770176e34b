"""Patterns unlike photographs."""

import json

import pytest
import torch
from conftest import load_script

import srkd
from srkd.images.reading import read_image

patterns = load_script("benchmarks/patterns.py")


def test_patterns_are_the_same_each_time_and_enlarged_without_smoothing(tmp_path):
    count = 2 * len(patterns.DRAW)
    patterns.main(["--out", str(tmp_path / "a"), "--count", str(count)])
    patterns.main(["--out", str(tmp_path / "b"), "--count", str(count)])
    files = sorted((tmp_path / "a").iterdir())
    assert len({file.read_bytes() for file in files}) == count
    for file in files:
        pixels = read_image(file)
        assert pixels.shape == (256, 256, 3)
        assert (pixels == pixels[::4, ::4].repeat(4, 0).repeat(4, 1)).all()
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_what_networks_make_of_patterns_is_written_down(tmp_path, capsys):
    model = srkd.create_generator("srgan_tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    path = srkd.save_generator(model, tmp_path / "x.safetensors")
    patterns.main(["--weights", str(path), "--json", str(tmp_path / "x.json")])
    (found,) = json.loads((tmp_path / "x.json").read_text()).values()
    # What is left is the bilinear skip.
    assert set(found.values()) == {1.0} and len(found) == len(patterns.DRAW)
    with pytest.raises(SystemExit) as stop:
        patterns.main(["--weights", "nowhere.safetensors"])
    assert stop.value.code == 2 and "nowhere.safetensors" in capsys.readouterr().err
