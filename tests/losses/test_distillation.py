"""Each distillation loss against its formula, computed apart with numpy on small tensors."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srkd import UsageError, create_discriminator, create_generator
from srkd.losses import View, create_loss
from srkd.metrics.trunks import load_trunk


@pytest.fixture
def pair():
    torch.manual_seed(3)
    student = create_generator("srgan", channels=4, blocks=4, tail="lr")
    teacher = create_generator("srgan", channels=6, blocks=8, tail="lr").eval().requires_grad_(False)
    return student, teacher


def view_of(student, teachers, n=2, side=8):
    lr, hr = torch.rand(n, 3, side, side), torch.rand(n, 3, 4 * side, 4 * side)
    with torch.no_grad():
        targets = tuple(teacher(lr) for teacher in teachers)
    return View(lr, hr, student(lr), targets)


def features(network, image, names):
    """Taken apart from srkd's own taps."""
    found, hooks = {}, []
    for name in names:
        keep = lambda _m, _i, out, name=name: found.__setitem__(name, out)  # noqa: E731  # bound in the loop
        hooks.append(network.get_submodule(name).register_forward_hook(keep))
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return [found[name].double().numpy() for name in names]


def both(student, teacher, lr):
    """Features at half and at full depth: of 4 blocks and `fuse`, and of 8 blocks and `fuse`."""
    return features(student, lr, ["body.1", "fuse"]), features(teacher, lr, ["body.3", "fuse"])


def value(loss, view):
    return float(loss(view).detach())


def test_taps_meet_at_equal_depth_or_by_name(pair):
    student, teacher = pair
    loss = create_loss("attention", {}, {"student": student, "teacher": teacher})
    assert loss.own.names == ["body.1", "fuse"] and loss.other.names == ["body.3", "fuse"]
    # The nearest of five: 0.3 of them is one and a half.
    near = create_loss("attention", {"depths": [0.3, 0.1, 0.7]}, {"student": student, "teacher": teacher})
    assert near.own.names == ["body.1", "body.0", "body.3"]
    named = create_loss("attention", {"depths": ["body.0"]}, {"student": student, "teacher": teacher})
    assert named.own.names == named.other.names == ["body.0"]
    with pytest.raises(UsageError, match=r"no tap 'body\.9'; choose from: body\.0"):
        create_loss("attention", {"depths": ["body.9"]}, {"student": student, "teacher": teacher})
    with pytest.raises(UsageError, match=r"\(0, 1\]"):
        create_loss("hint", {"depths": [0.0]}, {"student": student, "teacher": teacher})


def test_output_of_several_teachers(pair):
    student, teacher = pair
    view = view_of(student, [teacher, student])
    s, a, b = (t.detach().double().numpy() for t in (view.sr, *view.targets))
    assert value(create_loss("output", {}, {}), view) == pytest.approx(
        np.abs(s - (a + b) / 2).mean(), rel=1e-5
    )
    weighted = create_loss("output", {"weights": [1, 3], "distance": "mse"}, {})
    assert value(weighted, view) == pytest.approx(((s - (a + 3 * b) / 4) ** 2).mean(), rel=1e-5)
    with pytest.raises(UsageError, match="3 weights for 2 teachers"):
        create_loss("output", {"weights": [1, 1, 1]}, {})(view)


