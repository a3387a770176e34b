import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, kl_divergence

from srkd import UsageError, create_discriminator, create_generator
from srkd.losses import LOSSES, View, create_loss
from srkd.losses.functional import ADVERSARIES, bernoulli_kl, charbonnier, feature_l1, grid_pattern
from srkd.perceptual import load_trunk
from srkd.teachers import Teacher


@pytest.fixture
def scene():
    """A student of two branches, its frozen teacher, and a view of a batch; they differ in width."""
    student = create_generator("branched", channels=6, blocks=2, branches=2, branch_blocks=1)
    other = create_generator("srgan", channels=10, blocks=4, tail="lr")
    teacher = Teacher(other, create_discriminator("vgg", channels=4))
    lr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)

    def view():
        return View(lr, hr, student(lr), (teacher(lr),))

    modules = {"student": student, "teacher": teacher.generator, "discriminator": teacher.discriminator}
    return student, teacher, modules, view


@torch.no_grad()
def stir(student):
    """Away from the weights it began with, to which one of the losses holds it."""
    for parameter in student.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_moves_the_student_and_nobody_else(scene, name):
    student, teacher, modules, view = scene
    loss = create_loss(name, {}, modules)
    stir(student)
    value = loss(view())
    assert value.shape == () and value > 0
    value.backward()
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert any(g.any() for g in gradients) and all(g.isfinite().all() for g in gradients)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_as_the_student_nears_its_target(scene, name):
    student, _, modules, view = scene
    loss = create_loss(name, {}, modules)
    stir(student)
    trained = [*student.parameters(), *(p for p in loss.parameters() if p.requires_grad)]
    optimizer = torch.optim.Adam(trained, lr=2e-3)
    first = float(loss(view()).detach())
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(view())
        value.backward()
        optimizer.step()
    assert float(value.detach()) < 0.95 * first


def test_pixel_losses_follow_their_formulas(scene):
    view = scene[3]()
    difference = (view.sr - view.hr).detach().double().numpy()
    expected = {
        "l1": np.abs(difference).mean(),
        "mse": (difference**2).mean(),
        "charbonnier": np.sqrt(difference**2 + 1e-6).mean(),
    }
    for name, value in expected.items():
        assert float(create_loss(name, {}, {})(view).detach()) == pytest.approx(value, rel=1e-5)
    assert float(charbonnier(view.hr, view.hr, 0.5)) == pytest.approx(0.5)


def test_the_grid_is_what_repeats(scene):
    """A lattice counts whole wherever it begins, whatever is level does not, and noise averages out."""
    cell = torch.rand(3, 4, 4)
    cell = cell - cell.mean((1, 2), keepdim=True)
    lattice = cell.repeat(1, 12, 12)[None]
    level = torch.rand(1, 3, 12, 12).repeat_interleave(4, 2).repeat_interleave(4, 3)
    found = grid_pattern(lattice + level, 4, 7)
    assert found.shape == (1, 3, 16, 6, 6)
    assert torch.allclose(found, cell.reshape(1, 3, 16, 1, 1).expand_as(found), atol=1e-6)
    noise = torch.randn(1, 3, 96, 96)
    assert grid_pattern(noise, 4, 7).abs().mean() < noise.abs().mean() / 5
    view = scene[3]()
    lr, hr = view.lr, view.hr
    cells = torch.nn.functional.pixel_unshuffle((view.sr - hr).detach(), 4).unflatten(1, (3, 16))
    side = min(7, *lr.shape[-2:])
    windows = cells.unfold(3, side, 1).unfold(4, side, 1).mean((-2, -1))
    expected = (windows - windows.mean(2, keepdim=True)).abs().mean()
    assert float(create_loss("grid", {}, {})(view).detach()) == pytest.approx(float(expected), rel=1e-4)


def test_output_follows_its_formula(scene):
    view = scene[3]()
    assert view.target is not None and not view.target.requires_grad
    l1, mse = (create_loss("output", {"distance": d}, {"teacher": scene[1]})(view) for d in ("l1", "mse"))
    torch.testing.assert_close(l1, (view.sr - view.target).abs().mean())
    torch.testing.assert_close(mse, ((view.sr - view.target) ** 2).mean())


