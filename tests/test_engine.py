"""What a long run must survive and tell: kills, faults, several processes, other precisions, its own logs."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SHORT
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from safetensors.torch import load_file
from test_training import CRITIC, batch, critic, make_state, make_teacher, same

import srkd
from srkd import SrkdError, UsageError, load_generator
from srkd.cli import main
from srkd.strategies import Loss, Stage
from srkd.training import fit
from srkd.training.guards import Watch
from srkd.training.logs import RunLog
from srkd.training.state import build_state, term_weights
from srkd.training.step import NotFinite, critic_terms, detached, look, train_step

GAN = {"gan": {"critics": {"hr": CRITIC}}}
TINY = {"model": "srgan_tiny", "crop": 32, "batch": 2}


def pretrain(photos, out, **options):
    options = {**TINY, "strategy": "pretrain", "steps": 12, "validate_every": 4, "save_every": 3, **options}
    return srkd.train(str(photos), out=str(out), **options)


def log_of(folder):
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k != "steps_per_second"} for entry in entries]


def command(data, out, *words):
    start = [sys.executable, "-m", "srkd", "train", str(data), "--out", str(out), "--model", "srgan_tiny"]
    return [*start, "--crop", "32", "--batch", "2", "--threads", "1", *map(str, words)]


# Going on.


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_killed_twenty_times_ends_as_an_undisturbed_one(photos, tmp_path):
    """SIGKILL, and now and then SIGTERM, at random moments of real processes, in both stages."""
    srkd.prepare(str(photos), str(tmp_path / "data"))
    words = ["--stages.pretrain.steps", 350, "--stages.gan.steps", 250, "--save_every", 20]
    words += ["--validate_every", 50, "--stages.gan.critics.hr.options.channels", 4]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(tmp_path / "data", whole, *words), check=True, stdout=subprocess.DEVNULL)
    dice, kills = random.Random(1), []

    def newest():
        return max((path.name for path in cut.glob("checkpoints/*.pt")), default="")

    while True:
        before = newest()
        process = subprocess.Popen(
            command(tmp_path / "data", cut, *words, "--resume"), stdout=subprocess.DEVNULL
        )
        if len(kills) == 20:
            break
        # At times even before it has got anywhere.
        patience = time.monotonic() + (1e9 if dice.random() < 0.9 else dice.uniform(0, 6))
        while process.poll() is None and newest() == before and time.monotonic() < patience:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.25))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGTERM if dice.random() < 0.2 else signal.SIGKILL)
        process.wait(60)
        kills.append(newest()[:2])
    assert process.wait() == 0 and len(kills) == 20 and {"00", "01"} <= set(kills), kills
    names = sorted(path.name for path in whole.glob("*.safetensors"))
    assert names == sorted(path.name for path in cut.glob("*.safetensors")) and len(names) == 5
    for name in names:
        assert same(whole / name, cut / name), name
    assert log_of(cut) == log_of(whole)
    assert (
        json.loads((cut / "run.json").read_text())["best"]
        == json.loads((whole / "run.json").read_text())["best"]
    )


def stop_at(monkeypatch, step, action):
    """Does something in place of the step of that number, once."""
    calls = iter(range(10_000))

    def step_or_act(*args):
        if next(calls) == step:
            action()
        return train_step(*args)

    monkeypatch.setattr(fit, "train_step", step_or_act)


def kill(*_):
    raise MemoryError("as if killed")


def test_the_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over(
    photos, tmp_path, monkeypatch, capsys
):
    whole = pretrain(photos, tmp_path / "whole")
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "cut")
    found = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir())
    assert found == ["00_pretrain_000000006.pt", "00_pretrain_000000009.pt"]
    newest = tmp_path / "cut" / "checkpoints" / found[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = pretrain(photos, tmp_path / "cut", resume=True)
    said = capsys.readouterr().out
    assert "000000009.pt is damaged" in said and "resuming pretrain at step 6" in said
    assert same(whole.weights["pretrain"], resumed.weights["pretrain"])
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")


def test_a_run_without_a_checkpoint_begins_anew_and_a_finished_one_is_left(
    photos, tmp_path, monkeypatch, capsys
):
    stop_at(monkeypatch, 1, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    whole = pretrain(photos, tmp_path / "whole")
    again = pretrain(photos, tmp_path / "run", resume=True)
    assert "begins anew" in capsys.readouterr().out
    assert same(whole.weights["pretrain"], again.weights["pretrain"])
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")
    with pytest.raises(UsageError, match="is finished"):
        pretrain(photos, tmp_path / "run", resume=True)


def test_a_changed_recipe_is_refused_with_its_keys_or_allowed(photos, tmp_path, monkeypatch, capsys):
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    with pytest.raises(UsageError, match=r"steps was 12, now 20.*seed was 0, now 3.*--allow_changes"):
        pretrain(photos, tmp_path / "run", resume=True, steps=20, seed=3)
    # Where it runs, and how often it reports, is no part of what it comes to.
    result = pretrain(
        photos, tmp_path / "run", resume=True, allow_changes=True, steps=20, save_every=7, threads=1
    )
    assert "changed since the run was begun: steps was 12, now 20" in capsys.readouterr().out
    assert load_generator(result.weights["pretrain"]).info["steps"] == 20


def test_a_changed_rate_or_optimizer_takes_hold(photos, tmp_path, monkeypatch, capsys):
    """They are the stage's, not the checkpoint's."""

    def go(calls, **stage):
        stop_at(monkeypatch, calls, kill)
        again = {"resume": True, "allow_changes": True} if (tmp_path / "run").exists() else {}
        pretrain(photos, tmp_path / "run", steps=24, stages={"pretrain": stage}, **again)

    with pytest.raises(MemoryError):
        go(10, rate=1e-3, optimizer="adam")
    with pytest.raises(MemoryError):
        go(5, rate=4e-3, optimizer="adam")
    assert max(entry["rates"]["generators"] for entry in log_of(tmp_path / "run") if "rates" in entry) > 1e-3
    assert "begins anew" not in capsys.readouterr().out
    go(100, rate=4e-3, optimizer="muon")
    assert "muon begins anew, after adam" in capsys.readouterr().out


def test_another_architecture_cannot_be_allowed(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    with pytest.raises(UsageError, match="does not fit the recipe's networks"):
        pretrain(photos, tmp_path / "run", resume=True, allow_changes=True, model="compact_s")


def test_a_stage_may_leave_the_recipe_but_not_the_one_a_run_is_in(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 12 + 5, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run", strategy="srgan", stages=GAN)
    options = {"strategy": "srgan", "resume": True, "allow_changes": True}
    before = log_of(tmp_path / "run")
    with pytest.raises(UsageError, match="is in its stage 'gan', which this recipe has not"):
        pretrain(photos, tmp_path / "run", stages={"gan": None}, **options)
    result = pretrain(photos, tmp_path / "run", stages={**GAN, "pretrain": None}, **options)
    assert list(result.weights) == ["gan"]
    found = log_of(tmp_path / "run")
    assert [e for e in found if e["stage"] == "pretrain"] == [e for e in before if e["stage"] == "pretrain"]
    assert [e["step"] for e in found if e["stage"] == "gan" and "losses" in e] == list(range(1, 13))


def test_a_log_goes_back_by_place(tmp_path):
    """Stages that no recipe knows, before and after the one that goes on; and a line cut within."""
    lines = [
        {"stage": s, "step": n} for s, n in (("old", 9), ("now", 1), ("now", 2), ("now", 3), ("late", 1))
    ]
    lines.insert(4, {"stage": "now", "step": 3, "note": "went back"})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "log.jsonl").write_text(text + '{"stage": "late", "losses": {"l1": 0.1}')
    log = RunLog(tmp_path, "pretrain")
    log.rewind("now", 2, notes=True)
    assert [(e["stage"], e["step"]) for e in log_of(tmp_path)] == [
        ("old", 9),
        ("now", 1),
        ("now", 2),
        ("now", 3),
    ]
    log.begin("now", 2)
    assert [e["step"] for e in log_of(tmp_path)] == [9, 1, 2]
    log.begin()
    assert log_of(tmp_path) == []


def test_changed_data_is_refused(photos, tmp_path, monkeypatch):
    folder = shutil.copytree(photos, tmp_path / "folder")
    stop_at(monkeypatch, 10, kill)
    with pytest.raises(MemoryError):
        pretrain(folder, tmp_path / "run")
    sorted(folder.iterdir())[-1].unlink()
    with pytest.raises(UsageError, match="not those that the run"):
        pretrain(folder, tmp_path / "run", resume=True)


def test_data_that_changes_under_a_run_ends_it(photos, tmp_path, monkeypatch):
    packed = tmp_path / "packed"
    srkd.prepare(str(photos), str(packed))
    stop_at(monkeypatch, 7, lambda: os.truncate(packed / "lr.u8", 10))
    with pytest.raises(SrkdError, match=r"lr\.u8 was changed while training"):
        pretrain(packed, tmp_path / "run")
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def test_two_processes_cannot_train_in_one_folder(photos, tmp_path):
    words = command(photos, tmp_path / "run", "--strategy", "pretrain", "--steps", 100_000)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "run" / "run.json").exists():
            time.sleep(0.05)
        with pytest.raises(UsageError, match="another process is training"):
            pretrain(photos, tmp_path / "run", resume=True)
        assert srkd.list_runs(str(tmp_path))[0]["state"] == "running"
    finally:
        process.kill()
        process.wait()
    assert srkd.list_runs(str(tmp_path))[0]["state"] == "interrupted"


# Guards.


def test_a_step_that_is_not_finite_goes_back_at_half_the_rate(photos, tmp_path, monkeypatch, capsys):
    def fail():
        raise NotFinite("the loss 'l1'")

    stop_at(monkeypatch, 7, fail)
    result = pretrain(photos, tmp_path / "run")
    assert "back to step 6 at 0.5 times the rate" in capsys.readouterr().out
    rates = {
        entry["step"]: entry["rates"]["generators"] for entry in log_of(result.folder) if "rates" in entry
    }
    undisturbed = pretrain(photos, tmp_path / "whole")
    others = {e["step"]: e["rates"]["generators"] for e in log_of(undisturbed.folder) if "rates" in e}
    assert rates[6] == others[6] and rates[9] == pytest.approx(others[9] / 2, rel=1e-3)
    assert any("back to step 6" in entry.get("note", "") for entry in log_of(result.folder))


def test_going_back_leaves_nothing_of_the_steps_that_never_were(photos, tmp_path, monkeypatch):
    """Not in the log, and not as the best weights: validation after step 8 is too good to last."""

    def fail():
        raise NotFinite("the loss 'l1'")

    scores = iter([20.0, 99.0, 21.0, 19.0])
    monkeypatch.setattr(fit, "validate", lambda *_: (next(scores), []))
    stop_at(monkeypatch, 8, fail)
    result = pretrain(photos, tmp_path / "run")
    entries = log_of(result.folder)
    assert [e["step"] for e in entries if "losses" in e] == list(range(1, 13))
    assert [(e["step"], e["psnr"]) for e in entries if "psnr" in e] == [
        (4, [20.0]),
        (8, [21.0]),
        (12, [19.0]),
    ]
    assert sum("back to step 6" in e.get("note", "") for e in entries) == 1
    assert json.loads((result.folder / "run.json").read_text())["best"] == {"pretrain": 21.0}
    best = load_generator(result.folder / "pretrain_best.safetensors").info
    assert (best["psnr"], best["steps"]) == (21.0, 8)


def test_best_weights_appear_with_their_checkpoint(photos, tmp_path, monkeypatch):
    stop_at(monkeypatch, 5, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run")
    assert not (tmp_path / "run" / "pretrain_best.safetensors").exists()
    stop_at(monkeypatch, 4, kill)
    with pytest.raises(MemoryError):
        pretrain(photos, tmp_path / "run", resume=True)
    assert load_generator(tmp_path / "run" / "pretrain_best.safetensors").info["steps"] == 4
    found = json.loads((tmp_path / "run" / "run.json").read_text())
    assert list(found["best"]) == ["pretrain"]


def test_a_batch_that_cannot_be_trained_on_is_saved(photos, tmp_path, monkeypatch):
    calls = []

    def fail(*args):
        calls.append(1)
        if len(calls) > 4:
            raise NotFinite("the gradient of the generators")
        return train_step(*args)

    monkeypatch.setattr(fit, "train_step", fail)
    with pytest.raises(SrkdError, match=r"2 times at falling rates; its batch is in .*failed_batch"):
        pretrain(photos, tmp_path / "run", retries=2)
    saved = load_file(tmp_path / "run" / "failed_batch.safetensors")
    assert saved["lr"].shape == (2, 8, 8, 3) and saved["hr"].shape == (2, 32, 32, 3)
    assert (
        len(calls) == 4 + 3 and json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"
    )


@pytest.mark.parametrize("where", ["loss", "gradient", "critic"])
def test_no_weight_changes_in_a_step_that_is_not_finite(where):
    stage = Stage(steps=5, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)})
    state = make_state(stage)
    lr, hr = batch()
    if where == "loss":
        hr = hr.clone()
        hr[0, 0, 0, 0] = torch.inf
    elif where == "gradient":
        state.members[0].network.fuse[0].weight.register_hook(lambda g: g * torch.nan)
    else:
        state.critics[0].network.features[0][0].weight.register_hook(lambda g: g * torch.inf)
    network = state.critics[0].network if where == "critic" else state.members[0].network
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(
        NotFinite, match={"loss": "loss '", "gradient": "generators", "critic": "critics"}[where]
    ):
        train_step(state, [(lr, hr, ())], term_weights(stage, 0))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_warnings_come_once_and_in_plain_words(capsys):
    watch = Watch("gan", bicubic=26.0)
    for step in range(0, 2000, 20):
        watch.losses(step, {"critic_hr": 0.5 if step == 400 else 0.001, "l1": 0.001})
        watch.validation(step, 25.0)
    said = capsys.readouterr().out
    assert said.count("tells every image apart") == 1 and said.count("below the 26.00 dB of bicubic") == 1
    watch = Watch("gan", bicubic=26.0)
    for step in range(0, 2000, 400):
        watch.losses(step, {"critic_hr": 0.5, "0/critic_hr": 0.001 if step % 800 else 1.0})
        watch.validation(step, 27.0)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("loss", ["l1", "output"])
def test_a_loss_that_grows_tenfold_is_pointed_out(capsys, loss):
    watch, calm = Watch("pretrain", bicubic=26.0), Watch("pretrain", bicubic=26.0)
    for step in range(0, 2000, 20):
        noise = 1 + 2 * (step % 60 == 0)
        calm.losses(step, {loss: 0.03 * noise, "vanilla_hr": 1000.0 if step == 1500 else 0.1})
    assert not capsys.readouterr().out
    for step in range(0, 2000, 20):
        watch.losses(step, {f"1/{loss}": 0.03 * 1.002 ** max(0, step - 1000) + 0.9 * (step == 1600)})
    said = capsys.readouterr().out
    assert said.count("diverges") == 1 and f"the loss '1/{loss}' is 0." in said and "at step 1600" in said


def test_a_generator_that_amplifies_noise_is_pointed_out_once(capsys):
    watch = Watch("pretrain", bicubic=26.0)
    for value in (0.5, 4.0, 9.9):
        watch.noise(100, value)
    assert not capsys.readouterr().out
    for step, value in ((200, 83.2), (300, float("nan"))):
        watch.noise(step, value)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        said.count("an image of noise comes out with values of up to 83.2,") == 1 and "weight_decay" in said
    )


def test_a_stages_weight_decay_reaches_its_matrices(photos, tmp_path):
    """A rate of 1e-2 and a decay of 50 halve them every step, in all but what the steps themselves add."""
    found = {}
    for decay in (0.0, 50.0):
        stages = {"pretrain": {"rate": 1e-2, "final_rate": 1e-2, "weight_decay": decay}}
        run = pretrain(photos, tmp_path / str(decay), stages=stages)
        weights = load_file(run.weights["pretrain"])
        found[decay] = sum(float(value.norm()) for value in weights.values() if value.ndim > 1)
    assert found[50.0] < 0.5 * found[0.0]


def test_noise_shows_what_photographs_do_not():
    """A network that answers the highest frequency alone, a hundred times enlarged."""
    network = torch.nn.Conv2d(3, 3, (1, 2), padding=(0, 1), groups=3, bias=False).train()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([1.0, -1.0]).mul(100).expand(3, 1, 1, 2))
    assert fit.largest_on_noise(network, Fabric(accelerator="cpu", devices=1)) == 100 and network.training


# Critics' own terms.


def test_r1_is_the_squared_gradient_at_real_images():
    """Recomputed by finite differences of the critic's logit, pixel by pixel."""
    spec = critic(weight=0.1, r1=10.0, r1_every=4)
    stage = plain_critics(Stage(steps=8, losses={"l1": Loss()}, critics={"hr": spec}))
    assert [term_weights(stage, step)["r1_hr"] for step in range(8)] == [40, 0, 0, 0, 40, 0, 0, 0]
    state = make_state(stage)
    lr, hr = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16)
    views = [detached(view) for view in look(state, lr, hr)]
    value = float(critic_terms(state, views)[0, "r1_hr"].detach())
    assert (0, "r1_hr") not in critic_terms(state, views, term_weights(stage, 1))
    network = state.critics[0].network.double()
    squares = []
    with torch.no_grad():
        for image in hr.double():
            moved = image + 1e-6 * torch.eye(image.numel(), dtype=torch.double).view(-1, *image.shape)
            squares.append(((network(moved) - network(image[None])) / 1e-6).square().sum())
    assert value == pytest.approx(float(torch.stack(squares).mean()) / 2, rel=1e-3)


