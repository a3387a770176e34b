"""The engine on small photographs: every strategy, what reaches whom, faults and resuming."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from conftest import SHORT, on_full_disk
from lightning_fabric import Fabric
from safetensors.torch import load_file

import srkd
from srkd import SrkdError, UsageError, create_discriminator, create_generator, load_generator
from srkd.cli import main
from srkd.losses import LOSSES
from srkd.losses.base import GeneratorLoss
from srkd.strategies import STRATEGIES, Critic, Loss, Mutual, Stage
from srkd.teachers import Teacher
from srkd.training.check import check_gradients
from srkd.training.recipe import Recipe
from srkd.training.state import build_state, copy_matching, term_weights
from srkd.training.step import critic_terms, detached, look, train_step

TRANSFERS = [name for name, strategy in STRATEGIES.items() if strategy.teacher]
CRITIC = {"options": {"channels": 4}}


def small(strategy):
    """Overrides that make every critic of a strategy small."""
    stages = STRATEGIES[strategy].stages
    return {
        k: {"critics": dict.fromkeys(stage.critics, CRITIC)} for k, stage in stages.items() if stage.critics
    }


def run(photos, teachers, out, strategy, **options):
    arguments = {
        "model": "srgan_tiny",
        "start": str(teachers / "pretrain.safetensors"),
        "stages": small(strategy),
    }
    kind = STRATEGIES[strategy].teacher
    if kind:
        arguments["teacher"] = str(
            teachers / ("gan.safetensors" if kind == "gan" else "pretrain.safetensors")
        )
    arguments |= {**SHORT, **options}
    if strategy == "mutual":
        return srkd.mutual(str(photos), out=str(out), **arguments)
    return srkd.distill(str(photos), strategy=strategy, out=str(out), **arguments)


def same(a: Path, b: Path) -> bool:
    x, y = load_file(a), load_file(b)
    return x.keys() == y.keys() and all(torch.equal(x[key], y[key]) for key in x)


@pytest.mark.parametrize("strategy", TRANSFERS)
def test_every_strategy_runs_to_its_end(photos, teacher, tmp_path, strategy):
    # Of the GAN-trained file for all: the pretrained one is the student's own start.
    gan = str(teacher / "gan.safetensors")
    result = run(photos, teacher, tmp_path / "run", strategy, teacher=gan, steps=20)
    assert list(result.weights) == ["transfer", "finetune"]
    for weights in result.weights.values():
        model = load_generator(weights)
        assert model.info["strategy"] == strategy and all(p.isfinite().all() for p in model.parameters())
        assert not same(weights, teacher / "pretrain.safetensors")
    assert (result.folder / "finetune_discriminator.safetensors").is_file()
    log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    assert {entry["stage"] for entry in log} == {"transfer", "finetune"}
    assert not (result.folder / "checkpoints").exists()


@pytest.mark.parametrize(("members", "critics"), [(2, 1), (3, 1), (1, 2), (1, 3)])
def test_mutual_cohorts_of_both_forms(photos, teacher, tmp_path, members, critics):
    result = run(photos, teacher, tmp_path / "run", "mutual", members=members, critics=critics)
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
    assert all(value > 0 for name, value in entry["losses"].items() if "disagreement" in name)


def test_a_control_is_its_strategy_without_the_teacher(photos, teacher, tmp_path):
    """Removing the teacher's terms by hand gives the control bit for bit."""
    control = run(photos, teacher, tmp_path / "control", "gan2g_al", control=True)
    stages = small("gan2g_al")
    stages["transfer"]["losses"] = {"output": None}
    by_hand = run(photos, teacher, tmp_path / "by_hand", "gan2g_al", stages=stages)
    distilled = run(photos, teacher, tmp_path / "distilled", "gan2g_al")
    for stage in ("transfer", "finetune"):
        assert same(control.weights[stage], by_hand.weights[stage])
        assert not same(control.weights[stage], distilled.weights[stage])


