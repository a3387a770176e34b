"""The weights that come with the package are what their index says."""

import pytest
from conftest import load_script

import srkd
from srkd.images.reading import read_image
from srkd.weights.catalogue import list_shipped, shipped_folder

patterns = load_script("benchmarks/patterns.py")

NAMES = sorted(list_shipped())


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_load_by_name(name):
    entry = list_shipped()[name]
    model = srkd.load_generator(name)
    assert entry["description"] and entry["license"] and model.scale == entry["scale"]
    card = (shipped_folder() / f"{name}.md").read_text(encoding="utf-8")
    assert all(entry[key] in card for key in ("description", "license", "data", "terms", "command"))
    assert (shipped_folder() / entry["file"]).stat().st_size < 20 * 2**20
    if "onnx" in entry:
        assert b".py" not in (shipped_folder() / entry["onnx"]).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_have_their_scores(benchmark, name):
    recorded = list_shipped()[name]["scores"]
    result = srkd.evaluate(name, str(benchmark / "Set5"), protocol=recorded["protocol"])
    assert recorded["Set5"].keys() == result["mean"].keys()
    for key, value in recorded["Set5"].items():
        assert result["mean"][key] == pytest.approx(value, abs=0.01 if key == "psnr" else 0.001)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_bear_images_unlike_photographs(name):
    """Noise, dithering, stripes, lettering: no value is far from what an image holds."""
    (found,) = patterns.measure([name]).values()
    assert len(found) == len(patterns.DRAW) and max(found.values()) < 10, found


def test_upscaling_needs_no_weights_named(tmp_path, photos):
    srkd.upscale(str(photos / "coffee_0.png"), str(tmp_path / "x.png"))
    assert read_image(tmp_path / "x.png").shape == (96 * 4, 96 * 4, 3)
    assert sum(bool(entry.get("default")) for entry in list_shipped().values()) == 1
