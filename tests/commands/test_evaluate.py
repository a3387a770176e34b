"""`srkd evaluate`."""

import csv
import json
import shutil
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

import srkd
from srkd import SrkdError, UsageError, create_generator, load_generator, save_generator
from srkd.cli import main
from srkd.data import open_data, read_pair
from srkd.images.reading import read_image
from srkd.images.resample import downscale, upscale_bicubic
from srkd.images.writing import write_image
from srkd.metrics.artefacts import to_gray
from srkd.metrics.named import METRICS, Metric
from srkd.models.cost import count_macs, count_parameters
from srkd.upscaling.opening import open_runner


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
        ({"data": ["a", None]}, "each of data must be a path, not a NoneType"),
        ({"data": ["a", "b"]}, "there is no folder a"),
        ({"json": 3}, "json must be a path, not an int"),
        ({"lpips": None}, "lpips must be a text, not a NoneType"),
        ({"scale": 2.5}, "scale must be a whole number from 1 to 64, not 2.5"),
        ({"lpips": "st-lpips-vgg,best"}, "unknown LPIPS variant 'best'; choose from: "),
        ({"device": "tpu"}, "unknown device 'tpu'; choose from: auto, cpu, mps, cuda"),
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


# Several models and benchmarks.


@pytest.fixture
def sets(photos, tmp_path):
    """Two benchmarks, of two photographs each."""
    for name, files in (("One", (0, 1)), ("Two", (2, 4))):
        for number in files:
            path = sorted(photos.iterdir())[number]
            (tmp_path / name / "HR").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / name / "HR")
    return tmp_path / "One", tmp_path / "Two"


def enlarge(data, folder, name="{}.png", scale=4):
    """Bicubic SR images of a benchmark, as another program would write them."""
    for path in (data / "HR").iterdir():
        pair = read_pair(path, None, scale)
        write_image(folder / name.format(path.stem), upscale_bicubic(pair.lr, scale))
    return folder


def test_several_models_and_benchmarks_are_one_table(sets, weights, networks, tmp_path, capsys):
    files = {kind: tmp_path / f"scores.{kind}" for kind in ("csv", "tex", "json")}
    words = ["evaluate", "bicubic", weights, networks["lr"], "--data", *sets, "--lpips", "none"]
    words += ["--csv", files["csv"], "--latex", files["tex"], "--json", files["json"]]
    assert main([str(word) for word in words]) == 0
    out = capsys.readouterr().out
    assert out.count("┏") == 1 and "time over that of tiny" in out
    found = json.loads(files["json"].read_text())
    assert found.keys() == {"protocol", "scale", "results"}
    rows = {(row["model"], row["data"]): row for row in found["results"]}
    assert list(rows) == [(model, data) for model in ("bicubic", "tiny", "lr") for data in ("One", "Two")]
    for name, data in (("bicubic", sets[0]), (str(weights), sets[1])):
        alone = srkd.evaluate(name, data, lpips="none")
        row = rows["bicubic" if name == "bicubic" else "tiny", data.name]
        assert {key: row[key] for key in alone} == alone
    cost = rows["tiny", "One"]
    model = load_generator(weights)
    assert cost["parameters"] == count_parameters(model) and cost["macs"] == count_macs(model, 4)
    assert cost["time"] == 1 and rows["lr", "Two"]["time"] > 0
    assert [rows["bicubic", "One"][key] for key in ("parameters", "macs", "time")] == [None] * 3
    lines = list(csv.DictReader(files["csv"].open()))
    assert len(lines) == 6 and lines[0]["images"] == "2" and lines[0]["macs"] == ""
    for line in lines:
        assert float(line["psnr"]) == rows[line["model"], line["data"]]["mean"]["psnr"]
    latex = files["tex"].read_text().splitlines()
    body = latex[latex.index(r"\midrule") + 1 : latex.index(r"\bottomrule")]
    assert len(body) == 3 and len({line.count("&") for line in [latex[5], *body]}) == 1
    best = max(rows[name, "One"]["mean"]["psnr"] for name in ("bicubic", "tiny", "lr"))
    assert sum(rf"\textbf{{{best:.2f}}}" in line for line in body) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["bicubic", "One"],
        ["bicubic", "--data", "One"],
        ["--data", "One", "bicubic"],
        ["--data", "One", "--", "bicubic"],
        ["--model", "bicubic", "--data=One"],
    ],
)
def test_words_may_stand_in_any_order(sets, monkeypatch, capsys, words):
    monkeypatch.chdir(sets[0].parent)
    assert main(["evaluate", "--lpips", "none", *words]) == 0
    assert "bicubic x4, y-crop4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bicubic", "--data", "One", "--sr", "One/HR"], "holds the HR images themselves"),
        (["bicubic", "bicubic", "--data", "One"], "bicubic is named twice"),
        (["bicubic", "--data", "One", "One"], "One is named twice"),
        (["bicubic", "--data", "One", "Two", "--lr", "One"], "--lr goes with one benchmark"),
        (["--data", "One", "Two"], "MODEL is missing"),
        (["bicubic", "span_s_psnr"], "DATA is missing"),
        (["bicubic", "One", "Two"], "One and Two are folders; name benchmarks by --data"),
        (["span_s_psnr", "--data", "One", "--scale", "2"], "span_s_psnr is x4, not x2"),
        (["bicubic", "One", "--csv", "a", "--json", "a"], "--json and --csv name the same file"),
        (["bicubic", "One", "--latex", "Two"], "--latex Two is a folder"),
        (["bicubic", "embedded", "--lr", "One"], "not with embedded"),
    ],
)
def test_what_does_not_go_together(sets, monkeypatch, fails, words, message):
    monkeypatch.chdir(sets[0].parent)
    assert message in fails(2, "evaluate", *words)