def test_controls_have_no_teacher_terms():
    for strategy in (*TRANSFERS, "mutual"):
        stages = Recipe("x", strategy, "srgan_tiny", control=True).resolve()
        for name, stage in stages.items():
            assert not any(LOSSES[loss].distills for loss in stage.losses)
            assert (
                not any("teacher" in (c.real, c.init) for c in stage.critics.values())
                and stage.mutual is None
            )
            original = STRATEGIES[strategy].stages[name]
            assert (stage.steps, stage.rate, stage.batch) == (original.steps, original.rate, original.batch)
    transfer = {s: Recipe("x", s, "m", control=True).resolve()["transfer"] for s in TRANSFERS}
    assert {s: (set(t.losses), set(t.critics)) for s, t in transfer.items()} == {
        "gan2g": ({"perceptual"}, set()),
        "g2g_al": ({"perceptual"}, set()),
        "gan2g_al": ({"perceptual"}, {"hr"}),
        "gan2gan": ({"perceptual"}, {"hr"}),
    }


def test_the_table_is_that_of_the_paper():
    finetune = STRATEGIES["gan2g"].stages["finetune"]
    for name, teacher, critics in (
        ("gan2g", "gan", {}),
        ("g2g_al", "psnr", {}),
        ("gan2g_al", "gan", {"hr": ("hr", "fresh")}),
        ("gan2gan", "gan", {"hr": ("hr", "teacher"), "teacher": ("teacher", "fresh")}),
    ):
        strategy = STRATEGIES[name]
        transfer = strategy.stages["transfer"]
        assert strategy.teacher == teacher and set(transfer.losses) == {"perceptual", "output"}
        assert {k: (c.real, c.init) for k, c in transfer.critics.items()} == critics
        assert strategy.stages["finetune"] == finetune and not any(
            LOSSES[k].distills for k in finetune.losses
        )


# What reaches whom, a step at a time.


def make_state(stage, networks=1, teacher=None, seed=0):
    fabric = Fabric(accelerator="cpu", devices=1)
    generators = []
    for index in range(networks):
        torch.manual_seed(index)
        if "ensemble" in stage.losses:
            generators.append(create_generator("branched", channels=6, blocks=2, branches=2, branch_blocks=1))
        else:
            generators.append(create_generator("srgan", channels=6, blocks=2, tail="lr"))
    return build_state(fabric, stage, generators, {}, [teacher] if teacher else [], seed)


def make_teacher(width=4):
    torch.manual_seed(99)
    generator = create_generator("srgan", channels=8, blocks=2, tail="lr")
    return Teacher(generator, create_discriminator("vgg", channels=width))


def batch():
    torch.manual_seed(7)
    return torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)


def after(stage, teacher=None, networks=1, steps=3):
    """Weights of every player after a few steps."""
    state = make_state(stage, networks, teacher)
    for step in range(steps):
        train_step(state, [(*batch(), ())], term_weights(stage, step))
    players = [member.network for member in state.members] + [critic.network for critic in state.critics]
    return [torch.cat([p.detach().flatten() for p in player.parameters()]) for player in players]


def critic(**options):
    return Critic(options={"channels": 4}, **options)


EVERYTHING = Stage(
    steps=10,
    losses={name: Loss() for name in LOSSES},
    critics={"hr": critic(weight=0.1, init="teacher"), "teacher": critic(weight=0.1, real="teacher")},
)


@pytest.mark.parametrize("name", LOSSES)
def test_switching_a_loss_off_changes_the_generator(name):
    teacher = make_teacher()
    without = replace(EVERYTHING, losses={k: v for k, v in EVERYTHING.losses.items() if k != name})
    assert not torch.equal(after(EVERYTHING, teacher)[0], after(without, teacher)[0])