def test_an_adversary_can_be_warmed_up():
    stage = Stage(steps=11, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1, ramp=0.5)})
    weights = [term_weights(stage, step)["adversarial_hr"] for step in (0, 1, 5, 10)]
    assert weights == pytest.approx([0, 0.02, 0.1, 0.1])
    assert term_weights(stage, 0)["critic_hr"] == 1


def test_two_time_scales():
    state = make_state(Stage(steps=10, rate=1e-4, losses={"l1": Loss()}, critics={"hr": critic(rate=4e-4)}))
    state.set_rates(0)
    assert [g["lr"] for g in state.generators.param_groups] == pytest.approx([1e-4])
    assert [g["lr"] for g in state.critics_optimizer.param_groups] == pytest.approx([4e-4])


@pytest.mark.parametrize("name", ["unet", "patch"])
@pytest.mark.parametrize("gan", ["vanilla", "hinge", "relativistic"])
def test_every_discriminator_trains_with_r1(photos, teacher, tmp_path, name, gan):
    options = {"name": name, "gan": gan, "r1": 1.0, "r1_every": 2, "ramp": 0.5, "options": {"channels": 4}}
    start = str(teacher / "pretrain.safetensors")
    stages = {"finetune": {"critics": {"hr": {**options}}}}
    result = srkd.finetune(
        str(photos), start=start, out=str(tmp_path), stages=stages, **{**SHORT, "steps": 4}
    )
    assert "r1_hr" in {k for e in log_of(tmp_path) for k in e.get("losses", {})}
    assert load_generator(result.weights["finetune"]).info["objective"] == "gan"


