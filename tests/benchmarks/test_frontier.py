"""The frontier of quality and speed: the layouts it times, what it makes of the figures, and its misuse."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import load_script
from PIL import Image

from srkd.images.folders import list_images
from srkd.images.reading import read_image
from srkd.images.resample import downscale
from srkd.images.writing import write_image
from srkd.models.cost import count_parameters

OURS = "srgan_student_lite_psnr"

frontier = load_script("benchmarks/frontier.py")
layouts = import_module("benchmarks.frontier_layouts")


def point(share: float, low: float, high: float) -> dict[str, Any]:
    return {"share": share, "fps": {"median": (low + high) / 2, "quartiles": [low, high]}}


@pytest.fixture
def data(tmp_path, photos) -> Path:
    """A benchmark of one image."""
    hr = np.ascontiguousarray(read_image(list_images(photos)[0])[:64, :64])
    write_image(tmp_path / "Set1" / "HR" / "a.png", hr)
    write_image(tmp_path / "Set1" / "LR" / "a.png", downscale(hr, 4))
    return tmp_path / "Set1"


@pytest.mark.parametrize(
    ("name", "parameters"),
    # Of the published sizes, 1.5 M, 660 k and 90 k, those of the layouts; then those of published files, of
    # TPSR's without the 24 of its shift by the mean colour.
    [
        ("SRGAN", 1_546_435),
        ("EdgeSRGAN", 660_620),
        ("EdgeSRGAN-tiny 32x4, distilled", 95_555),
        ("SPAN 28", 150_688),
        ("DISP", 163_792),
        ("ERRN2", 245_968),
        ("EFDN", 276_192),
        ("TPSR-D2", 61_121 - 24),
    ],
)
def test_layouts(name, parameters):
    model = (frontier.THEIRS | frontier.SCORED)[name].build()
    assert count_parameters(model) == parameters
    with torch.inference_mode():
        # Attention at a seventh of half of the size needs some.
        assert model.eval()(torch.rand(2, 3, 18, 24)).shape == (2, 3, 72, 96)


def test_dominance_needs_both_and_more_than_the_spread():
    theirs = {"rival": point(0.4, 10, 11)}
    ours = {
        "both": point(0.3, 12, 13),
        "faster": point(0.5, 12, 13),
        "nearer": point(0.3, 5, 6),
        "within the spread": point(0.3, 10.9, 13),
        "within the margin": point(0.3, 11.4, 11.5),
        "equally near": point(0.4, 12, 13),
    }
    assert frontier.find_dominated(ours, theirs) == {"both": ["rival"]}


def test_what_trades_psnr_for_lpips_does_not_dominate():
    ours = {name: {**point(0.2, 12, 13), "psnr": psnr} for name, psnr in (("gan", 30.0), ("both", 31.0))}
    theirs = {"rival": {**point(0.4, 10, 11), "psnr": 31.0}}
    assert frontier.find_dominated(ours, theirs) == {"both": ["rival"]}


def test_one_architecture_is_timed_once(monkeypatch):
    monkeypatch.setattr(frontier, "SUSTAINED", 0)
    monkeypatch.setattr(frontier, "FRAMES", 1)
    opened = []
    open_network = frontier.open_network
    monkeypatch.setattr(frontier, "open_network", lambda *given: opened.append(given) or open_network(*given))
    first, second = (frontier.srkd.create_generator("srgan_tiny") for _ in range(2))
    found = frontier.time_networks({"a": first, "b": second, "c": layouts.EdgeSRGAN(4, 1)}, 1, 2)
    assert len(opened) == 2 and found["a"] == found["b"] != found["c"]
    assert set(found) == {"bicubic", "a", "b", "c"}
    for rate in found.values():
        assert 0 < rate["quartiles"][0] <= rate["median"] <= rate["quartiles"][1]


def test_figures_and_plot(monkeypatch, tmp_path, data, capsys):
    shipped = {OURS: frontier.list_shipped()[OURS]}
    shipped["of another scale"] = {**shipped[OURS], "scale": 2}
    monkeypatch.setattr(frontier, "list_shipped", lambda: shipped)

    def rates(models, threads, turns):
        return {name: {"median": 10.0, "quartiles": [9.0, 11.0]} for name in ("bicubic", *models)}

    monkeypatch.setattr(frontier, "time_networks", rates)
    files = tmp_path / "out" / "f.json", tmp_path / "out" / "f.png"
    frontier.main([str(word) for word in ("--data", data, "--json", files[0], "--picture", files[1])])
    found = json.loads(files[0].read_text())
    ours, theirs = found["ours"]["points"], found["theirs"]["points"]
    assert list(ours) == ["bicubic", OURS] and ours["bicubic"]["share"] == 1
    assert ours[OURS]["share"] == pytest.approx(ours[OURS]["lpips"] / ours["bicubic"]["lpips"], abs=1e-3)
    scored = found["scored"]["points"]
    assert scored["DISP"]["share"] == pytest.approx(0.127 / ours["bicubic"]["lpips"], abs=1e-3)
    assert scored["DISP"]["psnr"] == 31.94 and ours[OURS]["psnr"] > 0 and "psnr" not in theirs["SRGAN"]
    assert theirs["EdgeSRGAN"]["share"] == pytest.approx(0.095 / 0.340, abs=1e-4)
    assert theirs["SRGAN"]["fps"]["median"] == 10 and theirs["SRGAN"]["published_fps"] == 2.7
    assert found["threads"] == 2 and found["turns"] == 7 and "onnxruntime" in found["versions"]
    assert "2209.03355" in found["theirs"]["source"] and found["dominates"] == {}
    assert "none of ours" in capsys.readouterr().out
    with Image.open(files[1]) as picture:
        assert min(picture.size) > 500


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "{tmp}/none"], "there is no folder"),
        (["--data", "{tmp}", "--turns", "0"], "at least 1"),
        (["--data", "{tmp}", "--picture", "plot.pdf"], "does not end in .png"),
        (["--data", "{tmp}"], "holds no images"),
    ],
)
def test_misuse_is_one_line(tmp_path, capsys, words, said):
    with pytest.raises(SystemExit) as stopped:
        frontier.main([word.format(tmp=tmp_path) for word in words])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and said in error and len(error.splitlines()) == 1, error