@pytest.mark.parametrize("name", ["hr", "teacher"])
def test_switching_a_critic_off_changes_the_generator(name):
    teacher = make_teacher()
    without = replace(EVERYTHING, critics={k: v for k, v in EVERYTHING.critics.items() if k != name})
    assert not torch.equal(after(EVERYTHING, teacher)[0], after(without, teacher)[0])


def test_critics_learn_and_their_images_matter():
    teacher = make_teacher()
    state = make_state(EVERYTHING, teacher=teacher)
    before = [c.network.features[0][0].weight.detach().clone() for c in state.critics]
    train_step(state, [(*batch(), ())], term_weights(EVERYTHING, 0))
    assert all(
        not torch.equal(c.network.features[0][0].weight, w)
        for c, w in zip(state.critics, before, strict=True)
    )
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    hr_only = replace(EVERYTHING, critics={**EVERYTHING.critics, "teacher": critic(weight=0.1)})
    assert not torch.equal(after(EVERYTHING, teacher)[2], after(hr_only, teacher)[2])


def test_the_teachers_discriminator_reaches_the_student():
    stage = Stage(steps=10, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1, init="teacher")})
    same_width = make_state(stage, teacher=make_teacher(4))
    wanted = make_teacher(4).discriminator.state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in same_width.critics[0].network.state_dict().items())
    assert same_width.critics[0].imitated is None
    # A wider one cannot be copied whole: the critic imitates its logits instead, and that changes it.
    wider = make_teacher(6)
    assert make_state(stage, teacher=wider).critics[0].imitated is wider.discriminator
    without = replace(stage, critics={"hr": replace(stage.critics["hr"], imitate=0.0)})
    a, b = after(stage, wider), after(without, wider)
    assert not torch.equal(a[1], b[1]) and not torch.equal(a[0], b[0])


def test_imitation_brings_the_logits_together():
    stage = Stage(
        steps=100, rate=1e-2, critics={"hr": critic(init="teacher", imitate=100.0)}, losses={"l1": Loss()}
    )
    state = make_state(stage, teacher=make_teacher(6))
    values = [
        train_step(state, [(*batch(), ())], term_weights(stage, step))["imitation_hr"] for step in range(60)
    ]
    assert values[-1] < 0.5 * values[0]


def test_copy_matching_copies_what_fits():
    a, b = create_discriminator("vgg", channels=4), create_discriminator("vgg", channels=4)
    assert copy_matching(a, b) and torch.equal(a.features[3][0].weight, b.features[3][0].weight)
    assert not copy_matching(a, create_discriminator("vgg", channels=8))


MUTUAL = Stage(steps=10, losses={"l1": Loss()}, critics={"hr": critic(weight=0.1)}, mutual=Mutual(ramp=0.0))


def test_mutual_distillation_changes_critics_through_their_own_logits_only():
    without = replace(MUTUAL, mutual=None)
    a, b = after(MUTUAL, networks=2, steps=1), after(without, networks=2, steps=1)
    # One step on, only the critics differ, or the generators' adversaries that they have become.
    assert not torch.equal(a[2], b[2]) and not torch.equal(a[3], b[3])
    state = make_state(MUTUAL, networks=2)
    terms = critic_terms(state, [detached(view) for view in look(state, *batch())])
    for own, peer in ((0, 1), (1, 0)):
        mine = torch.autograd.grad(
            terms[own, "mutual"], state.critics[own].network.parameters(), retain_graph=True
        )
        assert any(g.any() for g in mine)
        theirs = state.critics[peer].network.parameters()
        grads = torch.autograd.grad(terms[own, "mutual"], theirs, retain_graph=True, allow_unused=True)
        assert all(g is None for g in grads)
        generators = [p for member in state.members for p in member.network.parameters()]
        grads = torch.autograd.grad(terms[own, "mutual"], generators, retain_graph=True, allow_unused=True)
        assert all(g is None for g in grads)