# Parts, clipping, precision.

WHOLE = Stage(
    steps=5,
    losses={"l1": Loss(), "hint": Loss(0.1)},
    critics={"hr": critic(weight=0.1)},
)


def plain_critics(stage):
    """Critics without batch statistics, which parts of a batch do not share."""
    critics = {k: replace(c, options={"channels": 4, "norm": "none"}) for k, c in stage.critics.items()}
    return replace(stage, critics=critics)


def gradients(state, parts, weights):
    """Each player's gradients as its optimiser meets them, by player."""
    found = {}
    for name, optimizer in state.optimizers.items():
        inner = optimizer.optimizer

        def keep(inner, _args, _kwargs, name=name):
            found[name] = torch.cat(
                [p.grad.flatten().clone() for g in inner.param_groups for p in g["params"]]
            )

        inner.register_step_pre_hook(keep)
    train_step(state, parts, weights)
    return found


def test_a_batch_in_parts_gives_the_same_gradients():
    """Of losses that are means over images."""
    stage = replace(plain_critics(WHOLE), losses={"l1": Loss(), "output": Loss()})
    lr, hr = (torch.cat([image, image.flip(2)]) for image in batch())
    weights = term_weights(stage, 0)
    whole = gradients(make_state(stage, teacher=make_teacher()), [(lr, hr, ())], weights)
    state = make_state(stage, teacher=make_teacher())
    parts = gradients(state, [(*pair, ()) for pair in zip(lr.chunk(4), hr.chunk(4), strict=True)], weights)
    assert whole.keys() == parts.keys() == {"generators", "critics"}
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=2e-4, atol=1e-7)


