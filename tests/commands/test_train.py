"""`srkd train`."""

import signal

import torch
from conftest import TINY

import srkd
from srkd import load_generator
from srkd.cli import main


def test_training_by_recipe_from_the_command_line(tmp_path, photos):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "{model: srgan_tiny, strategy: pretrain, crop: 32, batch: 2, "
        "stages: {pretrain: {steps: 2, rate: 1e-3}}}"
    )
    out = tmp_path / "run"
    words = ["train", str(photos), "--config", str(recipe), "--out", str(out), "--seed", "3"]
    assert main(words) == 0
    info = load_generator(out / "pretrain.safetensors").info
    assert info["steps"] == 2 and info["seed"] == 3


def test_images_smaller_than_a_crop(fails, tmp_path, photos):
    error = fails(2, "train", photos, "--out", tmp_path / "run", "--crop", "200")
    assert "smaller than a crop of 200" in error


def test_it_reports_progress_and_can_be_silent(photos, tmp_path, capsys):
    seen = []

    def progress(description, done, total):
        seen.append((description, done, total))

    options = {**TINY, "steps": 4, "verbose": False, "progress": progress}
    result = srkd.train(photos, strategy="pretrain", out=tmp_path / "run", **options)
    assert capsys.readouterr().out == ""
    assert [entry for entry in seen if entry[0] == "pretrain"] == [("pretrain", k, 4) for k in (1, 2, 3, 4)]
    assert result.folder == tmp_path / "run" and result.weights["pretrain"].is_file()


def test_what_a_run_sets_is_restored(photos, tmp_path):
    threads, handlers = (
        torch.get_num_threads(),
        [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
    )
    srkd.train(photos, strategy="pretrain", out=tmp_path / "run", threads=threads + 1, **TINY, steps=1)
    assert torch.get_num_threads() == threads
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