def test_hint(pair):
    student, teacher = pair
    loss = create_loss("hint", {}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    own, other = both(student, teacher, view.lr)
    expected = []
    for adapter, s, t in zip(loss.adapters, own, other, strict=True):
        weight, bias = adapter.weight.detach().double().numpy()[:, :, 0, 0], adapter.bias.detach().numpy()
        mapped = np.einsum("oc,nchw->nohw", weight, s) + bias[None, :, None, None]
        expected.append(np.abs(mapped - t).mean() / t.std(ddof=1))
    assert value(loss, view) == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("order", [1, 2])
def test_attention(pair, order):
    student, teacher = pair
    loss = create_loss("attention", {"distance": f"l{order}"}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    expected = []
    for s, t in zip(*both(student, teacher, view.lr), strict=True):
        maps = [(f**2).sum(1).reshape(len(f), -1) for f in (s, t)]
        a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps)
        expected += [np.linalg.norm(a[n] - b[n], order) for n in range(len(a))]
    assert value(loss, view) == pytest.approx(np.mean(expected), rel=1e-4)


def pooled(f, pool):
    n, c, h, w = f.shape
    return f.reshape(n, c, h // pool, pool, w // pool, pool).mean((3, 5))


def test_affinity(pair):
    student, teacher = pair
    loss = create_loss("affinity", {"pool": 2}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    expected = []
    for s, t in zip(*both(student, teacher, view.lr), strict=True):
        cosines = []
        for f in (s, t):
            f = pooled(f, 2).reshape(len(f), f.shape[1], -1)
            f = f / np.linalg.norm(f, axis=1, keepdims=True)
            cosines.append(np.einsum("ncl,ncm->nlm", f, f))
        expected.append(np.abs(cosines[0] - cosines[1]).mean())
    assert value(loss, view) == pytest.approx(np.mean(expected), rel=1e-4)


def test_correlation(pair):
    """With the shared encoder taken as it is, the three terms are recomputed from its outputs."""
    student, teacher = pair
    loss = create_loss("correlation", {"pool": 2}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    expected = []
    for k, (s, t) in enumerate(zip(*both(student, teacher, view.lr), strict=True)):
        tokens = [pooled(f, 2).reshape(len(f), f.shape[1], -1).transpose(0, 2, 1) for f in (s, t)]
        with torch.no_grad():
            z_s = loss.encoder(loss.project_own[k](torch.tensor(tokens[0]).float()))
            z_t = loss.encoder(loss.project_other[k](torch.tensor(tokens[1]).float()))
            rebuilt = loss.decoders[k](z_t).double().numpy()
        z_s, z_t = (z.double().numpy() for z in (z_s, z_t))
        z_s, z_t = (z / np.linalg.norm(z, axis=-1, keepdims=True) for z in (z_s, z_t))
        own = z_t @ z_t.transpose(0, 2, 1)
        internal = np.abs(z_s @ z_s.transpose(0, 2, 1) - own).mean()
        external = np.abs(z_s @ z_t.transpose(0, 2, 1) - own).mean()
        expected.append(internal + external + np.abs(rebuilt - tokens[1]).mean() / np.abs(tokens[1]).mean())
    assert value(loss, view) == pytest.approx(np.mean(expected), rel=1e-3)


def test_correlations_teach_the_student_alone(pair):
    """Through internal and external correlation no gradient passes to the teacher's side; its map and the
    encoder are trained for the teacher by the reconstruction only."""
    student, teacher = pair
    loss = create_loss("correlation", {"pool": 2, "depths": [1.0]}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    trained = [*loss.project_other.parameters(), *loss.decoders.parameters(), *loss.encoder.parameters()]
    found = torch.autograd.grad(loss(view), trained)
    s, t = (torch.from_numpy(f[1]).float() for f in both(student, teacher, view.lr))
    s, t = (F.avg_pool2d(f, 2).flatten(2).transpose(1, 2) for f in (s, t))
    ours, theirs = loss.encoder(loss.project_own[0](s)), loss.encoder(loss.project_other[0](t))
    z_s, z_t = F.normalize(ours, dim=-1), F.normalize(theirs.detach(), dim=-1)
    wanted = z_t @ z_t.mT
    expected = (z_s @ z_s.mT - wanted).abs().mean() + (z_s @ z_t.mT - wanted).abs().mean()
    expected = expected + (loss.decoders[0](theirs) - t).abs().mean() / t.abs().mean()
    for a, b in zip(found, torch.autograd.grad(expected, trained), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["affinity", "correlation"])
def test_features_too_small_to_average_are_named(pair, name):
    student, teacher = pair
    loss = create_loss(name, {"pool": 9}, {"student": student, "teacher": teacher})
    with pytest.raises(UsageError, match=r"features of 8x8 .* squares of 9"):
        loss(view_of(student, [teacher]))


def test_a_constant_encoder_is_not_the_best(pair):
    """Without its reconstruction the correlations would be perfect when all tokens are one."""
    student, teacher = pair
    loss = create_loss("correlation", {}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    with torch.no_grad():
        for layer in (*loss.project_own, *loss.project_other):
            layer.weight.zero_()
            layer.bias.fill_(1.0)
    assert value(loss, view) > 0.5


def test_contrastive(pair):
    student, teacher = pair
    loss = create_loss("contrastive", {"negatives": 2}, {})
    view = view_of(student, [teacher], n=3)
    trunk = load_trunk("st-vgg", None)
    blurred = F.interpolate(view.lr, scale_factor=4, mode="bicubic")
    with torch.no_grad():
        anchor, positive, negative = (trunk(x) for x in (view.sr, view.target, blurred))
    expected = 0.0
    for weight, name in zip([1 / 32, 1 / 16, 1 / 8, 1 / 4, 1], anchor, strict=True):
        s, t, n = (f[name].double().numpy() for f in (anchor, positive, negative))
        others = [np.mean([np.abs(s[i] - n[(i - k) % 3]).mean() for i in range(3)]) for k in (1, 2)]
        expected += weight * np.abs(s - t).mean() / (sum(others) + 1e-7)
    assert value(loss, view) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(UsageError, match="at least two"):
        loss(view_of(student, [teacher], n=1))
    with pytest.raises(UsageError, match="negatives must be at least 1, not 0"):
        create_loss("contrastive", {"negatives": 0}, {})


# What a student must not mind; each undoes itself.
CHANGES = [lambda x: 1 - x, lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.mT]


@pytest.mark.parametrize("consistency", [0.0, 1.0])
def test_zoom(pair, consistency):
    student, teacher = pair
    loss = create_loss("zoom", {"consistency": consistency}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    # Wide black and white bars, over whose edges the cubic overshoots.
    view = view._replace(lr=(torch.arange(32) % 16 >= 8).float().expand(2, 3, 32, 32))
    view = view._replace(hr=torch.rand(2, 3, 128, 128))
    small = F.interpolate(view.lr, scale_factor=0.25, mode="bicubic", antialias=True)
    assert small.min() < -0.01
    small = small.clamp(0, 1)
    with torch.no_grad():
        out = (student(small) - view.lr).abs().mean() + (student(small) - teacher(small)).abs().mean()
    drawn, seen = set(), []
    teacher.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    for seed in range(12):
        torch.manual_seed(seed)
        found = value(loss, view)
        torch.testing.assert_close(seen[-1], small)
        torch.manual_seed(seed)
        top, left = int(torch.randint(128 - 32 + 1, ())), int(torch.randint(128 - 32 + 1, ()))
        crop = view.hr[..., top : top + 32, left : left + 32]
        torch.rand(())
        index = int(torch.randint(4, ())) if consistency else None
        change = (lambda x: x) if index is None else CHANGES[index]
        with torch.no_grad():
            into = (change(student(change(crop))) - teacher(crop)).abs().mean()
        assert found == pytest.approx(float(into + out), rel=1e-4)
        drawn.add(index)
    assert drawn == (set(range(4)) if consistency else {None})


def test_self_distillation(pair):
    student, _ = pair
    loss = create_loss("self", {"depths": [0.4, 0.8], "alpha": 0.3}, {"student": student})
    view = view_of(student, [])
    names = ["body.1", "body.3"]
    base = F.interpolate(view.lr, scale_factor=4, mode="bilinear")
    expected = 0.0
    for leave, f in zip(loss.exits, features(student, view.lr, names), strict=True):
        with torch.no_grad():
            image = leave(torch.tensor(f).float()) + base
        to_hr, to_final = ((image - x).abs().mean() for x in (view.hr, view.sr.detach()))
        expected += 0.3 * float(to_hr) + 0.7 * float(to_final)
    assert value(loss, view) == pytest.approx(expected, rel=1e-4)


def test_exits_learn_from_the_output_and_not_it_from_them(pair):
    """No gradient reaches SR, which would be pulled down to its exits."""
    student, _ = pair
    loss = create_loss("self", {}, {"student": student})
    view = view_of(student, [])
    assert torch.autograd.grad(loss(view), view.sr, allow_unused=True) == (None,)
    view = view._replace(sr=view.sr.detach().requires_grad_(True))
    loss(view).backward()
    assert view.sr.grad is None and all(p.grad.any() for p in loss.parameters())


def adapted(f, side):
    """Averages over windows that cover `side` cells of a square."""
    edges = [(k * f.shape[-1] // side, -(-(k + 1) * f.shape[-1] // side)) for k in range(side)]
    rows = [[f[:, :, a:b, c:d].mean((2, 3)) for c, d in edges] for a, b in edges]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def test_concept(pair):
    student, _ = pair
    loss = create_loss("concept", {}, {"student": student})
    view = view_of(student, [], side=16)
    with torch.no_grad():
        wanted = load_trunk("st-vgg", None)(view.hr)["relu5_3"].double().numpy()
    (own,) = features(student, view.lr, ["fuse"])
    own = adapted(own, wanted.shape[-1])
    weight = loss.adapter.weight.detach().double().numpy()[:, :, 0, 0]
    mapped = np.einsum("oc,nchw->nohw", weight, own) + loss.adapter.bias.detach().numpy()[None, :, None, None]
    lengths = np.linalg.norm(mapped, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = (mapped * wanted).sum(1) / np.maximum(lengths, 1e-8)
    assert value(loss, view) == pytest.approx(1 - cosine.mean(), rel=1e-3)


def test_ensemble(pair):
    _, teacher = pair
    student = create_generator("branched", channels=4, blocks=1, branches=2, branch_blocks=1)
    loss = create_loss("ensemble", {}, {"student": student})
    view = view_of(student, [teacher, teacher])
    view = view._replace(targets=(view.targets[0], view.targets[1] * 0.5))
    images = [torch.tensor(f) for f in features(student, view.lr, ["branches.0", "branches.1"])]
    torch.testing.assert_close(sum(images) / 2, view.sr.detach().double(), atol=1e-5, rtol=1e-4)
    expected = sum(float((s - t).abs().mean()) for s, t in zip(images, view.targets, strict=True))
    assert value(loss, view) == pytest.approx(expected, rel=1e-4)
    one = view._replace(targets=view.targets[:1])
    student(view.lr)
    expected = sum(float((s - view.targets[0]).abs().mean()) for s in images)
    assert value(loss, one) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(UsageError, match="3 teachers for 2 branches"):
        loss(view._replace(targets=view.targets[:1] * 3))
    with pytest.raises(UsageError, match="srgan_branched"):
        create_loss("ensemble", {}, {"student": pair[0]})


@pytest.mark.parametrize("gram", [False, True])
def test_discriminator_features(pair, gram):
    student, teacher = pair
    critic = create_discriminator("vgg", channels=4).eval().requires_grad_(False)
    loss = create_loss("discriminator", {"gram": gram, "depths": [0.5, 1.0]}, {"discriminator": critic})
    view = view_of(student, [teacher])
    names = [critic.taps[1], critic.taps[3]]
    expected = []
    for s, t in zip(features(critic, view.sr, names), features(critic, view.target, names), strict=True):
        term = np.abs(s - t).mean() / np.abs(t).mean()
        if gram:
            area = s.shape[2] * s.shape[3]
            gs, gt = (np.einsum("nchw,ndhw->ncd", f, f) / area for f in (s, t))
            term += np.abs(gs - gt).mean() / np.abs(gt).mean()
        expected.append(term)
    assert value(loss, view) == pytest.approx(np.mean(expected), rel=1e-3)


@pytest.mark.parametrize("taps", ["outputs", "all"])
def test_forgetting(pair, taps):
    student, _ = pair
    old = {key: tensor.clone() for key, tensor in student.state_dict().items()}
    loss = create_loss("forgetting", {"taps": taps}, {"student": student})
    view = view_of(student, [])
    assert value(loss, view) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    view = view._replace(sr=student(view.lr))
    former = create_generator(**student.config)
    former.load_state_dict(old)
    with torch.no_grad():
        expected = float((view.sr - former(view.lr)).abs().mean())
    if taps == "all":
        names = student.taps
        own, other = features(student, view.lr, names), features(former, view.lr, names)
        expected += np.mean([np.abs(s - t).mean() / t.std(ddof=1) for s, t in zip(own, other, strict=True)])
    assert value(loss, view) == pytest.approx(expected, rel=1e-3)


def test_what_was_learned_before_is_as_it_was_when_deployed():
    """The copy goes by its running statistics, whatever the loss is told to do, and keeps them."""
    torch.manual_seed(0)
    student = create_generator("srgan", channels=4, blocks=2, tail="lr", norm="bn").train()
    student(torch.rand(2, 3, 8, 8))
    loss = create_loss("forgetting", {}, {"student": student}).train()
    twin = copy.deepcopy(student).eval()
    for _ in range(2):
        view = view_of(student, [])
        with torch.no_grad():
            torch.testing.assert_close(loss(view), (view.sr - twin(view.lr)).abs().mean())
    assert all(torch.equal(a, b) for a, b in zip(loss.old.buffers(), twin.buffers(), strict=True))


def test_a_frozen_copy_does_not_answer_for_the_student(pair):
    """Whatever order losses are built in: the copy's passes must not reach hooks on the student."""
    student, teacher = pair
    modules = {"student": student, "teacher": teacher}
    hint = create_loss("hint", {}, modules)
    forgetting = create_loss("forgetting", {}, modules)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.5)
    view = view_of(student, [teacher])
    before = value(hint, view)
    forgetting(view)
    assert value(hint, view) == before


def test_a_loss_that_runs_the_networks_itself_changes_nothing_for_others(pair):
    student, teacher = pair
    modules = {"student": student, "teacher": teacher}
    zoom, hint = create_loss("zoom", {}, modules), create_loss("hint", {}, modules)
    view = view_of(student, [teacher])
    before = value(hint, view)
    zoom(view)
    assert value(hint, view) == before


def test_losses_leave_no_trace_in_the_student(pair):
    student, teacher = pair
    keys, names = set(student.state_dict()), {name for name, _ in student.named_modules()}
    modules = {"student": student, "teacher": teacher}
    losses = [create_loss(n, {}, modules) for n in ("hint", "correlation", "self", "concept", "forgetting")]
    assert set(student.state_dict()) == keys and {name for name, _ in student.named_modules()} == names
    assert any(module._forward_hooks for module in student.modules())
    del losses
    assert not any(module._forward_hooks for module in student.modules())


def test_features_of_other_sizes_are_refused(pair):
    """As those of a teacher that works on half of the size."""
    student, teacher = pair
    loss = create_loss("attention", {}, {"student": student, "teacher": teacher})
    view = view_of(student, [teacher])
    with torch.no_grad():
        teacher(torch.rand(2, 3, 4, 4))
    with pytest.raises(UsageError, match="the student's features are 8x8, the teacher's 4x4"):
        loss(view)


def test_heads_must_divide_the_width(pair):
    modules = dict(zip(("student", "teacher"), pair, strict=True))
    with pytest.raises(UsageError, match="width, 32, must be a multiple of heads, 5"):
        create_loss("correlation", {"heads": 5}, modules)