def test_gradients_are_clipped():
    weights = term_weights(WHOLE, 0)
    free = gradients(make_state(WHOLE, teacher=make_teacher()), [(*batch(), ())], weights)
    bound = 0.5 * min(float(g.norm()) for g in free.values())
    state = make_state(WHOLE, teacher=make_teacher())
    state.clip = bound
    for name, gradient in gradients(state, [(*batch(), ())], weights).items():
        assert float(gradient.norm()) == pytest.approx(bound, rel=1e-3)
        torch.testing.assert_close(gradient / gradient.norm(), free[name] / free[name].norm())


@pytest.mark.parametrize("clip", [None, 1e6])
def test_half_precision_scales_both_players_gradients_back(clip):
    """With a loss scale that changes after every step, each player must still undo the one it was given."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=1)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[plugin])
    stage = plain_critics(WHOLE)
    weights = term_weights(stage, 0)
    wanted = gradients(make_state(stage, teacher=make_teacher()), [(*batch(), ())], weights)
    torch.manual_seed(0)
    network = srkd.create_generator("srgan", channels=6, blocks=2, tail="lr")
    state = build_state(fabric, stage, [network], {}, [make_teacher()], 0, clip=clip)
    # Once only: the fused step would take the unscaling upon itself.
    for group in (g for o in state.optimizers.values() for g in o.param_groups):
        group["fused"] = None
    for optimizer in state.optimizers.values():
        optimizer.optimizer._step_supports_amp_scaling = False
    found = gradients(state, [(*batch(), ())], weights)
    assert scaler.get_scale() == 2.0**10  # grew after the critics' step and after the generators'
    for name in wanted:
        angle = torch.nn.functional.cosine_similarity(found[name], wanted[name], dim=0)
        # Half precision loses the smallest of these gradients; a wrong scale would be off by a factor of 2.
        assert angle > 0.97 and 0.8 < float(found[name].norm() / wanted[name].norm()) < 1.25


def test_bf16_trains(photos, tmp_path):
    options = {"precision": "bf16-mixed", "stages": GAN, **TINY, "validate_every": 20}
    result = srkd.train(str(photos), out=str(tmp_path), steps=20, **options)
    assert all(p.isfinite().all() for p in load_generator(result.weights["gan"]).parameters())
    losses = [e["losses"]["l1"] for e in log_of(tmp_path) if e["stage"] == "pretrain" and "losses" in e]
    assert losses[-1] < losses[0]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_networks_give_the_same_weights():
    stage = plain_critics(Stage(steps=5, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)}))
    fabric = Fabric(accelerator="cpu", devices=1)
    found = []
    for compile in (False, True):
        torch.manual_seed(0)
        network = srkd.create_generator("srgan", channels=4, blocks=1, tail="lr")
        state = build_state(fabric, stage, [network], {}, [], 0, compile=compile)
        train_step(state, [(*batch(), ())], term_weights(stage, 0))
        assert not any("_orig_mod" in key for key in network.state_dict())
        found.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-3)


# Several processes.

PLAYERS_IN_STEP = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_engine import *
from srkd.strategies import Mutual
from srkd.training.recipe import Recipe
fabric = fit.make_fabric(Recipe("x", "pretrain", device="cpu", devices=2, threads=1))
fabric.launch()
stage = Stage(steps=5, losses={"l1": Loss(), "hint": Loss(0.1)}, mutual=Mutual(ramp=0.0),
              critics={"hr": critic(weight=0.1, copies=1, r1=1.0, r1_every=2)})
networks = []
for k in range(2):
    torch.manual_seed(k)
    networks.append(srkd.create_generator("srgan", channels=6, blocks=2, tail="lr", norm="bn"))
state = build_state(fabric, stage, networks, {}, [make_teacher()], 0)
for step in range(4):
    torch.manual_seed(100 * step + fabric.global_rank)
    part = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 32, 32)
    halves = [(*pair, ()) for pair in zip(part[0].chunk(2), part[1].chunk(2))]
    train_step(state, halves if step % 2 else [(*part, ())], term_weights(stage, step))
modules = [m for x in state.members for m in (x.network, *x.losses.values(), x.average.module)]
modules += [c.network for c in state.critics]
flat = torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])
both = fabric.all_gather(flat)
assert flat.isfinite().all() and torch.equal(both[0], both[1]), (both[0] - both[1]).abs().max()
fabric.barrier()
print("in step", flat.numel())
"""