def test_mutual_term_is_the_mean_kl_over_the_cohorts_pool():
    """Recomputed from logits on HR and every member's SR."""
    state = make_state(MUTUAL, networks=3)
    views = [detached(view) for view in look(state, *batch())]
    terms = critic_terms(state, views)
    images = [views[0].hr, *(view.sr for view in views)]
    z = [[critic.network(image).double().detach() / 2 for image in images] for critic in state.critics]
    for own in range(3):
        values = []
        for peer in {0, 1, 2} - {own}:
            for q, p in zip(z[peer], z[own], strict=True):
                q, p = q.sigmoid(), p.sigmoid()
                values.append((q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean())
        expected = 4 * torch.stack(values).mean()
        assert float(terms[own, "mutual"].detach()) == pytest.approx(float(expected), rel=1e-3, abs=1e-7)


def test_one_generator_answers_to_the_mean_of_its_critics():
    from srkd.training.step import generator_terms

    stage = Stage(steps=10, critics={"hr": replace(critic(weight=0.1), copies=3)}, losses={"l1": Loss()})
    state = make_state(stage)
    member, view = state.members[0], look(state, *batch())[0]
    value = generator_terms(member, view)["adversarial_hr"]
    each = [torch.nn.functional.softplus(-c.network(view.sr)).mean() for c in state.critics]
    torch.testing.assert_close(value, torch.stack(each).mean())


def test_schedules():
    losses = {
        "l1": Loss(2.0),
        "mse": Loss(2.0, "linear", 1.0),
        "charbonnier": Loss(2.0, "cosine"),
    }
    stage = Stage(
        steps=11, losses=losses, critics={"hr": Critic(1e-3, "linear")}, mutual=Mutual(0.1, 2.0, 0.5)
    )
    start, middle, end = (term_weights(stage, step) for step in (0, 5, 10))
    assert [w["l1"] for w in (start, middle, end)] == [2, 2, 2]
    assert [w["mse"] for w in (start, middle, end)] == pytest.approx([2, 1.5, 1])
    assert [w["charbonnier"] for w in (start, middle, end)] == pytest.approx([2, 1, 0])
    assert [w["adversarial_hr"] for w in (start, middle, end)] == pytest.approx([1e-3, 5e-4, 0])
    assert [w["mutual"] for w in (start, middle, end)] == pytest.approx([0, 0.1, 0.1])


def test_kd_replaces_scales_the_losses_against_hr():
    losses = {"l1": Loss(1.0), "output": Loss(0.25)}
    added = term_weights(Stage(losses=losses), 0)
    replaced = term_weights(Stage(losses=losses, kd_replaces=True), 0)
    assert (added["l1"], replaced["l1"], replaced["output"]) == (1.0, 0.75, 0.25)


# The check before step 0.


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda view: (view.sr * 0).sum(), "zero gradient"),
        (lambda view: view.hr.mean(), "no gradient at all"),
    ],
)
def test_a_loss_without_effect_is_refused_by_name(monkeypatch, function, message):
    class Idle(GeneratorLoss):
        def forward(self, view):
            return function(view)

    monkeypatch.setitem(LOSSES, "idle", Idle)
    state = make_state(Stage(losses={"l1": Loss(), "idle": Loss()}))
    with pytest.raises(UsageError, match=f"'idle'.*{message}"):
        check_gradients(state, *batch())


def test_a_loss_that_is_not_finite_is_refused_by_name():
    state = make_state(Stage(losses={"l1": Loss()}))
    lr, hr = batch()
    with pytest.raises(UsageError, match=r"'l1'.*not finite"):
        check_gradients(state, lr * torch.nan, hr)