def test_networks_of_two_scales_are_not_one_table(sets, weights, tmp_path, fails):
    double = save_generator(create_generator("srgan_tiny", 2), tmp_path / "double.safetensors")
    assert "tiny is x4 and double x2" in fails(2, "evaluate", weights, double, "--data", sets[0])
    # Bicubic goes with the network.
    found = srkd.evaluate(["bicubic", double], sets[0], lpips="none")
    assert found["scale"] == 2 and found["results"][0]["model"] == "bicubic"


def test_a_missing_lpips_file_is_told_once_and_before_anything_is_scored(sets, monkeypatch, tmp_path, fails):
    def unreachable(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr("srkd.commands.evaluating.scoring.score_image", unreachable)
    error = fails(1, "evaluate", "bicubic", "--data", *sets, "--lpips", "st-lpips-alex,lpips-alex")
    assert "fetch https://" in error and "checkpoints" in error


# SR images that are there.


@pytest.mark.parametrize(
    "name", ["{}.png", "{}_x4.png", "{}x4_out.png", "{}_SR.png", "{}-SwinIR.png", "{} (1).png"]
)
def test_sr_images_of_any_program_are_scored(sets, tmp_path, capsys, name):
    folder = enlarge(sets[0], tmp_path / "mine", name)
    found = srkd.evaluate(sr=folder, data=sets[0], lpips="none")
    alone = srkd.evaluate("bicubic", sets[0], lpips="none")
    assert found["model"] == "mine" and found["mean"] == alone["mean"] and found["images"] == alone["images"]
    out = capsys.readouterr().out
    behind = name.partition(".")[0].removeprefix("{}")
    assert f"2 SR images in {folder}, paired by name" + (f", then {behind}\n" if behind else "\n") in out
    assert "LR" not in out.partition("SR images")[0]


def test_sr_images_stand_beside_models_on_several_benchmarks(sets, tmp_path):
    for data in sets:
        enlarge(data, tmp_path / "mine" / data.name)
    for words in ({"model": ["bicubic", tmp_path / "mine"]}, {"model": "bicubic", "sr": tmp_path / "mine"}):
        found = srkd.evaluate(data=list(sets), lpips="none", **words)["results"]
        assert [row["model"] for row in found] == ["bicubic", "bicubic", "mine", "mine"]
        assert [row["mean"] for row in found[:2]] == [row["mean"] for row in found[2:]]
    # Reading files is no time of a model's.
    two = enlarge(sets[0], tmp_path / "other")
    found = srkd.evaluate([tmp_path / "mine", two], sets[0], lpips="none")["results"]
    assert [row["time"] for row in found] == [None, None]


def test_sr_images_that_do_not_fit_are_refused(sets, tmp_path, fails, capsys):
    data, folder = sets[0], enlarge(sets[0], tmp_path / "mine")
    shutil.copy(folder / "astronaut_0.png", folder / "zebra.png")
    assert srkd.evaluate([folder], data, lpips="none")["images"]
    assert f"left out: 1 image in {folder} without HR image, such as zebra.png" in capsys.readouterr().out
    write_image(folder / "astronaut_1.png", np.zeros((20, 30, 3), np.uint8))
    error = fails(2, "evaluate", "--sr", folder, "--data", data)
    assert "astronaut_1.png is 30x20, and its HR image 110x97" in error
    (folder / "astronaut_1.png").unlink()
    error = fails(2, "evaluate", "--sr", folder, "--data", data)
    assert "no SR image for astronaut_1.png" in error and "1 of 2 are there" in error
    for name in ("{}_a.png", "{}_b.png"):
        enlarge(data, tmp_path / "both", name)
    error = fails(2, "evaluate", "--sr", tmp_path / "both", "--data", data)
    assert "several SR images of each HR image" in error and "astronaut_0_b" in error
    assert "no image in" in fails(2, "evaluate", "--sr", enlarge(sets[1], tmp_path / "x"), "--data", data)


def test_sr_images_of_uncut_hr_images_are_cut(sets, tmp_path):
    """HR is 97 x 110: SR may be as large, 96 x 108 as x4 is, or 100 x 112 where LR was rounded up."""
    path = sets[0] / "HR" / "astronaut_1.png"
    (sets[0] / "HR" / "astronaut_0.png").unlink()
    image = read_image(path)
    scores = []
    for height, width in ((96, 108), (97, 110), (100, 112)):
        padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="edge")[:height, :width]
        write_image(tmp_path / "mine" / path.name, np.ascontiguousarray(padded))
        scores.append(srkd.evaluate(tmp_path / "mine", sets[0], lpips="none")["mean"])
    assert scores[0] == scores[1] == scores[2] == {"psnr": np.inf, "ssim": 1.0}