def test_all_players_stay_in_step_on_two_processes(tmp_path):
    """Two members with critics that distil one another, adapters, R1, whole batches and batches in parts."""
    script = tmp_path / "script.py"
    script.write_text(PLAYERS_IN_STEP)
    words = [sys.executable, str(script), str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("in step") == 2


def test_two_processes_give_what_one_gives(photos, tmp_path):
    """The same global batch, in the PSNR stage; interrupted and resumed on two as well."""
    words = ["--strategy", "pretrain", "--steps", 6, "--save_every", 2, "--device", "cpu"]
    for name, more in (("one", []), ("two", ["--devices", 2])):
        done = subprocess.run(
            command(photos, tmp_path / name, *words, *more), capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_file(tmp_path / name / "pretrain.safetensors") for name in ("one", "two"))
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-4)
    entries = [e for e in log_of(tmp_path / "two") if "losses" in e]
    assert [e["step"] for e in entries] == [1, 2, 3, 4, 5, 6]


def children(pid):
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in listing.stdout.split()]


@pytest.mark.parametrize("victim", ["second", "first"])
def test_a_process_that_dies_ends_the_others(photos, tmp_path, victim):
    words = ["--strategy", "pretrain", "--steps", 100_000, "--save_every", 5, "--devices", 2]
    words = command(photos, tmp_path / "run", *words, "--device", "cpu")
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
    for _ in range(1200):
        if list((tmp_path / "run").glob("checkpoints/*.pt")):
            break
        time.sleep(0.1)
    (child,) = [pid for pid in children(process.pid) if pid != process.pid]
    os.kill(child if victim == "second" else process.pid, signal.SIGKILL)
    process.wait(60)
    for _ in range(300):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        raise AssertionError("the other process goes on")
    assert process.returncode != 0
    # Said by the other process, or, where that is busy elsewhere, by what watches over both.
    said = (tmp_path / "errors").read_text()
    assert "another process of this run died" in said or "terminated with code" in said
    assert list((tmp_path / "run").glob("checkpoints/*.pt"))


