"""The command line, as someone meets it who makes one mistake after another."""

import functools
import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import run_python
from PIL import Image

import srkd
from srkd.cli import find_commands, main

# One mistake for each command, with the line that it gets; "SEE" is where to read on.
MISTAKES = {
    "compress teacher.pth photos --budget 30ms": "budget '30ms' needs the size of the LR image, as "
    "30ms@320x180",
    "profile kit --size wide": "size 'wide' is not WIDTHxHEIGHT, as 320x180",
    "upscale --quality 1.5 a.png -o b.png": "--quality: '1.5' is not a whole number; SEE",
    "evaluate bicubic": "DATA is missing; SEE",
    "export x --format y": "--format: 'y' is not one of onnx, safetensors, pt2, openvino, ncnn, litert, "
    "coreml, web; SEE",
    "interpolate a": "SECOND is missing; SEE",
    "card w --owt x": "unknown option --owt, did you mean --out?; SEE",
    "train x --seed many": "--seed: 'many' is not a whole number; SEE",
    "distill x --strategy gan2x": "--strategy: 'gan2x' is not one of gan2g, g2g_al, gan2g_al, gan2gan; SEE",
    "finetune": "DATA is missing; SEE",
    "stop": "RUN is missing; SEE",
    "mutual x --critics": "--critics needs a value; SEE",
    "extend a b --rate fast": "--rate: 'fast' is not a number; SEE",
    "compare": "RECIPE is missing; SEE",
    "demo --port x": "--port: 'x' is not a whole number; SEE",
    "critic x": "TEACHER is missing; SEE",
    "degrade a b --draws 1.5": "--draws: '1.5' is not a whole number; SEE",
    "prepare a b c": "unexpected 'c'; SEE",
    "runs a --colour": "unknown option --colour; SEE",
    "estimate x --resume=perhaps": "--resume: 'perhaps' is not one of true, false; SEE",
    "config x --set stages=1": (
        "--set stages=1: give PATH=VALUE, with a PATH below degradation, model_options or stages"
    ),
    "models --scale x": "--scale: 'x' is not a whole number; SEE",
    "taps": "MODEL is missing; SEE",
    "backends all": "unexpected 'all'; SEE",
    "quickstart --seed": "--seed needs a value; SEE",
}
# A verb's options, and what its function is called with.
CALLS = {
    "upscale a b -o out": {"images": ["a", "b"], "out": "out"},
    "upscale a -w z --out=x b": {"images": ["a", "b"], "out": "x", "weights": "z"},
    "upscale -o x -- -dash.png": {"images": ["-dash.png"], "out": "x"},
    "upscale a -o x --tile=auto --tta": {"images": ["a"], "out": "x", "tile": "auto", "tta": True},
    "upscale a -o x --tile 64 --overwrite false": {
        "images": ["a"],
        "out": "x",
        "tile": 64,
        "overwrite": False,
    },
    "extend a b --rate=-1": {"weights": "a", "data": "b", "rate": -1.0},
    "extend a b --rate -1e-3": {"weights": "a", "data": "b", "rate": -1e-3},
    "card w --data A=a --data B=b_c --quiet": {"weights": "w", "data": ["A=a", "B=b_c"], "verbose": False},
    "train d --steps 1 --steps 2": {"data": "d", "steps": 2},
    "distill d --teacher a --teacher b": {"data": "d", "teacher": ["a", "b"]},
    "train d --save_every 5 --skip_bad": {"data": "d", "save_every": 5, "skip_bad": True},
    "train d --save_every=5 --resume=true": {"data": "d", "save_every": 5, "resume": True},
    "train d --resume true --clip 1": {"data": "d", "resume": True, "clip": 1.0},
    "train d --model-options '{norm: none}'": {"data": "d", "model_options": {"norm": "none"}},
    "train d --set model_options.norm=none": {"data": "d", "model_options": {"norm": "none"}},
    "train d --set stages.gan=null": {"data": "d", "stages": {"gan": None}},
    "train d --stages.gan.steps 7 --stages.gan.rate=1e-3": {
        "data": "d",
        "stages": {"gan": {"steps": 7, "rate": "1e-3"}},
    },
}


@pytest.fixture
def called(monkeypatch):
    """Runs a command whose function only notes its arguments; gives these."""

    def run(*words: str) -> dict:
        given = {}
        module = importlib.import_module(f"srkd.commands.{words[0]}")

        @functools.wraps(getattr(module, words[0]))
        def note(**arguments):
            given.update(arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, words[0], note)
            assert main(words) == 0
        return given

    return run


