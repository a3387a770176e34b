"""The commands as a newcomer meets them: help, real use, and one mistake after another."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fails, on_full_disk, python
from PIL import Image

import srkd
from srkd import SrkdError, UsageError, create_generator, load_generator, resample, save_generator
from srkd.cli import COMMANDS, main
from srkd.images import read_image, write_image

RECIPES = Path(srkd.__file__).parent / "recipes"


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    return save_generator(
        create_generator("srgan_tiny"), tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    )


def test_neither_the_package_nor_its_help_imports_torch():
    assert python("import sys, srkd; print('torch' in sys.modules)") == "False\n"
    helped = python("import sys; from srkd.cli import main; main(['--help']); print('torch' in sys.modules)")
    assert helped.endswith("False\n") and all(f"  {name} " in helped for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_torch(name):
    text = (
        "import sys; from srkd.cli import main\ntry: main([sys.argv[1], '--help'])\nexcept SystemExit as e:"
    )
    out = python(text + " print(e.code, 'torch' in sys.modules)", name)
    assert out.endswith("0 False\n") and f"usage: srkd {name}" in out
    for option in re.findall(
        r"--\w+ (?:\{[^}]*\}|[A-Z_]+) \(.*?\)", " ".join(out.split("options:")[1].split())
    ):
        raise AssertionError(f"{name} has an option without help: {option}")


def test_every_public_name_is_there():
    for name in srkd.__all__:
        assert getattr(srkd, name) is not None
    with pytest.raises(AttributeError, match="distil"):
        _ = srkd.distil


def test_verbs_stay_functions_after_use(photos):
    srkd.evaluate("bicubic", str(photos), lpips="none")
    assert all(callable(getattr(srkd, name)) for name in COMMANDS if name not in ("models", "runs"))


@pytest.mark.parametrize("command", ["train", "distill", "finetune", "mutual"])
def test_print_config_shows_what_would_run(capsys, command):
    import yaml

    words = [command, "--data", "photos", "--print_config", "--start", "w.safetensors"]
    nested = {"train": "gan", "distill": "finetune", "finetune": "finetune", "mutual": "finetune"}[command]
    assert (
        main([*words, f"--stages.{nested}.losses.perceptual.weight", "7", f"--stages.{nested}.steps=5"]) == 0
    )
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["stages"][nested]["losses"]["perceptual"]["weight"] == 7
    assert printed["stages"][nested]["steps"] == 5 and printed["data"] == "photos"


@pytest.mark.parametrize(
    "recipe", sorted(path.stem for path in RECIPES.glob("*.yaml") if not path.stem.startswith("compare"))
)
def test_shipped_recipes_resolve(capsys, recipe):
    verb = "train" if srkd.load_recipe(recipe)["strategy"] in ("srgan", "pretrain", "extend") else "distill"
    words = [
        verb,
        "--config",
        recipe,
        "--print_config",
        "--seed",
        "5",
        "--model_options.residual_init",
        "0.5",
    ]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "seed: 5" in shown and "residual_init: 0.5" in shown


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_papers_runs_are_ready(capsys, monkeypatch, tmp_path, scale):
    """Two steps of each stage of full size, with a file in the place of torchvision's VGG19 (random)."""
    from torchvision.models import VGG19_Weights, vgg19

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    file.parent.mkdir(parents=True)
    torch.save(vgg19(weights=None).state_dict(), file)
    words = [
        "train",
        "embedded",
        "--config",
        f"paper_x{scale}",
        "--dry_run",
        "--precision",
        "32-true",
        "--batch",
        "2",
    ]
    words += ["--out", str(tmp_path / "run")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "1,000,000" in shown and "200,000" in shown and not (tmp_path / "run").exists()


def test_training_by_recipe_from_the_command_line(tmp_path, photos):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "{model: srgan_tiny, strategy: pretrain, crop: 32, batch: 2, "
        "stages: {pretrain: {steps: 2, rate: 1e-3}}}"
    )
    out = tmp_path / "run"
    assert (
        main(["train", str(photos), "--config", str(recipe), "--out", str(out), "--stages.pretrain.steps=3"])
        == 0
    )
    assert load_generator(out / "pretrain.safetensors").info["steps"] == 3