def test_a_batch_that_cannot_be_divided_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="cannot be cut into 3 parts"):
        pretrain(photos, tmp_path / "run", accumulate=3)


# What a run tells.


def test_a_run_leaves_what_it_was(photos, tmp_path):
    result = pretrain(photos, tmp_path / "run", tensorboard=True)
    facts = json.loads((result.folder / "run.json").read_text())
    assert facts["state"] == "finished" and facts["step"] == facts["steps"] == 12
    assert facts["versions"]["torch"] == torch.__version__.split("+")[0] and facts["strategy"] == "pretrain"
    scores = {e["step"]: e["psnr"][0] for e in log_of(result.folder) if "psnr" in e}
    assert list(scores) == [4, 8, 12]
    assert facts["best"]["pretrain"] == pytest.approx(max(scores.values()), abs=1e-3)
    best = load_generator(result.folder / "pretrain_best.safetensors")
    assert best.info["psnr"] == facts["best"]["pretrain"]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.folder / "tensorboard")).Reload()
    assert [e.value for e in events.Scalars("pretrain/psnr/0")] == pytest.approx(
        list(scores.values()), abs=1e-3
    )
    assert len(events.Scalars("pretrain/loss/l1")) == 12 and events.Scalars("pretrain/rate/generators")
    assert events.Images("pretrain/bicubic, SR, HR/0")[0].width == 3 * 96