def test_a_zero_weight_at_the_start_is_no_reason_to_refuse():
    stage = Stage(
        losses={"l1": Loss(), "mse": Loss(0.0, "linear", 1.0)}, critics=MUTUAL.critics, mutual=Mutual()
    )
    check_gradients(make_state(stage, networks=2), *batch())


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"finetune": {"critics": {"hr": {"weight": 0.0}}}}, "feeds nobody"),
        (
            {"finetune": {"mutual": {"weight": 0.1}, "critics": {"hr": {"gan": "hinge"}}}},
            "probability logits",
        ),
        ({"finetune": {"losses": {"l4": {"weight": 1.0}}}}, "unknown loss 'l4'"),
        ({"finetune": {"stepz": 3}}, "unknown key 'stepz'"),
        ({"finetune": {"steps": "many"}}, "expected int"),
        ({"finetune": {"critics": {"hr": {"gan": "wasserstein"}}}}, "vanilla"),
        ({"finetune": {"optimizer": "foo"}}, "stages.finetune.optimizer: 'foo' is not one of adam, muon"),
        ({"finetoon": {}}, "unknown stage"),
        ({"finetune": {"crop": 33}}, "multiple of the scale"),
        ({"finetune": {"crop": 1000}}, "smaller than a crop"),
        ({"finetune": {"crop": 16}}, "32x32"),
    ],
)
def test_impossible_recipes_are_refused_before_training(photos, teacher, tmp_path, stages, message):
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=message):
        srkd.finetune(
            str(photos),
            start=str(teacher / "pretrain.safetensors"),
            model="srgan_tiny",
            out=str(out),
            stages=stages,
            batch=2,
        )
    assert not (out / "recipe.yaml").exists()