def test_evaluate_writes_the_documented_json(tmp_path, capsys, photos, weights):
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
    assert "nope" in fails(capsys, 2, "evaluate", "bicubic", photos, "--lpips", "st-lpips-vgg,nope")


def test_upscale_a_file_and_a_folder(tmp_path, photos, weights):
    source = photos / "coffee_1.png"
    assert main(["upscale", str(source), "-o", str(tmp_path / "one.webp"), "-w", str(weights)]) == 0
    assert read_image(tmp_path / "one.webp").shape == (97 * 4, 110 * 4, 3)
    assert (
        main(["upscale", str(photos), "-o", str(tmp_path / "all"), "--weights", str(weights), "--tile", "40"])
        == 0
    )
    assert sorted(p.name for p in (tmp_path / "all").glob("[!.]*")) == sorted(
        p.name for p in photos.iterdir()
    )
    whole = srkd.upscale(str(source), str(tmp_path / "whole.png"), weights=str(weights), tile=0)[0]
    difference = read_image(whole).astype(int) - read_image(tmp_path / "all" / source.name)
    assert abs(difference).max() <= 1


def test_an_onnx_file_upscales_without_torch(tmp_path, photos, weights):
    onnx = srkd.export(str(weights), out=str(tmp_path / "tiny.onnx"))
    words = ["upscale", str(photos / "coffee_0.png"), "-o", str(tmp_path / "x.png"), "-w", str(onnx)]
    out = python(f"import sys; from srkd.cli import main; print(main({words}), 'torch' in sys.modules)")
    assert out.endswith("0 False\n")


def test_export_safetensors_for_other_programs(tmp_path, weights):
    path = srkd.export(str(weights), format="safetensors", out=str(tmp_path / "w.safetensors"))
    a, b = (load_generator(p).state_dict() for p in (path, weights))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_orientation_gray_and_sixteen_bit_are_read(tmp_path):
    image = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(5, 12))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").shape == (12, 5, 3)
    Image.fromarray((np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)).save(tmp_path / "deep.png")
    deep = read_image(tmp_path / "deep.png")
    assert deep.dtype == np.uint8 and deep.max() == round(63000 / 257)


# Mistakes.


def test_unknown_command_and_options(capsys, photos):
    assert "choose from: quickstart" in fails(capsys, 2, "upscail", "x")
    assert "--sead" in fails(capsys, 2, "train", photos, "--sead", "3")
    assert "gan2gan" in fails(capsys, 2, "distill", photos, "--strategy", "gan2x")
    assert "seed" in fails(capsys, 2, "train", photos, "--seed", "many")
    assert "data" in fails(capsys, 2, "evaluate", "bicubic")
    assert "st-lpips-vgg" in fails(capsys, 2, "evaluate", "bicubic", photos, "--lpips", "nope")
    assert "--format: Expected one of 'onnx', 'safetensors'" in fails(
        capsys, 2, "export", "x", "--format", "y"
    )
    assert main([]) == 2


def test_wrong_paths(capsys, tmp_path, photos, weights):
    empty = tmp_path / "empty"
    empty.mkdir()
    file = photos / "coffee_0.png"
    assert "no folder" in fails(capsys, 2, "evaluate", "bicubic", "--data", tmp_path / "nowhere")
    assert "no images" in fails(capsys, 2, "evaluate", "bicubic", "--data", empty)
    assert "is a file" in fails(capsys, 2, "evaluate", "bicubic", "--data", file)
    assert "no weights file" in fails(capsys, 2, "evaluate", "nothing.safetensors", "--data", photos)
    assert "no folder" in fails(capsys, 2, "train", tmp_path / "nowhere", "--out", tmp_path / "r")
    assert "no images" in fails(capsys, 2, "train", empty, "--out", tmp_path / "r")
    assert "no image or folder" in fails(
        capsys, 2, "upscale", tmp_path / "no.png", "-o", tmp_path / "x.png", "-w", weights
    )
    assert "no weights file" in fails(capsys, 2, "export", tmp_path / "no.safetensors")
    assert "no recipe" in fails(capsys, 2, "train", photos, "--config", "no.yaml")
    assert "not an empty folder" in fails(capsys, 2, "quickstart", photos)
    assert not (tmp_path / "r").exists() and not (tmp_path / "x.png").exists()