def test_perceptual_follows_its_formula(scene):
    view = scene[3]()
    trunk = load_trunk("st-vgg", ["relu2_2", "relu3_3"])
    a, b = trunk(view.sr.detach()), trunk(view.hr)
    expected = [(a[k] - b[k]).abs().mean() / b[k].abs().mean() for k in ("relu2_2", "relu3_3")]
    loss = create_loss("perceptual", {"layers": ["relu2_2", "relu3_3"]}, {})
    torch.testing.assert_close(loss(view), torch.stack(expected).mean(), rtol=1e-4, atol=1e-6)
    assert loss(View(view.lr, view.hr, view.hr)) == 0


def test_discriminator_features_follow_their_formula(scene):
    _, teacher, modules, view = scene
    loss = create_loss("discriminator", {"depths": [0.25]}, modules)
    seen = view()
    layers = teacher.discriminator.features[:2]
    a, b = layers(seen.sr * 2 - 1), layers(seen.target * 2 - 1)
    torch.testing.assert_close(loss(seen), (a - b).abs().mean() / b.abs().mean(), rtol=1e-4, atol=1e-6)
    assert not list(loss.parameters())


def test_a_loss_that_is_gone_leaves_no_hooks(scene):
    student, teacher, modules, view = scene
    loss = create_loss("hint", {}, modules)
    loss(view())
    hooked = [m for m in (*student.modules(), *teacher.modules()) if m._forward_hooks]
    assert len(hooked) == 4
    del loss
    assert not any(m._forward_hooks for m in hooked)


def test_feature_l1_counts_layers_alike():
    a = {"small": torch.full((4,), 2e-3), "large": torch.full((4,), 2e3)}
    b = {"small": torch.full((4,), 1e-3), "large": torch.full((4,), 1e3)}
    assert float(feature_l1(a, b)) == pytest.approx(1, rel=1e-4)


def test_bernoulli_kl_is_torchs():
    a, b = torch.randn(2, 5, 1) * 3
    for tau in (1.0, 2.0):
        expected = kl_divergence(Bernoulli(logits=a / tau), Bernoulli(logits=b / tau)).mean()
        torch.testing.assert_close(bernoulli_kl(a, b, tau), expected)


def test_bernoulli_kl_bears_saturation_and_holds_the_peer_fixed():
    peer = torch.tensor([300.0, -300.0], requires_grad=True)
    own = torch.tensor([-300.0, -300.0], requires_grad=True)
    value = bernoulli_kl(peer, own, 1.0)
    value.backward()
    assert value.isfinite() and own.grad.isfinite().all() and own.grad[0] < 0 and peer.grad is None


def test_adversarial_losses_follow_their_formulas():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])

    def softplus(x):
        return torch.log1p(torch.exp(x))

    r, f = real - fake.mean(), fake - real.mean()
    expected = {
        "vanilla": (softplus(-real).mean() + softplus(fake).mean(), softplus(-fake).mean()),
        "least_squares": (((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2, ((fake - 1) ** 2).mean() / 2),
        "hinge": (torch.tensor([0.0, 2.0]).mean() + torch.tensor([1.5, 0.0]).mean(), -fake.mean()),
        "relativistic": (
            (softplus(-r).mean() + softplus(f).mean()) / 2,
            (softplus(-f).mean() + softplus(r).mean()) / 2,
        ),
    }
    assert expected.keys() == ADVERSARIES.keys()
    for name, (critic, generator) in expected.items():
        torch.testing.assert_close(ADVERSARIES[name].critic(real, fake), critic)
        torch.testing.assert_close(ADVERSARIES[name].generator(real, fake), generator)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("l3", {}, "charbonnier"),
        ("l1", {"power": 2}, "power"),
        ("hint", {}, "--teacher"),
        ("discriminator", {}, "--teacher_discriminator"),
        ("perceptual", {"layers": ["relu9_9"]}, "relu1_2"),
        ("perceptual", {"trunk": "resnet"}, "st-vgg"),
    ],
)
def test_what_cannot_be_built_says_why(name, options, message):
    modules = {
        "student": torch.nn.Identity(),
        "teacher": torch.nn.Identity() if name == "discriminator" else None,
    }
    with pytest.raises(UsageError, match=message):
        create_loss(name, options, modules)


def test_a_frozen_teacher_stays_asleep():
    teacher = Teacher(create_generator("srgan", channels=4, blocks=1, norm="bn"))
    torch.nn.ModuleList([teacher]).train()
    assert not any(module.training for module in teacher.modules())
    target = teacher(torch.rand(1, 3, 8, 8))
    assert not target.requires_grad and not target.is_inference()
    F.mse_loss(torch.rand_like(target, requires_grad=True), target).backward()
