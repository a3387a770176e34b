"""`srkd config`: printed recipes."""

import datetime

import pytest
import yaml
from conftest import same

import srkd
from srkd import UsageError
from srkd.cli import main

NESTED = {"srgan": "gan", "g2g_al": "finetune", "finetune": "finetune", "mutual": "finetune"}


@pytest.mark.parametrize(("strategy", "stage"), NESTED.items())
def test_it_shows_what_would_run(capsys, strategy, stage):
    stages = {stage: {"losses": {"perceptual": {"weight": 7}}, "steps": 5}}
    text = srkd.show_config("photos", strategy=strategy, start="w.safetensors", stages=stages)
    assert capsys.readouterr().out == text
    printed = yaml.safe_load(text)
    assert printed["stages"][stage]["losses"]["perceptual"]["weight"] == 7
    assert printed["stages"][stage]["steps"] == 5 and printed["data"] == "photos"
    assert printed["members"] == (2 if strategy == "mutual" else 1)


def test_it_can_be_silent(capsys):
    assert "strategy: gan2g" in srkd.show_config("photos", strategy="gan2g", verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("words", ["config embedded", "backends", "taps srgan_tiny", "models"])
def test_quiet_commands_still_print_what_was_asked_for(words, capsys):
    """Called from Python with verbose=False they print nothing."""
    assert main(words.split()) == 0
    loud = capsys.readouterr().out
    assert main([*words.split(), "--quiet"]) == 0
    assert capsys.readouterr().out == loud != ""
    srkd.list_backends(verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("strategy", ["finetune", "mutual", "g2g_al"])
def test_a_printed_recipe_runs_the_same(photos, teacher, tmp_path, strategy):
    """Its stages are all there, and what was removed stays removed."""
    verb = {"g2g_al": srkd.distill, "finetune": srkd.finetune, "mutual": srkd.mutual}[strategy]
    options = {"start": teacher / "pretrain.safetensors", "steps": 3, "crop": 32, "batch": 2}
    options |= {"model": "srgan_tiny", "validate_every": 3}
    options["stages"] = {
        "finetune": {"losses": {"l1": None}, "critics": {"hr": {"options": {"channels": 4}}}}
    }
    if strategy == "g2g_al":
        options["teacher"] = teacher / "gan.safetensors"
    printed = tmp_path / "printed.yaml"
    printed.write_text(srkd.show_config(photos, strategy=strategy, **options))
    stage = yaml.safe_load(printed.read_text())["stages"]["finetune"]
    assert stage["steps"] == 3 and stage["losses"]["l1"] is None and stage["losses"]["perceptual"]["weight"]
    verb(photos, out=tmp_path / "a", **options)
    verb(**{**srkd.load_recipe(printed), "out": tmp_path / "b"})
    weights = sorted(path.name for path in (tmp_path / "a").glob("*.safetensors"))
    assert weights and all(same(tmp_path / "a" / name, tmp_path / "b" / name) for name in weights)


IMPOSSIBLE = [
    ({"seed": -1}, "seed must be from 0"),
    ({"seed": 2**64}, "seed must be from 0"),
    ({"seed": "many"}, "seed: expected int, not 'many'"),
    ({"steps": 0}, "steps must be at least 1"),
    ({"clip": float("nan")}, "clip must be positive"),
    ({"device": "abacus"}, "unknown device 'abacus'; choose from: auto, "),
    ({"scale": 5}, "scale must be 2, 3 or 4"),
    ({"compile": "yes"}, "compile: expected true or false"),
    ({"teacher": [1]}, "teacher: expected a text, not 1"),
    ({"sead": 3}, "unknown option 'sead'"),
    ({"stages": {"pretrain": {"rate": float("nan")}}}, "stage pretrain: rate must be positive"),
    ({"stages": {"pretrain": {"final_rate": -1.0}}}, "final_rate must be 0 or more"),
    ({"stages": {"pretrain": {"ema": 2.0}}}, "ema must be from 0 to 1"),
    ({"stages": {"pretrain": {"losses": {"l1": {"weight": float("inf")}}}}}, "weight must be a finite"),
    ({"stages": {"pretrain": {"losses": {"l4": {}}}}}, "unknown loss 'l4'"),
    ({"stages": {"gan": {"critics": {"hr": {"rate": -1.0}}}}}, "critic 'hr': rate must be positive"),
    ({"stages": {"pretrain": {"crop": 33}}}, "multiple of the scale"),
    ({"steps": -5}, "steps must be at least 1, not -5"),
    ({"batch": 0}, "batch must be at least 1, not 0"),
    ({"out": datetime.date(2026, 1, 1)}, "out: expected a text, not datetime.date"),
    ({"stages": {"pretrain": {"rate": float("inf")}}}, "rate must be positive, not inf"),
    ({"model": "srgan_tinny"}, "unknown generator 'srgan_tinny'"),
    ({"model_options": {"channels": -3}}, "generator 'srgan_teacher': channels must be at least 1, not -3"),
    ({"model_options": {"channels": 0}}, "channels must be at least 1, not 0"),
    ({"model_options": {"channels": "many"}}, "channels must be a whole number, not 'many'"),
    ({"model_options": {"channels": True}}, "channels must be a whole number, not True"),
    ({"model_options": {"blocks": -2}}, "blocks must be at least 1, not -2"),
    ({"model_options": {"residual_init": float("nan")}}, "residual_init must be a number, not nan"),
    ({"model_options": {"tail": "long"}}, "tail must be one of paper, lr, not 'long'"),
    ({"model_options": {"width": 3}}, "unknown option 'width'; choose from: channels, blocks"),
    (
        {"stages": {"pretrain": {"losses": {"l1": {"options": {"power": 2}}}}}},
        "loss 'l1': unknown option 'power'; it has none",
    ),
    (
        {"stages": {"pretrain": {"losses": {"grid": {"options": {"window": -1}}}}}},
        "loss 'grid': window must be at least 1, not -1",
    ),
    (
        {"stages": {"pretrain": {"losses": {"hint": {"options": {"depths": [7.0]}}}}}},
        r"depths must lie in \(0, 1\], not 7",
    ),
    (
        {"stages": {"pretrain": {"losses": {"hint": {"options": {"depths": 0.5}}}}}},
        "depths must be a list, each a number or a text, not 0.5",
    ),
    (
        {"stages": {"pretrain": {"losses": {"charbonnier": {"options": {"epsilon": float("nan")}}}}}},
        "epsilon must be a number, not nan",
    ),
    (
        {"stages": {"gan": {"critics": {"hr": {"options": {"channels": -3}}}}}},
        "stage gan: discriminator 'vgg': channels must be at least 1, not -3",
    ),
    ({"stages": {"gan": {"critics": {"hr": {"name": "foo"}}}}}, "unknown discriminator 'foo'"),
    ({"stages": {"gan": {"critics": {"hr": {"options": {"norm": "layer"}}}}}}, "norm must be one of bn"),
    ({"stages": {"gan": {"weight_decay": 0.1}}}, "stage gan: weight_decay goes with optimizer: muon"),
    ({"stages": {"gan": {"kd_replaces": True}}}, "stage gan: kd_replaces takes the weight of"),
    ({"start": "w.safetensors", "model_options": {"channels": 8}}, "model_options go with --model"),
]


@pytest.mark.parametrize(("options", "message"), IMPOSSIBLE)
def test_config_and_training_refuse_the_same_in_one_line(photos, tmp_path, options, message):
    said = set()
    for verb in (srkd.show_config, srkd.estimate, srkd.train):
        with pytest.raises(UsageError, match=message) as caught:
            verb(photos, **{"strategy": "srgan", "out": tmp_path / "run", **options})
        said.add(str(caught.value))
    assert len(said) == 1 and len(said.pop().splitlines()) == 1 and not (tmp_path / "run").exists()


def test_fine_tuning_without_weights_is_refused_by_all():
    for verb in (srkd.show_config, srkd.estimate, srkd.finetune):
        with pytest.raises(UsageError, match="give --start FILE"):
            verb("embedded", strategy="finetune")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "33"}, "unknown precision '33'; choose from: 32-true, bf16-mixed"),
        (
            {"stages": {"finetune": {"losses": {"perceptual": {"options": {"layers": ["x"]}}}}}},
            "of st-vgg 'x'",
        ),
        ({"stages": {"finetune": {"losses": {"perceptual": {"options": {"trunk": "x"}}}}}}, "trunk 'x'"),
        (
            {
                "stages": {
                    "finetune": {"losses": {"concept": {"options": {"trunk": "vgg19", "layer": "pool1"}}}}
                }
            },
            "unknown layer of vgg19 'pool1'",
        ),
    ],
)
def test_what_a_run_would_refuse_is_not_printed(options, message, capsys):
    with pytest.raises(UsageError, match=message):
        srkd.show_config("photos", strategy="g2g_al", **options)
    assert capsys.readouterr().out == ""