def test_text_named_png(capsys, tmp_path, photos, weights):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.png").write_text("not a picture")
    (folder / "cut.png").write_bytes((photos / "coffee_0.png").read_bytes()[:2000])
    assert "broken.png is not an image" in fails(capsys, 1, "evaluate", weights, "--data", folder)
    error = fails(capsys, 1, "train", folder, "--out", tmp_path / "run", "--crop", "32", "--steps", "1")
    assert "broken.png" in error and "1 more" in error and "--skip_bad" in error
    arguments = [
        "--out",
        tmp_path / "run",
        "--crop",
        "32",
        "--batch",
        "2",
        "--steps",
        "1",
        "--strategy",
        "pretrain",
    ]
    assert main([str(w) for w in ["train", folder, "--model", "srgan_tiny", "--skip_bad", *arguments]]) == 0
    assert "left out" in capsys.readouterr().out
    error = fails(capsys, 1, "upscale", folder, "-o", tmp_path / "out", "-w", weights)
    assert "2 of 8 images failed" in error and "broken.png" in error and "cut.png" in error
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 6


def test_images_smaller_than_a_crop(capsys, tmp_path, photos):
    error = fails(capsys, 2, "train", photos, "--out", tmp_path / "run", "--crop", "200")
    assert "smaller than a crop of 200" in error


def test_pairs_that_do_not_belong_together(capsys, tmp_path, photos):
    for name in ("HR", "LR"):
        (tmp_path / name).mkdir()
    image = read_image(photos / "coffee_0.png")
    write_image(tmp_path / "HR" / "a.png", image)
    assert "no images" in fails(capsys, 2, "evaluate", "bicubic", "--data", tmp_path)
    write_image(tmp_path / "LR" / "b.png", image)
    assert "no image named a" in fails(capsys, 2, "evaluate", "bicubic", "--data", tmp_path)
    (tmp_path / "LR" / "b.png").rename(tmp_path / "LR" / "a.png")
    assert "is the scale right?" in fails(capsys, 2, "evaluate", "bicubic", "--data", tmp_path)
    write_image(tmp_path / "LR" / "a.png", resample.downscale(image, 3))
    assert "1/4" in fails(capsys, 2, "evaluate", "bicubic", "--data", tmp_path)
    assert main(["evaluate", "bicubic", "--data", str(tmp_path), "--scale", "3", "--lpips", "none"]) == 0


def test_weights_that_are_none(capsys, tmp_path, photos, weights):
    """A pickle that would run code, by either name; text; a discriminator; a cut file."""

    class Bomb:
        def __reduce__(self):
            return (print, ("executed",))

    for name in ("bomb.pth", "bomb.safetensors"):
        torch.save({"body.0.weight": Bomb()}, tmp_path / name)
        error = fails(capsys, 1, "evaluate", tmp_path / name, "--data", photos)
        assert name in error
    (tmp_path / "text.safetensors").write_text("hello")
    assert "not a safetensors file" in fails(capsys, 1, "export", tmp_path / "text.safetensors")
    (tmp_path / "text.onnx").write_text("hello")
    assert "not an ONNX model" in fails(
        capsys, 1, "upscale", photos, "-o", tmp_path / "o", "-w", tmp_path / "text.onnx"
    )
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in fails(capsys, 1, "evaluate", tmp_path / "cut.safetensors", "--data", photos)
    assert "executed" not in capsys.readouterr().out


def test_a_discriminator_is_no_generator(capsys, photos, teacher):
    path = teacher / "gan_discriminator.safetensors"
    assert "holds a discriminator" in fails(capsys, 2, "evaluate", path, "--data", photos)


