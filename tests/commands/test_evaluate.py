"""`srkd evaluate`."""

import json
import shutil

import numpy as np
import pytest

import srkd
from srkd import UsageError
from srkd.cli import main
from srkd.data import open_data, read_pair
from srkd.images.reading import read_image
from srkd.images.resample import downscale
from srkd.images.writing import write_image


def test_evaluate_writes_the_documented_json(tmp_path, capsys, photos, weights, fails):
    assert main(["evaluate", str(weights), "--data", str(photos), "--json", str(tmp_path / "s.json")]) == 0
    result = json.loads((tmp_path / "s.json").read_text())
    assert result.keys() == {"protocol", "scale", "model", "mean", "images"}
    assert (result["protocol"], result["scale"], result["model"]) == ("y-crop4", 4, "tiny")
    assert result["mean"].keys() == {"psnr", "ssim", "st-lpips-alex"} and len(result["images"]) == 6
    for key, value in result["mean"].items():
        assert value == pytest.approx(np.mean([image[key] for image in result["images"]]))
    assert "astronaut_0.png" in capsys.readouterr().out
    both = srkd.evaluate(str(weights), str(photos), lpips="st-lpips-vgg, st-lpips-alex")["mean"]
    assert list(both) == ["psnr", "ssim", "st-lpips-vgg", "st-lpips-alex"]
    assert both["st-lpips-alex"] == pytest.approx(result["mean"]["st-lpips-alex"])
    assert "nope" in fails(2, "evaluate", "bicubic", photos, "--lpips", "st-lpips-vgg,nope")


def test_a_packed_set_is_scored_on_its_validation_images(photos, packed, tmp_path):
    held = open_data(str(packed), 4).val
    found = srkd.evaluate("bicubic", str(packed), lpips="none")
    assert [image["name"] for image in found["images"]] == [pair.name for pair in held]
    loose = tmp_path / "loose"
    loose.mkdir()
    shutil.copy(photos / held[0].name, loose)
    assert srkd.evaluate("bicubic", str(loose), lpips="none")["images"][0] == found["images"][0]
    with pytest.raises(UsageError, match="packed for x4, not x2"):
        srkd.evaluate("bicubic", str(packed), lpips="none", scale=2)


def test_div2k_is_scored_with_the_lr_images_of_the_scale(photos, tmp_path):
    for path in photos.iterdir():
        for scale in (2, 4):
            pair = read_pair(path, None, scale)
            folder = tmp_path / "DIV2K_valid_LR_bicubic" / f"X{scale}"
            write_image(folder / f"{path.stem}x{scale}.png", pair.lr)
        write_image(tmp_path / "DIV2K_valid_HR" / f"{path.stem}.png", read_image(path))
    for scale in (2, 4):
        found = srkd.evaluate("bicubic", str(tmp_path), scale=scale, lpips="none")
        plain = srkd.evaluate("bicubic", str(photos), scale=scale, lpips="none")
        assert found["mean"] == plain["mean"]


def test_scores_of_images_too_small_name_the_image(tmp_path):
    write_image(tmp_path / "dot.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UsageError, match=r"dot\.png"):
        srkd.evaluate("bicubic", str(tmp_path))


def test_pairs_that_do_not_belong_together(fails, tmp_path, photos):
    for name in ("HR", "LR"):
        (tmp_path / name).mkdir()
    image = read_image(photos / "coffee_0.png")
    write_image(tmp_path / "HR" / "a.png", image)
    assert "no images" in fails(2, "evaluate", "bicubic", "--data", tmp_path)
    write_image(tmp_path / "LR" / "b.png", image)
    assert "no image named a" in fails(2, "evaluate", "bicubic", "--data", tmp_path)
    (tmp_path / "LR" / "b.png").rename(tmp_path / "LR" / "a.png")
    assert "is the scale right?" in fails(2, "evaluate", "bicubic", "--data", tmp_path)
    write_image(tmp_path / "LR" / "a.png", downscale(image, 3))
    assert "1/4" in fails(2, "evaluate", "bicubic", "--data", tmp_path)
    assert main(["evaluate", "bicubic", "--data", str(tmp_path), "--scale", "3", "--lpips", "none"]) == 0


def test_lpips_runs_on_the_device_chosen(photos, monkeypatch):
    seen = []

    def note(sr, hr, variant, device="cpu"):
        seen.append((variant, device))
        return 0.0

    monkeypatch.setattr("srkd.metrics.perceptual.lpips", note)
    monkeypatch.setattr("srkd.commands.evaluate.best_device", lambda: "mps")
    srkd.evaluate("bicubic", photos, device="cuda", verbose=False)
    srkd.evaluate("bicubic", photos, verbose=False)
    assert seen == [("st-lpips-alex", "cuda")] * 6 + [("st-lpips-alex", "mps")] * 6


def test_paths_silence_and_progress(photos, tmp_path, capsys):
    seen = []
    found = srkd.evaluate(
        "bicubic",
        photos,
        lpips="none",
        json=tmp_path / "s.json",
        verbose=False,
        progress=lambda *words: seen.append(words),
    )
    assert capsys.readouterr() == ("", "") and json.loads((tmp_path / "s.json").read_text()) == found
    assert seen == [("evaluating", done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": np.zeros(3)}, "model must be a path, not a numpy ndarray"),
        ({"data": 3}, "data must be a path, not an int"),
        ({"data": ["a", None]}, "data must be a path, not a NoneType"),
        ({"data": ["a", "b"]}, "there is no folder a"),
        ({"json": 3}, "json must be a path, not an int"),
        ({"lpips": None}, "lpips must be a text, not a NoneType"),
        ({"scale": 2.5}, "scale must be a whole number from 1 to 64, not 2.5"),
        ({"lpips": "st-lpips-vgg,best"}, "unknown LPIPS variant 'best'; choose from: "),
        ({"device": "tpu"}, "unknown device 'tpu'; choose from: auto, cpu, cuda, mps"),
    ],
)
def test_wrong_arguments_are_one_line(photos, options, message):
    with pytest.raises(UsageError) as raised:
        srkd.evaluate(**{"model": "bicubic", "data": photos, **options})
    assert str(raised.value).startswith(message)


def test_names_with_brackets_are_shown_as_they_are(tmp_path, photos, capsys):
    shutil.copy(next(iter(photos.iterdir())), tmp_path / "a[bold]b.png")
    srkd.evaluate("bicubic", tmp_path, lpips="none")
    assert "a[bold]b.png" in capsys.readouterr().out