def test_unknown_commands_and_options(fails):
    assert fails(2, "upscail", "x") == "srkd: unknown command 'upscail'; did you mean upscale?"
    assert fails(2, "zzz") == f"srkd: unknown command 'zzz'; choose from: {', '.join(find_commands())}"
    assert fails(2, "--versio") == "srkd: unknown option '--versio'; did you mean --version?"
    assert "--dry-run is now a command, srkd estimate" in fails(2, "train", "x", "--dry_run")
    assert main([]) == 2


def test_every_command_has_a_mistake_here():
    assert {line.split()[0] for line in MISTAKES} == set(find_commands())


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line(line, fails):
    name = line.split()[0]
    expected = MISTAKES[line].replace("SEE", f"see srkd {name} --help")
    assert fails(2, *line.split()) == f"srkd {name}: {expected}"


@pytest.mark.parametrize("line", CALLS)
def test_options_become_arguments(line, called):
    assert called(*shlex.split(line)) == CALLS[line]


def test_a_recipe_is_weaker_than_options(tmp_path, called, fails):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("data: photos\nsteps: 5\nseed: 3\nstages: {gan: {rate: 1, losses: {l1: null}}}\n")
    words = ["--config", str(recipe)]
    assert called("train", *words)["data"] == "photos"
    given = called("train", "others", *words, "--steps", "7", "--set", "stages.gan.rate=2")
    assert given == {
        "data": "others",
        "steps": 7,
        "seed": 3,
        "stages": {"gan": {"rate": 2, "losses": {"l1": None}}},
    }
    # Also than what the recipe says of single stages, which are all of one that a run has written.
    recipe.write_text("data: photos\nstages: {gan: {steps: 5, crop: 64, rate: 1}, pretrain: null}\n")
    given = called("train", *words, "--steps", "7", "--set", "stages.gan.crop=32")
    assert given["steps"] == 7 and given["stages"] == {"gan": {"crop": 32, "rate": 1}, "pretrain": None}
    recipe.write_text("data: photos\nsteps: 5\nseed: 3\nstages: {gan: {rate: 1, losses: {l1: null}}}\n")
    # The last word on one field has it.
    twice = called("train", *words, "--set=stages.gan.rate=2", "--stages.gan.rate=3")
    assert twice["stages"]["gan"]["rate"] == 3
    recipe.write_text("data: photos\nsead: 3\n")
    error = fails(2, "train", *words)
    assert error.startswith(
        f"srkd train: recipe {recipe}: unknown key 'sead'; choose from: accumulate, allow_changes,"
    )
    assert "quiet" not in error and "config" not in error
    recipe.write_text("strategy: g2g_al\n")
    assert "strategy 'g2g_al' is not one of srgan, pretrain, extend" in fails(2, "train", "x", *words)
    recipe.write_text("seed: 3\n")
    assert fails(2, "train", *words) == "srkd train: DATA is missing; see srkd train --help"


def test_bad_overrides(fails, photos):
    assert "give PATH=VALUE" in fails(2, "train", photos, "--set", "seed=3")
    assert "unknown stage 'nope'" in fails(2, "train", photos, "--set", "stages.nope.steps=3")
    assert "--set stages.gan: '{' is not valid YAML" in fails(2, "train", photos, "--set", "stages.gan={")
    assert "--stages.gan needs a value" in fails(2, "train", photos, "--stages.gan")
    assert "--model-options: '{' is not valid YAML" in fails(2, "train", photos, "--model-options", "{")


def test_wrong_paths(fails, tmp_path, photos, weights):
    empty = tmp_path / "empty"
    empty.mkdir()
    file = photos / "coffee_0.png"
    assert "no folder" in fails(2, "evaluate", "bicubic", "--data", tmp_path / "nowhere")
    assert "no images" in fails(2, "evaluate", "bicubic", "--data", empty)
    assert "is a file" in fails(2, "evaluate", "bicubic", "--data", file)
    assert "no weights file" in fails(2, "evaluate", "nothing.safetensors", "--data", photos)
    assert "st-lpips-vgg" in fails(2, "evaluate", "bicubic", photos, "--lpips", "nope")
    assert "no folder" in fails(2, "train", tmp_path / "nowhere", "--out", tmp_path / "r")
    assert "no images" in fails(2, "train", empty, "--out", tmp_path / "r")
    assert "no image or folder" in fails(
        2, "upscale", tmp_path / "no.png", "-o", tmp_path / "x.png", "-w", weights
    )
    assert "no weights file" in fails(2, "export", tmp_path / "no.safetensors")
    assert "no recipe" in fails(2, "train", photos, "--config", "no.yaml")
    assert "is not empty" in fails(2, "quickstart", photos)
    assert not (tmp_path / "r").exists() and not (tmp_path / "x.png").exists()


