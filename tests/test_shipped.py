"""The weights that come with the package are what their index says."""

import json

import pytest
import torch
from conftest import load_script

import srkd
from srkd.catalog import list_shipped, shipped_folder
from srkd.images import read_image

patterns = load_script("benchmarks/patterns.py")
NAMES = sorted(list_shipped())


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_load_by_name(name):
    entry = list_shipped()[name]
    model = srkd.load_generator(name)
    assert entry["description"] and entry["license"] and model.scale == entry["scale"]
    card = (shipped_folder() / f"{name}.md").read_text(encoding="utf-8")
    assert all(entry[key] in card for key in ("description", "license", "data", "hours", "command"))
    assert (shipped_folder() / entry["file"]).stat().st_size < 20 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_have_their_scores(benchmark, name):
    recorded = list_shipped()[name]["scores"]
    result = srkd.evaluate(name, str(benchmark / "Set5"), protocol=recorded["protocol"])
    for key, value in recorded["Set5"].items():
        assert result["mean"][key] == pytest.approx(value, abs=0.01 if key == "psnr" else 0.001)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_bear_images_unlike_photographs(name):
    """Noise, dithering, stripes, lettering: no value is far from what an image holds."""
    (found,) = patterns.measure([name]).values()
    assert all(value < 10 for value in found.values()), found


def test_patterns_are_the_same_each_time_and_enlarged_without_smoothing(tmp_path, capsys):
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


def test_upscaling_needs_no_weights_named(tmp_path, photos):
    srkd.upscale(str(photos / "coffee_0.png"), str(tmp_path / "x.png"))
    assert read_image(tmp_path / "x.png").shape == (96 * 4, 96 * 4, 3)
    assert sum(bool(entry.get("default")) for entry in list_shipped().values()) == 1