def test_a_packed_set_is_a_benchmark_of_sr_images(packed, photos, tmp_path):
    (held,) = open_data(packed, 4).val
    write_image(tmp_path / "mine" / f"{held.name[:-4]}_x4.png", held.hr)
    assert srkd.evaluate(tmp_path / "mine", packed, lpips="none")["mean"]["ssim"] == 1


def test_dry_run_lists_pairs(sets, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("srkd.commands.evaluating.scoring.score_image", None)
    folder = enlarge(sets[0], tmp_path / "mine", "{}_x4.png")
    found = srkd.evaluate(["bicubic", folder], sets[0], dry_run=True)["pairs"]["One"]
    hr = sets[0] / "HR" / "astronaut_0.png"
    sr = folder / "astronaut_0_x4.png"
    assert found[0] == {"hr": str(hr), "lr": None, "sr": [str(sr)]} and len(found) == 2
    assert f"{hr} <- bicubic, {sr}\n" in capsys.readouterr().out
    assert srkd.evaluate(folder, sets[0], dry_run=True)["pairs"]["One"][0] == {"hr": str(hr), "sr": [str(sr)]}


# Metrics beside PSNR, SSIM and LPIPS.


@pytest.fixture
def scenes(tmp_path):
    """A colour photograph without flat ground, and a gray picture of a hard edge between flat halves."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    edge = np.full((96, 128, 3), 60, np.uint8)
    edge[:, 64:] = 200
    write_image(tmp_path / "Scenes" / "HR" / "noise.png", noise)
    write_image(tmp_path / "Scenes" / "HR" / "edge.png", edge)
    return tmp_path / "Scenes"


def test_metrics_are_scored_by_their_names(scenes, weights, tmp_path, capsys):
    file = tmp_path / "s.json"
    words = ["evaluate", weights, "--data", scenes, "--lpips", "none", "--json", file]
    assert main([str(word) for word in [*words, "--metrics", "halo, flat-noise,tint,niqe,halo"]]) == 0
    result, out = json.loads(file.read_text()), capsys.readouterr().out
    assert list(result) == ["protocol", "scale", "model", "measured", "mean", "images"]
    assert list(result["mean"]) == ["psnr", "ssim", "halo", "flat-noise", "tint", "niqe"]
    assert result["measured"] == {"halo": 2, "flat-noise": 1, "tint": 2, "niqe": 0}
    edge, noise = result["images"]
    assert noise["flat-noise"] is None and result["mean"]["flat-noise"] == edge["flat-noise"] > 0
    assert result["mean"]["niqe"] is None
    assert "flat-noise: mean over 1 of 2 images of Scenes\n" in out
    assert "niqe: on none of 2 images of Scenes\n" in out
    assert "halo: overshoot beside strong edges, 8-bit levels; lower is better\n" in out


def test_pictures_are_made_gray_for_tint_before_they_are_enlarged(scenes, weights):
    found = srkd.evaluate(weights, scenes, lpips="none", metrics="tint")
    runner = open_runner(weights, "cpu")
    for image, name in zip(found["images"], ("edge", "noise"), strict=True):
        pair = read_pair(scenes / "HR" / f"{name}.png", None, 4)
        spread = np.ptp(runner(to_gray(pair.lr)).astype(float), axis=2).mean()
        assert image["tint"] == spread > 0
    plain = srkd.evaluate(weights, scenes, lpips="none")
    assert "measured" not in plain and plain["mean"]["psnr"] == found["mean"]["psnr"]


def test_sr_images_that_are_there_have_a_tint_only_where_hr_is_gray(scenes, tmp_path, capsys):
    enlarge(scenes, tmp_path / "mine")
    files = {kind: tmp_path / f"s.{kind}" for kind in ("csv", "latex")}
    found = srkd.evaluate(["bicubic", tmp_path / "mine"], scenes, lpips="none", metrics="tint,halo", **files)
    assert [row["measured"]["tint"] for row in found["results"]] == [2, 1]
    assert "tint: mean over 1 of 2 images of Scenes (mine)" in capsys.readouterr().out
    rows = list(csv.DictReader(files["csv"].open()))
    assert [row["tint images"] for row in rows] == ["2", "1"] and rows[0]["halo images"] == "2"
    assert "tint: mean over 1 of 2 images of Scenes (mine)" in files["latex"].read_text()


def test_tables_take_scores_that_no_image_has_and_either_direction(scenes, tmp_path, capsys, monkeypatch):
    sharp = Metric("sharp", lambda sr, hr, _: float(sr.std()), False, False, "", "any", "contrast")
    monkeypatch.setitem(METRICS, "sharp", sharp)
    enlarge(scenes, tmp_path / "mine", scale=4)
    for path in (tmp_path / "mine").iterdir():
        write_image(path, read_image(path) // 2)
    files = {kind: tmp_path / f"s.{kind}" for kind in ("csv", "latex")}
    found = srkd.evaluate(["bicubic", tmp_path / "mine"], scenes, lpips="none", metrics="sharp,niqe", **files)
    first, second = (row["mean"] for row in found["results"])
    assert first["sharp"] > second["sharp"] and first["niqe"] is None
    assert "sharp: contrast; higher is better\n" in capsys.readouterr().out
    lines = files["latex"].read_text().splitlines()
    row = next(line for line in lines if line.startswith("bicubic"))
    assert (
        rf"\textbf{{{first['sharp']:.4f}}} & --" in row
        and r"sharp $\uparrow$ & niqe $\downarrow$" in lines[5]
    )
    assert [row["niqe"] for row in csv.DictReader(files["csv"].open())] == ["", ""]


def test_a_metric_that_fails_names_itself_and_the_image(scenes, fails, monkeypatch):
    def fail(*_):
        raise SrkdError("no reader")

    monkeypatch.setitem(METRICS, "halo", replace(METRICS["halo"], measure=fail))
    error = fails(1, "evaluate", "bicubic", "--data", scenes, "--lpips", "none", "--metrics", "halo")
    assert "edge.png: halo: no reader" in error


@pytest.mark.parametrize("metrics", ["", "halo,nique", "halo,"])
def test_unknown_metrics_are_refused_before_anything_is_opened(fails, metrics):
    error = fails(2, "evaluate", "nowhere.safetensors", "--data", "nowhere", "--metrics", metrics)
    assert "unknown metric" in error and "flat-noise" in error


def test_numbers_of_wide_tables_are_not_cut(scenes, capsys):
    wide = "halo,flat-noise,lattice,tint,tint-largest"
    found = srkd.evaluate("bicubic", scenes, lpips="st-lpips-alex,st-lpips-vgg", metrics=wide)
    out = capsys.readouterr().out
    assert "tint-largest" in out and f"{found['mean']['st-lpips-vgg']:.4f}" in out and "…" not in out
