"""Every strategy, on small photographs."""

import json

import pytest
import torch
from conftest import CRITIC, SHORT, read_log, run_strategy, same, small_critics
from safetensors.torch import load_file

import srkd
from srkd import create_generator, load_generator
from srkd.strategies import STRATEGIES

TRANSFERS = [name for name, strategy in STRATEGIES.items() if strategy.teacher]


@pytest.mark.parametrize("strategy", TRANSFERS)
def test_every_strategy_runs_to_its_end(photos, teacher, tmp_path, strategy):
    # Of the GAN-trained file for all: the pretrained one is the student's own start.
    gan = str(teacher / "gan.safetensors")
    result = run_strategy(photos, teacher, tmp_path / "run", strategy, teacher=gan, steps=8)
    assert list(result.weights) == ["transfer", "finetune"]
    for weights in result.weights.values():
        model = load_generator(weights)
        assert model.info["strategy"] == strategy and all(p.isfinite().all() for p in model.parameters())
        assert not same(weights, teacher / "pretrain.safetensors")
    assert (result.folder / "finetune_discriminator.safetensors").is_file()
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert {entry["stage"] for entry in log} == {"transfer", "finetune"}
    assert len(list((result.folder / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize(("members", "critics"), [(2, 1), (3, 1), (1, 2), (1, 3)])
def test_mutual_cohorts_of_both_forms(photos, teacher, tmp_path, members, critics):
    result = run_strategy(photos, teacher, tmp_path / "run", "mutual", members=members, critics=critics)
    found = sorted(path.name for path in result.folder.glob("*_discriminator*.safetensors"))
    assert len(found) == members * critics
    states = [load_file(result.folder / name) for name in found]
    assert not any(
        torch.equal(a["features.0.0.weight"], b["features.0.0.weight"])
        for k, a in enumerate(states)
        for b in states[:k]
    )
    entry = json.loads((result.folder / "log.jsonl").read_text().splitlines()[0])
    assert any("mutual" in name for name in entry["losses"])
    apart = [value for name, value in entry["losses"].items() if "disagreement" in name]
    assert len(apart) == members and min(apart) > 0


def test_a_control_is_its_strategy_without_the_teacher(photos, teacher, tmp_path):
    """Removing the teacher's terms by hand gives the control bit for bit."""
    control = run_strategy(photos, teacher, tmp_path / "control", "gan2g_al", control=True)
    stages = small_critics("gan2g_al")
    stages["transfer"]["losses"] = {"output": None}
    by_hand = run_strategy(photos, teacher, tmp_path / "by_hand", "gan2g_al", stages=stages)
    distilled = run_strategy(photos, teacher, tmp_path / "distilled", "gan2g_al")
    for stage in ("transfer", "finetune"):
        assert same(control.weights[stage], by_hand.weights[stage])
        assert not same(control.weights[stage], distilled.weights[stage])


@pytest.mark.parametrize("tail", ["paper", "lr"])
def test_a_trunk_can_be_started_from_under_another_tail(photos, tmp_path, capsys, tail):
    """All but the tail is that of the start's; the tail is that of a new model."""
    torch.manual_seed(5)
    given = create_generator("srgan_tiny", tail="lr")
    start = srkd.save_generator(given, tmp_path / "start.safetensors")
    options = {"model": "srgan_tiny", "model_options": {"tail": tail}, "start": str(start), "batch": 2}
    stages = {"pretrain": {"steps": 1, "rate": 1e-12, "crop": 32}}
    srkd.train(str(photos), strategy="pretrain", out=str(tmp_path / "run"), stages=stages, **options)
    found = srkd.load_generator(tmp_path / "run" / "pretrain.safetensors").state_dict()
    for key, value in given.state_dict().items():
        if tail == "lr" or not key.startswith("tail."):
            torch.testing.assert_close(found[key], value)
    assert ("has another tail than srgan_tiny" in capsys.readouterr().out) == (tail == "paper")
    assert ("tail.2.weight" in found) == (tail == "paper")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_strategy_runs_on_the_gpu(photos, teacher, tmp_path):
    result = run_strategy(photos, teacher, tmp_path / "run", "gan2gan", device="cuda", precision="16-mixed")
    assert all(p.isfinite().all() for p in load_generator(result.weights["finetune"]).parameters())


@pytest.mark.parametrize("name", ["unet", "patch"])
@pytest.mark.parametrize("gan", ["vanilla", "hinge", "relativistic"])
def test_every_discriminator_trains_with_r1(photos, teacher, tmp_path, name, gan):
    options = {"name": name, "gan": gan, "r1": 1.0, "r1_every": 2, "ramp": 0.5, "options": {"channels": 4}}
    start = str(teacher / "pretrain.safetensors")
    stages = {"finetune": {"critics": {"hr": {**options}}}}
    result = srkd.finetune(
        str(photos), start=start, out=str(tmp_path), stages=stages, **{**SHORT, "steps": 4}
    )
    assert "r1_hr" in {k for e in read_log(tmp_path) for k in e.get("losses", {})}
    assert load_generator(result.weights["finetune"]).info["objective"] == "gan"


def test_weights_say_who_taught_them_in_earlier_stages_too(photos, teacher, tmp_path):
    options = {"teacher": str(teacher / "pretrain.safetensors"), "degradation": "real", "model": "srgan_tiny"}
    stages = {"finetune": {"critics": {"hr": CRITIC}}}
    stages["transfer"] = {"kd_replaces": True, "losses": {"output": {"weight": 0.5}}}
    options |= {"stages": stages, **SHORT, "steps": 2}
    result = srkd.distill(str(photos), strategy="g2g_al", out=str(tmp_path), **options)
    info = {name: load_generator(path).info for name, path in result.weights.items()}
    assert info["pretrain"]["teacher"] is None
    assert (
        info["transfer"]["teacher"] == info["finetune"]["teacher"]
        and "pretrain@" in info["finetune"]["teacher"]
    )
    assert info["finetune"]["degradation"] == "real"
    # So it does of the losses against HR having given way.
    replaced = {name: facts["kd_replaces"] for name, facts in info.items()}
    assert replaced == {"pretrain": False, "transfer": True, "finetune": True}


@pytest.mark.parametrize(
    ("losses", "objective"), [({}, "psnr"), ({"lpips": {"weight": 0.1}}, "perceptual")], ids=["l1", "lpips"]
)
def test_weights_say_what_they_were_trained_for(photos, tmp_path, losses, objective):
    """`srkd compress` takes a teacher for what its file says."""
    options = {"model": "srgan_tiny", **SHORT, "steps": 1, "stages": {"pretrain": {"losses": losses}}}
    result = srkd.train(str(photos), strategy="pretrain", out=str(tmp_path), **options)
    assert load_generator(result.weights["pretrain"]).info["objective"] == objective
