"""Every loss moves the student alone; the general ones against their formulas."""

import numpy as np
import pytest
import torch

from srkd import UsageError, create_discriminator, create_generator
from srkd.losses import LOSSES, View, create_loss
from srkd.losses.functional import charbonnier, grid_pattern
from srkd.metrics.perceptual import lpips
from srkd.metrics.trunks import load_trunk
from srkd.training.teachers import Teacher


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
    spectrum = np.fft.rfft2(difference, norm="ortho")
    expected = {
        "l1": np.abs(difference).mean(),
        "mse": (difference**2).mean(),
        "charbonnier": np.sqrt(difference**2 + 1e-6).mean(),
        "fft": np.abs([spectrum.real, spectrum.imag]).mean(),
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


def test_blocking_follows_its_formula(scene):
    view = scene[3]()
    expected = []
    for transpose in (False, True):
        excess = []
        for image in (view.sr.detach(), view.hr):
            gray = (image.mT if transpose else image).mean(1).double().numpy()
            steep = np.abs(np.diff(gray))
            # 8 LR pixels have 7 borders, so that one window of 7 covers all of them, and 7 rows of LR pixels.
            means = np.stack([steep[:, :28, place:28:4].mean((1, 2)) for place in range(4)], 1)
            excess.append(means - means.mean(1, keepdims=True))
        expected.append(np.abs(excess[0] - excess[1]).mean())
    assert float(create_loss("blocking", {}, {})(view).detach()) == pytest.approx(np.mean(expected), rel=1e-4)


def test_blocks_and_lattices_count_and_smooth_images_do_not(scene):
    ramp = torch.linspace(0, 1, 48).expand(1, 3, 48, 48)
    low = torch.rand(1, 3, 12, 12)
    blocks = low.repeat_interleave(4, 2).repeat_interleave(4, 3)
    smooth = torch.nn.functional.interpolate(low, scale_factor=4, mode="bicubic")
    ruled = ramp.clone()
    ruled[..., ::4] += 0.1
    loss, grid = create_loss("blocking", {}, {}), create_loss("grid", {}, {})

    def against(sr, hr):
        return float(loss(View(low, hr, sr)))

    assert against(ramp, ramp) == 0 and against(ramp, ramp.flip(-1)) < 1e-6
    assert against(ruled, ramp) > 0.015
    assert against(blocks, smooth) > 0.05
    # What repeats with one sign is another matter: of blocks little does.
    assert float(grid(View(low, smooth, blocks))) < against(blocks, smooth) / 2


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


def test_perceptual_output_is_the_distance_to_the_teachers_image(scene):
    view = scene[3]()
    loss, plain = (create_loss(n, {"layers": ["relu2_2"]}, {}) for n in ("perceptual_output", "perceptual"))
    torch.testing.assert_close(loss(view), plain(view._replace(hr=view.target)))
    assert loss(view._replace(sr=view.target)) == 0 and type(loss).distills and not type(plain).distills


@pytest.mark.parametrize("variant", ["st-lpips-alex", "st-lpips-vgg"])
def test_lpips_as_a_loss_is_the_metric(variant):
    sr, hr = torch.randint(256, (2, 1, 3, 40, 36), dtype=torch.uint8)
    expected = lpips(*(x[0].permute(1, 2, 0).numpy() for x in (sr, hr)), variant)
    sr, hr = sr / 255, hr / 255
    view = View(torch.rand(1, 3, 10, 9), hr, sr, (sr,))
    assert float(create_loss("lpips", {"variant": variant}, {})(view)) == pytest.approx(expected, rel=1e-4)
    assert create_loss("lpips_output", {"variant": variant}, {})(view) == 0


def test_a_shift_cuts_both_images_at_the_same_random_place():
    torch.manual_seed(3)
    sr, hr = torch.rand(2, 3, 48, 48), torch.rand(2, 3, 48, 48)
    view = View(torch.rand(2, 3, 12, 12), hr, sr)
    plain, shifted = (create_loss("perceptual", {"layers": ["relu1_2"], "shift": n}, {}) for n in (1, 4))
    places = [
        float(plain(view._replace(sr=sr[..., y:, x:], hr=hr[..., y:, x:])))
        for y in range(4)
        for x in range(4)
    ]
    torch.manual_seed(0)
    found = [float(shifted(view)) for _ in range(40)]
    assert all(min(abs(value - place) for place in places) < 1e-6 for value in found)
    assert len({round(value, 7) for value in found}) > 10
    torch.manual_seed(0)
    assert float(shifted(view)) == found[0]
    with pytest.raises(UsageError, match="shift must be at least 1"):
        create_loss("perceptual", {"shift": -1}, {})


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("l3", {}, "charbonnier"),
        ("l1", {"power": 2}, "power"),
        ("hint", {}, "--teacher"),
        ("discriminator", {}, "--teacher-discriminator"),
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
