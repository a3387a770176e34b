"""What is validated, saved, and started from is the average of the weights."""

import copy

import pytest
import torch
from conftest import SHORT, read_log
from safetensors.torch import load_file

import srkd
from srkd.training import loop
from srkd.training.state import _average, move
from srkd.training.step import train_step
from srkd.training.validation import validate


def shadow(monkeypatch, ema):
    """By stage, the averages after each step, made by hand, and the weights that the stage began with."""
    averages, starts = {}, {}

    def step_and_average(state, parts, step):
        network = state.members[0].network
        name = id(state)
        if name not in averages:
            averages[name], starts[name] = [], copy.deepcopy(network.state_dict())
        terms = train_step(state, parts, step)
        raw = copy.deepcopy(network.state_dict())
        if averages[name]:
            count = len(averages[name])
            decay, before = min(ema, (1 + count) / (10 + count)), averages[name][-1]
            raw = {key: decay * before[key] + (1 - decay) * value for key, value in raw.items()}
        averages[name].append(raw)
        # Kept alive, so that no other state has its id.
        step_and_average.states.append(state)
        return terms

    step_and_average.states = []
    monkeypatch.setattr(loop, "train_step", step_and_average)
    return averages, starts


def close(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key].contiguous(), value.contiguous(), rtol=1e-4, atol=1e-6)


def test_the_average_is_saved_validated_and_started_from(photos, teacher, tmp_path, monkeypatch):
    averages, starts = shadow(monkeypatch, 0.999)
    validated = []

    def keep(generator, *words):
        score, pictures = validate(generator, *words)
        validated.append((copy.deepcopy(generator.state_dict()), score))
        return score, pictures

    monkeypatch.setattr(loop, "validate", keep)
    stages = {
        name: {"rate": 1e-2, "losses": {"perceptual": None, "l1": {}}} for name in ("transfer", "finetune")
    }
    stages["finetune"]["critics"] = {"hr": {"options": {"channels": 4}}}
    options = {**SHORT, "steps": 12, "validate_every": 4, "save_every": 100, "stages": stages}
    start = teacher / "pretrain.safetensors"
    given = {"teacher": teacher / "gan.safetensors", "start": start, "model": "srgan_tiny"}
    result = srkd.distill(photos, strategy="gan2g", out=tmp_path / "run", **given, **options)
    first, second = averages.values()
    begun = list(starts.values())
    close(begun[0], load_file(start))
    close(begun[1], first[-1])
    assert len(first) == len(second) == 12
    close(load_file(result.weights["transfer"]), first[-1])
    close(load_file(result.weights["finetune"]), second[-1])
    expected = [(stage, step) for stage in (first, second) for step in (3, 7, 11)]
    assert len(validated) == 6
    for (state, _), (stage, step) in zip(validated, expected, strict=True):
        close(state, stage[step])
    logged = [entry["psnr"][0] for entry in read_log(tmp_path / "run") if "psnr" in entry]
    assert logged == pytest.approx([s for _, s in validated], abs=1e-4)
    for name, stage, scores in (("transfer", first, validated[:3]), ("finetune", second, validated[3:])):
        best = max(range(3), key=lambda k: scores[k][1])
        info = srkd.load_generator(tmp_path / "run" / f"{name}_best.safetensors").info
        assert info["steps"] == 4 * (best + 1) and info["psnr"] == scores[best][1]
        close(load_file(tmp_path / "run" / f"{name}_best.safetensors"), stage[4 * best + 3])


def test_averages_move_by_a_share_that_stays_on_its_device():
    averages, values = ([torch.randn(3, 4), torch.randn(5)] for _ in range(2))
    expected = [a.lerp(v, 0.25) for a, v in zip(averages, values, strict=True)]
    move(averages, values, torch.tensor(0.25))
    for found, wanted in zip(averages, expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("count", [1, 50, 10**6])
def test_averages_on_cuda_are_those_of_the_cpu(count):
    start, value = torch.randn(2, 7)
    found = {}
    for device in ("cpu", "cuda"):
        average = start.to(device, copy=True)
        _average(0.999)([average], [value.to(device)], torch.tensor(count, device=device))
        found[device] = average.cpu()
    torch.testing.assert_close(found["cuda"], found["cpu"])