def test_text_named_png(capsys, tmp_path, photos, weights, fails):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.png").write_text("not a picture")
    (folder / "cut.png").write_bytes((photos / "coffee_0.png").read_bytes()[:2000])
    assert "broken.png is not an image" in fails(1, "evaluate", weights, "--data", folder)
    error = fails(1, "train", folder, "--out", tmp_path / "run", "--crop", "32", "--steps", "1")
    assert "broken.png" in error and "1 more" in error and "--skip" in error
    words = ["train", folder, "--strategy", "pretrain", "--model", "srgan_tiny", "--out", tmp_path / "run"]
    words += ["--crop", "32", "--batch", "2", "--steps", "1", "--skip-bad"]
    assert main([str(word) for word in words]) == 0
    assert "left out" in capsys.readouterr().out
    error = fails(1, "upscale", folder, "-o", tmp_path / "out", "-w", weights)
    assert "2 of 8 images failed" in error and "broken.png" in error and "cut.png" in error
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 6


def test_a_full_disk_keeps_the_old_file(tmp_path, photos, weights, on_full_disk):
    source = photos / "coffee_0.png"
    for words, target in (
        (["upscale", source, "-w", weights, "--overwrite", "-o"], "x.png"),
        (["export", weights, "--out"], "x.onnx"),
        (["export", weights, "--format", "safetensors", "--out"], "x.safetensors"),
        (["evaluate", "bicubic", photos, "--lpips", "none", "--json"], "x.json"),
    ):
        (tmp_path / target).write_bytes(b"precious")
        error = on_full_disk(300 if target == "x.json" else 2000, *words, tmp_path / target)
        assert "cannot write" in error
        assert (tmp_path / target).read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 4


def test_a_reader_that_leaves_is_no_error():
    # The pipe's reading end is closed before anything is written.
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "srkd", "--help"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.stderr == ""


def test_ctrl_c(monkeypatch, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr("srkd.commands.backends.list_backends", interrupt)
    assert main(["backends"]) == 130
    assert capsys.readouterr().err == "srkd backends: interrupted\n"


def test_of_several_processes_the_first_complains_of_misuse(monkeypatch, capsys):
    def fail():
        raise srkd.SrkdError("the disk is full")

    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["train"]) == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("srkd.commands.backends.list_backends", fail)
    assert main(["backends"]) == 1
    assert capsys.readouterr().err == "process 1: srkd backends: the disk is full\n"


@pytest.mark.parametrize(
    ("package", "extra"),
    [("torch", "train"), ("skimage", "train"), ("openvino", "openvino"), ("pnnx", "ncnn")],
)
def test_a_missing_package_is_named_with_its_extra(package, extra):
    program = f"""
import sys
from pathlib import Path
import srkd.cli, srkd.commands.backends as backends
# As if it were not installed.
sys.modules[{package!r}] = None
def list_backends():
    import {package}.nn
backends.list_backends = list_backends
sys.stderr = sys.stdout
print(srkd.cli.main(["backends"]))
"""
    assert run_python(program) == f"srkd backends needs {package}: pip install 'srkd[{extra}]'\n2\n"


def test_a_missing_module_of_our_own_stays_a_traceback(monkeypatch):
    def list_backends():
        importlib.import_module("srkd.nothing")

    monkeypatch.setattr("srkd.commands.backends.list_backends", list_backends)
    with pytest.raises(ModuleNotFoundError, match=r"srkd\.nothing"):
        main(["backends"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, tmp_path, monkeypatch, capsys, fails):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--install-completion", shell]) == 0
    assert "completion installed" in capsys.readouterr().out
    scripts = [path for path in tmp_path.rglob("*srkd*") if path.is_file()]
    assert len(scripts) == 1
    script = scripts[0].read_text()
    assert "interpolate" in script and "teacher-discriminator" in script
    assert "bash, zsh or fish" in fails(2, "--install-completion", "nosh")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_signs_is_no_failure(tmp_path, encoding):
    """Tables, help and names with signs that it does not have."""
    (tmp_path / "\u6771\u4eac").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "\u6771\u4eac" / "a\u2265.png")
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "PYTHONPATH": str(Path(srkd.__file__).parents[1]),
    }
    for words in (
        ["evaluate", "bicubic", "\u6771\u4eac", "--lpips", "none"],
        ["evaluate", "--help"],
        ["models"],
        ["upscale", "\u6771\u4eac", "-o", "out", "-w", "bicubic"],
    ):
        command = [sys.executable, "-m", "srkd", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
        done.stdout.decode(encoding)
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["a\u2265.png"]