def test_a_loss_that_needs_a_teacher_where_none_is_given_or_shipped(photos, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("srkd.teachers.list_shipped", dict)
    with pytest.raises(UsageError, match="give --teacher FILE"):
        srkd.finetune(
            str(photos),
            start=str(teacher / "pretrain.safetensors"),
            model="srgan_tiny",
            out=str(tmp_path / "run"),
            stages={"finetune": {"losses": {"output": {}}, "steps": 1}},
            batch=2,
        )


def test_gan2gan_without_the_teachers_discriminator_is_refused(photos, teacher, tmp_path):
    with pytest.raises(UsageError, match="--teacher_discriminator"):
        run(photos, teacher, tmp_path / "run", "gan2gan", teacher=str(teacher / "pretrain.safetensors"))


def test_a_teacher_of_another_scale_is_refused(photos, teacher, tmp_path):
    with pytest.raises(UsageError, match="x4, the student x2"):
        run(photos, teacher, tmp_path / "run", "gan2g", scale=2, start=None)


def test_start_weights_of_another_architecture_are_refused(photos, teacher, tmp_path):
    with pytest.raises(UsageError, match="another architecture"):
        run(photos, teacher, tmp_path / "run", "gan2g", model="compact_s")


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


@pytest.mark.parametrize("command", ["finetune", "mutual", "distill"])
def test_a_printed_recipe_runs_the_same(photos, teacher, tmp_path, capsys, command):
    """Its stages are all there, and what was removed stays removed."""
    words = [command, "--data", str(photos), "--start", str(teacher / "pretrain.safetensors"), "--steps", "3"]
    words += ["--model", "srgan_tiny", "--crop", "32", "--batch", "2", "--stages.finetune.losses.l1", "null"]
    words += ["--stages.finetune.critics.hr.options.channels", "4", "--validate_every", "3"]
    words += ["--teacher", str(teacher / "gan.safetensors")] if command == "distill" else []
    assert main([*words, "--print_config"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    stage = yaml.safe_load(printed.read_text())["stages"]["finetune"]
    assert stage["steps"] == 3 and stage["losses"]["l1"] is None and stage["losses"]["perceptual"]["weight"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert main([command, "--config", str(printed), "--out", str(tmp_path / "b")]) == 0
    weights = sorted(path.name for path in (tmp_path / "a").glob("*.safetensors"))
    assert weights and all(same(tmp_path / "a" / name, tmp_path / "b" / name) for name in weights)


# Stopping and going on.


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_stopped_run_goes_on_to_the_same_weights(photos, teacher, tmp_path, monkeypatch, optimizer):
    """Ctrl-C in the second stage; the resumed run ends where an undisturbed one does."""
    overrides = {"steps": 8, "optimizer": optimizer}
    options = {"stages": {k: v | overrides for k, v in small("gan2g_al").items()}, "save_every": 3}
    whole = run(photos, teacher, tmp_path / "whole", "gan2g_al", **options)
    from srkd.training import fit

    calls = iter(range(1000))

    def interrupting(*args):
        if next(calls) == 12:
            signal.raise_signal(signal.SIGINT)
        return train_step(*args)

    monkeypatch.setattr(fit, "train_step", interrupting)
    with pytest.raises(KeyboardInterrupt):
        run(photos, teacher, tmp_path / "cut", "gan2g_al", **options)
    monkeypatch.setattr(fit, "train_step", train_step)
    assert list((tmp_path / "cut" / "checkpoints").glob("*.pt"))
    with pytest.raises(UsageError, match="--resume"):
        run(photos, teacher, tmp_path / "cut", "gan2g_al", **options)
    with pytest.raises(UsageError, match="seed was 0, now 1"):
        run(photos, teacher, tmp_path / "cut", "gan2g_al", seed=1, resume=True, **options)
    resumed = run(photos, teacher, tmp_path / "cut", "gan2g_al", resume=True, **options)
    for stage in ("transfer", "finetune"):
        assert same(whole.weights[stage], resumed.weights[stage])


def test_sigterm_saves_and_exits(photos, teacher, tmp_path):
    command = [
        sys.executable,
        "-m",
        "srkd",
        "train",
        str(photos),
        "--strategy",
        "pretrain",
        "--model",
        "srgan_tiny",
        "--out",
        str(tmp_path / "run"),
        "--steps",
        "100000",
        "--crop",
        "32",
        "--batch",
        "2",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "log.jsonl"
    for _ in range(600):
        if log.exists():
            break
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 130 and "Traceback" not in process.stderr.read()
    assert list((tmp_path / "run" / "checkpoints").glob("*.pt"))


def test_a_damaged_checkpoint_is_named(photos, teacher, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "00_transfer_000000005.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(SrkdError, match=r"no checkpoint in .* can be read"):
        run(photos, teacher, tmp_path, "gan2g", resume=True)


@pytest.mark.parametrize("save_every", [2, 500])
def test_a_full_disk_ends_training_in_one_line(photos, teacher, tmp_path, save_every):
    """No file may grow beyond 20 kB: first the checkpoint does not fit, then the weights."""
    words = [
        "finetune",
        str(photos),
        "--start",
        str(teacher / "pretrain.safetensors"),
        "--steps",
        "4",
        "--crop",
    ]
    words += ["32", "--batch", "2", "--out", str(tmp_path / "run"), "--save_every", str(save_every)]
    code, error = on_full_disk(words, 20_000)
    assert code == 1 and error.count("\n") == 1 and "cannot write" in error and "File too large" in error
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert left == {"log.jsonl", "recipe.yaml", "run.json", ".lock"}


def test_a_loss_that_becomes_nan_stops_the_run(photos, teacher, tmp_path):
    with pytest.raises(SrkdError, match="became infinite or not a number"):
        run(photos, teacher, tmp_path / "run", "gan2g", stages={"transfer": {"rate": 1e18}})
    assert [path.name for path in (tmp_path / "run").glob("*.safetensors")] == ["failed_batch.safetensors"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_strategy_runs_on_the_gpu(photos, teacher, tmp_path):
    result = run(photos, teacher, tmp_path / "run", "gan2gan", device="cuda", precision="16-mixed")
    assert all(p.isfinite().all() for p in load_generator(result.weights["finetune"]).parameters())
