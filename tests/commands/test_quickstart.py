"""The quickstart: in miniature, and as it is."""

import json
import re
from dataclasses import replace

import pytest

from srkd import load_generator, quickstart
from srkd.commands import quickstart as quickstart_command
from srkd.images.reading import read_image
from srkd.recipe import Recipe
from srkd.training import run as run_module

MODELS = ["bicubic", "student, pretrained", "control, transfer", "control, fine-tuned"]


def check(folder, strategy):
    """That all is there; gives the scores."""
    scores = json.loads((folder / "scores.json").read_text())
    expected = [*MODELS, f"{strategy}, transfer", f"{strategy}, fine-tuned"]
    assert list(scores["scores"])[:-1] == expected and list(scores["scores"])[-1].startswith("teacher")
    for result in scores["scores"].values():
        assert result["mean"].keys() == {"psnr", "ssim", "st-lpips-alex"} and len(result["images"]) == 3
    page = (folder / "report.html").read_text()
    assert not re.search(r"(src|href)=.(?!data:image/png;base64,)(?!#)", page.replace("xlink:", ""))
    assert page.count("<figure>") == 3 * 6 and "<svg" in page and "validation PSNR" in page
    assert f"{scores['scores']['bicubic']['mean']['psnr']:.2f}" in page
    assert load_generator(folder / "student.safetensors").info["strategy"] == strategy
    assert read_image(folder / "upscaled.png").shape == (300 * 4, 451 * 4, 3)
    assert (folder / "student.onnx").is_file()
    return scores


def test_quickstart_in_miniature(tmp_path, monkeypatch):
    """With the strategy that needs most; the default one runs below as it is."""
    resolve = Recipe.resolve

    def resolve_short(recipe):
        return {name: replace(stage, steps=2, crop=48, batch=2) for name, stage in resolve(recipe).items()}

    monkeypatch.setattr(Recipe, "resolve", resolve_short)
    monkeypatch.setattr(quickstart_command, "list_shipped", dict)
    quickstart(str(tmp_path / "out"), strategy="gan2gan")
    check(tmp_path / "out", "gan2gan")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_quickstart_as_it_is(tmp_path):
    quickstart(str(tmp_path / "out"))
    scores = check(tmp_path / "out", "gan2g")
    means = {name: result["mean"] for name, result in scores["scores"].items()}
    start, student, control = (
        means[name] for name in ("student, pretrained", "gan2g, fine-tuned", "control, fine-tuned")
    )
    # Visibly sharper than its start and than its control, and still far above bicubic.
    assert student["st-lpips-alex"] < min(start["st-lpips-alex"] - 0.03, control["st-lpips-alex"])
    assert student["psnr"] > means["bicubic"]["psnr"] + 0.4


def test_interrupted_it_advises_what_it_has(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        quickstart(tmp_path / "out")
    said = capsys.readouterr().out
    assert "run it again with another --out" in said and "--resume" not in said
