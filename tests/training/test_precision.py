"""Batches in parts, clipping, other precisions, compilation."""

import shutil
from dataclasses import replace

import pytest
import torch
from conftest import GAN, TINY, critic, make_batch, make_state, make_teacher, plain_critics, read_log
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

import srkd
from srkd import load_generator
from srkd.config import Loss, Stage
from srkd.training.state import build_state
from srkd.training.step import train_step

WHOLE = Stage(
    steps=5,
    losses={"l1": Loss(), "hint": Loss(0.1)},
    critics={"hr": critic(weight=0.1)},
)


def gradients(state, parts):
    """Each player's gradients as its optimiser meets them, by player."""
    found = {}
    for name, optimizer in state.optimizers.items():
        inner = optimizer.optimizer

        def keep(inner, _args, _kwargs, name=name):
            found[name] = torch.cat(
                [p.grad.flatten().clone() for g in inner.param_groups for p in g["params"]]
            )

        inner.register_step_pre_hook(keep)
    train_step(state, parts, 0)
    return found


def test_a_batch_in_parts_gives_the_same_gradients():
    """Of losses that are means over images."""
    stage = replace(plain_critics(WHOLE), losses={"l1": Loss(), "output": Loss()})
    lr, hr = (torch.cat([image, image.flip(2)]) for image in make_batch())
    whole = gradients(make_state(stage, teacher=make_teacher()), [(lr, hr, ())])
    state = make_state(stage, teacher=make_teacher())
    parts = gradients(state, [(*pair, ()) for pair in zip(lr.chunk(4), hr.chunk(4), strict=True)])
    assert whole.keys() == parts.keys() == {"generators", "critics"}
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=2e-4, atol=1e-7)


def test_gradients_are_clipped():
    free = gradients(make_state(WHOLE, teacher=make_teacher()), [(*make_batch(), ())])
    bound = 0.5 * min(float(g.norm()) for g in free.values())
    state = make_state(WHOLE, teacher=make_teacher())
    state.clip = bound
    clipped = gradients(state, [(*make_batch(), ())])
    assert clipped.keys() == {"generators", "critics"}
    for name, gradient in clipped.items():
        assert float(gradient.norm()) == pytest.approx(bound, rel=1e-3)
        torch.testing.assert_close(gradient / gradient.norm(), free[name] / free[name].norm())


@pytest.mark.parametrize("clip", [None, 1e6])
def test_half_precision_scales_both_players_gradients_back(clip):
    """With a loss scale that changes after every step, each player must still undo the one it was given."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=1)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[plugin])
    stage = plain_critics(WHOLE)
    wanted = gradients(make_state(stage, teacher=make_teacher()), [(*make_batch(), ())])
    state = make_state(stage, teacher=make_teacher(), fabric=fabric, clip=clip)
    # Once only: the fused step would take the unscaling upon itself.
    for group in (g for o in state.optimizers.values() for g in o.param_groups):
        group["fused"] = None
    for optimizer in state.optimizers.values():
        optimizer.optimizer._step_supports_amp_scaling = False
    found = gradients(state, [(*make_batch(), ())])
    assert scaler.get_scale() == 2.0**10  # grew after the critics' step and after the generators'
    assert found.keys() == wanted.keys() == {"generators", "critics"}
    for name in wanted:
        angle = torch.nn.functional.cosine_similarity(found[name], wanted[name], dim=0)
        # Half precision loses the smallest of these gradients; a wrong scale would be off by a factor of 2.
        assert angle > 0.97 and 0.8 < float(found[name].norm() / wanted[name].norm()) < 1.25


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_other_precisions_train(photos, tmp_path, precision):
    options = {"precision": precision, "stages": GAN, **TINY, "validate_every": 20}
    result = srkd.train(str(photos), out=str(tmp_path), steps=20, **options)
    assert all(p.isfinite().all() for p in load_generator(result.weights["gan"]).parameters())
    losses = [e["losses"]["l1"] for e in read_log(tmp_path) if e["stage"] == "pretrain" and "losses" in e]
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
        train_step(state, [(*make_batch(), ())], 0)
        assert not any("_orig_mod" in key for key in network.state_dict())
        found.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-3)