def test_weights_say_who_taught_them_in_earlier_stages_too(photos, teacher, tmp_path):
    options = {"teacher": str(teacher / "pretrain.safetensors"), "degradation": "real", "model": "srgan_tiny"}
    options |= {"stages": {"finetune": {"critics": {"hr": CRITIC}}}, **SHORT, "steps": 2}
    result = srkd.distill(str(photos), strategy="g2g_al", out=str(tmp_path), **options)
    info = {name: load_generator(path).info for name, path in result.weights.items()}
    assert info["pretrain"]["teacher"] is None
    assert (
        info["transfer"]["teacher"] == info["finetune"]["teacher"]
        and "pretrain@" in info["finetune"]["teacher"]
    )
    assert info["finetune"]["degradation"] == "real"


def test_runs_lists_what_there_is(photos, tmp_path, monkeypatch, capsys):
    pretrain(photos, tmp_path / "a")
    stop_at(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pretrain(photos, tmp_path / "deep" / "b")
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "finished" in shown and "stopped" in shown and "6/12" in shown
    (tmp_path / "a" / "run.json").write_text("{")
    (tmp_path / "run.json").write_text('{"state": "of another program"}')
    assert [run["state"] for run in srkd.list_runs(str(tmp_path))] == ["stopped"]
    assert main(["runs", str(tmp_path / "none")]) == 2 and main(["runs", str(photos)]) == 2


def test_a_dry_run_writes_nothing(photos, tmp_path, capsys):
    out = tmp_path / "run"
    options = {"stages": GAN, **TINY, "steps": 1000, "tensorboard": True}
    assert srkd.train(str(photos), out=str(out), dry_run=True, **options) is None
    shown = capsys.readouterr().out
    assert not out.exists() and "pretrain" in shown and "gan" in shown and "GiB" in shown and "1,000" in shown


def test_what_is_refused_at_once_leaves_no_folder(photos, tmp_path):
    for data, words in (
        ("nowhere", {}),
        (photos, {"teacher": "nowhere", "stages": {"pretrain": {"losses": {"output": {}}}}}),
    ):
        with pytest.raises(UsageError):
            pretrain(data, tmp_path / "runs" / "deep" / "run", tensorboard=True, **words)
        assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_refused(photos, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SrkdError, match="file"):
        pretrain(photos, tmp_path / "file" / "run")