def test_unknown_keys_in_a_recipe(capsys, tmp_path, photos):
    recipe = tmp_path / "r.yaml"
    for text, message in (
        ("sed: 3", "unknown key 'sed'"),
        ("stages: {gan: {losses: {l1: {wait: 1}}}}", "unknown key 'wait'"),
        ("- a\n- b", "must be a mapping"),
        ("a: [", "not valid YAML"),
        ("stages: 3", "stages"),
    ):
        recipe.write_text(text)
        assert message in fails(capsys, 2, "train", photos, "--config", recipe, "--out", tmp_path / "run")


def test_outputs_that_exist_or_cannot_be(capsys, tmp_path, photos, weights):
    source, target = photos / "coffee_0.png", tmp_path / "x.png"
    target.write_bytes(b"precious")
    assert "--overwrite" in fails(capsys, 2, "upscale", source, "-o", target, "-w", weights)
    assert target.read_bytes() == b"precious"
    assert main(["upscale", str(source), "-o", str(target), "-w", str(weights), "--overwrite"]) == 0
    assert "give -o a folder" in fails(capsys, 2, "upscale", photos, "-o", target, "-w", weights)
    assert "must end in one of .png" in fails(
        capsys, 2, "upscale", source, "-o", tmp_path / "x.gif", "-w", weights
    )
    assert "does not end in .onnx" in fails(capsys, 2, "export", weights, "--out", tmp_path / "x.bin")
    assert "another --out" in fails(capsys, 2, "export", weights, "--format", "safetensors")


def test_a_full_disk_keeps_the_old_file(tmp_path, photos, weights):
    """No file may grow beyond 2 kB."""
    source = str(photos / "coffee_0.png")
    for words, target in (
        (["upscale", source, "-w", str(weights), "--overwrite", "-o"], "x.png"),
        (["export", str(weights), "--out"], "x.onnx"),
        (["export", str(weights), "--format", "safetensors", "--out"], "x.safetensors"),
        (["evaluate", "bicubic", str(photos), "--lpips", "none", "--json"], "x.json"),
    ):
        (tmp_path / target).write_bytes(b"precious")
        code, error = on_full_disk([*words, str(tmp_path / target)], 300 if target == "x.json" else 2000)
        assert code == 1 and error.count("\n") == 1 and "cannot write" in error, error
        assert (tmp_path / target).read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 4


def test_scores_of_images_too_small_name_the_image(tmp_path):
    write_image(tmp_path / "dot.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UsageError, match=r"dot\.png"):
        srkd.evaluate("bicubic", str(tmp_path))


def test_no_network_says_so(monkeypatch, tmp_path):
    """With no cached trunk and no way to fetch one, the message names the mend."""
    import urllib.request

    from srkd.perceptual import load_lpips, load_trunk

    def unreachable(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(SrkdError, match="st-lpips-alex"):
        load_lpips("lpips-alex")
    with pytest.raises(SrkdError, match="use the trunk st-vgg"):
        load_trunk("vgg19")


def test_vgg19_reads_torchvisions_file(monkeypatch, tmp_path):
    """With the file in torch's cache, as a user with a network has it, its features are torchvision's."""
    from torchvision.models import VGG19_Weights, vgg19

    from srkd.perceptual import load_trunk

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    reference = vgg19(weights=None).eval()
    name = VGG19_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(reference.state_dict(), tmp_path / "hub" / "checkpoints" / name)
    # The published file's name carries its hash, which random weights cannot have.
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        _unchecked(tmp_path / "hub" / "checkpoints" / name),
    )
    features = load_trunk("vgg19", ["conv5_4", "relu2_2"])(torch.full((1, 3, 32, 32), 0.5))
    image = (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    image = image.view(1, 3, 1, 1).expand(1, 3, 32, 32)
    torch.testing.assert_close(features["conv5_4"], reference.features[:35](image))
    torch.testing.assert_close(features["relu2_2"], reference.features[:9](image))


def _unchecked(path):
    return lambda *_args, **_kwargs: torch.load(path, weights_only=True)


def test_models_lists_every_named_size(capsys):
    assert main(["models", "--scale", "2"]) == 0
    shown = capsys.readouterr().out
    assert all(
        row in shown for row in ("srgan_teacher", "srgan_student_lite", "compact_m", "receptive field")
    )
    assert "scale" in fails(capsys, 2, "models", "--scale", "5")
